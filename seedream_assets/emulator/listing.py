"""Which generations the account's history lists, when, in which order, and how its pages lie.

What belongs here: the list. What does not: what is told of each entry (`telling.py`).
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from seedream_assets.emulator.jobs import Job
from seedream_assets.emulator.telling import refuse_other_choices, refuse_other_flags, refuse_other_numbers

ListOrder = Literal["newest_first", "oldest_first", "scattered", "shuffled"]
Listed = Literal["all", "web_app", "complete", "nothing"]

_MOST: Final = 10**9
_NUMBERS: Final = (
    "lag_spread_seconds",
    "depth",
    "stale_every",
    "stale_seconds",
    "vanish_after_seconds",
    "vanish_seconds",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """How the history lists. Lag and longest page are `EmulatorSettings.history_lag_seconds` and `history_limit`.

    Raises:
        ValueError: A field is out of range; the message names it and what is allowed.
    """

    order: ListOrder = "newest_first"
    """`scattered` is an order of its own that stays; `shuffled` is another for every page."""
    lists: Listed = "all"
    """`web_app` leaves out everything that was made through the API, `complete` what is pending or failed."""
    lag_spread_seconds: float = 0.0
    """A generation's lag is the account's and up to this much more, another for each."""
    depth: int = 0
    """Only so many of the newest are kept; 0 keeps all."""
    ignores_offset: bool = False
    """Every page is the first."""
    repeats: bool = False
    """Every entry comes twice."""
    stale_every: int = 0
    """Every so-manieth read is answered by a replica that is `stale_seconds` behind; 0: none is."""
    stale_seconds: float = 0.0
    vanish_after_seconds: float = 0.0
    """Age at which an entry vanishes, to come back `vanish_seconds` later."""
    vanish_seconds: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no list could be."""
        refuse_other_choices(self, {"order": ListOrder, "lists": Listed})
        refuse_other_flags(self)
        refuse_other_numbers(self, dict.fromkeys(_NUMBERS, (0, _MOST)))

    def page(
        self, jobs: Sequence[Job], *, now: float, lag_seconds: float, offset: int, limit: int, read: int
    ) -> list[Job]:
        """One page.

        Args:
            jobs: Everything that the account has made, oldest first.
            now: The emulator's clock.
            lag_seconds: Age at which a generation shows at the earliest.
            offset: Entries to pass over.
            limit: The longest page.
            read: The number of this read of the history, from 1.
        """
        is_stale = self.stale_every > 0 and read % self.stale_every == 0
        seen_at = now - self.stale_seconds if is_stale else now
        listed: Iterator[Job] = (job for job in reversed(jobs) if self._shows(job, now, seen_at, lag_seconds))
        if self.depth:
            listed = itertools.islice(listed, self.depth)
        if self.order != "newest_first":
            listed = iter(self._in_order(list(listed), read))
        if self.repeats:
            listed = (job for job in listed for _ in range(2))
        offset = 0 if self.ignores_offset else offset
        return list(itertools.islice(listed, offset, offset + limit))

    def _shows(self, job: Job, now: float, seen_at: float, lag_seconds: float) -> bool:
        lag = lag_seconds + (self.lag_spread_seconds * share_of(job) if self.lag_spread_seconds else 0.0)
        age = seen_at - job.created_at
        if job.deleted or age < lag or 0 <= age - self.vanish_after_seconds < self.vanish_seconds:
            return False
        if self.lists == "complete":
            return job.status(now) == "COMPLETE"
        return self.lists == "all" or (self.lists == "web_app" and not job.billed)

    def _in_order(self, listed: list[Job], read: int) -> list[Job]:
        if self.order == "oldest_first":
            listed.reverse()
        elif self.order == "scattered":
            listed.sort(key=share_of)
        else:
            random.Random(read).shuffle(listed)
        return listed


LIVE_LISTING: Final = Listing()
"""The list as published live answers show it."""


def share_of(job: Job) -> float:
    """A number from 0 to 1 that is a generation's own, the same whenever the same is ordered."""
    return int(hashlib.sha256(job.order.fingerprint().encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
