"""`seedream ledger`: a person settles what no machine may decide."""

import json
import time

import pytest

from seedream_assets.emulator.jobs import Order
from seedream_assets.ledger.by_hand import NotByHand
from seedream_assets_tests.cli.conftest import DATASET, Desk

SOON_GIVEN_UP = "recovery: {settle_images_seconds: 0.5}\n"
GIVES_UP = "leonardo: {give_up_after_seconds: 0.5}\n"
UNCERTAIN = "recovery: {lease_seconds: 1, history_settle_seconds: 0.2}\n"


@pytest.fixture
def uncertain(desk: Desk) -> str:
    """One request whose answer was lost while the history cannot be read; its id."""
    desk.write("prompts.csv", "prompt\nA tea cup\n")
    desk.write("dataset.yaml", DATASET + UNCERTAIN)
    desk.emulator.account.add_fault("create", "drop_after", times=1)
    # A refusal is reported at once; a failure would be waited out.
    desk.emulator.account.add_fault("history", "error_before", status=401, message="access denied")
    summary = desk.run_json("run", str(desk.folder / "dataset.yaml"), exit_code=3)
    assert summary["uncertain"] == 1
    listed = json.loads(desk.run("ledger", "list", "--json").stdout)
    assert [request["prompt"] for request in listed] == ["A tea cup"]
    return str(listed[0]["request_id"])


def test_an_uncertain_request_is_listed_with_what_is_known_of_it(desk: Desk, uncertain: str) -> None:
    printed = desk.run("ledger", "list").stdout
    assert uncertain[:12] in printed
    assert "28 credits" in printed
    assert '"event": "intent"' in desk.run("ledger", "show", uncertain[:10]).stdout


def test_the_ledger_alone_lists_what_needs_a_person_and_what_hangs_on_it(desk: Desk, uncertain: str) -> None:
    printed = desk.run("ledger")
    assert printed.exit_code == 0, printed.output
    assert "1 open request, the oldest since" in printed.stdout
    assert "28 credits held back until it is known whether it was bought" in printed.stdout
    assert "up to 28 credits more if the open request turns out not to be bought" in printed.stdout
    assert desk.run("ledger", "--json").stdout == desk.run("ledger", "list", "--json").stdout
    misplaced = desk.run("ledger", "--json", "list")
    assert (misplaced.exit_code, "after the command" in misplaced.output) == (2, True)


def test_what_an_open_request_may_cost_again_is_the_dearest_price_of_late(desk: Desk, uncertain: str) -> None:
    intent = json.loads((desk.store / "requests" / uncertain / "00-intent.json").read_text(encoding="utf-8"))
    newest = max((desk.store / "datasets" / intent["dataset"] / "budget").glob("*.json"))
    kind = f"{intent['model']} {intent['width']}x{intent['height']}"
    entry = json.loads(newest.read_text(encoding="utf-8")) | {"prices": {kind: [{"credits": 56, "answers_since": 0}]}}
    newest.write_text(json.dumps(entry), encoding="utf-8")
    listed = desk.run("ledger", "list").stdout
    assert "28 credits held back" in listed
    assert "up to 56 credits more" in listed


def test_a_request_that_no_run_can_go_on_with_is_listed_as_held_up(desk: Desk, uncertain: str) -> None:
    folder = desk.store / "requests" / uncertain
    (folder / "00-praised.json").write_text("{}", encoding="utf-8")
    other = desk.store / "requests" / ("f" * 64)
    other.mkdir()
    (other / "00-intent.json").write_text("", encoding="utf-8")
    printed = desk.run("ledger").stdout
    assert f"{uncertain[:12]}  held up: its ledger holds 00-praised.json" in printed
    assert f"{'f' * 12}  held up: " in printed
    rows = json.loads(desk.run("ledger", "--json").stdout)
    assert {row["request_id"] for row in rows} == {uncertain, "f" * 64}
    assert [row["prompt"] for row in rows] == [None, None]


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


def test_request_and_generation_are_shown_side_by_side_and_a_difference_needs_force(desk: Desk, uncertain: str) -> None:
    other = desk.emulator.account.add_web_app_generation(
        Order(
            model="seedream-4.0",
            prompt="Somebody's own picture, which is of something else altogether",
            width=256,
            height=192,
            quantity=1,
            seed=7,
            style_ids=(),
            prompt_enhance="OFF",
            references=(),
            public=False,
        )
    ).generation_id
    refused = desk.run("ledger", "adopt", uncertain, other)
    assert isinstance(refused.exception, NotByHand)
    assert "prompt and seed differ" in str(refused.exception)
    for printed in ("A tea cup", "Somebody's own picture", "size      request 256x192  |  generation 256x192", "time"):
        assert printed in refused.stdout
    assert "is open" in desk.run("ledger", "show", uncertain).stdout
    assert "is submitted" in desk.run("ledger", "adopt", uncertain, other, "--force").stdout
    printed = desk.run("ledger", "retract", uncertain[:10], other, "--reason", "it shows something else").stdout
    assert "is open, attempt 1" in printed
    right = desk.emulator.account.bill(details=True)["details"][0]["generation_id"]
    assert "is submitted" in desk.run("ledger", "adopt", uncertain, right).stdout
    assert desk.run_json("run", str(desk.folder / "dataset.yaml"))["stored"] == 1
    assert desk.emulator.account.bill()["generations"] == 1


@pytest.mark.parametrize("unknown", ["any-text", "00000000-0000-4000-8000-000000000000", " "])
def test_an_id_that_the_account_does_not_know_is_not_adopted(desk: Desk, uncertain: str, unknown: str) -> None:
    refused = desk.run("ledger", "adopt", uncertain, unknown, "--force")
    assert isinstance(refused.exception, NotByHand)
    assert "Leonardo knows no generation" in str(refused.exception)
    assert "is open" in desk.run("ledger", "show", uncertain).stdout


def test_adopting_needs_the_key(desk: Desk, uncertain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generation = desk.emulator.account.bill(details=True)["details"][0]["generation_id"]
    monkeypatch.delenv("LEONARDO_API_KEY")
    assert "set LEONARDO_API_KEY" in str(desk.run("ledger", "adopt", uncertain, generation).exception)


def test_all_open_requests_are_released_at_once(desk: Desk, uncertain: str) -> None:
    assert desk.run("ledger", "release", "--reason", "neither named nor all").exit_code == 2
    assert desk.run("ledger", "release", uncertain, "--all", "--reason", "both").exit_code == 2
    assert "1 of 1 open request released" in desk.run("ledger", "release", "--all", "--reason", "looked").stdout
    assert "0 of 0" in desk.run("ledger", "release", "--all", "--reason", "looked").stdout


def test_images_that_came_late_are_fetched_and_stand_in_the_next_manifest(desk: Desk) -> None:
    dataset = desk.write("dataset.yaml", DATASET + SOON_GIVEN_UP)
    desk.emulator.account.add_fault("create", "late_images", seconds=3, shown="partial", prompt_contains="mug")
    summary = desk.run_json("run", str(dataset))
    assert (summary["stored"], summary["withheld"]) == (2, 1)
    time.sleep(3)
    printed = desk.run("ledger", "recollect").stdout
    assert "1 of 1 image fetched" in printed
    assert "no request ended short" in desk.run("ledger", "recollect").stdout
    summary = desk.run_json("run", str(dataset))
    assert (summary["stored"], summary["withheld"]) == (3, 0)
    assert "no request ended short" in desk.run("ledger", "recollect", "--dataset", str(dataset)).stdout
    assert json.loads(desk.run("ledger", "recollect", "--json").stdout) == []
    assert desk.run("verify", str(dataset), "--deep").exit_code == 0
    assert desk.emulator.account.bill()["generations"] == 2


def test_images_that_cannot_be_fetched_now_are_told_with_an_exit_code(desk: Desk) -> None:
    dataset = desk.write("dataset.yaml", DATASET + SOON_GIVEN_UP)
    desk.emulator.account.add_fault("create", "fewer_images", prompt_contains="mug")
    desk.run_json("run", str(dataset))
    printed = desk.run("ledger", "recollect")
    assert (printed.exit_code, "0 of 1 fetched; 1 still lacking" in printed.stdout) == (0, True)
    desk.emulator.account.add_fault("poll", "error_before", status=401, message="access denied")
    printed = desk.run("ledger", "recollect", "--json")
    (found,) = json.loads(printed.stdout)
    assert (printed.exit_code, found["failed"], found["fetched"]) == (1, True, 0)


def test_a_generation_that_was_deleted_is_ended_by_hand_and_not_bought_again(desk: Desk) -> None:
    dataset = desk.write("dataset.yaml", DATASET + GIVES_UP)
    desk.emulator.account.add_fault("create", "never_ends", prompt_contains="mug")
    desk.run_json("run", str(dataset), exit_code=3)
    (stuck,) = [job for job in desk.emulator.account.bill(details=True)["details"] if job["status"] == "PENDING"]
    key = next((desk.store / "requests").glob(f"*/00-submitted-{stuck['generation_id']}.json"))
    request = key.parent.name
    refused = desk.run("ledger", "end", request[:10], "--reason", "cleaned up")
    assert "a moment ago" in str(refused.exception)
    event = json.loads(key.read_text()) | {"at": "2026-11-01T12:00:00Z"}
    key.unlink()
    key.write_text(json.dumps(event))
    assert "Leonardo knows generation" in str(desk.run("ledger", "end", request, "--reason", "x").exception)
    assert desk.emulator.account.delete(stuck["generation_id"])
    assert "is failed" in desk.run("ledger", "end", request, "--reason", "cleaned up in the account").stdout
    summary = desk.run_json("run", str(dataset))
    assert (summary["stored"], summary["failed"]) == (1, 2)
    assert desk.emulator.account.bill()["generations"] == 2
    assert "deleted in the account: cleaned up" in desk.run("ledger", "show", request).stdout
