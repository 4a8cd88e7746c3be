"""When a call that failed is made again: every policy of the project, the one loop over them, and time in words.

A call is repeated only where its error says so (`may_retry`). A paid POST whose answer is missing raises `SubmitUncertain`,
which does not, so it passes through every loop untouched.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from seedream_assets.errors import LeonardoError, SeedreamError

Result = TypeVar("Result")
Sleep = Callable[[float], Awaitable[None]]
# Seconds that never run backwards, and that go on while this process, or the whole machine, is stopped.
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a call is repeated, and after how long.

    Attributes:
        attempts: The first call included; None: until the caller gives up.
        first_wait_seconds: Upper end of the first wait; each later one is twice as long.
        longest_wait_seconds: No wait is longer, whatever a server suggests.
    """

    attempts: int | None
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0

    def __post_init__(self) -> None:
        is_called = self.attempts is None or self.attempts >= 1
        if not is_called or not 0 < self.first_wait_seconds <= self.longest_wait_seconds < math.inf:
            raise ValueError(f"at least one attempt, and waits above 0 that grow and end, got {self}")

    @property
    def rides_out_seconds(self) -> float:
        """The longest outage that is certain to be ridden out. With luck it is twice as long; time-outs come on top."""
        if self.attempts is None:
            return math.inf
        return sum(self.wait_seconds(attempt, chance=0.0) for attempt in range(1, self.attempts))

    def wait_after(self, attempt: int, error: SeedreamError) -> float | None:
        """Whether failed attempt number `attempt` (from 1) is repeated: after so many seconds, or not at all (None)."""
        if not error.may_retry or (self.attempts is not None and attempt >= self.attempts):
            return None
        return self.wait_seconds(attempt, error)

    def wait_seconds(self, attempt: int, error: SeedreamError | None = None, *, chance: float | None = None) -> float:
        """The wait after failed attempt number `attempt` (from 1).

        A server's Retry-After is obeyed up to the longest wait. Else half of the exponential step is fixed and half is
        drawn, so that many clients do not come back together.

        Args:
            attempt: From 1.
            error: May carry a Retry-After.
            chance: In place of a draw from [0, 1).
        """
        suggested = error.retry_after_seconds if isinstance(error, LeonardoError) else None
        if suggested is not None and suggested >= 0:
            return float(min(suggested, self.longest_wait_seconds))
        # 2 ** 16 half-seconds is 9 hours: no larger power is ever needed, and none overflows.
        step = min(self.first_wait_seconds * 2 ** min(attempt - 1, 16), self.longest_wait_seconds)
        drawn = random.random() if chance is None else chance  # noqa: S311 - spreads waits; no secret
        return float(step * (0.5 + 0.5 * drawn))


# The table. docs/architecture.md shows it with the outage that each rides out.

READS = RetryPolicy(attempts=6)
"""Reads of the paid API that nothing is lost by: the account, the history, a job; and uploads of reference images."""

POLLS = RetryPolicy(attempts=None)
"""Polls of jobs that are paid for, and sweeps: until `give_up_after_seconds`."""

SUBMITS = RetryPolicy(attempts=24, first_wait_seconds=1.0)
"""Creates to which no connection was made."""

BUSY_SUBMITS = RetryPolicy(attempts=120, first_wait_seconds=1.0, longest_wait_seconds=2.0)
"""Creates answered 429. The client slows all creates down meanwhile, so that this can take half an hour."""

DOWNLOADS = RetryPolicy(attempts=9)
"""Images, from a host that is away or has not got them yet."""

STORE = RetryPolicy(attempts=9, longest_wait_seconds=16.0)
"""The engine's calls to the object store, each on top of what boto3 repeats by itself."""

STORE_ROUNDS = RetryPolicy(attempts=6, first_wait_seconds=0.2, longest_wait_seconds=5.0)
"""Within one call to S3: writing and looking what stands there, and reading a body that broke off."""

SOURCES = RetryPolicy(attempts=3, first_wait_seconds=2.0)
"""Prompt tables and reference images on the web, while somebody waits for a quote."""


async def repeat(call: Callable[[], Awaitable[Result]], *, policy: RetryPolicy = READS, sleep: Sleep) -> Result:
    """Call until it answers, fails for good, or the policy's attempts are used up.

    Raises:
        SeedreamError: The last error, as it was raised.
    """
    for attempt in count(1):
        try:
            return await call()
        except SeedreamError as error:
            wait = policy.wait_after(attempt, error)
            if wait is None:
                raise
        await sleep(wait)
    raise AssertionError("the loop returns or raises")


def repeat_blocking(
    call: Callable[[], Result],
    *,
    policy: RetryPolicy,
    sleep: Callable[[float], object] = time.sleep,
    repeated: type[SeedreamError] = SeedreamError,
) -> Result:
    """The same for a call that blocks; of errors that may be repeated, only those of one kind are."""
    for attempt in count(1):
        try:
            return call()
        except repeated as error:
            wait = policy.wait_after(attempt, error)
            if wait is None:
                raise
        sleep(wait)
    raise AssertionError("the loop returns or raises")


def running_seconds() -> float:
    """The machine's seconds since boot, suspended time included where the system counts it (Linux)."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


def format_seconds(seconds: float) -> str:
    """A duration for people: 8 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
