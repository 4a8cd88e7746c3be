"""What a run may buy of its plans before and after they are approved; for Dagster and for the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

import pandas as pd

from seedream_assets.approval.rules import NO_GATE, Gate, PlanToApprove, plan_hash, plan_to_approve
from seedream_assets.approval.store import ApprovalRecord, keep_approval, keep_sample, load_approval
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.errors import StoreError
from seedream_assets.planning.stage import load_plan
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.versions import NO_VERSIONS


def open_gate(
    config: DatasetConfig,
    partitions: Iterable[str],
    store: ObjectStore,
    versions: Mapping[str, str] = NO_VERSIONS,
) -> Gate:
    """The gate of a run over these partitions, from their plans of these versions, else as they were last written.

    Partitions that were not planned are left out: the run says so of each. Where the dataset asks for no approval,
    nothing is read.
    """
    if config.approval is None:
        return NO_GATE
    plans: dict[str, PlanToApprove] = {}
    for partition in partitions:
        with suppress(StoreError):
            plans |= gate_of(
                config, partition, load_plan(store, config, partition, versions.get(partition)), store
            ).plans
    return Gate(approval=config.approval, plans=plans)


def gate_of(config: DatasetConfig, partition: str, plan: pd.DataFrame, store: ObjectStore) -> Gate:
    """The gate of one plan that need not have been written yet."""
    if config.approval is None:
        return NO_GATE
    record = load_approval(store, config, partition, plan_hash(plan))
    return Gate(
        approval=config.approval, plans={partition: plan_to_approve(partition, plan, approved_by=_told(record))}
    )


def approve(
    gate: Gate, asked: str, config: DatasetConfig, store: ObjectStore, *, by: str, dagster_run_id: str | None
) -> list[ApprovalRecord]:
    """Approve every open plan of a gate. Open the gate anew afterwards.

    Raises:
        ApprovalError: `asked` is not the gate's hash; nothing was approved.
    """
    gate.refuse_unless_named(asked)
    return [
        keep_approval(
            store,
            config,
            ApprovalRecord(
                dataset=config.name,
                partition=plan.partition,
                plan=plan.hash,
                credits=plan.credits,
                run_plan=asked,
                by=by,
                at=store.now(),
                dagster_run_id=dagster_run_id,
            ),
        )
        for plan in gate.open_plans
    ]


def keep_samples(gate: Gate, config: DatasetConfig, store: ObjectStore) -> None:
    """Put down what may be bought of every plan that waits for an approval: later plans count it, and draw no other.

    A plan has drawn its own, unless it was made before the plans of its range came to be above the threshold.
    """
    for partition, plan in gate.plans.items():
        drawn = gate.sample_of(partition)
        if drawn:
            requests = [(request_id, images) for request_id, images in plan.sample if request_id in drawn]
            keep_sample(store, config, partition, plan.hash, requests)


def _told(record: ApprovalRecord | None) -> str | None:
    return f"{record.by} at {record.at:%Y-%m-%d %H:%M} UTC, {record.credits} credits" if record else None
