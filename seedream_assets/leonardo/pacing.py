"""How fast the account is used: creates and requests per minute, held over any window of a minute.

The limiter is pyrate-limiter's sliding-window log: exact over every window, where a leaky bucket lets a burst and a
full minute pass together.
"""

from __future__ import annotations

import asyncio

from pyrate_limiter import InMemoryBucket, Limiter, Rate, SingleBucketFactory

# Two calls that leave 60 s apart can arrive a little closer: the first may be slow on its way. One second is kept free.
WINDOW_MILLISECONDS = 61_000


class Pace:
    """The account's two rates. One object for all calls of a process that use the same key."""

    def __init__(self, *, creates_per_minute: int, requests_per_minute: int) -> None:
        self._creates = _Window(creates_per_minute)
        self._requests = _Window(requests_per_minute)

    async def before_create(self) -> None:
        """Wait until one more generation may be created; it counts as a request too."""
        await self._creates.enter()
        await self.before_request()

    async def before_request(self) -> None:
        """Wait until one more request of any kind may be sent."""
        await self._requests.enter()


class _Window:
    """At most so many calls in any window; first come, first served."""

    def __init__(self, calls: int) -> None:
        self._log = _Log([Rate(calls, WINDOW_MILLISECONDS)])
        # The library would empty the log from a thread with an event loop of its own, per limiter, that nobody ends.
        self._limiter = Limiter(SingleBucketFactory(self._log, schedule_leak=False))

    async def enter(self) -> None:
        self._log.leak(self._log.now())
        await self._limiter.try_acquire_async()


class _Log(InMemoryBucket):
    def now(self) -> int:
        """Milliseconds of the event loop's clock: the one that the limiter's sleeps go by."""
        return int(asyncio.get_running_loop().time() * 1000)
