"""What may start a dataset's assets without a person: its schedule and its sensor. Both are off until turned on: they spend.

What both ask for goes through all four assets, so through the checks of limits and budget too. What has changed in a
table is decided in `seedream_assets.prompts`, not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from seedream_assets.assets.asset_context import STAGES, AssetContext
from seedream_assets.config.partitions import UNPARTITIONED
from seedream_assets.prompts.partitions import SeenTables, contiguous, look_at_tables
from seedream_assets.resources import ImageStoreResource, LeonardoResource

# Of one tick; the rest is asked for by the next ones.
MOST_RUNS_PER_TICK = 50
# Some builds of SQLite take no more variables in one statement.
KEYS_PER_REQUEST = 5000
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def build_schedule(assets: AssetContext) -> dg.ScheduleDefinition | None:
    """The schedule over the four assets: of time partitions it asks for the latest complete one. None if not declared."""
    declared = assets.config
    if declared.schedule is None:
        return None
    windows = declared.partitions.windows

    @dg.schedule(
        name=f"{declared.name}_schedule",
        target=_all_stages(assets),
        cron_schedule=declared.schedule,
        execution_timezone=declared.partitions.timezone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=f"Asks for {declared.name}"
        + (", the latest complete partition." if windows else ".")
        + " Spends what the budget allows.",
    )
    def ask(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if windows is None:
            return dg.RunRequest()
        latest = windows.latest(context.scheduled_execution_time)
        if latest is None:
            return dg.SkipReason(f"the first partition, {windows.name(windows.first)}, is not complete yet")
        return dg.RunRequest(partition_key=windows.name(latest))

    return ask


def build_sensor(assets: AssetContext) -> dg.SensorDefinition | None:
    """The sensor that notices new and changed tables; None if not declared.

    It adds the keys of dynamic partitions and drops none. Partitions that follow each other are asked for in one run,
    unless `backfill: per_partition`.
    """
    declared = assets.config
    if declared.sensor is None:
        return None

    @dg.sensor(
        name=f"{declared.name}_sensor",
        target=_all_stages(assets),
        minimum_interval_seconds=declared.sensor.minimum_interval_seconds,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=f"Looks at the prompt tables of {declared.name} and asks for what is new or has changed. "
        "Spends what the budget allows.",
    )
    def look(
        context: dg.SensorEvaluationContext, leonardo: LeonardoResource, image_store: ImageStoreResource
    ) -> dg.SensorResult:
        seen = SeenTables.from_cursor(context.cursor)
        deployment = assets.deployment(leonardo, image_store)
        now = datetime.now(UTC)
        looked = look_at_tables(declared, deployment, now=now, seen=seen.tables)
        for remark in looked.remarks:
            context.log.warning(remark)
        if looked.partitions is None:
            reason = "the tables are as they were" if looked.is_settled else "a table is being written"
            return dg.SensorResult(skip_reason=reason, cursor=context.cursor)
        known = _known_keys(assets, context.instance, now)
        found = looked.partitions
        if declared.partitions.column is not None:
            # Rows that have left the table leave the dataset; a file that is gone is rather a mistake.
            found = {**found, **seen.emptied(known, found)}
        changed = seen.changed(found)
        new = [key for key in found if key not in set(known)] if declared.partitions.is_dynamic else []
        ranges = _ranges(assets, [*known, *new], changed)[:MOST_RUNS_PER_TICK]
        asked = [key for _, keys in ranges for key in keys]
        after = seen.after(found, asked=asked, tables=looked.tables)
        requests = [_request(assets, keys, number=after.number) for _, keys in ranges]
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else "nothing has changed",
            cursor=after.to_cursor(),
            dynamic_partitions_requests=[
                dg.AddDynamicPartitionsRequest(declared.name, new[at : at + KEYS_PER_REQUEST])
                for at in range(0, len(new), KEYS_PER_REQUEST)
            ],
        )

    return look


def _all_stages(assets: AssetContext) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*[assets.key(stage) for stage in STAGES])


def _known_keys(assets: AssetContext, instance: dg.DagsterInstance, now: datetime) -> Sequence[str]:
    """The partitions that Dagster knows, in its order."""
    partitions = assets.config.partitions
    if partitions.is_dynamic:
        return instance.get_dynamic_partitions(assets.config.name)
    return list(partitions.windows.until(now)) if partitions.windows else [UNPARTITIONED]


def _ranges(assets: AssetContext, order: Sequence[str], keys: Sequence[str]) -> list[tuple[int, list[str]]]:
    """The keys by run, in Dagster's order, each with the position of its first."""
    positions = {key: position for position, key in enumerate(order)}
    if assets.config.partitions.backfill == "per_partition":
        return [(positions[key], [key]) for key in sorted(keys, key=positions.__getitem__)]
    return [
        (positions[first], list(order[positions[first] : positions[last] + 1]))
        for first, last in contiguous(order, keys)
    ]


def _request(assets: AssetContext, keys: Sequence[str], *, number: int) -> dg.RunRequest:
    run_key = f"{assets.config.name} {number} {keys[0]}"
    if assets.partitions_def is None:
        return dg.RunRequest(run_key=run_key)
    if len(keys) == 1:
        return dg.RunRequest(run_key=run_key, partition_key=keys[0])
    return dg.RunRequest(run_key=run_key, tags={RANGE_START: keys[0], RANGE_END: keys[-1]})
