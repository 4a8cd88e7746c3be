"""Claims about what is learned of latencies, and about which jobs count as started."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from math import exp
from typing import Any

import pytest

from seedream_assets.purchase.in_flight import InFlight
from seedream_assets.purchase.patience import Patience
from seedream_assets_tests.purchase.desk import make_paid_request

CAT = make_paid_request("a cat")


def in_a_loop(act: Callable[[], None]) -> None:
    async def run() -> None:
        act()

    asyncio.run(run())


def enter(flight: InFlight, number: int, now: float) -> Any:
    return flight.enter(CAT, f"job-{number}", now=now, fresh=True)


def test_jobs_beyond_the_slots_start_when_others_end() -> None:
    def act() -> None:
        flight = InFlight(slots=2, patience=Patience())
        first, second, third, fourth = [enter(flight, number, now=float(number)) for number in range(4)]
        assert [job.started_at for job in (first, second, third, fourth)] == [0.0, 1.0, None, None]
        flight.note_pending(second, at=9.0, polled=False)
        flight.end(second, by=11.0)
        assert (third.started_at, fourth.started_at) == (10.0, None)
        flight.leave(first, at=20.0)
        assert fourth.started_at == 20.0
        assert flight.running() == [third, fourth]

    in_a_loop(act)


def test_a_job_that_was_told_to_have_ended_is_counted_once() -> None:
    def act() -> None:
        flight = InFlight(slots=1, patience=Patience())
        first, second, third = [enter(flight, number, now=0.0) for number in range(3)]
        flight.end(first, by=2.0)
        flight.end(first, by=5.0)
        flight.leave(first, at=6.0)
        assert (second.started_at, third.started_at) == (1.0, None)

    in_a_loop(act)


def test_time_in_the_queue_is_no_latency() -> None:
    """One slot, jobs of 2 s each sent all at once: the last waits a minute and is no slower for it."""

    def act() -> None:
        patience = Patience()
        flight = InFlight(slots=1, patience=patience)
        jobs = [enter(flight, number, now=0.0) for number in range(30)]
        for number, job in enumerate(jobs):
            end = 2.0 * (number + 1)
            flight.note_pending(job, at=end - 0.1, polled=False)
            flight.end(job, by=end + 0.1)
        assert patience.median_seconds(CAT) == pytest.approx(2.0, rel=0.1)

    in_a_loop(act)


def test_a_late_job_is_polled_even_if_looks_show_it_pending() -> None:
    def act() -> None:
        patience = Patience()
        flight = InFlight(slots=1, patience=patience)
        job = enter(flight, 0, now=0.0)
        late = patience.late_seconds(CAT)
        flight.note_pending(job, at=late * 2, polled=False)
        assert flight.poll_at(job) <= late * 2
        flight.note_pending(job, at=late * 2, polled=True)
        assert flight.poll_at(job) > late * 2

    in_a_loop(act)


@pytest.mark.parametrize("median_seconds", [0.3, 2.0, 40.0])
def test_the_median_is_learned_from_when_a_job_was_seen_before_and_after_its_end(median_seconds: float) -> None:
    patience, dice = Patience(), random.Random(1)
    for _ in range(300):
        latency = median_seconds * exp(0.4 * dice.gauss(0, 1))
        step = median_seconds * dice.uniform(0.05, 0.5)
        after = latency // step * step
        patience.learn(CAT, after=after, until=after + step)
    assert patience.median_seconds(CAT) == pytest.approx(median_seconds, rel=0.2)
    assert patience.chance_of_end(CAT, after=0.0, until=median_seconds) == pytest.approx(0.5, abs=0.2)
    assert patience.late_seconds(CAT) > 1.5 * median_seconds


def test_kinds_are_learned_apart() -> None:
    patience, larger = Patience(), make_paid_request("a cat", count=8)
    for _ in range(100):
        patience.learn(CAT, after=0.9, until=1.1)
        patience.learn(larger, after=7.9, until=8.1)
    assert patience.median_seconds(CAT) == pytest.approx(1.0, rel=0.1)
    assert patience.median_seconds(larger) == pytest.approx(8.0, rel=0.1)


@pytest.mark.parametrize("elapsed", [0.0, 0.001, 3.0, 1e3, 1e6])
def test_waits_are_bounded_and_chances_are_chances(elapsed: float) -> None:
    patience = Patience()
    assert 0.1 <= patience.wait_seconds(CAT, elapsed) <= 30.0
    chances = [
        patience.chance_of_end(CAT, after=elapsed, until=elapsed + more) for more in (0.0, 0.1, 1.0, 1e4 + 10 * elapsed)
    ]
    assert chances == sorted(chances)
    assert (min(chances), max(chances)) == pytest.approx((0.0, 1.0), abs=0.01)
