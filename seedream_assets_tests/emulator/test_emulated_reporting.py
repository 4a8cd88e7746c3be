"""An account that reports otherwise than was ordered: its history, its clock, its prices, its other users."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from seedream_assets.emulator.settings import DEMO_USER_ID, EmulatorSettings, Listing, Reporting
from seedream_assets_tests.emulator import documented_schemas as documented
from seedream_assets_tests.emulator.caller import PROMPT, Caller
from seedream_assets_tests.emulator.conftest import StartEmulator
from seedream_assets_tests.emulator.documented_schemas import assert_documented

AT = datetime(2026, 11, 22, 9, 14, 3, 512000, tzinfo=UTC)


def reported(start: StartEmulator, sent: str = PROMPT, *, order: dict[str, Any] | None = None, **reporting: Any) -> Any:
    """What the history says of one generation."""
    caller = start(reporting=Reporting(**reporting))
    caller.create(sent, **{"width": 1000, "height": 1021, "seed": 77, **(order or {})})
    (entry,) = caller.history()
    return entry


def test_by_default_everything_is_reported_as_it_was_ordered(start: StartEmulator) -> None:
    entry = reported(start)

    assert (entry["imageWidth"], entry["imageHeight"], entry["seed"], entry["prompt"]) == (1000, 1021, 77, PROMPT)
    assert entry["createdAt"] == "2026-11-22T09:14:03.512"
    assert entry["modelId"] == "40a7c0de-0000-4000-8000-000000000040"


def test_sizes_may_be_rounded(start: StartEmulator) -> None:
    entry = reported(start, size_multiple=16)

    assert (entry["imageWidth"], entry["imageHeight"]) == (992, 1024)


@pytest.mark.parametrize(("how", "expected"), [("zero", 0), ("null", None), ("text", "77")])
def test_seeds_may_be_reported_otherwise(start: StartEmulator, how: str, expected: object) -> None:
    assert reported(start, seed=how)["seed"] == expected


def test_another_seed_is_another_for_each_generation(start: StartEmulator) -> None:
    seeds = [reported(start, seed="other", order={"seed": seed})["seed"] for seed in (1, 2)]

    assert len({1, 2, *seeds}) == 4


@pytest.mark.parametrize("field", ["seed", "time", "model"])
def test_fields_may_be_absent(start: StartEmulator, field: str) -> None:
    name = {"seed": "seed", "time": "createdAt", "model": "modelId"}[field]

    assert name not in reported(start, **{field: "absent"})
    assert reported(start, **{field: "null"})[name] is None


@pytest.mark.parametrize(
    ("reporting", "expected"),
    [
        ({"time": "local", "utc_offset_hours": -5}, "2026-11-22T04:14:03.512"),
        ({"time": "zone", "utc_offset_hours": 5.5}, "2026-11-22T14:44:03.512+05:30"),
        ({"time": "zone"}, "2026-11-22T09:14:03.512+00:00"),
        ({"time": "seconds"}, 1795338843),
        ({"time": "milliseconds"}, 1795338843512),
        ({"time": "http"}, "Sun, 22 Nov 2026 09:14:03 GMT"),
        ({"created_at_ahead_seconds": -60}, "2026-11-22T09:13:03.512"),
        ({"clock_ahead_seconds": 3600}, "2026-11-22T10:14:03.512"),
    ],
    ids=str,
)
def test_times_may_be_reported_otherwise(start: StartEmulator, reporting: dict[str, Any], expected: object) -> None:
    assert reported(start, **reporting)["createdAt"] == expected


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("spaced", " A  café  &  “tea”\n"),
        ("cut", "A café &"),
        ("shortened", "A café &..."),
        ("escaped", "A café &amp; “tea”"),
        ("upper", "A CAFÉ & “TEA”"),
        ("nfd", "A cafe\u0301 & “tea”"),
        ("empty", ""),
        ("rewritten", "Professional photograph, “tea” & café A"),
    ],
)
def test_prompts_may_be_reported_otherwise(start: StartEmulator, how: str, expected: str) -> None:
    assert reported(start, "A café & “tea”", prompt=how, prompt_characters=8)["prompt"] == expected


@pytest.mark.parametrize(("how", "expected"), [("slug", "seedream-4.0"), ("name", "Seedream 4.0")])
def test_models_may_be_reported_by_another_name(start: StartEmulator, how: str, expected: str) -> None:
    assert reported(start, model=how)["modelId"] == expected


def test_a_model_may_be_one_that_no_list_has(start: StartEmulator) -> None:
    entry = reported(start, model="other")

    assert entry["modelId"] == "40a7c0de-0000-4000-8000-00000000004d"
    assert_documented({"generations": [entry]}, documented.HISTORY)


def test_polls_report_the_same_unless_only_the_history_does_not(start: StartEmulator) -> None:
    for only_history, polled in ((False, 0), (True, 77)):
        caller = start(reporting=Reporting(seed="zero", clock_ahead_seconds=60, only_history=only_history))
        generation = caller.generation(caller.create_id(seed=77))
        assert (generation["seed"], caller.history()[0]["seed"]) == (polled, 0)
        assert generation["createdAt"] == "2026-11-22T09:15:03.512"


@pytest.mark.parametrize("path", ["/v1/me", "/emulator/bill", "/cdn/nothing", "/v1/nope", "/wrong"])
def test_every_answer_is_dated_by_the_apis_own_clock(start: StartEmulator, path: str) -> None:
    caller = start(reporting=Reporting(clock_ahead_seconds=-360, created_at_ahead_seconds=1000))

    answer = caller.http.get(path)

    assert len(answer.headers.get_list("date")) == 1
    assert parsedate_to_datetime(answer.headers["date"]) == AT.replace(minute=8, microsecond=0)


def test_a_clock_that_is_ahead_stands_in_the_ids_too(start: StartEmulator) -> None:
    def seconds(caller: Caller) -> int:
        high, middle, low = caller.create_id().split("-")[:3]
        return (int(high + middle + low[1:], 16) - 0x01B21DD213814000) // 10**7

    assert seconds(start(reporting=Reporting(clock_ahead_seconds=500))) - seconds(start()) == 500


# ---- the list


def make_listed(start: StartEmulator, number: int = 6, **settings: Any) -> tuple[Caller, list[str]]:
    """A caller and the ids of generations that were made one a second."""
    caller = start(**settings)
    ids = []
    for count in range(number):
        ids.append(caller.create_id(f"prompt {count}"))
        caller.clock.advance(1)
    return caller, ids


def listed(caller: Caller, **query: int) -> list[str]:
    return [entry["id"] for entry in caller.history(**{"limit": 50, **query})]


def test_the_oldest_may_come_first(start: StartEmulator) -> None:
    caller, ids = make_listed(start, listing=Listing(order="oldest_first"))

    assert listed(caller) == ids
    assert listed(caller, offset=2, limit=2) == ids[2:4]


def test_entries_may_be_scattered_and_stay_where_they_are(start: StartEmulator) -> None:
    caller, ids = make_listed(start, listing=Listing(order="scattered"))

    assert listed(caller) == listed(caller) != ids
    assert listed(caller)[3:] == listed(caller, offset=3)
    assert sorted(listed(caller)) == sorted(ids)


def test_every_page_may_be_shuffled_anew(start: StartEmulator) -> None:
    caller, ids = make_listed(start, number=12, listing=Listing(order="shuffled"))
    first, second = listed(caller), listed(caller)

    assert first != second
    assert sorted(first) == sorted(second) == sorted(ids)


def test_an_offset_may_be_ignored(start: StartEmulator) -> None:
    caller, ids = make_listed(start, history_limit=4, listing=Listing(ignores_offset=True))

    assert listed(caller, offset=4) == listed(caller) == ids[::-1][:4]


def test_entries_may_come_twice(start: StartEmulator) -> None:
    caller, ids = make_listed(start, number=2, listing=Listing(repeats=True))

    assert listed(caller) == [ids[1], ids[1], ids[0], ids[0]]
    assert listed(caller, offset=1, limit=2) == [ids[1], ids[0]]


def test_only_the_newest_may_be_kept(start: StartEmulator) -> None:
    caller, ids = make_listed(start, listing=Listing(depth=2))

    assert listed(caller) == ids[::-1][:2]
    assert listed(caller, offset=2) == []


def test_a_lag_may_differ_from_generation_to_generation(start: StartEmulator) -> None:
    caller, ids = make_listed(start, number=8, history_lag_seconds=5, listing=Listing(lag_spread_seconds=50))
    seen = []
    for _ in range(60):
        seen += [identity for identity in listed(caller) if identity not in seen]
        caller.clock.advance(1)

    assert sorted(seen) == sorted(ids)
    assert seen != ids
    caller.create("one more")
    caller.clock.advance(4)
    assert len(listed(caller)) == 8


def test_every_other_read_may_be_answered_by_a_stale_replica(start: StartEmulator) -> None:
    caller, ids = make_listed(start, listing=Listing(stale_every=2, stale_seconds=3.5))

    assert [len(listed(caller)) for _ in range(4)] == [6, 3, 6, 3]
    assert listed(caller) == ids[::-1]


def test_entries_may_vanish_for_a_while(start: StartEmulator) -> None:
    caller, ids = make_listed(start, number=1, listing=Listing(vanish_after_seconds=5, vanish_seconds=10))
    shown = []
    for _ in range(20):
        shown.append(len(listed(caller)))
        caller.clock.advance(1)

    assert shown == [1] * 4 + [0] * 10 + [1] * 6
    assert caller.generation(ids[0])["status"] == "COMPLETE"


def test_what_the_api_made_may_never_be_listed(start: StartEmulator) -> None:
    caller, ids = make_listed(start, number=3, web_app_share=1.0, listing=Listing(lists="web_app"))

    assert len(listed(caller)) == 3
    assert not set(listed(caller)) & set(ids)
    caller.account.change(listing={"lists": "all"})
    assert len(listed(caller)) == 6
    caller.account.change(listing={"lists": "nothing"})
    assert listed(caller) == []


def test_only_what_is_complete_may_be_listed(start: StartEmulator) -> None:
    caller = start(latency_seconds=10, latency_sigma=0, listing=Listing(lists="complete"))
    caller.create()
    before = listed(caller)
    caller.clock.advance(11)

    assert (before, len(listed(caller))) == ([], 1)


# ---- others in the account, its keys, its images, its prices


@pytest.mark.parametrize("prompt", ["own", "same"])
def test_somebody_may_use_the_web_app_meanwhile(start: StartEmulator, prompt: str) -> None:
    caller = start(web_app_share=0.5, web_app_prompt=prompt)
    for number in range(20):
        caller.create(f"prompt {number}", seed=number)
    entries = caller.history(limit=50)
    others = [entry for entry in entries if entry["seed"] > 19]

    assert 3 < len(others) < 17
    assert len(entries) == 20 + len(others)
    assert all(re.fullmatch(r"prompt \d+", entry["prompt"]) for entry in others) == (prompt == "same")
    assert {(entry["imageWidth"], entry["imageHeight"]) for entry in others} == {(64, 48)}
    assert (caller.bill()["generations"], caller.bill()["credits"]) == (20, 560)


def test_two_emulators_are_one_account_unless_set_otherwise(start: StartEmulator) -> None:
    other = "99999999-2222-4333-8444-555555555555"
    users = [
        caller.http.get("/v1/me").json()["user_details"][0]["user"]["id"]
        for caller in (start(), start(), start(user_id=other))
    ]

    assert users == [DEMO_USER_ID, DEMO_USER_ID, other]


def test_a_key_can_be_rotated_within_one_account(start: StartEmulator) -> None:
    old, new = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
    caller = start(keys=(old,))
    caller.create()

    def status(key: str) -> int:
        return caller.bare.get("/v1/me", headers={"Authorization": f"Bearer {key}"}).status_code

    before = status(old), status(new)
    caller.account.change(keys=(old, new))
    meanwhile = status(old), status(new)
    caller.account.change(keys=(new,))

    assert (before, meanwhile, (status(old), status(new))) == ((200, 401), (200, 200), (401, 200))
    assert caller.bill()["generations"] == 1


def test_a_gallery_may_be_kept_clean_of_what_has_been_fetched(start: StartEmulator) -> None:
    caller = start(deletes_downloaded=True)
    generation_id = caller.create_id(quantity=2)
    urls = caller.image_urls(generation_id)
    caller.bare.get(urls[0])
    between = len(listed(caller))
    caller.bare.get(urls[1])

    assert (between, listed(caller)) == (1, [])
    assert caller.poll(generation_id).json() == {"generations_by_pk": None}
    assert caller.bill()["credits"] == 56


def test_all_generations_of_an_account_may_end_late(start: StartEmulator) -> None:
    caller = start(failed_first_seconds=2, images_late_seconds=3, late_images="no_url", extra_images=1)
    generation_id = caller.create_id()
    seen = []
    for _ in range(6):
        generation = caller.generation(generation_id)
        seen.append((generation["status"], [image["url"] is None for image in generation["generated_images"]]))
        caller.clock.advance(1)

    assert seen == [("FAILED", [])] * 2 + [("COMPLETE", [True, True])] * 3 + [("COMPLETE", [False, False])]


@pytest.mark.parametrize(
    ("cost", "unit", "expected"),
    [
        ("charged", "CREDITS", {"amount": "56", "unit": "CREDITS"}),
        ("charged", "DOLLARS", {"amount": "0.0837", "unit": "DOLLARS"}),
        ("number", "CREDITS", {"amount": 56, "unit": "CREDITS"}),
        ("zero", "CREDITS", {"amount": "0", "unit": "CREDITS"}),
        ("zero", "DOLLARS", {"amount": "0.0000", "unit": "DOLLARS"}),
        ("tenth", "CREDITS", {"amount": "5.6", "unit": "CREDITS"}),
        ("negative", "CREDITS", {"amount": "-56", "unit": "CREDITS"}),
        ("tiny", "CREDITS", {"amount": "0.0001", "unit": "DOLLARS"}),
        ("words", "CREDITS", {"amount": "twenty-eight", "unit": "CREDITS"}),
        ("none", "CREDITS", None),
    ],
)
def test_what_it_costs_may_be_reported_otherwise(start: StartEmulator, cost: str, unit: str, expected: object) -> None:
    caller = start(cost_reported=cost, cost_unit=unit)

    assert caller.create(quantity=2).json()["generate"]["cost"] == expected
    assert caller.bill()["credits"] == 56


def test_what_it_costs_may_be_reported_otherwise_from_answer_to_answer(start: StartEmulator) -> None:
    caller = start(cost_reported="changing")
    costs = [caller.create().json()["generate"]["cost"] for _ in range(7)]

    assert [cost and cost["amount"] for cost in costs] == ["28", None, "0", "28", "0.0001", "-28", "28"]


def test_the_price_may_change_from_one_generation_to_the_next(start: StartEmulator) -> None:
    caller = start(price_cycle=(28, 56, 280), web_app_share=1.0)
    costs = [caller.create().json()["generate"]["cost"]["amount"] for _ in range(4)]

    assert costs == ["28", "56", "280", "28"]
    assert caller.bill()["credits"] == 392


def test_what_was_made_can_be_made_older(start: StartEmulator) -> None:
    caller = start(latency_seconds=100, latency_sigma=0)
    caller.create_id("the older one")
    caller.account.age(3600)
    caller.create_id("the younger one")

    assert [entry["createdAt"] for entry in caller.history()] == ["2026-11-22T09:14:03.512", "2026-11-22T08:14:03.512"]
    assert [job.status(caller.clock()) for job in caller.account.jobs()] == ["COMPLETE", "PENDING"]


# ---- changing it


def test_an_account_can_change_while_it_runs(caller: Caller) -> None:
    caller.create(seed=77)
    changed = caller.bare.patch("/emulator/settings", json={"reporting": {"seed": "zero"}, "credits_per_image": 5})
    again = caller.bare.patch("/emulator/settings", json={"reporting": {"model": "null"}, "price_cycle": [1, 2]})

    assert (changed.status_code, changed.json()["reporting"]["seed"], changed.json()["credits_per_image"]) == (
        200,
        "zero",
        5,
    )
    assert again.json() == caller.bare.get("/emulator/settings").json() == caller.account.settings.to_json()
    assert (again.json()["reporting"]["seed"], again.json()["reporting"]["model"]) == ("zero", "null")
    assert (caller.history()[0]["seed"], caller.history()[0]["modelId"]) == (0, None)
    assert caller.account.settings.price_cycle == (1, 2)
    assert "keys" not in again.json()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"slots": 3}, "slots cannot change"),
        ({"user_id": DEMO_USER_ID}, "user_id cannot change"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"reporting": {"colour": "red"}}, "reporting.colour: Extra inputs are not permitted"),
        ({"reporting": {"seed": "blue"}}, "reporting.seed: Input should be 'used', 'other'"),
        ({"reporting": 3}, "reporting: Input should be a valid dictionary"),
        ({"listing": {"order": "none"}}, "listing.order: Input should be 'newest_first'"),
        ({"retry_after_header": "no"}, "retry_after_header: Input should be a valid boolean"),
        ({"picture_bytes": "many"}, "picture_bytes: Input should be a valid integer"),
        ([], "mapping"),
    ],
    ids=str,
)
def test_a_change_that_cannot_be_is_refused_and_changes_nothing(caller: Caller, body: object, text: str) -> None:
    before = caller.account.settings
    answer = caller.bare.patch("/emulator/settings", json=body)

    assert answer.status_code == 400
    assert text in answer.json()["error"]
    assert caller.account.settings is before


@pytest.mark.parametrize(
    "wrong",
    [
        {"size_multiple": 0},
        {"size_multiple": True},
        {"time": "swatch"},
        {"utc_offset_hours": 15},
        {"prompt": "sung"},
        {"prompt_characters": -1},
        {"model": ""},
        {"only_history": 1},
        {"clock_ahead_seconds": float("nan")},
    ],
    ids=str,
)
def test_what_cannot_be_reported_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Reporting(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"order": "by_name"}, {"lists": "some"}, {"depth": -1}, {"repeats": "yes"}, {"stale_every": "2"}],
    ids=str,
)
def test_what_cannot_be_listed_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Listing(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"price_cycle": (-1,)},
        {"price_cycle": (True,)},
        {"cost_reported": "loud"},
        {"web_app_share": 1.5},
        {"web_app_prompt": "any"},
        {"late_images": "some"},
        {"images_late_seconds": -1},
        {"failed_first_seconds": -1},
        {"extra_images": -1},
        {"deletes_downloaded": 1},
    ],
    ids=str,
)
def test_settings_that_no_account_could_have_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EmulatorSettings(**wrong)


def test_the_document_names_every_setting_and_its_example_is_taken(caller: Caller) -> None:
    page = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"PATCH .*?--data '(.*?)'", page, re.DOTALL)

    assert [name for name in (*Reporting.model_fields, *Listing.model_fields) if f"`{name}`" not in page] == []
    assert caller.bare.patch("/emulator/settings", content=example).status_code == 200
