"""What a create asks for: a spec, the samples of it that one request buys, and the model's limits on both.

A row's *spec* is all that changes the picture. A spec's images are numbered *samples* 0, 1, 2 …; a *generation request*
buys samples `[start, start + count)`. The ids are made in `leonardo.identity`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from seedream_assets.config.models import ModelSpec
from seedream_assets.errors import LimitError
from seedream_assets.leonardo.identity import request_id_for, seed_for, spec_id_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One reference image of a spec.

    Attributes:
        sha256: Of the image's bytes, where it comes from a file or an address; it is uploaded once and sent as UPLOADED.
        leonardo_id: Of an image that Leonardo already holds; exactly one of the two is set.
        type: Leonardo's word for what the id is.
        strength: LOW, MID or HIGH.
    """

    sha256: str | None = None
    leonardo_id: str | None = None
    type: str = "UPLOADED"
    strength: str = "MID"

    def __post_init__(self) -> None:
        if (self.sha256 is None) == (self.leonardo_id is None):
            raise ValueError(f"a reference is either a content hash or a Leonardo id, got {self}")

    @classmethod
    def from_identity(cls, identity: Mapping[str, str]) -> Reference:
        """The reference whose `identity` this is."""
        if "sha256" in identity:
            return cls(sha256=identity["sha256"], strength=identity["strength"])
        return cls(leonardo_id=identity["id"], type=identity["type"], strength=identity["strength"])

    @property
    def identity(self) -> dict[str, str]:
        """The part of the spec's canonical JSON that stands for this reference."""
        if self.sha256 is not None:
            return {"sha256": self.sha256, "strength": self.strength}
        return {"id": str(self.leonardo_id), "strength": self.strength, "type": self.type}


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSpec:
    """Everything that changes the picture, and nothing else: no prompt_id, no dataset, no run, no `public`.

    Attributes:
        prompt: The final text, after the template.
        seed: Only where the row gives one; the seed of each request is `GenerationRequest.seed`.
    """

    model: str
    prompt: str
    width: int
    height: int
    style: str
    prompt_enhance: str
    references: tuple[Reference, ...] = ()
    seed: int | None = None
    spec_id: str = field(init=False)

    def __post_init__(self) -> None:
        spec_id = spec_id_for(
            model=self.model,
            prompt=self.prompt,
            width=self.width,
            height=self.height,
            style=self.style,
            prompt_enhance=self.prompt_enhance,
            references=[reference.identity for reference in self.references],
            seed=self.seed,
        )
        object.__setattr__(self, "spec_id", spec_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One paid POST: samples `[start, start + count)` of a spec.

    Attributes:
        public: Whether the images show in Leonardo's community feed; not part of the identity.
        request_id: Depends on spec and start alone, so a repeated or competing request is the same request.
        seed: Makes the request reproducible, and lets it be recognised in the account's history; None where it is not
            sent, see `as_sent`.
    """

    spec: GenerationSpec
    start: int
    count: int
    seed: int | None
    public: bool = False
    request_id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "request_id", request_id_for(self.spec.spec_id, self.start))

    @property
    def samples(self) -> range:
        """The samples that this request buys."""
        return range(self.start, self.start + self.count)


def make_request(
    spec: GenerationSpec, *, start: int, count: int, model: ModelSpec, public: bool = False
) -> GenerationRequest:
    """The request for samples `[start, start + count)`, with its seed, checked against the model's limits.

    Raises:
        LimitError: Something lies outside the limits; nothing has been sent.
    """
    seed = seed_for(request_id_for(spec.spec_id, start), start, spec.seed, model)
    request = GenerationRequest(spec=spec, start=start, count=count, seed=seed, public=public)
    refuse_outside_limits(request, model)
    return request


def as_sent(request: GenerationRequest, model: ModelSpec) -> GenerationRequest:
    """The request as it leaves this machine: without its derived seed, where the model's requests are written so."""
    is_derived = request.spec.seed is None
    return replace(request, seed=None) if is_derived and model.wire.seed == "when_asked" else request


def refuse_outside_limits(request: GenerationRequest, model: ModelSpec) -> None:
    """Let a request pass that the model's specification allows, and no other: the last gate before the wire.

    Raises:
        LimitError: Names the parameter, what was asked, what is allowed and what to do.
    """
    spec = request.spec
    if spec.model != model.name:
        raise LimitError("model", got=spec.model, allowed=model.name, fix="ask for this model")
    ranges = (
        ("prompt", len(spec.prompt), model.prompt_characters, "shorten or fill in the prompt"),
        ("width", spec.width, model.width_px, "change the width"),
        ("height", spec.height, model.height_px, "change the height"),
        ("quantity", request.count, model.quantity, "ask for fewer images in one request"),
        ("seed", request.seed, model.seed, "choose another seed"),
        ("references", len(spec.references), model.references, "name fewer reference images"),
    )
    for name, got, limit, fix in ranges:
        if got is not None and not limit.allows(got):
            raise LimitError(name, got=got, allowed=str(limit), fix=fix)
    choices = [
        ("style", spec.style, model.allowed_styles),
        ("prompt_enhance", spec.prompt_enhance, model.prompt_enhance),
        *(("reference_strength", reference.strength, model.reference_strengths) for reference in spec.references),
        *(("references", reference.type, model.reference_types) for reference in spec.references),
    ]
    for name, got_word, allowed in choices:
        if got_word not in allowed:
            raise LimitError(name, got=got_word, allowed="one of " + ", ".join(allowed), fix="use one of these")
