"""A sensor turned on under a real daemon: new tables become partitions and runs, one at a time in the pool."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from seedream_assets.emulator.server import running_emulator
from seedream_assets.emulator.settings import DEMO_KEY, EmulatorSettings
from seedream_assets_tests.assets.running_webserver import running_webserver

pytestmark = pytest.mark.slow

DATASET = {
    "budget": "unlimited",
    "name": "shoes",
    "prompts": {"table": "in/*.csv"},
    "recipe": {"width": 64, "height": 48},
    "partitions": {"by": "table", "backfill": "per_partition"},
    "sensor": {"minimum_interval_seconds": 5},
}
CREDITS = 28
ONE_STEP_AT_A_TIME = "concurrency: {pools: {granularity: op, default_limit: 1}}\n"


def write(folder: Path, name: str, prompt: str, *, at: int) -> None:
    path = folder / "in" / f"{name}.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"prompt\n{prompt}\n")
    os.utime(path, (at, at))


def test_new_and_changed_tables_are_bought_once_and_one_run_at_a_time(tmp_path: Path) -> None:
    account = EmulatorSettings(latency_seconds=1, latency_sigma=0, keys=(DEMO_KEY,))
    for name in ("a", "b", "c"):
        write(tmp_path, name, f"a shoe of {name}", at=1_700_000_000)
    with running_emulator(account) as emulator:
        environment = {
            "SEEDREAM_STORE": (tmp_path / "store").as_uri(),
            "LEONARDO_API_KEY": DEMO_KEY,
            "LEONARDO_BASE_URL": emulator.base_url,
        }
        with running_webserver(
            tmp_path, DATASET, environment, executor="in_process_executor", daemon=ONE_STEP_AT_A_TIME
        ) as dagster:
            dagster.start_sensor("shoes_sensor")
            runs = dagster.wait_for_runs(3, seconds=240)
            assert {run["status"] for run in runs} == {"SUCCESS"}
            spans = sorted(
                (step["startTime"], step["endTime"])
                for run in runs
                for step in run["stepStats"]
                if step["stepKey"] == "shoes__images"
            )
            assert len(spans) == 3
            # The pool has one place, and the three runs were launched together.
            assert all(ended <= begun for (_, ended), (begun, _) in pairwise(spans))
            write(tmp_path, "b", "another shoe of b", at=1_700_000_001)
            runs = dagster.wait_for_runs(4, seconds=120)
            partitions = sorted(
                tag["value"] for run in runs for tag in run["tags"] if tag["key"] == "dagster/partition"
            )
            assert partitions == ["a", "b", "b", "c"]
            assert len(dagster.runs()) == 4
        assert emulator.account.bill(details=False)["credits"] == 4 * CREDITS
