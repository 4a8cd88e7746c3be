"""The traps of this field, each with the library that falls into it."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seedream_assets.config.exports import ExportChoice
from seedream_assets.exports.croissant import missing_in_croissant
from seedream_assets.exports.formats import ExportReport, default_target, find_export
from seedream_assets.exports.opening import LIBRARIES, open_export
from seedream_assets.storage.folder import FolderStore
from seedream_assets_tests.exports.conftest import folder_of
from seedream_assets_tests.exports.dataset_builder import DatasetBuilder

# Every word that a loader takes for a split, and what else has broken one.
PROMPTS = [
    "a test tube",
    "train-station at dawn",
    "dev",
    "evaluation 1",
    "val.d'Isère",
    "two\nlines\r\nand a tab\t",
    "日本語 – “quoted”, 50 %",
    'comma, "quote"',
    "v1.0-a",
    "v1.0-b",
    "<b>bold</b> | pipe",
    "emoji 🦔",
]
TRAPS: dict[str, list[Any]] = {
    "image": ["x"] * 12,
    "images": ["x"] * 12,
    "file_name": ["a.jpg"] * 12,
    "x_file_name": ["b.jpg"] * 12,
    "file_names": ["c.jpg"] * 12,
    "__key__": ["key"] * 12,
    "__url__": ["url"] * 12,
    "index": ["i"] * 12,
    "level_0": ["l"] * 12,
    "label": ["cat", "dog"] * 6,
    "json": ["{}"] * 12,
    "jpg": ["no"] * 12,
    "a.b": ["dotted"] * 12,
    "a b/c": ["spaced"] * 12,
    "Größe": ["ß"] * 12,
    # Nothing in the first rows, which is where loaders look for types.
    "late": [None] * 8 + ["at last"] * 4,
    "late number": [None] * 8 + [1.5] * 4,
    "mixed": [1, "two", 3.5, None] * 3,
    "yes": [True, False] * 6,
    "list": [["a", "b"]] * 12,
    "whole": range(12),
}


def export(dataset: DatasetBuilder, name: str, **options: Any) -> ExportReport:
    source = dataset.source
    return find_export(name).write(source, default_target(source, name), ExportChoice(name=name, **options))


def load(folder: Path, tmp_path: Path, *, streaming: bool = False) -> Any:
    import datasets

    return datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"), streaming=streaming)


def columns_of(example: dict[str, Any]) -> dict[str, Any]:
    """A sample's columns: those of a tar are in its JSON."""
    columns: dict[str, Any] = example["json"] if "__key__" in example else example
    return columns


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def trapped(scenes: DatasetBuilder) -> DatasetBuilder:
    scenes.write([{"prompt": prompt} for prompt in PROMPTS], extra_columns=TRAPS)
    return scenes


@pytest.mark.parametrize("name", ["imagefolder", "parquet", "webdataset"])
@pytest.mark.parametrize("streaming", [False, True])
def test_every_row_arrives_with_its_prompt_whatever_its_words(
    trapped: DatasetBuilder, tmp_path: Path, name: str, streaming: bool
) -> None:
    export(trapped, name)
    loaded = load(folder_of(trapped, name), tmp_path, streaming=streaming)
    assert list(loaded) == ["train"]
    rows = [columns_of(example) for example in loaded["train"]]
    assert [row["prompt"] for row in rows] == PROMPTS
    assert [row["late"] or None for row in rows] == TRAPS["late"]
    for given, handed in (("image", "image_column"), ("x_file_name", "x_file_name_column"), ("a.b", "a.b")):
        assert [row[handed] for row in rows] == TRAPS[given]
    assert [row["mixed"] or None for row in rows] == ["1", "two", "3.5", None] * 3
    assert [row["yes"] for row in rows] == TRAPS["yes"]
    assert [json.loads(row["list"]) for row in rows] == TRAPS["list"]
    assert [row["whole"] for row in rows] == [*TRAPS["whole"]]
    assert [row["label"] for row in rows] == TRAPS["label"]


def test_tars_alone_load_too_though_the_first_samples_lack_a_value(trapped: DatasetBuilder, tmp_path: Path) -> None:
    """Without the card, types are guessed from five samples; a null there has made "at last" an error."""
    import datasets

    export(trapped, "webdataset")
    tars = str(folder_of(trapped, "webdataset") / "*.tar")
    loaded = datasets.load_dataset("webdataset", data_files={"train": tars}, cache_dir=str(tmp_path / "cache"))
    assert loaded["train"][-1]["json"]["late"] == "at last"
    assert loaded["train"][-1]["json"]["late number"] == "1.5"


def test_mlcroissant_reads_every_record_of_columns_with_any_name(trapped: DatasetBuilder) -> None:
    import mlcroissant

    export(trapped, "croissant")
    described = mlcroissant.Dataset(jsonld=str(folder_of(trapped, "croissant") / "croissant.json"))
    records = [*described.records("images")]
    assert [record["images/prompt"].decode() for record in records] == PROMPTS
    assert records[0]["images/a_b_c"] == b"spaced"
    assert records[0]["images/a.b"] == b"dotted"
    assert (records[0]["images/index"], records[0]["images/level_0_column"]) == (b"i", b"l")


def test_webp_can_be_read_everywhere(scenes: DatasetBuilder, tmp_path: Path) -> None:
    """Croissant's readers cannot read loose WebP files, which is why it describes Parquet."""
    import mlcroissant

    scenes.write([{"picture_format": "WEBP"}] * 3)
    for name in ("imagefolder", "parquet", "webdataset"):
        export(scenes, name)
        loaded = load(folder_of(scenes, name), tmp_path / name)["train"]
        assert loaded[0]["webp" if name == "webdataset" else "image"].size == (24, 24)
    export(scenes, "croissant")
    described = mlcroissant.Dataset(jsonld=str(folder_of(scenes, "croissant") / "croissant.json"))
    (first,) = islice(described.records("images"), 1)
    assert first["images/image"].size == (24, 24)


def test_several_formats_become_several_sets_of_tars(scenes: DatasetBuilder, tmp_path: Path) -> None:
    import datasets

    scenes.write([{"picture_format": "PNG" if number % 2 else "JPEG"} for number in range(6)])
    report = export(scenes, "webdataset")
    folder = folder_of(scenes, "webdataset")
    assert sorted(one.path for one in report.files) == ["README.md", "train-jpg-000000.tar", "train-png-000000.tar"]
    for suffix in ("jpg", "png"):
        loaded = datasets.load_dataset(str(folder), suffix, cache_dir=str(tmp_path / "cache"))["train"]
        assert len(loaded) == 3
        assert loaded[0][suffix].size == (24, 24)


def test_samples_have_one_key_one_image_and_no_trace_of_a_machine(trapped: DatasetBuilder) -> None:
    export(trapped, "webdataset")
    with tarfile.open(folder_of(trapped, "webdataset") / "train-000000.tar") as tar:
        members = tar.getmembers()
    assert {(one.mtime, one.uid, one.gid, one.uname, one.gname, one.mode) for one in members} == {
        (0, 0, 0, "", "", 0o644)
    }
    assert all(one.name.count(".") == 1 for one in members)
    keys = [one.name.split(".")[0] for one in members]
    assert keys[::2] == keys[1::2]
    assert Counter(keys) == dict.fromkeys(keys, 2)


@pytest.mark.parametrize("name", [*LIBRARIES])
def test_written_twice_it_is_the_same_to_the_byte(trapped: DatasetBuilder, tmp_path: Path, name: str) -> None:
    from seedream_assets.exports.formats import ExportTarget

    options = {} if name == "imagefolder" else {"shard_bytes": 3000}
    places = [tmp_path / "one", tmp_path / "two"]
    for place in places:
        target = ExportTarget(store=FolderStore(place))
        find_export(name).write(trapped.source, target, ExportChoice(name=name, **options))
    first, second = map(files_of, places)
    assert first == second
    assert len(first) > 4


@pytest.mark.parametrize("name", ["webdataset", "parquet"])
def test_shards_hold_all_rows_in_order_and_are_no_larger_than_asked(trapped: DatasetBuilder, name: str) -> None:
    report = export(trapped, name, shard_bytes=2000)
    shards = [one for one in report.files if one.rows]
    assert len(shards) > 2
    assert sum(one.rows for one in shards) == 12
    assert max(one.rows for one in shards) == 3  # of a good 650 bytes each
    if name == "parquet":
        assert shards[0].path == f"train-00000-of-{len(shards):05}.parquet"
        ids = [
            image_id
            for one in shards
            for image_id in pq.read_table(folder_of(trapped, name) / one.path)["prompt"].to_pylist()
        ]
        assert ids == PROMPTS


def test_parquet_says_itself_what_is_an_image_and_keeps_row_groups_small(
    trapped: DatasetBuilder, tmp_path: Path
) -> None:
    import datasets

    export(trapped, "parquet", row_group_bytes=2000)
    path = folder_of(trapped, "parquet") / "train-00000-of-00001.parquet"
    file = pq.ParquetFile(path)
    assert file.metadata.num_row_groups > 2
    assert file.schema_arrow.field("image").type == pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    assert not file.metadata.row_group(0).column(0).is_stats_set  # two whole images otherwise
    alone = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    assert isinstance(alone.features["image"], datasets.Image)
    ours = datasets.Features.from_arrow_schema(file.schema_arrow)
    assert ours == alone.features


@pytest.mark.parametrize("name", ["imagefolder", "parquet", "webdataset"])
def test_splits_come_from_the_tables_column(scenes: DatasetBuilder, tmp_path: Path, name: str) -> None:
    scenes.write(6, extra_columns={"split": ["Train", "dev", "testing", "train ", "VAL", "test"]})
    export(scenes, name, split="split")
    loaded = load(folder_of(scenes, name), tmp_path)
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 2, "validation": 2, "test": 2}
    rows = [columns_of(example) for example in loaded["validation"]]
    assert [row["prompt_id"] for row in rows] == ["p1", "p4"]


def test_partitions_that_do_not_agree_on_a_columns_type_load_as_one(scenes: DatasetBuilder, tmp_path: Path) -> None:
    scenes.write(2, extra_columns={"size": [1, 2], "only here": ["a", "b"]}, partition="2026-11-01")
    scenes.write(2, extra_columns={"size": ["small", "big"]}, partition="2026-11-02", first=2)
    scenes.write(2, extra_columns={"size": [None, None]}, partition="2026-11-03", first=4)
    for name in ("imagefolder", "parquet", "webdataset"):
        export(scenes, name)
        rows = [columns_of(example) for example in load(folder_of(scenes, name), tmp_path / name)["train"]]
        assert [row["size"] or None for row in rows] == ["1", "2", "small", "big", None, None]
        assert [row["only here"] or None for row in rows] == ["a", "b", None, None, None, None]


def test_only_stored_images_that_nobody_rejected_each_once(scenes: DatasetBuilder, tmp_path: Path) -> None:
    same = scenes.write(1)["image_id"][0]
    scenes.write(
        [
            {},
            {"rejected": True, "reject_reasons": "blank"},
            {"status": "withheld", "object_key": None, "sha256": None, "size_bytes": None},
            {"status": "pending"},
            {"image_id": same, "picture": 0, "prompt_id": "again"},
            {},
        ]
    )
    for name in ("imagefolder", "parquet", "webdataset"):
        report = export(scenes, name)
        assert report.rows == 2
        assert report.left_out == {"pending": 1, "rejected": 1, "shared": 1, "withheld": 1}
        rows = [columns_of(example) for example in load(folder_of(scenes, name), tmp_path / name)["train"]]
        assert [row["prompt_id"] for row in rows] == ["p0", "p5"]


def test_what_is_the_owners_business_is_not_handed_over(scenes: DatasetBuilder) -> None:
    scenes.write([{"source_url": "https://cdn.example/users/secret-user/1.jpg", "dagster_run_id": "secret-run"}] * 2)
    for name in LIBRARIES:
        export(scenes, name)
        everything = b"".join(files_of(folder_of(scenes, name)).values())
        assert b"secret" not in everything
        assert b"cost_amount" not in everything


def test_costs_are_handed_over_where_the_owner_wants_it(scenes: DatasetBuilder) -> None:
    scenes.write(2)
    source = scenes.source_with(costs=True)
    target = default_target(source, "imagefolder")
    find_export("imagefolder").write(source, target, ExportChoice(name="imagefolder"))
    assert "56 CREDITS" in (folder_of(scenes, "imagefolder") / "README.md").read_text()
    assert pq.read_table(folder_of(scenes, "imagefolder") / "train/metadata.parquet")["cost_amount"].to_pylist() == [
        28,
        28,
    ]


COMPLETE = {"description": "Scenes", "license": "CC0-1.0", "creators": ("Data",), "url": "https://example.com"}


@pytest.mark.parametrize("taken", ["name", "description", "url", "license", "creator", "datePublished", "conformsTo"])
def test_a_required_field_that_mlcroissant_does_not_miss_is_missed_by_us(scenes: DatasetBuilder, taken: str) -> None:
    scenes.write(2)
    source = scenes.source_with(**COMPLETE)
    find_export("croissant").write(source, default_target(source, "croissant"), ExportChoice(name="croissant"))
    description = json.loads((folder_of(scenes, "croissant") / "croissant.json").read_text())
    assert missing_in_croissant(description) == []
    del description[taken]
    assert [sentence for sentence in missing_in_croissant(description) if taken in sentence]


@pytest.mark.parametrize(
    "change", [{"encodingFormat": "application/vnd.apache.parquet"}, {"sha256": ""}, {"contentUrl": None}]
)
def test_a_file_that_readers_could_not_read_is_found_in_the_description(
    scenes: DatasetBuilder, change: dict[str, Any]
) -> None:
    scenes.write(2)
    export(scenes, "croissant")
    description = json.loads((folder_of(scenes, "croissant") / "croissant.json").read_text())
    before = missing_in_croissant(description)
    description["distribution"][0] |= change
    (found,) = [sentence for sentence in missing_in_croissant(description) if sentence not in before]
    assert next(iter(change)) in found


def test_a_changed_byte_is_found_by_the_checksums_in_the_description(scenes: DatasetBuilder) -> None:
    """mlcroissant compares the checksum of what it downloads, and of a file on this disk none."""
    scenes.write(2)
    source = scenes.source_with(**COMPLETE)
    target, choice = default_target(source, "croissant"), ExportChoice(name="croissant")
    find_export("croissant").write(source, target, choice)
    path = folder_of(scenes, "croissant") / "train-00000-of-00001.parquet"
    body = bytearray(path.read_bytes())
    body[body.index(b"JFIF") + 20] ^= 1
    path.write_bytes(body)
    assert any("does not have the sha256" in problem for problem in open_export(source, target, choice).problems)
