"""How much an account may ask: requests per minute, and generation slots with a queue before them.

What belongs here: the two mechanisms, told the time by their caller. What does not: which limit applies to what.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Final

WINDOW_SECONDS: Final = 60.0


@dataclass(slots=True)
class MinuteWindow:
    """At most `limit` admissions in any 60 seconds; 0 admits everything."""

    limit: int
    _admitted: deque[float] = field(default_factory=deque)

    def wait_seconds(self, now: float) -> float:
        """Admit and return 0, or say how long until there is room."""
        if not self.limit:
            return 0.0
        admitted = self._admitted
        while admitted and admitted[0] <= now - WINDOW_SECONDS:
            admitted.popleft()
        if len(admitted) < self.limit:
            admitted.append(now)
            return 0.0
        return admitted[0] + WINDOW_SECONDS - now


class Slots:
    """Generation slots, first come first served.

    How long a job takes is known when it arrives, so its start and end are too: nothing ever has to tick.
    """

    def __init__(self, count: int) -> None:
        """Open `count` slots, all free."""
        self._free_at = [float("-inf")] * count
        self._ends: list[float] = []

    def occupy(self, now: float, seconds: float) -> tuple[float, float]:
        """Queue a job of this length; return when it starts and when it ends."""
        starts = max(now, self._free_at[0])
        ends = starts + seconds
        heapq.heapreplace(self._free_at, ends)
        heapq.heappush(self._ends, ends)
        return starts, ends

    def pending(self, now: float) -> int:
        """Count the jobs queued or running."""
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        return len(self._ends)
