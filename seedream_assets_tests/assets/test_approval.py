"""Preview, approve, run, as Dagster's records show it."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pytest

from seedream_assets_tests.assets.conftest import World, checks_of, failure_of, metadata_of

ROWS = [{"prompt": f"a red shoe, number {number}", "quantity": 2, "day": "2026-11-03"} for number in range(6)]
ROWS[1]["prompt"] = "a shoe emulate-blocked"
APPROVAL = {"above_credits": 200, "preview": 4}
WHOLE = 12 * 28
DAILY = {"by": "daily", "column": "day", "start": "2026-11-01"}


def approving(plan: object, by: str = "ann", name: str = "shoes") -> dict[str, Any]:
    return {"ops": {f"{name}__images": {"config": {"approve": plan, "approved_by": by}}}}


def test_the_preview_is_bought_and_shown_and_the_rest_after_an_approval_in_the_run_configuration(world: World) -> None:
    assets = world.assets(ROWS, approval=APPROVAL)
    first = world.run(assets)
    assert not first.success
    assert "awaiting approval" in failure_of(first)
    assert "the check plan_is_approved shows the preview and how to approve the plan" in failure_of(first)
    check = checks_of(first)["plan_is_approved"]
    assert not check.passed
    values = {name: value.value for name, value in check.metadata.items()}
    assert (values["preview_wanted"], values["preview_stored"], values["preview_without_image"]) == (4, 3, 1)
    assert (values["failure_share"], values["preview_cost"], values["images_left"]) == (0.25, 84, 8)
    # What is blocked costs nothing, and of the rest a quarter may be.
    assert (values["cost_per_image"], values["projected_total"], values["credits_to_approve"]) == (
        21,
        84 + 8 * 21,
        WHOLE,
    )
    assert values["contact_sheet"].count("data:image/jpeg;base64,") == 3
    assert f"approve: {values['plan_hash']}" in values["how_to_approve"]
    assert world.bill["credits"] == 84
    assert metadata_of(first, "generation_requests")["plan_hash"] == values["plan_hash"]
    rest = world.run(assets, "images", "dataset", run_config=approving(values["plan_hash"]))
    assert rest.success, failure_of(rest)
    check = checks_of(rest)["plan_is_approved"]
    assert check.passed
    assert "approved by ann at" in str(check.description)
    assert world.bill["credits"] == 10 * 28
    record = json.loads(world.store.read(f"datasets/shoes/approvals/all/{values['plan_hash']}.json"))
    assert (record["by"], record["credits"], record["dagster_run_id"]) == ("ann", WHOLE, rest.run_id)


def test_nothing_more_is_bought_without_an_approval(world: World) -> None:
    assets = world.assets(ROWS, approval=APPROVAL)
    world.run(assets)
    for stages in ([], ["images"]):
        assert not world.run(assets, *stages).success
    assert world.bill["credits"] == 84


def test_an_approval_of_another_plan_buys_nothing(world: World) -> None:
    assets = world.assets(ROWS, approval=APPROVAL)
    result = world.run(assets, run_config=approving("0123456789abcdef"))
    assert not result.success
    assert "plan 0123456789abcdef was approved, but the plan is " in failure_of(result)
    assert world.bill["requests"]["creates"] == 0


def test_a_hash_that_fits_nothing_is_refused_where_no_approval_is_needed_too(world: World) -> None:
    assets = world.assets(ROWS, approval={"above_credits": WHOLE, "preview": 4})
    result = world.run(assets, run_config=approving("0123456789abcdef"))
    assert "plan 0123456789abcdef was approved, but the plan is " in failure_of(result)
    assert world.bill["requests"].get("creates", 0) == 0
    plan_hash = metadata_of(result, "generation_requests")["plan_hash"]
    for _ in range(2):
        again = world.run(assets, run_config=approving(plan_hash))
        assert again.success, failure_of(again)


def test_a_run_that_is_within_the_threshold_asks_for_nothing(world: World) -> None:
    result = world.run(world.assets(ROWS, approval={"above_credits": WHOLE, "preview": 4}))
    assert result.success, failure_of(result)
    assert "at most 336 credits need no approval" in str(checks_of(result)["plan_is_approved"].description)


def test_only_datasets_that_ask_for_approvals_have_the_check_and_the_configuration(world: World) -> None:
    plain, asking = world.assets(ROWS)[2], world.assets(ROWS, approval=APPROVAL)[2]
    assert [spec.name for spec in plain.check_specs] == []
    assert [(spec.name, spec.blocking) for spec in asking.check_specs] == [("plan_is_approved", True)]
    with pytest.raises(dg.DagsterInvalidConfigError):
        world.run(world.assets(ROWS), run_config=approving("0123456789abcdef"))


def test_a_range_is_added_up_previewed_as_one_and_approved_with_one_hash(world: World) -> None:
    rows = [*ROWS[2:], *({**row, "prompt": f"{row['prompt']}, again", "day": "2026-11-04"} for row in ROWS[2:])]
    assets = world.assets(rows, partitions=DAILY, approval={"above_credits": 300, "preview": 4})
    span = ("2026-11-03", "2026-11-04")
    first = world.run(assets, partition_range=span)
    assert not first.success
    check = checks_of(first)["plan_is_approved"]
    assert not check.passed
    assert world.bill["credits"] == 4 * 28
    values = {name: value.value for name, value in check.metadata.items()}
    assert values["contact_sheet 2026-11-03"].count("data:image/jpeg") == 2
    assert values["contact_sheet 2026-11-04"].count("data:image/jpeg") == 2
    plan, both = values["plan_hash"], "--partition 2026-11-03 \\\n    --partition 2026-11-04\n"
    assert f"seedream approve dataset.yaml --plan {plan} \\\n    {both}" in values["how_to_approve"]
    assert values["credits_to_approve"] == 16 * 28
    rest = world.run(assets, partition_range=span, run_config=approving(plan))
    assert rest.success, failure_of(rest)
    assert world.bill["credits"] == 16 * 28
    alone = world.run(assets, partition="2026-11-03")
    assert alone.success, failure_of(alone)


def test_a_range_that_nobody_approves_has_one_preview_however_often_it_runs(world: World) -> None:
    rows = [*ROWS[2:], *({**row, "prompt": f"{row['prompt']}, again", "day": "2026-11-04"} for row in ROWS[2:])]
    # What the whole range costs less one image: the preview is no way below it.
    assets = world.assets(rows, partitions=DAILY, approval={"above_credits": 16 * 28 - 1, "preview": 4})
    for _ in range(3):
        result = world.run(assets, partition_range=("2026-11-03", "2026-11-04"))
        assert not result.success
        assert checks_of(result)["plan_is_approved"].metadata["credits_to_approve"].value == 16 * 28
        assert world.bill["credits"] == 4 * 28


def test_one_partition_of_a_range_that_is_below_the_threshold_alone_is_bought_alone(world: World) -> None:
    rows = [*ROWS[2:], *({**row, "prompt": f"{row['prompt']}, again", "day": "2026-11-04"} for row in ROWS[2:])]
    assets = world.assets(rows, partitions=DAILY, approval={"above_credits": 300, "preview": 4})
    result = world.run(assets, partition="2026-11-03")
    assert result.success, failure_of(result)
    assert world.bill["credits"] == 8 * 28
