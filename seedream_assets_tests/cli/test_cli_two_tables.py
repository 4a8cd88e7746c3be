"""Two `seedream run` at one time, with two versions of the table between them."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pandas as pd

from seedream_assets.cli.run import buy_planned, plan_partitions
from seedream_assets.config.partitions import UNPARTITIONED
from seedream_assets.config.yaml import load_config
from seedream_assets.deployment import Deployment
from seedream_assets_tests.cli.conftest import Desk

OLD = "prompt\na red mug\na blue mug\n"
NEW = "prompt\na blue mug\na cup\na jug\n"


def test_two_runs_at_once_each_buy_count_and_tell_their_own_table(desk: Desk) -> None:
    dataset = desk.folder / "dataset.yaml"
    both_have_planned = Barrier(2)
    turns = {}

    def plan(table: str):
        desk.write("prompts.csv", table)
        config = load_config(dataset)
        deployment = Deployment.from_environment(config)
        turns[table] = (config, plan_partitions(config, [UNPARTITIONED], deployment)[0], deployment)

    def buy(table: str):
        config, planned, deployment = turns[table]
        both_have_planned.wait(timeout=30)
        return buy_planned(config, planned, deployment, approved=None)

    plan(OLD)
    plan(NEW)
    with ThreadPoolExecutor() as threads:
        old, new = threads.map(buy, (OLD, NEW))
    assert list(old.outcomes[UNPARTITIONED].manifest["prompt"]) == ["a red mug", "a blue mug"]
    assert list(new.outcomes[UNPARTITIONED].manifest["prompt"]) == ["a blue mug", "a cup", "a jug"]
    assert old.outcomes[UNPARTITIONED].is_final
    assert new.outcomes[UNPARTITIONED].is_final
    assert desk.emulator.account.bill()["generations"] == 4
    assert old.report.images_stored + new.report.images_stored == 4
    latest = pd.read_parquet(desk.store / "datasets" / "tableware" / "manifest" / "all.parquet")
    assert list(latest["prompt"]) in (["a red mug", "a blue mug"], ["a blue mug", "a cup", "a jug"])
