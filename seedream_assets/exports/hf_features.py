"""Hugging Face's own description of a table, in its two forms: in a Parquet schema, and in a card.

Written by hand, so that an export needs no `datasets`; held against `datasets` in the tests (5.2.0).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from seedream_assets.exports.columns import ARROW_TYPES, ExportColumn, Kind

SCHEMA_KEY = b"huggingface"


def features_in_schema(columns: Iterable[ExportColumn]) -> bytes:
    """The value of the key `huggingface` in the metadata of a Parquet schema: an image, then the columns."""
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    features |= {column.name: {"dtype": _dtype(column.kind), "_type": "Value"} for column in columns}
    return json.dumps({"info": {"features": features}}, ensure_ascii=False).encode()


def features_in_card(columns: Iterable[ExportColumn], *, image: str = "image") -> list[dict[str, Any]]:
    """`dataset_info.features` of a card: an image under this name, then the columns."""
    return [{"name": image, "dtype": "image"}, *values_in_card(columns)]


def values_in_card(columns: Iterable[ExportColumn]) -> list[dict[str, Any]]:
    """The columns alone, as in `dataset_info.features`."""
    return [{"name": column.name, "dtype": _dtype(column.kind)} for column in columns]


def _dtype(kind: Kind) -> str:
    return str(ARROW_TYPES[kind]).replace("double", "float64")
