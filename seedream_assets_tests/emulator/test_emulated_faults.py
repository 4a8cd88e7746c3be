"""Every scripted fault: what the caller sees of it, and whether it costs money."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from seedream_assets.emulator.faults import KINDS, OPERATIONS, Fault, FaultScript
from seedream_assets_tests.emulator import documented_schemas as documented
from seedream_assets_tests.emulator.caller import Caller
from seedream_assets_tests.emulator.documented_schemas import assert_documented

NOTHING_BILLED, ONE_BILLED = 0, 1


def billed(caller: Caller) -> int:
    return int(caller.bill()["generations"])


@pytest.mark.parametrize(("kind", "expected"), [("drop_before", NOTHING_BILLED), ("drop_after", ONE_BILLED)])
def test_a_dropped_create_closes_the_connection_and_is_billed_only_after(
    caller: Caller, kind: str, expected: int
) -> None:
    caller.account.add_fault("create", kind, times=1)

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        caller.create()

    assert billed(caller) == expected
    assert caller.bill()["unanswered"] == expected
    assert caller.create().status_code == 200


@pytest.mark.parametrize(("kind", "expected"), [("error_before", NOTHING_BILLED), ("error_after", ONE_BILLED)])
def test_a_server_error_looks_the_same_before_and_after_billing(caller: Caller, kind: str, expected: int) -> None:
    caller.account.add_fault("create", kind, times=1, status=503, message="Service Error")

    answer = caller.create()

    assert answer.status_code == 503
    assert answer.json()["error"] == "Service Error"
    assert_documented(answer.json(), documented.FLAT_ERROR)
    assert billed(caller) == expected


@pytest.mark.parametrize(("kind", "expected"), [("html", NOTHING_BILLED), ("html_after", ONE_BILLED)])
def test_a_proxy_may_answer_with_html(caller: Caller, kind: str, expected: int) -> None:
    caller.account.add_fault("create", kind, times=1)

    answer = caller.create()

    assert answer.status_code == 502
    assert answer.headers["content-type"].startswith("text/html")
    assert billed(caller) == expected


@pytest.mark.parametrize("retry_after", [None, 7])
def test_a_scripted_429_is_not_billed(caller: Caller, retry_after: int | None) -> None:
    caller.account.add_fault("create", "rate_limit", times=1, retry_after=retry_after)

    answer = caller.create()

    assert answer.status_code == 429
    assert_documented(answer.json(), documented.FLAT_ERROR)
    assert answer.headers.get("retry-after") == (None if retry_after is None else "7")
    assert billed(caller) == NOTHING_BILLED
    assert caller.bill()["rate_limited"] == 1


def test_an_empty_answer_has_been_billed(caller: Caller) -> None:
    caller.account.add_fault("create", "empty", times=1)
    answer = caller.create()

    assert (answer.status_code, answer.content) == (200, b"")
    assert billed(caller) == ONE_BILLED
    assert caller.bill()["unanswered"] == 1


@pytest.mark.parametrize("content", ["OK", 7, None, [], ["x"]], ids=str)
def test_an_answer_may_be_json_that_is_no_object(caller: Caller, content: object) -> None:
    caller.account.add_fault("create", "not_object", times=1, json=content)

    assert caller.create().json() == content
    assert billed(caller) == ONE_BILLED


@pytest.mark.parametrize(("kind", "expected"), [("hang_before", NOTHING_BILLED), ("hang", ONE_BILLED)])
def test_a_hanging_create_never_answers_and_may_have_been_billed(caller: Caller, kind: str, expected: int) -> None:
    caller.account.add_fault("create", kind, times=1)

    with pytest.raises(httpx.ReadTimeout):
        caller.http.post("/v2/generations", json={**_body()}, timeout=0.15)

    assert billed(caller) == expected
    assert caller.create().status_code == 200


def test_a_hanging_request_is_dropped_in_the_end(caller: Caller) -> None:
    caller.account.add_fault("poll", "hang", times=1, seconds=0.05)

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        caller.poll("1f0fb8d1-bad7-6b40-bbb4-933578065d27")


def test_a_slow_create_is_billed_at_once_and_answered_late(caller: Caller) -> None:
    caller.account.add_fault("create", "slow", times=2, seconds=0.2)
    began = time.perf_counter()
    answer = caller.create()
    took_seconds = time.perf_counter() - began
    with pytest.raises(httpx.ReadTimeout):
        caller.http.post("/v2/generations", json=_body(), timeout=0.05)

    assert took_seconds >= 0.2
    assert_documented(answer.json(), documented.ACCEPTED)
    assert billed(caller) == 2
    time.sleep(0.3)
    assert [line["answered"] for line in caller.bill()["details"]] == [True, False]


def test_a_late_create_is_accepted_after_its_caller_has_gone(caller: Caller) -> None:
    caller.account.add_fault("create", "slow_before", times=1, seconds=0.3)
    with pytest.raises(httpx.ReadTimeout):
        caller.http.post("/v2/generations", json=_body(), timeout=0.05)
    at_once = billed(caller)

    _wait_until(lambda: billed(caller) == 1)
    assert at_once == 0
    assert len(caller.history()) == 1
    assert caller.bill()["unanswered"] == 1


def test_a_cut_answer_promises_more_than_it_sends(caller: Caller) -> None:
    caller.account.add_fault("create", "cut", times=1)

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        caller.create()

    assert billed(caller) == ONE_BILLED


def test_a_redirect_leads_to_another_host_where_a_key_would_be_noticed(caller: Caller) -> None:
    caller.account.add_fault("me", "redirect", times=2)
    answer = caller.http.get("/v1/me")
    port = httpx.URL(caller.emulator.base_url).port

    assert answer.status_code == 302
    assert answer.headers["location"] == f"http://localhost:{port}/cdn/elsewhere"
    caller.http.get(answer.headers["location"])  # an explicit second request with the key is a leak
    assert caller.bill()["auth_leaks"] == 1


def test_a_redirect_can_lead_anywhere(caller: Caller) -> None:
    caller.account.add_fault("create", "redirect", status=307, location="https://example.org/x")
    answer = caller.create()

    assert (answer.status_code, answer.headers["location"]) == (307, "https://example.org/x")
    assert billed(caller) == NOTHING_BILLED


@pytest.mark.parametrize(
    ("shape", "status", "schema"),
    [
        ("object", 200, documented.OBJECT_ERROR),
        ("array", 200, documented.ARRAY_ERROR),
        ("flat", 403, documented.FLAT_ERROR),
    ],
)
def test_a_blocked_prompt_may_come_in_any_envelope(
    caller: Caller, shape: str, status: int, schema: documented.Schema
) -> None:
    caller.account.add_fault("create", "blocked", times=1, shape=shape)

    answer = caller.create()

    assert answer.status_code == status
    assert_documented(answer.json(), schema)
    assert "content moderation filter: blocked by the fault script" in answer.text
    assert billed(caller) == NOTHING_BILLED


@pytest.mark.parametrize("moderation", [[], ["NSFW"]], ids=str)
def test_a_generation_may_fail_with_or_without_a_moderation(caller: Caller, moderation: list[str]) -> None:
    caller.account.add_fault("create", "failed", times=1, moderation=moderation)
    generation = caller.generation(caller.create_id())

    assert (generation["status"], generation["generated_images"]) == ("FAILED", [])
    assert generation["prompt_moderations"] == [{"moderationClassification": moderation}]
    assert caller.bill()["refunded"] == 28


def test_a_generation_may_be_flagged_though_its_prompt_is_harmless(caller: Caller) -> None:
    caller.account.add_fault("create", "nsfw", times=1)
    generation = caller.generation(caller.create_id())

    assert generation["generated_images"][0]["nsfw"] is True
    assert generation["prompt_moderations"] == [{"moderationClassification": []}]


@pytest.mark.parametrize(("given", "left"), [({}, 3), ({"images": 1}, 1), ({"images": 0}, 0)], ids=str)
def test_a_generation_may_have_fewer_images(caller: Caller, given: dict[str, Any], left: int) -> None:
    caller.account.add_fault("create", "fewer_images", times=1, **given)

    assert len(caller.image_urls(caller.create_id(quantity=4))) == left
    assert (caller.bill()["images"], caller.bill()["images_available"]) == (4, left)


def test_a_generation_may_never_end(caller: Caller) -> None:
    caller.account.add_fault("create", "never_ends", times=1)
    generation_id = caller.create_id()
    caller.clock.advance(1e6)

    assert caller.generation(generation_id)["status"] == "PENDING"
    assert caller.bill()["statuses"] == {"PENDING": 1}


def test_a_poll_may_not_find_what_exists(caller: Caller) -> None:
    generation_id = caller.create_id()
    caller.account.add_fault("poll", "not_found", times=1)

    assert caller.poll(generation_id).json() == {"generations_by_pk": None}
    assert caller.generation(generation_id)["status"] == "COMPLETE"


def image_url(caller: Caller) -> str:
    return caller.image_urls(caller.create_id(width=256, height=256))[0]


def test_a_download_may_not_be_found(caller: Caller) -> None:
    url = image_url(caller)
    caller.account.add_fault("download", "not_found", times=1)

    assert [caller.bare.get(url).status_code for _ in range(2)] == [404, 200]


def test_a_download_may_break_off_in_the_middle(caller: Caller) -> None:
    url = image_url(caller)
    caller.account.add_fault("download", "cut", times=1)

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        caller.bare.get(url)
    assert caller.bill()["images_downloaded"] == 0
    assert caller.bare.get(url).status_code == 200
    assert caller.bill()["images_downloaded"] == 1


def test_an_image_may_be_truncated_in_a_correct_answer(caller: Caller) -> None:
    url = image_url(caller)
    caller.account.add_fault("download", "truncated_image", times=1)

    answer = caller.bare.get(url)

    assert int(answer.headers["content-length"]) == len(answer.content)
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(answer.content)).load()
    assert caller.bill()["images_downloaded"] == 0


@pytest.mark.parametrize(
    ("content", "type_", "begins"),
    [("html", "text/html", b"<!DOCTYPE"), ("png", "image/png", b"\x89PNG"), ("text", "text/plain", b"The image")],
)
def test_something_else_may_come_instead_of_an_image(caller: Caller, content: str, type_: str, begins: bytes) -> None:
    url = image_url(caller)
    caller.account.add_fault("download", "wrong_type", times=1, content=content)

    answer = caller.bare.get(url)

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(type_)
    assert answer.content.startswith(begins)


@pytest.mark.parametrize("declared", [True, False])
def test_an_image_may_be_far_too_long(caller: Caller, declared: bool) -> None:
    url = image_url(caller)
    caller.account.add_fault("download", "oversize", times=1, body_bytes=3_000_000, declared=declared)

    answer = caller.bare.get(url)

    assert len(answer.content) == 3_000_000
    assert ("content-length" in answer.headers) == declared


def test_an_upload_may_fail_like_anything_else(caller: Caller) -> None:
    caller.account.add_fault("init_image", "error_before", times=1)
    assert caller.http.post("/v1/init-image", json={"extension": "jpg"}).status_code == 500
    form = caller.upload_form()
    caller.account.add_fault("upload", "drop_before", times=1)

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)):
        caller.upload(form, b"\xff\xd8\xff")
    assert caller.upload(form, b"\xff\xd8\xff").status_code == 204


def test_history_and_me_can_be_made_unreadable(caller: Caller) -> None:
    caller.account.add_fault("history", "not_object")
    caller.account.add_fault("me", "error_before")

    assert caller.http.get(f"/v1/generations/user/{caller.account.settings.user_id}").json() == "OK"
    assert caller.http.get("/v1/me").status_code == 500


def test_every_kind_can_be_scripted_for_every_operation_it_names() -> None:
    for name, kind in KINDS.items():
        assert set(kind.operations) <= set(OPERATIONS)
        for operation in kind.operations:
            written = Fault(operation=operation, kind=name).to_json()
            assert {parameter: written[parameter] for parameter in kind.parameters} == kind.parameters


@pytest.mark.parametrize("operation", ["poll", "history", "me", "init_image"])
def test_every_api_operation_can_be_dropped(caller: Caller, operation: str) -> None:
    caller.account.add_fault(operation, "drop_after", times=1)
    generation_id, user_id = caller.create_id(), caller.account.settings.user_id
    method, path, body = {
        "poll": ("GET", f"/v1/generations/{generation_id}", None),
        "history": ("GET", f"/v1/generations/user/{user_id}", None),
        "me": ("GET", "/v1/me", None),
        "init_image": ("POST", "/v1/init-image", {"extension": "jpg"}),
    }[operation]

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        caller.http.request(method, path, json=body)
    assert caller.http.request(method, path, json=body).status_code == 200


# ---- Which call is struck


def test_faults_strike_the_next_calls_only_as_often_as_asked(caller: Caller) -> None:
    caller.account.add_fault("me", "error_before", times=2, skip=1)

    assert [caller.http.get("/v1/me").status_code for _ in range(5)] == [200, 500, 500, 200, 200]


def test_the_first_fault_that_strikes_is_the_only_one(caller: Caller) -> None:
    caller.account.add_fault("me", "error_before", times=1, status=500)
    caller.account.add_fault("me", "error_before", times=1, status=503)

    assert [caller.http.get("/v1/me").status_code for _ in range(3)] == [500, 503, 200]


def test_a_fault_can_choose_generations_by_their_prompt(caller: Caller) -> None:
    caller.account.add_fault("create", "error_before", prompt_contains="cup")
    caller.account.add_fault("poll", "error_before", prompt_contains="mug")
    caller.account.add_fault("download", "not_found", prompt_contains="jug")
    mug, jug = caller.create_id("A mug"), caller.create_id("A jug")

    assert caller.create("A cup").status_code == 500
    assert [caller.poll(identity).status_code for identity in (mug, jug)] == [500, 200]
    assert caller.bare.get(caller.image_urls(jug)[0]).status_code == 404


def test_faults_by_probability_are_repeatable_and_about_as_frequent_as_asked() -> None:
    def struck() -> list[bool]:
        script = FaultScript(random_seed=3)
        script.add(Fault(operation="poll", kind="drop_before", probability=0.3))
        return [script.strike("poll", "") is not None for _ in range(1000)]

    once = struck()

    assert once == struck()
    assert 230 < sum(once) < 370


def test_an_unauthorised_request_uses_up_no_fault(caller: Caller) -> None:
    fault = caller.account.add_fault("me", "error_before", times=1)
    caller.bare.get("/v1/me")

    assert fault.fired == 0
    assert caller.http.get("/v1/me").status_code == 500


def test_clearing_the_script_ends_every_fault_and_keeps_the_count(caller: Caller) -> None:
    caller.account.add_fault("me", "error_before")
    caller.http.get("/v1/me")
    caller.account.clear_faults()

    assert caller.http.get("/v1/me").status_code == 200
    assert caller.bill()["faults_played"] == {"me.error_before": 1}


def test_faults_are_scripted_over_http_too(caller: Caller) -> None:
    added = caller.bare.post(
        "/emulator/faults",
        json=[
            {"operation": "me", "kind": "error_before", "times": 1, "status": 503},
            {"operation": "create", "kind": "drop_after", "probability": 0.5},
        ],
    )
    struck = caller.http.get("/v1/me").status_code
    listed = caller.bare.get("/emulator/faults").json()["faults"]
    cleared = caller.bare.delete("/emulator/faults")

    assert (added.status_code, cleared.status_code, struck) == (201, 204, 503)
    assert [(fault["operation"], fault["kind"], fault["fired"]) for fault in listed] == [
        ("me", "error_before", 1),
        ("create", "drop_after", 0),
    ]
    assert caller.bare.get("/emulator/faults").json() == {"faults": []}


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ({"operation": "pay", "kind": "drop_after"}, "operation: Input should be 'create'"),
        ({"operation": "create", "kind": "explode"}, "kind must be one of drop_before"),
        ({"operation": "poll", "kind": "failed"}, "failed strikes create only, not poll"),
        ({"operation": "poll", "kind": "slow", "second": 1}, "slow has no parameter second; it has seconds"),
        ({"operation": "poll", "kind": "slow", "seconds": "1"}, "seconds: Input should be a valid number"),
        ({"operation": "download", "kind": "wrong_type", "content": "gif"}, "content: Input should be 'html', 'png'"),
        (
            {"operation": "poll", "kind": "html", "probability": 2},
            "probability: Input should be less than or equal to 1",
        ),
        ({"operation": "poll", "kind": "html", "probability": "x"}, "probability: Input should be a valid number"),
        ({"operation": "poll", "kind": "html", "times": 0}, "times: Input should be greater than or equal to 1"),
        ({"kind": "html"}, "operation: Field required"),
        (["html"], "a fault is a JSON object"),
        (7, "a fault is a JSON object"),
    ],
    ids=str,
)
def test_a_fault_that_could_never_strike_is_refused(caller: Caller, fault: object, text: str) -> None:
    answer = caller.bare.post("/emulator/faults", json=fault)

    assert answer.status_code == 400
    assert text in answer.json()["error"]
    assert caller.account.script.faults() == []


def test_poor_images_are_scripted_by_what_they_look_like(caller: Caller) -> None:
    caller.account.add_fault("create", "poor_images", looks="same", times=1)
    urls = caller.image_urls(caller.create_id(quantity=2))

    assert len({caller.bare.get(url).content for url in urls}) == 1
    with pytest.raises(ValueError, match="Input should be 'blank', 'same' or 'similar'"):
        caller.account.add_fault("create", "poor_images", looks="ugly")


@pytest.mark.parametrize(("kind", "expected"), [("error_before", NOTHING_BILLED), ("error_after", ONE_BILLED)])
@pytest.mark.parametrize(
    ("envelope", "schema"),
    [("flat", documented.FLAT_ERROR), ("array", documented.ARRAY_ERROR), ("object", documented.OBJECT_ERROR)],
)
@pytest.mark.parametrize("status", [200, 400, 401, 402, 403, 404, 413, 422, 429, 500])
def test_any_status_may_come_in_any_envelope_before_and_after_billing(
    caller: Caller, kind: str, expected: int, envelope: str, schema: documented.Schema, status: int
) -> None:
    how = {"status": status, "envelope": envelope, "code": "BAD_REQUEST", "message": "no", "retry_after": 3}
    caller.account.add_fault("create", kind, times=1, **how)

    answer = caller.create()

    assert (answer.status_code, answer.headers["retry-after"]) == (status, "3")
    assert_documented(answer.json(), schema)
    assert "BAD_REQUEST" in answer.text
    assert (billed(caller), caller.bill()["unanswered"]) == (expected, expected)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_create_may_be_accepted_and_answered_with_a_redirect(caller: Caller, status: int) -> None:
    caller.account.add_fault("create", "redirect_after", times=1, status=status, location="https://example.org/x")

    answer = caller.create()

    assert (answer.status_code, answer.headers["location"]) == (status, "https://example.org/x")
    assert (billed(caller), caller.bill()["unanswered"]) == (ONE_BILLED, 1)


def test_an_answer_may_be_json_that_is_no_error_under_a_status_that_is_one(caller: Caller) -> None:
    caller.account.add_fault("create", "not_object", times=1, json={"ok": True}, status=403)
    answer = caller.create()

    assert (answer.status_code, answer.json()) == (403, {"ok": True})
    assert billed(caller) == ONE_BILLED


def test_a_generation_may_have_more_images_than_were_ordered(caller: Caller) -> None:
    caller.account.add_fault("create", "more_images", times=1, more=2)
    urls = caller.image_urls(caller.create_id(quantity=2))

    assert [url[-6:] for url in urls] == ["-0.jpg", "-1.jpg", "-2.jpg", "-3.jpg"]
    assert {caller.bare.get(url).status_code for url in urls} == {200}
    assert (caller.bill()["images"], caller.bill()["credits"]) == (2, 56)


@pytest.mark.parametrize(
    ("shown", "before"), [("empty", []), ("partial", [True]), ("no_url", [False, False, False])], ids=str
)
def test_a_generation_may_be_complete_before_its_images_are_listed(
    caller: Caller, shown: str, before: list[bool]
) -> None:
    caller.account.add_fault("create", "late_images", times=1, seconds=3, shown=shown)
    generation_id = caller.create_id(quantity=3)
    early = caller.generation(generation_id)
    caller.clock.advance(3)

    assert early["status"] == "COMPLETE"
    assert [image["url"] is not None for image in early["generated_images"]] == before
    assert len({image["id"] for image in early["generated_images"]}) == len(before)
    assert {caller.bare.get(url).status_code for url in caller.image_urls(generation_id)} == {200}
    assert len(caller.image_urls(generation_id)) == 3


def test_a_generation_may_be_failed_before_it_is_complete(caller: Caller) -> None:
    caller.account.add_fault("create", "failed_first", times=1, seconds=3)
    generation_id = caller.create_id()
    early = caller.generation(generation_id)
    caller.clock.advance(3)

    assert (early["status"], early["generated_images"]) == ("FAILED", [])
    assert (caller.generation(generation_id)["status"], len(caller.image_urls(generation_id))) == ("COMPLETE", 1)
    assert caller.bill()["refunded"] == 0


def test_one_generation_may_cost_more_than_the_others(caller: Caller) -> None:
    caller.account.add_fault("create", "price", times=1, credits_per_image=280)
    costs = [caller.create(quantity=2).json()["generate"]["cost"]["amount"] for _ in range(2)]

    assert costs == ["560", "56"]
    assert caller.bill()["credits"] == 616


@pytest.mark.parametrize("cost", [None, {"amount": "0", "unit": "CREDITS"}, "free", [28]], ids=str)
def test_an_answer_may_report_any_cost(caller: Caller, cost: object) -> None:
    caller.account.add_fault("create", "cost", times=1, json=cost)

    assert caller.create().json()["generate"]["cost"] == cost
    assert caller.bill()["credits"] == 28


def test_every_fault_kind_is_played_by_a_test_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")

    assert [kind for kind in KINDS if f'"{kind}"' not in text] == []


def _body() -> dict[str, object]:
    return {"model": "seedream-4.0", "public": False, "parameters": {"prompt": "A mug", "width": 64, "height": 64}}


def _wait_until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert true()
