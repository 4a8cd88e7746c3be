"""Tables as Parquet bytes: how snapshots, plans and manifests stand in the store. Bytes and values only."""

from __future__ import annotations

import io
import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from seedream_assets.errors import ObjectUnreadable, StoreError

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


def from_parquet(body: bytes, dtypes: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The table in Parquet bytes; the columns named in `dtypes` get these dtypes.

    Raises:
        StoreError: Not Parquet, or without one of these columns.
    """
    with _as_no_table():
        frame = _open(body).read().to_pandas()
    _refuse_without(dtypes or (), frame.columns)
    try:
        return frame.astype(dict(dtypes)) if dtypes else frame
    except (ValueError, TypeError) as error:
        raise StoreError(f"the table's columns hold something else than they should: {error}") from error


def read_facts(body: bytes) -> dict[str, Any]:
    """The facts that were written with the table; empty where there are none.

    Raises:
        StoreError: Not Parquet.
    """
    try:
        facts: dict[str, Any] = json.loads((_open(body).schema_arrow.metadata or {}).get(FACTS, b"{}"))
    except ValueError as error:
        raise StoreError(f"the table's facts cannot be read: {error}") from error
    return facts


def iterate_rows(body: bytes, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows as plain values, a thousand at a time in memory; with these columns only, where some are named.

    Raises:
        StoreError: Not Parquet, or without one of these columns.
    """
    table = _open(body)
    _refuse_without(columns or (), table.schema_arrow.names)
    with _as_no_table():
        for batch in table.iter_batches(batch_size=ROWS_PER_BATCH, columns=list(columns) if columns else None):
            yield from batch.to_pylist()


def _open(body: bytes) -> pq.ParquetFile:
    with _as_no_table():
        return pq.ParquetFile(io.BytesIO(body))


def _refuse_without(columns: Iterable[str], there: Container[str]) -> None:
    if missing := [name for name in columns if name not in there]:
        raise StoreError(f"the table has no column {', '.join(missing)}; it was not written by this version")


@contextmanager
def naming(key: str, *, remedy: str) -> Iterator[None]:
    """Around the reading of a table: what cannot be read is reported with its object and with what to do.

    Raises:
        ObjectUnreadable: In place of a StoreError that knows neither.
    """
    try:
        yield
    except ObjectUnreadable:
        raise
    except StoreError as error:
        raise ObjectUnreadable(key, found=f"cannot be read: {error}", remedy=remedy) from error


@contextmanager
def _as_no_table() -> Iterator[None]:
    """A table can be torn in its footer, or whole there and torn in its pages."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"the object is not a Parquet table: {error}") from error
