"""What the four assets of a dataset share: keys, options, partitions, resources; and what a stage gives back.

What belongs here: values that every stage needs. What one stage alone does, or reports, does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import dagster as dg

from seedream_assets.assets.ui_metadata import NO_COLUMNS, definition_metadata
from seedream_assets.config.account import host_of
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.images import code_version
from seedream_assets.deployment import Deployment
from seedream_assets.resources import ImageStoreResource, LeonardoResource

# In the order of the flow.
STAGES = ("prompts", "generation_requests", "images", "dataset")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetContext:
    """A dataset as its assets see it."""

    config: DatasetConfig

    @property
    def partitions_def(self) -> dg.PartitionsDefinition[str] | None:
        """Dagster's partitions of the dataset; None where it has none."""
        return partitions_def(self.config)

    def key(self, stage: str) -> dg.AssetKey:
        """The key of one of the four assets."""
        return dg.AssetKey([self.config.name, stage])

    def options(self, stage: str, *, kinds: set[str], description: str, after: tuple[str, ...] = ()) -> dict[str, Any]:
        """What every asset of the dataset is declared with."""
        declared_store = (self.config.store or "").rstrip("/")
        about = f"\n\n{self.config.description}" if self.config.description else ""
        return {
            "key": self.key(stage),
            "deps": [self.key(earlier) for earlier in after],
            "partitions_def": self.partitions_def,
            "backfill_policy": backfill_policy(self.config),
            "group_name": self.config.name,
            "kinds": kinds,
            "owners": list(self.config.owners) or None,
            "description": description + about,
            "code_version": self.code_version(stage),
            "metadata": {
                **definition_metadata(stage, self.key),
                # Where the YAML names a store, the UI can say where things are before anything has been materialised.
                **({"dagster/uri": f"{declared_store}/datasets/{self.config.name}/"} if declared_store else {}),
            },
            "op_tags": {"seedream_assets/dataset": self.config.name},
            "output_required": False,
        }

    def check_spec(self, stage: str, name: str, *, description: str, blocking: bool = False) -> dg.AssetCheckSpec:
        """A check of one partition at a time: its result holds until that partition is checked again."""
        return dg.AssetCheckSpec(
            name,
            asset=self.key(stage),
            description=description,
            blocking=blocking,
            partitions_def=self.partitions_def,
        )

    def code_version(self, stage: str) -> str:
        """This package's version; for `prompts` also the declaration's, so that an edited YAML shows as not in sync."""
        if stage != "prompts":
            return code_version()
        declared = self.config
        rules = declared.rules
        content = (
            declared.tables,
            dict(rules.columns),
            rules.template,
            rules.recipe,
            rules.size_policy,
            declared.partitions,
            *([declared.max_rejected] if declared.max_rejected else ()),
        )
        return f"{code_version()}+{sha256(repr(content).encode()).hexdigest()[:8]}"

    def deployment(self, leonardo: LeonardoResource, image_store: ImageStoreResource) -> Deployment:
        """The resources as plain objects, under the dataset's own settings."""
        declared = self.config
        return Deployment(
            store=image_store.open(declared.store),
            models=leonardo.models(declared.overrides),
            leonardo=leonardo.settings(declared.overrides),
            api=host_of(leonardo.address(declared.overrides)),
            engine=leonardo.engine(declared.overrides),
            s3=image_store.options(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Materialised:
    """What one partition of one asset comes to.

    Attributes:
        metadata: For the UI; numbers become plots.
        extra_columns: Columns of the prompt table beside ours, with their dtypes.
        data_version: Changes exactly when the content does.
        checks: Results of the asset's checks for this partition.
        incomplete: Why the partition is not whole yet; None when it is.
        stopped: Why no further partition may be begun; None where one may.
    """

    metadata: Mapping[str, Any] = field(default_factory=dict)
    extra_columns: Mapping[str, str] = field(default_factory=lambda: NO_COLUMNS)
    data_version: str = ""
    checks: tuple[dg.AssetCheckResult, ...] = ()
    incomplete: str | None = None
    stopped: str | None = None


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
