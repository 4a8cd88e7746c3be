"""Which rows of a table belong to a partition, which partitions a table has, and which rows belong to none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from seedream_assets.config.partitions import MOST_PARTITIONS, Partitions, error_of_key, normal_key
from seedream_assets.config.time_windows import TimeWindows, parse_moment
from seedream_assets.errors import PromptTableError
from seedream_assets.prompts.cells import Texts, as_text
from seedream_assets.prompts.columns import BROKEN_ROW, ROW_NUMBER, TABLE
from seedream_assets.prompts.rejections import describe_rows
from seedream_assets.prompts.row_errors import TEXT, Cells, IntArray, RowError, RowErrorLog

NO_PARTITION = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionedRows:
    """A table's rows by partition.

    Attributes:
        keys: The partitions, in the order in which the table first has them; of time partitions, oldest first.
        codes: Position in `keys` per row; -1 where the row belongs to none.
        rejected: Rows whose value cannot name a partition, columns as `CheckedPrompts.rejected`.
    """

    keys: tuple[str, ...]
    codes: IntArray
    rejected: pd.DataFrame


def rows_of_partition(
    frame: pd.DataFrame, partitions: Partitions, partition: str, *, had_rows: Callable[[], bool] = lambda: False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of one partition, with their row numbers as they were, and the rows that can belong to none.

    The latter are told in every partition of the table: they are in nobody's dataset, and somebody has to hear of it.

    Args:
        frame, partitions, partition: The table, how it is cut, and which part of it.
        had_rows: Whether the partition had rows when it was last read; asked only where it has none now. Then they
            have left it, and it is empty; else it is taken for a mistake.

    Raises:
        PromptTableError: No row belongs to it or ever did, or none does any more while some can belong to none and may
            be its own; or the table does not have the column.
    """
    if partitions.column is None:
        return frame, no_rejections()
    found = partition_rows(frame, partitions)
    if partition not in found.keys:
        if frame.empty or had_rows():
            if len(found.rejected):
                rows = len(found.rejected[["table", "row_number"]].drop_duplicates())
                first = next(describe_rows(found.rejected, most=1, with_table=False))
                raise PromptTableError(
                    f"no row of the table belongs to the partition {partition!r} any more, and {rows} rows of it can "
                    f"belong to none, which may be its own: {first}. Mend these rows or take them out; what stood "
                    "before was left as it is"
                )
            return frame.iloc[:0].reset_index(drop=True), found.rejected
        raise PromptTableError(f"no row of the table belongs to the partition {partition!r} of {partitions.column}")
    belongs = found.codes == found.keys.index(partition)
    return frame[belongs].reset_index(drop=True), found.rejected


def partition_rows(frame: pd.DataFrame, partitions: Partitions) -> PartitionedRows:
    """Every row's partition, by the declared column. Rows before the first window belong to none, and are no fault.

    Raises:
        PromptTableError: The table does not have the column, or the column has more values than partitions may be.
    """
    column = _column(frame, partitions.column or "")
    broken = as_text(frame[BROKEN_ROW]) if BROKEN_ROW in frame.columns else Texts.of([None] * len(frame))
    broken_rows = np.flatnonzero(broken.filled())
    faults_log = RowErrorLog(len(frame))
    faults_log.settle(broken_rows, broken.take(broken_rows).strings())
    cells = as_text(frame[column]).without(broken_rows).distinct(column)
    windows = partitions.windows
    keys, row_errors = _keys_of_values(cells) if windows is None else _keys_of_moments(cells, windows)
    faults_log.reject_cells(np.arange(len(frame)), cells, row_errors)
    empty = np.flatnonzero((cells.codes < 0) & ~faults_log.rejected)
    if (nothing := error_of_key("")) is not None:
        faults_log.reject(empty, column, [""] * len(empty), nothing)
    names = list(dict.fromkeys(key for key in keys if key is not None))
    if windows is not None:
        found = windows.find
        names.sort(key=lambda name: found(name) or windows.first)
    if len(names) > MOST_PARTITIONS:
        raise PromptTableError(
            f"column {column!r} has {len(names)} values; at most {MOST_PARTITIONS} can be partitions. Partition by a "
            "column with fewer values"
        )
    numbers = {name: number for number, name in enumerate(names)}
    # One more at the end: an empty cell's code is -1.
    of_text = np.array([NO_PARTITION if key is None else numbers[key] for key in [*keys, None]], dtype=np.int64)
    codes = of_text[cells.codes]
    return PartitionedRows(keys=tuple(names), codes=codes, rejected=faults_log.rejections(_places(frame)))


def row_hashes(frame: pd.DataFrame) -> IntArray:
    """A hash of each row's cells, without its place: equal where the row says the same."""
    places = [name for name in (ROW_NUMBER, TABLE) if name in frame.columns]
    texts = {name: as_text(frame[name]).to_series() for name in frame.columns if name not in places}
    hashes = pd.util.hash_pandas_object(pd.DataFrame(texts, index=frame.index), index=False)
    return hashes.to_numpy().astype(np.uint64).view(np.int64)


def _column(frame: pd.DataFrame, asked: str) -> str:
    names = {str(name).strip().casefold(): str(name) for name in frame.columns}
    found = asked if asked in frame.columns else names.get(asked.strip().casefold())
    if found is None:
        known = ", ".join(str(name) for name in frame.columns if name not in (ROW_NUMBER, TABLE, BROKEN_ROW))
        raise PromptTableError(f"the table has no column {asked!r} to partition by; it has {known}")
    return found


def _keys_of_values(cells: Cells) -> tuple[list[str | None], dict[int, RowError]]:
    row_errors: dict[int, RowError] = {}
    keys: list[str | None] = []
    for code, text in enumerate(cells.texts):
        key = normal_key(text)
        row_error = error_of_key(key)
        if row_error is not None:
            row_errors[code] = row_error
        keys.append(None if row_error else key)
    return keys, row_errors


def _keys_of_moments(cells: Cells, windows: TimeWindows) -> tuple[list[str | None], dict[int, RowError]]:
    row_errors: dict[int, RowError] = {}
    keys: list[str | None] = []
    first = windows.first
    for code, text in enumerate(cells.texts):
        moment = parse_moment(text)
        try:
            begin = None if moment is None else windows.begin_of(windows.local(moment))
        except (OverflowError, ValueError):  # the first or the last days that a calendar has
            begin = None
        if begin is None:
            row_errors[code] = RowError(
                "partition_date",
                "a date or time in ISO 8601, as 2026-11-01 or 2026-11-01T06:30:00+01:00",
                "write the date so; 01.11.2026 and 11/01/2026 mean different days to different people",
            )
        keys.append(windows.name(begin) if begin is not None and begin >= first else None)
    return keys, row_errors


def _places(frame: pd.DataFrame) -> pd.DataFrame:
    numbers = frame[ROW_NUMBER] if ROW_NUMBER in frame.columns else pd.RangeIndex(1, len(frame) + 1)
    tables = frame[TABLE] if TABLE in frame.columns else [None] * len(frame)
    return pd.DataFrame(
        {"row_number": np.asarray(numbers, dtype=np.int64), "table": pd.Series(list(tables), dtype=TEXT)}
    )


def no_rejections() -> pd.DataFrame:
    """No row, with the columns of `CheckedPrompts.rejected`."""
    places = pd.DataFrame({"row_number": np.empty(0, dtype=np.int64), "table": pd.Series([], dtype=TEXT)})
    return RowErrorLog(0).rejections(places)
