"""The cells of a column as text: whatever type a file gave them, the same cell reads the same.

Not here: what a text means (`prompts.numbers`, `prompts.settings`, `prompts.references`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from seedream_assets.prompts.row_errors import TEXT, BoolArray, Cells, IntArray
from seedream_assets.prompts.text_hashes import Digests, digests, part, text_bounds

LARGEST_EXACT_FLOAT = 2**53
_ITERATED_ROWS = 1 << 15
_BYTES_AT_ONCE = 1 << 20
_NO_BYTES = np.empty(0, dtype=np.uint8)
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
        texts = self._array
        if self.any_byte(lambda byte: byte == 0x0D):
            texts = pc.replace_substring_regex(texts, "\r\n?", "\n")
        # Below U+0300, which begins with the byte CC, every text is its own NFC; the kernel takes 3 µs a text to see it.
        if self.any_byte(lambda byte: byte >= 0xCC):
            beyond = pc.fill_null(pc.match_substring_regex(texts, r"[^\x00-\x{2ff}]"), False)
            normal = _KERNELS.utf8_normalize(texts.filter(beyond), "NFC")
            texts = _KERNELS.replace_with_mask(texts, beyond, normal)
        return Texts(texts).trimmed()

    def trimmed(self) -> Texts:
        """Without outer whitespace, and null for what is then empty."""
        slices = (self._array.slice(start, _ITERATED_ROWS) for start in range(0, len(self), _ITERATED_ROWS))
        if not any(_is_untrimmed(texts) for texts in slices):
            return self  # most columns are: a look in pieces takes a tenth of the time of a second copy
        trimmed = pc.utf8_trim_whitespace(self._array)
        is_empty = pc.equal(trimmed, pa.scalar("", trimmed.type))
        return Texts(pc.if_else(is_empty, _NULL, trimmed) if pc.any(is_empty).as_py() else trimmed)

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

    def digests_with(self, others: Sequence[Cells], separator: str) -> Digests:
        """The SHA-256 of each row's texts, one after the other: this column's, which has no nulls, and the others'.

        Empty cells are left out. The joined texts are never held at once.
        """
        between = pa.scalar(separator, pa.large_string())
        columns: list[Any] = [(Texts.of([*cells.texts, None])._array, _codes_from_0(cells)) for cells in others]

        def joined(rows: slice) -> Any:
            parts = [part(self._array, rows), *(texts.take(pa.array(codes[rows])) for texts, codes in columns)]
            return _KERNELS.binary_join_element_wise(*parts, between, null_handling="skip")

        return digests(len(self), joined)

    def filled(self) -> BoolArray:
        """True where there is a text."""
        return cast("BoolArray", self._array.is_valid().to_numpy(zero_copy_only=False))

    def any_byte(self, is_asked: Callable[[npt.NDArray[np.uint8]], BoolArray]) -> bool:
        """True when any byte of the column in UTF-8 is as asked; 0.03 s for 200 MB, where a pattern takes ten times that."""
        first, end = text_bounds(self._array)
        _, _, text = self._array.buffers()
        held = np.frombuffer(text, dtype=np.uint8)[first:end] if text is not None and end > first else _NO_BYTES
        pieces = (held[start : start + _BYTES_AT_ONCE] for start in range(0, len(held), _BYTES_AT_ONCE))
        return any(bool(is_asked(piece).any()) for piece in pieces)

    def matching(self, pattern: str) -> IntArray:
        """The rows in whose text the regular expression (RE2) is found."""
        return _positions(pc.match_substring_regex(self._array, pattern))

    def containing(self, part: str) -> IntArray:
        """The rows in whose text `part` is found."""
        return _positions(pc.match_substring(self._array, part))

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


def _codes_from_0(cells: Cells) -> IntArray:
    """Which text each row holds; the one after the last in an empty cell."""
    return np.where(cells.codes < 0, len(cells.texts), cells.codes)


def _is_untrimmed(texts: Any) -> bool:
    """True where a text has outer whitespace or is empty."""
    lengths: Any = pc.binary_length(texts)
    trimmed_lengths = pc.binary_length(pc.utf8_trim_whitespace(texts))
    changed = pc.or_(pc.not_equal(lengths, trimmed_lengths), pc.equal(lengths, pa.scalar(0, lengths.type)))
    return bool(pc.any(changed).as_py())


def _positions(flags: Any) -> IntArray:
    return np.flatnonzero(pc.fill_null(flags, False).to_numpy(zero_copy_only=False)).astype(np.int64)
