"""Claims about what a person sees while a run buys."""

from typing import Any

import dagster as dg

from seedream_assets.assets.images import LiveProgress
from seedream_assets.budget.rules import book_cost
from seedream_assets.purchase.report import RunStats
from seedream_assets.purchase.task import Bought, Ended


def observations_of(seconds: list[float], partition: str | None = None) -> tuple[list[Any], list[Any]]:
    """The observations and log lines of a step whose engine reports at these seconds."""
    key = dg.AssetKey(["scenes", "images"])
    now = [0.0]

    @dg.asset(key=key, partitions_def=dg.StaticPartitionsDefinition([partition]) if partition else None)
    def images(context: dg.AssetExecutionContext) -> None:
        report = LiveProgress(context, key, partition, clock=lambda: now[0])
        stats = RunStats(total=100, credits_to_buy=2800)
        stats.on(Bought(booked=book_cost(None, listed=28, reserved=28), quoted=28), "request")
        for moment in seconds:
            now[0] = moment
            stats.on(Ended("completed", images=1), "request")
            report(stats.progress(seconds=moment))

    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([images], instance=instance, partition_key=partition)
        lines = [
            record.event_log_entry
            for record in instance.get_records_for_run(done.run_id).records
            if "requests done" in record.event_log_entry.user_message and record.event_log_entry.dagster_event is None
        ]
        found = instance.fetch_observations(key, limit=100).records
        return [record.asset_observation for record in found], lines


def test_every_report_is_a_line_and_charts_get_one_each_half_minute() -> None:
    observed, lines = observations_of([5.0 * number for number in range(1, 25)])  # two minutes
    assert len(lines) == 24
    assert len(observed) == 4
    metadata = {name: value.value for name, value in observed[0].metadata.items()}
    assert metadata["requests_done"] == 24
    assert metadata["credits_projected"] == 2828
    assert metadata["seconds_left"] > 0
    assert observed[0].partition is None


def test_a_short_run_leaves_no_charts() -> None:
    observed, lines = observations_of([5.0, 10.0])
    assert (len(observed), len(lines)) == (0, 2)


def test_a_partition_s_progress_is_its_own() -> None:
    observed, _ = observations_of([31.0], partition="2026-11-24")
    assert [observation.partition for observation in observed] == ["2026-11-24"]
