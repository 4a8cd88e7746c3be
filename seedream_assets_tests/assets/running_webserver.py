"""A real Dagster webserver, with a daemon where one is asked for, over a project of one dataset.

Driven through GraphQL, as the UI drives it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

INSTANCE = """\
telemetry: {enabled: false}
nux: {enabled: false}
run_coordinator: {module: dagster.core.run_coordinator, class: DefaultRunCoordinator}
"""
DEFINITIONS = """\
import json
from pathlib import Path
import dagster as dg
from seedream_assets.assets import build_assets, build_automation
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.components.seedream_resources import DEFAULT_RESOURCES

HERE = Path(__file__).parent
declared = DatasetConfig(base=HERE, **json.loads((HERE / "dataset.json").read_text()))
schedules, sensors = build_automation(declared)
defs = dg.Definitions(
    assets=build_assets(declared),
    schedules=schedules,
    sensors=sensors,
    resources=DEFAULT_RESOURCES,
    executor=dg.{executor},
)
"""
LAUNCH = """
mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
LOG = """
query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
  ... on MessageEvent { message } ... on ExecutionStepFailureEvent { error { message } } } } } }
"""
RUNS = """
{ runsOrError { ... on Runs { results { runId status tags { key value } stepStats { stepKey startTime endTime } } } } }
"""
START_SENSOR = """
mutation($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
  __typename ... on Sensor { sensorState { status } } ... on PythonError { message } } }
"""
REPOSITORIES = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
CHECKS = """
query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  assetChecksOrError { ... on AssetChecks { checks { name
    executionForLatestMaterialization { evaluation { success description metadataEntries { label
      ... on TextMetadataEntry { text } ... on MarkdownMetadataEntry { mdStr }
      ... on IntMetadataEntry { intValue } ... on FloatMetadataEntry { floatValue } } } } } } } } } }
"""
DAEMONS = "{ instance { daemonHealth { allDaemonStatuses { daemonType healthy required } } } }"
# Dagster's code servers take 5 s to load on a quiet machine, and were seen to take 100 s on a busy one.
START_SECONDS = 240
ENDED = ("SUCCESS", "FAILURE", "CANCELED")


def wait_until(found: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """What `found` gives as soon as it gives something."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        answer = found()
        if answer:
            return answer
        time.sleep(0.2)
    raise AssertionError(f"waited {seconds} s in vain for: {what}")


class Webserver:
    """GraphQL, by what a person does in the UI."""

    def __init__(self, http: httpx.Client, dataset: str) -> None:
        self._http = http
        self._dataset = dataset

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = self._http.post("/graphql", json={"query": query, "variables": variables}).json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def is_ready(self) -> bool:
        try:
            answer = self.ask("{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }")
            entries = answer["workspaceOrError"]["locationEntries"]
            return (
                bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries) and self._has_repository()
            )
        except httpx.HTTPError:
            return False

    def has_daemon(self) -> bool:
        """True once every daemon that the instance needs has been heard."""
        statuses = self.ask(DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
        return all(status["healthy"] for status in statuses if status["required"])

    def _repositories(self) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = self.ask(REPOSITORIES)["repositoriesOrError"].get("nodes", [])
        return nodes

    def _has_repository(self) -> bool:
        return len(self._repositories()) == 1

    def launch(self, *stages: str, ops: Mapping[str, Mapping[str, Any]] | None = None, **tags: str) -> str:
        """Materialise these stages, or all four assets; the id of the run.

        Args:
            stages: Names of assets.
            ops: Run configuration by stage, as the launchpad would give it.
            tags: Dagster's own: `max_runtime="8"`.
        """
        (node,) = self._repositories()
        stages = stages or ("prompts", "generation_requests", "images", "dataset")
        config = {f"{self._dataset}__{stage}": {"config": dict(given)} for stage, given in (ops or {}).items()}
        selector = {
            "repositoryLocationName": node["location"]["name"],
            "repositoryName": node["name"],
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": [self._dataset, stage]} for stage in stages],
        }
        metadata = {"tags": [{"key": f"dagster/{key}", "value": value} for key, value in tags.items()]}
        params = {
            "selector": selector,
            "mode": "default",
            "runConfigData": {"ops": config} if config else {},
            "executionMetadata": metadata,
        }
        answer = self.ask(LAUNCH, params=params)
        return str(answer["launchPipelineExecution"]["run"]["runId"])

    def start_sensor(self, name: str) -> None:
        (node,) = self._repositories()
        selector = {
            "repositoryLocationName": node["location"]["name"],
            "repositoryName": node["name"],
            "sensorName": name,
        }
        answer = self.ask(START_SENSOR, selector=selector)["startSensor"]
        assert answer["__typename"] == "Sensor" and answer["sensorState"]["status"] == "RUNNING", answer

    def runs(self) -> list[dict[str, Any]]:
        """Every run with its id, status, tags and steps, the newest first."""
        found: list[dict[str, Any]] = self.ask(RUNS)["runsOrError"]["results"]
        return found

    def wait_for_runs(self, number: int, *, seconds: float) -> list[dict[str, Any]]:
        """The runs that have ended, once they are so many."""

        def ended() -> list[dict[str, Any]]:
            return [run for run in self.runs() if run["status"] in ENDED]

        wait_until(lambda: len(ended()) >= number, seconds=seconds, what=f"the end of {number} runs")
        return ended()

    def reload(self) -> None:
        """Load the code anew, in a new code server where the old one is gone."""
        self.ask("mutation { reloadWorkspace { __typename } }")
        wait_until(self.is_ready, seconds=START_SECONDS, what="the code server")

    def status(self, run_id: str) -> str:
        return str(
            self.ask("query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id)["runOrError"][
                "status"
            ]
        )

    def wait(self, run_id: str, *, seconds: float) -> str:
        """The status in which a run ended."""
        wait_until(lambda: self.status(run_id) in ENDED, seconds=seconds, what=f"the end of run {run_id}")
        return self.status(run_id)

    def terminate(self, run_id: str) -> None:
        answer = self.ask("mutation($id: String!) { terminateRun(runId: $id) { __typename } }", id=run_id)
        assert answer["terminateRun"]["__typename"] == "TerminateRunSuccess", answer

    def log(self, run_id: str) -> list[str]:
        """Every event's message, and the errors of steps with what they say."""
        answer = self.ask(LOG, id=run_id)["logsForRun"]["events"]
        return [f"{event['message']} {(event.get('error') or {}).get('message', '')}" for event in answer]

    def check(self, stage: str, name: str) -> dict[str, Any]:
        """The latest evaluation of a check: whether it succeeded, its text, and its metadata by label."""
        answer = self.ask(CHECKS, key={"path": [self._dataset, stage]})
        (found,) = [one for one in answer["assetNodeOrError"]["assetChecksOrError"]["checks"] if one["name"] == name]
        execution = found["executionForLatestMaterialization"]
        evaluation = execution["evaluation"]
        entries = {
            entry["label"]: next((value for key, value in entry.items() if key != "label"), None)
            for entry in evaluation["metadataEntries"]
        }
        return {"success": evaluation["success"], "description": evaluation["description"], **entries}

    def pids(self, run_id: str, pattern: str) -> list[int]:
        """Process ids in the run's log, in order."""
        return [int(found[1]) for message in self.log(run_id) if (found := re.search(pattern, message))]


@contextmanager
def running_webserver(
    folder: Path,
    dataset: Mapping[str, Any],
    environment: Mapping[str, str],
    *,
    executor: str,
    daemon: str | None = None,
) -> Iterator[Webserver]:
    """Serve a project of one dataset until the block ends.

    Args:
        folder: Empty but for what the dataset needs.
        dataset: The component's attributes.
        environment: The account and the store.
        executor: A name in `dagster`.
        daemon: Settings of the instance that need Dagster's daemon, which then runs too; None: no daemon.
    """
    home = folder / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text(INSTANCE + (daemon or ""))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    (folder / "definitions.py").write_text(DEFINITIONS.replace("{executor}", executor))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    variables = {**os.environ, **environment, "DAGSTER_HOME": str(home)}
    serve = ["dagster-webserver", "-f", "definitions.py", "-h", "127.0.0.1", "-p", port]
    with ExitStack() as stack:
        stack.enter_context(_running(serve, folder, variables))
        http = stack.enter_context(httpx.Client(trust_env=False, timeout=60, base_url=f"http://127.0.0.1:{port}"))
        webserver = Webserver(http, str(dataset["name"]))
        wait_until(webserver.is_ready, seconds=START_SECONDS, what="the webserver")
        if daemon is not None:
            stack.enter_context(_running(["dagster-daemon", "run", "-f", "definitions.py"], folder, variables))
            wait_until(webserver.has_daemon, seconds=START_SECONDS, what="the daemon")
        yield webserver


@contextmanager
def _running(command: list[str], folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """One of Dagster's programs, with its output in a file beside the project; ended with the block."""
    with (folder / f"{command[0]}.log").open("w") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / command[0]), *command[1:]],
            cwd=folder,
            env=dict(environment),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Started from a shell's background job, signals are ignored, and Dagster would keep it so.
            preexec_fn=_listen_to_signals,
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _listen_to_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
