"""The check `bucket_matches_manifest`: with a materialisation, alone, and on a schedule that is off."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from seedream_assets.assets import build_checks
from seedream_assets.components.seedream_resources import DEFAULT_RESOURCES
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets_tests.assets.conftest import SIZE, World, checks_of

NAME = "bucket_matches_manifest"
ROWS = [{"prompt": "a red shoe"}, {"prompt": "a blue shoe"}]


def definitions(world: World, **attributes: Any) -> dg.Definitions:
    declared = {"name": "shoes", "prompts": {"table": "prompts.csv"}, "recipe": SIZE, **attributes}
    config = DatasetConfig(base=world.folder, **declared)
    checks, schedules = build_checks(config)
    return dg.Definitions(
        assets=world.assets(ROWS, **attributes), asset_checks=checks, schedules=schedules, resources=DEFAULT_RESOURCES
    )


def run_check_alone(world: World, defs: dg.Definitions) -> dg.AssetCheckEvaluation:
    selection = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(["shoes", "dataset"]), NAME))
    job = dg.define_asset_job("alone", selection=selection)
    result = (
        dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
        .resolve_job_def("alone")
        .execute_in_process(instance=world.instance)
    )
    assert not result.get_asset_materialization_events()
    return checks_of(result)[NAME]


@pytest.mark.parametrize("deep", [False, True])
def test_it_runs_alone_and_finds_what_has_gone_since(world: World, deep: bool) -> None:
    defs = definitions(world, verify={"deep": deep})
    assert world.run(world.assets(ROWS)).success
    clean = run_check_alone(world, defs)
    assert (clean.passed, clean.metadata["images"].value, clean.metadata["images_read"].value) == (True, 2, 2 * deep)
    image = next(path for path in (world.folder / "store" / "images").rglob("*.jpg"))
    image.unlink()
    found = run_check_alone(world, defs)
    assert (found.passed, found.metadata["missing"].value) == (False, 1)
    assert image.name in str(found.metadata["found"].value)
    assert str(found.description).startswith("1 images are not as the manifest says: 1 missing")


def test_before_anything_was_built_it_says_so_and_is_not_passed(world: World) -> None:
    with pytest.raises(dg.Failure, match="has no manifest"):
        run_check_alone(world, definitions(world))


def test_a_schedule_is_there_when_the_yaml_names_one_and_is_off(world: World) -> None:
    assert not list(definitions(world).schedules or ())
    defs = definitions(world, verify={"schedule": "0 3 * * *"})
    schedule = defs.resolve_schedule_def("shoes_verify")
    assert (schedule.cron_schedule, schedule.default_status) == ("0 3 * * *", dg.DefaultScheduleStatus.STOPPED)
    result = defs.resolve_job_def(schedule.job_name)
    assert set(result.asset_layer.executable_asset_keys) == set()


def test_it_is_a_check_of_the_component(world: World) -> None:
    checks = {key.name for key in definitions(world).resolve_asset_graph().asset_check_keys}
    assert NAME in checks
