"""A declared dataset's partitions as Dagster's, and how a backfill over them runs."""

from __future__ import annotations

from typing import Any

import dagster as dg

from seedream_assets.config.dataset import DatasetConfig


def partitions_def(config: DatasetConfig) -> dg.PartitionsDefinition[str] | None:
    """Dagster's partitions of a declared dataset; None where it has none.

    The values of a column and the names of tables are known only when they are read: their keys are added to the
    dynamic partitions that have the dataset's name, by the dataset's sensor or by hand.
    """
    windows = config.partitions.windows
    if windows is None:
        return dg.DynamicPartitionsDefinition(name=config.name) if config.partitions.is_dynamic else None
    timed: dict[str, Any] = {
        "start_date": windows.start,
        "timezone": windows.timezone,
        "fmt": windows.format,
        "minute_offset": windows.minute,
        "end_offset": windows.end_offset,
    }
    match windows.unit:
        case "hourly":
            return dg.HourlyPartitionsDefinition(**timed)
        case "daily":
            return dg.DailyPartitionsDefinition(**timed, hour_offset=windows.hour)
        case "weekly":
            return dg.WeeklyPartitionsDefinition(**timed, hour_offset=windows.hour, day_offset=windows.day)
        case "monthly":
            return dg.MonthlyPartitionsDefinition(**timed, hour_offset=windows.hour, day_offset=windows.day)


def backfill_policy(config: DatasetConfig) -> dg.BackfillPolicy | None:
    """One run for a range, or one for each partition; None where there are no partitions."""
    partitions = config.partitions
    if partitions.by == "none":
        return None
    if partitions.backfill == "per_partition":
        return dg.BackfillPolicy.multi_run(max_partitions_per_run=1)
    return dg.BackfillPolicy.single_run()
