"""A partition planned in the light of what it has already: rejected images are replaced, and a preview is drawn.

Not here: the plan itself (`planning`), what a preview is (`approval`), which images are rejected (`quality.judge`).
"""

from __future__ import annotations

import pandas as pd

from seedream_assets.approval.store import keep_planned_preview, with_preview
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.deployment import Deployment
from seedream_assets.manifest.stage import load_manifest
from seedream_assets.planning.plan import NONE_REPLACED, Replacements
from seedream_assets.planning.stage import Plan, make_plan, write_plan
from seedream_assets.prompts.stage import PromptSnapshot
from seedream_assets.quality.stage import judge_partition
from seedream_assets.storage.object_store import ObjectStore


def plan_partition(
    config: DatasetConfig,
    partition: str,
    snapshot: PromptSnapshot,
    deployment: Deployment,
    *,
    credits_beside: int = 0,
    earlier: pd.DataFrame | None = None,
) -> Plan:
    """Plan a partition. Writes nothing.

    Args:
        config, partition, snapshot, deployment: What is wanted, and on what.
        credits_beside: What the same run wants to buy in its other partitions; counts for the approval.
        earlier: The manifest whose rejects are to be replaced; None for the latest one.

    Raises:
        SeedreamError: As `make_plan`.
    """
    store = deployment.store
    if earlier is None:
        earlier = load_manifest(store, config, partition)

    def draw_preview(requests: pd.DataFrame) -> pd.DataFrame:
        return with_preview(requests, config, partition, store, deployment.models, credits_beside=credits_beside)

    return make_plan(
        config,
        snapshot,
        deployment,
        earlier=earlier,
        replacements=_replacements(config, partition, store, earlier),
        draw_preview=draw_preview if config.approval is not None else None,
    )


def keep_plan(store: ObjectStore, config: DatasetConfig, partition: str, plan: Plan) -> str:
    """Write a plan, and which requests are its preview.

    Returns:
        As `write_plan`: its version.
    """
    keep_planned_preview(store, config, partition, plan.requests)
    return write_plan(store, config, partition, plan)


def _replacements(config: DatasetConfig, partition: str, store: ObjectStore, earlier: pd.DataFrame) -> Replacements:
    """The rejects among the images of a manifest, by the rules as they are declared now. Reads no image."""
    rounds = config.regenerate.max_rounds
    if not rounds or not config.quality.rejects:
        return NONE_REPLACED
    judged = judge_partition(config, partition, store, earlier, measure=False)
    rejected = earlier[earlier["image_id"].isin(list(judged.reject_reasons))]
    return Replacements.of(zip(rejected["spec_id"], rejected["sample"], strict=True), max_rounds=rounds)
