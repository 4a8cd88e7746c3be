"""`seedream ledger`: a person settles what no machine may decide."""

import json

import pytest

from seedream_assets.generation.by_hand import NotByHand
from seedream_assets_tests.cli.conftest import Desk

QUICK = "recovery: {lease_seconds: 1, history_settle_seconds: 0.2}\n"


@pytest.fixture
def uncertain(desk: Desk) -> str:
    """One request whose answer was lost while the history cannot be read; its id."""
    desk.write("prompts.csv", "prompt\nA tea cup\n")
    desk.write("dataset.yaml", (desk.folder / "dataset.yaml").read_text() + QUICK)
    desk.emulator.account.add_fault("create", "drop_after", times=1)
    # A refusal is told at once; a fault would be waited out.
    desk.emulator.account.add_fault("history", "error_before", status=401, message="access denied")
    summary = desk.run_json("run", str(desk.folder / "dataset.yaml"), exit_code=3)
    assert summary["uncertain"] == 1
    listed = json.loads(desk.run("ledger", "list", "--json").stdout)
    assert [request["prompt"] for request in listed] == ["A tea cup"]
    return str(listed[0]["request_id"])


def test_an_uncertain_request_is_listed_with_what_is_known_of_it(desk: Desk, uncertain: str) -> None:
    told = desk.run("ledger", "list").stdout
    assert uncertain[:12] in told
    assert "28 credits" in told
    assert '"event": "intent"' in desk.run("ledger", "show", uncertain[:10]).stdout


def test_an_adopted_generation_is_stored_by_the_next_run_and_paid_once(desk: Desk, uncertain: str) -> None:
    generation = desk.emulator.account.bill(details=True)["details"][0]["generation_id"]
    assert "is submitted" in desk.run("ledger", "adopt", uncertain[:10], generation).stdout
    assert desk.run_json("run", str(desk.folder / "dataset.yaml"))["stored"] == 1
    assert desk.emulator.account.bill()["generations"] == 1
    assert "nothing is uncertain" in desk.run("ledger", "list").stdout


def test_a_released_request_is_bought_by_the_next_run(desk: Desk, uncertain: str) -> None:
    assert "is free" in desk.run("ledger", "release", uncertain[:10], "--reason", "not in the account").stdout
    assert desk.run_json("run", str(desk.folder / "dataset.yaml"))["stored"] == 1
    assert desk.emulator.account.bill()["generations"] == 2


def test_what_is_paid_for_is_never_released(desk: Desk, uncertain: str) -> None:
    generation = desk.emulator.account.bill(details=True)["details"][0]["generation_id"]
    desk.run("ledger", "adopt", uncertain, generation)
    refused = desk.run("ledger", "release", uncertain, "--reason", "a mistake")
    assert isinstance(refused.exception, NotByHand)
