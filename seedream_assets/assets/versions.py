"""Which snapshot and which plan a step goes by: those that its own run has made, else the latest.

Between two steps of a run another run may write the same partition from another table. So each stage tells Dagster the
version of what it wrote, in the metadata of its materialisation, and the stages after it in the same run ask for that.
"""

from __future__ import annotations

import dagster as dg

from seedream_assets.config.dataset import UNPARTITIONED

SNAPSHOT = "snapshot_version"
PLAN = "plan_version"
_EVENTS_AT_ONCE = 1_000


def versions_in_run(context: dg.AssetExecutionContext, key: dg.AssetKey, label: str) -> dict[str, str]:
    """By partition, the versions that an earlier stage has told in this run.

    A run that was started again from a failure leaves out the steps that succeeded: their word is in its parent.

    Args:
        context: Of the step.
        key: The earlier stage.
        label: `SNAPSHOT` or `PLAN`.
    """
    found: dict[str, str] = {}
    run: dg.DagsterRun | None = context.run
    while run is not None:
        found = _told(context.instance, run.run_id, key, label) | found
        run = context.instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
    return found


def _told(instance: dg.DagsterInstance, run_id: str, key: dg.AssetKey, label: str) -> dict[str, str]:
    told: dict[str, str] = {}
    cursor: str | None = None
    while True:
        page = instance.get_records_for_run(
            run_id, cursor, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION, limit=_EVENTS_AT_ONCE
        )
        for record in page.records:
            made = record.event_log_entry.asset_materialization
            if made is not None and made.asset_key == key and label in made.metadata:
                told[made.partition or UNPARTITIONED] = str(made.metadata[label].value)
        if not page.has_more:
            return told
        cursor = page.cursor
