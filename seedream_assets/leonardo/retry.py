"""When a call that may be repeated is repeated, and how long to wait before: pure rules, and one loop over them.

Only reads and proven refusals come here. A paid POST whose answer is missing raises `SubmitUncertain`, which is not
repeatable, so it passes through this loop untouched.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from seedream_assets.errors import DownloadError, LeonardoError, SeedreamError

Sleep = Callable[[float], Awaitable[None]]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How patiently a repeatable call is repeated.

    Attributes:
        attempts: The first call included.
        first_wait_seconds: Upper end of the first wait; each later one doubles.
        longest_wait_seconds: No wait is longer, whatever a server suggests.
    """

    attempts: int = 6
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or not 0 < self.first_wait_seconds <= self.longest_wait_seconds < math.inf:
            raise ValueError(f"at least one attempt, and waits above 0 that grow and end, got {self}")

    def wait_seconds(self, attempt: int, error: SeedreamError, chance: float) -> float:
        """The wait after failed attempt number `attempt` (from 1).

        A server's Retry-After is obeyed up to the longest wait; else half of the exponential step is fixed and half
        is drawn by `chance` in [0, 1), so that many clients do not come back together.
        """
        suggested = error.retry_after_seconds if isinstance(error, LeonardoError) else None
        if suggested is not None and suggested >= 0:
            return float(min(suggested, self.longest_wait_seconds))
        # 2 ** 16 half-seconds is 9 hours: no larger power is ever needed, and none overflows.
        step = min(self.first_wait_seconds * 2 ** min(attempt - 1, 16), self.longest_wait_seconds)
        return float(step * (0.5 + 0.5 * chance))


async def repeat(
    call: Callable[[], Awaitable[Result]],
    *,
    policy: RetryPolicy,
    sleep: Sleep,
    chance: Callable[[], float] = random.random,
) -> Result:
    """Call until it answers, fails for good, or the policy's attempts are used up.

    Raises:
        SeedreamError: The last error, as it was raised.
    """
    for attempt in range(1, policy.attempts):
        try:
            return await call()
        except (LeonardoError, DownloadError) as error:
            if not error.may_retry:
                raise
            await sleep(policy.wait_seconds(attempt, error, chance()))
    return await call()
