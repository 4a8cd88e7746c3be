"""Claims about images that turn up after their request has ended: fetched for nothing, once, each where it belongs."""

import time

import pytest

from seedream_assets.errors import AnotherAccount
from seedream_assets.ledger.by_hand import NotByHand, show_request
from seedream_assets.ledger.events import Recollected
from seedream_assets.ledger.state import RequestState
from seedream_assets.ledger.store import read_endings
from seedream_assets.manifest.trace import trace_id
from seedream_assets.purchase.recollect import find_short, recollect_images
from seedream_assets_tests.purchase.counted_store import declare
from seedream_assets_tests.purchase.desk import make_paid_request, short_sleep

LATE = 1.5


def ended_short(desk, count=3, **fault):
    """A request that ended before its images were there, which they are now."""
    request = make_paid_request("a cat", count=count)
    kind = fault.pop("kind", "late_images")
    desk.fault("create", kind, seconds=LATE, **fault)
    desk.run([request], engine={"settle_images_seconds": 0.1})
    desk.heal()
    assert desk.entry(request).is_final
    return request


def recollect(desk, request):
    short = find_short(desk.store, request_id=request.request_id)
    return recollect_images(desk.store, short, desk.leonardo, sleep=short_sleep)


def images_of(desk, request):
    (ending,) = read_endings(desk.store, {request.request_id: desk.entry(request)})
    return ending.images


@pytest.mark.parametrize("shown", ["empty", "partial", "no_url"])
def test_what_came_late_is_stored_in_its_place_and_nothing_is_bought(desk, shown):
    request = ended_short(desk, shown=shown)
    before = {image.position: image.object_key for image in images_of(desk, request) if image.object_key}
    (early,) = recollect(desk, request)
    assert (early.fetched, early.reason is None) == (0, False)
    time.sleep(LATE)
    (found,) = recollect(desk, request)
    assert (found.lacked, found.fetched, found.reason) == (3 - len(before), 3 - len(before), None)
    images = images_of(desk, request)
    assert [image.source_url.rpartition("-")[2] for image in images] == ["0.jpg", "1.jpg", "2.jpg"]
    assert before.items() <= {image.position: image.object_key for image in images}.items()
    assert all(desk.store.head(image.object_key) for image in images)
    assert len({image.sha256 for image in images}) == 3
    assert desk.bill["generations"] == 1
    assert desk.run([request]).requests == {}
    with pytest.raises(NotByHand, match="lacks no image"):
        find_short(desk.store, request_id=request.request_id)


def test_a_failed_job_that_became_complete_gives_its_images_and_stays_what_it_was(desk):
    request = ended_short(desk, count=2, kind="failed_first")
    assert desk.state(request) is RequestState.FAILED
    time.sleep(LATE)
    assert [(one.lacked, one.fetched) for one in recollect(desk, request)] == [(2, 2)]
    assert desk.state(request) is RequestState.FAILED
    assert [image.status for image in trace_id(desk.store, request.request_id).images] == ["stored", "stored"]


def test_images_may_come_one_after_the_other(desk):
    request = ended_short(desk, count=4, shown="empty")
    time.sleep(LATE)
    desk.fault("download", "not_found", skip=1)
    # What is stored already is there for the next try.
    (first,) = recollect(desk, request)
    assert first.fetched == 0
    desk.heal()
    assert recollect(desk, request)[0].fetched == 4
    events = show_request(desk.store, request.request_id)[1]
    assert [event.number for event in events if isinstance(event, Recollected)] == [1]


def test_two_at_once_add_the_same_images_and_the_first_counts(desk):
    request = ended_short(desk, count=2, shown="empty")
    time.sleep(LATE)
    short = find_short(desk.store, request_id=request.request_id)
    for _ in range(2):
        assert recollect_images(desk.store, short, desk.leonardo)[0].fetched == 2
    assert desk.entry(request).recollected == (1, 2)
    assert [image.position for image in images_of(desk, request)] == [0, 1]


def test_without_a_name_all_that_ended_short_is_found_and_no_other(desk, tmp_path):
    words = {
        "cat": ("late_images", {"seconds": 4 * LATE, "shown": "partial"}),
        "dog": ("failed_first", {"seconds": 4 * LATE}),
        "cow": ("failed", {"moderation": ["NSFW"]}),
    }
    for word, (kind, options) in words.items():
        desk.fault("create", kind, prompt_contains=word, **options)
    prompts = [f"a {name}" for name in (*words, "hen", "emulate-blocked")]
    dataset = declare(tmp_path, prompts, desk.store, desk.emulator, quantity=2)
    first = dataset.run()[2]
    assert dict(first.manifest["status"].value_counts()) == {"stored": 3, "blocked": 4, "failed": 2, "withheld": 1}
    short = find_short(desk.store)
    assert sorted(one.intent.prompt for one in short) == ["a cat", "a cow", "a dog"]
    assert find_short(desk.store, dataset="another") == []
    time.sleep(4 * LATE)
    found = recollect_images(desk.store, short, desk.leonardo)
    outcomes = {one.intent.prompt: (done.lacked, done.fetched) for one, done in zip(short, found, strict=True)}
    assert outcomes == {"a cat": (1, 1), "a dog": (2, 2), "a cow": (2, 0)}
    again = dataset.run()[2]
    assert dict(again.manifest["status"].value_counts()) == {"stored": 6, "blocked": 4}
    assert desk.bill["generations"] == 4
    assert again.manifest["cost_amount"].sum() == first.manifest["cost_amount"].sum()
    # And it stays so, though the manifest is built from the one before.
    assert list(dataset.run()[2].manifest["status"]) == list(again.manifest["status"])


def test_what_has_not_ended_is_not_recollected(desk):
    request = make_paid_request("emulate-stuck")
    with pytest.raises(NotByHand, match="unknown to the ledger"):
        find_short(desk.store, request_id=request.request_id)
    desk.run([request], engine={"give_up_after_seconds": 0.1})
    with pytest.raises(NotByHand, match="is submitted"):
        find_short(desk.store, request_id=request.request_id)


def test_an_api_that_is_away_is_reported_for_each_and_changes_nothing(desk):
    request = ended_short(desk, shown="empty")
    desk.fault("poll", "not_found")
    (found,) = recollect(desk, request)
    assert (found.fetched, "does not know generation" in str(found.reason)) == (0, True)
    assert desk.entry(request).recollected == ()


def test_another_account_s_key_proves_nothing_of_this_one_s_images(desk, start_desk):
    request = ended_short(desk, shown="empty")
    stranger = start_desk(user_id="00000000-0000-4000-8000-00000000beef").leonardo
    with pytest.raises(AnotherAccount):
        recollect_images(desk.store, find_short(desk.store, request_id=request.request_id), stranger)
