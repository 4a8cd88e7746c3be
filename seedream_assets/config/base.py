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

Place = tuple[str | int, ...]
# The context of a validation: what is validated stands in a YAML file.
AS_DECLARED = {"as_declared": True}
# What pydantic's kinds of errors mean to somebody who edits a YAML file.
_ALLOWED: Mapping[str, str] = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "literal_error": "{expected}",
    "greater_than_equal": "{ge} or more",
    "greater_than": "above {gt}",
    "less_than_equal": "at most {le}",
}
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
    def _refuse_derived(cls, given: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """In YAML a field that is no option, which the JSON schema leaves out, is as unknown as any other key."""
        if info.context is not AS_DECLARED or not isinstance(given, Mapping):
            return handler(given)
        derived = [name for name, field in cls.model_fields.items() if _is_derived(field) and name in given]
        if not derived:
            return handler(given)
        problems: list[tuple[Place, str]] = [((name,), NO_SUCH_KEY) for name in derived]
        try:
            handler({name: value for name, value in given.items() if name not in derived})
        except ValidationError as error:
            problems += [(problem.place, problem.message) for problem in problems_of(error)]
        return refuse(*problems)

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
    """Everything that pydantic found, in words."""
    return [
        Problem(place=tuple(one["loc"]), message=_message(one["type"], one.get("ctx", {}), one["input"], one["msg"]))
        for one in error.errors(include_url=False)
    ]


def _message(kind: str, context: Mapping[str, Any], given: object, otherwise: str) -> str:
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return NO_SUCH_KEY
    if kind in ("value_error", _OWN):
        message = str(context.get("message", context.get("error")))
        return f"got {given!r}, {message}" if message.startswith("allowed ") else message
    allowed = _ALLOWED.get(kind)
    return f"got {given!r}, allowed is {allowed.format(**context)}" if allowed else otherwise


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
