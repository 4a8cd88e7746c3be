"""Tables as Parquet bytes: how snapshots, plans and manifests stand in the store. Bytes and values only."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from seedream_assets.core.errors import StoreError

PARQUET = "application/vnd.apache.parquet"
FACTS = b"seedream_assets"
ROWS_PER_GROUP = 50_000
ROWS_PER_BATCH = 1_000


def to_parquet(frame: pd.DataFrame, facts: Mapping[str, Any] | None = None) -> bytes:
    """A table as Parquet, zstd-compressed; equal tables give equal bytes.

    A column whose cells are of several types is written as text: Parquet knows one type per column.

    Args:
        frame: The index is not kept.
        facts: Small JSON values about the table, kept in the schema's metadata.
    """
    table = pa.table({str(name): _column(frame[name]) for name in frame.columns})
    metadata = {FACTS: json.dumps(facts or {}, sort_keys=True, ensure_ascii=False).encode()}
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), buffer, compression="zstd", row_group_size=ROWS_PER_GROUP)
    return buffer.getvalue()


def _column(column: pd.Series[Any]) -> pa.Array[Any]:
    try:
        return pa.Array.from_pandas(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.Array.from_pandas(column.map(str, na_action="ignore").astype("string"))


def from_parquet(
    body: bytes, dtypes: Mapping[str, str] | None = None, *, later: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """The table in Parquet bytes; the columns named in `dtypes` get these dtypes.

    Columns that stand in `later` may be missing: they get the value given there, at their place in `dtypes`.

    Raises:
        StoreError: Not Parquet, or without one of these columns.
    """
    frame = _open(body).read().to_pandas()
    added = {name: value for name, value in (later or {}).items() if name not in frame.columns}
    if added:
        own = [name for name in dtypes or () if name in frame.columns or name in added]
        frame = frame.assign(**added)[[*own, *(name for name in frame.columns if name not in own)]]
    missing = [name for name in dtypes or () if name not in frame.columns]
    if missing:
        raise StoreError(f"the table has no column {', '.join(missing)}; it was not written by this version")
    return frame.astype(dict(dtypes)) if dtypes else frame


def read_facts(body: bytes) -> dict[str, Any]:
    """The facts that were written with the table; empty where there are none.

    Raises:
        StoreError: Not Parquet.
    """
    facts: dict[str, Any] = json.loads((_open(body).schema_arrow.metadata or {}).get(FACTS, b"{}"))
    return facts


def iterate_rows(body: bytes, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows as plain values, a thousand at a time in memory; with these columns only, where some are named.

    Raises:
        StoreError: Not Parquet.
    """
    for batch in _open(body).iter_batches(batch_size=ROWS_PER_BATCH, columns=list(columns) if columns else None):
        yield from batch.to_pylist()


def _open(body: bytes) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(io.BytesIO(body))
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(f"the object is not a Parquet table: {error}") from error
