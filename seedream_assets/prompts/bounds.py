"""How large a prompt table may become in memory: bounds that hold before anything is read into it.

A few bytes can ask for a whole machine: a packed file unpacks to a thousand times its size, one stray cell of a sheet
spans a billion, a dictionary repeats one text a million times. Each is refused with the number allowed. A table that is
as large as its file is bounded by the file alone.
"""

from __future__ import annotations

import gzip
import zlib
from io import BytesIO

from seedream_assets.errors import PromptTableError

MEBIBYTE = 1 << 20
# About 400 bytes of memory each, beyond the text.
MOST_ROWS = 5_000_000
MOST_COLUMNS = 2_000
# A million rows of 100 columns. A file whose rows are full has a byte for each cell at least, and may have more.
MOST_CELLS = 100_000_000
# What lies in one file, unpacked: tables of real prompts are packed to a tenth, very regular ones to a fiftieth.
PACKED_TIMES = 100
UNPACKED_AT_LEAST = 32 * MEBIBYTE
# A line of JSON becomes objects of twenty times its size.
LONGEST_JSON_LINE = 4 * MEBIBYTE
_PIECE = 4 * MEBIBYTE


def most_unpacked(packed_bytes: int) -> int:
    """The bytes that a packed file of this size may unpack to."""
    return max(UNPACKED_AT_LEAST, PACKED_TIMES * packed_bytes)


def too_packed(label: str, packed_bytes: int, what: str = "unpacks") -> PromptTableError:
    """The error for a file that unpacks to more than that."""
    return PromptTableError(
        f"{label}: the file of {packed_bytes} bytes {what} to more than the {most_unpacked(packed_bytes)} bytes allowed "
        f"for it ({PACKED_TIMES} times its size, or {UNPACKED_AT_LEAST}); give the table as plain CSV"
    )


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


def refuse_shape(label: str, *, rows: int, columns: int, size_bytes: int) -> None:
    """Refuse a table of more rows, columns or cells than a file of its size may have.

    Args:
        label: For the message.
        rows: At most so many.
        columns: At most so many.
        size_bytes: What the table's cells take in the file.

    Raises:
        PromptTableError: Too many of one of them.
    """
    if rows > MOST_ROWS:
        raise PromptTableError(
            f"{label}: the table has {rows} rows; at most {MOST_ROWS} are allowed in one file. Partition the dataset, "
            "or split it"
        )
    if columns > MOST_COLUMNS:
        raise PromptTableError(
            f"{label}: the table has {columns} columns; at most {MOST_COLUMNS} are allowed. Is a cell far to the right, "
            "or the delimiter another one? Take out the columns that no prompt needs"
        )
    allowed = max(MOST_CELLS, size_bytes)
    if rows * columns > allowed:
        raise PromptTableError(
            f"{label}: the table has {rows} rows of {columns} columns, {rows * columns} cells; at most {allowed} are "
            "allowed. Is a cell far below or to the right of the others, or is a header too long?"
        )
