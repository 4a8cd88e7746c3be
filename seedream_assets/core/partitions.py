"""Which rows of a table belong to a partition, and which partitions a table has."""

from __future__ import annotations

import pandas as pd

from seedream_assets.core.declaration import UNPARTITIONED, Partitions
from seedream_assets.core.errors import PromptTableError

DAY_FORMAT = "%Y-%m-%d"


def partition_of_rows(frame: pd.DataFrame, partitions: Partitions) -> pd.Series[str]:
    """The partition of every row, NA where a row belongs to none (an empty cell, or no date).

    Raises:
        PromptTableError: The table does not have the column.
    """
    column = partitions.column
    if column is None:
        return pd.Series(UNPARTITIONED, index=frame.index, dtype="string")
    names = {str(name).strip().casefold(): name for name in frame.columns}
    found = column if column in frame.columns else names.get(column.strip().casefold())
    if found is None:
        raise PromptTableError(
            f"the table has no column {column!r} to partition by; it has {', '.join(map(str, frame.columns))}"
        )
    cells = frame[found].astype("string").str.strip()
    if partitions.by == "daily":
        days = pd.to_datetime(cells, errors="coerce", format="ISO8601").dt.strftime(DAY_FORMAT)
        return pd.Series(days, dtype="string")
    return cells.mask(cells == "")


def rows_of_partition(frame: pd.DataFrame, partitions: Partitions, partition: str) -> pd.DataFrame:
    """The rows of one partition, with their row numbers as they were.

    Raises:
        PromptTableError: No row belongs to it, or the table does not have the column.
    """
    if partitions.column is None:
        return frame
    belongs = partition_of_rows(frame, partitions) == partition
    rows = frame[belongs.fillna(False).to_numpy(dtype=bool)]
    if rows.empty:
        raise PromptTableError(f"no row of the table belongs to the partition {partition!r} of {partitions.column}")
    return rows.reset_index(drop=True)
