"""Delimited text (CSV, TSV and their cousins) as a frame of text, with nothing guessed away.

The quick way is Arrow's reader, taken when the file's quotes leave no doubt. Where they do, a tokenizer reads cell by
cell and keeps what it finds: in a CSV a row with a stray quote is marked as broken, because its cells cannot be told
apart; in a TSV, where quoting is rare, a quote that does not wrap a whole cell is part of the text.

Not here: where quotes stand (`prompts.quotes`), decoding to UTF-8, and what all formats have in common (`prompts.formats`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from seedream_assets.prompts.cells import MOST_COLUMNS, TEXT, refuse_shape
from seedream_assets.prompts.quotes import Quoting, quoting, too_many_quotes

TAB, NO_DELIMITER = b"\t", b"\x1f"
_DELIMITERS = (b",", b";", b"|")
_ARROW_BLOCK_BYTES = 1 << 22
_CELLS_AT_ONCE = 1_000_000
_SEP_LINE = re.compile(rb"sep=(.)\r?\n", re.IGNORECASE)  # Excel's own hint, written before the header
_LINES = re.compile(rb"[\r\n]")
# Single characters that repeat, and nothing else that does: a group that repeats takes memory for each turn.
_OPENING, _QUOTES = re.compile(rb' *"'), re.compile(rb'"+')


class _Record(NamedTuple):
    cells: list[bytes]  # the first `MOST_COLUMNS` and one more, of any number
    found: int
    end: int
    has_stray_quote: bool
    goes_on: bool  # a cell behind those that are kept is not empty


def parse_delimited(text: bytes, label: str = "the table") -> tuple[pd.DataFrame, list[str | None]]:
    """Every cell as text, NA where it is empty; blank lines are rows without cells.

    A tab in the header is always the delimiter; else the most frequent of comma, semicolon and bar. Where the header
    is a single name, the lines have no delimiter, and a comma is a comma. A row with fewer cells than the header ends
    in empty ones.

    Args:
        text: UTF-8 without a byte order mark.
        label: The file's name, for messages.

    Returns:
        The table's columns (string), whose names may repeat; and for every row why it cannot be read, if so, or an
        empty list where all can.

    Raises:
        PromptTableError: More rows, columns or cells than `refuse_shape` allows.
    """
    hint = _SEP_LINE.match(text)
    text = text[hint.end() :] if hint else text
    text = text.lstrip(b"\r\n")
    delimiter = hint[1] if hint else _delimiter(text)
    first = next(_records(text, delimiter), _Record([], 0, 0, False, False))
    line_ends = max(text.count(b"\n"), text.count(b"\r"))
    refuse_shape(label, rows=line_ends, columns=first.found, size_bytes=len(text))
    header = [name.decode() for name in first.cells]
    body = memoryview(text)[first.end :]
    quick = _read_quickly(body, delimiter, len(header))
    frame, reasons = (quick, []) if quick is not None else _read_carefully(bytes(body), delimiter, len(header))
    return frame.set_axis(header, axis="columns"), reasons


def _delimiter(text: bytes) -> bytes:
    header = re.sub(rb'"[^"]*"', b"", text[: _end_of_header(text)])
    if TAB in header:
        return TAB
    best = max(_DELIMITERS, key=header.count)
    return best if best in header else NO_DELIMITER


def _end_of_header(text: bytes) -> int:
    """Where the first line ends that ends outside quotes; where a quote is left open, at that quote."""
    at = quotes = 0
    for line in _LINES.finditer(text):
        quotes += text.count(b'"', at, line.start())
        at = line.start()
        if quotes % 2 == 0:
            return at
    quotes += text.count(b'"', at)
    return text.rfind(b'"') if quotes % 2 else len(text)


def _read_quickly(body: memoryview, delimiter: bytes, width: int) -> pd.DataFrame | None:
    """None where the quotes are in doubt, or a row does not fit the header."""
    if not width or not len(body) or too_many_quotes(body):
        return None
    found = quoting(np.frombuffer(body, dtype=np.uint8), delimiter[0])
    if found is None:
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
    end_of_cell = rb"(%b|\r\n|\r|\n|\Z)" % boundary
    plain_cell = re.compile(rb"([^%b\r\n]*)%b" % (boundary, end_of_cell))
    # Most cells: without quotes, or wrapped in quotes and with none inside.
    simple_cell = re.compile(
        rb'(?: *"([^"]*)" *(?=%b|[\r\n]|\Z)|(?! *")([^%b\r\n]*))%b' % (boundary, boundary, end_of_cell)
    )
    behind_quotes = re.compile(rb" *" + end_of_cell)
    cells: list[bytes] = []
    at = found = 0
    has_stray_quote = goes_on = False
    while True:
        stray = False
        if simple := simple_cell.match(text, at):
            quoted, plain, end = simple.groups()
            content, after = plain if quoted is None else quoted, simple.end()
        elif (wrapped := _in_quotes(text, at)) and (behind := behind_quotes.match(text, wrapped.stop + 1)):
            content, end, after = text[wrapped].replace(b'""', b'"'), behind[1], behind.end()
        else:
            whole = cast("re.Match[bytes]", plain_cell.match(text, at))  # it always matches
            content, end, after = whole[1], whole[2], whole.end()
            stray = True
        if not end and not found and at == len(text):
            return
        found += 1
        if len(cells) <= MOST_COLUMNS:
            cells.append(content)
        else:
            goes_on |= bool(content)
        has_stray_quote |= stray
        if end != delimiter:
            yield _Record(cells, found, after, has_stray_quote, goes_on)
            cells, found, has_stray_quote, goes_on = [], 0, False, False
        if not end:
            return
        at = after


def _in_quotes(text: bytes, at: int) -> slice | None:
    """What stands between the quote that opens a cell and the one that closes it; None where no quote closes it.

    Of quotes that follow each other, two are one that is meant: the first odd number of them closes.
    """
    opening = _OPENING.match(text, at)
    for run in _QUOTES.finditer(text, opening.end()) if opening else ():
        if (run.end() - run.start()) % 2:
            return slice(opening.end(), run.end() - 1)  # type: ignore[union-attr]
    return None


def _read_carefully(body: bytes, delimiter: bytes, width: int) -> tuple[pd.DataFrame, list[str | None]]:
    pieces: list[list[Any]] = [[] for _ in range(width)]
    reasons: list[str | None] = []
    records = _records(body, delimiter)
    # In pieces: as a Python object, a cell takes fifty bytes beyond its text.
    while piece := list(islice(records, max(1, _CELLS_AT_ONCE // max(1, width)))):
        for at in range(width):
            cells = [record.cells[at].decode() or None if at < len(record.cells) else None for record in piece]
            pieces[at].append(pa.array(cells, type=pa.large_string()))
        reasons += [_reason(record, width, quotes_wrap=delimiter not in (TAB, NO_DELIMITER)) for record in piece]
    columns = [pa.chunked_array(found, type=pa.large_string()) for found in pieces]
    frame = pd.DataFrame({at: pd.Series(array, dtype=TEXT) for at, array in enumerate(_in_one_piece(columns))})
    return frame, reasons if any(reasons) else []


def _reason(record: _Record, width: int, *, quotes_wrap: bool) -> str | None:
    if quotes_wrap and record.has_stray_quote:
        return "a quote opens a cell and does not close it at its end; double the quotes inside a quoted cell"
    if record.goes_on or any(record.cells[width:]):
        return f"it has {record.found} cells and the header {width}; put quotes around a cell that holds the delimiter"
    return None
