"""What the four assets of a dataset have in common: keys, partitions, descriptions, resources."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import dagster as dg

from seedream_assets.assets.partitions import backfill_policy, partitions_def
from seedream_assets.config.account import host_of
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.deployment import Deployment, code_version
from seedream_assets.resources import ImageStoreResource, LeonardoResource

# In the order of the flow.
STAGES = ("prompts", "generation_requests", "images", "dataset")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetFrame:
    """A dataset as its assets see it."""

    config: DatasetConfig
    partitions_def: dg.PartitionsDefinition[str] | None
    owners: tuple[str, ...]
    description: str | None

    @classmethod
    def of(cls, config: DatasetConfig, *, owners: list[str], description: str | None) -> AssetFrame:
        """The frame of a declared dataset."""
        return cls(
            config=config,
            partitions_def=partitions_def(config),
            owners=tuple(owners),
            description=description,
        )

    def key(self, stage: str) -> dg.AssetKey:
        """The key of one of the four assets."""
        return dg.AssetKey([self.config.name, stage])

    def options(self, stage: str, *, kinds: set[str], description: str, after: tuple[str, ...] = ()) -> dict[str, Any]:
        """What every asset of the dataset is declared with."""
        declared_store = (self.config.store or "").rstrip("/")
        about = f"\n\n{self.description}" if self.description else ""
        return {
            "key": self.key(stage),
            "deps": [self.key(earlier) for earlier in after],
            "partitions_def": self.partitions_def,
            "backfill_policy": backfill_policy(self.config),
            "group_name": self.config.name,
            "kinds": kinds,
            "owners": list(self.owners) or None,
            "description": description + about,
            "code_version": self.code_version(stage),
            # Where the YAML names a store, the UI can say where things are before anything has been materialised.
            "metadata": {"dagster/uri": f"{declared_store}/datasets/{self.config.name}/"} if declared_store else None,
            "op_tags": {"seedream_assets/dataset": self.config.name},
            "output_required": False,
        }

    def check_spec(self, stage: str, name: str, *, description: str, blocking: bool = False) -> dg.AssetCheckSpec:
        """A check of one partition at a time: what it found stands until that partition is looked at again."""
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
        told = (
            declared.tables,
            dict(rules.columns),
            rules.template,
            rules.recipe,
            rules.size_policy,
            declared.partitions,
            *([declared.max_rejected] if declared.max_rejected else ()),
        )
        return f"{code_version()}+{sha256(repr(told).encode()).hexdigest()[:8]}"

    def deployment(self, leonardo: LeonardoResource, image_store: ImageStoreResource) -> Deployment:
        """The resources as plain objects, under the dataset's own settings."""
        declared = self.config
        return Deployment(
            store=image_store.open(declared.store),
            models=leonardo.models(declared.leonardo),
            leonardo=leonardo.settings(declared.leonardo),
            api=host_of(leonardo.address(declared.leonardo)),
            engine=leonardo.engine({**declared.leonardo, **declared.engine}),
            s3=image_store.options(),
        )
