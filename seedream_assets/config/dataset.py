"""A dataset as its owner declares it: one frozen value that every stage is given. How YAML becomes one is `components`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import PurePath
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from seedream_assets.approval.rules import Approval
from seedream_assets.budget.rules import Budget
from seedream_assets.config.exports import Card, ExportChoice
from seedream_assets.config.partitions import UNPARTITIONED as UNPARTITIONED
from seedream_assets.config.partitions import Partitions as Partitions
from seedream_assets.config.provenance import Provenance
from seedream_assets.config.quality import QualityRules, Regenerate
from seedream_assets.errors import ConfigError
from seedream_assets.prompts.row_errors import MaxRejected
from seedream_assets.prompts.table import TableRules

# A file's name has 255 bytes at most, and `.rejected.parquet` and its like come after.
LONGEST_IN_KEY = 200
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """When the bucket is compared with the manifests, and how closely.

    Attributes:
        schedule: Cron, in UTC; None: no schedule is declared.
        deep: Read every image; else list calls only.
    """

    schedule: str | None = None
    deep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    """When the account's history is compared with the ledger, and how far back.

    Attributes:
        schedule: Cron, in UTC; None: no schedule is declared.
        days: At least one.
    """

    schedule: str | None = None
    days: int = 7

    def __post_init__(self) -> None:
        if self.days < 1:
            raise ConfigError(f"reconcile.days: got {self.days}, allowed is 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """How a dataset's tables are watched.

    Attributes:
        minimum_interval_seconds: Time between two looks, at least.
    """

    minimum_interval_seconds: int = 60

    def __post_init__(self) -> None:
        if self.minimum_interval_seconds < 1:
            raise ConfigError(
                f"sensor.minimum_interval_seconds: got {self.minimum_interval_seconds}, allowed is 1 or more"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetConfig:
    """What is wanted, from where, at what cost, and where to.

    Attributes:
        name: The first part of the asset keys and a folder in the store.
        base: Folder that relative paths start from; the YAML file's own.
        tables: Where the prompt tables are: local paths, `s3://` or `https://` addresses, globs.
        rules: Column mapping, template, recipe.
        max_rejected: How many rows of a partition may be rejected; None: all but the last one.
        store: `s3://bucket/prefix` or `file:///…`; None for the deployment's.
        schedule: Cron, in the partitions' timezone (UTC where there are none); None: no schedule is declared.
        sensor: How the tables are watched; None: no sensor is declared.
        reconcile: The check of the account against the ledger; None: there is none.
        provenance: What is written into the images.
        exports, card: What it is handed over as, and what its owner says of it there.
        leonardo, engine: Where this dataset needs its own: fields of `LeonardoResource`, and of `EngineSettings`.
    """

    name: str
    base: PurePath
    tables: tuple[str, ...]
    rules: TableRules
    max_rejected: MaxRejected | None = None
    store: str | None = None
    partitions: Partitions = field(default_factory=Partitions)
    schedule: str | None = None
    sensor: Sensor | None = None
    budget: Budget = field(default_factory=Budget)
    approval: Approval | None = None
    provenance: Provenance = field(default_factory=Provenance)
    verify: Verify = field(default_factory=Verify)
    reconcile: Reconcile | None = None
    exports: tuple[ExportChoice, ...] = ()
    card: Card = field(default_factory=Card)
    quality: QualityRules = field(default_factory=QualityRules)
    regenerate: Regenerate = field(default_factory=Regenerate)
    leonardo: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    engine: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"name: got {self.name!r}, allowed is a letter, then letters, digits and _ (at most 100); it becomes "
                "part of asset keys and of object keys"
            )
        if not self.tables or not all(self.tables):
            raise ConfigError("prompts.table: nothing is named; give a path, an address or a list of them")
        cut = self.partitions
        if self.schedule is not None and cut.is_dynamic:
            raise ConfigError(
                f"schedule: by {cut.by} has no latest partition to ask for; take schedule out and declare sensor: {{}}, "
                "which asks for the partitions that are new or have changed"
            )
        if cut.unit is not None and not cut.column and not self.has_partition_in_path:
            raise ConfigError(
                f"partitions: {cut.by} needs a column with the date, or {{partition}} in prompts.table's path"
            )
        if cut.unit is None and self.has_partition_in_path:
            raise ConfigError(f"prompts.table: {{partition}} in the path is for time partitions, not for by: {cut.by}")

    def with_credits_booked(self, credits: int) -> DatasetConfig:
        """The same for the rest of a run that has booked so many credits already: its budget is what is left."""
        cap = self.budget.max_credits_per_run
        if cap is None or not credits:
            return self
        return replace(self, budget=replace(self.budget, max_credits_per_run=max(0, cap - credits)))

    @property
    def has_partition_in_path(self) -> bool:
        """True when a partition is a table of its own, named by its path."""
        return any("{partition}" in table for table in self.tables)

    def tables_of(self, partition: str) -> tuple[str, ...]:
        """The tables of one partition."""
        return tuple(table.replace("{partition}", partition) for table in self.tables)

    def key(self, folder: str, partition: str, suffix: str = ".parquet") -> str:
        """An object key of this dataset: `datasets/<name>/<folder>/<partition><suffix>`."""
        return f"datasets/{self.name}/{folder}/{partition_in_key(partition)}{suffix}"


def partition_in_key(partition: str) -> str:
    """A partition's name as it stands in object keys: what could mislead a path or a URL is percent-encoded.

    A name that becomes too long for a file's is cut, and told apart by "=" and its hash; no other name has a "=".
    """
    encoded = quote(partition, safe=" ")
    if len(encoded) > LONGEST_IN_KEY:
        begin = re.sub(r"%[0-9A-F]?$", "", encoded[: LONGEST_IN_KEY - 65])
        encoded = f"{begin}={sha256(partition.encode()).hexdigest()}"
    return encoded if encoded.strip(". ") else encoded.replace(".", "%2E")
