"""The cells of a prompt table as texts: how many there may be, which columns are our own, and what is wrong with a row.

Whatever type a file gave a cell, the same cell reads the same. A rejected row is data, and the others go on; but a table
of which nothing is left, or of which more is lost than its owner allows, is a mistake somewhere else: then nothing is
written, and what stood before stays. Not here: reading a file (`prompts.formats`), and what a text means
(`prompts.settings`, `prompts.table`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import repeat
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from seedream_assets.config.prompts import MaxRejected
from seedream_assets.errors import PromptTableError, RowError
from seedream_assets.wording import count_of

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

TEXT = pd.StringDtype("pyarrow")

# What a parsed or joined table says about its own rows. The brackets keep the names apart from any real header.
TABLE = "(table)"
ROW_NUMBER = "(row number)"
BROKEN_ROW = "(broken row)"
RESERVED = (TABLE, ROW_NUMBER, BROKEN_ROW)

# About 400 bytes of memory each, beyond the text.
MOST_ROWS = 5_000_000
MOST_COLUMNS = 2_000
# A million rows of 100 columns. A file whose rows are full has a byte for each cell at least, and may have more.
MOST_CELLS = 100_000_000

LARGEST_EXACT_FLOAT = 2**53
LONGEST_SHOWN_VALUE = 200
MOST_REASONS = 5
_ITERATED_ROWS = 1 << 15


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
    numbers = frame[ROW_NUMBER] if ROW_NUMBER in frame.columns else np.arange(1, len(frame) + 1)
    tables = frame[TABLE].array if TABLE in frame.columns else [label] * len(frame)
    return pd.DataFrame({"row_number": np.asarray(numbers, dtype=np.int64), "table": pd.Series(tables, dtype=TEXT)})


def listed(names: Sequence[str], most: int = 30) -> str:
    """The first names of a header in quotes, and how many there are besides."""
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown or "none"


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


def as_text(column: pd.Series[Any]) -> pd.Series[str]:
    """A column of any dtype as trimmed text (`TEXT`, index from 0), NA where a cell is empty.

    3.0 reads "3", True reads "true", lists and objects read as JSON, dates in ISO form. A half surrogate pair, which
    no UTF-8 text can hold, reads as U+FFFD.
    """
    dtype = column.dtype
    array: Any
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_integer_dtype(dtype):
        array = pa.array(column, from_pandas=True).cast(pa.large_string())
    elif isinstance(dtype, pd.StringDtype) and dtype.storage == "pyarrow":
        array = pa.array(column, type=pa.large_string(), from_pandas=True)
    else:
        array = pa.array([cell_text(cell) for cell in column.tolist()], type=pa.large_string())
    return trimmed(array)


def trimmed(array: Any) -> pd.Series[str]:
    """An Arrow array of texts as a column, without outer whitespace, and NA for what is then empty."""
    texts = pc.utf8_trim_whitespace(array)
    return from_arrow(pc.if_else(pc.equal(texts, pa.scalar("", texts.type)), pa.scalar(None, texts.type), texts))


def from_arrow(array: Any) -> pd.Series[str]:
    """An Arrow array of texts as a pandas column, without a copy."""
    return pd.Series(cast("Any", TEXT).__from_arrow__(array), dtype=TEXT)


def matching(texts: pd.Series[str], pattern: str) -> BoolArray:
    """Where the regular expression (RE2) is found; false where there is no text."""
    found = pc.match_substring_regex(cast("Any", pa.array(texts, from_pandas=True)), pattern)
    return np.asarray(pc.fill_null(found, False))


def iterate(texts: pd.Series[str]) -> Iterator[str | None]:
    """The texts one after the other, None for none; only some of them are in memory twice."""
    for start in range(0, len(texts), _ITERATED_ROWS):
        part: Any = pa.array(texts.iloc[start : start + _ITERATED_ROWS], from_pandas=True)
        yield from part.to_numpy(zero_copy_only=False).tolist()


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


class RowErrorLog:
    """Collects the row errors of one table, one entry per violation. A row is a position in the table, from 0."""

    def __init__(self, row_count: int) -> None:
        self.rejected: BoolArray = np.zeros(row_count, dtype=np.bool_)
        self._broken: BoolArray = np.zeros(row_count, dtype=np.bool_)
        self._rejections: list[_Entry] = []
        self._warnings: list[_Entry] = []

    def reject_broken(self, reasons: pd.Series[str]) -> None:
        """Reject the rows that have a reason: their cells cannot be kept apart, and nothing else of them is reported."""
        rows = np.flatnonzero(reasons.notna())
        found = [RowError("broken_row", "a row that fits the header", reason) for reason in reasons.iloc[rows]]
        self.reject("", rows, repeat(""), found)
        self._broken[rows] = True

    def reject(
        self, column: str, rows: IntArray, values: Iterable[str | None], row_errors: RowError | Iterable[RowError]
    ) -> None:
        """Note a violation in each of `rows`; `values` and `row_errors` run parallel to them."""
        self.rejected[rows] = True
        self._rejections += [
            entry for entry in _entries(column, rows, values, row_errors) if not self._broken[entry[0]]
        ]

    def warn(
        self, column: str, rows: IntArray, values: Iterable[str | None], row_errors: RowError | Iterable[RowError]
    ) -> None:
        """Note something unusual in each of `rows`, which stay accepted."""
        self._warnings += _entries(column, rows, values, row_errors)

    def rejections(self, places: pd.DataFrame) -> pd.DataFrame:
        """Every violation, by row and column. `places` has `row_number` and `table` for every position."""
        return _framed(self._rejections, places)

    def warnings(self, places: pd.DataFrame) -> pd.DataFrame:
        """Every warning about an accepted row, by row and column."""
        return _framed([entry for entry in self._warnings if not self.rejected[entry[0]]], places)


def wrong_rows(
    rows: IntArray, codes: IntArray, texts: Sequence[str] | pd.Index[str], readings: Sequence[object]
) -> tuple[IntArray, list[str], list[RowError]]:
    """The rows whose text was read as an error, with their texts and errors, as `RowErrorLog.reject` takes them.

    Tables repeat themselves: a million widths are a handful of texts, and each is read once.

    Args:
        rows: Positions in the table.
        codes: Which text each of them holds.
        texts, readings: The distinct texts, and what each was read as.
    """
    errors = {code: reading for code, reading in enumerate(readings) if isinstance(reading, RowError)}
    hit = np.flatnonzero(np.isin(codes, list(errors)))
    found = codes[hit].tolist()
    return rows[hit], [texts[code] for code in found], [errors[code] for code in found]


_Entry = tuple[int, str, str, RowError]  # row, column, value, what is wrong


def _entries(
    column: str, rows: IntArray, values: Iterable[str | None], row_errors: RowError | Iterable[RowError]
) -> list[_Entry]:
    each = repeat(row_errors) if isinstance(row_errors, RowError) else row_errors
    return [
        (row, column, shown(value or ""), error) for row, value, error in zip(rows.tolist(), values, each, strict=False)
    ]


def _framed(entries: list[_Entry], places: pd.DataFrame) -> pd.DataFrame:
    entries = sorted(entries, key=lambda entry: entry[:2])
    where = places.iloc[[row for row, *_ in entries]].reset_index(drop=True)
    texts = {
        "column": [column for _, column, _, _ in entries],
        "value": [value for _, _, value, _ in entries],
        "rule": [error.rule for *_, error in entries],
        "allowed": [error.allowed for *_, error in entries],
        "fix": [error.fix for *_, error in entries],
    }
    columns = {name: pd.Series(cells, dtype=TEXT) for name, cells in texts.items()}
    return pd.DataFrame({"row_number": where["row_number"], **columns, "table": where["table"]})


def shown(value: str, longest: int = LONGEST_SHOWN_VALUE) -> str:
    """The value, cut where it is too long to be read."""
    return value if len(value) <= longest else value[: longest - 1] + "…"


def refuse_unless_enough(
    *,
    rows: int,
    accepted: int,
    rejected: pd.DataFrame,
    misfits: int,
    table_rows: int,
    with_table: bool,
    limit: MaxRejected | None,
) -> None:
    """Refuse a table, or a partition's share of it, of which too little is left.

    Rows that can belong to no partition are reported in each, and are in none: they are measured against the whole table.

    Args:
        rows: Rows that are this partition's.
        accepted: Those of them that are within the limits.
        rejected: Every violation, columns as `CheckedPrompts.rejected`.
        misfits: Rows of the whole table that can belong to no partition.
        table_rows: Rows of the whole table.
        with_table: Whether a row's table is named, where there are several.
        limit: What the dataset allows; None where it allows everything but to lose all rows.

    Raises:
        PromptTableError: There are rows and none is accepted, or more are rejected than the limit allows.
    """
    lost = rows - accepted
    if rows and not accepted:
        lost_rows = "the only row is" if rows == 1 else f"all {rows} rows are"
        raise PromptTableError(
            f"{lost_rows} rejected, and nothing would be left{_reasons(rejected, with_table=with_table)}"
        )
    if limit is None:
        return
    for found, among, whose in (
        (lost, rows, "rows"),
        (misfits, table_rows, "rows of the table, which fit no partition,"),
    ):
        if not limit.allows(found, of=among):
            summary = f"{found} of {among} {whose} are rejected, and prompts.max_rejected allows {limit}"
            raise PromptTableError(f"{summary}{_reasons(rejected, with_table=with_table)}")


def _reasons(rejected: pd.DataFrame, *, with_table: bool) -> str:
    lines = describe_rows(rejected, most=MOST_REASONS, with_table=with_table)
    return "".join(f"\n  {line}" for line in lines) + "\nNothing was written; mend the table and read it again"


def merge_alike(rows: pd.DataFrame) -> pd.DataFrame:
    """Warnings that say the same of several rows as one, as what comes from the recipe is the same for every row.

    Returns:
        The same columns; `row_number` is a text, as "1" or "1 and 99 more rows".
    """
    alike = rows.groupby(["column", "value", "rule", "allowed", "fix"], sort=False, dropna=False)
    first = alike.cumcount() == 0
    others = alike["row_number"].transform("size")[first] - 1
    numbers = rows.loc[first, "row_number"].astype(str)
    return rows[first].assign(
        row_number=[
            number + (f" and {count_of(more, 'more row')}" if more else "")
            for number, more in zip(numbers, others, strict=True)
        ]
    )


def describe_rows(rows: pd.DataFrame, *, most: int, with_table: bool) -> Iterator[str]:
    """A line for each of the first rejected or warned rows, and one for how many more there are.

    Args:
        rows: Columns as `CheckedPrompts.rejected`.
        most: So many lines at most, before the last one.
        with_table: Name the table that each row is of.
    """
    for row in rows.head(most).itertuples():
        where = f"{row.table!s}, row {row.row_number}" if with_table else f"row {row.row_number}"
        cell = f"{row.column!s} {row.value!r}" if row.column else "the row"
        yield f"{where}: {cell}; allowed is {row.allowed!s}; {row.fix!s}"
    if len(rows) > most:
        yield f"… and {len(rows) - most} more"
