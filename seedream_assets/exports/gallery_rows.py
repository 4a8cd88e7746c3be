"""What the gallery's page is given: the manifest's rows packed by column, and what they can be filtered by.

Pure; rows in, JSON values out. How they stand in the page is `gallery`'s affair.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd

from seedream_assets.ledger.image_columns import EXTRA_COLUMN_PREFIX, MANIFEST_COLUMNS
from seedream_assets.manifest.build import STATUSES

Row = Mapping[str, Any]

# A column with more values than this is not offered as a filter: nobody looks through a longer list.
MOST_FACET_VALUES = 40
LONGEST_FACET_VALUE = 80
# What the page needs to draw, search and filter; the rest is parsed when an image is opened for the first time.
DRAWN_COLUMNS = (
    "image_id",
    "prompt_id",
    "prompt",
    "status",
    "reason",
    "object_key",
    "width_px",
    "height_px",
    "rejected",
    "reject_reasons",
)
# The lineage as it is shown, from the prompt row to the bytes; what is in none of them comes last, under "More".
GROUPS: Mapping[str, Sequence[str]] = {
    "Prompt row": ("dataset", "partition", "row_number", "prompt_id", "prompt", "prompt_sha256"),
    "Table": ("table_uri", "table_sha256"),
    "Request": (
        *("request_id", "spec_id", "sample", "request_start", "request_count"),
        *("model", "width", "height", "seed", "style", "prompt_enhance", "references"),
    ),
    "Generation": ("generation_id", "provider_image_id", "source_url", "submitted_at", "completed_at"),
    "Cost": ("cost_amount", "cost_unit", "credits_quoted", "reused", "bought_for"),
    "Run": ("dagster_run_id", "run_id", "code_version"),
    "Image": (
        *("image_id", "status", "reason", "nsfw", "rejected", "reject_reasons", "object_key", "format"),
        *("width_px", "height_px", "size_bytes", "sha256", "source_sha256"),
    ),
}
# Names in the address that are not a column's.
_TAKEN = ("q", "image", "check", "size")


@dataclass(frozen=True, slots=True)
class PackedRows:
    """The two data blocks of the page.

    Attributes:
        drawn: `facets` and `columns` of `DRAWN_COLUMNS`, and `has_thumbnail`.
        lineage: `groups` (heading and column names) and the other `columns`.
        rows: How many.
    """

    drawn: dict[str, Any]
    lineage: dict[str, Any]
    rows: int


def pack_rows(rows: Iterable[Row], *, thumbnails: Collection[str]) -> PackedRows:
    """Pack the rows of a manifest, in their order.

    A column is `{"values": […], "of": […]}`, each row's place in the list or -1, where values repeat, else
    `{"cells": […]}`; a column without any value is left out. Equal rows give equal values.

    Args:
        rows: As in the manifest, with the extra columns; columns may be missing.
        thumbnails: Ids of the images of which there is a thumbnail.
    """
    table = [dict(row) for row in rows]
    names = list(dict.fromkeys(name for row in table for name in row))
    columns = {name: [plain_value(row.get(name)) for row in table] for name in names}
    columns["has_thumbnail"] = [image_id in thumbnails for image_id in columns.get("image_id", [])]
    packed = {name: pack_column(cells) for name, cells in columns.items() if any(cell is not None for cell in cells)}
    # The search goes over the texts, not over the rows, so these are always a list of values.
    packed["prompt"] = _by_value(columns.get("prompt", []))
    drawn = {name: packed.pop(name) for name in (*DRAWN_COLUMNS, "has_thumbnail") if name in packed}
    return PackedRows(
        drawn={"facets": find_facets(columns), "columns": drawn},
        lineage={"groups": _groups(names), "columns": packed},
        rows=len(table),
    )


def plain_value(value: Any) -> Any:
    """A cell as JSON knows it: None for what is missing, ISO 8601 in UTC for a time, text for what JSON has no word for."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, bool | str):
        return value
    if isinstance(value, datetime):
        return _plain_time(value)
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        return plain_value(value.item())  # numpy's numbers
    if isinstance(value, float):
        return _plain_number(value)
    if isinstance(value, int):
        # JavaScript's numbers end there; an id beyond must not be rounded.
        return value if abs(value) <= 2**53 else str(value)
    return str(value)


def _plain_time(value: datetime) -> str:
    # A time without a zone is shown as it stands: nobody knows whose it is.
    return value.isoformat() if value.tzinfo is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _plain_number(value: float) -> Any:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return str(value)
    return int(value) if value.is_integer() and abs(value) <= 2**53 else value


def pack_column(cells: Sequence[Any]) -> dict[str, Any]:
    """A column in the shorter of its two forms."""
    if len({(type(cell), cell) for cell in cells}) * 2 <= len(cells):
        return _by_value(cells)
    return {"cells": list(cells)}


def _by_value(cells: Iterable[Any]) -> dict[str, Any]:
    places: dict[tuple[type, Any], int] = {}
    of = [-1 if cell is None else places.setdefault((type(cell), cell), len(places)) for cell in cells]
    return {"values": [value for _, value in places], "of": of}


def find_facets(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """What the rows can be filtered by: `name` (in the address), `label`, `values`, `of`, and perhaps `first`.

    `first` is the value that is chosen where the address says nothing: stored images, where there are others too.

    Status is always there; style, model, size, partition and checks where rows differ in them; and each extra column
    with few values, at least one of which belongs to several rows of the prompt table.
    """
    status = [str(cell) for cell in columns.get("status", [])]
    facets = [_facet("status", "status", status, order=STATUSES)] if status else []
    for facet in facets:
        if "stored" in facet["values"] and len(facet["values"]) > 1:
            facet["first"] = "stored"
    if check := _check_facet(columns):
        facets.append(check)
    for name in ("style", "model", "size", "partition"):
        cells = _sizes(columns) if name == "size" else [_text(cell) for cell in columns.get(name, [])]
        if len(set(cells)) > 1:
            facets.append(_facet(name, name, cells))
    reserved = {*_TAKEN, *MANIFEST_COLUMNS}
    prompt_rows = len(set(zip(columns.get("partition", []), columns.get("row_number", []), strict=False)))
    for name, raw in columns.items():
        if name in MANIFEST_COLUMNS or name in (*DRAWN_COLUMNS, "has_thumbnail", "source_sha256"):
            continue
        cells = [_text(cell) for cell in raw]
        if _is_category(cells, prompt_rows):
            facets.append(_facet(f"{EXTRA_COLUMN_PREFIX}{name}" if name in reserved else name, name, cells))
    return facets


def _is_category(cells: Sequence[str | None], prompt_rows: int) -> bool:
    values = set(cells)
    known = values - {None}
    return (
        len(values) > 1
        and len(known) <= MOST_FACET_VALUES
        and len(known) < prompt_rows
        and all(len(value) <= LONGEST_FACET_VALUE for value in known if value is not None)
    )


def _facet(name: str, label: str, cells: Sequence[Any], order: Sequence[str] | None = None) -> dict[str, Any]:
    """Values by number of rows, or in the order given; ties by name."""
    counts = Counter(one for cell in cells for one in (cell if isinstance(cell, tuple) else (cell,)) if one is not None)
    if order is None:
        values = sorted(counts, key=lambda value: (-counts[value], value))
    else:
        values = sorted(counts, key=lambda value: (order.index(value) if value in order else len(order), value))
    place = {value: at for at, value in enumerate(values)} | {None: -1}
    of = [sorted(place[one] for one in cell) if isinstance(cell, tuple) else place[cell] for cell in cells]
    return {"name": name, "label": label, "values": values, "of": of}


def _check_facet(columns: Mapping[str, Sequence[Any]]) -> dict[str, Any] | None:
    """Passed or rejected, and each check that rejected; None where no image was rejected."""
    rejected = columns.get("rejected", [])
    if not any(rejected):
        return None
    reasons = columns.get("reject_reasons") or [None] * len(rejected)
    stored = [cell == "stored" for cell in columns.get("status", [])]
    cells = [
        ("rejected", *(f"rejected: {reason}" for reason in split_reasons(reasons_cell)))
        if verdict
        else "passed"
        if verdict is not None and is_stored
        else None
        for verdict, reasons_cell, is_stored in zip(rejected, reasons, stored, strict=True)
    ]
    return _facet("check", "check", cells)


def split_reasons(reasons_cell: Any) -> list[str]:
    """The reasons in a manifest's cell, each once and in order; what a reason says after a colon is left away."""
    parts = [part.strip() for part in str(reasons_cell or "").replace("\n", ";").split(";")]
    return list(dict.fromkeys(part.split(":", 1)[0].strip()[:LONGEST_FACET_VALUE] for part in parts if part))


def _sizes(columns: Mapping[str, Sequence[Any]]) -> list[str | None]:
    sides = zip(columns.get("width", []), columns.get("height", []), strict=False)
    return [None if None in pair else f"{pair[0]} × {pair[1]}" for pair in sides]


def _text(cell: Any) -> str | None:
    return None if cell is None or cell == "" else str(cell)


def _groups(names: Sequence[str]) -> list[list[Any]]:
    placed = {name for group in GROUPS.values() for name in group}
    rest = [name for name in names if name not in placed]
    groups = {heading: [name for name in group if name in names] for heading, group in GROUPS.items()}
    groups["Prompt row"] += [name for name in rest if name not in MANIFEST_COLUMNS]
    groups["More"] = [name for name in rest if name in MANIFEST_COLUMNS]
    return [[heading, list(group)] for heading, group in groups.items() if group]
