"""A component's attributes: Dagster's templates, and the JSON schema for editors, around the models in `config`."""

from __future__ import annotations

from functools import cache
from typing import Any

import dagster as dg
from pydantic import BaseModel, ConfigDict

from seedream_assets.config.base import Config, Place
from seedream_assets.config.yaml import rendered
from seedream_assets.errors import ConfigError

_TEMPLATE = {"type": "string", "pattern": "\\{[{%]"}
_SCALARS = ("integer", "number", "boolean")


@cache
def attributes_model(declared: type[Config], component: type[BaseModel] | None = None) -> type[BaseModel]:
    """A model that takes attributes as they stand in YAML, templates and all, and has the JSON schema of `declared`.

    Args:
        declared: What the YAML declares.
        component: Has `declared` as its field `config`; its other fields, which a subclass adds, are attributes too.
    """

    class Attributes(BaseModel):
        model_config = ConfigDict(extra="allow")

        @classmethod
        def model_json_schema(cls, *_args: Any, **_options: Any) -> dict[str, Any]:
            schema = declared.model_json_schema()
            own = component.model_json_schema() if component else {}
            for part in ("properties", "$defs"):
                schema[part] = {**own.get(part, {}), **schema.get(part, {})}
            schema["required"] = [*schema.get("required", []), *own.get("required", [])]
            schema["properties"].pop("config", None)
            return _with_templates(schema | {"required": [name for name in schema["required"] if name != "config"]})

    Attributes.__name__ = Attributes.__qualname__ = f"{declared.__name__}Attributes"
    Attributes.__doc__ = declared.__doc__
    return Attributes


def _with_templates(schema: Any) -> Any:
    """A JSON schema in which a template may stand in the place of every number, truth and word from a list."""
    if isinstance(schema, list):
        return [_with_templates(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: _with_templates(part) for name, part in schema.items()}
    if schema.get("type") not in _SCALARS and not (schema.get("type") == "string" and "enum" in schema):
        return inner
    outer = {name: inner.pop(name) for name in ("title", "description", "examples", "default") if name in inner}
    return {**outer, "anyOf": [inner, _TEMPLATE]}


def read_attributes(attributes: BaseModel | None, context: dg.ComponentLoadContext) -> dict[str, Any]:
    """The attributes with Dagster's templates evaluated.

    Raises:
        ConfigError: A template cannot be evaluated.
    """
    given = attributes.model_extra or {} if attributes else {}
    failed: dict[Place, str] = {}
    values: dict[str, Any] = rendered(given, context.resolution_context.resolve_value, failed=failed)
    if failed:
        raise ConfigError("\n".join(f"{'.'.join(map(str, place))}: {why}" for place, why in failed.items()))
    return values
