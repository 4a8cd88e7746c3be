"""From the provider's bytes to the bytes that are stored: XMP first, the signature last. No pixel is touched.

An image that cannot be marked is stored as it came, with the reason beside it: what is paid for is never lost to its
mark. Nothing here is of the moment of writing, so that a run after a crash makes the same bytes again; a signature is
(`images.c2pa`), and so what stands already is recognised by the hash of the provider's bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from types import MappingProxyType

from seedream_assets.config.provenance import Provenance
from seedream_assets.errors import MarkError
from seedream_assets.images.c2pa import ContentCredentials
from seedream_assets.images.inspect import ImageFacts
from seedream_assets.images.xmp import Mark, has_credentials, mark_image, read_mark
from seedream_assets.leonardo.generations import GeneratedImage, Generation
from seedream_assets.leonardo.requests import GenerationRequest

# Object metadata: the hash of the bytes as the provider served them.
SOURCE_ENTRY = "source-sha256"
XMP, C2PA = "xmp", "c2pa"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedImage:
    """An image as it is to be stored, or stands stored.

    Attributes:
        facts: Of `body`.
        source_sha256: Of the bytes as the provider served them.
        marks: `xmp`, `c2pa`, `xmp+c2pa`; None where it carries none.
        unmarked: Why it does not carry every mark that was asked for.
    """

    body: bytes
    facts: ImageFacts
    source_sha256: str
    marks: str | None
    unmarked: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Marking:
    """How one dataset marks what it buys.

    Attributes:
        provenance: What its owner declared.
        writers: Who wrote the prompt, by spec id, where a column says so.
        credentials: Signs; None where nothing is signed.
    """

    provenance: Provenance = field(default_factory=Provenance)
    writers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    credentials: ContentCredentials | None = None

    def mark(
        self,
        body: bytes,
        facts: ImageFacts,
        *,
        image_id: str,
        position: int,
        request: GenerationRequest,
        generation: Generation,
        image: GeneratedImage,
    ) -> MarkedImage:
        """The bytes to store for a delivered image. Blocks: hashes, and signs where that is asked for."""
        mark = self._mark_of(facts, image_id, position, request, generation, image)
        marked, reasons = body, []
        for step in self._steps(mark, body):
            try:
                marked = step(marked)
            except MarkError as error:
                reasons.append(str(error))
            except Exception as error:  # noqa: BLE001 - a mistake of ours must not keep a paid image from being stored
                reasons.append(f"unexpected {type(error).__name__}: {error}")
                _LOG.debug("marking image %s", image_id, exc_info=error)
        if reasons:
            _LOG.warning("image %s is stored without every mark: %s", image_id, "; ".join(reasons))
        return MarkedImage(
            body=marked,
            facts=_facts_of(marked, facts) if marked is not body else facts,
            source_sha256=facts.sha256,
            marks=marks_in(marked),
            unmarked="; ".join(reasons) or None,
        )

    def _steps(self, mark: Mark, body: bytes) -> Iterator[Callable[[bytes], bytes]]:
        """XMP first, the signature last: any change after it breaks it."""
        credentials = self.credentials
        if self.provenance.xmp:
            yield lambda before: self._with_xmp(before, mark)
        if credentials is not None:
            yield lambda before: credentials.sign(before, mark, provider_bytes=body)

    def _with_xmp(self, body: bytes, mark: Mark) -> bytes:
        if self.credentials is None and has_credentials(body):
            raise MarkError(
                "the provider has signed it, and any change would break that signature; with provenance.c2pa it is "
                "marked, and signed again with the provider's manifest kept as its parent"
            )
        return mark_image(body, mark)

    def _mark_of(
        self,
        facts: ImageFacts,
        image_id: str,
        position: int,
        request: GenerationRequest,
        generation: Generation,
        image: GeneratedImage,
    ) -> Mark:
        spec = request.spec
        return Mark(
            image_id=image_id,
            request_id=request.request_id,
            spec_id=spec.spec_id,
            sample=request.start + position,
            seed=request.seed,
            model=spec.model,
            generation_id=generation.id,
            provider_image_id=image.id or None,
            prompt_sha256=sha256(spec.prompt.encode()).hexdigest(),
            source_sha256=facts.sha256,
            created_at=generation.created_at,
            from_references=bool(spec.references),
            prompt=spec.prompt if self.provenance.prompt_in_file else None,
            prompt_writer=self.writers.get(spec.spec_id),
        )


def as_it_stands(body: bytes, facts: ImageFacts, metadata: Mapping[str, str]) -> MarkedImage:
    """An image that an earlier run stored, by its own mark, else by what was noted with it."""
    ids = read_mark(body)
    told = ids.source_sha256 if ids else metadata.get(SOURCE_ENTRY)
    return MarkedImage(body=body, facts=facts, source_sha256=told or facts.sha256, marks=marks_in(body))


def marks_in(body: bytes) -> str | None:
    """The marks that an image carries."""
    found = [name for name, is_there in ((XMP, read_mark(body) is not None), (C2PA, has_credentials(body))) if is_there]
    return "+".join(found) or None


def _facts_of(body: bytes, before: ImageFacts) -> ImageFacts:
    """A mark changes neither format nor pixels, so nothing is decoded again."""
    return replace(before, size_bytes=len(body), sha256=sha256(body).hexdigest())
