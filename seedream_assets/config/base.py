"""The base of everything that is declared: a frozen model whose errors say where, what was given and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import InitErrorDetails, PydanticCustomError

from seedream_assets.errors import ConfigError
from seedream_assets.wording import did_you_mean

Place = tuple[str | int, ...]
# The context of a validation: what is validated stands in a YAML file.
AS_DECLARED = {"as_declared": True}
# What pydantic's kinds of errors mean to somebody who edits a YAML file; its own sentences are never shown.
_ALLOWED: Mapping[str, str] = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "string_unicode": "a text of whole characters",
    "string_too_short": "a text of {min_length} or more characters",
    "string_too_long": "a text of {max_length} or fewer characters",
    "string_pattern_mismatch": "a text that matches {pattern}",
    "too_short": "{min_length} or more entries",
    "too_long": "{max_length} or fewer entries",
    "tuple_type": "a list",
    "list_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "iterable_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
    "invalid_key": "a text as the key",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "none_required": "no value",
    "date_type": "a date as 2026-11-30",
    "date_parsing": "a date as 2026-11-30",
    "date_from_datetime_parsing": "a date as 2026-11-30",
    "date_from_datetime_inexact": "a date without a time, as 2026-11-30",
    "datetime_type": "a time as 2026-11-30T12:00",
    "datetime_parsing": "a time as 2026-11-30T12:00",
    "datetime_object_invalid": "a time as 2026-11-30T12:00",
    "datetime_from_date_parsing": "a date or a time, as 2026-11-30 or 2026-11-30T12:00",
    "greater_than_equal": "{ge} or more",
    "greater_than": "above {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "below {lt}",
    "multiple_of": "a multiple of {multiple_of}",
}
# What is left belongs to types that no model of this package has; a subclass of a component may have one.
_OTHER = "a value of the type that this option has"
_OWN = "config"
NO_SUCH_KEY = "there is no such key here"


class Config(BaseModel):
    """Something that is declared. An option without a value is an option that was left out.

    Raises:
        ConfigError: One line for everything that is wrong, when a value is built by hand. Where one is part of a larger
            one, its errors are the larger one's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            # Not chained: pydantic's error keeps the input, which may hold a key.
            raise ConfigError("\n".join(str(problem) for problem in problems_of(error))) from None

    # pydantic's own flag (RootModel has it): what is nested is built without `__init__`, so that errors keep their place.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # functions have no declared attributes

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        return without_nulls(given)

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_unknown(cls, given: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """A key that is no option is refused, with the option that it is most like.

        In YAML a field that is no option, which the JSON schema leaves out, is as unknown as any other key.
        """
        derived: list[str] = []
        if info.context is AS_DECLARED and isinstance(given, Mapping):
            derived = [name for name, field in cls.model_fields.items() if _is_derived(field) and name in given]
            given = {name: value for name, value in given.items() if name not in derived}
        problems: list[tuple[Place, str]] = [((name,), cls._unknown(name)) for name in derived]
        try:
            read = handler(given)
        except ValidationError as error:
            found = problems_of(error)
            if not derived and not any(problem.message == NO_SUCH_KEY for problem in found):
                raise
            for problem in found:
                is_own = problem.message == NO_SUCH_KEY and len(problem.place) == 1
                problems.append((problem.place, cls._unknown(problem.place[0]) if is_own else problem.message))
        return refuse(*problems) if problems else read

    @classmethod
    def _unknown(cls, name: str | int) -> str:
        options = [option for option, field in cls.model_fields.items() if not _is_derived(field)]
        return NO_SUCH_KEY + did_you_mean(str(name), options)

    def given(self) -> dict[str, Any]:
        """The options that were written, by name; those that have their default are left out."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}

    def changed(self, **values: Any) -> Self:
        """The same with other values, which are taken as they are."""
        return self.model_copy(update=values)


def _is_derived(field: FieldInfo) -> bool:
    return any(isinstance(part, SkipJsonSchema) for part in field.metadata)  # type: ignore[misc]  # a class at run time


def without_nulls(given: Any) -> Any:
    """A mapping without the keys that have no value; anything else as it is."""
    return {name: value for name, value in given.items() if value is not None} if isinstance(given, Mapping) else given


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with something declared: where, and what was given and is allowed."""

    place: Place
    message: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.place))}: {self.message}" if self.place else self.message


def problems_of(error: ValidationError) -> list[Problem]:
    """Everything that pydantic found, in words of this project."""
    return [
        Problem(place=tuple(one["loc"]), message=_message(one["type"], one.get("ctx", {}), one["input"]))
        for one in error.errors(include_url=False)
    ]


def _message(kind: str, context: Mapping[str, Any], given: object) -> str:
    if kind in ("missing", "missing_argument"):
        return "is missing"
    if kind == "extra_forbidden":
        return NO_SUCH_KEY
    if kind == "json_invalid":
        return f"it is not JSON: {context['error']}"
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return f"{context['discriminator']} is missing, or none of its words"
    if kind in ("value_error", "assertion_error", _OWN):
        message = str(context.get("message", context.get("error")))
        return f"got {given!r}, {message}" if message.startswith("allowed ") else message
    return f"got {given!r}, allowed is {_ALLOWED.get(kind, _OTHER).format(**context)}"


def refuse(*problems: tuple[Place, str]) -> NoReturn:
    """Refuse values below the model that is being validated, each at its own place.

    In a validator of one field, `raise ValueError("allowed is …")` does the same for that field.

    Raises:
        ValidationError: Always.
    """
    raise ValidationError.from_exception_data(
        _OWN,
        [
            InitErrorDetails(type=PydanticCustomError(_OWN, "{message}", {"message": message}), loc=place, input=None)
            for place, message in problems
        ],
    )
