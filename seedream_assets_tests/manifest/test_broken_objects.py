"""One object that is empty, torn or another's stops what hangs on it, says so with a remedy, and nothing else."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable

import pytest

from seedream_assets.budget.log import budget_folder, read_budget
from seedream_assets.config.partitions import UNPARTITIONED
from seedream_assets.errors import ObjectUnreadable, StoreError
from seedream_assets.ledger.by_hand import NotByHand, list_open, release_request, show_request
from seedream_assets.ledger.state import RequestState
from seedream_assets.manifest.stage import read_earlier
from seedream_assets.manifest.trace import trace_row
from seedream_assets.manifest.verify import load_manifests, verify_images
from seedream_assets.planning.stage import load_plan
from seedream_assets.prompts.stage import load_snapshot
from seedream_assets.purchase.stage import buy_partitions, load_report
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets_tests.purchase.desk import make_paid_request, make_paid_requests, short_sleep
from seedream_assets_tests.purchase.living_dataset import LivingDataset

MUG = {"prompt_id": "mug", "prompt": "a blue mug", "quantity": 2}
CUP = {"prompt_id": "cup", "prompt": "a tea cup", "quantity": 1}
JUG = {"prompt_id": "jug", "prompt": "a milk jug", "quantity": 3}
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _body: b"",
    "torn": lambda body: body[: len(body) // 2],
    "foreign": lambda _body: b'{"event": "party", "at": 5}',
}
REMEDY = re.compile(r"repair|run|delete|put back|made anew|read the table again|update", re.IGNORECASE)


@pytest.fixture
def dataset(desk, tmp_path):
    return LivingDataset(desk=desk, folder=tmp_path)


@pytest.fixture(params=DAMAGES.values(), ids=DAMAGES.keys())
def damage(request):
    def damage(store: ObjectStore, key: str) -> None:
        store.replace(key, request.param(store.read(key)), content_type="application/octet-stream")

    return damage


@pytest.fixture
def tear():
    """One kind of damage, where the others would show the same: only half of the object is left."""

    def tear(store: ObjectStore, key: str) -> None:
        store.replace(key, DAMAGES["torn"](store.read(key)), content_type="application/octet-stream")

    return tear


def keys_of(store: ObjectStore, prefix: str, ending: str = "") -> list[str]:
    return [info.key for info in store.list(prefix) if info.key.endswith(ending)]


DERIVED = [
    "datasets/scenes/manifest/all.parquet",
    "datasets/scenes/requests/all.parquet",
    "datasets/scenes/prompts/all.parquet",
    "datasets/scenes/prompts/all.rejected.parquet",
    "datasets/scenes/runs/all.json",
]


@pytest.mark.parametrize("key", DERIVED)
def test_what_is_derived_is_made_anew_by_the_next_run_and_nothing_is_bought_again(dataset, tear, key):
    first = dataset.bring([MUG, CUP])
    tear(dataset.desk.store, key)
    again = dataset.bring([MUG, CUP, JUG])
    assert again.images_bought == 3
    assert first.stored < again.stored
    assert len(again.stored) == 6
    read = dataset.bring().manifest
    assert (read["status"] == "stored").all()


def test_who_reads_a_broken_table_learns_which_and_what_to_do(dataset, damage):
    dataset.bring([MUG])
    store, config = dataset.desk.store, dataset.config
    readers: dict[str, Callable[[], object]] = {
        "manifest": lambda: read_earlier("previous", config, UNPARTITIONED, dataset.deployment, base=dataset.folder),
        "requests": lambda: load_plan(store, config, UNPARTITIONED),
        "prompts": lambda: load_snapshot(store, config, UNPARTITIONED),
    }
    for kind, read in readers.items():
        key = config.key(kind, UNPARTITIONED)
        damage(store, key)
        with pytest.raises(ObjectUnreadable, match=re.escape(key)) as caught:
            read()
        assert REMEDY.search(str(caught.value))
    damage(store, config.key("runs", UNPARTITIONED, ".json"))
    assert load_report(store, config, UNPARTITIONED) is None


def test_a_broken_plan_stops_its_partition_and_no_other(dataset, damage):
    dataset.bring([MUG])
    store, config, reported = dataset.desk.store, dataset.config, []
    for name in ("b", "c"):
        key = config.key("requests", name)
        store.replace(key, store.read(config.key("requests", UNPARTITIONED)), content_type="x/y")
    damage(store, config.key("requests", "b"))
    bought = buy_partitions(
        config,
        ["b", "c"],
        dataset.deployment,
        on_partition=lambda name, report, _endings: reported.append((name, report.stopped)),
        sleep=short_sleep,
    )
    assert reported == [("c", None)]
    assert list(bought.unplanned) == ["b"]
    assert "plan the partition again" in str(bought.unplanned["b"])


def test_a_broken_end_is_reported_by_the_manifest_that_knew_it(dataset, damage):
    first = dataset.bring([MUG, CUP])
    for key in keys_of(dataset.desk.store, "requests/", "-completed.json"):
        damage(dataset.desk.store, key)
    again = dataset.bring()
    assert (again.images_bought, again.stored) == (0, first.stored)


def test_a_broken_end_that_nothing_else_tells_leaves_its_own_images_open_and_the_others_stand(dataset, damage):
    first = dataset.bring([MUG, CUP])
    store = dataset.desk.store
    broken = keys_of(store, "requests/", "-completed.json")[0]
    damage(store, broken)
    damage(store, dataset.config.key("manifest", UNPARTITIONED))
    again = dataset.bring([MUG, CUP, JUG])
    assert again.images_bought == 3
    left = again.manifest[again.manifest["status"] != "stored"]
    assert set(left["status"]) == {"pending"}
    assert set(left["request_id"]) == {broken.split("/")[1]}
    assert left["reason"].str.contains(broken, regex=False).all()
    assert left["reason"].map(REMEDY.search).notna().all()
    assert (first.stored - set(left["image_id"])) < again.stored
    assert not again.outcome.is_final


@pytest.mark.parametrize("manifest_too", [False, True])
def test_a_request_whose_intent_is_broken_and_whose_end_is_not_is_whole(dataset, tear, manifest_too):
    first = dataset.bring([MUG, CUP])
    store = dataset.desk.store
    for key in keys_of(store, "requests/", "-intent.json"):
        tear(store, key)
    if manifest_too:
        tear(store, dataset.config.key("manifest", UNPARTITIONED))
    again = dataset.bring([MUG, CUP | {"quantity": 3}, JUG])
    assert again.images_bought == 5
    assert first.stored < again.stored
    assert (again.manifest["status"] == "stored").all()


def open_intent(desk, request):
    """A request of which it is not known whether it was bought: its answer was lost, and so was the history's."""
    desk.fault("create", "drop_after", times=1)
    desk.fault("history", "error_before", status=500)
    assert desk.run([request]).requests == {"uncertain": 1}
    desk.heal()
    (key,) = keys_of(desk.store, f"requests/{request.request_id}/", "-intent.json")
    return key


def test_an_open_request_whose_intent_is_broken_is_never_bought_again_and_the_others_go_on(desk, damage):
    request = make_paid_request("a cat")
    key = open_intent(desk, request)
    damage(desk.store, key)
    others = make_paid_requests(5, words="a dog")
    report = desk.run([request, *others])
    assert report.requests == {"completed": 5, "pending": 1}
    assert report.stopped is None
    reported = report.notes[request.request_id]
    assert key in reported
    assert REMEDY.search(reported)
    assert desk.state(request) is RequestState.OPEN
    assert desk.run([request]).requests == {"pending": 1}
    assert (desk.bill["generations"], desk.bill["duplicates"]) == (6, 0)


def test_a_planned_row_whose_open_intent_is_broken_is_not_bought_and_the_others_are(dataset, damage):
    dataset.write([MUG])
    dataset.desk.fault("create", "drop_after", times=1)
    dataset.desk.fault("history", "error_before", status=500)
    assert set(dataset.bring().manifest["status"]) == {"uncertain"}
    dataset.desk.heal()
    (key,) = keys_of(dataset.desk.store, "requests/", "-intent.json")
    damage(dataset.desk.store, key)
    again = dataset.bring([MUG | {"quantity": 4}, CUP])
    assert again.images_bought == 1
    open_rows = again.manifest[again.manifest["prompt_id"] == "mug"]
    assert set(open_rows["status"]) == {"uncertain"}
    assert open_rows["reason"].str.contains(key, regex=False).all()


def test_a_submit_that_cannot_be_read_is_known_by_its_key_and_its_images_are_fetched(desk, damage):
    request = make_paid_request("a cat", count=2)
    desk.fault("download", "not_found")
    assert desk.run([request]).requests == {"pending": 1}
    desk.heal()
    (key,) = [one for one in keys_of(desk.store, f"requests/{request.request_id}/") if "submitted" in one]
    damage(desk.store, key)
    assert desk.run([request]).requests == {"completed": 1}
    assert desk.bill["generations"] == 1


def test_a_request_that_is_paid_and_cannot_be_read_waits_and_holds_up_no_other(desk, damage):
    request = make_paid_request("a cat")
    desk.fault("download", "not_found")
    assert desk.run([request]).requests == {"pending": 1}
    desk.heal()
    damage(desk.store, keys_of(desk.store, f"requests/{request.request_id}/", "-intent.json")[0])
    others = make_paid_requests(3, words="a dog")
    report = desk.run([request, *others])
    assert (report.requests, report.stopped) == ({"completed": 3, "pending": 1}, None)
    assert "-intent.json" in report.notes[request.request_id]
    assert desk.bill["generations"] == 4


def test_an_event_of_another_request_under_a_key_is_not_taken_for_its_own(desk):
    first, second = make_paid_requests(2)
    assert desk.run([first, second]).requests == {"completed": 2}
    ours, others = (f"requests/{one.request_id}/00-completed.json" for one in (first, second))
    desk.store.replace(ours, desk.store.read(others), content_type="application/json")
    verdicts = trace_failure(desk.store, first.request_id)
    assert "holds the event" in verdicts
    assert others in verdicts


def trace_failure(store: ObjectStore, request_id: str) -> str:
    from seedream_assets.manifest.trace import trace_id

    with pytest.raises(StoreError) as caught:
        trace_id(store, request_id)
    return str(caught.value)


def test_a_trace_and_a_verification_pass_over_a_broken_manifest_of_others(dataset, damage):
    dataset.bring([MUG])
    store = dataset.desk.store
    other = "datasets/other/manifest/all.parquet"
    store.replace(other, store.read(dataset.config.key("manifest", UNPARTITIONED)), content_type="x/y")
    damage(store, other)
    assert len(trace_row(store, "mug").images) == 2
    broken = "datasets/scenes/manifest/b.parquet"
    store.replace(broken, store.read(other), content_type="x/y")
    unreadable: list[ObjectUnreadable] = []
    manifests = load_manifests(store, "scenes", on_unreadable=unreadable.append)
    found = verify_images(store, manifests, most_read=None, with_extra=True, unreadable=unreadable)
    assert [(one.object_key, one.kind) for one in found.differences] == [(broken, "torn")]
    assert "builds it anew" in found.differences[0].message
    assert found.images == 2


def test_broken_leases_of_others_stop_nobody(desk, damage):
    desk.run(make_paid_requests(1))
    for key in keys_of(desk.store, "leases/"):
        damage(desk.store, key)
    assert desk.run(make_paid_requests(3)).requests == {"completed": 2}


def test_an_approval_and_a_sample_that_cannot_be_read_are_none_and_can_be_given_again(dataset, damage):
    from datetime import UTC, datetime

    from seedream_assets.approval.store import ApprovalRecord, keep_approval, keep_preview, load_approval

    store, config = dataset.desk.store, dataset.config
    record = ApprovalRecord(
        dataset="scenes",
        partition="all",
        plan="p",
        credits=5,
        run_plan="p",
        by="me",
        at=datetime(2026, 11, 22, tzinfo=UTC),
    )
    keep_approval(store, config, record)
    damage(store, config.key("approvals", "all", "/p.json"))
    assert load_approval(store, config, "all", "p") is None
    assert keep_approval(store, config, record) == load_approval(store, config, "all", "p") == record
    keep_preview(store, config, "all", "p", [("r", 1)])
    key = config.key("samples", "all", "/p.json")
    damage(store, key)
    keep_preview(store, config, "all", "p", [("s", 2)])
    assert json.loads(store.read(key))["requests"] == [["s", 2]]


def test_a_broken_entry_of_the_budget_log_names_itself(dataset, damage):
    dataset.bring([MUG])
    (*_, newest) = keys_of(dataset.desk.store, budget_folder("scenes"))
    damage(dataset.desk.store, newest)
    with pytest.raises(ObjectUnreadable, match=re.escape(newest)) as caught:
        read_budget(dataset.desk.store, "scenes", today=True)
    assert REMEDY.search(str(caught.value))


def test_a_person_can_release_an_open_request_whose_intent_cannot_be_read_once_no_run_can_have_it(desk, tear):
    request, other = make_paid_request("a cat"), make_paid_request("a dog")
    key = open_intent(desk, request)
    open_intent(desk, other)
    tear(desk.store, key)
    unreadable: list[ObjectUnreadable] = []
    (listed,), (held_up,) = list_open(desk.store)
    assert (listed.intent.request_id, held_up.request_id) == (other.request_id, request.request_id)
    assert key in held_up.reason
    with pytest.raises(NotByHand, match="younger than 600 s"):
        release_request(desk.store, request.request_id, "the account shows nothing")
    old = time.time() - 700
    os.utime(desk.store.uri(key).removeprefix("file://"), (old, old))
    assert release_request(desk.store, request.request_id, "the account shows nothing").state is RequestState.FREE
    _, events = show_request(desk.store, request.request_id, on_unreadable=unreadable.append)
    assert [event.event for event in events] == ["released"]
    assert desk.run([request]).requests == {"completed": 1}


def test_an_adoption_that_cannot_be_read_leaves_its_request_uncertain_until_it_is_deleted(desk, damage):
    request, other = make_paid_request("a cat"), make_paid_request("a dog")
    open_intent(desk, request)
    (job,) = desk.emulator.account.bill(details=True)["details"]
    key = f"adoptions/{job['generation_id']}.json"
    desk.store.create(key, json.dumps({"request_id": "0" * 64}).encode(), content_type="application/json")
    damage(desk.store, key)
    report = desk.run([request, other])
    assert report.requests == {"completed": 1, "pending": 1}
    assert key in report.notes[request.request_id]
    assert REMEDY.search(report.notes[request.request_id])
    assert desk.bill["generations"] == 2
    desk.store.delete(key)
    assert desk.run([request]).requests == {"completed": 1}
    assert (desk.bill["generations"], desk.bill["duplicates"]) == (2, 0)
