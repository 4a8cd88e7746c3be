"""Exports as part of the asset `dataset`: made once per run over all partitions, reported as metadata, proven by checks."""

from __future__ import annotations

import sys

import dagster as dg
import pytest

from seedream_assets_tests.assets.conftest import World, checks_of, metadata_of
from seedream_assets_tests.exports.conftest import consumers_at_home as consumers_at_home  # the fixture

OWNED = {"license": "CC0-1.0", "creators": ["Data"], "url": "https://example.com"}


def test_declared_exports_are_written_opened_and_described(world: World) -> None:
    rows = [{"prompt": f"a cup, number {number}", "quantity": 2} for number in range(3)]
    assets = world.assets(
        rows,
        exports=["imagefolder", {"webdataset": {"shard_bytes": 2000}}, "croissant"],
        card=OWNED,
        description="Cups",
    )
    result = world.run(assets)
    assert result.success
    checks = checks_of(result)
    for name in ("imagefolder", "webdataset", "croissant"):
        check = checks[f"export_{name}_opens"]
        assert check.passed, check.description
        assert check.metadata["rows"].value == check.metadata["rows_counted"].value == 6
        metadata = metadata_of(result, "dataset")
        assert metadata[f"export_{name}_rows"] == 6
        assert metadata[f"export_{name}_bytes"] > 0
        assert (world.folder / "store" / metadata[f"export_{name}"]).is_dir()


def test_a_second_run_writes_no_file_again(world: World) -> None:
    assets = world.assets([{"prompt": "a cup"}], exports=["imagefolder", "parquet"])
    world.run(assets)
    checks = checks_of(world.run(assets, "dataset"))
    for name in ("imagefolder", "parquet"):
        assert checks[f"export_{name}_opens"].metadata["files_written"].value == 0


def test_an_export_that_cannot_be_made_fails_its_check_and_nothing_else(world: World) -> None:
    assets = world.assets(
        [{"prompt": "a cup", "part": "train"}, {"prompt": "a mug", "part": "holdout"}],
        exports=[{"imagefolder": {"split": "part"}}, "parquet"],
    )
    result = world.run(assets)
    checks = checks_of(result)
    check = checks["export_imagefolder_opens"]
    assert result.success
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "'holdout'" in (check.description or "")
    assert checks["export_parquet_opens"].passed
    assert metadata_of(result, "dataset")["export_imagefolder"].startswith("not made: split: row 2")


def test_without_the_extra_the_check_warns_that_it_was_not_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)  # as where it is not installed
    result = world.run(world.assets([{"prompt": "a cup"}], exports=["imagefolder"]))
    check = checks_of(result)["export_imagefolder_opens"]
    assert result.success
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (check.description or "").startswith("not run: datasets is not installed")


def test_what_only_the_owner_can_say_is_missed_with_a_warning(world: World) -> None:
    result = world.run(world.assets([{"prompt": "a cup"}], exports=["croissant"]))
    check = checks_of(result)["export_croissant_opens"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "license is missing" in (check.description or "")


def test_a_partitioned_dataset_is_exported_whole_after_the_last_partition_of_a_run(world: World) -> None:
    days = ["2026-11-01", "2026-11-02"]
    rows = [{"prompt": f"a cup of {day}", "day": day} for day in days]
    assets = world.assets(rows, partitions={"by": "daily", "column": "day", "start": days[0]}, exports=["imagefolder"])
    both = world.run(assets, partition_range=(days[0], days[1]))
    assert both.success
    passed = [
        "export_imagefolder" in event.materialization.metadata
        for event in both.get_asset_materialization_events()
        if event.asset_key and event.asset_key.path[-1] == "dataset"
    ]
    assert sorted(passed[:2]) == [False, True]
    assert checks_of(both)["export_imagefolder_opens"].metadata["rows_counted"].value == 2
    one = world.run(assets, "dataset", partition=days[0])
    assert checks_of(one)["export_imagefolder_opens"].metadata["rows_counted"].value == 2
