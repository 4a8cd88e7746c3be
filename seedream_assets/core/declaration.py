"""A dataset as its owner declares it: one frozen value that every stage is given. How YAML becomes one is `components`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote

from seedream_assets.core.budget import Budget
from seedream_assets.core.errors import DeclarationError
from seedream_assets.core.prompt_table import TableRules
from seedream_assets.core.provenance import Provenance

# The partition of a dataset that has none, in file names, the manifest and summaries.
UNPARTITIONED = "all"
PartitionBy = Literal["none", "daily", "column", "table"]
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Partitions:
    """How a dataset is cut.

    Attributes:
        by: `none`; `daily`, by a column's date or by `{partition}` in the table's path; `column`, one partition per
            value; `table`, one per file.
        column: The table's column that decides, for `daily` and `column`.
        start: First day, for `daily`.
    """

    by: PartitionBy = "none"
    column: str | None = None
    start: date | None = None

    def __post_init__(self) -> None:
        if self.by == "daily" and self.start is None:
            raise DeclarationError('partitions: daily needs a first day; add start: "2026-11-01"')
        if self.by == "column" and not self.column:
            raise DeclarationError("partitions: by column needs a column; add column: <name>")
        if self.by in ("none", "table") and self.column:
            raise DeclarationError(f"partitions: by {self.by} takes no column; take column out, or use by: column")


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
class DatasetDeclaration:
    """What is wanted, from where, at what cost, and where to.

    Attributes:
        name: The first part of the asset keys and a folder in the store.
        base: Folder that relative paths start from; the YAML file's own.
        tables: Where the prompt tables are: local paths, `s3://` or `https://` addresses, globs.
        rules: Column mapping, template, recipe.
        store: `s3://bucket/prefix` or `file:///…`; None for the deployment's.
        provenance: What is written into the images.
        leonardo, engine: Where this dataset needs its own: fields of `LeonardoResource`, and of `EngineSettings`.
    """

    name: str
    base: PurePath
    tables: tuple[str, ...]
    rules: TableRules
    store: str | None = None
    partitions: Partitions = field(default_factory=Partitions)
    budget: Budget = field(default_factory=Budget)
    provenance: Provenance = field(default_factory=Provenance)
    verify: Verify = field(default_factory=Verify)
    leonardo: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    engine: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DeclarationError(
                f"name: got {self.name!r}, allowed is a letter, then letters, digits and _ (at most 100); it becomes "
                "part of asset keys and of object keys"
            )
        if not self.tables or not all(self.tables):
            raise DeclarationError("prompts.table: nothing is named; give a path, an address or a list of them")
        if self.partitions.by == "daily" and not self.partitions.column and not self.has_partition_in_path:
            raise DeclarationError(
                "partitions: daily needs a column with the date, or {partition} in prompts.table's path"
            )

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
    """A partition's name as it stands in object keys: what could mislead a path or a URL is percent-encoded."""
    encoded = quote(partition, safe=" ")
    return encoded if encoded.strip(". ") else encoded.replace(".", "%2E")
