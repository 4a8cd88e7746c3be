"""How exports are written: resumed, renewed, cleaned up, without a second download, and never over somebody's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seedream_assets.config.exports import ExportChoice
from seedream_assets.errors import ExportError, StoreUnavailable
from seedream_assets.exports.formats import ExportReport, ExportSource, ExportTarget, default_target, find_export
from seedream_assets.exports.opening import LIBRARIES
from seedream_assets.storage.folder import FolderStore
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.s3 import S3Store
from seedream_assets_tests.exports.conftest import folder_of
from seedream_assets_tests.exports.dataset_builder import DatasetBuilder

SMALL = {"webdataset": {"shard_bytes": 2000}, "parquet": {"shard_bytes": 2000}, "croissant": {"shard_bytes": 2000}}


class DyingStore:
    """A store that breaks at its n-th write."""

    def __init__(self, store: ObjectStore, writes: int) -> None:
        self._store, self._left = store, writes

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in ("replace", "replace_from_file", "copy_from"):
            return found

        def counted(*args: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise StoreUnavailable("the disk is gone")
            return found(*args, **options)

        return counted


def write(source: ExportSource, name: str, target: ExportTarget | None = None) -> ExportReport:
    choice = ExportChoice(name=name, **SMALL.get(name, {}))
    return find_export(name).write(source, target or default_target(source, name), choice)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", [*LIBRARIES])
@pytest.mark.parametrize("writes", [0, 1, 3, 5])
def test_interrupted_and_run_again_it_finishes_and_keeps_what_is_whole(
    scenes: DatasetBuilder, tmp_path: Path, name: str, writes: int
) -> None:
    scenes.write(9)
    whole = FolderStore(tmp_path / "whole")
    at_once = write(scenes.source, name, ExportTarget(store=whole))
    store = FolderStore(tmp_path / "broken")
    dying: Any = DyingStore(store, writes)
    with pytest.raises(StoreUnavailable):
        write(scenes.source, name, ExportTarget(store=dying))
    if writes:
        assert not json.loads(store.read("export.json"))["complete"]
    again = write(scenes.source, name, ExportTarget(store=store))
    assert files_of(tmp_path / "broken") == files_of(tmp_path / "whole")
    assert again.written + again.kept == at_once.written
    if writes >= 5:
        assert again.kept > 0
    assert write(scenes.source, name, ExportTarget(store=store)).written == 0


@pytest.mark.parametrize("name", [*LIBRARIES])
def test_what_the_dataset_has_no_longer_goes_and_what_is_not_ours_stays(scenes: DatasetBuilder, name: str) -> None:
    scenes.write(9)
    write(scenes.source, name)
    folder = folder_of(scenes, name)
    (folder / "LICENSE").write_text("mine")
    (folder / "train").mkdir(exist_ok=True)
    (folder / "train" / "notes.txt").write_text("mine")
    scenes.write(2)
    report = write(scenes.source, name)
    assert report.removed > 0
    left = files_of(folder)
    assert left.pop("LICENSE") == left.pop("train/notes.txt") == b"mine"
    assert not {path for path in left if path.startswith("train-") and "of-00001" not in path and ".tar" not in path}
    assert sum(1 for path in left if path.endswith((".jpg", ".tar", ".parquet"))) == {"imagefolder": 3}.get(name, 1)


def test_on_one_disk_images_are_not_copied(scenes: DatasetBuilder) -> None:
    manifest = scenes.write(3)
    write(scenes.source, "imagefolder")
    store = Path(scenes.store.url.removeprefix("file://"))
    for image_id, key in zip(manifest["image_id"], manifest["object_key"], strict=True):
        assert (folder_of(scenes, "imagefolder") / "train" / f"{image_id}.jpg").samefile(store / key)


def test_in_s3_no_image_is_downloaded_for_an_imagefolder(s3_store: S3Store, s3_client: Any) -> None:
    dataset = DatasetBuilder(store=s3_store)
    dataset.write(5)
    calls: list[tuple[str, str]] = []

    def note(model: Any, params: Any, **_: Any) -> None:
        calls.append((model.name, params["url_path"]))

    s3_client.meta.events.register("before-call.s3", note, unique_id="noted")
    try:
        write(dataset.source, "imagefolder")
    finally:
        s3_client.meta.events.unregister("before-call.s3", unique_id="noted")
    assert sum(1 for name, _ in calls if name == "CopyObject") == 5
    assert not [path for name, path in calls if name == "GetObject" and "/images/images/" in path]


def test_from_a_bucket_to_this_machine_and_back(s3_store: S3Store, folder_store: FolderStore) -> None:
    for here, there in ((s3_store, folder_store), (folder_store, s3_store)):
        dataset = DatasetBuilder(store=here)
        manifest = dataset.write(3)
        report = write(dataset.source, "imagefolder", ExportTarget(store=there, prefix="handed/over/"))
        assert report.rows == 3
        for image_id, key in zip(manifest["image_id"], manifest["object_key"], strict=True):
            assert there.read(f"handed/over/train/{image_id}.jpg") == here.read(key)


def test_another_exports_place_is_refused(scenes: DatasetBuilder) -> None:
    scenes.write(2)
    other = DatasetBuilder(store=scenes.store, name="other")
    other.write(2)
    write(scenes.source, "parquet")
    target = default_target(scenes.source, "parquet")
    for source, name in ((scenes.source, "webdataset"), (other.source, "parquet")):
        with pytest.raises(ExportError, match="holds the parquet export of scenes"):
            write(source, name, target)


def test_an_image_that_is_not_the_manifests_is_not_exported(scenes: DatasetBuilder) -> None:
    scenes.write([{}, {"sha256": "00" * 32}])
    for name in ("parquet", "webdataset"):
        with pytest.raises(ExportError, match="does not have the hash of the manifest"):
            write(scenes.source, name)


def test_nothing_to_export_is_said(scenes: DatasetBuilder) -> None:
    with pytest.raises(ExportError, match="holds no manifest"):
        write(scenes.source, "imagefolder")
    scenes.write([{"status": "pending"}])
    with pytest.raises(ExportError, match="no image to export: 1 pending"):
        write(scenes.source, "imagefolder")


@pytest.mark.parametrize("value", ["holdout", "", None, 3])
def test_a_split_that_is_none_names_row_value_and_what_is_allowed(scenes: DatasetBuilder, value: Any) -> None:
    scenes.write(2, extra_columns={"part": ["train", value]})
    with pytest.raises(ExportError, match="split: row 2 has .* allowed are train, training"):
        find_export("parquet").write(
            scenes.source, default_target(scenes.source, "parquet"), ExportChoice(name="parquet", split="part")
        )
    with pytest.raises(ExportError, match="has no column 'nowhere'"):
        find_export("parquet").write(
            scenes.source, default_target(scenes.source, "parquet"), ExportChoice(name="parquet", split="nowhere")
        )
