"""A store that counts what is asked of it, and a declared dataset that runs through all four stages."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seedream_assets.config.account import EngineSettings, LeonardoSettings
from seedream_assets.config.dataset import UNPARTITIONED, Budget, DatasetConfig
from seedream_assets.config.models import ModelCatalog
from seedream_assets.deployment import Deployment
from seedream_assets.emulator.server import RunningEmulator
from seedream_assets.planning.stage import Plan
from seedream_assets.prompts.stage import read_prompts, write_snapshot
from seedream_assets.purchase.partition_stream import Endings
from seedream_assets.purchase.report import RunReport
from seedream_assets.quality.assemble import Outcome, assemble_dataset
from seedream_assets.quality.replanning import keep_plan, plan_partition
from seedream_assets.storage.object_store import ObjectInfo, ObjectStore
from seedream_assets_tests.purchase.desk import buy_images

CALLS = ("create", "replace", "read", "head", "list", "delete", "now")


class CountedStore:
    """Counts calls as `<call> <first folder of the key>`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self.calls: Counter[str] = Counter()
        self.listed: list[int] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in CALLS:
            return found

        def counted(*args: Any, **options: Any) -> Any:
            folder = str(args[0]).split("/")[0] if args else "clock"
            if folder == "datasets":
                folder = f"datasets/{str(args[0]).split('/')[2]}"
            with self._lock:
                self.calls[f"{name} {folder}"] += 1
            return self._counting(found(*args)) if name == "list" else found(*args, **options)

        return counted

    def _counting(self, listed: Iterator[ObjectInfo]) -> Iterator[ObjectInfo]:
        count = 0
        try:
            for info in listed:
                count += 1
                yield info
        finally:
            with self._lock:
                self.listed.append(count)

    def take(self) -> Counter[str]:
        """The calls since the last time."""
        with self._lock:
            taken, self.calls = self.calls, Counter()
        return taken

    def take_listed(self) -> list[int]:
        """How many keys each list gave since the last time."""
        with self._lock:
            taken, self.listed = self.listed, []
        return taken


@dataclass(frozen=True, kw_only=True)
class DeclaredDataset:
    """A dataset of so many prompts, one image each, over a store and an account."""

    config: DatasetConfig
    deployment: Deployment

    def run(self) -> tuple[Plan, RunReport, Outcome]:
        """All four stages once, as a process of their own: what an earlier one has learned, this one has not."""
        deployment = replace(self.deployment)
        snapshot = read_prompts(self.config, UNPARTITIONED, deployment)
        write_snapshot(deployment.store, self.config, UNPARTITIONED, snapshot)
        plan = plan_partition(self.config, UNPARTITIONED, snapshot, deployment)
        keep_plan(deployment.store, self.config, UNPARTITIONED, plan)
        with Endings() as endings:
            report = buy_images(self.config, UNPARTITIONED, deployment, on_ending=endings.add)
            return plan, report, assemble_dataset(self.config, UNPARTITIONED, deployment, fresh=endings)


def declare(
    folder: Path,
    rows: list[str],
    store: ObjectStore,
    emulator: RunningEmulator,
    *,
    quantity: int = 1,
    budget: Budget | None = None,
    name: str = "scenes",
) -> DeclaredDataset:
    """A dataset from prompts, one line each."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prompts.csv").write_text("prompt\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return DeclaredDataset(
        config=DatasetConfig(
            name=name,
            base=folder,
            prompts={"table": "prompts.csv"},
            recipe={"model": "seedream-4.0", "width": 64, "height": 48, "quantity": quantity},
            budget=budget or Budget(unlimited=True),
        ),
        deployment=Deployment(
            store=store,
            models=ModelCatalog(),
            leonardo=LeonardoSettings(
                api_key=emulator.key,
                base_url=emulator.base_url,
                creates_per_minute=1_000_000,
                requests_per_minute=1_000_000,
            ),
            engine=EngineSettings(lease_seconds=600.0, history_settle_seconds=0.3, settle_images_seconds=0.3),
        ),
    )
