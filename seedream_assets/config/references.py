"""Reference images, the images that steer a prompt: written for people, read into one canonical form.

    photos/chair.png | s3://bucket/red.png | https://example.com/a.jpg | GENERATED:<uuid> | UPLOADED:<uuid>
    ["photos/a|b.png", {"source": "photos/chair.png", "strength": "HIGH"}, {"id": "<uuid>", "type": "UPLOADED"}]

The bar separates; whatever contains a bar is written as JSON. An id is a Leonardo image and must say its type; a
source is a file that will be uploaded, so its type is UPLOADED. Not here: reading or uploading an image.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

from seedream_assets.config.models import ModelSpec
from seedream_assets.errors import RowError

_SEPARATOR = "|"
_SOURCE_TYPE = "UPLOADED"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)  # two letters or more: C:\ is a drive
_FORMS = "a path, s3://bucket/key, https://…, GENERATED:<uuid> or UPLOADED:<uuid>, separated by |; or a JSON list"
_KEYS = ({"source"}, {"id", "type"})


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
