"""The bill: what the emulated account was charged for, exactly."""

from __future__ import annotations

import hashlib

import pytest

from seedream_assets_tests.emulator.caller import Caller, make_body
from seedream_assets_tests.emulator.conftest import StartEmulator


def test_an_unused_account_has_an_empty_bill(start: StartEmulator) -> None:
    bill = start(balance_credits=500).bill()

    assert (bill["credits"], bill["generations"], bill["images"], bill["duplicates"]) == (0, 0, 0, 0)
    assert (bill["balance_credits"], bill["slot_use"], bill["first_create"], bill["details"]) == (500, 0.0, None, [])


def test_the_bill_adds_up_every_image_of_every_generation(caller: Caller) -> None:
    caller.create("A mug", quantity=2)
    caller.create("A cup", quantity=3)
    bill = caller.bill()

    assert (bill["credits"], bill["generations"], bill["images"]) == (5 * 28, 2, 5)
    assert bill["balance_credits"] == caller.account.settings.balance_credits - 5 * 28


def test_a_line_of_the_bill_says_what_was_bought_and_with_which_key(caller: Caller) -> None:
    generation_id = caller.create_id("A mug", quantity=2, seed=7, width=96, height=64)
    caller.generation(generation_id)
    caller.bare.get(caller.image_urls(generation_id)[1])
    line = caller.bill()["details"][0]

    assert line["generation_id"] == generation_id
    assert line["prompt"] == "A mug"
    assert (line["width"], line["height"], line["seed"], line["quantity"], line["credits"]) == (96, 64, 7, 2, 56)
    assert (line["answered"], line["polls"], line["downloads"], line["status"]) == (True, 2, {"1": 1}, "COMPLETE")
    assert line["created_at"] == "2026-11-22T09:14:03.512"
    assert line["key"] == hashlib.sha256(caller.emulator.key.encode()).hexdigest()[:12]
    assert caller.emulator.key not in str(caller.bill())


def test_a_second_generation_of_one_request_is_a_duplicate(caller: Caller) -> None:
    for _ in range(3):
        caller.create("A mug", seed=7)

    assert caller.bill()["duplicates"] == 2
    assert list(caller.bill()["by_request"].values()) == [3]


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "A cup"},
        {"seed": 8},
        {"width": 65},
        {"height": 65},
        {"quantity": 2},
        {"model": "seedream-4.5"},
        {"style_ids": ["556c1ee5-ec38-42e8-955a-1e82dad0ffa1"]},
        {"prompt_enhance": "OFF"},
        {"guidances": {"image_reference": [{"image": {"type": "URL", "url": "https://example.org/a.jpg"}}]}},
    ],
    ids=str,
)
def test_a_request_that_differs_in_anything_is_no_duplicate(caller: Caller, other: dict[str, object]) -> None:
    same: dict[str, object] = {"prompt": "A mug", "seed": 7}
    for parameters in (same, {**same, **other}):
        caller.http.post("/v2/generations", json=make_body(**parameters))  # type: ignore[arg-type]

    assert caller.bill()["generations"] == 2
    assert caller.bill()["duplicates"] == 0


def test_spelling_out_a_default_does_not_hide_a_duplicate(caller: Caller) -> None:
    caller.create("A mug", seed=7)
    caller.create("A mug", seed=7, quantity=1, prompt_enhance="AUTO", guidances={})

    assert caller.bill()["duplicates"] == 1


def test_every_kind_of_request_is_counted(caller: Caller) -> None:
    generation_id = caller.create_id()
    caller.bare.get(caller.image_urls(generation_id)[0])
    caller.history()
    caller.http.get("/v1/me")
    caller.upload(caller.upload_form(), b"\xff\xd8\xff")
    caller.create(quantity=99)
    bill = caller.bill()

    assert bill["requests"] == {
        "creates": 2,
        "polls": 1,
        "history": 1,
        "me": 1,
        "init_images": 1,
        "uploads": 1,
        "downloads": 1,
    }
    assert bill["invalid_creates"] == 1


def test_slot_use_is_busy_time_over_possible_time(start: StartEmulator) -> None:
    caller = start(slots=2, latency_seconds=10, latency_sigma=0)
    for number in range(3):
        caller.create(f"prompt {number}")
    caller.clock.advance(100)
    bill = caller.bill()

    # Two slots for 20 s could have done 40 slot-seconds; three generations of 10 s did 30.
    assert bill["slot_use"] == pytest.approx(0.75)
    assert bill["last_completion"] - bill["first_create"] == pytest.approx(20)


def test_slot_use_counts_idle_time_between_creates(start: StartEmulator) -> None:
    caller = start(slots=1, latency_seconds=10, latency_sigma=0)
    caller.create("one")
    caller.clock.advance(30)
    caller.create("two")
    caller.clock.advance(5)

    # Half of the second generation is done: 15 busy seconds of 35.
    assert caller.bill()["slot_use"] == pytest.approx(15 / 35)
    caller.clock.advance(50)
    assert caller.bill()["slot_use"] == pytest.approx(20 / 40)


def test_the_bill_is_public_and_details_are_on_request(caller: Caller) -> None:
    caller.create()

    short, long = (caller.bare.get("/emulator/bill").json(), caller.bare.get("/emulator/bill?details=1").json())

    assert "details" not in short
    assert len(long["details"]) == 1
    assert long == caller.bill()


def test_polls_are_counted_per_generation(caller: Caller) -> None:
    busy, quiet = caller.create_id("A mug"), caller.create_id("A cup")
    for _ in range(3):
        caller.poll(busy)
    caller.poll(quiet)

    assert [line["polls"] for line in caller.bill()["details"]] == [3, 1]
    assert caller.bill()["polls_per_generation"] == 2.0
