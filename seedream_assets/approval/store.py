"""Approvals and previews as they stand in the store, and what a run may buy of its plans before and after them.

The objects are small, create-only, and readable by a person:

    datasets/<dataset>/approvals/<partition>/<plan hash>.json    who approved which plan, when, for how many credits
    datasets/<dataset>/samples/<partition>/<plan hash>.json      which requests are that plan's preview
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
from pydantic import TypeAdapter

from seedream_assets.approval.preview import draw_preview
from seedream_assets.approval.rules import NO_GATE, Gate, PlanToApprove, plan_hash, plan_to_approve
from seedream_assets.config.dataset import Approval, DatasetConfig
from seedream_assets.config.models import ModelCatalog
from seedream_assets.errors import ObjectNotFound, StoreError
from seedream_assets.planning.stage import load_plan
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.versions import NO_VERSIONS
from seedream_assets.wording import count_of

APPROVAL_VERSION = 1
_LOG = logging.getLogger(__name__)
JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRecord:
    """One approval of one partition's plan.

    Attributes:
        plan: The plan's hash.
        credits: Of the whole plan that were approved, the preview among them.
        run_plan: The hash that was given: of the run's plans together, where it was for several partitions.
        by: Who, as they or their machine gave it.
        at: By the store's clock.
        dagster_run_id: Of the run that the approval was given to; None where it was given on a command line.
    """

    dataset: str
    partition: str
    plan: str
    credits: int
    run_plan: str
    by: str
    at: datetime
    dagster_run_id: str | None = None
    version: int = APPROVAL_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewRecord:
    """The preview of a plan: images by request id, in the order in which a smaller preview takes them."""

    plan: str
    requests: tuple[tuple[str, int], ...]
    version: int = APPROVAL_VERSION


_APPROVAL = TypeAdapter(ApprovalRecord)
_PREVIEW = TypeAdapter(PreviewRecord)


def approval_key(config: DatasetConfig, partition: str, plan: str) -> str:
    """Where a plan's approval stands."""
    return config.key("approvals", partition, f"/{plan}.json")


def load_approval(store: ObjectStore, config: DatasetConfig, partition: str, plan: str) -> ApprovalRecord | None:
    """The approval of a plan; None where nobody gave one that can be read."""
    key = approval_key(config, partition, plan)
    try:
        return _APPROVAL.validate_json(store.read(key))
    except ObjectNotFound:
        return None
    except ValueError:
        _LOG.warning("%s is not an approval, and counts as none; approve the plan again", key)
        return None


def keep_approval(store: ObjectStore, config: DatasetConfig, record: ApprovalRecord) -> ApprovalRecord:
    """Write an approval, create-only. Returns the one that counts: an earlier one that can be read goes first."""
    key, body = approval_key(config, record.partition, record.plan), _APPROVAL.dump_json(record, indent=1)
    if store.create(key, body, content_type=JSON):
        return record
    entry = load_approval(store, config, record.partition, record.plan)
    if entry is None:
        store.replace(key, body, content_type=JSON)
    return entry or record


def keep_planned_preview(store: ObjectStore, config: DatasetConfig, partition: str, plan: pd.DataFrame) -> None:
    """Record which requests are a plan's preview, where one was drawn with it."""
    ranked = plan[plan["sample_rank"].notna()].sort_values("sample_rank")
    if not ranked.empty:
        requests = zip(ranked["request_id"].astype(str), ranked["count"].astype(int).tolist(), strict=True)
        keep_preview(store, config, partition, plan_hash(plan), requests)


def keep_preview(
    store: ObjectStore, config: DatasetConfig, partition: str, plan: str, requests: Iterable[tuple[str, int]]
) -> None:
    """Record a plan's preview, images by request id; the first that was drawn for it stands."""
    record = PreviewRecord(plan=plan, requests=tuple(requests))
    key, body = config.key("samples", partition, f"/{record.plan}.json"), _PREVIEW.dump_json(record, indent=1)
    if not store.create(key, body, content_type=JSON) and _read_preview(store, key) is None:
        store.replace(key, body, content_type=JSON)


def with_preview(
    plan: pd.DataFrame,
    config: DatasetConfig,
    partition: str,
    store: ObjectStore,
    models: ModelCatalog,
    *,
    credits_beside: int = 0,
) -> pd.DataFrame:
    """The plan with its preview drawn, where it needs an approval that nobody has given.

    The preview of a plan stays what it was. That of a changed plan holds on to what was drawn before and not approved,
    so that small edits do not buy one preview after another.

    Args:
        plan: Columns as `PLAN_COLUMNS`.
        credits_beside: What the same run wants to buy in its other partitions.
    """
    approval = config.approval
    if approval is None:
        return plan
    name = plan_hash(plan)
    if load_approval(store, config, partition, name) is not None:
        return plan
    own, earlier = _drawn_before(store, config, partition, name)
    if own is not None:
        return draw_preview(plan, images=approval.preview, models=models, kept=own, top_up=False)
    if not _needs_approval(plan, earlier, approval, models, credits_beside):
        return plan
    return draw_preview(plan, images=approval.preview, models=models, kept=earlier)


def _needs_approval(
    plan: pd.DataFrame, earlier: Mapping[str, int], approval: Approval, models: ModelCatalog, credits_beside: int
) -> bool:
    drawn = draw_preview(plan, images=approval.preview, models=models, kept=earlier, top_up=False)
    asked = plan_to_approve("", drawn, approved_by=None)
    return asked.is_open and credits_beside + asked.credits > approval.above_credits


def _drawn_before(
    store: ObjectStore, config: DatasetConfig, partition: str, plan: str
) -> tuple[dict[str, int] | None, dict[str, int]]:
    """The preview that was drawn for this plan, if any; and the newest that was drawn for another and not approved."""
    found = {
        info.key.rsplit("/", 1)[1].removesuffix(".json"): info
        for info in store.list(config.key("samples", partition, "/"))
    }
    if plan in found and (own := _read_preview(store, found[plan].key)) is not None:
        return own, {}
    for name, info in sorted(found.items(), key=lambda one: (one[1].last_modified, one[0]), reverse=True):
        is_approved = store.head(approval_key(config, partition, name)) is not None
        if not is_approved and (earlier := _read_preview(store, info.key)) is not None:
            return None, earlier
    return None, {}


def _read_preview(store: ObjectStore, key: str) -> dict[str, int] | None:
    """A preview that was drawn; None where it cannot be read, and another one is drawn instead."""
    try:
        return dict(_PREVIEW.validate_json(store.read(key)).requests)
    except ValueError:
        _LOG.warning("%s is not a preview, and counts as none", key)
        return None


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
        approval=config.approval, plans={partition: plan_to_approve(partition, plan, approved_by=_described(record))}
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


def keep_previews(gate: Gate, config: DatasetConfig, store: ObjectStore) -> None:
    """Record what may be bought of every plan that waits for an approval: later plans count it, and draw no other.

    A plan has drawn its own, unless it was made before the plans of its range came to be above the threshold.
    """
    for partition, plan in gate.plans.items():
        drawn = gate.preview_of(partition)
        if drawn:
            requests = [(request_id, images) for request_id, images in plan.preview if request_id in drawn]
            keep_preview(store, config, partition, plan.hash, requests)


def _described(record: ApprovalRecord | None) -> str | None:
    return f"{record.by} at {record.at:%Y-%m-%d %H:%M} UTC, {count_of(record.credits, 'credit')}" if record else None
