"""A dataset as its owner declares it: one frozen value that every stage is given. How YAML becomes one is `config.yaml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import PurePath
from typing import Annotated, Any, Self
from urllib.parse import quote

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from seedream_assets.config.account import LeonardoOptions, Recovery
from seedream_assets.config.addresses import check_store_address
from seedream_assets.config.base import Config, Place, refuse, without_nulls
from seedream_assets.config.exports import Card, Exports
from seedream_assets.config.images import Provenance
from seedream_assets.config.models import ModelCatalog, SizePolicy
from seedream_assets.config.partitions import UNPARTITIONED as UNPARTITIONED
from seedream_assets.config.partitions import Partitions as Partitions
from seedream_assets.config.prompts import MaxRejected, Prompts, Recipe, TableRules
from seedream_assets.config.quality import QualityRules, Regenerate

# A file's name has 255 bytes at most, and `.rejected.parquet` and its like come after.
LONGEST_IN_KEY = 200
CAPS = ("max_credits_per_run", "max_credits_total", "max_credits_per_day")
NO_CAP = (
    "no cap; write budget: {max_credits_per_run: 280} (or max_credits_per_day, max_credits_total) into the dataset's YAML, "
    "or budget: unlimited"
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_CRON_NAME = re.compile(r"jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat")
_CRON_PART = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/[1-9]\d*)?")
# Minute, hour, day of the month, month, day of the week (0 and 7 are Sunday).
_CRON_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_WORDS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")


def _check_cron(schedule: str) -> str:
    fields = schedule.split()
    is_cron = len(fields) == len(_CRON_RANGES) and all(map(_is_cron_field, fields, _CRON_RANGES))
    if not is_cron and schedule not in _CRON_WORDS:
        raise ValueError('allowed is a cron expression as "0 3 * * *"')
    return schedule


def _is_cron_field(field: str, allowed: tuple[int, int]) -> bool:
    for part in field.lower().split(","):
        found = _CRON_PART.fullmatch(part)
        if found is None:
            # The last day of the month, or of a kind of weekday in it.
            if part == "l" or re.fullmatch(r"l[0-7]|[0-7]#[1-5]", part):
                continue
            return False
        for value in filter(None, found.groups()):
            is_number = value.isdecimal() and allowed[0] <= int(value) <= allowed[1]
            if not is_number and not _CRON_NAME.fullmatch(value):
                return False
    return True


def _check_owner(owner: str) -> str:
    """Dagster's own rule, which it applies only when the asset is built."""
    if not _EMAIL.fullmatch(owner) and not (owner.startswith("team:") and len(owner) > len("team:")):
        raise ValueError("allowed is an e-mail address or team:<name>")
    return owner


def _read_quality(given: Any, handler: ValidatorFunctionWrapHandler) -> QualityRules:
    """Where the checks are written, even without an option, the images are read."""
    rules: QualityRules = handler(given)
    return rules.changed(reads_images=True) if isinstance(given, Mapping) else rules


Cron = Annotated[str, AfterValidator(_check_cron)]
StoreAddress = Annotated[str, AfterValidator(check_store_address)]
Cap = Annotated[int, Field(ge=0)]


class Budget(Config):
    """Caps in credits, none of which can be crossed, whatever is in flight. One is needed, or `budget: unlimited`.

    A day is one in UTC by the store's clock. What is reserved and not settled counts on every day.

    Attributes:
        unlimited: The owner has said that there is no cap. Without it and without a cap nothing is bought.
    """

    max_credits_per_run: Cap | None = Field(default=None, description="One run buys for no more than this.")
    max_credits_total: Cap | None = Field(
        default=None, description="All runs of this dataset together buy for no more than this."
    )
    max_credits_per_day: Cap | None = Field(
        default=None, description="All runs of this dataset together buy for no more than this on one day, in UTC."
    )
    unlimited: SkipJsonSchema[bool] = False

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if isinstance(given, str):
            if given != "unlimited":
                raise ValueError("allowed is a mapping or 'unlimited'")
            return {"unlimited": True}
        return without_nulls(given)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.unlimited and self._has_cap:
            refuse((("unlimited",), "there is a cap beside it; keep one of the two"))
        return self

    @property
    def _has_cap(self) -> bool:
        return any(getattr(self, name) is not None for name in CAPS)

    @property
    def is_missing(self) -> bool:
        """True where nobody has said how much may be spent, nor that there is no limit."""
        return not self.unlimited and not self._has_cap


class Approval(Config):
    """A preview first; the rest when somebody has approved the plan."""

    above_credits: int = Field(ge=0, description="A run that wants to buy for more than this needs an approval.")
    preview: int = Field(
        default=12,
        ge=1,
        le=100,
        description="Images bought without one, so that somebody can see what is to be approved.",
    )


class Verify(Config):
    """When the check `bucket_matches_manifest` runs by itself, and how closely it looks."""

    schedule: Cron | None = Field(
        default=None,
        description="Cron, in UTC. Declares a schedule, off until it is turned on.",
        examples=["0 3 * * *"],
    )
    deep: bool = Field(default=False, description="Read every image; else list calls only.")


class Reconcile(Config):
    """When the check `account_matches_ledger` runs by itself, and how far back it looks."""

    schedule: Cron | None = Field(
        default=None,
        description="Cron, in UTC. Declares a schedule, off until it is turned on.",
        examples=["0 4 * * 1"],
    )
    days: int = Field(default=7, ge=1, description="How far back.")


class Sensor(Config):
    """Looks at the prompt tables and asks for what is new or has changed. Off until it is turned on."""

    minimum_interval_seconds: int = Field(default=60, ge=1, description="Time between two looks, at least.")


class DatasetConfig(Config):
    """An image dataset: a prompt table, a recipe, a budget and a place. Its fields are the keys of its YAML.

    Attributes:
        base: Folder that relative paths start from; the YAML file's own.
    """

    base: SkipJsonSchema[PurePath] = PurePath()
    name: str = Field(description="First part of the asset keys; a letter, then letters, digits and _.")
    prompts: Prompts = Field(description="The prompt table.")
    recipe: Recipe = Field(default=Recipe(), description="Defaults; a row's own column wins.")
    size_policy: SizePolicy = Field(
        default="warn",
        description="warn: sizes outside the provider's range are noted; provider: such rows are rejected.",
    )
    partitions: Partitions = Field(default=Partitions(), description="How the dataset is cut.")
    schedule: Cron | None = Field(
        default=None,
        description="Cron, in the partitions' timezone: asks for the latest complete partition, or for the whole "
        "dataset where there are none. Off until it is turned on.",
        examples=["0 6 * * *"],
    )
    sensor: Sensor | None = Field(
        default=None, description="Asks for tables that are new or have changed. Off until it is turned on."
    )
    budget: Budget = Field(
        default=Budget(),
        description="Caps in credits, or unlimited. Without either nothing is bought.",
        examples=["unlimited"],
    )
    approval: Approval | None = Field(default=None, description="Ask before much is spent, with a preview to look at.")
    provenance: Provenance = Field(default=Provenance(), description="What is written into the images; XMP by default.")
    store: StoreAddress | None = Field(
        default=None,
        description="s3://bucket/prefix, or file:///… or an absolute path for one machine. Default: the deployment's.",
        examples=["{{ env.SEEDREAM_STORE }}"],
    )
    leonardo: LeonardoOptions = Field(
        default=LeonardoOptions(), description="Where this dataset needs its own rates or limits."
    )
    recovery: Recovery = Field(default=Recovery(), description="Leases and the history.")
    verify: Verify = Field(default=Verify(), description="The check of the bucket against the manifests.")
    reconcile: Reconcile | None = Field(default=None, description="The check of the account against the ledger.")
    quality: Annotated[QualityRules, WrapValidator(_read_quality)] = Field(
        default=QualityRules(), description="Checks of what was bought, and what is rejected."
    )
    regenerate: Regenerate = Field(
        default=Regenerate(), description="Buy new samples for rejected images; off by default."
    )
    exports: Exports = Field(
        default=(),
        description="What the dataset is handed over as: imagefolder, webdataset, parquet, croissant, gallery; with "
        "options as {webdataset: {shard_bytes: 500000000, split: part}}.",
        examples=[["imagefolder", {"webdataset": {"shard_bytes": 500_000_000}}]],
    )
    owners: tuple[Annotated[str, AfterValidator(_check_owner)], ...] = Field(
        default=(), description="E-mail addresses or team:<name>, shown in the UI."
    )
    description: str | None = Field(default=None, description="What the dataset is for.")
    card: Card = Field(
        default=Card(), validate_default=True, description="What only the owner can say, for the exports."
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(
                "allowed is a letter, then letters, digits and _ (at most 100); it becomes part of asset keys and of "
                "object keys"
            )
        return name

    @field_validator("card")
    @classmethod
    def _complete_card(cls, card: Card, others: ValidationInfo) -> Card:
        """The dataset's description and its teams stand in for what the card does not say."""
        teams = tuple(
            owner.removeprefix("team:") for owner in others.data.get("owners", ()) if owner.startswith("team:")
        )
        description = others.data.get("description") or card.description
        return card.changed(description=description, creators=card.creators or teams)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        of_recipe = self.recipe.problems_under(ModelCatalog(self.leonardo), self.size_policy)
        problems: list[tuple[Place, str]] = [(("recipe", name), message) for name, message in of_recipe]
        cut = self.partitions
        if self.schedule is not None and cut.is_dynamic:
            message = (
                f"by {cut.by} has no latest partition to ask for; take schedule out and declare sensor: {{}}, which asks "
                "for the partitions that are new or have changed"
            )
            problems.append((("schedule",), message))
        if cut.unit is not None and not cut.column and not self.has_partition_in_path:
            message = f"{cut.by} needs a column with the date, or {{partition}} in prompts.table's path"
            problems.append((("partitions",), message))
        if cut.unit is None and self.has_partition_in_path:
            message = f"{{partition}} in the path is for time partitions, not for by: {cut.by}"
            problems.append((("prompts", "table"), message))
        if problems:
            refuse(*problems)
        return self

    @property
    def tables(self) -> tuple[str, ...]:
        """Where the prompt tables are: local paths, `s3://` or `https://` addresses, globs."""
        return self.prompts.table

    @property
    def rules(self) -> TableRules:
        """How the tables are read: columns, template, recipe."""
        used = (self.partitions.column, self.quality.withheld.column, *(export.split for export in self.exports))
        return TableRules(
            columns=self.prompts.columns,
            template=self.prompts.template,
            recipe=self.recipe,
            size_policy=self.size_policy,
            used=tuple(column for column in used if column),
        )

    @property
    def max_rejected(self) -> MaxRejected | None:
        """How many rows of a partition may be rejected; None: all but the last one."""
        return self.prompts.max_rejected

    @property
    def overrides(self) -> dict[str, Any]:
        """What this dataset sets of the account and the engine, by the names of `LeonardoResource` and `EngineSettings`."""
        return {**self.leonardo.given(), **self.recovery.given()}

    def with_credits_booked(self, credits: int) -> DatasetConfig:
        """The same for the rest of a run that has booked so many credits already: its budget is what is left."""
        cap = self.budget.max_credits_per_run
        if cap is None or not credits:
            return self
        return self.changed(budget=self.budget.changed(max_credits_per_run=max(0, cap - credits)))

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

    A name that becomes too long for a file's is cut, and distinguished by "=" and its hash; no other name has a "=".
    """
    encoded = quote(partition, safe=" ")
    if len(encoded) > LONGEST_IN_KEY:
        begin = re.sub(r"%[0-9A-F]?$", "", encoded[: LONGEST_IN_KEY - 65])
        encoded = f"{begin}={sha256(partition.encode()).hexdigest()}"
    return encoded if encoded.strip(". ") else encoded.replace(".", "%2E")
