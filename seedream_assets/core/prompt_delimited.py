"""Delimited text (CSV, TSV and their cousins) as a frame of text, with nothing guessed away.

The quick way is Arrow's reader, taken when the file's quotes leave no doubt. Where they do, a tokenizer reads cell by
cell and keeps what it finds: in a CSV a row with a stray quote is marked as broken, because its cells cannot be told
apart; in a TSV, where quoting is rare, a quote that does not wrap a whole cell is part of the text.

Not here: where quotes stand (`prompt_quotes`), decoding to UTF-8, and what all formats have in common (`prompt_formats`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from seedream_assets.core.prompt_faults import TEXT
from seedream_assets.core.prompt_quotes import Quoting, quoting

TAB, NO_DELIMITER = b"\t", b"\x1f"
_DELIMITERS = (b",", b";", b"|")
_ARROW_BLOCK_BYTES = 1 << 22
_SEP_LINE = re.compile(rb"sep=(.)\r?\n", re.IGNORECASE)  # Excel's own hint, written before the header
_HEADER_LINE = re.compile(rb'(?:"[^"]*"|[^"\r\n])*')


class _Record(NamedTuple):
    cells: list[bytes]
    end: int
    has_stray_quote: bool


def parse_delimited(text: bytes) -> tuple[pd.DataFrame, list[str | None]]:
    """Every cell as text, NA where it is empty; blank lines are rows without cells.

    A tab in the header is always the delimiter; else the most frequent of comma, semicolon and bar. Where the header
    is a single name, the lines have no delimiter, and a comma is a comma. A row with fewer cells than the header ends
    in empty ones.

    Args:
        text: UTF-8 without a byte order mark.

    Returns:
        The table's columns (string), whose names may repeat; and for every row why it cannot be read, if so, or an
        empty list where all can.
    """
    hint = _SEP_LINE.match(text)
    text = text[hint.end() :] if hint else text
    text = text.lstrip(b"\r\n")
    delimiter = hint[1] if hint else _delimiter(text)
    first = next(_records(text, delimiter), _Record([], 0, False))
    header = [name.decode() for name in first.cells]
    body = memoryview(text)[first.end :]
    quick = _read_quickly(body, delimiter, len(header))
    frame, reasons = (quick, []) if quick is not None else _read_carefully(bytes(body), delimiter, len(header))
    return frame.set_axis(header, axis="columns"), reasons


def _delimiter(text: bytes) -> bytes:
    header = re.sub(rb'"[^"]*"', b"", _HEADER_LINE.match(text)[0])  # type: ignore[index]  # it always matches
    if TAB in header:
        return TAB
    best = max(_DELIMITERS, key=header.count)
    return best if best in header else NO_DELIMITER


def _read_quickly(body: memoryview, delimiter: bytes, width: int) -> pd.DataFrame | None:
    """None where the quotes are in doubt, or a row does not fit the header."""
    found = quoting(np.frombuffer(body, dtype=np.uint8), delimiter[0])
    if found is None or not width or not len(body):
        return None
    names = [str(at) for at in range(width)]
    try:
        columns = pyarrow.csv.read_csv(
            cast("Any", pa.BufferReader(pa.py_buffer(body))),
            read_options=pyarrow.csv.ReadOptions(column_names=names, block_size=_ARROW_BLOCK_BYTES),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter.decode(),
                quote_char=False if found is Quoting.NONE else '"',
                # Where every line end is a row's, blocks are cut without a look at what is in them: 0.4 s of processor
                # time for 280 MB, and 0.6 with that look and with a second check of UTF-8 (2026-11-29).
                newlines_in_values=found is Quoting.OF_CELLS,
                ignore_empty_lines=False,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.large_string()),
                null_values=[""],
                strings_can_be_null=True,
                check_utf8=False,
            ),
        ).columns
    except pa.ArrowInvalid:
        return None
    return pd.DataFrame({at: pd.Series(array, dtype=TEXT) for at, array in enumerate(_in_one_piece(columns))})


def _in_one_piece(columns: list[Any]) -> Iterator[Any]:
    """Each column as one text array, so that what looks at it later need not copy it; its pieces are let go at once."""
    for at, column in enumerate(columns):
        columns[at] = None
        yield cast("Any", TEXT).__from_arrow__(column.combine_chunks())


def _records(text: bytes, delimiter: bytes) -> Iterator[_Record]:
    """Each record's cells, and where the record ends. A cell whose quotes do not wrap it keeps them."""
    boundary = re.escape(delimiter)
    cell = re.compile(
        rb'(?: *"((?>[^"]*(?:""[^"]*)*))" *(?=%b|[\r\n]|\Z)|([^%b\r\n]*))(%b|\r\n|\r|\n|\Z)'
        % (boundary, boundary, boundary)
    )
    cells: list[bytes] = []
    has_stray_quote = False
    for found in cell.finditer(text):
        quoted, plain, end = found.groups()
        if not end and not cells and found.start() == len(text):
            return
        cells.append(plain if quoted is None else quoted.replace(b'""', b'"'))
        has_stray_quote |= quoted is None and plain.lstrip(b" ").startswith(b'"')
        if end != delimiter:
            yield _Record(cells, found.end(), has_stray_quote)
            cells, has_stray_quote = [], False
        if not end:
            return


def _read_carefully(body: bytes, delimiter: bytes, width: int) -> tuple[pd.DataFrame, list[str | None]]:
    columns: list[list[str | None]] = [[] for _ in range(width)]
    reasons: list[str | None] = []
    for record in _records(body, delimiter):
        count = len(record.cells)
        for at, column in enumerate(columns):
            column.append(record.cells[at].decode() or None if at < count else None)
        reasons.append(_reason(record, width, quotes_wrap=delimiter not in (TAB, NO_DELIMITER)))
    frame = pd.DataFrame({at: pd.Series(column, dtype=TEXT) for at, column in enumerate(columns)})
    return frame, reasons if any(reasons) else []


def _reason(record: _Record, width: int, *, quotes_wrap: bool) -> str | None:
    if quotes_wrap and record.has_stray_quote:
        return "a quote opens a cell and does not close it at its end; double the quotes inside a quoted cell"
    if any(record.cells[width:]):
        count = len(record.cells)
        return f"it has {count} cells and the header {width}; put quotes around a cell that holds the delimiter"
    return None
