"""What is asked for and what makes two requests the same.

A row's *spec* is all that changes the picture. A spec's images are numbered *samples* 0, 1, 2 …; a *generation request*
buys samples `[start, start + count)`. The ids are hashes of canonical text, so that any machine at any time gives the
same spec the same ids, and what is owned is recognised without asking anybody.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from json.encoder import encode_basestring

from seedream_assets.config.models import ModelSpec
from seedream_assets.errors import LimitError

SPEC_VERSION = 1
SEED_HEAD = ',"seed":'
REQUEST_HEAD = "seedream-request/1:"
IMAGE_HEAD = "seedream-image/1:"
IMAGE_ID_DIGITS = 32
SEED_DIGITS = 15


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
        head, middle, tail = text_around_prompt(
            model=self.model,
            width=self.width,
            height=self.height,
            style=self.style,
            prompt_enhance=self.prompt_enhance,
            references=[reference.identity for reference in self.references],
        )
        seed = "" if self.seed is None else f"{SEED_HEAD}{self.seed}"
        text = f"{head}{quoted(self.prompt)}{middle}{seed}{tail}"
        object.__setattr__(self, "spec_id", sha256(text.encode()).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One paid POST: samples `[start, start + count)` of a spec.

    Attributes:
        public: Whether the images show in Leonardo's community feed; not part of the identity.
        request_id: Depends on spec and start alone, so a repeated or competing request is the same request.
        seed: Explicit in every request, so that it is reproducible and can be recognised in the account's history.
    """

    spec: GenerationSpec
    start: int
    count: int
    seed: int
    public: bool = False
    request_id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "request_id", request_id_for(self.spec.spec_id, self.start))

    @property
    def samples(self) -> range:
        """The samples that this request buys."""
        return range(self.start, self.start + self.count)


def text_around_prompt(
    *, model: str, width: int, height: int, style: str, prompt_enhance: str, references: Sequence[Mapping[str, str]]
) -> tuple[str, str, str]:
    """A spec's canonical JSON without its prompt and its seed: what stands before, between and after the two.

    The whole is JSON with sorted keys, without spaces, in Unicode; the first part ends and the second begins with one
    of the prompt's quotes. A row's own seed stands after `SEED_HEAD`.
    """
    listed = json.dumps(references, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return (
        f'{{"height":{height},"model":{encode_basestring(model)},"prompt":"',
        f'","prompt_enhance":{encode_basestring(prompt_enhance)},"references":{listed}',
        f',"style":{encode_basestring(style)},"version":{SPEC_VERSION},"width":{width}}}',
    )


def quoted(text: str) -> str:
    """A text as it stands in JSON, without the quotes around it."""
    return encode_basestring(text)[1:-1]


def request_id_for(spec_id: str, start: int) -> str:
    """The id of the request that buys a spec's samples from `start` on."""
    return sha256(f"{REQUEST_HEAD}{spec_id}:{start}".encode()).hexdigest()


def derived_seed(request_id: str, model: ModelSpec) -> int:
    """The seed of a request whose row gives none, within the model's range."""
    return int(request_id[:SEED_DIGITS], 16) % (int(model.seed.high) + 1)


def image_id_for(request_id: str, position: int) -> str:
    """The id of one image of a request, `position` from 0; 32 hexadecimal digits, never a prompt's words."""
    return sha256(f"{IMAGE_HEAD}{request_id}:{position}".encode()).hexdigest()[:IMAGE_ID_DIGITS]


def make_request(
    spec: GenerationSpec, *, start: int, count: int, model: ModelSpec, public: bool = False
) -> GenerationRequest:
    """The request for samples `[start, start + count)`, with its seed, checked against the model's limits.

    The seed is the row's own plus `start`, so that no two requests of a spec repeat one, or is derived from the
    request's id.

    Raises:
        LimitError: Something lies outside the limits; nothing has been sent.
    """
    if spec.seed is not None:
        seed = spec.seed + start
    else:
        seed = derived_seed(request_id_for(spec.spec_id, start), model)
    request = GenerationRequest(spec=spec, start=start, count=count, seed=seed, public=public)
    refuse_outside_limits(request, model)
    return request


def cut_samples(quantity: int, *, largest: int, owned: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """Start and count of the requests that together hold samples `[0, quantity)`, in order of start.

    Args:
        quantity: How many samples are wanted; 1 or more.
        largest: Images that one request may ask for.
        owned: Sizes of the requests that exist already, by start. Their borders are kept: a dataset that wants 10
            samples where 4 are owned buys `[4, 10)`, and stops before the next one that is owned.
    """
    start = 0
    while start < quantity:
        count = owned.get(start)
        if count is None:
            following = min((border for border in owned if border > start), default=quantity)
            count = min(largest, quantity - start, following - start)
        yield start, count
        start += count


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
        if not limit.allows(got):
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
