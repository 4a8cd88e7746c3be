"""The check `account_matches_ledger`: only where it is declared, alone, and on a schedule that is off."""

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

ROWS = [{"prompt": "a red shoe"}, {"prompt": "a blue shoe"}]


def built(world: World, **attributes: Any) -> tuple[list[Any], list[Any]]:
    declared = {"name": "shoes", "prompts": {"table": "prompts.csv"}, "recipe": SIZE, **attributes}
    return build_checks(DatasetConfig(base=world.folder, **declared))


def run_alone(world: World) -> dg.AssetCheckEvaluation:
    checks, _ = built(world, reconcile={})
    key = dg.AssetCheckKey(dg.AssetKey(["shoes", "dataset"]), ACCOUNT_MATCHES)
    job = dg.define_asset_job("alone", selection=dg.AssetSelection.checks(key))
    defs = dg.Definitions(assets=world.assets(ROWS), asset_checks=checks, jobs=[job], resources=DEFAULT_RESOURCES)
    result = defs.resolve_job_def("alone").execute_in_process(instance=world.instance)
    assert not result.get_asset_materialization_events()
    return checks_of(result)[ACCOUNT_MATCHES]


def test_it_is_off_unless_the_yaml_asks_for_it(world: World) -> None:
    world.assets(ROWS)
    assert len(built(world)[0]) == 1
    checks, schedules = built(world, reconcile={})
    assert (len(checks), schedules) == (2, [])
    _, (schedule,) = built(world, reconcile={"schedule": "0 4 * * 1", "days": 3})
    assert schedule.name == "shoes_reconcile"
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED


@pytest.mark.parametrize(
    ("given", "told"), [({"days": 0}, "reconcile.days"), ({"schedule": "weekly"}, "reconcile.schedule")]
)
def test_what_cannot_be_is_refused_where_it_is_declared(world: World, given: dict[str, Any], told: str) -> None:
    world.assets(ROWS)
    with pytest.raises(ConfigError, match=told):
        built(world, reconcile=given)


def test_it_passes_where_the_books_agree_and_warns_where_they_do_not(world: World) -> None:
    assert world.run(world.assets(ROWS)).success
    clean = run_alone(world)
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
    found = run_alone(world)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (found.metadata["not_in_ledger"].value, found.metadata["credits_not_in_ledger"].value) == (1, 56)
    assert job.generation_id in str(found.metadata["found"].value)
