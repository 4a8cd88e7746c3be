"""The account's rates, on a clock that jumps over every wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from seedream_assets.leonardo.pacing import Pace
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
        lambda: Pace(creates_per_minute=creates_per_minute, requests_per_minute=2000),
    )
    assert most_in_a_minute(moments) == creates_per_minute
    assert moments[-1] - moments[0] < 3 * (MINUTE_SECONDS + 2)


def test_a_create_counts_as_a_request_too() -> None:
    moments = times_of(12, Pace.before_create, lambda: Pace(creates_per_minute=100, requests_per_minute=5))
    assert most_in_a_minute(moments) == 5


def test_polls_do_not_wait_for_creates() -> None:
    async def act() -> None:
        pace = Pace(creates_per_minute=1, requests_per_minute=100)
        await pace.before_create()
        held = asyncio.create_task(pace.before_create())
        await asyncio.sleep(0)
        async with asyncio.timeout(1):
            await pace.before_request()
        held.cancel()

    asyncio.run(act())


def test_a_pace_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    times_of(2, Pace.before_create, lambda: Pace(creates_per_minute=5, requests_per_minute=5))
    assert threading.active_count() == before
