"""A prompt table's bytes as a frame: which format they are in, how they are encoded, and what is not part of the table.

Not here: fetching the bytes, and checking what the cells hold (`prompts.table`).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from seedream_assets.errors import PromptTableError
from seedream_assets.prompts.bounds import unpack_gzip
from seedream_assets.prompts.cells import Texts
from seedream_assets.prompts.columns import BROKEN_ROW, RESERVED, ROW_NUMBER, TABLE, check_header
from seedream_assets.prompts.delimited import parse_delimited
from seedream_assets.prompts.records import Parsed, parse_excel, parse_json_lines, parse_parquet
from seedream_assets.prompts.row_errors import TEXT

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


def parse_prompt_file(body: bytes, name: str, *, may_be_empty: bool = False) -> pd.DataFrame:
    """Read a prompt table from the bytes of a file.

    The format is told by the name's suffix; by the content where the suffix says nothing. Text formats give every
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
            header; or it would become larger in memory than `prompts.bounds` allows.
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
        labels = Texts.repeated(label, len(frame)).to_series().set_axis(frame.index)
        place = {TABLE: labels, ROW_NUMBER: numbers}
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
    """The text in UTF-8 without its byte order mark; nothing is guessed, since a wrong guess would be painted."""
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
