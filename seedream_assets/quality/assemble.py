"""Stage 4 as a whole: the manifest of a partition, with what the quality checks say of its images."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.deployment import Deployment
from seedream_assets.ledger.events import FinalEvent
from seedream_assets.manifest.build import FINAL_STATUSES, STATUSES, mark_rejected
from seedream_assets.manifest.stage import gather_manifest, write_manifest
from seedream_assets.purchase.report import RunReport
from seedream_assets.quality.judge import Judgement
from seedream_assets.quality.stage import judge_partition


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A partition's images by what became of them.

    Attributes:
        counts: Images by status, every status named.
        reused: Images that are stored and that the latest run did not have to buy.
        quality: What was found on the stored images.
    """

    manifest: pd.DataFrame
    counts: Mapping[str, int]
    reused: int
    quality: Judgement

    @property
    def rejected(self) -> int:
        """Rows of the manifest whose image is rejected."""
        return int(self.manifest["rejected"].sum())

    @property
    def is_final(self) -> bool:
        """True when nothing more will become of any wanted image."""
        return sum(self.counts[status] for status in FINAL_STATUSES) == len(self.manifest)


def assemble_dataset(
    config: DatasetConfig,
    partition: str,
    deployment: Deployment,
    *,
    fresh: Iterable[FinalEvent] = (),
    measure: bool = True,
    version: str | None = None,
    report: RunReport | None = None,
) -> Outcome:
    """Build the manifest of a partition, judge its images, and write it.

    Where images are measured, it is written before that and again after: what was bought stands in it, whatever becomes
    of the measuring.

    Args:
        config, partition, deployment, fresh, version, report: As for `gather_manifest`.
        measure: Measure the images that the quality checks do not know yet; without it, what is known counts.

    Raises:
        StoreError: The prompts were not read, or the partition was not planned.
    """
    manifest, report = gather_manifest(config, partition, deployment, fresh=fresh, version=version, report=report)
    quality = judge_partition(config, partition, deployment.store, manifest, measure=False)
    manifest = mark_rejected(manifest, quality.reject_reasons)
    write_manifest(deployment.store, config, partition, manifest)
    outcome = outcome_of(manifest, report, quality)
    return measure_dataset(config, partition, deployment, outcome) if measure else outcome


def measure_dataset(config: DatasetConfig, partition: str, deployment: Deployment, outcome: Outcome) -> Outcome:
    """Measure the images that the quality checks do not know yet, and mark in the manifest what they reject.

    Raises:
        StoreError: As `judge_partition`; the manifest stands as it was.
    """
    if not config.quality.reads_images:
        return outcome
    store = deployment.store
    quality = judge_partition(config, partition, store, outcome.manifest, measure=True)
    manifest = outcome.manifest
    if quality.reject_reasons != outcome.quality.reject_reasons:
        manifest = mark_rejected(manifest, quality.reject_reasons)
        write_manifest(store, config, partition, manifest)
    return replace(outcome, manifest=manifest, quality=quality)


def outcome_of(manifest: pd.DataFrame, report: RunReport | None, quality: Judgement) -> Outcome:
    """What became of the images in a manifest, as seen by the latest run over it."""
    counted = manifest["status"].value_counts()
    return Outcome(
        manifest=manifest,
        counts={status: int(counted.get(status, 0)) for status in STATUSES},
        reused=count_reused(manifest, {report.run_id} if report else set()),
        quality=quality,
    )


def count_reused(manifest: pd.DataFrame, run_ids: Collection[str]) -> int:
    """Images that are stored and that these runs of the engine did not have to buy."""
    bought_now = ~manifest["reused"] & manifest["run_id"].isin(list(run_ids))
    return int(((manifest["status"] == "stored") & ~bought_now).sum())
