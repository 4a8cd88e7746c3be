"""The account's rates, on a clock that jumps over every wait, or that the test sets."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable

import pytest

from seedream_assets.emulator.account import Account, RefusedError
from seedream_assets.emulator.settings import DEMO_KEY, EmulatorSettings
from seedream_assets.leonardo.rates import CUT_TO, Pace, SharedRate
from seedream_assets_tests.jumping_loop import JumpingLoop

MINUTE_SECONDS = 60.0


def times_of(calls: int, call: Callable[[Pace], Awaitable[None]], pace: Callable[[], Pace]) -> list[float]:
    """The moments, in seconds, at which so many calls that all want to go at once are let through."""

    async def act() -> list[float]:
        own, moments = pace(), []
        loop = asyncio.get_running_loop()

        async def one() -> None:
            await call(own)
            moments.append(loop.time())

        await asyncio.gather(*(one() for _ in range(calls)))
        return moments

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(act())


def most_in_a_minute(moments: list[float]) -> int:
    return max(sum(1 for other in moments if 0 <= other - first <= MINUTE_SECONDS) for first in moments)


@pytest.mark.parametrize("creates_per_minute", [1, 7, 100])
def test_no_minute_has_more_creates_than_allowed_and_none_is_wasted(creates_per_minute: int) -> None:
    moments = times_of(
        3 * creates_per_minute,
        Pace.before_create,
        lambda: Pace(creates_per_minute=creates_per_minute, requests_per_minute=2000, creates_at_once=14),
    )
    assert most_in_a_minute(moments) == creates_per_minute
    assert moments[-1] - moments[0] < 3 * (MINUTE_SECONDS + 2)


def test_a_create_counts_as_a_request_too() -> None:
    moments = times_of(
        12, Pace.before_create, lambda: Pace(creates_per_minute=100, requests_per_minute=5, creates_at_once=14)
    )
    assert most_in_a_minute(moments) == 5


def test_polls_do_not_wait_for_creates() -> None:
    async def act() -> None:
        pace = Pace(creates_per_minute=1, requests_per_minute=100, creates_at_once=14)
        await pace.before_create()
        held = asyncio.create_task(pace.before_create())
        await asyncio.sleep(0)
        async with asyncio.timeout(1):
            await pace.before_request()
        held.cancel()

    asyncio.run(act())


def test_a_pace_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    times_of(2, Pace.before_create, lambda: Pace(creates_per_minute=5, requests_per_minute=5, creates_at_once=14))
    assert threading.active_count() == before


@pytest.mark.parametrize("seed", range(4))
def test_no_window_has_too_many_however_calls_arrive(seed: int) -> None:
    """Creates and reads at random, in rushes and after rests, for twenty minutes."""
    dice = random.Random(seed)
    creates, requests = [], []

    async def act() -> None:
        pace = Pace(creates_per_minute=20, requests_per_minute=60, creates_at_once=14)
        loop = asyncio.get_running_loop()

        async def one(is_create: bool) -> None:
            if is_create:
                await pace.before_create()
                creates.append(loop.time())
            else:
                await pace.before_request()
            requests.append(loop.time())

        async with asyncio.TaskGroup() as group:
            for _ in range(150):
                for _ in range(dice.choice((1, 1, 1, 5, 30))):
                    group.create_task(one(dice.random() < 0.3))
                await asyncio.sleep(dice.expovariate(0.2))

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(act())
    assert len(creates) > 100
    assert most_in_a_minute(creates) <= 20
    assert most_in_a_minute(requests) <= 60


def test_creates_leave_evenly_but_for_those_that_fill_the_slots() -> None:
    moments = times_of(
        100, Pace.before_create, lambda: Pace(creates_per_minute=60, requests_per_minute=2000, creates_at_once=14)
    )
    begun = moments[0]
    assert sum(moment - begun < 0.5 for moment in moments) == 14
    assert 30 <= sum(moment - begun < 30 for moment in moments) <= 45


def test_a_wait_for_the_rate_ends_when_nothing_is_to_be_sent_any_more() -> None:
    async def act() -> float:
        pace, stopped = Pace(creates_per_minute=1, requests_per_minute=100, creates_at_once=1), asyncio.Event()
        await pace.before_create()
        loop = asyncio.get_running_loop()
        loop.call_later(3.0, stopped.set)
        began = loop.time()

        async def stop() -> None:
            await stopped.wait()

        await pace.before_create(unless=stop)
        return loop.time() - began

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        assert runner.run(act()) == pytest.approx(3.0, abs=0.5)


async def send_for(seconds: float, account: Account, *, begin_after: float, retry_after: bool) -> int:
    """One process that has always something to create; how many it got in."""
    loop, accepted = asyncio.get_running_loop(), 0
    ends_at = loop.time() + seconds
    await asyncio.sleep(begin_after)
    pace = Pace(creates_per_minute=100, requests_per_minute=2000, creates_at_once=14)
    while loop.time() < ends_at:
        sent_at = await pace.before_create()
        await asyncio.sleep(0.03)
        try:
            account.admit(f"Bearer {DEMO_KEY}", creates=True)
        except RefusedError as refused:
            asked = refused.retry_after if retry_after else None
            pace.note_refused(sent_at=sent_at, retry_after_seconds=asked)
        else:
            accepted += 1
    return accepted


@pytest.mark.parametrize("retry_after", [False, True], ids=["429", "429 with Retry-After"])
@pytest.mark.parametrize("late_seconds", [0.0, 15.0])
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_on_one_key_share_it_without_a_word(processes: int, late_seconds: float, retry_after: bool) -> None:
    minutes = 6

    async def act() -> list[int]:
        loop = asyncio.get_running_loop()
        settings = EmulatorSettings(creates_per_minute=100, requests_per_minute=2000, retry_after_header=True)
        account = Account(settings, clock=loop.time)
        return await asyncio.gather(
            *(
                send_for(minutes * 60, account, begin_after=number * late_seconds, retry_after=retry_after)
                for number in range(processes)
            )
        )

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        accepted = runner.run(act())
    share = 100 * minutes / processes
    assert min(accepted) >= share / 2, accepted
    assert sum(accepted) >= 0.85 * 100 * minutes, accepted


def sent_within(rate: SharedRate, begin: float, seconds: float) -> list[float]:
    """When creates leave that all want to go at once."""
    now, sent = begin, []
    while now < begin + seconds:
        wait = rate.wait_seconds(now)
        if not wait:
            sent.append(now)
        now += wait
    return sent


def refuse(rate: SharedRate, now: float, *, sent_at: float | None = None, retry_after: float | None = None) -> None:
    rate.note_refused(now, sent_at=now if sent_at is None else sent_at, retry_after_seconds=retry_after)


def test_alone_it_sends_at_the_limit() -> None:
    assert len(sent_within(SharedRate(60, at_once=5), 0.0, 60.0)) in (64, 65)


def test_a_429_cuts_what_was_really_sent() -> None:
    rate = SharedRate(100, at_once=1)
    for second in range(0, 60, 2):  # 30 in a minute, where 100 are allowed
        assert rate.wait_seconds(float(second)) == 0.0
    refuse(rate, 60.0)
    assert rate.per_minute(60.0) == pytest.approx(30 * CUT_TO, rel=0.1)


def test_many_429s_at_once_cut_once() -> None:
    rate = SharedRate(100, at_once=1)
    sent_within(rate, 0.0, 60.0)
    for _ in range(20):
        refuse(rate, 60.0)
    once = rate.per_minute(60.0)
    refuse(rate, 75.0, sent_at=65.0)
    assert rate.per_minute(60.0) == once
    refuse(rate, 75.0, sent_at=72.0)
    assert rate.per_minute(75.0) < once + 25


def test_time_gives_back_what_was_cut_and_never_more_than_the_limit() -> None:
    rate = SharedRate(100, at_once=1)
    sent_within(rate, 0.0, 60.0)
    refuse(rate, 60.0)
    found = [rate.per_minute(60.0 + seconds) for seconds in (0, 10, 20, 60, 1e6)]
    assert found == sorted(found)
    assert found[1] - found[0] == pytest.approx(found[2] - found[1])
    assert found[-1] == 100


def test_however_often_it_is_refused_it_goes_on_asking() -> None:
    rate = SharedRate(100, at_once=1)
    for minute in range(100):
        refuse(rate, 60.0 * minute)
    assert len(sent_within(rate, 6000.0, 60.0)) >= 5


@pytest.mark.parametrize(("asked", "waits"), [(7.0, 7.0), (0.0, 0.0), (1e9, 60.0)])
def test_a_retry_after_is_obeyed_within_bounds(asked: float, waits: float) -> None:
    rate = SharedRate(1_000_000, at_once=100)
    refuse(rate, 10.0, retry_after=asked)
    assert rate.wait_seconds(10.0) == pytest.approx(waits, abs=0.01)
