"""A dataset whose table and declaration change from day to day: brought to the declared state again and again."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from seedream_assets.config.account import EngineSettings, LeonardoSettings
from seedream_assets.config.dataset import Budget, DatasetConfig
from seedream_assets.config.partitions import UNPARTITIONED, Partitions
from seedream_assets.deployment import Deployment
from seedream_assets.planning.quote import Quote
from seedream_assets.prompts.stage import read_prompts, write_snapshot
from seedream_assets.quality.assemble import Outcome, assemble_dataset
from seedream_assets.quality.replanning import keep_plan, plan_partition
from seedream_assets_tests.purchase.desk import CREDITS, Desk, buy_images, short_sleep

Row = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Brought:
    """What one run over the whole table came to."""

    quote: Quote
    outcome: Outcome
    images_bought: int

    @property
    def manifest(self) -> pd.DataFrame:
        return self.outcome.manifest

    @property
    def names(self) -> list[str]:
        """The prompt ids of the wanted images, in the dataset's order."""
        return [str(name) for name in self.manifest["prompt_id"]]

    @property
    def stored(self) -> set[str]:
        return set(self.manifest.loc[self.manifest["status"] == "stored", "image_id"])


@dataclass(kw_only=True)
class LivingDataset:
    """One dataset on a desk. What is changed here counts from the next `bring` on."""

    desk: Desk
    folder: Path
    name: str = "scenes"
    recipe: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    partitions: Partitions = field(default_factory=Partitions)
    changes: dict[str, Any] = field(default_factory=dict)

    def write(self, rows: Sequence[Row]) -> None:
        names = list(dict.fromkeys(name for row in rows for name in row))
        with (self.folder / f"{self.name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)

    @property
    def config(self) -> DatasetConfig:
        return DatasetConfig(
            name=self.name,
            base=self.folder,
            prompts={"table": f"{self.name}.csv", "columns": self.columns},
            recipe={"width": 64, "height": 48} | self.recipe,
            partitions=self.partitions,
            **({"budget": Budget(unlimited=True)} | self.changes),
        )

    @property
    def deployment(self) -> Deployment:
        emulator = self.desk.emulator
        rates = {"creates_per_minute": 100_000, "requests_per_minute": 100_000}
        return Deployment(
            store=self.desk.store,
            leonardo=LeonardoSettings(api_key=emulator.key, base_url=emulator.base_url, **rates),
            engine=EngineSettings(
                lease_seconds=5.0, history_settle_seconds=0.3, settle_images_seconds=0.3, progress_seconds=60.0
            ),
        )

    def bring(self, rows: Sequence[Row] | None = None, *, partition: str = UNPARTITIONED) -> Brought:
        """The four stages over the table as it stands, or over these rows."""
        if rows is not None:
            self.write(rows)
        config, deployment = self.config, self.deployment
        before = self.desk.bill["credits"]
        snapshot = read_prompts(config, partition, deployment)
        write_snapshot(deployment.store, config, partition, snapshot)
        plan = plan_partition(config, partition, snapshot, deployment)
        keep_plan(deployment.store, config, partition, plan)
        buy_images(config, partition, deployment, sleep=short_sleep)
        outcome = assemble_dataset(config, partition, deployment)
        bought = (self.desk.bill["credits"] - before) // CREDITS
        assert bought == plan.quote.images_to_buy, "the quote is what was bought"
        return Brought(quote=plan.quote, outcome=outcome, images_bought=bought)
