"""How fast the account is used: creates and requests per minute, held over any window of a minute.

Within that, creates are spread evenly, but for the few that fill the slots: a minute's creates in one burst would come
back every minute, and shut everybody else out. And they are slowed down when others use the account too. That is found
out by being refused, as TCP shares a line (additive increase, multiplicative decrease): a 429 that answers a create sent
since the last cut cuts this process's rate to a share of what it really sent, and time gives it back by the same amount
for everyone. Two processes that differ then differ less after every cut, without a word between them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

# Two calls that leave 60 s apart can arrive a little closer: the first may be slow on its way. One second is kept free.
WINDOW_SECONDS = 61.0
MINUTE_SECONDS = 60.0
# 0.7 as in TCP CUBIC (RFC 9438): gentler than a half, since the account's window of a minute answers late.
CUT_TO = 0.7
# While a window of a minute is full everything is refused, whatever the rate: one cut for so many seconds of it.
SECONDS_BETWEEN_CUTS = 10.0
# From nothing to the whole limit. With these three, processes that begin together get nearly equal shares.
SECONDS_TO_WHOLE_LIMIT = 120.0
# Of the limit: a process that is refused for long goes on asking, so that it sees when there is room again.
LEAST_SHARE = 0.05
# A longer Retry-After is taken for a mistake: the account's own windows are a minute.
LONGEST_RETRY_AFTER_SECONDS = 60.0
# No wait is shorter: a rest of a rounding error would be asked for for ever.
LEAST_WAIT_SECONDS = 0.001


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
        self._entered: deque[float] = deque(maxlen=calls)
        self._line = asyncio.Lock()

    async def enter(self) -> None:
        async with self._line:
            while wait := self.wait_seconds():
                await asyncio.sleep(wait)
            self.enter_now()

    def wait_seconds(self) -> float:
        """How long until there is room for one more; 0 where there is."""
        if len(self._entered) < (self._entered.maxlen or 0):
            return 0.0
        wait = self._entered[0] + WINDOW_SECONDS - _now()
        return max(LEAST_WAIT_SECONDS, wait) if wait > 0 else 0.0

    def enter_now(self) -> None:
        """Take the room that `wait_seconds` has just found."""
        self._entered.append(_now())


def _now() -> float:
    """Seconds of the event loop's clock: the one that sleeps go by."""
    return asyncio.get_running_loop().time()


class SharedRate:
    """The rate at which one process sends creates. Times are seconds on any clock that does not run backwards.

    Args:
        limit_per_minute: What this process may send when nobody else does.
        at_once: Creates that may leave without a pause between them after a time of rest, to fill the slots.
    """

    def __init__(self, limit_per_minute: int, *, at_once: int) -> None:
        self._limit = float(limit_per_minute)
        self._most_at_once = at_once
        self._at_once = float(at_once)
        self._counted_at: float | None = None
        self._least = LEAST_SHARE * self._limit
        self._rate_at_cut: float | None = None
        self._cut_at = float("-inf")
        self._free_at = float("-inf")
        self._sent: deque[float] = deque()

    def per_minute(self, now: float) -> float:
        """The rate that is kept now."""
        if self._rate_at_cut is None:
            return self._limit
        return min(self._limit, self._rate_at_cut + self._limit * (now - self._cut_at) / SECONDS_TO_WHOLE_LIMIT)

    def wait_seconds(self, now: float) -> float:
        """How long until the next create may be sent; 0 takes the turn."""
        if now < self._free_at:
            return max(LEAST_WAIT_SECONDS, self._free_at - now)
        each = MINUTE_SECONDS / self.per_minute(now)
        rested = 0.0 if self._counted_at is None else (now - self._counted_at) / each
        self._at_once = min(float(self._most_at_once), self._at_once + rested)
        self._counted_at = now
        if self._at_once < 1.0:
            return max(LEAST_WAIT_SECONDS, (1.0 - self._at_once) * each)
        self._at_once -= 1.0
        self._forget(now)
        self._sent.append(now)
        return 0.0

    def note_refused(self, now: float, *, sent_at: float, retry_after_seconds: float | None) -> None:
        """A create that was sent at `sent_at` was answered 429."""
        if retry_after_seconds is not None:
            self._free_at = max(self._free_at, now + min(retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS))
        if sent_at < self._cut_at + SECONDS_BETWEEN_CUTS:
            return
        self._forget(now)
        span = min(MINUTE_SECONDS, max(1.0, now - self._sent[0])) if self._sent else MINUTE_SECONDS
        really_sent = len(self._sent) * MINUTE_SECONDS / span
        self._rate_at_cut = max(self._least, min(self.per_minute(now), really_sent) * CUT_TO)
        self._cut_at, self._most_at_once, self._at_once = now, 1, min(self._at_once, 0.0)

    def _forget(self, now: float) -> None:
        while self._sent and self._sent[0] <= now - MINUTE_SECONDS:
            self._sent.popleft()
