"""Whole datasets against their bucket, over both stores, with a store that takes no write."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from seedream_assets.errors import StoreError
from seedream_assets.images.inspect import image_key
from seedream_assets.leonardo.identity import image_id_for
from seedream_assets.manifest.verify import Verification, load_manifests, verify_images
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets_tests.purchase.counted_store import CountedStore, declare
from seedream_assets_tests.purchase.desk import Desk

PROMPTS = ["a red chair", "a blue chair", "a green chair"]
READS = ("read", "list", "list_folders", "head", "uri", "url", "now")


class ReadOnlyStore:
    """Lets nothing through that could leave a trace."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        assert name in READS, f"{name} was called on a store that is only to be read"
        return getattr(self._store, name)


def verify(store: ObjectStore, name: str = "scenes", *, deep: bool = False) -> Verification:
    read_only: Any = ReadOnlyStore(store)
    return verify_images(read_only, load_manifests(read_only, name), most_read=None if deep else 0, with_extra=True)


def kinds(found: Verification) -> Counter[str]:
    return Counter(difference.kind for difference in found.differences)


on_both_stores = pytest.mark.parametrize("bought", ["folder", "s3"], indirect=True)


@pytest.fixture
def bought(request: pytest.FixtureRequest, desk: Desk, tmp_path: Path) -> tuple[ObjectStore, list[str], Desk]:
    """A dataset of three images, and their keys in order."""
    is_s3 = getattr(request, "param", "folder") == "s3"
    store: ObjectStore = request.getfixturevalue("s3_store") if is_s3 else desk.store
    declare(tmp_path / "scenes", PROMPTS, store, desk.emulator).run()
    return store, sorted(info.key for info in store.list("images/")), desk


def test_a_dataset_as_it_was_bought_has_no_difference_and_the_comparison_writes_nothing(bought):
    store, keys, _ = bought
    before = list(store.list(""))
    for deep in (False, True):
        found = verify(store, deep=deep)
        assert (found.images, found.read, found.differences, found.unwanted) == (3, 3 * deep, (), 0)
    assert list(store.list("")) == before
    assert len(keys) == 3


@on_both_stores
def test_every_kind_of_difference_is_found(bought):
    store, (first, second, third), _ = bought
    body = store.read(second)
    store.delete(first)
    store.replace(second, body[: len(body) // 2], content_type="image/jpeg")
    store.replace(third, store.read(third).replace(b"EMULATED", b"emulated"), content_type="image/jpeg")
    nobodys = image_key(image_id_for("ab" * 32, 0), "jpg")
    store.create(nobodys, body, content_type="image/jpeg")
    found = verify(store)
    assert {one.object_key: one.kind for one in found.differences} == {
        first: "missing",
        second: "torn",
        nobodys: "extra",
    }
    deep = verify(store, deep=True)
    assert kinds(deep) == {"missing": 1, "torn": 1, "extra": 1, "wrong_hash": 1}
    assert deep.counts == {"missing": 1, "extra": 1, "torn": 1, "wrong_size": 0, "wrong_hash": 1}


def test_what_other_datasets_bought_is_not_extra_and_neither_is_what_is_not_wanted_any_more(bought, tmp_path):
    store, _, desk = bought
    declare(tmp_path / "others", ["a lamp", *PROMPTS], store, desk.emulator, name="others", quantity=3).run()
    assert verify(store).differences == ()
    assert verify(store, "others").differences == ()
    declare(tmp_path / "others", ["a lamp"], store, desk.emulator, name="others").run()
    found = verify(store, "others")
    assert (found.differences, found.images, found.unwanted) == ((), 1, 2)


def test_an_image_that_was_stored_before_its_ending_was_written_is_reported_as_what_it_is(bought):
    store, (first, *_), _ = bought
    (manifest,) = load_manifests(store, "scenes")
    manifest.loc[manifest["object_key"] == first, ["status", "object_key"]] = ["pending", None]
    (difference,) = verify_images(store, [manifest], most_read=0, with_extra=True).differences
    assert (difference.kind, difference.object_key, difference.message) == ("extra", first, "the manifest says pending")


def test_a_comparison_by_list_calls_reads_manifests_and_nothing_else(bought):
    store, _, _ = bought
    counted: Any = CountedStore(store)
    verify_images(counted, load_manifests(counted, "scenes"), most_read=0, with_extra=True)
    assert counted.take() == {"list datasets/manifest": 1, "read datasets/manifest": 1, "list images": 1}


def test_as_many_images_as_asked_for_are_read_spread_over_all(bought):
    store, _, _ = bought
    found = verify_images(store, load_manifests(store, "scenes"), most_read=2, with_extra=False)
    assert (found.images, found.read, found.unwanted) == (3, 2, None)


def test_a_dataset_that_was_never_built_cannot_be_verified(bought):
    store, _, _ = bought
    with pytest.raises(StoreError, match="nothing has no manifest in"):
        load_manifests(store, "nothing")
    with pytest.raises(StoreError, match="scenes, partition 2026-11-01, has no manifest"):
        load_manifests(store, "scenes", "2026-11-01")
