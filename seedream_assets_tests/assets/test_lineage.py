"""Claims about OpenLineage: what is reported of a run, to a file, and that a server that is away harms nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import jsonschema
import pytest

from seedream_assets.assets.partition_report import lineage_is_configured
from seedream_assets_tests.assets.conftest import STAGES, World, failure_of, new_world

lineage = pytest.importorskip("seedream_assets.assets.lineage", exc_type=ImportError)
ROWS = [
    {"prompt_id": "red", "prompt": "a red shoe", "category": "shoes"},
    {"prompt_id": "blue", "prompt": "a blue shoe", "category": "shoes"},
]


def write_lineage(folder: Path, patch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """OpenLineage's own client, configured by its own variables to write to a file; and what it wrote."""
    file = folder / "lineage.jsonl"
    patch.setenv("OPENLINEAGE__TRANSPORT", json.dumps({"type": "file", "log_file_path": str(file), "append": True}))
    patch.delenv("OPENLINEAGE_DISABLED", raising=False)
    return lambda: [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return write_lineage(tmp_path, monkeypatch)


class Ran(NamedTuple):
    result: dg.ExecuteInProcessResult
    events: list[dict[str, Any]]
    folder: Path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One run over the rows, and what was reported of it."""
    folder = tmp_path_factory.mktemp("ran")
    with new_world(folder) as world, pytest.MonkeyPatch.context() as patch:
        written = write_lineage(folder, patch)
        result = world.run(world.assets(ROWS))
        return Ran(result, written(), folder)


def by_job(events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        found.setdefault(event["job"]["name"], []).append(event)
    return found


def test_every_stage_is_a_run_that_starts_and_completes(ran: Ran) -> None:
    assert ran.result.success
    jobs = by_job(ran.events)
    assert list(jobs) == [
        "shoes.prompts",
        "shoes.prompts.checks",
        "shoes.generation_requests",
        "shoes.generation_requests.checks",
        "shoes.images",
        "shoes.dataset",
        "shoes.dataset.checks",
    ]
    for name, events in jobs.items():
        assert [event["eventType"] for event in events] == ["START", "COMPLETE"], name
        assert len({event["run"]["runId"] for event in events}) == 1
        parent = events[0]["run"]["facets"]["parent"]
        assert parent["run"]["runId"] != events[0]["run"]["runId"]
    assert len({event["run"]["runId"] for event in ran.events}) == len(jobs)


def test_datasets_are_named_by_where_they_lie_and_lead_into_each_other(ran: Ran) -> None:
    ends = {name: events[-1] for name, events in by_job(ran.events).items()}
    store = str(ran.folder / "store")
    assert ends["shoes.prompts"]["inputs"][0]["name"] == str(ran.folder / "prompts.csv")
    assert {one["namespace"] for event in ends.values() for one in event["inputs"] + event["outputs"]} == {"file"}
    assert ends["shoes.images"]["outputs"][0]["name"] == f"{store}/images"
    outputs = {event["outputs"][0]["name"] for event in ends.values() if event["outputs"]}
    for name in STAGES[1:]:
        assert {one["name"] for one in ends[f"shoes.{name}"]["inputs"]} <= outputs


def test_the_manifest_is_reported_with_schema_version_counts_and_columns(ran: Ran) -> None:
    output = by_job(ran.events)["shoes.dataset"][-1]["outputs"][0]
    facets = output["facets"]
    fields = {one["name"]: one for one in facets["schema"]["fields"]}
    assert fields["source_sha256"]["type"] == "string"
    assert "category" in fields
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 2
    assert output["outputFacets"]["outputStatistics"]["size"] > 0
    (materialised,) = [
        one
        for one in ran.result.get_asset_materialization_events()
        if one.asset_key == dg.AssetKey(["shoes", "dataset"])
    ]
    assert facets["version"]["datasetVersion"] == materialised.materialization.tags["dagster/data_version"]
    assert facets["dataSource"]["uri"] == (ran.folder / "store").as_uri()
    (origin,) = facets["columnLineage"]["fields"]["prompt"]["inputFields"]
    assert (origin["name"], origin["field"]) == (f"{ran.folder}/store/datasets/shoes/prompts", "prompt")


def test_what_was_bought_is_reported_in_a_facet_of_its_own(ran: Ran) -> None:
    facet = by_job(ran.events)["shoes.images"][-1]["run"]["facets"]["seedream_generation"]
    jsonschema.validate(facet, json.loads((files("seedream_assets.assets") / "generation_facet.json").read_text()))
    assert (facet["model"], facet["imagesStored"], facet["creditsBooked"]) == ("seedream-4.0", 2, 56)
    assert (facet["costAmount"], facet["costUnit"]) == (56.0, "CREDITS")


def test_checks_are_assertions_on_what_was_written(world: World, written: Any) -> None:
    bad = [*ROWS, {"prompt_id": "bad", "prompt": "a shoe", "width": "5"}]
    assert world.run(world.assets(bad)).success
    (_, end) = by_job(written())["shoes.prompts.checks"]
    assertions = end["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert [(one["assertion"], one["success"], one["severity"]) for one in assertions] == [
        ("no_rejected_rows", False, "warn"),
        ("no_doubtful_settings", True, "warn"),
    ]
    assert end["eventType"] == "COMPLETE"


def test_a_run_that_fails_says_so_with_its_reason(world: World, written: Any) -> None:
    assets = world.assets(ROWS, budget={"max_credits_per_run": 30})
    world.run(assets, "prompts", "generation_requests")
    assert not world.run(assets, "images").success
    end = by_job(written())["shoes.images"][-1]
    assert end["eventType"] == "FAIL"
    assert "1 over budget" in end["run"]["facets"]["errorMessage"]["message"]
    assert end["run"]["facets"]["seedream_generation"]["imagesStored"] == 1
    (world.folder / "prompts.csv").unlink()
    world.run(assets, "prompts")
    assert "there is no file" in by_job(written())["shoes.prompts"][-1]["run"]["facets"]["errorMessage"]["message"]


def test_a_day_has_its_nominal_time(world: World, written: Any) -> None:
    rows = [row | {"day": "2026-11-02"} for row in ROWS]
    assets = world.assets(rows, partitions={"by": "daily", "column": "day", "start": "2026-11-01"})
    world.run(assets, "prompts", partition="2026-11-02")
    window = by_job(written())["shoes.prompts"][0]["run"]["facets"]["nominalTime"]
    assert window["nominalStartTime"].startswith("2026-11-02T00:00:00")
    assert window["nominalEndTime"].startswith("2026-11-03T00:00:00")


def test_nothing_is_reported_where_nothing_is_configured(
    world: World, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
    assert world.run(world.assets(ROWS), "prompts").success
    assert written() == []


@pytest.mark.parametrize(
    "configuration",
    [{"OPENLINEAGE_URL": "http://127.0.0.1:1"}, {"OPENLINEAGE__TRANSPORT": '{"type": "no such transport"}'}],
    ids=["server away", "wrong configuration"],
)
def test_a_server_that_is_away_fails_nothing(
    world: World, configuration: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in configuration.items():
        monkeypatch.setenv(name, value)
    result = world.run(world.assets(ROWS), "prompts")
    assert result.success, failure_of(result)


@pytest.mark.parametrize(
    ("environment", "asked_for"),
    [
        ({}, False),
        ({"OPENLINEAGE_URL": "http://x"}, True),
        ({"OPENLINEAGE_CONFIG": "/x.yml"}, True),
        ({"OPENLINEAGE__TRANSPORT__TYPE": "console"}, True),
        ({"OPENLINEAGE_URL": "http://x", "OPENLINEAGE_DISABLED": "True"}, False),
        ({"OPENLINEAGE_NAMESPACE": "x"}, False),
    ],
)
def test_it_is_asked_for_as_the_client_is_configured(
    environment: dict[str, str], asked_for: bool, tmp_path: Path
) -> None:
    assert lineage_is_configured(environment, (tmp_path,)) is asked_for
    (tmp_path / "openlineage.yml").write_text("transport: {type: console}")
    assert lineage_is_configured(environment, (tmp_path,)) is ("OPENLINEAGE_DISABLED" not in environment)


def test_a_server_that_never_answers_is_not_waited_for() -> None:
    released, taken = threading.Event(), []

    def hang(event: int) -> None:
        released.wait(30)
        taken.append(event)

    outlet = lineage.Outlet(hang)
    began = time.monotonic()
    for number in range(lineage.MOST_WAITING + 50):
        outlet.add(number)
    outlet.close(seconds=0.05)
    assert time.monotonic() - began < 10  # a hang of 30 s per event would be minutes
    assert not taken
    released.set()


def test_an_event_that_fails_does_not_stop_the_next(caplog: pytest.LogCaptureFixture) -> None:
    sent = []

    def emit(event: int) -> None:
        if event < 3:
            raise ConnectionError("away")
        sent.append(event)

    outlet = lineage.Outlet(emit)
    for number in range(5):
        outlet.add(number)
    outlet.close(seconds=10)
    assert sent == [3, 4]
    assert [record.levelname for record in caplog.records if "away" in record.message] == ["WARNING"]
