"""What is wrong with single rows of a prompt table, as data: one entry per violation; and how many of them are too many.

A rejected row is data, and the others go on. But a table of which nothing is left, or of which more is lost than its
owner allows, is a mistake somewhere else: then nothing is written, and what stood before stays. Not here: finding what
is wrong (`prompts.table`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from seedream_assets.config.prompts import MaxRejected
from seedream_assets.errors import PromptTableError, RowError
from seedream_assets.prompts.cells import TEXT, BoolArray, Cells, IntArray

LONGEST_SHOWN_VALUE = 200


class RowErrorLog:
    """Collects the row errors of one table. A row is a position in the checked frame, from 0."""

    def __init__(self, row_count: int) -> None:
        self.rejected: BoolArray = np.zeros(row_count, dtype=np.bool_)
        self._settled: BoolArray = np.zeros(row_count, dtype=np.bool_)
        self._settlements: list[pd.DataFrame] = []
        self._rejections: list[pd.DataFrame] = []
        self._warnings: list[pd.DataFrame] = []

    def settle(self, rows: IntArray, reasons: Sequence[str]) -> None:
        """Reject rows whose cells cannot be kept apart; nothing else about them is reported."""
        found = [RowError("broken_row", "a row that fits the header", reason) for reason in reasons]
        self.rejected[rows] = self._settled[rows] = True
        self._settlements.append(_entries(rows, "", [""] * len(rows), found))

    def reject(
        self, rows: IntArray, column: str, values: Sequence[str], row_errors: RowError | Sequence[RowError]
    ) -> None:
        """Note a violation in each of `rows`; `values` and `row_errors` run parallel to them."""
        if len(rows):
            self.rejected[rows] = True
            self._rejections.append(_entries(rows, column, values, row_errors))

    def reject_cells(self, rows: IntArray, cells: Cells, row_errors: Mapping[int, RowError]) -> None:
        """Note a violation in each of `rows` whose text (by its position in `cells.texts`) has an error."""
        self.reject(*_hit(rows, cells, row_errors))

    def warn(
        self, rows: IntArray, column: str, values: Sequence[str], row_errors: RowError | Sequence[RowError]
    ) -> None:
        """Note something unusual in each of `rows`, which stay accepted."""
        if len(rows):
            self._warnings.append(_entries(rows, column, values, row_errors))

    def warn_cells(self, rows: IntArray, cells: Cells, row_errors: Mapping[int, RowError]) -> None:
        """Note something unusual in each of `rows` whose text has an error; see `reject_cells`."""
        self.warn(*_hit(rows, cells, row_errors))

    def rejections(self, places: pd.DataFrame) -> pd.DataFrame:
        """Every violation, by row and column. `places` has `row_number` and `table` for every position."""
        return _framed([*self._settlements, *_left_out(self._rejections, self._settled)], places)

    def warnings(self, places: pd.DataFrame) -> pd.DataFrame:
        """Every warning about an accepted row, by row and column."""
        return _framed(_left_out(self._warnings, self.rejected), places)


def shown(value: str, longest: int = LONGEST_SHOWN_VALUE) -> str:
    """The value, cut where it is too long to be read."""
    return value if len(value) <= longest else value[: longest - 1] + "…"


def _hit(
    rows: IntArray, cells: Cells, row_errors: Mapping[int, RowError]
) -> tuple[IntArray, str, list[str], list[RowError]]:
    hit = np.flatnonzero(np.isin(cells.codes, list(row_errors))) if row_errors else np.empty(0, dtype=np.int64)
    codes = cells.codes[hit].tolist()
    return rows[hit], cells.column, [cells.texts[code] for code in codes], [row_errors[code] for code in codes]


def _left_out(noted: list[pd.DataFrame], rows: BoolArray) -> list[pd.DataFrame]:
    return [entries[~rows[entries["position"].to_numpy()]] for entries in noted]


def _entries(
    rows: IntArray, column: str, values: Sequence[str], row_errors: RowError | Sequence[RowError]
) -> pd.DataFrame:
    each = [row_errors] * len(rows) if isinstance(row_errors, RowError) else row_errors
    texts = {
        "column": [column] * len(rows),
        "value": [shown(value) for value in values],
        "rule": [row_error.rule for row_error in each],
        "allowed": [row_error.allowed for row_error in each],
        "fix": [row_error.fix for row_error in each],
    }
    return pd.DataFrame({"position": rows, **{name: pd.Series(cells, dtype=TEXT) for name, cells in texts.items()}})


def _framed(noted: list[pd.DataFrame], places: pd.DataFrame) -> pd.DataFrame:
    nothing = _entries(np.empty(0, dtype=np.int64), "", [], [])
    entries = pd.concat([nothing, *noted]).sort_values(["position", "column"], kind="stable", ignore_index=True)
    where = places.iloc[entries["position"].to_numpy()].reset_index(drop=True)
    return pd.concat([where[["row_number"]], entries.drop(columns="position"), where[["table"]]], axis="columns")


MOST_REASONS = 5


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
