"""The columns of an export: which of the manifest's are handed over, under which names, with which of five kinds.

Consumers' loaders give meanings to names, guess types from the first rows, and do not report where that goes wrong. So
every column gets one kind for the whole dataset, over all of its partitions, and no name that a loader reserves. Hugging
Face's own description of the columns is written by hand, so that an export does not need the library `datasets`; the
tests compare the two (5.2.0).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from seedream_assets.ledger.image_columns import MANIFEST_COLUMNS

Kind = Literal["text", "int", "float", "bool", "time"]
ARROW_TYPES: Mapping[Kind, pa.DataType] = {
    "text": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"),
}
# What says to a stranger what an image is and where it comes from. The rest of the manifest is the owner's business:
# addresses, runs, which dataset paid. It is found again by `image_id`.
HANDED_OVER = (
    "image_id",
    "prompt",
    "prompt_id",
    "prompt_sha256",
    "sample",
    "model",
    "width",
    "height",
    "seed",
    "style",
    "prompt_enhance",
    "references",
    "nsfw",
    "format",
    "width_px",
    "height_px",
    "size_bytes",
    "sha256",
    "source_sha256",
    "dataset",
    "partition",
    "row_number",
    "spec_id",
    "request_id",
    "generation_id",
    "completed_at",
    "code_version",
    "table_sha256",
)
COSTS = ("cost_amount", "cost_unit")
SUFFIX = "_column"
# `image` is the picture's own column; ImageFolder takes `file_name`, `x_file_name` and their plurals for links to files
# and puts a column `x` in their place; `__key__` and `__url__` are WebDataset's. Pandas
# puts its index into a column `index`, or `level_0` where that is taken, and fails where both are (mlcroissant 1.1.1).
_RESERVED = re.compile(r"(?:.*_)?file_names?|images?|__\w*__|level_0", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportColumn:
    """One column.

    Attributes:
        source: Its name in the manifest.
        name: Its name in the export.
        kind: `text`, `int` (64 bits), `float` (64 bits), `bool`, `time` (microseconds, UTC).
        gaps: Whether a value is missing, or is a float that JSON has no word for, in any exported row.
    """

    source: str
    name: str
    kind: Kind
    gaps: bool = False

    @property
    def arrow(self) -> pa.Field[Any]:
        """The column in an Arrow schema."""
        return pa.field(self.name, ARROW_TYPES[self.kind])


def export_columns(
    schemas: Iterable[pa.Schema], *, gaps: frozenset[str] = frozenset(), costs: bool = False
) -> tuple[ExportColumn, ...]:
    """The columns of an export of manifests with these schemas: ours first, then the extra columns.

    A column whose type differs between partitions is text, unless an integer and a float meet.

    Args:
        schemas: Of every partition's manifest.
        gaps: Names, in the manifest, of columns with a gap.
        costs: Hand over what the images cost.
    """
    kinds: dict[str, Kind | None] = {}
    for schema in schemas:
        for field in schema:
            kinds[field.name] = _joined(kinds.get(field.name), kind_of(field.type))
    own = [name for name in (*HANDED_OVER, *(COSTS if costs else ())) if name in kinds]
    extra_columns = [name for name in kinds if name not in MANIFEST_COLUMNS]
    taken: set[str] = set()
    columns = []
    for source in own + extra_columns:
        name = _exported_name(source, taken | set(own) | set(extra_columns) - {source})
        taken.add(name)
        columns.append(ExportColumn(source=source, name=name, kind=kinds[source] or "text", gaps=source in gaps))
    return tuple(columns)


def kind_of(given: pa.DataType) -> Kind | None:
    """The kind that an Arrow type becomes; None for a column without any value."""
    kinds: Mapping[Kind, bool] = {
        "bool": pa.types.is_boolean(given),
        "int": pa.types.is_integer(given) and not pa.types.is_uint64(given),
        "float": pa.types.is_floating(given),
        # Of a time without a zone nobody knows which moment it was.
        "time": pa.types.is_timestamp(given) and given.tz is not None,
    }
    if pa.types.is_null(given):
        return None
    return next((kind for kind, fits in kinds.items() if fits), "text")


def column_values(values: pa.ChunkedArray[Any], kind: Kind) -> pa.ChunkedArray[Any]:
    """A manifest's column as its kind in the export; what has no text of its own (lists, structs) as JSON."""
    wanted = ARROW_TYPES[kind]
    if values.type == wanted:
        return values
    if kind != "text" or pa.types.is_large_string(values.type) or pa.types.is_null(values.type):
        return values.cast(wanted)
    return pa.chunked_array([pa.array([_as_text(value) for value in values.to_pylist()], wanted)])


def has_gap(values: pa.ChunkedArray[Any]) -> bool:
    """Whether a value is missing or is a float that JSON has no word for."""
    if values.null_count:
        return True
    return pa.types.is_floating(values.type) and pc.all(pc.is_finite(values)).as_py() is False


def _joined(one: Kind | None, other: Kind | None) -> Kind | None:
    if one is None or other is None or one == other:
        return one or other
    return "float" if {one, other} == {"int", "float"} else "text"


def _exported_name(source: str, taken: set[str]) -> str:
    name = source
    while _RESERVED.fullmatch(name) or (name != source and name in taken) or not name.strip():
        name += SUFFIX
    return name


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value.hex() if isinstance(value, bytes) else str(value)


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
