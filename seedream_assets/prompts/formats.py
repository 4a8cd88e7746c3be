"""A prompt table's bytes as a frame: which format they are in, how they are encoded, and what is not part of the table.

Delimited text has a reader of our own: those of pandas, Arrow and Python's `csv` lose a whole file to one quote that is
never closed, or take the quotes of a cell like `"G O" painted` away without a word. JSON Lines, Parquet and Excel keep
numbers and truths as they are; nested values become JSON text. Not here: fetching the bytes, and checking what the cells
hold (`prompts.table`).
"""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from io import BytesIO
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, NamedTuple, cast
from xml.etree.ElementTree import ParseError

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from openpyxl.utils.exceptions import InvalidFileException

from seedream_assets.errors import PromptTableError
from seedream_assets.prompts.cells import (
    BROKEN_ROW,
    MOST_CELLS,
    MOST_COLUMNS,
    RESERVED,
    ROW_NUMBER,
    TABLE,
    TEXT,
    cell_text,
    check_header,
    from_arrow,
    refuse_shape,
)
from seedream_assets.prompts.sources import MEBIBYTE, most_unpacked, too_packed

KNOWN_FORMATS = ".csv, .tsv, .jsonl, .ndjson, .parquet or .xlsx, as it is or as .gz"
_KINDS = {
    ".csv": "text",
    ".tsv": "text",
    ".tab": "text",
    ".jsonl": "JSON Lines",
    ".ndjson": "JSON Lines",
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".xlsx": "Excel",
    ".xlsm": "Excel",
}
_FIRST_BYTES = {
    b"PAR1": "Parquet",
    b"PK\x03\x04": "Excel",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "old or password-protected Excel",
    b"%PDF": "PDF",
}
_GZIP = b"\x1f\x8b"
# What Git LFS leaves in place of a file that was not fetched.
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_BYTE_ORDER_MARKS = {  # the longer ones first: UTF-32's begins with UTF-16's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_DECODED_BYTES = 1 << 18
_UNNAMED = re.compile(r"\s*|Unnamed: \d+")

# A line of JSON becomes objects of twenty times its size.
LONGEST_JSON_LINE = 4 * MEBIBYTE
_PIECE = 4 * MEBIBYTE
EXCEL_ROWS = 1 << 20
# Styles, names and the like become a kilobyte for every twenty bytes; sheets and their texts are read in pieces.
LARGEST_EXCEL_PART = 8 * MEBIBYTE
_READ_IN_PIECES = ("xl/worksheets/", "xl/sharedStrings", "xl/media/")
_EXCEL_ERRORS = frozenset({"#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#NULL!", "#NUM!", "#N/A"})
# What openpyxl was seen to raise when single bytes of a workbook were changed, besides its own error.
_EVERY_WORKBOOK_HAS = "[Content_Types].xml"
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
TAB, NO_DELIMITER = b"\t", b"\x1f"
_DELIMITERS = (b",", b";", b"|")
_CELLS_AT_ONCE = 200_000
_SEP_LINE = re.compile(rb"sep=(.)\r?\n", re.IGNORECASE)  # Excel's own hint, written before the header
_LINE_END = re.compile(rb"\r\n|\r|\n|\Z")


Parsed = tuple[pd.DataFrame, list[str | None]]
"""The columns, whose names may repeat; and for every row why it cannot be read, if so, or an empty list."""


def parse_prompt_file(body: bytes, name: str, *, may_be_empty: bool = False) -> pd.DataFrame:
    """Read a prompt table from the bytes of a file.

    The format follows from the name's suffix, or from the content where the suffix says nothing. Text formats give every
    cell as text, NA only for an empty one: "NA", "null" and "None" are words, and "007" keeps its zeros. JSON Lines,
    Parquet and Excel keep numbers, truths and dates; nested values become JSON text.

    Args:
        body: The whole file. Text is UTF-8, or UTF-16 or UTF-32 with a byte order mark.
        name: Path or URL, for its suffix and for messages.
        may_be_empty: Take a table of a header and no rows, as a day may have none. A file without any content is
            refused all the same: it may be one that was cut off.

    Returns:
        The table's columns under their own names (a blank name becomes "Unnamed: n"), without columns that have
        neither a name nor a cell, and without empty rows. Where rows in between were empty, `ROW_NUMBER` has every
        row's number in the file (int64, from 1, the header not counted); where rows cannot be read, `BROKEN_ROW` says
        why (string).

    Raises:
        PromptTableError: The file is broken, empty, of an unknown format, not UTF-8, or has a name twice in its
            header; or it would become larger in memory than a file of its size may.
    """
    address = name.split("?")[0].split("#")[0] if "://" in name else name
    label = PurePosixPath(address).name or address
    suffixes = [suffix.lower() for suffix in PurePosixPath(label).suffixes]
    if body.startswith(_GZIP):
        body = unpack_gzip(body, label)
    if not body or body.isspace():
        raise PromptTableError(f"{label}: the file is empty; a table has a header and at least one row")
    suffix = next((suffix for suffix in reversed(suffixes) if suffix != ".gz"), "")
    frame, reasons = _parsed(body, label, suffix)
    return _tidied(frame, reasons, label, may_be_empty=may_be_empty)


def join_prompt_tables(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put several parsed tables under one header; each row keeps the number it has in its own table.

    Args:
        tables: Label, for example the file's name → the frame of `parse_prompt_file`, in the wanted order.

    Returns:
        All rows, with `TABLE` (string) and `ROW_NUMBER` (int64). A column that only differs in case or outer spaces
        from one of an earlier table is the same column; a column that a table does not have is empty there.
    """
    spellings: dict[str, str] = {}
    labelled = []
    for label, frame in tables.items():
        folded = [column.strip().casefold() for column in frame.columns]
        names = [
            spellings.setdefault(fold, column) if folded.count(fold) == 1 else column
            for fold, column in zip(folded, frame.columns, strict=True)
        ]
        numbers = frame[ROW_NUMBER] if ROW_NUMBER in frame.columns else np.arange(1, len(frame) + 1)
        place = {TABLE: pd.Series(label, index=frame.index, dtype=TEXT), ROW_NUMBER: numbers}
        labelled.append(frame.set_axis(names, axis="columns").assign(**place))
    return pd.concat(labelled, ignore_index=True) if labelled else pd.DataFrame()


def _parsed(body: bytes, label: str, suffix: str) -> Parsed:
    if body.startswith(_LFS_POINTER):
        raise PromptTableError(f"{label}: this is a Git LFS pointer, and not the table; fetch it with: git lfs pull")
    kind = _KINDS.get(suffix)
    content = next((kind for first, kind in _FIRST_BYTES.items() if body.startswith(first)), None)
    readable = content in (None, "Parquet", "Excel")
    if content is not None and (not readable or kind not in (None, content)):
        raise PromptTableError(
            f"{label}: the content is {content}, allowed is {KNOWN_FORMATS}; "
            + ("give the file the suffix of what it is" if readable else "save it as one of these")
        )
    kind = kind or content
    if kind == "Parquet":
        return parse_parquet(body, label)
    if kind == "Excel":
        return parse_excel(body, label)
    if kind is None and b"\x00" in body and not body.startswith(tuple(_BYTE_ORDER_MARKS)):
        raise PromptTableError(f"{label}: the format is not known, allowed is {KNOWN_FORMATS}; save it as one of these")
    text = _utf8(body, label)
    start = text[:1000].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise PromptTableError(f"{label}: the content is a web page or XML; is the address one of the file itself?")
    if start.startswith(b"[") and kind != "text":
        raise PromptTableError(f"{label}: the content is a JSON list; save it as JSON Lines, one object per line")
    is_json = kind == "JSON Lines" or (kind is None and start.startswith(b"{"))
    return parse_json_lines(text, label) if is_json else parse_delimited(text, label)


def _utf8(body: bytes, label: str) -> bytes:
    """The text in UTF-8 without its byte order mark; nothing is guessed, since a wrong guess would be bought."""
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if body.startswith(mark):
            try:
                return body.decode(encoding).removeprefix("\ufeff").encode()
            except UnicodeDecodeError as error:
                raise PromptTableError(
                    f"{label}: byte {error.start} is not {encoding.upper()}, which its first bytes announce; "
                    "save the file as UTF-8"
                ) from error
    if b"\x00" in body[:4]:
        raise PromptTableError(f"{label}: the text looks like UTF-16 without a byte order mark; save the file as UTF-8")
    _check_utf8(body, label)
    return body.removeprefix(codecs.BOM_UTF8)


def _check_utf8(body: bytes, label: str) -> None:
    """In pieces: one emoji would make a str of the whole file four times as large."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(body), _DECODED_BYTES):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(body[start : start + _DECODED_BYTES], final=start + _DECODED_BYTES >= len(body))
        except UnicodeDecodeError as error:
            offset = start - pending + error.start
            line = body.count(b"\n", 0, offset) + 1
            raise PromptTableError(
                f"{label}: byte {offset} (0x{body[offset]:02X}, line {line}) is not UTF-8; "
                "save the file as UTF-8, in Excel as 'CSV UTF-8'"
            ) from error


def _tidied(frame: pd.DataFrame, reasons: list[str | None], label: str, *, may_be_empty: bool) -> pd.DataFrame:
    """The table itself: no columns without name and cells, no rows without cells, every name once."""
    names = [str(name) for name in frame.columns]
    kept = [at for at, name in enumerate(names) if not _UNNAMED.fullmatch(name) or frame.iloc[:, at].notna().any()]
    names = [names[at] if names[at].strip() else f"Unnamed: {at}" for at in kept]
    check_header(names, label)
    if reserved := [name for name in names if name in RESERVED]:
        raise PromptTableError(f"{label}: the column {reserved[0]!r} has a name of our own; rename it")
    frame = frame.iloc[:, kept].set_axis(names, axis="columns")
    if reasons:
        frame = frame.assign(**{BROKEN_ROW: pd.Series(reasons, dtype=TEXT)})
    rows = _rows_with_cells(frame)
    if not len(rows) and may_be_empty:
        return frame.iloc[:0]
    if not len(rows):
        raise PromptTableError(f"{label}: the table has a header and no rows; write at least one")
    if rows[-1] + 1 != len(rows):
        frame = frame.assign(**{ROW_NUMBER: np.arange(1, len(frame) + 1)})
    return frame if len(rows) == len(frame) else frame.iloc[rows].reset_index(drop=True)


def _rows_with_cells(frame: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Looks at a further column only for the rows that were empty so far, which are none in most tables."""
    empty = np.arange(len(frame))
    for at in range(frame.shape[1]):
        empty = empty[frame.iloc[empty, at].isna().to_numpy()] if len(empty) else empty
    has_cells = np.ones(len(frame), dtype=np.bool_)
    has_cells[empty] = False
    return np.flatnonzero(has_cells)


def unpack_gzip(body: bytes, label: str) -> bytes:
    """What a gzip file holds, of however many members.

    Raises:
        PromptTableError: It is broken, or holds more than `most_unpacked` says.
    """
    allowed = most_unpacked(len(body))
    pieces: list[bytes] = []
    left = allowed
    try:
        with gzip.GzipFile(fileobj=BytesIO(body)) as file:
            while piece := file.read(min(_PIECE, left + 1)):
                left -= len(piece)
                if left < 0:
                    raise too_packed(label, len(body))
                pieces.append(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise PromptTableError(f"{label}: the gzip file is broken ({error}); pack it again") from error
    return b"".join(pieces)


class _Record(NamedTuple):
    cells: list[bytes]  # the first `MOST_COLUMNS` and one more
    found: int  # cells in the file
    end: int  # where the next record begins
    has_stray_quote: bool = False


def parse_delimited(text: bytes, label: str) -> Parsed:
    """Every cell as text, NA where it is empty; blank lines are rows without cells.

    A tab in the header is always the delimiter; else the most frequent of comma, semicolon and bar. Where the header
    is a single name, the lines have no delimiter, and a comma is a comma. A row with fewer cells than the header ends
    in empty ones. A row with a stray quote is broken, since it is not known where its cells end, and the rows after it
    are read; where tabs delimit, quoting is rare, and a quote that does not wrap a whole cell is part of the text.

    Raises:
        PromptTableError: More rows, columns or cells than `refuse_shape` allows.
    """
    hint = _SEP_LINE.match(text)
    text = (text[hint.end() :] if hint else text).lstrip(b"\r\n")
    delimiter = hint[1] if hint else _delimiter(text)
    records = _records(text, delimiter)
    header = next(records, _Record([], 0, 0))
    line_ends = max(text.count(b"\n"), text.count(b"\r"))
    refuse_shape(label, rows=line_ends, columns=header.found, size_bytes=len(text))
    width, quotes_wrap = len(header.cells), delimiter not in (TAB, NO_DELIMITER)
    pieces: list[list[Any]] = [[] for _ in range(width)]
    reasons: list[str | None] = []
    # In pieces: as a Python object, a cell takes fifty bytes beyond its text.
    while piece := list(islice(records, max(1, _CELLS_AT_ONCE // max(1, width)))):
        for at in range(width):
            column = [record.cells[at] or None if at < len(record.cells) else None for record in piece]
            pieces[at].append(pa.array(column, type=pa.large_binary()).cast(pa.large_string()))
        reasons += [_reason(record, width, quotes_wrap=quotes_wrap) for record in piece]
    columns = {at: _joined(pieces[at]) for at in range(width)}
    frame = pd.DataFrame(columns).set_axis([name.decode() for name in header.cells], axis="columns")
    return frame, reasons if any(reasons) else []


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
    boundary = re.escape(delimiter)
    # A cell in quotes, of which two stand for one, or a cell as it stands. It never goes back over what it has read.
    cell = re.compile(rb' *+"((?:[^"]++|"")*+)" *+(?=[%b\r\n]|\Z)|([^%b\r\n]*+)' % (boundary, boundary))
    at = 0
    while at < len(text):
        line = cast("re.Match[bytes]", _LINE_END.search(text, at))
        if text.find(b'"', at, line.start()) < 0:
            cells = text[at : line.start()].split(delimiter, MOST_COLUMNS + 1)[: MOST_COLUMNS + 1]
            record = _Record(cells, text.count(delimiter, at, line.start()) + 1, line.end())
        else:
            record = _quoted_record(text, at, delimiter, cell)
        yield record
        at = record.end


def _quoted_record(text: bytes, at: int, delimiter: bytes, cell: re.Pattern[bytes]) -> _Record:
    """A record with quotes in its first line. A cell whose quotes do not wrap it keeps them, and ends at the delimiter."""
    cells: list[bytes] = []
    found = 0
    has_stray_quote = False
    while True:
        match = cast("re.Match[bytes]", cell.match(text, at))  # it always matches
        quoted, plain = match.groups()
        has_stray_quote |= quoted is None and plain.lstrip(b" ").startswith(b'"')
        found += 1
        if found <= MOST_COLUMNS + 1:
            cells.append(plain if quoted is None else quoted.replace(b'""', b'"'))
        at = match.end()
        if text[at : at + 1] != delimiter:
            end = cast("re.Match[bytes]", _LINE_END.match(text, at)).end()
            return _Record(cells, found, end, has_stray_quote)
        at += 1


def _reason(record: _Record, width: int, *, quotes_wrap: bool) -> str | None:
    if quotes_wrap and record.has_stray_quote:
        return "a quote opens a cell and does not close it at its end; double the quotes inside a quoted cell"
    if any(record.cells[width:]) or record.found > MOST_COLUMNS + 1:
        return f"it has {record.found} cells and the header {width}; put quotes around a cell that holds the delimiter"
    return None


def _joined(pieces: list[Any]) -> pd.Series[str]:
    """In one piece, so that what looks at the column later need not copy it; what it was made of is released."""
    array = pa.chunked_array(pieces, type=pa.large_string()).combine_chunks()
    pieces.clear()
    return from_arrow(array)


def parse_json_lines(text: bytes, name: str) -> Parsed:
    """One row per line, a blank line without cells; columns in the order in which they first appear.

    Raises:
        PromptTableError: No line is a JSON object.
    """
    rows: list[dict[str, Any]] = []
    reasons: list[str | None] = []
    found: dict[str, None] = {}
    lines = text.count(b"\n") + 1
    refuse_shape(name, rows=lines, columns=1, size_bytes=len(text))
    for line in BytesIO(text):
        row, reason = _json_row(line.rstrip(b"\r\n"))
        rows.append(row)
        reasons.append(reason)
        if not found.keys() >= row.keys():
            found |= dict.fromkeys(row)
            refuse_shape(name, rows=lines, columns=len(found), size_bytes=len(text))
    names = list(found)
    if not names:
        raise PromptTableError(f"{name}: no line is a JSON object; JSON Lines have one object per line, {{…}}")
    return _table(names, ([row.get(key) for row in rows] for key in names)), reasons if any(reasons) else []


def _json_row(line: bytes) -> tuple[dict[str, Any], str | None]:
    if not line.strip():
        return {}, None
    if len(line) > LONGEST_JSON_LINE:
        return {}, f"the line has {len(line)} bytes; allowed are {LONGEST_JSON_LINE}"
    try:
        row = json.loads(line, parse_constant=lambda _: None)
        if not isinstance(row, dict):
            return {}, "the line is JSON but no object; write {…}"
        # Nested values at once, as the text that they become: as objects they take twenty times their size.
        return {key: cell_text(cell) if isinstance(cell, dict | list) else cell for key, cell in row.items()}, None
    except (ValueError, RecursionError) as error:
        return {}, f"the line is not JSON ({error}); mend it or take it out"


def parse_parquet(body: bytes, name: str) -> Parsed:
    """The file's columns, without a pandas index that was stored with them.

    Raises:
        PromptTableError: It is no Parquet file, or a broken one; or it is larger than a file of its size may.
    """
    try:
        table = _read_parquet(body, name)
        names, pieces = table.column_names, list(table.columns)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise PromptTableError(
            f"{name}: the Parquet file cannot be read ({_first_line(error)}); write it again"
        ) from error
    kept = [at for at, column in enumerate(names) if not column.startswith("__index_level_")]
    del table
    columns = {}
    for at in kept:
        # In one piece, so that what looks at a column later need not copy it; what it was made of is released at once.
        column, pieces[at] = _spread(pieces[at]).combine_chunks(), None
        columns[at] = _arrow_column(column)
    return pd.DataFrame(columns).set_axis([names[at] for at in kept], axis="columns"), []


def _read_parquet(body: bytes, name: str) -> Any:
    """The table, with each distinct text of a column once; written out, they take no more than is allowed."""
    about = pyarrow.parquet.ParquetFile(pa.BufferReader(body)).metadata
    chunks = [
        about.row_group(group).column(at) for group in range(about.num_row_groups) for at in range(about.num_columns)
    ]
    refuse_shape(name, rows=about.num_rows, columns=about.num_columns, size_bytes=len(body))
    values = sum(chunk.num_values for chunk in chunks)  # of lists, every element
    if values > max(MOST_CELLS, len(body)):
        raise PromptTableError(f"{name}: the lists of the table hold {values} values; at most {MOST_CELLS} are allowed")
    if sum(chunk.total_uncompressed_size for chunk in chunks) > most_unpacked(len(body)):
        raise too_packed(name, len(body))
    texts = sorted({chunk.path_in_schema for chunk in chunks if chunk.physical_type == "BYTE_ARRAY"})
    table = pyarrow.parquet.ParquetFile(pa.BufferReader(body), read_dictionary=texts).read()
    table.validate(full=True)
    if sum(_spread_bytes(piece) for column in table.columns for piece in column.chunks) > most_unpacked(len(body)):
        raise too_packed(name, len(body), "spreads its texts")
    return table


def _spread_bytes(array: Any) -> int:
    """What an array takes with every text written out."""
    if pa.types.is_dictionary(array.type):
        lengths = pc.binary_length(array.dictionary) if len(array.dictionary) else pa.array([], pa.int32())
        return int(pc.sum(pc.cast(lengths.take(array.indices), pa.int64())).as_py() or 0)
    if pa.types.is_struct(array.type):
        return sum(_spread_bytes(array.field(at)) for at in range(array.type.num_fields))
    if pa.types.is_map(array.type):
        return _spread_bytes(array.keys) + _spread_bytes(array.items)
    return _spread_bytes(array.values) if pa.types.is_nested(array.type) else int(array.nbytes)


def _spread(column: Any) -> Any:
    """A column of texts with every one written out; others as they are."""
    if pa.types.is_dictionary(column.type):
        wide = pa.large_string() if pa.types.is_string(column.type.value_type) else column.type.value_type
        return column.cast(wide)
    return column


def _arrow_column(column: Any) -> pd.Series[Any]:
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
        PromptTableError: It is no workbook, or a broken one, or has no visible sheet; or it is larger than
            a file of its size may.
    """
    try:
        _refuse_unless_unpacked(body, name)
        workbook = openpyxl.load_workbook(BytesIO(body), read_only=True, data_only=True)
        sheets = [sheet for sheet in workbook.worksheets if sheet.sheet_state == "visible"]
        rows = _sheet_rows(sheets[0], name, len(body)) if sheets else []
    except _BROKEN_WORKBOOK as error:
        if isinstance(error, KeyError) and _EVERY_WORKBOOK_HAS in str(error):
            raise PromptTableError(f"{name}: this is a ZIP archive, and no Excel file; unpack it") from error
        raise PromptTableError(
            f"{name}: the Excel file cannot be read ({_first_line(error)}); save it again"
        ) from error
    if not rows:
        return pd.DataFrame(), []
    header = ["" if cell is None else cell_text(cell) or "" for cell in rows[0]]
    width = max(len(row) for row in rows)
    names = header + [""] * (width - len(header))
    reasons = [_excel_error(row, names) for row in rows[1:]]
    cells = ([row[at] if at < len(row) else None for row in rows[1:]] for at in range(width))
    return _table(names, cells), reasons if any(reasons) else []


def _refuse_unless_unpacked(body: bytes, name: str) -> None:
    """Refuse a workbook whose parts unpack to more than a file of its size may. No part yields more than it declares."""
    with zipfile.ZipFile(BytesIO(body)) as parts:
        sizes = {info.filename: info.file_size for info in parts.infolist()}
    if sum(sizes.values()) > most_unpacked(len(body)):
        raise too_packed(name, len(body))
    for part, size in sizes.items():
        if size > LARGEST_EXCEL_PART and not part.startswith(_READ_IN_PIECES):
            raise PromptTableError(
                f"{name}: {part} in the workbook has {size} bytes; allowed are {LARGEST_EXCEL_PART}. Save the table as CSV"
            )


def _sheet_rows(sheet: Any, name: str, size_bytes: int) -> list[tuple[Any, ...]]:
    """The rows between the first and the last that hold anything, without what is empty at their ends.

    Sheets can claim a million formatted blanks, and one text can stand in a million cells.
    """
    sheet.reset_dimensions()
    rows: list[tuple[Any, ...]] = []
    blanks = width = text = 0
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        if number > EXCEL_ROWS:
            raise PromptTableError(f"{name}: the sheet has a row {number}; a workbook has at most {EXCEL_ROWS}")
        end = len(row)
        while end and (row[end - 1] is None or row[end - 1] == ""):
            end -= 1
        if not end:
            blanks += 1
            continue
        rows.extend([()] * (blanks if rows else 0))
        rows.append(row[:end])
        blanks, width = 0, max(width, end)
        refuse_shape(name, rows=len(rows) - 1, columns=width, size_bytes=size_bytes)
        text += sum(len(cell) for cell in row[:end] if isinstance(cell, str))
        if text > most_unpacked(size_bytes):
            raise too_packed(name, size_bytes, "spreads its texts")
    return rows


def _excel_error(row: Sequence[Any], names: Sequence[str]) -> str | None:
    for cell, name in zip(row, names, strict=False):  # a row ends with its last cell
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
