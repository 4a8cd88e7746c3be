"""Runs that are stopped or killed while they buy: nothing more is bought, and the next run pays for nothing twice."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from seedream_assets.emulator.server import running_emulator
from seedream_assets.emulator.settings import DEMO_KEY, EmulatorSettings
from seedream_assets_tests.assets.running_webserver import running_webserver, wait_until

pytestmark = pytest.mark.slow

PROMPTS = 10
# Two generations at once, so that most of the plan is not submitted yet when the run is stopped.
DATASET = {
    "name": "shoes",
    "prompts": {"table": "prompts.csv"},
    "recipe": {"width": 64, "height": 48},
    "leonardo": {"slots": 2, "queue_ahead": 0},
    "recovery": {"lease_seconds": 10, "history_settle_seconds": 2},
}
ACCOUNT = EmulatorSettings(latency_seconds=5, latency_sigma=0, slots=2, keys=(DEMO_KEY,))
RUN_WORKER = r"parent process \(pid: (\d+)\)"
# What names the process that a run lives in, by executor.
RUN_WORKERS = {"in_process_executor": r"Executing steps in process \(pid: (\d+)\)", "multiprocess_executor": RUN_WORKER}
RETRIES = "run_retries: {enabled: true, max_retries: 2, retry_on_asset_or_op_failure: false}\n"
MONITORING = "run_monitoring: {enabled: true, poll_interval_seconds: 2, cancel_timeout_seconds: 60}\n"
STEP = r"Capturing logs for process \(pid: (\d+)\)"


def write_prompts(folder: Path) -> None:
    rows = [f"a red shoe, number {number}" for number in range(PROMPTS)]
    (folder / "prompts.csv").write_text("\n".join(["prompt", *rows]))


def environment(emulator: Any, folder: Path) -> dict[str, str]:
    return {
        "SEEDREAM_STORE": (folder / "store").as_uri(),
        "LEONARDO_API_KEY": DEMO_KEY,
        "LEONARDO_BASE_URL": emulator.base_url,
    }


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("executor", ["in_process_executor", "multiprocess_executor"])
def test_a_terminated_run_stops_buying_and_the_next_one_goes_on(tmp_path: Path, executor: str) -> None:
    write_prompts(tmp_path)
    with (
        running_emulator(ACCOUNT) as emulator,
        running_webserver(tmp_path, DATASET, environment(emulator, tmp_path), executor=executor) as dagster,
    ):

        def creates() -> int:
            return int(emulator.account.bill(details=False)["requests"]["creates"])

        run_id = dagster.launch()
        wait_until(lambda: creates() >= 2, seconds=90, what="the first submits")
        dagster.terminate(run_id)
        assert dagster.wait(run_id, seconds=90) == "CANCELED"
        stopped_at = creates()
        assert stopped_at < PROMPTS
        time.sleep(7)
        assert creates() == stopped_at
        assert "the next run goes on from here" in "\n".join(dagster.log(run_id))
        again = dagster.launch()
        assert dagster.wait(again, seconds=180) == "SUCCESS"
        bill = emulator.account.bill(details=False)
        assert (bill["duplicates"], bill["generations"], bill["credits"]) == (0, PROMPTS, 28 * PROMPTS)


def test_a_step_whose_run_worker_was_killed_stops_by_itself(tmp_path: Path) -> None:
    write_prompts(tmp_path)
    with (
        running_emulator(ACCOUNT) as emulator,
        running_webserver(
            tmp_path, DATASET, environment(emulator, tmp_path), executor="multiprocess_executor"
        ) as dagster,
    ):

        def creates() -> int:
            return int(emulator.account.bill(details=False)["requests"]["creates"])

        run_id = dagster.launch()
        wait_until(lambda: creates() >= 2, seconds=90, what="the first submits")
        worker, step = dagster.pids(run_id, RUN_WORKER)[0], dagster.pids(run_id, STEP)[-1]
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not is_alive(step), seconds=45, what="the orphaned step's end")
        stopped_at = creates()
        assert stopped_at < PROMPTS
        again = dagster.launch()
        assert dagster.wait(again, seconds=180) == "SUCCESS"
        bill = emulator.account.bill(details=False)
        assert (bill["duplicates"], bill["generations"], bill["credits"]) == (0, PROMPTS, 28 * PROMPTS)


@pytest.mark.parametrize("executor", RUN_WORKERS)
def test_a_run_that_dagster_runs_again_after_a_crash_pays_for_nothing_twice(tmp_path: Path, executor: str) -> None:
    write_prompts(tmp_path)
    with (
        running_emulator(ACCOUNT) as emulator,
        running_webserver(
            tmp_path, DATASET, environment(emulator, tmp_path), executor=executor, daemon=RETRIES
        ) as dagster,
    ):

        def creates() -> int:
            return int(emulator.account.bill(details=False)["requests"]["creates"])

        crashed = dagster.launch()
        wait_until(lambda: creates() >= 2, seconds=90, what="the first submits")
        assert creates() < PROMPTS
        os.kill(dagster.pids(crashed, RUN_WORKERS[executor])[0], signal.SIGKILL)
        assert dagster.wait(crashed, seconds=90) == "FAILURE"
        # The orphan of a multiprocess run may still be working beside the run that Dagster starts by itself.
        wait_until(lambda: len(dagster.runs()) == 2, seconds=90, what="the run that Dagster starts again")
        (again,) = dagster.runs().keys() - {crashed}
        assert dagster.wait(again, seconds=180) == "SUCCESS"
        bill = emulator.account.bill(details=False)
        assert (bill["duplicates"], bill["generations"], bill["credits"]) == (0, PROMPTS, 28 * PROMPTS)


@pytest.mark.parametrize("executor", RUN_WORKERS)
def test_a_run_that_monitoring_ends_for_its_length_stops_buying(tmp_path: Path, executor: str) -> None:
    write_prompts(tmp_path)
    with (
        running_emulator(ACCOUNT) as emulator,
        running_webserver(
            tmp_path, DATASET, environment(emulator, tmp_path), executor=executor, daemon=MONITORING
        ) as dagster,
    ):

        def creates() -> int:
            return int(emulator.account.bill(details=False)["requests"]["creates"])

        too_long = dagster.launch(max_runtime="8")
        assert dagster.wait(too_long, seconds=120) == "FAILURE"
        stopped_at = creates()
        assert stopped_at < PROMPTS
        time.sleep(7)
        assert creates() == stopped_at
        again = dagster.launch()
        assert dagster.wait(again, seconds=180) == "SUCCESS"
        bill = emulator.account.bill(details=False)
        assert (bill["duplicates"], bill["generations"], bill["credits"]) == (0, PROMPTS, 28 * PROMPTS)
