"""Claims about a run's numbers: what is counted is reported, and estimates are made only from what has happened."""

from decimal import Decimal

import pytest

from seedream_assets.budget.rules import book_cost
from seedream_assets.config.retry import format_seconds
from seedream_assets.purchase.report import Progress, RunReport, RunStats, join_reports
from seedream_assets.purchase.task import Bought, Ended


def make_report(**changes):
    values = {
        "run_id": "run-1",
        "requests": {"completed": 1},
        "images_stored": 2,
        "credits_booked": 56,
        "costs": {"CREDITS": Decimal(56)},
        "reasons": {},
        "stopped": None,
        "stop_reason": None,
        "seconds": 9.5,
    }
    return RunReport(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "warnings"),
    [
        ({"credits_quoted": 56}, []),
        ({"credits_quoted": 28}, ["56 credits were booked where 28 were quoted"]),
        ({"credits_quoted": 56, "doubted_costs": 2}, ["2 answers with less than half"]),
        ({"credits_quoted": 57, "doubted_costs": 1}, ["56 credits were booked", "1 answer with less"]),
    ],
)
def test_a_report_warns_of_a_price_that_is_another_or_cannot_be_believed(changes, warnings):
    found = make_report(**changes).warnings
    assert [line[: len(start)] for line, start in zip(found, warnings, strict=True)] == warnings


def test_runs_that_follow_each_other_add_up_unit_by_unit():
    one = make_report(costs={"DOLLARS": Decimal("0.1"), "CREDITS": Decimal(28)}, doubted_costs=1)
    joined = join_reports(one, make_report(costs={"DOLLARS": Decimal("0.2")}, doubted_costs=2))
    assert joined.costs == {"DOLLARS": Decimal("0.3"), "CREDITS": Decimal(28)}
    assert joined.doubted_costs == 3


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (8.4, "8 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.4, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (7559, "2 h 5 min"),
    ],
)
def test_a_duration_reads_as_people_say_it(seconds, words):
    assert format_seconds(seconds) == words


def test_before_the_first_request_is_done_nothing_is_estimated():
    progress = RunStats(total=3).progress(seconds=0)
    assert (progress.seconds_left, progress.credits_projected, progress.images_per_minute) == (None, 0, 0.0)
    assert str(progress) == (
        "0 of 3 requests done, 0 in flight, 3 queued, 0 images stored (0/min), 0 of about 0 credits"
    )


def test_progress_says_where_the_run_stands():
    stats = RunStats(total=8, credits_to_buy=112)
    stats.on(Ended("completed", images=4), "request")
    stats.on(Ended("failed", reason="the job FAILED"), "request")
    stats.on(Ended("failed", reason="the job FAILED"), "request")
    stats.on(Ended.unfinished("uncertain", "no answer"), "request-1")
    stats.on(Bought(booked=book_cost(None, listed=112, reserved=112), quoted=112), "request")
    stats.in_flight = 3
    progress = stats.progress(seconds=120)
    assert progress == Progress(
        done=4,
        total=8,
        in_flight=3,
        failed={"failed": 2, "blocked": 0, "uncertain": 1, "pending": 0},
        images_stored=4,
        images_per_minute=2.0,
        credits_spent=112,
        credits_projected=224,
        seconds_left=120.0,
        reasons={"the job FAILED": 2, "no answer": 1},
    )
    assert progress.queued == 1
    assert str(progress) == (
        "4 of 8 requests done, 3 in flight, 1 queued, 2 failed, 1 uncertain (the job FAILED x 2; no answer x 1), "
        "4 images stored (2/min), "
        "112 of about 224 credits, about 2 min 0 s left"
    )
    assert stats.reasons == {"the job FAILED": 2, "no answer": 1}
    assert stats.notes == {"request-1": "no answer"}


def test_requests_in_flight_beyond_the_total_make_no_negative_queue():
    stats = RunStats(total=1)
    stats.in_flight = 2
    assert stats.progress(seconds=1).queued == 0


def test_rates_are_those_of_the_latest_minutes():
    stats = RunStats(total=10_000)
    for report in range(1, 101):  # for 500 s nothing but what is owned, then 60 images a minute
        stats.on(Ended("owned"), "request")
        stats.progress(seconds=5.0 * report)
    assert stats.progress(seconds=500.0).images_per_minute == 0.0
    for report in range(1, 101):
        for _ in range(5):
            stats.on(Ended("completed", images=1), "request")
        progress = stats.progress(seconds=500 + 5.0 * report)
    assert progress.images_per_minute == pytest.approx(60, rel=0.05)
    assert progress.seconds_left == pytest.approx(10_000 - 600, rel=0.05)


def test_an_outage_a_stop_and_a_long_reason_are_shown():
    stats = RunStats(total=2)
    stats.on(Ended("failed", reason="no " * 200), "request")
    shown = str(
        stats.progress(seconds=5, outage="Leonardo cannot be reached since 10:00:00 UTC", stopping="out of money")
    )
    assert shown.endswith("Leonardo cannot be reached since 10:00:00 UTC, stopping: out of money")
    assert len(shown) < 400
