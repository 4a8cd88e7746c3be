"""The documented create request, written as data, and the check of a body against it.

The schemas of `POST /v2/generations` per model, and the small reader of JSON Schema they need.

Source: Leonardo's OpenAPI v2 for seedream-4.0 and seedream-4.5 (read 2026-10-08) and the Seedream guide pages, which
add `strength` and the older reference types `INIT` and `GENERATION`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from seedream_assets.emulator.settings import LARGEST_SEED, UUID_PATTERN

Schema = Mapping[str, Any]

STYLES: Final = {
    "Cinematic": "a5632c7c-ddbb-4e2f-ba34-8456ab3ac436",
    "Creative": "6fedbf1f-4a17-45ec-84fb-92fe524a29ef",
    "Dynamic": "111dc692-d470-4eec-b791-3475abac4c46",
    "Fashion": "594c4a08-a522-4e0e-b7ff-e4dac4b6b622",
    "Portrait": "ab5a4220-7c42-41e5-a578-eddb9fed3d75",
    "Stock Photo": "5bdc3f2a-1be6-4d1c-8e77-992a30824a2c",
    "Vibrant": "dee282d3-891f-4f73-ba02-7f8131e5541b",
    "None": "556c1ee5-ec38-42e8-955a-1e82dad0ffa1",
}

UPLOADED_TYPES: Final = ("UPLOADED", "INIT")
GENERATED_TYPES: Final = ("GENERATED", "GENERATION", "VARIATION")

_REFERENCE: Final[Schema] = {
    "type": "object",
    "required": ["image"],
    "additionalProperties": False,
    "properties": {
        "image": {
            "type": "object",
            "required": ["type"],
            "additionalProperties": False,
            "properties": {
                "type": {"type": "string", "enum": [*UPLOADED_TYPES, *GENERATED_TYPES, "URL", "BASE64"]},
                "id": {"type": "string", "pattern": f"^{UUID_PATTERN.pattern}$"},
                "url": {"type": "string", "pattern": "^(https://|data:)"},
                "data": {"type": "string", "minLength": 1},
                "width": {"type": "integer", "minimum": 1},
                "height": {"type": "integer", "minimum": 1},
            },
        },
        "order": {"type": "integer", "minimum": 0},
        "strength": {"type": "string", "enum": ["LOW", "MID", "HIGH"]},
    },
}


def _parameters(default_side: int) -> Schema:
    side = {"type": "integer", "minimum": 32, "maximum": 14142, "default": default_side}
    return {
        "type": "object",
        "required": ["prompt"],
        "additionalProperties": False,
        "properties": {
            "prompt": {"type": "string", "minLength": 1, "maxLength": 9999},
            "width": side,
            "height": side,
            "quantity": {"type": "integer", "minimum": 1, "maximum": 8, "default": 1},
            "seed": {"type": "integer", "minimum": 0, "maximum": LARGEST_SEED},
            "style_ids": {
                "type": "array",
                "maxItems": 1,
                "items": {"type": "string", "enum": list(STYLES.values())},
                "default": [STYLES["Dynamic"]],
            },
            "prompt_enhance": {"type": "string", "enum": ["AUTO", "ON", "OFF"], "default": "AUTO"},
            "guidances": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"image_reference": {"type": "array", "maxItems": 6, "items": _REFERENCE}},
            },
        },
    }


MODELS: Final[Mapping[str, Schema]] = {"seedream-4.0": _parameters(1024), "seedream-4.5": _parameters(2048)}

_ENVELOPE: Final[Schema] = {
    "type": "object",
    "required": ["model", "parameters", "public"],
    "additionalProperties": False,
    "properties": {
        "model": {"type": "string", "enum": list(MODELS)},
        "parameters": {"type": "object"},
        "public": {"type": "boolean"},
    },
}

# Seen live: a missing `public` and a style of another model are refused without naming a field.
_FIELDLESS: Final = ("public", "parameters.style_ids")
_PLAIN_REFUSAL: Final = "Validation failed"


def problems_of(body: object) -> list[str]:
    """Say what the documented schema has against a create request, in the vendor's wording; empty when valid."""
    found = _check(body, _ENVELOPE, "")
    if not found and isinstance(body, dict):
        found = _check(body["parameters"], MODELS[body["model"]], "parameters")
        found = found or _reference_problems(body["parameters"])
    return [_PLAIN_REFUSAL if where.startswith(_FIELDLESS) else f"{where} {what}".strip() for where, what in found]


def references_of(parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the reference images of schema-valid parameters."""
    references: list[dict[str, Any]] = parameters.get("guidances", {}).get("image_reference", [])
    return references


def strict_json(raw: bytes) -> object:
    """Read JSON without Python's extensions (NaN, Infinity).

    Raises:
        ValueError: It is not JSON.
    """
    return json.loads(raw, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _reference_problems(parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for number, reference in enumerate(references_of(parameters)):
        image = reference["image"]
        needed = {"URL": "url", "BASE64": "data"}.get(str(image["type"]), "id")
        if needed not in image:
            found.append((f"parameters.guidances.image_reference[{number}].image.{needed}", "is required"))
    return found


def _is(value: object, kind: str) -> bool:
    if kind == "integer":
        # JSON makes no difference between 1024 and 1024.0, nor does the vendor's validator.
        return not isinstance(value, bool) and (
            isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        )
    return isinstance(value, {"object": dict, "array": list, "string": str, "boolean": bool}[kind])


def _check(value: Any, schema: Schema, where: str) -> list[tuple[str, str]]:
    """Check the part of JSON Schema that the schemas above use; return (place, complaint) pairs."""
    if not _is(value, schema["type"]):
        return [(where, f"must be {'an' if schema['type'][0] in 'aio' else 'a'} {schema['type']}")]
    if "enum" in schema and value not in schema["enum"]:
        return [(where, f"must be one of: {', '.join(schema['enum'])}")]
    found: list[tuple[str, str]] = []
    size = len(value) if isinstance(value, str | list) else value
    for least, most, unit in (("minimum", "maximum", ""), ("minLength", "maxLength", " characters long")):
        if least in schema and size < schema[least]:
            found.append((where, f"must be at least {schema[least]}{unit}"))
        if most in schema and size > schema[most]:
            found.append((where, f"must be at most {schema[most]}{unit}"))
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append((where, "has an invalid format"))
    if "maxItems" in schema and size > schema["maxItems"]:
        found.append((where, f"must have at most {schema['maxItems']} items"))
    if isinstance(value, list):
        for number, item in enumerate(value):
            found += _check(item, schema["items"], f"{where}[{number}]")
    elif isinstance(value, dict):
        prefix = f"{where}." if where else ""
        found += [(f"{prefix}{name}", "is required") for name in schema.get("required", ()) if name not in value]
        if "properties" in schema:  # Without any, what is inside is checked elsewhere.
            properties: Mapping[str, Schema] = schema["properties"]
            for name, inner in value.items():
                if name in properties:
                    found += _check(inner, properties[name], f"{prefix}{name}")
                else:
                    found.append((f"{prefix}{name}", "is not allowed"))
    return found
