"""Claims about two versions of one table at a time: each run buys, counts and reports by the plan that it made."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from seedream_assets.config.dataset import Budget
from seedream_assets.config.partitions import UNPARTITIONED
from seedream_assets.errors import StoreError
from seedream_assets.manifest.stage import load_manifest
from seedream_assets.planning.stage import load_plan
from seedream_assets.prompts.stage import load_snapshot, read_prompts, write_snapshot
from seedream_assets.purchase.stage import load_report
from seedream_assets.quality.assemble import assemble_dataset
from seedream_assets.quality.replanning import keep_plan, plan_partition
from seedream_assets.storage.versions import KEPT_DAYS, read_version, version_of
from seedream_assets_tests.purchase.desk import buy_images, short_sleep
from seedream_assets_tests.purchase.living_dataset import LivingDataset

OLD = [{"prompt": "a red mug"}, {"prompt": "a blue mug"}, {"prompt": "", "quantity": 1}]
NEW = [{"prompt": "a blue mug"}, {"prompt": "a cup"}, {"prompt": "a jug"}, {"prompt": "a pot"}]
LATEST_PLAN = "datasets/scenes/requests/all.parquet"


@pytest.fixture
def dataset(desk, tmp_path):
    return LivingDataset(desk=desk, folder=tmp_path)


def plan(dataset, rows):
    """The first two stages. Returns the plan's version."""
    dataset.write(rows)
    config, deployment = dataset.config, dataset.deployment
    snapshot = read_prompts(config, UNPARTITIONED, deployment)
    snapshot = write_snapshot(deployment.store, config, UNPARTITIONED, snapshot)
    made = plan_partition(config, UNPARTITIONED, snapshot, deployment)
    return keep_plan(deployment.store, config, UNPARTITIONED, made)


def buy(dataset, version=None):
    return buy_images(dataset.config, UNPARTITIONED, dataset.deployment, sleep=short_sleep, version=version)


def assemble(dataset, version=None, **options):
    return assemble_dataset(dataset.config, UNPARTITIONED, dataset.deployment, version=version, **options)


def prompts_of(outcome):
    return list(outcome.manifest["prompt"])


def test_a_run_keeps_to_its_own_plan_when_another_has_planned_bought_and_reported_meanwhile(dataset):
    mine = plan(dataset, OLD)
    theirs = plan(dataset, NEW)
    assert buy(dataset, theirs).images_stored == 4
    assert prompts_of(assemble(dataset, theirs)) == [row["prompt"] for row in NEW]
    report = buy(dataset, mine)
    # The blue mug was bought by the other run.
    assert (report.images_stored, report.requests) == (1, {"completed": 1})
    outcome = assemble(dataset, mine)
    assert prompts_of(outcome) == ["a red mug", "a blue mug"]
    assert (outcome.counts["stored"], outcome.reused) == (2, 1)
    assert load_report(dataset.desk.store, dataset.config, UNPARTITIONED, mine) == report
    # Who writes last is the latest, whole.
    assert prompts_of(replace(outcome, manifest=load_manifest(dataset.desk.store, dataset.config, "all"))) == [
        "a red mug",
        "a blue mug",
    ]
    assert dataset.desk.bill["generations"] == 5


def test_what_stopped_another_run_is_not_said_of_mine(dataset):
    mine = plan(dataset, OLD)
    theirs = plan(dataset, NEW)
    dataset.changes = {"budget": Budget(max_credits_per_run=28)}
    assert buy(dataset, theirs).stopped == "over_budget"
    assert assemble(dataset, theirs).counts["over_budget"] == 3
    assert assemble(dataset, mine).counts["over_budget"] == 0


def test_a_stage_alone_takes_the_latest_plan_and_the_prompts_that_it_was_made_from(dataset):
    plan(dataset, OLD)
    dataset.write(NEW)
    snapshot = read_prompts(dataset.config, UNPARTITIONED, dataset.deployment)
    write_snapshot(dataset.desk.store, dataset.config, UNPARTITIONED, snapshot)
    assert buy(dataset).images_stored == 2
    assert prompts_of(assemble(dataset)) == ["a red mug", "a blue mug"]
    plan(dataset, NEW)
    assert buy(dataset).images_stored == 3
    assert prompts_of(assemble(dataset)) == [row["prompt"] for row in NEW]


def test_a_snapshot_of_a_version_has_the_rows_that_were_rejected_with_it(dataset):
    store, config = dataset.desk.store, dataset.config
    plan(dataset, OLD)
    old = load_snapshot(store, config, UNPARTITIONED)
    plan(dataset, [*NEW, {"prompt": "x", "width": 1}])
    assert list(load_snapshot(store, config, UNPARTITIONED).checked.rejected["column"]) == ["width"]
    again = load_snapshot(store, config, UNPARTITIONED, old.version)
    assert list(again.checked.rejected["column"]) == list(old.checked.rejected["column"]) == ["prompt"]
    assert again.checked.prompts.equals(old.checked.prompts)
    assert again.checked.warnings.equals(old.checked.warnings)


def test_the_latest_plan_serves_where_its_version_was_deleted(dataset):
    store, config = dataset.desk.store, dataset.config
    mine = plan(dataset, OLD)
    for folder in ("requests", "prompts"):
        for info in list(store.list(f"datasets/scenes/{folder}/all/")):
            store.delete(info.key)
    assert version_of(store.read(LATEST_PLAN)) == mine
    assert buy(dataset).images_stored == 2
    assert prompts_of(assemble(dataset)) == ["a red mug", "a blue mug"]
    plan(dataset, NEW)
    assert len(load_plan(store, config, UNPARTITIONED, mine)) == 2


def test_a_version_that_is_gone_is_an_error_and_nothing_else_is_taken_for_it(dataset):
    store, config = dataset.desk.store, dataset.config
    mine = plan(dataset, OLD)
    plan(dataset, NEW)
    store.delete(f"datasets/scenes/requests/all/{mine}.parquet")
    with pytest.raises(StoreError, match=f"{mine}.parquet is gone: .* materialise prompts and generation_requests"):
        buy(dataset, mine)
    with pytest.raises(StoreError, match="is gone"):
        read_version(store, config, "requests", "another", mine)
    assert dataset.desk.bill["generations"] == 0


def test_versions_of_long_ago_are_deleted_by_the_next_plan_and_those_in_use_are_not(dataset):
    store = dataset.desk.store
    old, yesterday = plan(dataset, OLD), plan(dataset, NEW[:2])

    def age(days):
        moment = (datetime.now(UTC) - timedelta(days=days)).timestamp()
        for info in store.list("datasets/scenes/"):
            if "/all/" in info.key and old in info.key:
                path = store.uri(info.key).removeprefix("file://")
                os.utime(path, (moment, moment))

    age(KEPT_DAYS - 1)
    plan(dataset, NEW[:2])
    assert store.head(f"datasets/scenes/requests/all/{old}.parquet") is not None
    age(KEPT_DAYS + 1)
    plan(dataset, NEW[:2])
    assert store.head(f"datasets/scenes/requests/all/{old}.parquet") is None
    assert store.head(f"datasets/scenes/requests/all/{yesterday}.parquet") is not None
    assert buy(dataset).images_stored == 2
