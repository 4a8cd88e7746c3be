"""The documented create request as models, and the reading of a body with them.

Source: Leonardo's OpenAPI v2 for seedream-4.0 and seedream-4.5 (read 2026-10-08) and the Seedream guide pages, which
add `strength` and the older reference types `INIT` and `GENERATION`. Whether a reference exists, what a prompt may say
and what it costs is decided in `account`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from seedream_assets.emulator.settings import LARGEST_SEED, Accepts, Uuid

UPLOADED_TYPES: Final = ("UPLOADED", "INIT")
GENERATED_TYPES: Final = ("GENERATED", "GENERATION", "VARIATION")

Style = Literal[
    "a5632c7c-ddbb-4e2f-ba34-8456ab3ac436",  # Cinematic
    "6fedbf1f-4a17-45ec-84fb-92fe524a29ef",  # Creative
    "111dc692-d470-4eec-b791-3475abac4c46",  # Dynamic
    "594c4a08-a522-4e0e-b7ff-e4dac4b6b622",  # Fashion
    "ab5a4220-7c42-41e5-a578-eddb9fed3d75",  # Portrait
    "5bdc3f2a-1be6-4d1c-8e77-992a30824a2c",  # Stock Photo
    "dee282d3-891f-4f73-ba02-7f8131e5541b",  # Vibrant
    "556c1ee5-ec38-42e8-955a-1e82dad0ffa1",  # None
]
DEFAULT_STYLE: Final[Style] = "111dc692-d470-4eec-b791-3475abac4c46"
NO_STYLE: Final[Style] = "556c1ee5-ec38-42e8-955a-1e82dad0ffa1"


def _as_whole(value: Any) -> Any:
    """JSON makes no difference between 1024 and 1024.0, nor does the vendor's validator."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_as_whole)]
Side = Annotated[Whole, Field(ge=32, le=14142)]


class _Documented(BaseModel):
    """Nothing else than its fields. A field that was left out has its default, which need not be allowed as a value."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ReferenceImage(_Documented):
    """Which picture: by id, by address, or with its bytes."""

    type: Literal["UPLOADED", "INIT", "GENERATED", "GENERATION", "VARIATION", "URL", "BASE64"]
    id: Uuid = ""
    url: str = Field(default="", pattern="^(https://|data:)")
    data: str = Field(default="", min_length=1)
    width: Whole = Field(default=1, ge=1)
    height: Whole = Field(default=1, ge=1)

    @property
    def needed(self) -> Literal["url", "data", "id"]:
        """The field that a picture of this type is named by."""
        return "url" if self.type == "URL" else "data" if self.type == "BASE64" else "id"


class ImageReference(_Documented):
    """A reference image and its strength."""

    image: ReferenceImage
    order: Whole = Field(default=0, ge=0)
    strength: str = Field(default="", pattern="^(LOW|MID|HIGH)$")


class Guidances(_Documented):
    """What guides a picture besides its prompt."""

    image_reference: list[ImageReference] = Field(default_factory=list, max_length=6)


class Parameters(_Documented):
    """The parameters of seedream-4.0."""

    prompt: str = Field(min_length=1, max_length=9999)
    width: Side = 1024
    height: Side = 1024
    quantity: Whole = Field(default=1, ge=1, le=8)
    seed: Whole = Field(default=-1, ge=0, le=LARGEST_SEED)
    style_ids: list[Style] = Field(default=[DEFAULT_STYLE], max_length=1)
    prompt_enhance: Literal["AUTO", "ON", "OFF"] = "AUTO"
    guidances: Guidances = Guidances()


class LargerParameters(Parameters):
    """The parameters of seedream-4.5."""

    width: Side = 2048
    height: Side = 2048


MODELS: Final = {"seedream-4.0": Parameters, "seedream-4.5": LargerParameters}


class CreateRequest(_Documented):
    """The body of `POST /v2/generations`."""

    model: Literal["seedream-4.0", "seedream-4.5"]
    public: bool
    parameters: dict[str, Any]


class InvalidRequestError(Exception):
    """What the documented schema has against a create request."""

    def __init__(self, problems: list[str]) -> None:
        """Keep each problem in the vendor's wording."""
        super().__init__("; ".join(problems))
        self.problems = problems


def read_create(body: object, accepts: Accepts) -> tuple[CreateRequest, Parameters]:
    """Read a create request.

    Args:
        body: The JSON.
        accepts: What this account takes of the forms that are documented.

    Raises:
        InvalidRequestError: It is not what is documented.
    """
    try:
        request = CreateRequest.model_validate(body)
        parameters = MODELS[request.model].model_validate(_in_words(request.parameters, accepts))
    except ValidationError as error:
        inside = () if error.title == CreateRequest.__name__ else ("parameters",)
        raise InvalidRequestError(
            [
                _problem((*inside, *mistake["loc"]), mistake["type"], mistake["msg"], mistake.get("ctx", {}))
                for mistake in error.errors()
            ]
        ) from error
    missing = [
        f"{reference_place(number)}.{reference.image.needed} is required"
        for number, reference in enumerate(parameters.guidances.image_reference)
        if not getattr(reference.image, reference.image.needed)
    ]
    if problems := [*_forms_refused(request.parameters, accepts), *missing]:
        raise InvalidRequestError(problems)
    return request, parameters


def _in_words(parameters: Mapping[str, Any], accepts: Accepts) -> Mapping[str, Any]:
    """The parameters with the schema's word for a boolean, where one is taken."""
    value = parameters.get("prompt_enhance")
    if not isinstance(value, bool) or accepts.prompt_enhance not in ("boolean", "either"):
        return parameters
    return {**parameters, "prompt_enhance": "ON" if value else "OFF"}


def _forms_refused(parameters: Mapping[str, Any], accepts: Accepts) -> Iterator[str]:
    """What this account has against parameters that the schema allows."""
    if "prompt_enhance" in parameters:
        if accepts.prompt_enhance == "nothing":
            yield "parameters.prompt_enhance is not allowed"
        elif accepts.prompt_enhance == "boolean" and not isinstance(parameters["prompt_enhance"], bool):
            yield "parameters.prompt_enhance must be a boolean"
    styles = parameters.get("style_ids")
    if styles is not None and (accepts.style == "nothing" or (accepts.style == "presets" and NO_STYLE in styles)):
        yield FIELDLESS
    if "seed" in parameters and not accepts.seed:
        yield "parameters.seed is not allowed"


def reference_place(number: int) -> str:
    """Where a reference image stands in the body; numbers begin at 0."""
    return f"parameters.guidances.image_reference[{number}].image"


# Seen live: a missing `public` and a style of another model are refused without naming a field.
FIELDLESS: Final = "Validation failed"
_WORDING: Final[Mapping[str, str]] = {
    "missing": "is required",
    "extra_forbidden": "is not allowed",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must be at least {min_length} characters long",
    "string_too_long": "must be at most {max_length} characters long",
    "string_pattern_mismatch": "has an invalid format",
    "literal_error": "must be one of: {expected}",
    "too_long": "must have at most {max_length} items",
    "int_type": "must be an integer",
    "string_type": "must be a string",
    "bool_type": "must be a boolean",
    "list_type": "must be an array",
    "dict_type": "must be an object",
    "model_type": "must be an object",
}


def _problem(steps: tuple[int | str, ...], kind: str, message: str, allowed: Mapping[str, Any]) -> str:
    place = ""
    for step in steps:
        place += f"[{step}]" if isinstance(step, int) else f".{step}" if place else step
    if place.startswith(("public", "parameters.style_ids")):
        return FIELDLESS
    wording = _WORDING[kind].format(**allowed) if kind in _WORDING else message
    return f"{place} {wording}".strip()
