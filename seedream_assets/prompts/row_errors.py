"""What is wrong with single rows of a prompt table, collected as data: one entry per violation.

Belongs here: the shape of a fault and the two frames of faults. Not here: finding them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

TEXT = pd.StringDtype("pyarrow")
LONGEST_SHOWN_VALUE = 200


@dataclass(frozen=True, slots=True)
class RowError:
    """Why a cell is not accepted: a short word for machines, what is allowed and what to do for people."""

    rule: str
    allowed: str
    fix: str


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


class RowErrorLog:
    """Collects the faults of one table. A row is a position in the checked frame, from 0."""

    def __init__(self, row_count: int) -> None:
        self.rejected: BoolArray = np.zeros(row_count, dtype=np.bool_)
        self._settled: BoolArray = np.zeros(row_count, dtype=np.bool_)
        self._settlements: list[pd.DataFrame] = []
        self._rejections: list[pd.DataFrame] = []
        self._warnings: list[pd.DataFrame] = []

    def settle(self, rows: IntArray, reasons: Sequence[str]) -> None:
        """Reject rows whose cells cannot be told apart; nothing else about them is worth telling."""
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
        """Note a violation in each of `rows` whose text (by its position in `cells.texts`) has a fault."""
        self.reject(*_hit(rows, cells, row_errors))

    def warn(
        self, rows: IntArray, column: str, values: Sequence[str], row_errors: RowError | Sequence[RowError]
    ) -> None:
        """Note something unusual in each of `rows`, which stay accepted."""
        if len(rows):
            self._warnings.append(_entries(rows, column, values, row_errors))

    def warn_cells(self, rows: IntArray, cells: Cells, row_errors: Mapping[int, RowError]) -> None:
        """Note something unusual in each of `rows` whose text has a fault; see `reject_cells`."""
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
