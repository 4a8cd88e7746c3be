"""From the provider's bytes to the bytes that are stored: XMP first, the signature last. No pixel is touched.

An image that cannot take metadata is stored as it came, with the reason beside it, so that no paid image is lost. Nothing
here depends on the moment of writing: a run after a crash makes the same bytes again. A signature (`images.c2pa`) does
depend on it, and so an image that is stored already is recognised by the hash of the provider's bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from types import MappingProxyType

from seedream_assets.config.images import Provenance
from seedream_assets.errors import EmbedError
from seedream_assets.images.c2pa import ContentCredentials
from seedream_assets.images.inspect import ImageFacts
from seedream_assets.images.xmp import EmbeddedMetadata, embed_metadata, has_credentials, read_metadata
from seedream_assets.leonardo.generations import GeneratedImage, Generation
from seedream_assets.leonardo.requests import GenerationRequest

# Object metadata: the hash of the bytes as the provider served them.
SOURCE_ENTRY = "source-sha256"
XMP, C2PA = "xmp", "c2pa"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedImage:
    """An image as it is to be stored, or stands stored.

    Attributes:
        facts: Of `body`.
        source_sha256: Of the bytes as the provider served them.
        embedded: The metadata embedded in it: `xmp`, `c2pa`, `xmp+c2pa`; None where there is none.
        not_embedded: Why not all that was asked for is embedded.
    """

    body: bytes
    facts: ImageFacts
    source_sha256: str
    embedded: str | None
    not_embedded: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """What one dataset embeds into the images that it buys.

    Attributes:
        provenance: What its owner declared.
        writers: Who wrote the prompt, by spec id, where a column says so.
        credentials: Signs; None where nothing is signed.
    """

    provenance: Provenance = field(default_factory=Provenance)
    writers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    credentials: ContentCredentials | None = None

    def embed(
        self,
        body: bytes,
        facts: ImageFacts,
        *,
        image_id: str,
        position: int,
        request: GenerationRequest,
        generation: Generation,
        image: GeneratedImage,
    ) -> PreparedImage:
        """The bytes to store for a delivered image. Blocks: hashes, and signs where that is asked for."""
        metadata = self._metadata_of(facts, image_id, position, request, generation, image)
        embedded, reasons = body, []
        for step in self._steps(metadata, body):
            try:
                embedded = step(embedded)
            except EmbedError as error:
                reasons.append(str(error))
            except Exception as error:  # noqa: BLE001 - a mistake of ours must not keep a paid image from being stored
                reasons.append(f"unexpected {type(error).__name__}: {error}")
                _LOG.debug("embedding metadata into image %s", image_id, exc_info=error)
        if reasons:
            _LOG.warning("image %s is stored without all of its metadata: %s", image_id, "; ".join(reasons))
        return PreparedImage(
            body=embedded,
            facts=_facts_of(embedded, facts) if embedded is not body else facts,
            source_sha256=facts.sha256,
            embedded=embedded_in(embedded),
            not_embedded="; ".join(reasons) or None,
        )

    def _steps(self, metadata: EmbeddedMetadata, body: bytes) -> Iterator[Callable[[bytes], bytes]]:
        """XMP first, the signature last: any change after it breaks it."""
        credentials = self.credentials
        if self.provenance.xmp:
            yield lambda before: self._with_xmp(before, metadata)
        if credentials is not None:
            yield lambda before: credentials.sign(before, metadata, provider_bytes=body)

    def _with_xmp(self, body: bytes, metadata: EmbeddedMetadata) -> bytes:
        if self.credentials is None and has_credentials(body):
            raise EmbedError(
                "the provider has signed it, and any change would break that signature; with provenance.c2pa the "
                "metadata is embedded, and it is signed again with the provider's manifest kept as its parent"
            )
        return embed_metadata(body, metadata)

    def _metadata_of(
        self,
        facts: ImageFacts,
        image_id: str,
        position: int,
        request: GenerationRequest,
        generation: Generation,
        image: GeneratedImage,
    ) -> EmbeddedMetadata:
        spec = request.spec
        return EmbeddedMetadata(
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


def as_it_stands(body: bytes, facts: ImageFacts, metadata: Mapping[str, str]) -> PreparedImage:
    """An image that an earlier run stored, described by its embedded metadata, else by the object's metadata."""
    ids = read_metadata(body)
    noted = ids.source_sha256 if ids else metadata.get(SOURCE_ENTRY)
    return PreparedImage(body=body, facts=facts, source_sha256=noted or facts.sha256, embedded=embedded_in(body))


def embedded_in(body: bytes) -> str | None:
    """The kinds of metadata embedded in an image, as `PreparedImage.embedded` has them."""
    found = [
        name for name, is_there in ((XMP, read_metadata(body) is not None), (C2PA, has_credentials(body))) if is_there
    ]
    return "+".join(found) or None


def _facts_of(body: bytes, before: ImageFacts) -> ImageFacts:
    """Embedding changes neither format nor pixels, so nothing is decoded again."""
    return replace(before, size_bytes=len(body), sha256=sha256(body).hexdigest())
