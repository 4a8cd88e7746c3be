"""Limits, slots and money of the emulated account."""

from __future__ import annotations

import pytest

from seedream_assets.emulator.jobs import Order
from seedream_assets.emulator.settings import (
    BLOCKED_MARKER,
    FAILED_MARKER,
    NSFW_MARKER,
    STUCK_MARKER,
    WITHHELD_MARKER,
    EmulatorSettings,
)
from seedream_assets_tests.emulator import documented_schemas as documented
from seedream_assets_tests.emulator.caller import Caller
from seedream_assets_tests.emulator.conftest import StartEmulator
from seedream_assets_tests.emulator.documented_schemas import assert_documented


def test_more_creates_than_the_minute_allows_are_answered_429(start: StartEmulator) -> None:
    caller = start(creates_per_minute=3)
    statuses = [caller.create().status_code for _ in range(4)]
    caller.clock.advance(59)
    too_early = caller.create()
    caller.clock.advance(2)

    assert statuses == [200, 200, 200, 429]
    assert_documented(too_early.json(), documented.FLAT_ERROR)
    assert "retry-after" not in too_early.headers
    assert caller.create().status_code == 200
    assert (caller.bill()["generations"], caller.bill()["rate_limited"]) == (4, 2)


def test_more_requests_than_the_minute_allows_are_answered_429(start: StartEmulator) -> None:
    caller = start(requests_per_minute=2)

    assert [caller.http.get("/v1/me").status_code for _ in range(3)] == [200, 200, 429]
    assert caller.create().status_code == 429
    assert caller.bill()["generations"] == 0


def test_a_429_can_say_when_to_come_back(start: StartEmulator) -> None:
    caller = start(creates_per_minute=1, retry_after_header=True)
    caller.create()
    caller.clock.advance(20.5)

    assert caller.create().headers["retry-after"] == "40"


def test_a_limit_of_0_is_no_limit(start: StartEmulator) -> None:
    caller = start(creates_per_minute=0, requests_per_minute=0)

    assert {caller.create().status_code for _ in range(120)} == {200}


def test_slots_are_given_first_come_first_served(start: StartEmulator) -> None:
    caller = start(slots=2, latency_seconds=10, latency_sigma=0)
    ids = [caller.create_id(f"prompt {number}") for number in range(5)]

    def statuses() -> str:
        return "".join(caller.generation(identity)["status"][0] for identity in ids)

    assert statuses() == "PPPPP"
    caller.clock.advance(10.1)
    assert statuses() == "CCPPP"
    caller.clock.advance(10.1)
    assert statuses() == "CCCCP"
    caller.clock.advance(10.1)
    assert statuses() == "CCCCC"


def test_a_full_queue_is_answered_429_until_something_ends(start: StartEmulator) -> None:
    caller = start(slots=1, pending_limit=3, latency_seconds=10, latency_sigma=0)
    accepted = [caller.create().status_code for _ in range(4)]
    caller.clock.advance(10.1)

    assert accepted == [200, 200, 200, 429]
    assert caller.create().status_code == 200
    assert caller.bill()["generations"] == 4


def test_a_generation_is_charged_when_it_is_accepted(start: StartEmulator) -> None:
    caller = start(balance_credits=1000, latency_seconds=100)
    caller.create(quantity=3)

    assert caller.account.balance_credits() == 1000 - 3 * 28


def test_what_the_balance_cannot_pay_is_answered_402(start: StartEmulator) -> None:
    caller = start(balance_credits=60)
    too_much = caller.create(quantity=3)
    enough = caller.create(quantity=2)

    assert too_much.status_code == 402
    assert too_much.json()["error"] == "Insufficient balance"
    assert_documented(too_much.json(), documented.FLAT_ERROR)
    assert_documented(enough.json(), documented.ACCEPTED)
    assert caller.account.balance_credits() == 4
    caller.account.top_up(28)
    assert caller.create().status_code == 200


def test_a_prompt_with_a_blocked_word_is_refused_with_an_object_and_status_200(caller: Caller) -> None:
    answer = caller.create(f"A mug, {BLOCKED_MARKER.upper()}")

    assert answer.status_code == 200
    assert_documented(answer.json(), documented.OBJECT_ERROR)
    assert answer.json()["errors"][0]["message"] == f"content moderation filter: {BLOCKED_MARKER}"
    assert (caller.bill()["credits"], caller.bill()["blocked"], caller.history()) == (0, 1, [])


def test_a_failed_generation_shows_its_moderation_and_is_refunded(start: StartEmulator) -> None:
    caller = start(balance_credits=100, latency_seconds=10, latency_sigma=0)
    generation_id = caller.create_id(f"A mug, {FAILED_MARKER}")
    charged = caller.account.balance_credits()
    assert caller.generation(generation_id)["prompt_moderations"] == [{"moderationClassification": []}]
    caller.clock.advance(11)

    polled = caller.poll(generation_id)

    assert_documented(polled.json(), documented.POLLED)
    assert polled.json()["generations_by_pk"]["status"] == "FAILED"
    assert polled.json()["generations_by_pk"]["prompt_moderations"] == [{"moderationClassification": ["NSFW"]}]
    assert (charged, caller.account.balance_credits()) == (72, 100)
    bill = caller.bill()
    assert (bill["credits"], bill["refunded"], bill["net_credits"]) == (28, 28, 0)


def test_a_flagged_image_is_still_served(caller: Caller) -> None:
    images = caller.generation(caller.create_id(f"A mug, {NSFW_MARKER}", quantity=2))["generated_images"]

    assert [image["nsfw"] for image in images] == [True, True]
    assert caller.bare.get(images[0]["url"]).headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(("quantity", "left"), [(3, ["-1.jpg", "-2.jpg"]), (1, [])])
def test_withheld_images_are_missing_from_a_complete_generation(caller: Caller, quantity: int, left: list[str]) -> None:
    generation_id = caller.create_id(WITHHELD_MARKER, quantity=quantity)

    assert caller.generation(generation_id)["status"] == "COMPLETE"
    assert [url[-6:] for url in caller.image_urls(generation_id)] == left
    assert caller.bill()["credits"] == quantity * 28


def test_a_stuck_generation_stays_pending_for_ever(caller: Caller) -> None:
    generation_id = caller.create_id(STUCK_MARKER)
    caller.clock.advance(1e6)

    assert caller.generation(generation_id)["status"] == "PENDING"


def test_the_history_can_hold_generations_that_were_made_elsewhere(caller: Caller) -> None:
    order = Order("seedream-4.0", "A mug", 64, 64, 1, 7, (), "OFF", (), public=True)
    job = caller.account.add_web_app_generation(order)

    assert [line["id"] for line in caller.history()] == [job.generation_id]
    assert caller.bill()["generations"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"slots": 0},
        {"slots": True},
        {"pending_limit": 0},
        {"creates_per_minute": -1},
        {"latency_seconds": -0.1},
        {"latency_seconds": float("nan")},
        {"balance_credits": -1},
        {"history_limit": 0},
        {"picture_bytes": 10},
        {"keys": ("secret",)},
        {"user_id": "me"},
        {"answer_shape": "xml"},
        {"cost_unit": "EUROS"},
    ],
    ids=str,
)
def test_settings_that_no_account_could_have_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))) as refused:
        EmulatorSettings(**wrong)  # type: ignore[arg-type]
    assert "secret" not in str(refused.value)
