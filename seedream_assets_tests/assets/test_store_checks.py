"""The checks that run on their own: bucket against manifests, account against ledger."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from seedream_assets.assets import build_checks
from seedream_assets.assets.store_checks import ACCOUNT_MATCHES
from seedream_assets.components.seedream_resources import DEFAULT_RESOURCES
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.emulator.jobs import Order
from seedream_assets.errors import ConfigError
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


def test_it_runs_alone_and_finds_what_has_gone_since(world: World) -> None:
    assert world.run(world.assets(ROWS)).success
    for deep in (False, True):
        defs = definitions(world, verify={"deep": deep})
        clean = run_check_alone(world, defs)
        images, read = clean.metadata["images"].value, clean.metadata["images_read"].value
        assert (clean.passed, images, read) == (True, 2, 2 * deep)
    image = next(path for path in (world.folder / "store" / "images").rglob("*.jpg"))
    image.unlink()
    found = run_check_alone(world, defs)
    assert (found.passed, found.metadata["images_missing"].value) == (False, 1)
    assert image.name in str(found.metadata["found"].value)
    assert str(found.description).startswith("1 image not as the manifest says: 1 missing")


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


def built(world: World, **attributes: Any) -> tuple[list[Any], list[Any]]:
    declared = {"name": "shoes", "prompts": {"table": "prompts.csv"}, "recipe": SIZE, **attributes}
    return build_checks(DatasetConfig(base=world.folder, **declared))


def run_account_check_alone(world: World) -> dg.AssetCheckEvaluation:
    checks, _ = built(world, reconcile={})
    key = dg.AssetCheckKey(dg.AssetKey(["shoes", "dataset"]), ACCOUNT_MATCHES)
    job = dg.define_asset_job("alone", selection=dg.AssetSelection.checks(key))
    defs = dg.Definitions(assets=world.assets(ROWS), asset_checks=checks, jobs=[job], resources=DEFAULT_RESOURCES)
    result = defs.resolve_job_def("alone").execute_in_process(instance=world.instance)
    assert not result.get_asset_materialization_events()
    return checks_of(result)[ACCOUNT_MATCHES]


def test_the_account_check_is_off_unless_the_yaml_asks_for_it(world: World) -> None:
    world.assets(ROWS)
    assert len(built(world)[0]) == 1
    checks, schedules = built(world, reconcile={})
    assert (len(checks), schedules) == (2, [])
    _, (schedule,) = built(world, reconcile={"schedule": "0 4 * * 1", "days": 3})
    assert schedule.name == "shoes_reconcile"
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED


@pytest.mark.parametrize(
    ("given", "place"), [({"days": 0}, "reconcile.days"), ({"schedule": "weekly"}, "reconcile.schedule")]
)
def test_a_reconcile_that_cannot_be_is_refused_where_it_is_declared(
    world: World, given: dict[str, Any], place: str
) -> None:
    world.assets(ROWS)
    with pytest.raises(ConfigError, match=place):
        built(world, reconcile=given)


def test_the_account_check_passes_where_the_books_agree_and_warns_where_they_do_not(world: World) -> None:
    assert world.run(world.assets(ROWS)).success
    clean = run_account_check_alone(world)
    assert (clean.passed, clean.metadata["in_both"].value, clean.metadata["balance_unit"].value) == (True, 2, "CREDITS")
    order = Order(
        model="seedream-4.0",
        prompt="something else",
        width=64,
        height=64,
        quantity=2,
        seed=1,
        style_ids=(),
        prompt_enhance="OFF",
        references=(),
        public=False,
    )
    job = world.emulator.account.add_web_app_generation(order)
    found = run_account_check_alone(world)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (found.metadata["not_in_ledger"].value, found.metadata["credits_not_in_ledger"].value) == (1, 56)
    assert job.generation_id in str(found.metadata["found"].value)
