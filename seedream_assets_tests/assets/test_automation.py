"""What a schedule and a sensor ask for, tick by tick, with Dagster's own test tools."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from seedream_assets.assets import automation, build_assets, build_automation
from seedream_assets.components.seedream_resources import DEFAULT_RESOURCES
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.errors import ConfigError, PromptTableError
from seedream_assets_tests.assets.conftest import STAGES, World, failure_of

COLOUR = {"by": "column", "column": "colour"}
REDS = [{"prompt": "a rose", "colour": "red"}, {"prompt": "a cherry", "colour": "red"}]
BLUE = [{"prompt": "the sea", "colour": "blue"}]


def declare(world: World, **attributes: Any) -> DatasetConfig:
    declared = {"name": "shoes", "prompts": {"table": "prompts.csv"}, "budget": "unlimited", **attributes}
    return DatasetConfig(base=world.folder, **declared)


class Watcher:
    """A dataset's sensor, its cursor carried from tick to tick as the daemon does."""

    def __init__(self, world: World, **attributes: Any) -> None:
        self.world = world
        self.config = declare(world, sensor={}, **attributes)
        _, (sensor,) = build_automation(self.config)
        self.sensor = sensor
        self.cursor: str | None = None

    def write(self, rows: Sequence[Mapping[str, object]], name: str = "prompts.csv", *, at: int) -> None:
        """A table, last written to so many seconds after the beginning of 2026."""
        self.world.write_table(rows, name)
        stamp = datetime(2026, 1, 1, tzinfo=UTC).timestamp() + at
        os.utime(self.world.folder / name, (stamp, stamp))

    def tick(self) -> dg.SensorResult:
        context = dg.build_sensor_context(
            instance=self.world.instance, cursor=self.cursor, resources=dict(DEFAULT_RESOURCES), sensor_name="shoes"
        )
        result = self.sensor(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        for request in result.dynamic_partitions_requests or []:
            assert isinstance(request, dg.AddDynamicPartitionsRequest)
            self.world.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        return result

    def asked(self) -> list[str]:
        """What a tick asks for: a partition, or the first and last of a range."""
        return [
            request.partition_key
            or "...".join(request.tags[name] for name in (automation.RANGE_START, automation.RANGE_END))
            for request in self.tick().run_requests or []
        ]


def test_nothing_that_spends_is_on_before_somebody_turns_it_on(world: World) -> None:
    (schedule,), (sensor,) = build_automation(declare(world, schedule="0 6 * * *", sensor={}))
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
    assert build_automation(declare(world)) == ([], [])


@pytest.mark.parametrize(
    ("partitions", "tick", "asked"),
    [
        ({"by": "daily", "column": "day"}, datetime(2026, 11, 3, 6, tzinfo=UTC), "2026-11-02"),
        (
            {"by": "daily", "column": "day", "timezone": "America/New_York"},
            datetime(2026, 11, 3, 3, tzinfo=UTC),
            "2026-11-01",
        ),
        ({"by": "daily", "column": "day", "end_offset": 1}, datetime(2026, 11, 3, 6, tzinfo=UTC), "2026-11-03"),
        ({"by": "hourly", "column": "day"}, datetime(2026, 11, 3, 6, 30, tzinfo=UTC), "2026-11-03-05:00"),
        ({"by": "weekly", "column": "day", "day_offset": 1}, datetime(2026, 11, 17, 6, tzinfo=UTC), "2026-11-09"),
        ({"by": "monthly", "column": "day", "format": "%Y-%m"}, datetime(2027, 1, 1, 6, tzinfo=UTC), "2026-12"),
    ],
)
def test_a_schedule_asks_for_the_latest_complete_partition(
    world: World, partitions: dict[str, Any], tick: datetime, asked: str
) -> None:
    config = declare(world, schedule="0 6 * * *", partitions={"start": "2026-11-01", **partitions})
    (schedule,), _ = build_automation(config)
    assert schedule.execution_timezone == config.partitions.timezone
    assets = build_assets(config)
    defined = dg.Definitions(assets=assets, schedules=[schedule], resources=dict(DEFAULT_RESOURCES))
    context = dg.build_schedule_context(
        instance=world.instance, scheduled_execution_time=tick, repository_def=defined.get_repository_def()
    )
    assert [request.partition_key for request in schedule.evaluate_tick(context).run_requests or []] == [asked]


def test_a_schedule_waits_for_the_first_complete_partition(world: World) -> None:
    partitions = {"by": "daily", "column": "day", "start": "2026-11-01"}
    (schedule,), _ = build_automation(declare(world, schedule="0 6 * * *", partitions=partitions))
    context = dg.build_schedule_context(
        instance=world.instance, scheduled_execution_time=datetime(2026, 11, 1, 6, tzinfo=UTC)
    )
    ticked = schedule.evaluate_tick(context)
    assert not ticked.run_requests
    assert "the first partition, 2026-11-01, is not complete yet" in str(ticked.skip_message)


def test_a_schedule_of_an_unpartitioned_dataset_asks_for_all_of_it(world: World) -> None:
    (schedule,), _ = build_automation(declare(world, schedule="0 6 * * *"))
    context = dg.build_schedule_context(
        instance=world.instance, scheduled_execution_time=datetime(2026, 11, 3, 6, tzinfo=UTC)
    )
    (request,) = schedule.evaluate_tick(context).run_requests or []
    assert request.partition_key is None


@pytest.mark.parametrize("partitions", [COLOUR, {"by": "table"}])
def test_a_schedule_without_a_latest_partition_is_refused(world: World, partitions: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="schedule: by .* has no latest partition to ask for"):
        declare(world, schedule="0 6 * * *", partitions=partitions)


def test_the_same_table_asks_once(world: World) -> None:
    watcher = Watcher(world)
    watcher.write(REDS, at=0)
    first = watcher.tick()
    assert [request.partition_key for request in first.run_requests or []] == [None]
    again = watcher.tick()
    assert not again.run_requests
    assert again.skip_reason is not None


def test_a_tick_that_is_repeated_after_a_crash_has_the_same_run_key_and_a_later_change_another(world: World) -> None:
    watcher = Watcher(world)
    watcher.write(REDS, at=0)
    keys = []
    for at in (0, 1, 0):
        watcher.write(REDS if at == 0 else BLUE, at=at)
        before = watcher.cursor
        (request,) = watcher.tick().run_requests or []
        watcher.cursor = before
        (repeated,) = watcher.tick().run_requests or []
        assert request.run_key == repeated.run_key
        keys.append(request.run_key)
    assert len(set(keys)) == 3


def test_new_values_of_a_column_are_added_and_only_changed_ones_are_asked_for(world: World) -> None:
    watcher = Watcher(world, partitions=COLOUR)
    watcher.write(REDS + BLUE, at=0)
    assert watcher.asked() == ["red...blue"]
    assert world.instance.get_dynamic_partitions("shoes") == ["red", "blue"]
    watcher.write([*REDS, *BLUE, {"prompt": "grass", "colour": "green"}], at=1)
    assert watcher.asked() == ["green"]
    watcher.write([REDS[0], {"prompt": "a plum", "colour": "red"}, *BLUE, {"prompt": "grass", "colour": "green"}], at=2)
    assert watcher.asked() == ["red"]
    watcher.write([{"prompt": "grass", "colour": "green"}, *BLUE, *REDS], at=3)
    assert watcher.asked() == ["red"]
    assert world.instance.get_dynamic_partitions("shoes") == ["red", "blue", "green"]


def test_a_value_that_left_the_table_is_asked_for_once_and_its_partition_stays(world: World) -> None:
    watcher = Watcher(world, partitions=COLOUR)
    watcher.write(REDS + BLUE, at=0)
    watcher.asked()
    watcher.write(REDS, at=1)
    assert watcher.asked() == ["blue"]
    watcher.write(REDS + BLUE, at=2)
    assert watcher.asked() == ["blue"]
    watcher.write(REDS, at=3)
    assert [watcher.asked(), watcher.asked()] == [["blue"], []]
    assert world.instance.get_dynamic_partitions("shoes") == ["red", "blue"]


def test_rows_that_only_moved_ask_for_nothing(world: World) -> None:
    watcher = Watcher(world, partitions=COLOUR)
    watcher.write(REDS + BLUE, at=0)
    watcher.asked()
    watcher.write(BLUE + REDS, at=1)
    assert watcher.asked() == []


def test_each_changed_table_is_a_partition(world: World) -> None:
    watcher = Watcher(world, partitions={"by": "table"}, prompts={"table": "in/*.csv"})
    (world.folder / "in").mkdir()
    for name in ("a", "b", "c"):
        watcher.write(REDS, f"in/{name}.csv", at=0)
    assert watcher.asked() == ["a...c"]
    watcher.write(BLUE, "in/a.csv", at=1)
    watcher.write(BLUE, "in/c.csv", at=1)
    watcher.write(BLUE, "in/d.csv", at=1)
    assert watcher.asked() == ["a", "c...d"]
    (world.folder / "in" / "b.csv").unlink()
    assert watcher.asked() == []
    assert world.instance.get_dynamic_partitions("shoes") == ["a", "b", "c", "d"]


def test_a_run_for_each_partition_where_that_is_asked_for(world: World) -> None:
    watcher = Watcher(world, partitions={**COLOUR, "backfill": "per_partition"})
    watcher.write(REDS + BLUE, at=0)
    assert watcher.asked() == ["red", "blue"]


def test_more_than_a_tick_may_ask_for_comes_with_the_next_ticks(world: World) -> None:
    watcher = Watcher(world, partitions={**COLOUR, "backfill": "per_partition"})
    number = automation.MOST_RUNS_PER_TICK + 20
    watcher.write([{"prompt": "a thing", "colour": f"c{each}"} for each in range(number)], at=0)
    assert [len(watcher.asked()) for _ in range(3)] == [automation.MOST_RUNS_PER_TICK, 20, 0]


def test_days_are_asked_for_when_they_are_complete(world: World) -> None:
    watcher = Watcher(world, partitions={"by": "daily", "column": "day", "start": "2026-01-01"})
    today = datetime.now(UTC).date().isoformat()
    watcher.write([{"prompt": "then", "day": "2026-01-02"}, {"prompt": "now", "day": today}], at=0)
    assert watcher.asked() == ["2026-01-02"]


def test_files_of_days_are_noticed_by_their_path(world: World) -> None:
    watcher = Watcher(
        world, partitions={"by": "daily", "start": "2026-01-01"}, prompts={"table": "in/{partition}/shop-*.csv"}
    )
    for day in ("2026-01-02", "2026-01-03", "2025-12-31", "drafts"):
        (world.folder / "in" / day).mkdir(parents=True)
        watcher.write(REDS, f"in/{day}/shop-1.csv", at=0)
    assert watcher.asked() == ["2026-01-02...2026-01-03"]
    watcher.write(REDS, "in/2026-01-03/shop-2.csv", at=0)
    assert watcher.asked() == ["2026-01-03"]


def test_a_table_that_is_being_written_is_left_for_the_next_tick(world: World) -> None:
    watcher = Watcher(world)
    world.write_table(REDS)
    result = watcher.tick()
    assert not result.run_requests
    watcher.write(REDS, at=0)
    assert len(watcher.tick().run_requests or []) == 1


def test_what_cannot_be_a_partition_is_told_and_stops_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    watcher = Watcher(world, partitions=COLOUR)
    watcher.write([*REDS, {"prompt": "which?", "colour": "a...b"}], at=0)
    assert watcher.asked() == ["red"]
    assert "1 row without a partition" in capsys.readouterr().err


def test_a_missing_table_fails_the_tick_and_says_which(world: World) -> None:
    with pytest.raises(PromptTableError, match=r"there is no file .*prompts\.csv"):
        Watcher(world).tick()


def test_what_a_sensor_asks_for_can_be_run(world: World) -> None:
    watcher = Watcher(world, partitions=COLOUR, recipe={"width": 64, "height": 48})
    watcher.write(REDS + BLUE, at=0)
    (request,) = watcher.tick().run_requests or []
    assets = build_assets(watcher.config)
    result = dg.materialize(
        assets,
        selection=[dg.AssetKey(["shoes", stage]) for stage in STAGES],
        resources=dict(DEFAULT_RESOURCES),
        instance=world.instance,
        tags=dict(request.tags),
        raise_on_error=False,
    )
    assert result.success, failure_of(result)
    assert world.bill["credits"] == 3 * 28
