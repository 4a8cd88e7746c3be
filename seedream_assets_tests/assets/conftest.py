"""A small world for the assets: an emulated account, a folder store, and datasets of a few rows."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from seedream_assets.assets import build_assets
from seedream_assets.components.seedream_resources import DEFAULT_RESOURCES
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.emulator.server import RunningEmulator, running_emulator
from seedream_assets.emulator.settings import DEMO_KEY, EmulatorSettings
from seedream_assets.storage.folder import FolderStore

STAGES = ("prompts", "generation_requests", "images", "dataset")
SIZE = {"width": 64, "height": 48}


@dataclass
class World:
    """One account, one store, and any number of datasets."""

    emulator: RunningEmulator
    folder: Path
    instance: dg.DagsterInstance

    @property
    def store(self) -> FolderStore:
        return FolderStore(self.folder / "store")

    @property
    def bill(self) -> dict[str, Any]:
        return self.emulator.account.bill(details=False)

    def write_table(self, rows: Sequence[Mapping[str, object]], name: str = "prompts.csv") -> None:
        columns = list(dict.fromkeys(column for row in rows for column in row))
        with (self.folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)

    def assets(
        self, rows: Sequence[Mapping[str, object]] | None = None, **attributes: Any
    ) -> list[dg.AssetsDefinition]:
        """The four assets of a dataset over these rows; attributes as in YAML."""
        if rows is not None:
            self.write_table(rows)
        declared = {
            "name": "shoes",
            "prompts": {"table": "prompts.csv"},
            "recipe": SIZE,
            "budget": "unlimited",
            # A generation shows in the history at once here; by default a refusal is looked up only after ten seconds.
            "recovery": {"history_settle_seconds": 1, "settle_images_seconds": 1},
            **attributes,
        }
        config = DatasetConfig(base=self.folder, **declared)
        return build_assets(config)

    def run(
        self,
        assets: list[dg.AssetsDefinition],
        *stages: str,
        partition: str | None = None,
        partition_range: tuple[str, str] | None = None,
        resources: Mapping[str, Any] = DEFAULT_RESOURCES,
        run_config: Mapping[str, Any] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Materialise these stages, or all; a failure is reported in the result."""
        tags = {}
        if partition_range:
            tags = {
                "dagster/asset_partition_range_start": partition_range[0],
                "dagster/asset_partition_range_end": partition_range[1],
            }
        name = assets[0].key.path[0]
        return dg.materialize(
            assets,
            selection=[dg.AssetKey([name, stage]) for stage in stages or STAGES],
            resources=dict(resources),
            partition_key=partition,
            tags=tags,
            run_config=dict(run_config or {}),
            instance=self.instance,
            raise_on_error=False,
        )


def metadata_of(result: dg.ExecuteInProcessResult, stage: str) -> dict[str, Any]:
    """The metadata of a stage's latest materialisation in a run, as plain values."""
    found = [
        event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key and event.asset_key.path[-1] == stage
    ]
    assert found, f"{stage} was not materialised: {failure_of(result)}"
    return {name: value.value for name, value in found[-1].items()}


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """The evaluated checks by name."""
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """What the failed step said; empty where none failed."""
    for event in result.all_events:
        if event.event_type_value == "STEP_FAILURE":
            data = event.step_failure_data
            message = data.user_failure_data.description if data.user_failure_data else data.error_display_string
            return str(message)
    return ""


@contextmanager
def new_world(folder: Path) -> Iterator[World]:
    """A fresh account and an empty store in this folder, and what a deployment sets in the environment."""
    settings = EmulatorSettings(latency_seconds=0, creates_per_minute=0, keys=(DEMO_KEY,))
    with running_emulator(settings) as emulator, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEEDREAM_STORE", (folder / "store").as_uri())
        patch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
        patch.setenv("LEONARDO_API_KEY", emulator.key)
        patch.setenv("LEONARDO_BASE_URL", emulator.base_url)
        with dg.DagsterInstance.ephemeral() as instance:
            yield World(emulator=emulator, folder=folder, instance=instance)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world for one test."""
    with new_world(tmp_path) as world:
        yield world
