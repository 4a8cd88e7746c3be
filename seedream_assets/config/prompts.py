"""Where a dataset's prompts are, how the table is read, and what a row gets that says nothing: the recipe.

Reference images are images that steer a prompt. People write them in these forms, and they are read into one:

    photos/chair.png | s3://bucket/red.png | https://example.com/a.jpg | GENERATED:<uuid> | UPLOADED:<uuid>
    ["photos/a|b.png", {"source": "photos/chair.png", "strength": "HIGH"}, {"id": "<uuid>", "type": "UPLOADED"}]

The bar separates; whatever contains a bar is written as JSON. An id is a Leonardo image and must say its type; a
source is a file that will be uploaded, so its type is UPLOADED. Not here: reading or uploading an image.

Settings have other names elsewhere. Such a name in a table or a recipe sets nothing, and `advice_on_name` says what to
write instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from fractions import Fraction
from typing import Annotated, Any, NamedTuple, Self
from urllib.parse import urlsplit

from jinja2 import Environment, TemplateSyntaxError, pass_context
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from seedream_assets.config.base import NO_SUCH_KEY, Config, Place, problems_of, refuse
from seedream_assets.config.models import MODELS, NO_STYLE, ModelCatalog, ModelSpec, SizePolicy
from seedream_assets.errors import LimitError, RowError
from seedream_assets.wording import count_of, did_you_mean

# Images per prompt. Our own bound: a size that slipped into the wrong column must not become an order.
LARGEST_QUANTITY = 10_000
LONGEST_TEMPLATE = 100_000
# Of Jinja's own filters and globals: what would make a prompt differ from run to run.
NOT_IN_TEMPLATES = ("lipsum", "random")
DEFAULT_MODEL = "seedream-4.0"
_PERCENT = re.compile(r"\s*(\d{1,3}(?:\.\d{1,9})?)\s*%\s*", re.ASCII)
_ALLOWED = "allowed is a number of rows, as 20, or a share of them, as 0.05 or 5%"
_SEPARATOR = "|"
_SOURCE_TYPE = "UPLOADED"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)  # two letters or more: C:\ is a drive
_FORMS = "a path, s3://bucket/key, https://…, GENERATED:<uuid> or UPLOADED:<uuid>, separated by |; or a JSON list"
_KEYS = ({"source"}, {"id", "type"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxRejected:
    """The most rows that may be rejected, as a number or as a share.

    Attributes:
        rows: The number; None where it is a share.
        share: From 0 to 1; None where it is a number.
        written: As it was written.
    """

    rows: int | None = None
    share: Fraction | None = None
    written: str

    @classmethod
    def of(cls, given: Any) -> MaxRejected:
        """What a dataset declares: 20 (rows), 0.05 or "5%" (of the rows).

        Raises:
            ValueError: It is neither. 1.0 is refused as well, since it may be meant as one row or as all.
        """
        if isinstance(given, MaxRejected):
            return given
        written = str(given)
        refusal = ValueError(_ALLOWED)
        if isinstance(given, bool):
            raise refusal
        if isinstance(given, int) or (isinstance(given, str) and re.fullmatch(r"\d{1,18}", written, re.ASCII)):
            if int(given) < 0:
                raise refusal
            return cls(rows=int(given), written=written)
        if percent := _PERCENT.fullmatch(written):
            share = Fraction(percent[1]) / 100
            if share > 1:
                raise refusal
            return cls(share=share, written=written)
        try:
            share = Fraction(written)
        except (ValueError, ZeroDivisionError):  # a word; NaN and infinity; 1/0
            raise refusal from None
        if not 0 <= share < 1:
            raise refusal
        return cls(share=share, written=written)

    def allows(self, rejected: int, *, of: int) -> bool:
        """Whether so many rejected rows of so many are borne."""
        return rejected <= (self.rows if self.share is None else self.share * of)  # type: ignore[operator]  # one is set

    def __str__(self) -> str:
        return self.written if self.share is None else f"{float(self.share * 100):g}%"


def _as_many(tables: Any) -> Any:
    return (tables,) if isinstance(tables, str) else tables


@pass_context
def _as_it_is(_: object, value: Any) -> Any:
    return value


def _check_template(source: str) -> str:
    """Whether it can be compiled; what it may ask for while it is rendered is up to `prompts.template`."""
    if len(source) > LONGEST_TEMPLATE:
        raise ValueError(f"it has {count_of(len(source), 'character')}; allowed are {LONGEST_TEMPLATE}")
    # Neither optimised nor without `finalize`: constants would be worked out here, however large they are.
    environment = Environment(autoescape=False, optimized=False, finalize=_as_it_is)  # noqa: S701  # nothing is rendered; prompts are no HTML
    for name in NOT_IN_TEMPLATES:
        environment.filters.pop(name, None)
    try:
        environment.compile(source)
    except TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.message}") from error
    except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError) as error:
        # Nested deeper than Python can; a number of more digits than it reads.
        raise ValueError(f"it cannot be compiled ({type(error).__name__}: {error})") from error
    return source


Template = Annotated[str, AfterValidator(_check_template)]
Tables = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(_as_many),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class Prompts(Config):
    """Where the prompts are and how to read them."""

    table: Tables = Field(
        description="CSV, TSV, JSON Lines, Parquet or Excel: a path beside this file, s3:// or https://, a glob, or a "
        "list of these. {partition} stands for the partition.",
        examples=["prompts.csv", "s3://bucket/prompts/*.parquet"],
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="This project's name: the table's name.",
        examples=[{"prompt": "Prompt"}],
    )
    template: Template | None = Field(
        default=None,
        description="Jinja over the row's columns; gives the final prompt.",
        examples=["{{ prompt }}, studio light"],
    )
    max_rejected: (
        Annotated[MaxRejected, PlainValidator(MaxRejected.of), WithJsonSchema({"type": ["number", "string"]})] | None
    ) = Field(
        default=None,
        description="Rows that may be rejected, as a number or a share; where there are more, nothing is read, planned "
        "or bought. Default: all but the last one.",
        examples=[20, 0.05, "5%"],
    )


RECOGNISED = (
    "prompt",
    "prompt_id",
    "model",
    "width",
    "height",
    "quantity",
    "seed",
    "style",
    "prompt_enhance",
    "references",
    "reference_strength",
    "public",
)


class _Elsewhere(NamedTuple):
    """Names of settings in another tool, as `_plain_name` writes them, with spaces between; and what to write instead.

    Where a name is also an ordinary word, `cells` is what a value looks like when the setting is meant.
    """

    tool: str
    names: str
    settings: tuple[str, ...] = ()
    remark: str = ""
    cells: str = ".*"

    @property
    def advice(self) -> str:
        """What the names mean, and what to write."""
        names = " and ".join(self.settings)
        nothing = f"it is a setting of {self.tool}, and nothing here is like it"
        meaning = f"{self.tool} has this name for {names}" if names else nothing
        remark = self.remark or (f"write {names}" if names else "")
        return f"{meaning}; {remark}" if remark else meaning


_LEONARDO, _OPENAI, _MIDJOURNEY = "Leonardo's API", "OpenAI's API", "Midjourney"
_DIFFUSION, _HOSTS = "Stable Diffusion", "Replicate"
_MODEL, _QUANTITY, _STYLE, _ENHANCE = ("model",), ("quantity",), ("style",), ("prompt_enhance",)
_REFERENCES, _STRENGTH, _SIZE = ("references",), ("reference_strength",), ("width", "height")
_PIXELS = "write width and height, in pixels"
_WORDS = "write reference_strength: LOW, MID or HIGH"
_A_NUMBER, _A_RATIO = r"\d+(\.\d+)?%?", r"\d+\s*[:x/]\s*\d+"
_A_SIZE = r"\d+\s*[x×*]\s*\d+(px)?|[1248]k|auto|(square|portrait|landscape)(_\w+)?"
_ELSEWHERE = (
    _Elsewhere(_LEONARDO, "style_id style_ids style_uuid preset_style", _STYLE),
    _Elsewhere(_LEONARDO, "model_id model_name", _MODEL),
    _Elsewhere(_LEONARDO, "num_images", _QUANTITY),
    _Elsewhere(_LEONARDO, "guidances image_reference image_references controlnets image_prompts", _REFERENCES),
    _Elsewhere(_LEONARDO, "init_image init_image_id init_generation_image_id", _REFERENCES),
    _Elsewhere(_LEONARDO, "strength", _STRENGTH, _WORDS, cells=f"{_A_NUMBER}|low|mid|high"),
    _Elsewhere(_LEONARDO, "init_strength image_prompt_weight", _STRENGTH, _WORDS),
    _Elsewhere(_LEONARDO, "enhance_prompt prompt_magic", _ENHANCE),
    _Elsewhere(_LEONARDO, "is_public", ("public",)),
    _Elsewhere(_LEONARDO, "alchemy photo_real contrast_ratio enhance_prompt_instruction"),
    _Elsewhere(_LEONARDO, "contrast", cells=_A_NUMBER),
    _Elsewhere(_LEONARDO, "parameters", remark="write each setting that it holds under its own name"),
    _Elsewhere(_OPENAI, "n", _QUANTITY, cells=_A_NUMBER),
    _Elsewhere(_OPENAI, "size image_size resolution dimensions", _SIZE, _PIXELS, cells=_A_SIZE),
    _Elsewhere(_OPENAI, "quality", cells="standard|hd"),
    _Elsewhere(_OPENAI, "response_format output_format output_compression"),
    _Elsewhere(_MIDJOURNEY, "ar aspect ratio", _SIZE, _PIXELS, cells=_A_RATIO),
    _Elsewhere(_MIDJOURNEY, "sref cref oref image_prompt style_reference", _REFERENCES),
    _Elsewhere(_MIDJOURNEY, "iw image_weight", _STRENGTH, _WORDS),
    _Elsewhere(_MIDJOURNEY, "stylize niji"),
    _Elsewhere(_MIDJOURNEY, "chaos weird", cells=_A_NUMBER),
    _Elsewhere(_DIFFUSION, "batch_size batch_count n_iter num_images_per_prompt", _QUANTITY),
    _Elsewhere(_DIFFUSION, "checkpoint sd_model base_model", _MODEL),
    _Elsewhere(_DIFFUSION, "style_preset", _STYLE),
    _Elsewhere(_DIFFUSION, "controlnet control_image ip_adapter", _REFERENCES),
    _Elsewhere(_DIFFUSION, "denoising_strength", _STRENGTH, _WORDS),
    _Elsewhere(_DIFFUSION, "negative_prompt neg_prompt", remark="write into the prompt what must not be seen"),
    _Elsewhere(_DIFFUSION, "cfg cfg_scale guidance_scale num_inference_steps sampling_steps lora loras vae clip_skip"),
    _Elsewhere(_DIFFUSION, "sampler sampler_name sampling_method scheduler hires_fix enable_hr restore_faces"),
    _Elsewhere(_DIFFUSION, "steps guidance", cells=_A_NUMBER),
    _Elsewhere(_HOSTS, "num_outputs number_of_images n_images num_samples qty", _QUANTITY),
    _Elsewhere(_HOSTS, "aspect_ratio", _SIZE, _PIXELS),
    _Elsewhere(_HOSTS, "reference reference_image reference_images ref_image input_image input_images", _REFERENCES),
    _Elsewhere(_HOSTS, "prompt_upsampling magic_prompt", _ENHANCE),
    _Elsewhere(_HOSTS, "seeds random_seed", ("seed",)),
    _Elsewhere(_HOSTS, "output_quality go_fast safety_tolerance enable_safety_checker disable_safety_checker"),
)
_BY_NAME: Mapping[str, _Elsewhere] = {name: entry for entry in _ELSEWHERE for name in entry.names.split()}
# A word that is spelled almost as one of these is mostly a slip. Shorter names and "prompt" have too many neighbours.
_MISSPELLED = ("model", "width", "height", "quantity", "style", "references", "reference_strength", "prompt_enhance")
_ORDINARY = ("mode", "with", "prompt_enhanced")
# One letter too many or too few in a word of five. "stale" and "style", "quality" and "quantity" are less alike.
_LEAST_LIKENESS = 0.85


def advice_on_name(name: str, value: str | None, *, given: Collection[str] = ()) -> str | None:
    """What to write instead of a name that looks like a setting's and is none's.

    Args:
        name: A column of a table, or a key of the recipe.
        value: What stands there, of a column the first cell that is not empty; None where the name alone decides.
        given: Settings that are given under their own names: another name for one of them is no slip.

    Returns:
        For a person, as the end of a sentence; None where the name looks like nothing here.
    """
    plain = _plain_name(name)
    if plain in RECOGNISED:
        return None if plain in given else f"the setting is written {plain}"
    entry = _BY_NAME.get(plain)
    if entry is not None:
        is_given = bool(entry.settings) and set(entry.settings) <= set(given)
        is_meant = value is None or re.fullmatch(entry.cells, value.strip(), re.IGNORECASE | re.DOTALL)
        return entry.advice if is_meant and not is_given else None
    if plain in _ORDINARY:
        return None
    near = next((known for known in _MISSPELLED if _is_near(plain, known)), None)
    return None if near is None or near in given else f"did you mean {near}?"


def _plain_name(name: str) -> str:
    """A name in small letters with single underscores: `styleIds`, `Style IDs`, `--ar`, `parameters.seed`."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[\W_]+", "_", apart).strip("_").casefold().removeprefix("parameters_")


def _is_near(word: str, known: str) -> bool:
    """Whether a word begins with the same letter and has the same letters, or almost the same in the same order."""
    if word[:1] != known[0]:
        return False
    return sorted(word) == sorted(known) or SequenceMatcher(None, word, known).ratio() > _LEAST_LIKENESS


def _read_reference(item: Any) -> Any:
    """What an item holds is read with the whole list, under its model."""
    if not isinstance(item, str | dict):
        raise ValueError("allowed is a text, or a mapping as {source: references/mug.jpg, strength: HIGH}")
    return item


Reference = Annotated[
    Any,
    PlainValidator(_read_reference),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": {"type": "string"}}]},
    ),
]


class Recipe(Config):
    """Defaults for every row; a row's own cell wins."""

    model: str = Field(default=DEFAULT_MODEL, description="An image model: seedream-4.0 or seedream-4.5.")
    width: int | None = Field(
        default=None, description="Pixels, 32 to 14142; default: the model's own.", examples=[2048]
    )
    height: int | None = Field(
        default=None, description="Pixels, 32 to 14142; default: the model's own.", examples=[2048]
    )
    quantity: int = Field(
        default=1,
        ge=1,
        le=LARGEST_QUANTITY,
        description="Images per prompt; more than one request may hold is split into several.",
    )
    seed: int | None = Field(default=None, description="0 to 2147483638; left out: one derived for each request.")
    style: str = Field(default=NO_STYLE, description="A preset's name or UUID, or None.", examples=["Cinematic"])
    prompt_enhance: str = Field(default="OFF", description="OFF, ON or AUTO.")
    public: bool = Field(default=False, description="Show the images in Leonardo's community feed.")
    references: tuple[Reference, ...] = Field(
        default=(),
        description="Reference images for every row: paths, addresses or Leonardo ids, or objects as in a cell.",
        examples=[["references/mug.jpg", {"source": "references/fabric.png", "strength": "HIGH"}]],
    )
    reference_strength: str = Field(default="MID", description="LOW, MID or HIGH.")

    @model_validator(mode="wrap")
    @classmethod
    def _advise_on_names(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """A key that is another tool's name for a setting, or almost a setting's own, is refused with the right one."""
        try:
            return handler(given)
        except ValidationError as error:
            problems = [(problem.place, problem.message) for problem in problems_of(error)]
        hints: dict[Place, str] = {}
        for name in given if isinstance(given, Mapping) else ():
            advice = advice_on_name(str(name), str(given[name]), given=("prompt", "prompt_id"))
            if advice and name not in cls.model_fields:
                hints[(name,)] = f"{NO_SUCH_KEY}: {advice}"
        return refuse(*((place, hints.get(place, message)) for place, message in problems))

    @field_validator("prompt_enhance", mode="before")
    @classmethod
    def _read_switch(cls, word: Any) -> Any:
        # An unquoted OFF is YAML's false.
        return ("ON" if word else "OFF") if isinstance(word, bool) else word

    @field_validator("model")
    @classmethod
    def _check_model(cls, name: str) -> str:
        if name not in MODELS:
            raise ValueError(f"allowed is one of {', '.join(MODELS)}{did_you_mean(name, MODELS)}")
        return name

    @field_validator("width", "height", "seed", "style", "prompt_enhance", "references", "reference_strength")
    @classmethod
    def _check_limit(cls, value: Any, field: ValidationInfo) -> Any:
        # Where the model's own name is wrong, the others are held against the default one's limits.
        model = MODELS[field.data.get("model", DEFAULT_MODEL)]
        if allowed := _allowed_instead(str(field.field_name), value, model):
            raise ValueError(f"allowed is {allowed}")
        # A request's seed is the row's plus the number of its first image.
        last_seed = model.seed.high - field.data.get("quantity", 1) + 1
        if field.field_name == "seed" and value is not None and value > last_seed:
            raise ValueError(
                f"allowed is {last_seed:.0f} or less with {count_of(field.data['quantity'], 'image')} a prompt"
            )
        return value

    def problems_under(self, models: ModelCatalog, size_policy: SizePolicy) -> list[tuple[str, str]]:
        """What a deployment's or a dataset's tighter limits do not allow, and what the provider does not serve well.

        Returns:
            Options, each with what is wrong with it.
        """
        model = models.get(self.model)
        if model is None:
            return [("model", f"got {self.model!r}, allowed is one of {', '.join(models)}")]
        found = []
        for name in ("width", "height", "style"):
            if allowed := _allowed_instead(name, getattr(self, name), model):
                found.append((name, f"got {getattr(self, name)!r}, allowed is {allowed}"))
        advice = model.size_advice(self.width or model.default_width_px, self.height or model.default_height_px)
        if advice and size_policy == "provider" and not found:
            found.append(("height" if self.width is None else "width", f"{advice}; size_policy: provider refuses it"))
        return found

    def cells(self, model: ModelSpec) -> dict[str, str]:
        """The defaults as a table's cells would give them, for a row of this model; an empty text for none."""
        return {
            "width": str(model.default_width_px if self.width is None else self.width),
            "height": str(model.default_height_px if self.height is None else self.height),
            "quantity": str(self.quantity),
            "seed": "" if self.seed is None else str(self.seed),
            "style": self.style,
            "prompt_enhance": self.prompt_enhance,
            "public": str(self.public),
            "references": _references_cell(self.references),
            "reference_strength": self.reference_strength,
        }


def _references_cell(references: tuple[str | dict[str, str], ...]) -> str:
    return json.dumps(references, ensure_ascii=False) if references else ""


def _allowed_instead(name: str, value: Any, model: ModelSpec) -> str | None:
    """What a model allows in the place of this value; None where it allows the value."""
    if value is None:
        return None
    limits = {"width": model.width_px, "height": model.height_px, "seed": model.seed}
    if name in limits:
        return None if limits[name].allows(value) else str(limits[name])
    if name == "style":
        try:
            model.style_name(value)
        except LimitError as error:
            return error.allowed + did_you_mean(value, model.allowed_styles)
        return None
    if name == "references":
        found = read_references(_references_cell(value), model.reference_strengths[0], model)
        return f"{found.allowed}; {found.fix}" if isinstance(found, RowError) else None
    words = model.prompt_enhance if name == "prompt_enhance" else model.reference_strengths
    return None if value.strip().upper() in words else "one of " + ", ".join(words)


class TableRules(Config):
    """What a dataset says about its prompt table, put together from `prompts`, `recipe` and `size_policy`.

    Attributes:
        columns: Recognised name → the table's name, where they differ by more than case and outer spaces.
        template: Jinja over the row's cells, under the table's names and the recognised ones (which win); None to
            take the prompt as it stands.
        size_policy: Whether a size that the provider does not serve well is a warning or an error of its row.
        used: Columns that something else of the dataset uses: its partitions, its checks, its exports.
    """

    columns: dict[str, str] = Field(default_factory=dict)
    template: Template | None = None
    recipe: Recipe = Recipe()
    size_policy: SizePolicy = "warn"
    used: tuple[str, ...] = ()


def read_references(text: str, strength: str, model: ModelSpec) -> str | RowError:
    """The cell as canonical JSON, or what is wrong with it.

    Args:
        text: The cell; empty for no references.
        strength: The row's strength, for every reference that does not give its own.
        model: Whose types, strengths and number of references apply.

    Returns:
        A JSON list in the order of the cell, without spaces and with sorted keys, of
        `{"source": …, "strength": …, "type": "UPLOADED"}` and `{"id": …, "strength": …, "type": …}`. Reading the
        result again gives the result.
    """
    items = _split(text)
    if isinstance(items, RowError):
        return items
    if not model.references.allows(len(items)):
        return RowError("references_count", str(model.references), f"the cell names {len(items)}; take some out")
    references = []
    for item in items:
        reference = _read_text(item, model) if isinstance(item, str) else _read_object(item, model)
        if isinstance(reference, RowError):
            return reference
        references.append({"strength": strength, **reference})
    return json.dumps(references, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _split(text: str) -> list[Any] | RowError:
    if not text.startswith(("[", "{")):
        return [item.strip() for item in text.split(_SEPARATOR) if item.strip()]
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        return RowError("references_syntax", _FORMS, f"the cell looks like JSON but is not: {error}")
    return items if isinstance(items, list) else [items]


def _read_text(item: str, model: ModelSpec) -> dict[str, str] | RowError:
    item = item.strip()
    prefix, _, rest = item.partition(":")
    if prefix.strip().upper() in model.reference_types:
        return _with_id(rest.strip(), prefix.strip().upper(), model)
    if _UUID.fullmatch(item):
        return RowError("references_type", _FORMS, f"say what the id is: GENERATED:{item} or UPLOADED:{item}")
    return _with_source(item)


def _read_object(item: object, model: ModelSpec) -> dict[str, str] | RowError:
    if not isinstance(item, dict) or not all(isinstance(value, str) for value in item.values()):
        return RowError("references_syntax", _FORMS, "each item is a text or an object of texts")
    keys = set(item) - {"strength"}
    if keys - ({"type"} if "source" in keys else set()) not in _KEYS:
        return RowError("references_syntax", _FORMS, "an object has source, or id and type; and strength if it likes")
    kind, strength = item.get("type", _SOURCE_TYPE).strip().upper(), item.get("strength")
    if "source" in keys and kind != _SOURCE_TYPE:
        return RowError("references_type", _SOURCE_TYPE, "a source is uploaded; leave its type out")
    reference = _with_source(item["source"].strip()) if "source" in keys else _with_id(item["id"].strip(), kind, model)
    if isinstance(reference, RowError) or strength is None:
        return reference
    canonical = read_strength(strength, model)
    return canonical if isinstance(canonical, RowError) else {**reference, "strength": canonical}


def read_strength(text: str, model: ModelSpec) -> str | RowError:
    """The model's own spelling of a strength, or what is wrong with it."""
    strength = text.strip().upper()
    if strength in model.reference_strengths:
        return strength
    return RowError("reference_strength", "one of " + ", ".join(model.reference_strengths), "use one of these words")


def _with_id(uuid: str, kind: str, model: ModelSpec) -> dict[str, str] | RowError:
    if kind not in model.reference_types:
        return RowError("references_type", "one of " + ", ".join(model.reference_types), "use one of these types")
    if not _UUID.fullmatch(uuid):
        return RowError("references_syntax", _FORMS, f"{kind} needs the id of a Leonardo image, 36 characters long")
    return {"id": uuid.lower(), "type": kind}


def _with_source(source: str) -> dict[str, str] | RowError:
    scheme = _SCHEME.match(source)
    if not source or any(character < " " or character == "\x7f" for character in source):
        return RowError("references_syntax", _FORMS, "a source is one line of text and not empty")
    if scheme is None:
        return {"source": source, "type": _SOURCE_TYPE}
    if scheme[1].lower() not in ("s3", "https"):
        return RowError("references_scheme", _FORMS, f"{scheme[1]}: is not read; {_scheme_fix(scheme[1].lower())}")
    try:
        parts = urlsplit(source)
    except ValueError:
        return RowError("references_syntax", _FORMS, "the address is malformed")
    if not parts.netloc or (scheme[1].lower() == "s3" and not parts.path.strip("/")):
        return RowError("references_syntax", _FORMS, "the address is not complete")
    if "@" in parts.netloc:
        return RowError("references_syntax", _FORMS, "take the user and password out of the address; it is stored")
    return {"source": source, "type": _SOURCE_TYPE}


def _scheme_fix(scheme: str) -> str:
    if scheme == "data":
        return "save the image to a file and give its path"
    if scheme == "file":
        return "give the path alone"
    return "use https, s3 or a path"
