"""What the four assets of a dataset have in common: keys, partitions, resources, and the walk over partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from seedream_assets.core.declaration import UNPARTITIONED, DatasetDeclaration
from seedream_assets.generation.deployment import Deployment, code_version
from seedream_assets.resources import ImageStoreResource, LeonardoResource

DAY = "%Y-%m-%d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Materialised:
    """What one partition of one asset comes to.

    Attributes:
        metadata: For the UI; numbers become plots.
        data_version: Changes exactly when the content does.
        checks: Results of the asset's checks for this partition.
        incomplete: Why the partition is not whole yet; None when it is.
    """

    metadata: Mapping[str, Any]
    data_version: str
    checks: tuple[dg.AssetCheckResult, ...] = ()
    incomplete: str | None = None


Work = Callable[[str], Materialised]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetFrame:
    """A dataset as its assets see it."""

    declaration: DatasetDeclaration
    partitions_def: dg.PartitionsDefinition[str] | None
    owners: tuple[str, ...]
    description: str | None

    @classmethod
    def of(cls, declaration: DatasetDeclaration, *, owners: list[str], description: str | None) -> AssetFrame:
        """The frame of a declared dataset."""
        return cls(
            declaration=declaration,
            partitions_def=partitions_def(declaration),
            owners=tuple(owners),
            description=description,
        )

    def key(self, stage: str) -> dg.AssetKey:
        """The key of one of the four assets."""
        return dg.AssetKey([self.declaration.name, stage])

    def options(self, stage: str, *, kinds: set[str], description: str, after: tuple[str, ...] = ()) -> dict[str, Any]:
        """What every asset of the dataset is declared with."""
        about = f"\n\n{self.description}" if self.description else ""
        return {
            "key": self.key(stage),
            "deps": [self.key(earlier) for earlier in after],
            "partitions_def": self.partitions_def,
            "backfill_policy": dg.BackfillPolicy.single_run() if self.partitions_def else None,
            "group_name": self.declaration.name,
            "kinds": kinds,
            "owners": list(self.owners) or None,
            "description": description + about,
            "code_version": code_version(),
            "op_tags": {"seedream_assets/dataset": self.declaration.name},
            "output_required": False,
        }

    def deployment(self, leonardo: LeonardoResource, image_store: ImageStoreResource) -> Deployment:
        """The resources as plain objects, under the dataset's own settings."""
        declared = self.declaration
        return Deployment(
            store=image_store.open(declared.store),
            models=leonardo.models(declared.leonardo),
            leonardo=leonardo.settings(declared.leonardo),
            engine=leonardo.engine({**declared.leonardo, **declared.engine}),
            s3=image_store.options(),
        )

    def materialise(self, context: dg.AssetExecutionContext, stage: str, work: Work) -> Iterator[Any]:
        """Do the work for every partition of the step and tell Dagster, partition by partition.

        A range of partitions is one run: each finished partition is told at once, so that it stays told should the
        run die later. A partition that is not whole fails the step in the end, after the others are done.
        """
        keys = (
            context.partition_keys if context.has_partition_key_range or context.has_partition_key else [UNPARTITIONED]
        )
        incomplete: dict[str, str] = {}
        checks: list[dg.AssetCheckResult] = []
        for key in keys:
            done = work(key)
            checks.extend(done.checks)
            if done.incomplete:
                incomplete[key] = done.incomplete
            if len(keys) > 1:
                if not done.incomplete:
                    context.log_event(
                        dg.AssetMaterialization(
                            asset_key=self.key(stage),
                            partition=key,
                            metadata=dict(done.metadata),
                            tags={"dagster/data_version": done.data_version},
                        )
                    )
            elif not done.incomplete:
                yield dg.MaterializeResult(metadata=dict(done.metadata), data_version=dg.DataVersion(done.data_version))
        yield from _joined(checks)
        if incomplete:
            described = [f"{key}: {reason}" if len(keys) > 1 else reason for key, reason in incomplete.items()]
            raise dg.Failure(description="; ".join(described), allow_retries=False)


def partitions_def(declaration: DatasetDeclaration) -> dg.PartitionsDefinition[str] | None:
    """Dagster's partitions of a declared dataset; None where it has none."""
    partitions = declaration.partitions
    if partitions.by == "none":
        return None
    if partitions.by == "daily":
        assert partitions.start is not None
        return dg.DailyPartitionsDefinition(start_date=partitions.start.strftime(DAY))
    return dg.DynamicPartitionsDefinition(name=declaration.name)


def _joined(checks: list[dg.AssetCheckResult]) -> Iterator[dg.AssetCheckResult]:
    """One result per check: over several partitions, the worst of them, with all of their metadata."""
    by_name: dict[str, list[dg.AssetCheckResult]] = {}
    for check in checks:
        by_name.setdefault(str(check.check_name), []).append(check)
    for results in by_name.values():
        worst = next((result for result in results if not result.passed), results[0])
        yield worst
