"""What is broken is mended from what stands beside it and from the account, nothing is bought, and nothing is thrown away."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest

from seedream_assets.budget.log import budget_folder, read_budget
from seedream_assets.config.partitions import UNPARTITIONED
from seedream_assets.ledger.events import Completed, Intent
from seedream_assets.ledger.state import RequestState
from seedream_assets.ledger.store import LedgerEntries, read_event
from seedream_assets.manifest.repair import Repair, repair_dataset
from seedream_assets.manifest.stage import load_manifest
from seedream_assets.manifest.verify import load_manifests, verify_images
from seedream_assets.quality.assemble import assemble_dataset
from seedream_assets_tests.manifest.test_broken_objects import CUP, JUG, MUG, damage, dataset, keys_of, tear
from seedream_assets_tests.purchase.desk import short_sleep
from seedream_assets_tests.purchase.living_dataset import LivingDataset

__all__ = ["damage", "dataset", "tear"]


def repair(dataset: LivingDataset, *, deep: bool = False, with_account: bool = True) -> Repair:
    deployment = dataset.deployment if with_account else replace(dataset.deployment, leonardo=None)
    before = dataset.desk.bill["credits"]
    rebuild = partial(assemble_dataset, measure=False)
    done = repair_dataset(dataset.config, [UNPARTITIONED], deployment, deep=deep, rebuild=rebuild, sleep=short_sleep)
    assert dataset.desk.bill["credits"] == before
    return done


def manifest_of(dataset: LivingDataset):
    return load_manifest(dataset.desk.store, dataset.config, UNPARTITIONED)


def differences(dataset: LivingDataset):
    store = dataset.desk.store
    return verify_images(store, load_manifests(store, "scenes"), most_read=None, with_extra=True).differences


def test_a_store_that_is_whole_is_left_as_it_is(dataset):
    dataset.bring([MUG, CUP])
    before = {info.key: dataset.desk.store.read(info.key) for info in dataset.desk.store.list("")}
    assert repair(dataset, deep=True) == Repair()
    assert {info.key: dataset.desk.store.read(info.key) for info in dataset.desk.store.list("")} == before


def test_a_manifest_is_built_anew(dataset, tear):
    first = dataset.bring([MUG, CUP])
    tear(dataset.desk.store, dataset.config.key("manifest", UNPARTITIONED))
    key = dataset.config.key("manifest", UNPARTITIONED)
    assert repair(dataset, with_account=False) == Repair(mended=[f"{key} was built anew"])
    assert set(manifest_of(dataset)["image_id"]) == first.stored
    assert differences(dataset) == ()


@pytest.mark.parametrize("which", ["all", "one"])
def test_lost_images_are_fetched_again_the_same_to_the_byte(dataset, which):
    first = dataset.bring([MUG, CUP])
    lost = keys_of(dataset.desk.store, "images/")
    for key in lost if which == "all" else lost[:1]:
        dataset.desk.store.delete(key)
    assert differences(dataset)
    reported = repair(dataset)
    assert reported.left == []
    assert all("the same to the byte" in line for line in reported.mended)
    assert len(reported.mended) == (3 if which == "all" else 1)
    assert differences(dataset) == ()
    assert set(manifest_of(dataset)["image_id"]) == first.stored
    assert dataset.bring().images_bought == 0


def test_torn_images_are_fetched_again_and_kept_aside(dataset, tear):
    dataset.bring([MUG, CUP])
    (key, *_) = keys_of(dataset.desk.store, "images/")
    tear(dataset.desk.store, key)
    torn = dataset.desk.store.read(key)
    assert repair(dataset).left == []
    assert differences(dataset) == ()
    assert dataset.desk.store.read(f"broken/{key}") == torn


def test_other_bytes_of_the_same_length_are_found_when_all_are_read(dataset):
    dataset.bring([MUG])
    (key, *_) = keys_of(dataset.desk.store, "images/")
    body = bytearray(dataset.desk.store.read(key))
    body[-1] ^= 1
    dataset.desk.store.replace(key, bytes(body), content_type="image/jpeg")
    assert repair(dataset) == Repair()
    assert differences(dataset)
    assert len(repair(dataset, deep=True).mended) == 1
    assert differences(dataset) == ()


def test_an_image_that_is_marked_otherwise_today_is_kept_and_the_ledger_says_so(dataset):
    from seedream_assets.config.images import Provenance

    first = dataset.bring([MUG])
    (key, *_) = keys_of(dataset.desk.store, "images/")
    before = dataset.desk.store.read(key)
    dataset.desk.store.delete(key)
    dataset.changes["provenance"] = Provenance(xmp=False)
    reported = repair(dataset)
    assert reported.left == []
    assert "the ledger says so" in reported.mended[0]
    assert dataset.desk.store.read(key) != before
    assert differences(dataset) == ()
    assert dataset.bring().stored == first.stored
    assert repair(dataset, deep=True) == Repair()


def test_an_image_that_the_account_has_no_more_is_reported_and_the_others_come_back(dataset):
    dataset.bring([MUG, CUP])
    lost = keys_of(dataset.desk.store, "images/")
    for key in lost:
        dataset.desk.store.delete(key)
    account = dataset.desk.emulator.account
    rows = manifest_of(dataset)
    gone = rows[rows["prompt_id"] == "cup"].iloc[0]
    account.delete(gone["generation_id"])
    reported = repair(dataset)
    assert len(reported.mended) == 2
    assert len(reported.left) == 1
    assert str(gone["object_key"]) in reported.left[0]
    assert "any more" in reported.left[0]
    assert [one.object_key for one in differences(dataset)] == [gone["object_key"]]


def test_without_a_key_what_needs_the_account_is_reported(dataset):
    dataset.bring([MUG])
    dataset.desk.store.delete(keys_of(dataset.desk.store, "images/")[0])
    reported = repair(dataset, with_account=False)
    assert reported.mended == []
    assert "LEONARDO_API_KEY" in reported.left[0]


@pytest.mark.parametrize("deleted", [False, True])
def test_a_broken_end_is_written_anew_from_the_account_or_from_the_stored_images(dataset, damage, deleted):
    first = dataset.bring([MUG, CUP])
    store = dataset.desk.store
    (key, *_) = keys_of(store, "requests/", "-completed.json")
    before = read_event(store, key)
    damage(store, key)
    torn = store.read(key)
    damage(store, dataset.config.key("manifest", UNPARTITIONED))
    if deleted:
        dataset.desk.emulator.account.delete(before.generation_id)
    reported = repair(dataset)
    assert reported == Repair(mended=["datasets/scenes/manifest/all.parquet was built anew", f"{key} was made anew"])
    after = read_event(store, key)
    assert isinstance(after, Completed)
    expected = replace(before, at=after.at, writer=after.writer)
    if deleted:
        images = [replace(image, source_url=None, unmarked=None) for image in before.images]
        expected = replace(expected, images=tuple(images))
    assert after == expected
    assert store.read(f"broken/{key}") == torn
    manifest = manifest_of(dataset)
    assert set(manifest["image_id"]) == first.stored
    assert (manifest["status"] == "stored").all()
    assert repair(dataset, deep=True) == Repair()


def test_a_broken_end_of_which_an_image_is_torn_too_comes_back_whole(dataset, tear):
    first = dataset.bring([MUG])
    store = dataset.desk.store
    tear(store, keys_of(store, "requests/", "-completed.json")[0])
    tear(store, keys_of(store, "images/")[0])
    tear(store, dataset.config.key("manifest", UNPARTITIONED))
    assert repair(dataset).left == []
    assert differences(dataset) == ()
    assert set(manifest_of(dataset)["image_id"]) == first.stored


@pytest.mark.parametrize("ended", [False, True])
def test_a_broken_intent_and_submit_of_what_was_bought_are_written_anew(dataset, damage, ended):
    store = dataset.desk.store
    if not ended:
        dataset.desk.fault("download", "not_found")
    dataset.bring([MUG])
    dataset.desk.heal()
    broken = [key for key in keys_of(store, "requests/") if "intent" in key or "submitted" in key]
    before = {key: read_event(store, key) for key in broken}
    for key in broken:
        damage(store, key)
    reported = repair(dataset)
    assert sorted(reported.mended) == sorted(f"{key} was made anew" for key in broken)
    for key in broken:
        after = read_event(store, key)
        assert after.event == before[key].event
        if isinstance(after, Intent):
            assert (
                replace(after, at=before[key].at, writer=before[key].writer, run_id=before[key].run_id) == before[key]
            )
    again = dataset.bring([MUG, CUP])
    assert again.images_bought == 1
    assert (again.manifest["status"] == "stored").all()


def test_a_broken_intent_of_which_nobody_knows_whether_it_was_bought_is_never_made_anew(dataset, tear):
    dataset.desk.fault("create", "drop_after", times=1)
    dataset.desk.fault("history", "error_before", status=500)
    dataset.bring([MUG])
    dataset.desk.heal()
    (key,) = keys_of(dataset.desk.store, "requests/", "-intent.json")
    tear(dataset.desk.store, key)
    torn = dataset.desk.store.read(key)
    reported = repair(dataset)
    assert reported.mended == []
    assert key in reported.left[0]
    assert "ledger release" in reported.left[0]
    assert dataset.desk.store.read(key) == torn
    (entry,) = LedgerEntries(dataset.desk.store).of([key.split("/")[1]]).values()
    assert entry.state is RequestState.OPEN


@pytest.mark.parametrize("end", ["failed", "blocked"])
def test_an_end_without_images_is_made_anew_from_its_key(start_desk, tmp_path, tear, end):
    desk = start_desk()
    desk.fault("create", "failed", times=1, moderation=["NSFW"] if end == "blocked" else [])
    dataset = LivingDataset(desk=desk, folder=tmp_path)
    dataset.bring([MUG, CUP])
    (key,) = keys_of(desk.store, "requests/", f"-{end}.json")
    tear(desk.store, key)
    tear(desk.store, dataset.config.key("manifest", UNPARTITIONED))
    assert repair(dataset).mended[-1] == f"{key} was made anew"
    manifest = manifest_of(dataset)
    assert end in set(manifest["status"])
    assert dataset.bring().images_bought == 0


def test_a_torn_image_of_a_request_on_its_way_makes_room_for_the_whole_one(dataset, tear):
    dataset.desk.fault("download", "not_found", skip=1)
    dataset.bring([MUG])
    dataset.desk.heal()
    (key,) = keys_of(dataset.desk.store, "images/")
    tear(dataset.desk.store, key)
    stuck = dataset.bring()
    assert set(stuck.manifest["status"]) == {"pending"}
    assert key in stuck.manifest["reason"][0]
    assert "verify --repair" in stuck.manifest["reason"][0]
    assert len(repair(dataset).mended) == 1
    again = dataset.bring()
    assert (again.manifest["status"] == "stored").all()


def test_a_budget_log_goes_on_after_an_entry_that_cannot_be_read(dataset, damage):
    dataset.bring([MUG, CUP])
    store = dataset.desk.store
    before = read_budget(store, "scenes", today=True)
    entries = keys_of(store, budget_folder("scenes"))
    damage(store, entries[-1])
    reported = repair(dataset)
    assert reported.left == []
    assert entries[-1] in reported.mended[0]
    dataset.bring([MUG, CUP])
    dataset.bring([MUG, CUP, JUG])
    after = read_budget(store, "scenes", today=True)
    assert after.committed == before.committed + 3 * 28
    assert after.committed == dataset.desk.bill["credits"]
    assert json.loads(store.read(keys_of(store, budget_folder("scenes"))[-1]))["open"] == {}


@pytest.mark.parametrize("left", range(1, 4))
def test_no_credit_is_forgotten_or_counted_twice_wherever_the_log_is_cut(dataset, tear, left):
    """Every entry after the first `left` cannot be read, as after a disk that ran full."""
    dataset.bring([MUG])
    dataset.bring([MUG, CUP])
    store = dataset.desk.store
    entries = keys_of(store, budget_folder("scenes"))
    assert len(entries) > left
    for key in entries[left:]:
        tear(store, key)
    assert repair(dataset).left == []
    dataset.bring([MUG, CUP, JUG])
    dataset.desk.run([])
    assert read_budget(store, "scenes", today=False).committed == dataset.desk.bill["credits"]


def test_a_dataset_whose_log_cannot_be_read_buys_nothing_and_fetches_what_is_paid(dataset, tear):
    dataset.desk.fault("download", "not_found")
    dataset.bring([MUG])
    dataset.desk.heal()
    store = dataset.desk.store
    newest = keys_of(store, budget_folder("scenes"))[-1]
    tear(store, newest)
    credits = dataset.desk.bill["credits"]
    with pytest.raises(AssertionError, match="the quote is what was bought"):
        dataset.bring([MUG, CUP])
    assert dataset.desk.bill["credits"] == credits
    outcome = assemble_dataset(dataset.config, UNPARTITIONED, dataset.deployment)
    by_row = dict(zip(outcome.manifest["prompt_id"], outcome.manifest["status"], strict=True))
    assert by_row == {"mug": "stored", "cup": "over_budget"}
    reported = outcome.manifest[outcome.manifest["prompt_id"] == "cup"]["reason"].iloc[0]
    assert newest in reported
    assert "verify --repair" in reported
    assert repair(dataset).left == []
    assert dataset.bring([MUG, CUP]).images_bought == 1
