"""Partitioned datasets: one event per finished partition, and a partition that fails stops no other."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import pytest

from seedream_assets.config.dataset import partition_in_key
from seedream_assets_tests.assets.conftest import STAGES, World, checks_of, failure_of, metadata_of

DAILY = {"by": "daily", "column": "day", "start": "2026-11-01"}
DAYS = [
    {"prompt": "first day, a", "day": "2026-11-01"},
    {"prompt": "first day, b", "day": "2026-11-01"},
    {"prompt": "third day", "day": "2026-11-03"},
    {"prompt": "fourth day", "day": "2026-11-04"},
]
FIRST_FOUR = ("2026-11-01", "2026-11-04")


def partitions_told(world: World, stage: str) -> list[str]:
    """The partitions that a stage was materialised for, one entry per event."""
    records = world.instance.fetch_materializations(dg.AssetKey(["shoes", stage]), limit=100, ascending=True).records
    return sorted(str(record.partition_key) for record in records)


def observed(world: World, stage: str) -> dict[tuple[str, str], str]:
    """What the observations of a stage say, by partition and label."""
    records = world.instance.fetch_observations(dg.AssetKey(["shoes", stage]), limit=100, ascending=True).records
    seen = [record.event_log_entry.asset_observation for record in records]
    return {
        (str(one.partition), label): str(value.value) for one in seen if one for label, value in one.metadata.items()
    }


def test_one_partition_is_one_run(world: World) -> None:
    result = world.run(world.assets(DAYS, partitions=DAILY), partition="2026-11-01")
    assert result.success, failure_of(result)
    assert partitions_told(world, "dataset") == ["2026-11-01"]
    assert metadata_of(result, "dataset")["images_stored"] == 2
    assert world.store.head("datasets/shoes/manifest/2026-11-01.parquet") is not None


def test_a_range_is_one_run_with_one_event_for_each_partition(world: World) -> None:
    assets = world.assets(DAYS, partitions=DAILY)
    result = world.run(assets, partition_range=("2026-11-03", "2026-11-04"))
    assert result.success, failure_of(result)
    for stage in ("prompts", "generation_requests", "images", "dataset"):
        assert partitions_told(world, stage) == ["2026-11-03", "2026-11-04"]
    assert world.bill["credits"] == 56


def test_a_day_without_rows_fails_the_run_and_stops_no_other_day(world: World) -> None:
    result = world.run(world.assets(DAYS, partitions=DAILY), "prompts", partition_range=FIRST_FOUR)
    assert not result.success
    assert partitions_told(world, "prompts") == ["2026-11-01", "2026-11-03", "2026-11-04"]
    assert "1 of 4 partitions are not whole:\n2026-11-02: no row of the table" in failure_of(result)


def test_the_other_days_go_through_all_stages_and_the_run_fails_in_the_last(world: World) -> None:
    result = world.run(world.assets(DAYS, partitions=DAILY), partition_range=FIRST_FOUR)
    assert not result.success
    for stage in STAGES:
        assert partitions_told(world, stage) == ["2026-11-01", "2026-11-03", "2026-11-04"]
    assert "1 of 4 partitions are not whole:\n2026-11-02: prompts: no row of the table" in failure_of(result)
    failed = [event.step_key for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    assert failed == ["shoes__dataset"]
    assert failure_of(result).endswith(
        "\n3 are whole. Materialise the others again once that is mended: what is owned stays owned."
    )
    assert world.bill["credits"] == 4 * 28


def test_every_asset_tells_why_it_has_not_the_partition(world: World) -> None:
    world.run(world.assets(DAYS, partitions=DAILY), partition_range=FIRST_FOUR)
    seen = {stage: observed(world, stage) for stage in STAGES}
    why = "no row of the table"
    assert [list(seen[stage]) for stage in STAGES] == [
        [("2026-11-02", "not_whole")],
        *[[("2026-11-02", "left_out")]] * 3,
    ]
    assert seen["prompts"]["2026-11-02", "not_whole"].startswith(why)
    assert all(seen[stage]["2026-11-02", "left_out"].startswith(f"prompts: {why}") for stage in STAGES[1:])


def test_a_day_whose_table_cannot_be_read_any_more_is_not_bought_from_an_earlier_reading(world: World) -> None:
    span = ("2026-11-03", "2026-11-04")
    for day in span:
        world.write_table([{"prompt": f"of {day}"}], f"{day}.csv")
    by_path = {"partitions": {"by": "daily", "start": "2026-11-01"}, "prompts": {"table": "{partition}.csv"}}
    world.run(world.assets(**by_path), "prompts", "generation_requests", partition_range=span)
    (world.folder / "2026-11-04.csv").unlink()
    result = world.run(world.assets(**by_path), partition_range=span)
    assert "2026-11-04: prompts: there is no file" in failure_of(result)
    assert partitions_told(world, "images") == ["2026-11-03"]
    assert world.bill["credits"] == 28


def test_a_range_of_which_nothing_can_be_read_fails_where_it_stands(world: World) -> None:
    result = world.run(world.assets(DAYS, partitions=DAILY), partition_range=("2026-11-10", "2026-11-11"))
    failed = [event.step_key for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    assert failed == ["shoes__prompts"]
    assert "2 of 2 partitions are not whole" in failure_of(result)


def test_a_day_over_the_budget_keeps_no_finished_day_from_its_dataset(world: World) -> None:
    span = ("2026-11-03", "2026-11-04")
    world.run(world.assets(DAYS, partitions=DAILY), "prompts", "generation_requests", partition_range=span)
    capped = world.assets(DAYS, partitions=DAILY, budget={"max_credits_per_run": 28})
    result = world.run(capped, "images", "dataset", partition_range=span)
    assert partitions_told(world, "dataset") == ["2026-11-03"]
    assert "2026-11-04: images: not every image is final: 1 over budget" in failure_of(result)


def test_finished_partitions_stay_reported_when_a_later_one_is_not_whole(world: World) -> None:
    assets = world.assets(DAYS, partitions=DAILY)
    span = ("2026-11-03", "2026-11-04")
    world.run(assets, "prompts", "generation_requests", partition_range=span)
    capped = world.assets(DAYS, partitions=DAILY, budget={"max_credits_per_run": 28})
    result = world.run(capped, "images", partition_range=span)
    assert not result.success
    assert partitions_told(world, "images") == ["2026-11-03"]
    assert "1 of 2 partitions are not whole:\n2026-11-04: not every image is final: 1 over budget" in failure_of(result)


def test_a_range_has_one_budget_for_one_run(world: World) -> None:
    assets = world.assets(DAYS, partitions=DAILY)
    span = ("2026-11-03", "2026-11-04")
    world.run(assets, "prompts", partition_range=span)
    capped = world.assets(DAYS, partitions=DAILY, budget={"max_credits_per_run": 55})
    quoted = world.run(capped, "generation_requests", partition_range=span)
    check = checks_of(quoted)["quote_within_budget"]
    assert not check.passed
    assert "2026-11-04 | failed | 56 credits to buy" in str(check.metadata["by_partition"].value)
    result = world.run(capped, "images", partition_range=span)
    assert world.bill["credits"] == 28
    assert "this run's other partitions had booked 28 credits before" in failure_of(result)


@pytest.mark.parametrize("by", ["column", "table"])
def test_a_dynamic_partition_is_materialised_once_its_key_is_added(world: World, by: str) -> None:
    if by == "column":
        rows = [{"prompt": "red", "colour": "dark red"}, {"prompt": "blue", "colour": "blue"}]
        assets = world.assets(rows, partitions={"by": "column", "column": "colour"})
    else:
        world.write_table([{"prompt": "red"}], "dark red.csv")
        world.write_table([{"prompt": "blue"}], "blue.csv")
        assets = world.assets(partitions={"by": "table"}, prompts={"table": "*.csv"})
    world.instance.add_dynamic_partitions("shoes", ["dark red", "blue"])
    result = world.run(assets, partition="dark red")
    assert result.success, failure_of(result)
    assert metadata_of(result, "dataset")["images_stored"] == 1
    both = world.run(assets, partition_range=("dark red", "blue"))
    assert both.success, failure_of(both)
    assert world.bill["credits"] == 56


def test_what_stops_one_partition_for_good_is_not_tried_on_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = world.assets(DAYS, partitions=DAILY)
    span = ("2026-11-03", "2026-11-04")
    world.run(assets, "prompts", "generation_requests", partition_range=span)
    monkeypatch.setenv("LEONARDO_API_KEY", "00000000-0000-4000-8000-000000000000")
    result = world.run(assets, "images", partition_range=span)
    assert "2 of 2 partitions were not begun, 2026-11-03 the first of them" in failure_of(result)
    assert world.bill["requests"]["creates"] == 0


def test_daily_days_follow_the_calendar(world: World) -> None:
    (asset, *_) = world.assets(DAYS, partitions=DAILY)
    assert isinstance(asset.partitions_def, dg.DailyPartitionsDefinition)
    assert asset.backfill_policy == dg.BackfillPolicy.single_run()


@pytest.mark.parametrize(
    ("by", "value", "key", "partitions"),
    [
        ("hourly", "2026-11-01T06:10:00", "2026-11-01-06:00", {}),
        ("weekly", "2026-11-04", "2026-11-02", {"day_offset": 1}),
        ("monthly", "2026-11-04", "2026-11", {"format": "%Y-%m", "timezone": "Europe/Berlin"}),
    ],
)
def test_other_windows_are_partitions_of_all_four_assets(
    world: World, by: str, value: str, key: str, partitions: dict[str, object]
) -> None:
    cut = {"by": by, "column": "at", "start": "2026-10-01", **partitions}
    assets = world.assets([{"prompt": "a", "at": value}, {"prompt": "b", "at": "2026-10-09"}], partitions=cut)
    definitions = {asset.partitions_def for asset in assets}
    assert len(definitions) == 1
    (definition,) = definitions
    assert isinstance(definition, dg.TimeWindowPartitionsDefinition)
    # The days of these tests lie in the future of some machines' clocks, and Dagster knows of no such partition there.
    with dg.partition_loading_context(effective_dt=datetime(2027, 1, 1, tzinfo=UTC)):
        assert definition.has_partition_key(key)
        result = world.run(assets, partition=key)
    assert result.success, failure_of(result)
    assert metadata_of(result, "dataset")["images_stored"] == 1
    assert world.store.head(f"datasets/shoes/manifest/{partition_in_key(key)}.parquet") is not None


def test_a_backfill_can_be_a_run_for_each_partition(world: World) -> None:
    (asset, *_) = world.assets(DAYS, partitions={**DAILY, "backfill": "per_partition"})
    assert asset.backfill_policy == dg.BackfillPolicy.multi_run(max_partitions_per_run=1)


def test_rows_that_belong_to_no_partition_are_told_in_every_one(world: World) -> None:
    assets = world.assets([*DAYS, {"prompt": "when?", "day": "yesterday"}], partitions=DAILY)
    result = world.run(assets, "prompts", partition="2026-11-03")
    assert not checks_of(result)["no_rejected_rows"].passed
    assert "yesterday" in metadata_of(result, "prompts")["rejected_rows"]


COLOURS = [{"prompt": f"a {colour} hat", "colour": colour} for colour in ("red", "a/b", "..", "green")]
BY_COLOUR = {"by": "column", "column": "colour"}


@pytest.mark.parametrize("ghost", ["[x...y]", "", "ghost"])
def test_a_key_added_by_hand_that_may_not_be_one_stops_no_other(world: World, ghost: str) -> None:
    assets = world.assets(COLOURS, partitions=BY_COLOUR)
    # Not every key that may not be one is let in by Dagster's own way; those that were are in its tables.
    add_key(world, ["red", ghost, "a/b", "..", "green"])
    result = world.run(assets, partition_range=("red", "green"))
    for stage in STAGES:
        assert partitions_told(world, stage) == sorted(["red", "a/b", "..", "green"])
    assert f"1 of 5 partitions are not whole:\n{ghost}: prompts: " in failure_of(result)
    assert world.bill["credits"] == 4 * 28


def add_key(world: World, keys: list[str]) -> None:
    """Put keys where Dagster keeps them, past the checks of the version that happens to be installed."""
    world.instance.event_log_storage.add_dynamic_partitions("shoes", keys)


def status_of(world: World, stage: str, check: str, assets: list[dg.AssetsDefinition]) -> dict[str, str]:
    """By partition, how a check stands; as Dagster's own views and automation conditions see it."""
    key = dg.AssetCheckKey(dg.AssetKey(["shoes", stage]), check)
    cut = assets[0].partitions_def
    states = world.instance.event_log_storage.get_asset_check_state([(key, cut)])
    with dg.partition_loading_context(effective_dt=datetime(2027, 1, 1, tzinfo=UTC)):
        return {
            partition: status.value
            for status, subset in states[key].subsets.items()
            for partition in subset.subset_value.get_partition_keys()
        }


def test_every_check_of_a_partition_has_the_partitions_of_its_asset(world: World) -> None:
    more = {"approval": {"above_credits": 1000}, "quality": {"blank": {}, "near_duplicates": {}}}
    specs = [spec for asset in world.assets(DAYS, partitions=DAILY, **more) for spec in asset.check_specs]
    assert len(specs) > 9
    assert {spec.name for spec in specs if spec.partitions_def is None} == set()
    # What is of the whole dataset is of no partition: its exports, its bucket.
    exported = [
        spec for asset in world.assets(DAYS, partitions=DAILY, exports=["parquet"]) for spec in asset.check_specs
    ]
    assert {spec.name for spec in exported if spec.partitions_def is None} == {"export_parquet_opens"}
    assert {spec.partitions_def for asset in world.assets(DAYS) for spec in asset.check_specs} == {None}


def test_a_day_that_failed_stays_failed_after_the_next_day_was_fine(world: World) -> None:
    rows = [{"prompt": "a", "day": "2026-11-01", "width": 5}, *DAYS]
    assets = world.assets([{"width": "", **row} for row in rows], partitions=DAILY)
    world.run(assets, "prompts", partition="2026-11-01")
    world.run(assets, "prompts", partition="2026-11-03")
    stand = {"2026-11-01": "FAILED", "2026-11-03": "SUCCEEDED"}
    assert status_of(world, "prompts", "no_rejected_rows", assets) == stand
    world.write_table([{"width": "", **row} for row in DAYS])
    world.run(assets, "prompts", partition="2026-11-01")
    assert status_of(world, "prompts", "no_rejected_rows", assets) == dict.fromkeys(stand, "SUCCEEDED")


def test_each_day_of_a_range_has_its_own_result_and_the_run_has_one_for_all(world: World) -> None:
    rows = [{"prompt": "bad", "day": "2026-11-03", "width": 5}, *DAYS]
    assets = world.assets([{"width": "", **row} for row in rows], partitions=DAILY)
    result = world.run(assets, partition_range=("2026-11-03", "2026-11-04"))
    assert result.success, failure_of(result)
    stand = {"2026-11-03": "FAILED", "2026-11-04": "SUCCEEDED"}
    assert status_of(world, "prompts", "no_rejected_rows", assets) == stand
    for stage, check in (
        ("generation_requests", "quote_within_budget"),
        ("dataset", "every_wanted_image_is_final"),
        ("dataset", "no_exact_duplicates"),
    ):
        assert status_of(world, stage, check, assets) == dict.fromkeys(stand, "SUCCEEDED")
    assert checks_of(result)["no_rejected_rows"].description == "1 of 2 partitions pass"
    # And the next day alone changes nothing of what was found on the first.
    world.run(assets, "prompts", partition="2026-11-04")
    assert status_of(world, "prompts", "no_rejected_rows", assets) == stand


def test_a_day_of_a_range_that_was_not_reached_has_no_good_result(world: World) -> None:
    assets = world.assets(DAYS, partitions=DAILY)
    world.run(assets, partition_range=FIRST_FOUR)  # the second has no rows
    stand = status_of(world, "dataset", "every_wanted_image_is_final", assets)
    assert {day for day, status in stand.items() if status == "SUCCEEDED"} == {
        "2026-11-01",
        "2026-11-03",
        "2026-11-04",
    }
    assert stand.get("2026-11-02") != "SUCCEEDED"
