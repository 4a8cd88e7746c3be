"""The cells of a prompt table: how many there may be, which columns are our own, and each column as texts.

Whatever type a file gave a cell, the same cell reads the same. Not here: reading a file (`prompts.formats`), and what a
text means (`prompts.settings`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from seedream_assets.errors import PromptTableError

# What a parsed or joined table says about its own rows. The brackets keep the names apart from any real header.
TABLE = "(table)"
ROW_NUMBER = "(row number)"
BROKEN_ROW = "(broken row)"
RESERVED = (TABLE, ROW_NUMBER, BROKEN_ROW)


def check_header(names: Iterable[str], where: str) -> None:
    """Refuse a header in which a name stands twice.

    Raises:
        PromptTableError: A name occurs more than once; its cells could not be kept apart.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise PromptTableError(f"{where}: {listed(twice)} stands more than once in the header; rename one of them")


def row_places(frame: pd.DataFrame, label: str | None = None) -> pd.DataFrame:
    """`row_number` and `table` of every row of a parsed or joined table.

    Args:
        frame: The table.
        label: The table of every row, where the frame does not say it; None for none.
    """
    numbers = frame[ROW_NUMBER] if ROW_NUMBER in frame.columns else pd.RangeIndex(1, len(frame) + 1)
    tables = frame[TABLE] if TABLE in frame.columns else Texts.repeated(label, len(frame)).to_series()
    return pd.DataFrame({"row_number": np.asarray(numbers, dtype=np.int64), "table": pd.Series(tables, dtype=TEXT)})


def listed(names: Sequence[str], most: int = 30) -> str:
    """The first names of a header in quotes, and how many there are besides."""
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown or "none"


# About 400 bytes of memory each, beyond the text.
MOST_ROWS = 5_000_000
MOST_COLUMNS = 2_000
# A million rows of 100 columns. A file whose rows are full has a byte for each cell at least, and may have more.
MOST_CELLS = 100_000_000


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


IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

TEXT = pd.StringDtype("pyarrow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """One column as its distinct texts and, for every row, which of them it holds.

    Tables repeat themselves: a million widths are a handful of texts, and each is read and judged once.

    Attributes:
        column: The table's own name of the column.
        texts: Distinct, trimmed.
        codes: Position in `texts` per row; -1 for an empty cell.
    """

    column: str
    texts: list[str]
    codes: IntArray

    def take(self, rows: IntArray, *, default: str) -> Cells:
        """The cells of some rows, with `default` in the empty ones."""
        if not self.texts:
            return Cells(column=self.column, texts=[default], codes=np.broadcast_to(np.int64(0), len(rows)))
        codes = self.codes[rows]
        codes[codes < 0] = len(self.texts)
        return Cells(column=self.column, texts=[*self.texts, default], codes=codes)


LARGEST_EXACT_FLOAT = 2**53
_ITERATED_ROWS = 1 << 15
_KERNELS: Any = pc  # for those that the published types lack
_NULL = pa.scalar(None, pa.large_string())


class Texts:
    """A column of texts, null where a cell is empty, and what is asked of a whole column at once."""

    def __init__(self, array: Any) -> None:
        # A large_string array. Any: the kernels take and give more kinds of array than their published types say.
        self._array = array

    @classmethod
    def of(cls, values: Sequence[str | None] | npt.NDArray[np.object_]) -> Texts:
        """A column of these texts."""
        return cls(pa.array(values, type=pa.large_string()))

    @classmethod
    def repeated(cls, text: str | None, rows: int) -> Texts:
        """A column with one text, or none, in every row."""
        return cls(pa.repeat(pa.scalar(text, pa.large_string()), rows))

    def __len__(self) -> int:
        return len(self._array)

    def normalised(self) -> Texts:
        """Line ends as one newline, Unicode NFC, outer whitespace trimmed, and null for what is then empty."""
        with_newlines = pc.replace_substring_regex(self._array, "\r\n?", "\n")
        return Texts(_KERNELS.utf8_normalize(with_newlines, "NFC")).trimmed()

    def trimmed(self) -> Texts:
        """Without outer whitespace, and null for what is then empty."""
        trimmed = pc.utf8_trim_whitespace(self._array)
        return Texts(pc.if_else(pc.equal(trimmed, pa.scalar("", trimmed.type)), _NULL, trimmed))

    def without(self, rows: IntArray) -> Texts:
        """The same column with these rows empty."""
        drop = np.zeros(len(self), dtype=np.bool_)
        drop[rows] = True
        return Texts(pc.if_else(pa.array(drop), _NULL, self._array)) if len(rows) else self

    def with_texts(self, rows: IntArray, texts: Texts) -> Texts:
        """The same column with these texts in these rows, which are in ascending order."""
        if len(rows) == len(self):
            return texts
        mask = np.zeros(len(self), dtype=np.bool_)
        mask[rows] = True
        return Texts(_KERNELS.replace_with_mask(self._array, pa.array(mask), texts._array)) if len(rows) else self

    def filled(self) -> BoolArray:
        """True where there is a text."""
        return cast("BoolArray", self._array.is_valid().to_numpy(zero_copy_only=False))

    def matching(self, pattern: str) -> IntArray:
        """The rows in whose text the regular expression (RE2) is found."""
        return _positions(pc.match_substring_regex(self._array, pattern))

    def lengths(self) -> IntArray:
        """Characters (Unicode code points) per row; 0 for null."""
        lengths = pc.fill_null(pc.utf8_length(self._array), 0)
        return cast("IntArray", lengths.to_numpy(zero_copy_only=False).astype(np.int64))

    def take(self, rows: IntArray) -> Texts:
        """The texts of these rows, in this order; without a copy where that is all of them."""
        if len(rows) == len(self) and np.array_equal(rows, np.arange(len(self))):
            return self
        return Texts(self._array.take(pa.array(rows, type=pa.int64())))

    def to_list(self) -> list[str | None]:
        """The texts, None for null."""
        return cast("list[str | None]", self.to_numpy().tolist())

    def strings(self) -> list[str]:
        """The texts, an empty one for null."""
        return [text or "" for text in self.to_list()]

    def __iter__(self) -> Iterator[str | None]:
        """The texts one after the other, None for null; only some of them are in memory twice."""
        for start in range(0, len(self), _ITERATED_ROWS):
            yield from self._array.slice(start, _ITERATED_ROWS).to_numpy(zero_copy_only=False).tolist()

    def to_numpy(self) -> npt.NDArray[np.object_]:
        """The texts as str objects, None for null."""
        return cast("npt.NDArray[np.object_]", np.array(self._array.to_numpy(zero_copy_only=False), dtype=object))

    def distinct(self, column: str) -> Cells:
        """Each text once, and which one a row holds."""
        if self._array.null_count == len(self):
            return Cells(column=column, texts=[], codes=np.broadcast_to(np.int64(-1), len(self)))
        encoded = self._array.dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        return Cells(column=column, texts=encoded.dictionary.to_pylist(), codes=codes)

    def to_series(self) -> pd.Series[str]:
        """The column as a pandas string column, without a copy."""
        return pd.Series(cast("Any", TEXT).__from_arrow__(self._array), dtype=TEXT)


def as_text(column: pd.Series[Any]) -> Texts:
    """A column of any dtype as trimmed text, null where a cell is empty.

    3.0 reads "3", True reads "true", lists and objects read as JSON, dates in ISO form. A half surrogate pair, which
    no UTF-8 text can hold, reads as U+FFFD.
    """
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        codes = column.cat.codes.to_numpy().astype(np.int64)
        categories = [*as_text(pd.Series(column.cat.categories)).to_list(), None]
        return Texts.of(categories).take(np.where(codes < 0, len(categories) - 1, codes))
    array: Any
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_integer_dtype(dtype):
        array = pa.array(column, from_pandas=True).cast(pa.large_string())
    elif isinstance(dtype, pd.StringDtype) and dtype.storage == "pyarrow":
        array = pa.array(column, type=pa.large_string(), from_pandas=True)
    else:
        array = pa.array([cell_text(cell) for cell in column.tolist()], type=pa.large_string())
    return Texts(array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array).trimmed()


def taken(frame: pd.DataFrame, rows: IntArray) -> pd.DataFrame:
    """These rows, in this order, index from 0; without a copy where that is all of them."""
    if len(rows) == len(frame) and np.array_equal(rows, np.arange(len(frame))):
        return frame.reset_index(drop=True)
    return frame.take(rows).reset_index(drop=True)


def cell_text(cell: object) -> str | None:
    """One cell as text, None where it is empty; see `as_text`."""
    if isinstance(cell, np.generic):
        cell = cell.item()
    if isinstance(cell, str):
        return _paired(cell)
    if cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float | Decimal) and cell != cell):
        return None
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and abs(cell) <= LARGEST_EXACT_FLOAT and cell == int(cell):
        return str(int(cell))
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    if isinstance(cell, dict | list | tuple | np.ndarray):
        plain = cell.tolist() if isinstance(cell, np.ndarray) else cell
        return _paired(json.dumps(plain, ensure_ascii=False, default=cell_text))
    return _paired(str(cell))


def _paired(text: str) -> str:
    if text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _positions(flags: Any) -> IntArray:
    return np.flatnonzero(pc.fill_null(flags, False).to_numpy(zero_copy_only=False)).astype(np.int64)
