"""When a run had better stop: so much in a row went wrong that the next request will fare no better. Pure.

What is owned is kept, and the next run goes on; stopping costs nothing, going on may cost money or a person's day.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Literal

Trouble = Literal["refused", "uncertain", "undelivered", "unexpected"]
Success = Literal["accepted", "delivered"]

# Refusals and surprises count while they repeat one reason: ten rows that are wrong in ten ways are ten wrong rows.
MOST_IN_A_ROW: dict[Trouble, int] = {"refused": 10, "unexpected": 10, "uncertain": 20, "undelivered": 20}
_SAME_REASON: tuple[Trouble, ...] = ("refused", "unexpected")
_ENDED_BY: dict[Success, tuple[Trouble, ...]] = {
    "accepted": ("refused", "uncertain"),
    "delivered": ("unexpected", "undelivered"),
}
_WORDS: dict[Trouble, str] = {
    "refused": "requests in a row were refused for the same reason",
    "unexpected": "requests in a row failed in the same unexpected way",
    "uncertain": "submits in a row got no answer that says whether they were accepted",
    "undelivered": "finished jobs in a row had images that could not be fetched",
}


class Breaker:
    """Counts trouble in a row. One object per run."""

    def __init__(self) -> None:
        self._in_a_row: defaultdict[Trouble, int] = defaultdict(int)
        self._reason: dict[Trouble, str] = {}

    def succeeded(self, how: Success) -> None:
        """Something went well: the rows that this speaks against begin anew."""
        for trouble in _ENDED_BY[how]:
            self._in_a_row[trouble] = 0

    def failed(self, how: Trouble, reason: str) -> str | None:
        """Something went wrong. Returns why to stop, in words, once it is too much; else None."""
        if how in _SAME_REASON and self._reason.get(how) != reason:
            self._in_a_row[how] = 0
        self._reason[how] = reason
        self._in_a_row[how] += 1
        if self._in_a_row[how] < MOST_IN_A_ROW[how]:
            return None
        return f"{self._in_a_row[how]} {_WORDS[how]}; the latest: {reason}"
