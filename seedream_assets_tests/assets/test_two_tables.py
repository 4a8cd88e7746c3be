"""Two versions of a dataset's table at once, in Dagster: each run buys and reports what it has planned."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import dagster as dg
import pandas as pd
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from seedream_assets.components.seedream_resources import DEFAULT_RESOURCES
from seedream_assets.config.dataset import UNPARTITIONED
from seedream_assets.resources import ImageStoreResource
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets_tests.assets.conftest import World, failure_of, metadata_of

OLD = [{"prompt": "a red mug"}, {"prompt": "a blue mug"}]
NEW = [{"prompt": "a blue mug"}, {"prompt": "a cup"}, {"prompt": "a jug"}]
DAYS = {"by": "daily", "column": "day", "start": "2026-11-01"}


HAPPENINGS: dict[int, Callable[[], None]] = {}
OPENED = count(1)


class InterruptedStore(ImageStoreResource):
    """The store; before a run opens it for the n-th time, something else happens. Each step opens it once."""

    def open(self, url: str | None = None) -> ObjectStore:
        HAPPENINGS.pop(next(OPENED), lambda: None)()
        return super().open(url)


def interrupted(happenings: dict[int, Callable[[], None]]) -> dict[str, Any]:
    """The resources of a run between whose steps other things happen, by the number of the step, from 1."""
    global OPENED
    # Dagster makes resources anew for each run, so what is to happen cannot stand in one.
    HAPPENINGS.clear()
    HAPPENINGS.update(happenings)
    OPENED = count(1)
    return {**DEFAULT_RESOURCES, "image_store": InterruptedStore()}


def manifest(world: World, partition: str = UNPARTITIONED) -> list[str]:
    return list(
        pd.read_parquet(world.folder / "store" / "datasets" / "shoes" / "manifest" / f"{partition}.parquet").prompt
    )


def run_of(world: World, rows: list[dict[str, str]], *stages: str, **options: Any) -> Callable[[], None]:
    def run() -> None:
        assert world.run(world.assets(rows, **options), *stages).success

    return run


def test_whatever_another_run_does_between_two_steps_a_run_keeps_to_its_own_table(world: World) -> None:
    for step in (2, 3, 4):
        assets = world.assets(OLD)
        result = world.run(assets, resources=interrupted({step: run_of(world, NEW)}))
        assert result.success, failure_of(result)
        assert metadata_of(result, "prompts")["prompts_accepted"] == 2
        assert metadata_of(result, "generation_requests")["images_wanted"] == 2
        assert metadata_of(result, "images")["images_wanted"] == 2
        assert metadata_of(result, "dataset")["images_stored"] == 2
        assert manifest(world) == ["a red mug", "a blue mug"]
    assert world.bill["generations"] == 4


def test_a_run_that_is_started_again_from_its_failure_keeps_to_its_own_plan(world: World) -> None:
    assets = world.assets(OLD)
    first = world.run(assets, "prompts", "generation_requests")
    run_of(world, NEW)()
    assert world.bill["generations"] == 3
    keys = {dg.AssetKey(["shoes", stage]) for stage in ("images", "dataset")}
    defined = dg.Definitions(assets=assets, resources=dict(DEFAULT_RESOURCES), executor=dg.in_process_executor)
    whole = defined.resolve_implicit_global_asset_job_def()
    job = whole.get_subset(asset_selection=keys)
    run = world.instance.create_run_for_job(
        job_def=job, asset_selection=frozenset(keys), parent_run_id=first.run_id, root_run_id=first.run_id
    )
    assert execute_run(InMemoryJob(job), run, world.instance).success
    assert manifest(world) == ["a red mug", "a blue mug"]
    assert world.bill["generations"] == 4


def test_images_alone_takes_the_latest_plan_and_its_own_prompts(world: World) -> None:
    assets = world.assets(OLD)
    world.run(assets, "prompts", "generation_requests")
    world.assets(NEW)
    world.run(assets, "prompts")
    result = world.run(assets, "images", "dataset")
    assert result.success, failure_of(result)
    assert manifest(world) == ["a red mug", "a blue mug"]
    world.run(assets, "generation_requests")
    assert world.run(assets, "images").success
    assert world.run(assets, "dataset").success
    assert manifest(world) == ["a blue mug", "a cup", "a jug"]


def test_each_partition_of_a_range_keeps_to_its_own(world: World) -> None:
    def rows(word: str) -> list[dict[str, str]]:
        return [{"prompt": f"{word} of {day}", "day": f"2026-11-0{day}"} for day in (1, 2, 3)]

    def others() -> None:
        result = world.run(world.assets(rows("new"), partitions=DAYS), partition_range=("2026-11-02", "2026-11-03"))
        assert result.success

    assets = world.assets(rows("old"), partitions=DAYS)
    result = world.run(assets, partition_range=("2026-11-01", "2026-11-02"), resources=interrupted({3: others}))
    assert result.success, failure_of(result)
    assert [manifest(world, f"2026-11-0{day}") for day in (1, 2, 3)] == [["old of 1"], ["old of 2"], ["new of 3"]]
