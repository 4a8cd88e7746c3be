"""What each model allows and costs, as data. Every number has its unit, its source and the day it was read.

Belongs here: limits, prices, style names. Not here: applying them to a table (`prompts.table`) or to a request
(`generation_requests`), and how a field is called on the wire (`leonardo/wire`).

To add a model, describe it as a `ModelSpec`, here or in another package. Where it differs from a known one in a few
numbers, `replace` says so, in `my_package/models.py`:

    from dataclasses import replace

    from seedream_assets.config.models import SEEDREAM_4_5

    MY_MODEL = replace(SEEDREAM_4_5, name="my-model", price=None)

and the other package declares it in its pyproject.toml. A model without a price can be planned, and is not bought:

    [project.entry-points."seedream_assets.models"]
    my-model = "my_package.models:MY_MODEL"

Sources, by the names used below:
    schema    Leonardo's OpenAPI v2 document for `POST /v2/generations`, page of 2026-09-01, read 2026-10-08
    provider  public API pages of the model's provider at third parties, read 2026-11-22 (not promised by Leonardo)
    billed    an amount that an account was charged and its owner published, 2026-09-19
    brief     this project's brief, 2026-11; no public price for Seedream 4.0 was found
    threads   public issue threads that quote refusals, and pages of the provider's API there, read 2026-11-30
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from seedream_assets.config.base import Config
from seedream_assets.errors import BudgetError, ConfigError, LimitError
from seedream_assets.wording import did_you_mean

SizePolicy = Literal["warn", "provider"]
PromptEnhanceForm = Literal["word", "boolean", "omit_when_off"]
WhenSent = Literal["always", "when_asked"]
PROMPT_ENHANCE = ("OFF", "ON", "AUTO")
REFERENCE_STRENGTHS = ("LOW", "MID", "HIGH")
# UPLOADED and GENERATED are what the current pages show; INIT and GENERATION stand in the older page, VARIATION in
# the newer schema. The schema's URL and BASE64 carry no id: a reference by address is uploaded and sent as UPLOADED.
REFERENCE_TYPES = ("GENERATED", "UPLOADED", "INIT", "GENERATION", "VARIATION")
NO_STYLE = "None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a number comes from and when it was read."""

    name: Literal["schema", "provider", "billed", "brief", "threads"]
    read_on: date


SCHEMA = Source(name="schema", read_on=date(2026, 10, 8))
PROVIDER = Source(name="provider", read_on=date(2026, 11, 22))
BILLED = Source(name="billed", read_on=date(2026, 9, 19))
BRIEF = Source(name="brief", read_on=date(2026, 11, 22))
THREADS = Source(name="threads", read_on=date(2026, 11, 30))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A closed range of one parameter.

    Attributes:
        low, high: Both allowed.
        unit: What is counted.
        source: Where the range comes from.
    """

    low: float
    high: float
    unit: str
    source: Source

    def allows(self, value: float) -> bool:
        """True when `value` lies in the range; false for NaN."""
        return self.low <= value <= self.high

    def tightened(self, *, high: float | None) -> Limit:
        """The same range with a lower upper end; a looser one is refused by `ModelSpec.tightened`."""
        return self if high is None else replace(self, high=min(self.high, high))

    def __str__(self) -> str:
        return f"{_number(self.low)}–{_number(self.high)} {self.unit}"


class WireFormat(Config):
    """How a field is written in a request. It does not change what is asked for, so no id depends on it."""

    prompt_enhance: PromptEnhanceForm = Field(
        default="word",
        description="word: OFF, ON or AUTO. boolean: false or true, AUTO left out. omit_when_off: a word, OFF left out.",
    )
    style: WhenSent = Field(default="always", description="when_asked: the style None is left out.")
    seed: WhenSent = Field(default="always", description="when_asked: only a seed that the row gives is sent.")


DEFAULT_WIRE_FORMAT = WireFormat()


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Credits per image: an estimate for the quote. What is booked is the API's own figure."""

    credits_per_image: int
    source: Source


def _number(value: float) -> str:
    # Without a thousands separator: a cell with one is no number, and what an error says gets copied.
    return f"{value:.0f}" if value == int(value) else f"{value:g}"


# Seven presets and None, schema. A style left out of a request means Dynamic, so `None` is always sent by its UUID.
SEEDREAM_STYLES: Mapping[str, str] = MappingProxyType(
    {
        "None": "556c1ee5-ec38-42e8-955a-1e82dad0ffa1",
        "Cinematic": "a5632c7c-ddbb-4e2f-ba34-8456ab3ac436",
        "Creative": "6fedbf1f-4a17-45ec-84fb-92fe524a29ef",
        "Dynamic": "111dc692-d470-4eec-b791-3475abac4c46",
        "Fashion": "594c4a08-a522-4e0e-b7ff-e4dac4b6b622",
        "Portrait": "ab5a4220-7c42-41e5-a578-eddb9fed3d75",
        "Stock Photo": "5bdc3f2a-1be6-4d1c-8e77-992a30824a2c",
        "Vibrant": "dee282d3-891f-4f73-ba02-7f8131e5541b",
    }
)


# Unproven, so a warning each and never a refusal. Of a v2 prompt the schema allows 9999 characters, v1's limit is 1500,
# and two third parties name 2000 (threads).
PROVEN_PROMPT_CHARACTERS = 1500
# What the provider asks of a reference image (threads); Leonardo names no such limits, and may scale.
REFERENCE_RATIO = Limit(low=1 / 3, high=3, unit="width/height", source=THREADS)
REFERENCE_SIDE = Limit(low=1, high=6000, unit="px a side", source=THREADS)
REFERENCE_BYTES = Limit(low=1, high=10_000_000, unit="bytes", source=THREADS)


def reference_advice(width_px: int, height_px: int, size_bytes: int) -> str | None:
    """What the provider is not known to take of a reference image; None where it is."""
    if not REFERENCE_RATIO.allows(width_px / height_px):
        return f"{width_px}x{height_px}, where the provider takes ratios from 1:3 to 3:1"
    if not REFERENCE_SIDE.allows(max(width_px, height_px)):
        return f"{width_px}x{height_px}, where the provider takes {REFERENCE_SIDE.high:.0f} px a side at most"
    if not REFERENCE_BYTES.allows(size_bytes):
        return f"{size_bytes} bytes, where the provider takes {REFERENCE_BYTES.high:.0f} at most"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model: what a request may ask for, and what an image costs.

    `width_px`, `height_px` and the rest of the hard limits refuse a request; `provider_pixels` and `provider_ratio`
    describe the sizes the provider serves well, and only warn unless a dataset asks for `size_policy: provider`.
    """

    name: str
    prompt_characters: Limit
    width_px: Limit
    height_px: Limit
    default_width_px: int
    default_height_px: int
    provider_pixels: Limit
    provider_ratio: Limit
    quantity: Limit
    default_quantity: int
    references: Limit
    seed: Limit
    styles: Mapping[str, str]
    allowed_styles: tuple[str, ...]
    prompt_enhance: tuple[str, ...]
    reference_types: tuple[str, ...]
    reference_strengths: tuple[str, ...]
    price: Price | None
    wire: WireFormat = DEFAULT_WIRE_FORMAT

    def style_name(self, name_or_uuid: str) -> str:
        """The preset's own spelling for a name (any case) or a UUID.

        Raises:
            LimitError: Not a style of this model, or not one that this deployment allows.
        """
        wanted = name_or_uuid.strip().casefold()
        for name, uuid in self.styles.items():
            if wanted in (name.casefold(), uuid) and name in self.allowed_styles:
                return name
        raise LimitError(
            "style",
            got=name_or_uuid,
            allowed="one of " + ", ".join(self.allowed_styles),
            fix="use a preset's name or its UUID" + did_you_mean(name_or_uuid, self.allowed_styles),
        )

    def size_advice(self, width_px: int, height_px: int) -> str | None:
        """What is unusual about a size that the hard limits allow; None when the provider serves it well."""
        pixels, ratio = width_px * height_px, width_px / height_px
        if not self.provider_pixels.allows(pixels):
            return f"{width_px}x{height_px} has {_number(pixels)} pixels; the provider serves {self.provider_pixels}"
        if not self.provider_ratio.allows(ratio):
            return f"{width_px}x{height_px} has the ratio {ratio:.4g}; the provider serves {self.provider_ratio}"
        return None

    def tightened(self, limits: TighterLimits) -> ModelSpec:
        """This model under a deployment's own limits.

        Raises:
            ConfigError: A limit is looser than the model's, or leaves nothing that is allowed.
            LimitError: A style that the model does not have.
        """
        for name, own, asked in (
            ("largest_width", self.width_px, limits.largest_width),
            ("largest_height", self.height_px, limits.largest_height),
            ("largest_quantity", self.quantity, limits.largest_quantity),
            ("largest_prompt", self.prompt_characters, limits.largest_prompt),
        ):
            if asked is not None and not own.allows(asked):
                raise ConfigError(
                    f"{name}: got {asked}, allowed for {self.name} is {own}; a deployment can only tighten a limit"
                )
        if limits.allowed_styles == ():
            raise ConfigError(f"allowed_styles: got none, allowed is any of {', '.join(self.allowed_styles)}")
        return replace(
            self,
            width_px=self.width_px.tightened(high=limits.largest_width),
            height_px=self.height_px.tightened(high=limits.largest_height),
            quantity=self.quantity.tightened(high=limits.largest_quantity),
            prompt_characters=self.prompt_characters.tightened(high=limits.largest_prompt),
            allowed_styles=self.allowed_styles
            if limits.allowed_styles is None
            else tuple(dict.fromkeys(self.style_name(style) for style in limits.allowed_styles)),
            wire=WireFormat(
                prompt_enhance=limits.send_prompt_enhance or self.wire.prompt_enhance,
                style=limits.send_style or self.wire.style,
                seed=limits.send_seed or self.wire.seed,
            ),
        )


class TighterLimits(Config):
    """A deployment's own limits, below the models', and how it writes requests. None leaves what the model says."""

    largest_width: int | None = Field(default=None, description="In pixels; at most the model's own limit.")
    largest_height: int | None = Field(default=None, description="In pixels; at most the model's own limit.")
    largest_quantity: int | None = Field(default=None, description="Images per request; at most the model's own limit.")
    largest_prompt: int | None = Field(default=None, description="Characters; at most the model's own limit.")
    allowed_styles: tuple[str, ...] | None = Field(
        default=None, description="Names or UUIDs; default: all of the model's."
    )
    allowed_models: tuple[str, ...] | None = Field(default=None, description="Default: all that are known.")
    send_prompt_enhance: PromptEnhanceForm | None = Field(
        default=None,
        description="How prompt_enhance is written: word (the default), boolean, or omit_when_off.",
    )
    send_style: WhenSent | None = Field(
        default=None, description="always (the default), or when_asked: the style None is left out."
    )
    send_seed: WhenSent | None = Field(
        default=None,
        description="always (the default), or when_asked: only a row's own seed is sent. A request whose answer is lost "
        "then has to be decided by a person where the history shows one like it.",
    )


SEEDREAM_4_0 = ModelSpec(
    name="seedream-4.0",
    prompt_characters=Limit(low=1, high=9999, unit="characters", source=SCHEMA),
    width_px=Limit(low=32, high=14142, unit="px", source=SCHEMA),
    height_px=Limit(low=32, high=14142, unit="px", source=SCHEMA),
    default_width_px=1024,
    default_height_px=1024,
    provider_pixels=Limit(low=1280 * 720, high=4096 * 4096, unit="pixels", source=PROVIDER),
    provider_ratio=Limit(low=1 / 16, high=16, unit="width/height", source=PROVIDER),
    quantity=Limit(low=1, high=8, unit="images per request", source=SCHEMA),
    default_quantity=1,
    references=Limit(low=0, high=6, unit="image references", source=SCHEMA),
    seed=Limit(low=0, high=2_147_483_638, unit="(integer)", source=SCHEMA),
    styles=SEEDREAM_STYLES,
    allowed_styles=tuple(SEEDREAM_STYLES),
    prompt_enhance=PROMPT_ENHANCE,
    reference_types=REFERENCE_TYPES,
    reference_strengths=REFERENCE_STRENGTHS,
    price=Price(credits_per_image=28, source=BRIEF),
)
# 4.5 differs in its default size (schema), in its price, which was seen billed (0.0419 dollars, 28 credits), and in the
# provider's smallest size: 1024x1024 was answered with "image size must be at least 3686400 pixels".
SEEDREAM_4_5 = replace(
    SEEDREAM_4_0,
    name="seedream-4.5",
    default_width_px=2048,
    default_height_px=2048,
    provider_pixels=Limit(low=3_686_400, high=4096 * 4096, unit="pixels", source=THREADS),
    price=Price(credits_per_image=28, source=BILLED),
)

MODEL_ENTRY_POINTS = "seedream_assets.models"


class _Models(Mapping[str, ModelSpec]):
    """Every model by its name: this package's, and those that other packages bring by an entry point.

    Loaded when they are first asked for, since a package that brings one imports this module.
    """

    def __getitem__(self, name: str) -> ModelSpec:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    @cached_property
    def _known(self) -> dict[str, ModelSpec]:
        known = {model.name: model for model in (SEEDREAM_4_0, SEEDREAM_4_5)}
        for point in sorted(entry_points(group=MODEL_ENTRY_POINTS)):
            model = point.load()
            if not isinstance(model, ModelSpec):
                raise ConfigError(f"entry point {point.name} of {MODEL_ENTRY_POINTS}: {point.value} is no ModelSpec")
            # A price or a limit that this package knows is not changed from outside.
            known.setdefault(model.name, model)
        return known


MODELS: Mapping[str, ModelSpec] = _Models()
# An image's number within its request is below this, whichever model it was bought from.
LARGEST_REQUEST = max(int(model.quantity.high) for model in MODELS.values())
# Pay-as-you-go rate; every published charge is a whole number of credits at it (inferred from seven bills, 2026-09).
DOLLARS_PER_CREDIT = 0.001495


class ModelCatalog(Mapping[str, ModelSpec]):
    """The models a deployment may use, each under the deployment's limits.

    Args:
        limits: The deployment's, then a dataset's own: each can only tighten what came before.

    Raises:
        ConfigError: A limit that loosens a model's, or a model that does not exist.
    """

    def __init__(self, *limits: TighterLimits) -> None:
        self._models = dict(MODELS)
        for further in limits:
            self._models = _under(self._models, further)

    def __getitem__(self, name: str) -> ModelSpec:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def find(self, name: str) -> ModelSpec:
        """The model of this name.

        Raises:
            LimitError: Not a known model, or not one that this deployment allows.
        """
        if name not in self._models:
            fix = "name one of these models" + did_you_mean(name, self._models)
            raise LimitError("model", got=name, allowed="one of " + ", ".join(self._models), fix=fix)
        return self._models[name]


def _under(models: Mapping[str, ModelSpec], limits: TighterLimits) -> dict[str, ModelSpec]:
    names = tuple(models) if limits.allowed_models is None else limits.allowed_models
    unknown = [name for name in names if name not in models]
    if unknown or not names:
        meant = "".join(did_you_mean(name, models) for name in unknown[:1])
        raise ConfigError(f"allowed_models: got {list(names)}, allowed is any of {', '.join(models)}{meant}")
    try:
        return {name: models[name].tightened(limits) for name in names}
    except LimitError as error:
        raise ConfigError(f"allowed_styles: {error}") from error


def credits_for(model: ModelSpec, images: int) -> int:
    """Credits that `images` images are expected to cost.

    Raises:
        BudgetError: The model's price is not known; an unknown price is never taken for zero.
    """
    if model.price is None:
        raise BudgetError(f"the price of {model.name} is not known; set it before anything is bought with this model")
    return model.price.credits_per_image * images
