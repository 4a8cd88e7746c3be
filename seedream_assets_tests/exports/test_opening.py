"""The proof of an export: what it says of a good one, and that it finds what is wrong with a bad one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from seedream_assets.config.exports import ExportChoice
from seedream_assets.exports.formats import ExportTarget, default_target, find_export
from seedream_assets.exports.opening import LIBRARIES, Opening, open_export
from seedream_assets.storage.folder import FolderStore
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets_tests.exports.conftest import folder_of
from seedream_assets_tests.exports.dataset_builder import DatasetBuilder

OWNED = {
    "description": "Scenes",
    "license": "CC-BY-4.0",
    "creators": ("Data",),
    "url": "https://example.com/scenes",
}
SHARDED = {"webdataset": 4000, "parquet": 4000, "croissant": 4000}


def choice_of(name: str) -> ExportChoice:
    return ExportChoice(name=name, shard_bytes=SHARDED.get(name), split="part")


def write_and_open(dataset: DatasetBuilder, name: str) -> Opening:
    source = dataset.source_with(**OWNED)
    target = default_target(source, name)
    find_export(name).write(source, target, choice_of(name))
    return open_export(source, target, choice_of(name))


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_good_export_opens(scenes_anywhere: DatasetBuilder, name: str) -> None:
    scenes_anywhere.write(20, extra_columns={"part": ["train"] * 14 + ["val"] * 6})
    opened = write_and_open(scenes_anywhere, name)
    assert opened.problems == ()
    assert opened.incomplete == ()
    assert opened.passed
    assert opened.sampled > 0
    if scenes_anywhere.store.url.startswith("file") or name == "imagefolder":
        assert opened.rows == 20
    else:
        assert 0 < opened.rows < 20
        assert "a sample of" in opened.message


# Words to which pandas, Arrow, datasets, webdataset, Croissant or JSON-LD give a meaning, and what a table may hold besides.
NAMES = [
    *(
        "index",
        "level_0",
        "level_1",
        "Index",
        "__index_level_0__",
        "id",
        "label",
        "labels",
        "json",
        "txt",
        "cls",
        "jpg",
    ),
    *("bytes", "path", "image", "Image", "images", "file_name", "file", "split", "train", "features", "data", "text"),
    *("url", "key", "name", "type", "md5", "sha256", "__key__", "__url__", "prompt_2", "Prompt", "a.b", "a/b", "a:b"),
    *("'x'", '"q"', "ünïcode", "日本", "0", "-1", "None", "nan", "True", "_", "values", "size", "shape", "columns"),
    *(
        "count",
        "@id",
        "@type",
        "cr:field",
        "$ref",
        "A,B",
        "a|b",
        "[0]",
        "{x}",
        "%s",
        "a b",
        " lead",
        "trail ",
        "x" * 130,
    ),
]


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize(
    "seed", [None, *range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 60))]
)
def test_an_export_opens_whatever_its_columns_are_called(scenes: DatasetBuilder, name: str, seed: int | None) -> None:
    draw = Random(seed)
    # The first pair is the one that pandas' `reset_index`, and so mlcroissant, cannot take.
    drawn = ["index", "level_0"] if seed is None else draw.sample(NAMES, 7)
    columns = {column: draw.choice([[0, 1, 2, 3], ["a"] * 4]) for column in drawn}
    scenes.write(4, extra_columns=columns | {"part": "train"})
    opened = write_and_open(scenes, name)
    assert (opened.passed, opened.problems) == (True, ()), drawn


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_file_that_was_cut_is_found(scenes_anywhere: DatasetBuilder, name: str) -> None:
    scenes_anywhere.write(6, extra_columns={"part": "train"})
    write_and_open(scenes_anywhere, name)
    target = default_target(scenes_anywhere.source, name)
    suffix = {"imagefolder": ".jpg", "webdataset": ".tar"}.get(name, ".parquet")
    key = next(info.key for info in target.store.list(target.prefix) if info.key.endswith(suffix))
    body = target.store.read(key)
    target.store.replace(key, body[: len(body) // 2], content_type="application/octet-stream")
    opened = open_export(scenes_anywhere.source_with(**OWNED), target, choice_of(name))
    assert not opened.passed
    assert any(key.removeprefix(target.prefix) in problem for problem in opened.problems)


@pytest.mark.parametrize("name", LIBRARIES)
def test_another_picture_under_a_right_name_is_found(scenes: DatasetBuilder, name: str) -> None:
    """The bytes of a later dataset under the older one's names: all counts and most sizes fit."""
    scenes.write(4, extra_columns={"part": "train"})
    write_and_open(scenes, name)
    scenes.write([{"sha256": "00" * 32}] * 4, extra_columns={"part": "train"})
    target = default_target(scenes.source, name)
    opened = open_export(scenes.source_with(**OWNED), target, choice_of(name))
    assert not opened.passed
    assert "other bytes" in opened.message


@pytest.mark.parametrize("name", LIBRARIES)
def test_what_has_not_changed_since_it_was_opened_is_not_opened_again(
    scenes_anywhere: DatasetBuilder, name: str
) -> None:
    scenes_anywhere.write(6, extra_columns={"part": "train"})
    first = write_and_open(scenes_anywhere, name)
    again = write_and_open(scenes_anywhere, name)
    assert again.passed
    assert (again.rows, again.sampled, again.opened_at, again.basis) == (
        first.rows,
        first.sampled,
        first.opened_at,
        first.basis,
    )
    assert f"that was at {first.opened_at}, and nothing has changed since" in again.message


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_changed_byte_that_no_listing_shows_is_found_on_this_machine(scenes: DatasetBuilder, name: str) -> None:
    """The same size and the same time, by a careless copy or a failing disk."""
    scenes.write(4, extra_columns={"part": "train"})
    first = write_and_open(scenes, name)
    assert first.passed
    suffix = {"imagefolder": ".jpg", "webdataset": ".tar"}.get(name, ".parquet")
    path = next(iter(sorted(folder_of(scenes, name).rglob(f"*{suffix}"))))
    status = path.stat()
    body = bytearray(path.read_bytes())
    body[body.index(b"JFIF") + 20] ^= 1
    path.chmod(0o644)
    path.write_bytes(body)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    opened = open_export(scenes.source_with(**OWNED), default_target(scenes.source, name), choice_of(name))
    assert opened.problems


@pytest.mark.parametrize("changed", ["libraries", "opening_code_sha256", "listing_sha256", "manifests_sha256"])
def test_an_export_is_opened_again_when_what_its_opening_depended_on_has_changed(
    scenes: DatasetBuilder, changed: str
) -> None:
    scenes.write(4, extra_columns={"part": "train"})
    write_and_open(scenes, "parquet")
    record = folder_of(scenes, "parquet") / "opened-parquet.json"
    kept = json.loads(record.read_text())
    kept["basis"][changed] = "other"
    record.write_text(json.dumps(kept))
    assert "nothing has changed" not in write_and_open(scenes, "parquet").message
    assert "nothing has changed" in write_and_open(scenes, "parquet").message


def test_an_opening_that_found_something_wrong_is_not_kept(scenes: DatasetBuilder) -> None:
    scenes.write(4, extra_columns={"part": "train"})
    write_and_open(scenes, "parquet")
    scenes.write(2, extra_columns={"part": "train"}, partition="later", first=4)
    target = default_target(scenes.source, "parquet")
    for _ in range(2):
        assert open_export(scenes.source_with(**OWNED), target, choice_of("parquet")).problems


def test_a_dataset_that_has_grown_since_is_found(scenes: DatasetBuilder) -> None:
    scenes.write(4, extra_columns={"part": "train"})
    for name in LIBRARIES:
        write_and_open(scenes, name)
    scenes.write(2, extra_columns={"part": "train"}, partition="later", first=4)
    for name in LIBRARIES:
        opened = open_export(scenes.source_with(**OWNED), default_target(scenes.source, name), choice_of(name))
        assert opened.problems, name


def test_what_is_not_exported_or_not_complete_is_said(scenes: DatasetBuilder) -> None:
    scenes.write(2, extra_columns={"part": "train"})
    target = default_target(scenes.source, "imagefolder")
    assert "holds no complete export" in open_export(scenes.source, target, choice_of("imagefolder")).message
    write_and_open(scenes, "imagefolder")
    record = folder_of(scenes, "imagefolder") / "export.json"
    record.write_text(record.read_text().replace('"complete": true', '"complete": false'))
    assert "holds no complete export" in open_export(scenes.source, target, choice_of("imagefolder")).message


def test_a_croissant_file_without_an_owner_opens_and_is_not_passed(scenes: DatasetBuilder) -> None:
    scenes.write(2)
    target = default_target(scenes.source, "croissant")
    choice = ExportChoice(name="croissant")
    find_export("croissant").write(scenes.source, target, choice)
    opened = open_export(scenes.source, target, choice)
    assert opened.problems == ()
    assert opened.incomplete == (
        "description is missing",
        "url is missing",
        "license is missing",
        "creator is missing",
    )
    assert not opened.passed


def test_without_the_library_it_says_that_it_was_not_run(
    scenes: DatasetBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)  # as where it is not installed
    scenes.write(2, extra_columns={"part": "train"})
    opened = write_and_open(scenes, "imagefolder")
    assert not opened.ran
    assert not opened.passed
    assert "not run: datasets is not installed" in opened.message
    assert "seedream-assets[exports]" in opened.message


def test_a_split_word_in_the_address_changes_nothing(scenes: DatasetBuilder, tmp_path: Path) -> None:
    """A folder called test or dev above the export must not turn all of it into a test split."""
    scenes.write(5, extra_columns={"part": "train"})
    for name in LIBRARIES:
        place: ObjectStore = FolderStore(tmp_path / "test-data" / "dev" / name)
        target = ExportTarget(store=place)
        find_export(name).write(scenes.source, target, choice_of(name))
        opened = open_export(scenes.source_with(**OWNED), target, choice_of(name))
        assert opened.problems == (), name
        assert opened.rows == 5
        assert json.loads(place.read("export.json"))["complete"]


def test_nobody_waits_for_the_consumers_libraries_before_an_export_is_opened() -> None:
    """`datasets` alone takes seconds to import, and a deployment may do without the extra."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, seedream_assets.assets, seedream_assets.cli.export; print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"datasets", "webdataset", "mlcroissant"} & set(done.stdout.split())
