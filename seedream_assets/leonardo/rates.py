"""How fast the account is used: creates and requests per minute, held over any window of a minute.

The limiter is pyrate-limiter's sliding-window log: exact over every window, where a leaky bucket lets a burst and a
full minute pass together. Within that, creates are spread, and slowed down when others use the account too
(`shared_rate`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pyrate_limiter import InMemoryBucket, Rate, RateItem

from seedream_assets.leonardo.shared_rate import SharedRate

# Two calls that leave 60 s apart can arrive a little closer: the first may be slow on its way. One second is kept free.
WINDOW_MILLISECONDS = 61_000


class Pace:
    """The account's two rates. One object for all calls of a process that use the same key.

    Args:
        creates_per_minute, requests_per_minute: Leonardo's limits, or this deployment's part of them.
        creates_at_once: Creates that may leave together after a time of rest.
    """

    def __init__(self, *, creates_per_minute: int, requests_per_minute: int, creates_at_once: int) -> None:
        self._creates = _Window(creates_per_minute)
        self._requests = _Window(requests_per_minute)
        self._shared = SharedRate(creates_per_minute, at_once=creates_at_once)
        self._turn = asyncio.Lock()

    async def before_create(self, *, unless: Callable[[], Awaitable[None]] | None = None) -> float:
        """Wait until one more generation may be created; it counts as a request too.

        Args:
            unless: Ends when nothing is to be sent any more; then this ends too, and nothing may be sent.

        Returns:
            The moment, for `note_refused`.
        """
        if unless is None:
            await self._enter_create()
        else:
            waiting = asyncio.create_task(self._enter_create())
            stopped = asyncio.ensure_future(unless())
            try:
                await asyncio.wait({waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if waiting.done():
                    waiting.result()
            finally:
                waiting.cancel()
                stopped.cancel()
        return _now()

    async def _enter_create(self) -> None:
        async with self._turn:
            while wait := self._creates.wait_seconds() or self._shared.wait_seconds(_now()):
                await asyncio.sleep(wait)
            # Both windows are entered at the moment of sending: an entry made before a wait would count too early.
            await self._requests.enter()
            self._creates.enter_now()

    def note_refused(self, *, sent_at: float, retry_after_seconds: float | None) -> None:
        """A create was answered 429: all further ones are slowed down."""
        self._shared.note_refused(_now(), sent_at=sent_at, retry_after_seconds=retry_after_seconds)

    async def before_request(self) -> None:
        """Wait until one more request of any kind may be sent."""
        await self._requests.enter()


class _Window:
    """At most so many calls in any window; first come, first served."""

    def __init__(self, calls: int) -> None:
        self._calls = calls
        self._log = InMemoryBucket([Rate(calls, WINDOW_MILLISECONDS)])
        self._line = asyncio.Lock()

    async def enter(self) -> None:
        async with self._line:
            while wait := self.wait_seconds():
                await asyncio.sleep(wait)
            self.enter_now()

    def wait_seconds(self) -> float:
        """How long until there is room for one more; 0 where there is."""
        now = _milliseconds()
        self._log.leak(now)
        if self._log.count() < self._calls:
            return 0.0
        return max(1, self._log.items[-self._calls].timestamp + WINDOW_MILLISECONDS + 1 - now) / 1000

    def enter_now(self) -> None:
        """Take the room that `wait_seconds` has just found."""
        if not self._log.put(RateItem("call", _milliseconds())):
            raise RuntimeError("a call entered a window that is full")


def _milliseconds() -> int:
    """Of the event loop's clock: the one that sleeps go by."""
    return int(_now() * 1000)


def _now() -> float:
    return asyncio.get_running_loop().time()
