"""Runs that are stopped or killed while they buy: nothing more is bought, and the next run pays for nothing twice."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from seedream_assets.emulator.server import RunningEmulator, running_emulator
from seedream_assets.emulator.settings import DEMO_KEY, EmulatorSettings
from seedream_assets_tests.assets.running_webserver import ENDED, Webserver, running_webserver, wait_until

pytestmark = pytest.mark.slow

PROMPTS = 8
# Two generations at once, so that most of the plan is not submitted yet when the run is stopped.
DATASET = {
    "budget": "unlimited",
    "name": "shoes",
    "prompts": {"table": "prompts.csv"},
    "recipe": {"width": 64, "height": 48},
    "leonardo": {"slots": 2, "queue_ahead": 0},
    "recovery": {"lease_seconds": 10, "history_settle_seconds": 2},
}
LATENCY_SECONDS = 4
ACCOUNT = EmulatorSettings(latency_seconds=LATENCY_SECONDS, latency_sigma=0, slots=2, keys=(DEMO_KEY,))
# What names the process that a run lives in, by executor.
RUN_WORKERS = {
    "in_process_executor": r"Executing steps in process \(pid: (\d+)\)",
    "multiprocess_executor": r"parent process \(pid: (\d+)\)",
}
STEP = r"Capturing logs for process \(pid: (\d+)\)"
RETRIES = "run_retries: {enabled: true, max_retries: 2, retry_on_asset_or_op_failure: false}\n"
MONITORING = "run_monitoring: {enabled: true, poll_interval_seconds: 2, cancel_timeout_seconds: 60}\n"


@dataclass(slots=True, kw_only=True)
class Scene:
    """A webserver, an account and a prompt table, with runs to stop."""

    dagster: Webserver
    emulator: RunningEmulator
    folder: Path
    executor: str
    billed_before: Counter[str] = field(default_factory=Counter)

    def want_new_images(self) -> None:
        """A table of prompts that nobody has bought, and a bill that starts from nothing."""
        name = uuid.uuid4().hex[:8]
        rows = [f"a red shoe, {name}, number {number}" for number in range(PROMPTS)]
        (self.folder / "prompts.csv").write_text("\n".join(["prompt", *rows]))
        self.billed_before += self.billed()

    def billed(self) -> Counter[str]:
        """Since the table was written: creates, generations, duplicates, credits."""
        bill = self.emulator.account.bill(details=False)
        billed = Counter({name: int(bill[name]) for name in ("generations", "duplicates", "credits")})
        billed["creates"] = int(bill["requests"]["creates"])
        return billed - self.billed_before

    def creates(self) -> int:
        return self.billed()["creates"]

    def launch_and_wait_for_submits(self, **tags: str) -> str:
        run_id = self.dagster.launch(**tags)
        wait_until(lambda: self.creates() >= 2, seconds=90, what="the first submits")
        assert self.creates() < PROMPTS
        return run_id

    def run_worker(self, run_id: str) -> int:
        return self.dagster.pids(run_id, RUN_WORKERS[self.executor])[0]

    def step(self, run_id: str) -> int:
        """The process of the newest step; the run worker itself where steps have none of their own."""
        return [*self.dagster.pids(run_id, RUN_WORKERS[self.executor]), *self.dagster.pids(run_id, STEP)][-1]

    def refuse_more_submits(self) -> None:
        """What was stopped stays stopped, for longer than a generation takes."""
        stopped_at = self.creates()
        assert stopped_at < PROMPTS
        time.sleep(LATENCY_SECONDS + 2)
        assert self.creates() == stopped_at

    def refuse_any_double_purchase(self) -> None:
        billed = self.billed()
        assert (billed["duplicates"], billed["generations"], billed["credits"]) == (0, PROMPTS, 28 * PROMPTS)

    def run_to_the_end(self) -> None:
        assert self.dagster.wait(self.dagster.launch(), seconds=180) == "SUCCESS"
        self.refuse_any_double_purchase()


@contextmanager
def running_scene(folder: Path, executor: str, *, daemon: str | None = None) -> Iterator[Scene]:
    with running_emulator(ACCOUNT) as emulator:
        environment = {
            "SEEDREAM_STORE": (folder / "store").as_uri(),
            "LEONARDO_API_KEY": DEMO_KEY,
            "LEONARDO_BASE_URL": emulator.base_url,
        }
        with running_webserver(folder, DATASET, environment, executor=executor, daemon=daemon) as dagster:
            scene = Scene(dagster=dagster, emulator=emulator, folder=folder, executor=executor)
            scene.want_new_images()
            yield scene


@pytest.fixture(scope="module", params=RUN_WORKERS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One webserver per executor for all tests that need no daemon."""
    with running_scene(tmp_path_factory.mktemp("project"), request.param) as scene:
        yield scene


@pytest.fixture
def scene(running: Scene) -> Scene:
    running.want_new_images()
    return running


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_terminated_run_stops_buying_and_the_next_one_goes_on(scene: Scene) -> None:
    run_id = scene.launch_and_wait_for_submits()
    scene.dagster.terminate(run_id)
    assert scene.dagster.wait(run_id, seconds=90) == "CANCELED"
    scene.refuse_more_submits()
    assert "the next run goes on from here" in "\n".join(scene.dagster.log(run_id))
    scene.run_to_the_end()


def test_a_run_worker_that_gets_sigterm_stops_buying(scene: Scene) -> None:
    run_id = scene.launch_and_wait_for_submits()
    os.kill(scene.run_worker(run_id), signal.SIGTERM)
    assert scene.dagster.wait(run_id, seconds=90) == "FAILURE"
    scene.refuse_more_submits()
    scene.run_to_the_end()


def test_a_step_whose_run_worker_was_killed_stops_by_itself(scene: Scene) -> None:
    run_id = scene.launch_and_wait_for_submits()
    step = scene.step(run_id)
    os.kill(scene.run_worker(run_id), signal.SIGKILL)
    wait_until(lambda: not is_alive(step), seconds=45, what="the orphaned step's end")
    scene.refuse_more_submits()
    scene.run_to_the_end()


def test_a_killed_step_fails_its_run_and_the_next_one_goes_on(scene: Scene) -> None:
    run_id = scene.launch_and_wait_for_submits()
    os.kill(scene.step(run_id), signal.SIGKILL)
    assert scene.dagster.wait(run_id, seconds=90) == "FAILURE"
    scene.refuse_more_submits()
    scene.run_to_the_end()


def test_a_run_whose_code_server_was_killed_costs_nothing_again(scene: Scene) -> None:
    run_id = scene.launch_and_wait_for_submits()
    os.kill(parent_of(scene.run_worker(run_id)), signal.SIGKILL)
    # Nobody can terminate it any more. It ends by itself: stopped, or bought to the end.
    assert scene.dagster.wait(run_id, seconds=90) in ENDED
    scene.dagster.reload()
    scene.run_to_the_end()


@pytest.mark.parametrize("executor", RUN_WORKERS)
def test_a_run_that_dagster_runs_again_after_a_crash_pays_for_nothing_twice(tmp_path: Path, executor: str) -> None:
    with running_scene(tmp_path, executor, daemon=RETRIES) as scene:
        crashed = scene.launch_and_wait_for_submits()
        os.kill(scene.run_worker(crashed), signal.SIGKILL)
        assert scene.dagster.wait(crashed, seconds=90) == "FAILURE"
        # The orphan of a multiprocess run may still be working beside the run that Dagster starts by itself.
        wait_until(lambda: len(scene.dagster.runs()) == 2, seconds=90, what="the run that Dagster starts again")
        (again,) = {run["runId"] for run in scene.dagster.runs()} - {crashed}
        assert scene.dagster.wait(again, seconds=180) == "SUCCESS"
        scene.refuse_any_double_purchase()


@pytest.mark.parametrize("executor", RUN_WORKERS)
def test_a_run_that_monitoring_ends_for_its_length_stops_buying(tmp_path: Path, executor: str) -> None:
    with running_scene(tmp_path, executor, daemon=MONITORING) as scene:
        too_long = scene.dagster.launch(max_runtime="8")
        assert scene.dagster.wait(too_long, seconds=120) == "FAILURE"
        scene.refuse_more_submits()
        scene.run_to_the_end()
