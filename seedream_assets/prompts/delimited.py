"""Delimited text (CSV, TSV and their cousins) as a frame of text, with nothing guessed away.

A reader of our own, because those of pandas, Arrow and Python's `csv` lose a whole file to one quote that is never
closed, or take the quotes of a cell like `"G O" painted` away without a word. Here a row with a stray quote in a CSV is
marked as broken, since it is not known where its cells end, and the rows after it are read; in a TSV, where quoting is rare,
a quote that does not wrap a whole cell is part of the text.

Not here: decoding to UTF-8, and what all formats have in common (`prompts.formats`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple, cast

import pandas as pd
import pyarrow as pa

from seedream_assets.prompts.cells import MOST_COLUMNS, TEXT, refuse_shape

TAB, NO_DELIMITER = b"\t", b"\x1f"
_DELIMITERS = (b",", b";", b"|")
_CELLS_AT_ONCE = 200_000
_SEP_LINE = re.compile(rb"sep=(.)\r?\n", re.IGNORECASE)  # Excel's own hint, written before the header
_LINE_END = re.compile(rb"\r\n|\r|\n|\Z")


class _Record(NamedTuple):
    cells: list[bytes]  # the first `MOST_COLUMNS` and one more
    found: int  # cells in the file
    end: int  # where the next record begins
    has_stray_quote: bool = False
    goes_on: bool = False  # a cell behind those that are kept is not empty


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
    records = _records(text, delimiter)
    first = next(records, _Record([], 0, 0))
    line_ends = max(text.count(b"\n"), text.count(b"\r"))
    refuse_shape(label, rows=line_ends, columns=first.found, size_bytes=len(text))
    frame, reasons = _frame(records, len(first.cells), quotes_wrap=delimiter not in (TAB, NO_DELIMITER))
    return frame.set_axis([name.decode() for name in first.cells], axis="columns"), reasons


def _delimiter(text: bytes) -> bytes:
    header = re.sub(rb'"[^"]*"', b"", text[: _end_of_header(text)])
    if TAB in header:
        return TAB
    best = max(_DELIMITERS, key=header.count)
    return best if best in header else NO_DELIMITER


def _end_of_header(text: bytes) -> int:
    """Where the first line ends that ends outside quotes; where a quote is left open, at that quote."""
    at = quotes = 0
    for line in _LINE_END.finditer(text):
        quotes += text.count(b'"', at, line.start())
        at = line.start()
        if quotes % 2 == 0:
            return at
    return text.rfind(b'"')


def _records(text: bytes, delimiter: bytes) -> Iterator[_Record]:
    at = 0
    while at < len(text):
        line = cast("re.Match[bytes]", _LINE_END.search(text, at))
        if text.find(b'"', at, line.start()) < 0:
            cells = text[at : line.start()].split(delimiter, MOST_COLUMNS + 1)
            rest = cells.pop() if len(cells) > MOST_COLUMNS + 1 else None
            found = len(cells) if rest is None else len(cells) + 1 + rest.count(delimiter)
            goes_on = rest is not None and bool(rest.strip(delimiter))
            record = _Record(cells, found, line.end(), goes_on=goes_on)
        else:
            record = _quoted_record(text, at, delimiter)
        yield record
        at = record.end


def _quoted_record(text: bytes, at: int, delimiter: bytes) -> _Record:
    """A record with quotes in its first line. A cell whose quotes do not wrap it keeps them, and ends at the delimiter."""
    cell = _cell_pattern(delimiter)
    cells: list[bytes] = []
    found = 0
    has_stray_quote = goes_on = False
    while True:
        match = cast("re.Match[bytes]", cell.match(text, at))  # it always matches
        quoted, plain = match.groups()
        content = plain if quoted is None else quoted.replace(b'""', b'"')
        has_stray_quote |= quoted is None and plain.lstrip(b" ").startswith(b'"')
        found += 1
        if len(cells) <= MOST_COLUMNS:
            cells.append(content)
        else:
            goes_on |= bool(content)
        at = match.end()
        if text[at : at + 1] != delimiter:
            end = cast("re.Match[bytes]", _LINE_END.match(text, at)).end()
            return _Record(cells, found, end, has_stray_quote, goes_on)
        at += 1


def _cell_pattern(delimiter: bytes) -> re.Pattern[bytes]:
    """A cell in quotes, of which two stand for one, or a cell as it stands. It never goes back over what it has read."""
    boundary = re.escape(delimiter)
    return re.compile(rb' *+"((?:[^"]++|"")*+)" *+(?=[%b\r\n]|\Z)|([^%b\r\n]*+)' % (boundary, boundary))


def _frame(records: Iterator[_Record], width: int, *, quotes_wrap: bool) -> tuple[pd.DataFrame, list[str | None]]:
    pieces: list[list[Any]] = [[] for _ in range(width)]
    reasons: list[str | None] = []
    # In pieces: as a Python object, a cell takes fifty bytes beyond its text.
    while piece := [
        (record.cells[:width], _reason(record, width, quotes_wrap=quotes_wrap))
        for record in islice(records, max(1, _CELLS_AT_ONCE // max(1, width)))
    ]:
        for at in range(width):
            column = [cells[at] or None if at < len(cells) else None for cells, _ in piece]
            pieces[at].append(pa.array(column, type=pa.large_binary()).cast(pa.large_string()))
        reasons += [reason for _, reason in piece]
    columns = {at: _column(pieces[at]) for at in range(width)}
    return pd.DataFrame(columns), reasons if any(reasons) else []


def _column(pieces: list[Any]) -> pd.Series[str]:
    """In one piece, so that what looks at the column later need not copy it; what it was made of is released."""
    array = pa.chunked_array(pieces, type=pa.large_string()).combine_chunks()
    pieces.clear()
    return pd.Series(cast("Any", TEXT).__from_arrow__(array), dtype=TEXT)


def _reason(record: _Record, width: int, *, quotes_wrap: bool) -> str | None:
    if quotes_wrap and record.has_stray_quote:
        return "a quote opens a cell and does not close it at its end; double the quotes inside a quoted cell"
    if record.goes_on or any(record.cells[width:]):
        return f"it has {record.found} cells and the header {width}; put quotes around a cell that holds the delimiter"
    return None
