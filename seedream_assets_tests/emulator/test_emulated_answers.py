"""The emulator answers what the vendor documents, with the quirks that were seen live."""

from __future__ import annotations

import json
import time
import uuid

import pytest

from seedream_assets.emulator.settings import DEMO_KEY
from seedream_assets_tests.emulator import documented_schemas as documented
from seedream_assets_tests.emulator.caller import Caller, make_body
from seedream_assets_tests.emulator.conftest import StartEmulator
from seedream_assets_tests.emulator.documented_schemas import assert_documented

UNKNOWN_ID = "1f0fb8d1-bad7-6b40-bbb4-933578065d27"


def test_a_create_is_answered_in_the_nested_shape_that_was_seen_live(caller: Caller) -> None:
    answer = caller.create(quantity=2)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert_documented(answer.json(), documented.ACCEPTED)
    assert answer.json()["generate"]["apiCreditCost"] is None
    assert answer.json()["generate"]["cost"] == {"amount": "56", "unit": "CREDITS"}


@pytest.mark.parametrize(
    ("shape", "schema"), [("flat", documented.ACCEPTED_FLAT), ("legacy", documented.ACCEPTED_LEGACY)]
)
def test_the_documented_shapes_can_be_asked_for(start: StartEmulator, shape: str, schema: documented.Schema) -> None:
    assert_documented(start(answer_shape=shape).create().json(), schema)


def test_a_pay_as_you_go_account_is_charged_in_dollars(start: StartEmulator) -> None:
    cost = start(cost_unit="DOLLARS").create().json()["generate"]["cost"]

    assert cost == {"amount": "0.0419", "unit": "DOLLARS"}


def test_a_generation_id_is_a_uuid_6_that_carries_its_creation_time(caller: Caller) -> None:
    identity = uuid.UUID(caller.create_id())

    ticks = (identity.time_low << 28) | (identity.time_mid << 12) | (identity.time_hi_version & 0x0FFF)
    assert identity.version == 6
    assert (ticks - 0x01B21DD213814000) / 1e7 == pytest.approx(caller.clock.now, abs=1e-3)


def test_a_pending_generation_has_no_images_and_a_complete_one_has_all(start: StartEmulator) -> None:
    caller = start(latency_seconds=5, latency_sigma=0)
    generation_id = caller.create_id(quantity=3, seed=7)

    pending = caller.poll(generation_id)
    caller.clock.advance(4.9)
    still_pending = caller.generation(generation_id)
    caller.clock.advance(0.2)
    complete = caller.poll(generation_id)

    assert pending.status_code == complete.status_code == 200
    assert_documented(pending.json(), documented.POLLED)
    assert_documented(complete.json(), documented.POLLED)
    assert pending.json()["generations_by_pk"]["generated_images"] == []
    assert still_pending["status"] == "PENDING"
    assert complete.json()["generations_by_pk"]["status"] == "COMPLETE"
    assert len(complete.json()["generations_by_pk"]["generated_images"]) == 3


def test_a_poll_echoes_the_request_and_a_time_without_a_zone(caller: Caller) -> None:
    generation = caller.generation(caller.create_id("A mug", width=96, height=64, seed=7))

    assert (generation["prompt"], generation["imageWidth"], generation["imageHeight"]) == ("A mug", 96, 64)
    assert (generation["seed"], generation["public"]) == (7, False)
    assert generation["createdAt"] == "2026-11-22T09:14:03.512"


def test_a_seed_is_made_up_when_none_was_sent(caller: Caller) -> None:
    assert 0 <= caller.generation(caller.create_id())["seed"] <= 2147483638


def test_an_image_url_carries_user_generation_model_prompt_and_index(caller: Caller) -> None:
    generation_id = caller.create_id("Blue mug, pale stone!", quantity=2)

    assert [url.removeprefix(caller.emulator.base_url) for url in caller.image_urls(generation_id)] == [
        f"/cdn/users/{caller.account.settings.user_id}/generations/{generation_id}"
        f"/seedream-4.0_Blue_mug_pale_stone-{index}.jpg"
        for index in (0, 1)
    ]


def test_images_can_be_listed_out_of_order(start: StartEmulator) -> None:
    caller = start(shuffled_images=True)
    orders = [[url[-5] for url in caller.image_urls(caller.create_id(quantity=8))] for _ in range(4)]

    assert all(sorted(order) == list("01234567") for order in orders)
    assert any(order != sorted(order) for order in orders)


def test_an_unknown_generation_is_null_with_status_200(caller: Caller) -> None:
    answer = caller.poll(UNKNOWN_ID)

    assert (answer.status_code, answer.json()) == (200, {"generations_by_pk": None})


def test_a_generation_id_that_is_no_uuid_is_a_flat_error(caller: Caller) -> None:
    answer = caller.poll("42")

    assert answer.status_code == 400
    assert_documented(answer.json(), documented.FLAT_ERROR)


def test_a_deleted_generation_is_gone_and_stays_paid(caller: Caller) -> None:
    generation_id = caller.create_id()
    url = caller.image_urls(generation_id)[0]

    assert caller.account.delete(generation_id)
    assert caller.account.delete(generation_id) is None
    assert caller.poll(generation_id).json() == {"generations_by_pk": None}
    assert caller.history() == []
    assert caller.bare.get(url).status_code == 404
    assert caller.bill()["credits"] == 28


def test_me_reports_the_balance_in_credits_and_the_slots(start: StartEmulator) -> None:
    caller = start(balance_credits=100, slots=3)
    caller.create(quantity=2)

    answer = caller.http.get("/v1/me")

    assert_documented(answer.json(), documented.ME)
    details = answer.json()["user_details"][0]
    assert (details["apiPaidTokens"], details["apiConcurrencySlots"]) == (44, 3)


def test_history_lists_every_generation_newest_first(caller: Caller) -> None:
    made = []
    for number in range(12):
        made.append(caller.create_id(f"prompt {number}"))
        caller.clock.advance(1)

    first_page = caller.http.get(f"/v1/generations/user/{caller.account.settings.user_id}")

    assert_documented(first_page.json(), documented.HISTORY)
    assert [job["id"] for job in first_page.json()["generations"]] == made[::-1][:10]
    assert [job["id"] for job in caller.history(offset=10, limit=10)] == made[::-1][10:]
    assert caller.history(offset=99, limit=10) == []


def test_a_history_page_is_cut_to_the_limit_without_a_word(start: StartEmulator) -> None:
    caller = start(history_limit=3)
    for _ in range(5):
        caller.create()

    assert len(caller.history(limit=50)) == 3


def test_a_new_generation_may_show_in_the_history_only_later(start: StartEmulator) -> None:
    caller = start(history_lag_seconds=30)
    generation_id = caller.create_id()

    caller.clock.advance(29)
    before = caller.history()
    caller.clock.advance(2)

    assert before == []
    assert [job["id"] for job in caller.history()] == [generation_id]
    assert caller.generation(generation_id)["status"] == "COMPLETE"


def test_nobody_elses_history_can_be_read(caller: Caller) -> None:
    caller.create()

    assert caller.http.get(f"/v1/generations/user/{UNKNOWN_ID}").json() == {"generations": []}


def test_history_refuses_paging_that_is_no_number(caller: Caller) -> None:
    answer = caller.http.get(f"/v1/generations/user/{caller.account.settings.user_id}?limit=ten")

    assert answer.status_code == 400
    assert_documented(answer.json(), documented.FLAT_ERROR)


@pytest.mark.parametrize("path", ["/v2/generations/" + UNKNOWN_ID, "/v1/nope", "/api/rest/v2/generations/x"])
def test_a_version_answers_endpoint_not_found_for_what_it_does_not_have(caller: Caller, path: str) -> None:
    answer = caller.http.get(path)

    assert answer.status_code == 404
    assert answer.json()["error"] == "Endpoint not found"
    assert_documented(answer.json(), documented.FLAT_ERROR)


def test_creating_on_v1_is_not_possible(caller: Caller) -> None:
    assert caller.http.post("/v1/generations", json=make_body()).json()["error"] == "Endpoint not found"


@pytest.mark.parametrize("path", ["/", "/generations", "/api/v1/me", "/api/rest/me"])
def test_a_wrong_path_is_an_html_403(caller: Caller, path: str) -> None:
    answer = caller.http.get(path)

    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("text/html")


def test_everything_is_also_below_the_vendors_own_prefix(caller: Caller) -> None:
    created = caller.http.post("/api/rest/v2/generations", json=make_body())
    generation_id = created.json()["generate"]["generationId"]

    assert caller.http.get(f"/api/rest/v1/generations/{generation_id}").json()["generations_by_pk"]["id"]
    assert caller.http.get("/api/rest/v1/me").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        ({}, 401, "Authentication hook unauthorized this request"),
        ({"Authorization": "Basic eDp5"}, 401, "Authentication hook unauthorized this request"),
        ({"Authorization": "Bearer 99999999-5eed-4ea0-8000-00000000c0de"}, 401, "unauthorized"),
        ({"Authorization": "Bearer not-a-uuid"}, 500, "Invalid response from authorization hook"),
    ],
)
def test_a_wrong_key_is_refused(start: StartEmulator, headers: dict[str, str], status: int, text: str) -> None:
    caller = start(keys=(DEMO_KEY,))

    answer = caller.bare.post("/v2/generations", json=make_body(), headers=headers)

    assert answer.status_code == status
    assert text in answer.json()["error"]
    assert answer.json()["code"] == ("access-denied" if status == 401 else "unexpected")
    assert_documented(answer.json(), documented.FLAT_ERROR)
    assert caller.bill()["generations"] == 0


def test_any_well_formed_key_opens_an_account_without_a_list(caller: Caller) -> None:
    key = "00000000-0000-4000-8000-000000000001"

    assert caller.bare.get("/v1/me", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    assert caller.emulator.key == DEMO_KEY


def test_a_body_that_is_no_json_is_a_flat_error(caller: Caller) -> None:
    for body in (b"{", b"", b'{"model": NaN}'):
        answer = caller.http.post("/v2/generations", content=body)
        assert answer.status_code == 400
        assert_documented(answer.json(), documented.FLAT_ERROR)


def test_latencies_are_log_normal_around_the_median_and_repeatable(start: StartEmulator) -> None:
    def latencies() -> list[float]:
        caller = start(latency_seconds=10, latency_sigma=0.4, slots=100, random_seed=5)
        for number in range(41):
            caller.create(f"prompt {number}")
        caller.clock.advance(1000)
        return [line["ended"] - line["started"] for line in caller.bill()["details"]]

    once = latencies()

    assert once == latencies()
    assert len(set(once)) == len(once)
    assert 7 < sorted(once)[20] < 14


def test_the_control_page_can_be_read_by_people(caller: Caller) -> None:
    caller.create("<b>bold</b>")

    page = caller.bare.get("/emulator")

    assert page.headers["content-type"].startswith("text/html")
    assert "slot use" in page.text
    assert "/cdn/users/" in page.text
    assert "<b>bold" not in page.text


def test_polls_are_quick_enough_for_a_busy_account(caller: Caller) -> None:
    generation_id = caller.create_id()
    began = time.perf_counter()
    for _ in range(100):
        caller.poll(generation_id)

    # About 0.05 s alone on a core; the bound only catches a handler that has become heavy.
    assert time.perf_counter() - began < 2.0
    assert json.loads(caller.bare.get("/emulator/bill").text)["requests"]["polls"] == 100
