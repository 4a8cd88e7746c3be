"""When a run had better stop: so much of late went wrong that the next request will fare no better. Pure.

What is owned is kept, and the next run goes on; stopping costs nothing, going on may cost money or a person's day.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import Literal

Trouble = Literal["refused", "blocked", "uncertain", "undelivered", "fruitless", "unexpected"]
Success = Literal["accepted", "delivered"]

# Refusals and surprises count while they repeat one reason: ten rows that are wrong in ten ways are ten wrong rows.
MOST_IN_A_ROW: dict[Trouble, int] = {
    "refused": 10,
    "unexpected": 10,
    "uncertain": 20,
    "undelivered": 20,
    "fruitless": 20,
    "blocked": 30,
}
# Where successes come in between: of so many results, at most this share may be one trouble.
RECENT = 60
LARGEST_SHARE = 0.75
_SAME_REASON: tuple[Trouble, ...] = ("refused", "unexpected")
_ENDED_BY: dict[Success, tuple[Trouble, ...]] = {
    "accepted": ("refused", "blocked", "uncertain"),
    "delivered": ("unexpected", "undelivered", "fruitless"),
}
_SUBMITS: tuple[Trouble, ...] = _ENDED_BY["accepted"]
_WORDS: dict[Trouble, str] = {
    "refused": "were refused for the same reason",
    "unexpected": "failed in the same unexpected way",
    "uncertain": "got no answer that says whether they were accepted",
    "undelivered": "had images that could not be fetched",
    "fruitless": "were accepted and ended without an image",
    "blocked": "were refused by moderation",
}
_Key = tuple[Trouble, str] | None


class Breaker:
    """Counts trouble in a row, and as a share of what happened of late. One object per run."""

    def __init__(self) -> None:
        self._in_a_row: defaultdict[Trouble, int] = defaultdict(int)
        self._reason: dict[Trouble, str] = {}
        self._recent: dict[Success, deque[_Key]] = {
            "accepted": deque(maxlen=RECENT),
            "delivered": deque(maxlen=RECENT),
        }

    def succeeded(self, how: Success) -> None:
        """Something went well: the rows that this speaks against begin anew."""
        self._recent[how].append(None)
        for trouble in _ENDED_BY[how]:
            self._in_a_row[trouble] = 0

    def failed(self, how: Trouble, reason: str) -> str | None:
        """Something went wrong. Returns why to stop, in words, once it is too much; else None."""
        if how in _SAME_REASON and self._reason.get(how) != reason:
            self._in_a_row[how] = 0
        self._reason[how] = reason
        self._in_a_row[how] += 1
        key = how, reason if how in _SAME_REASON else ""
        recent = self._recent["accepted" if how in _SUBMITS else "delivered"]
        recent.append(key)
        if self._in_a_row[how] >= MOST_IN_A_ROW[how]:
            return f"{self._in_a_row[how]} requests in a row {_WORDS[how]}; the latest: {reason}"
        times = Counter(recent)[key]
        if len(recent) == RECENT and times >= LARGEST_SHARE * RECENT:
            return f"{times} of the latest {RECENT} requests {_WORDS[how]}; the latest: {reason}"
        return None
