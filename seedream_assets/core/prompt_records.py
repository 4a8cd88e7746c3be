"""Typed prompt tables: JSON Lines, Parquet and Excel, with numbers and truths as they were and nested values as JSON.

Not here: text tables (`prompt_delimited`), and what all formats have in common (`prompt_formats`).
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from io import BytesIO
from typing import Any
from xml.etree.ElementTree import ParseError

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from openpyxl.utils.exceptions import InvalidFileException

from seedream_assets.core.errors import PromptTableError
from seedream_assets.core.prompt_cells import cell_text
from seedream_assets.core.prompt_faults import TEXT

_EXCEL_ERRORS = frozenset({"#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#NULL!", "#NUM!", "#N/A"})
# What openpyxl was seen to raise when single bytes of a workbook were changed, besides its own error.
_BROKEN_WORKBOOK = (
    InvalidFileException,
    zipfile.BadZipFile,
    zlib.error,
    ParseError,
    OSError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
)
_NULLABLE: dict[Any, Any] = {
    pa.bool_(): pd.BooleanDtype(),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.string(): TEXT,
    pa.large_string(): TEXT,
}


Parsed = tuple[pd.DataFrame, list[str | None]]
"""The columns, whose names may repeat; and for every row why it cannot be read, if so, or an empty list."""


def parse_json_lines(text: bytes, name: str) -> Parsed:
    """One row per line, a blank line without cells; columns in the order in which they first appear.

    Raises:
        PromptTableError: No line is a JSON object.
    """
    rows: list[dict[str, Any]] = []
    reasons: list[str | None] = []
    for line in text.replace(b"\r\n", b"\n").split(b"\n"):
        row, reason = _json_row(line)
        rows.append(row)
        reasons.append(reason)
    names = list(dict.fromkeys(key for row in rows for key in row))
    if not names:
        raise PromptTableError(f"{name}: no line is a JSON object; JSON Lines have one object per line, {{…}}")
    return _table(names, ([row.get(key) for row in rows] for key in names)), reasons if any(reasons) else []


def _json_row(line: bytes) -> tuple[dict[str, Any], str | None]:
    if not line.strip():
        return {}, None
    try:
        row = json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        return {}, f"the line is not JSON ({error}); mend it or take it out"
    return (row, None) if isinstance(row, dict) else ({}, "the line is JSON but no object; write {…}")


def parse_parquet(body: bytes, name: str) -> Parsed:
    """The file's columns, without a pandas index that was stored with them.

    Raises:
        PromptTableError: It is no Parquet file, or a broken one.
    """
    try:
        table = pyarrow.parquet.read_table(pa.BufferReader(body))
        table.validate(full=True)
        # In one piece, so that what looks at a column later need not copy it.
        table = table.combine_chunks()
        names = table.column_names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise PromptTableError(
            f"{name}: the Parquet file cannot be read ({_first_line(error)}); write it again"
        ) from error
    kept = [at for at, column in enumerate(names) if not column.startswith("__index_level_")]
    columns = {at: _arrow_column(table.column(at)) for at in kept}
    return pd.DataFrame(columns).set_axis([names[at] for at in kept], axis="columns"), []


def _arrow_column(column: Any) -> pd.Series[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_null(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    if pa.types.is_nested(column.type):
        return pd.Series([cell_text(_plain(cell)) for cell in column.to_pylist()], dtype=TEXT)
    found: pd.Series[Any] = column.to_pandas(types_mapper=_NULLABLE.get)
    return found


def _plain(cell: object) -> object:
    """Arrow gives a map as a list of pairs; everything else is as JSON knows it."""
    return dict(cell) if isinstance(cell, list) and cell and all(isinstance(pair, tuple) for pair in cell) else cell


def parse_excel(body: bytes, name: str) -> Parsed:
    """The first visible sheet, from its first row that is not empty; what a formula last gave counts as its cell.

    A row in which a cell shows an Excel error cannot be read.

    Raises:
        PromptTableError: It is no workbook, or a broken one, or has no visible sheet.
    """
    try:
        workbook = openpyxl.load_workbook(BytesIO(body), read_only=True, data_only=True)
        sheets = [sheet for sheet in workbook.worksheets if sheet.sheet_state == "visible"]
        rows = _sheet_rows(sheets[0]) if sheets else []
    except _BROKEN_WORKBOOK as error:
        raise PromptTableError(
            f"{name}: the Excel file cannot be read ({_first_line(error)}); save it again"
        ) from error
    if not rows:
        return pd.DataFrame(), []
    header = ["" if cell is None else cell_text(cell) or "" for cell in rows[0]]
    width = max(len(row) for row in rows)
    names = header + [""] * (width - len(header))
    padded = [[*row, *[None] * (width - len(row))] for row in rows[1:]]
    reasons = [_excel_error(row, names) for row in padded]
    return _table(names, ([row[at] for row in padded] for at in range(width))), reasons if any(reasons) else []


def _sheet_rows(sheet: Any) -> list[tuple[Any, ...]]:
    """The rows between the first and the last that hold anything; sheets can claim a million formatted blanks."""
    sheet.reset_dimensions()
    rows: list[tuple[Any, ...]] = []
    blanks = 0
    for row in sheet.iter_rows(values_only=True):
        if all(cell is None or cell == "" for cell in row):
            blanks += 1
        else:
            rows.extend([()] * (blanks if rows else 0))
            rows.append(row)
            blanks = 0
    return rows


def _excel_error(row: Sequence[Any], names: Sequence[str]) -> str | None:
    for cell, name in zip(row, names, strict=True):
        if isinstance(cell, str) and cell in _EXCEL_ERRORS:
            return f"the cell under {name!r} shows {cell}; mend the formula or clear the cell"
    return None


def _table(names: Sequence[str], columns: Iterable[list[Any]]) -> pd.DataFrame:
    """Names may repeat; that is for the header's check to say."""
    frame = pd.DataFrame({at: _typed(cells) for at, cells in enumerate(columns)})
    return frame.set_axis(list(names), axis="columns")


def _typed(cells: list[Any]) -> pd.Series[Any]:
    """One dtype where all cells are of one type; text where they are mixed or nested."""
    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds == {bool}:
        return pd.Series(cells, dtype="boolean")
    if kinds == {int} and all(cell is None or -(2**63) <= cell < 2**63 for cell in cells):
        return pd.Series(cells, dtype="Int64")
    if kinds == {float}:
        return pd.Series(cells, dtype="Float64")
    if kinds == {datetime}:
        return pd.Series(cells, dtype="datetime64[us]")
    return pd.Series([cell_text(cell) for cell in cells], dtype=TEXT)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
