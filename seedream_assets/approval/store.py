"""Approvals and samples as they stand in the store: small, create-only, readable by a person.

datasets/<dataset>/approvals/<partition>/<plan hash>.json    who approved which plan, when, for how many credits
datasets/<dataset>/samples/<partition>/<plan hash>.json      which requests are that plan's sample
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
from pydantic import TypeAdapter

from seedream_assets.approval.rules import Approval, plan_hash, plan_to_approve
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.models import ModelCatalog
from seedream_assets.errors import ObjectNotFound
from seedream_assets.planning.preview import draw_sample
from seedream_assets.storage.object_store import ObjectStore

APPROVAL_VERSION = 1
_LOG = logging.getLogger(__name__)
JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRecord:
    """One approval of one partition's plan.

    Attributes:
        plan: The plan's hash.
        credits: Of the whole plan that were approved, the sample among them.
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
class SampleRecord:
    """The sample of a plan: images by request id, in the order in which a smaller sample takes them."""

    plan: str
    requests: tuple[tuple[str, int], ...]
    version: int = APPROVAL_VERSION


_APPROVAL = TypeAdapter(ApprovalRecord)
_SAMPLE = TypeAdapter(SampleRecord)


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
    """Put an approval down, create-only; where one stands already that can be read, that one is given back."""
    key, body = approval_key(config, record.partition, record.plan), _APPROVAL.dump_json(record, indent=1)
    if store.create(key, body, content_type=JSON):
        return record
    entry = load_approval(store, config, record.partition, record.plan)
    if entry is None:
        store.replace(key, body, content_type=JSON)
    return entry or record


def keep_planned_sample(store: ObjectStore, config: DatasetConfig, partition: str, plan: pd.DataFrame) -> None:
    """Put down which requests are a plan's sample, where one was drawn with it."""
    ranked = plan[plan["sample_rank"].notna()].sort_values("sample_rank")
    if not ranked.empty:
        requests = zip(ranked["request_id"].astype(str), ranked["count"].astype(int).tolist(), strict=True)
        keep_sample(store, config, partition, plan_hash(plan), requests)


def keep_sample(
    store: ObjectStore, config: DatasetConfig, partition: str, plan: str, requests: Iterable[tuple[str, int]]
) -> None:
    """Put down a plan's sample, images by request id; the first that was drawn for it stands."""
    record = SampleRecord(plan=plan, requests=tuple(requests))
    key, body = config.key("samples", partition, f"/{record.plan}.json"), _SAMPLE.dump_json(record, indent=1)
    if not store.create(key, body, content_type=JSON) and _read_sample(store, key) is None:
        store.replace(key, body, content_type=JSON)


def with_sample(
    plan: pd.DataFrame,
    config: DatasetConfig,
    partition: str,
    store: ObjectStore,
    models: ModelCatalog,
    *,
    credits_beside: int = 0,
) -> pd.DataFrame:
    """The plan with its sample drawn, where it needs an approval that nobody has given.

    The sample of a plan stays what it was. That of a changed plan holds on to what was drawn before and not approved,
    so that small edits do not buy one sample after another.

    Args:
        plan: Columns as `PLAN_COLUMNS`.
        credits_beside: What the same run wants to buy in its other partitions.
    """
    approval = config.approval
    name = plan_hash(plan)
    if approval is None or load_approval(store, config, partition, name) is not None:
        return plan
    own, earlier = _drawn_before(store, config, partition, name)
    if own is not None:
        return draw_sample(plan, images=approval.sample, models=models, kept=own, top_up=False)
    if not _needs_approval(plan, earlier, approval, models, credits_beside):
        return plan
    return draw_sample(plan, images=approval.sample, models=models, kept=earlier)


def _needs_approval(
    plan: pd.DataFrame, earlier: Mapping[str, int], approval: Approval, models: ModelCatalog, credits_beside: int
) -> bool:
    marked = draw_sample(plan, images=approval.sample, models=models, kept=earlier, top_up=False)
    asked = plan_to_approve("", marked, approved_by=None)
    return asked.is_open and credits_beside + asked.credits > approval.above_credits


def _drawn_before(
    store: ObjectStore, config: DatasetConfig, partition: str, plan: str
) -> tuple[dict[str, int] | None, dict[str, int]]:
    """The sample that was drawn for this plan, if any; and the newest that was drawn for another and not approved."""
    found = {
        info.key.rsplit("/", 1)[1].removesuffix(".json"): info
        for info in store.list(config.key("samples", partition, "/"))
    }
    if plan in found and (own := _read_sample(store, found[plan].key)) is not None:
        return own, {}
    for name, info in sorted(found.items(), key=lambda one: (one[1].last_modified, one[0]), reverse=True):
        is_approved = store.head(approval_key(config, partition, name)) is not None
        if not is_approved and (earlier := _read_sample(store, info.key)) is not None:
            return None, earlier
    return None, {}


def _read_sample(store: ObjectStore, key: str) -> dict[str, int] | None:
    """A sample that was drawn; None where it cannot be read, and another one is drawn in its place."""
    try:
        return dict(_SAMPLE.validate_json(store.read(key)).requests)
    except ValueError:
        _LOG.warning("%s is not a sample, and counts as none", key)
        return None
