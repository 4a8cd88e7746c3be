"""A real Dagster daemon and webserver over a dataset with its sensor, turned on as a person does in the UI."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from seedream_assets_tests.assets.running_webserver import START_SECONDS, Webserver, _running, wait_until

INSTANCE = """\
telemetry: {enabled: false}
run_coordinator: {module: dagster.core.run_coordinator, class: DefaultRunCoordinator}
concurrency: {pools: {granularity: op, default_limit: 1}}
"""
DEFINITIONS = """\
import json
from pathlib import Path
import dagster as dg
from seedream_assets.assets.build import build_assets, build_automation
from seedream_assets.components.image_dataset import ImageDataset
from seedream_assets.components.seedream_resources import DEFAULT_RESOURCES

HERE = Path(__file__).parent
declared = ImageDataset.resolve_from_dict(json.loads((HERE / "dataset.json").read_text())).declaration(HERE)
schedules, sensors = build_automation(declared)
defs = dg.Definitions(
    assets=build_assets(declared, owners=[], description=None),
    schedules=schedules,
    sensors=sensors,
    resources=DEFAULT_RESOURCES,
    executor=dg.in_process_executor,
)
"""
REPOSITORY = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
START_SENSOR = """
mutation($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
  __typename ... on Sensor { sensorState { status } } ... on PythonError { message } } }
"""
RUNS = """
{ runsOrError { ... on Runs { results { runId status tags { key value } stepStats { stepKey startTime endTime } } } } }
"""


class Daemon:
    """What a person sees of the automation in the UI."""

    def __init__(self, webserver: Webserver) -> None:
        self._webserver = webserver

    def start_sensor(self, name: str) -> None:
        (node,) = self._webserver.ask(REPOSITORY)["repositoriesOrError"]["nodes"]
        selector = {
            "repositoryLocationName": node["location"]["name"],
            "repositoryName": node["name"],
            "sensorName": name,
        }
        told = self._webserver.ask(START_SENSOR, selector=selector)["startSensor"]
        assert told["__typename"] == "Sensor" and told["sensorState"]["status"] == "RUNNING", told

    def runs(self) -> list[dict[str, Any]]:
        """All runs, the latest first."""
        found: list[dict[str, Any]] = self._webserver.ask(RUNS)["runsOrError"]["results"]
        return found

    def ended(self) -> list[dict[str, Any]]:
        return [run for run in self.runs() if run["status"] in ("SUCCESS", "FAILURE", "CANCELED")]

    def wait_for(self, number: int, *, seconds: float) -> list[dict[str, Any]]:
        """The runs once so many have ended."""
        wait_until(lambda: len(self.ended()) >= number, seconds=seconds, what=f"the end of {number} runs")
        return self.ended()


@contextmanager
def running_daemon(folder: Path, dataset: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[Daemon]:
    """Serve a project of one dataset, with a daemon, until the block ends. One step in the pool at a time."""
    home = folder / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text(INSTANCE)
    (folder / "dataset.json").write_text(json.dumps(dataset))
    (folder / "definitions.py").write_text(DEFINITIONS)
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
        stack.enter_context(_running(["dagster-daemon", "run", "-f", "definitions.py"], folder, variables))
        yield Daemon(webserver)
