"""How a run comes to stop before the end of its plan: asked by a person, out of money, refused, or in trouble.

What is owned is kept, and the next run goes on. Stopping costs nothing; going on may cost money, or a person's day.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from seedream_assets.config.retry import Sleep
from seedream_assets.wording import count_of

# Why a run stopped admitting requests; None where it went through its plan.
StopCause = Literal["over_budget", "interrupted", "refused", "awaiting_approval"]
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
            return f"{count_of(self._in_a_row[how], 'request')} in a row {_WORDS[how]}; the latest: {reason}"
        times = Counter(recent)[key]
        if len(recent) == RECENT and times >= LARGEST_SHARE * RECENT:
            return f"{times} of the latest {RECENT} requests {_WORDS[how]}; the latest: {reason}"
        return None


# How often the parent process is looked for.
PARENT_CHECK_SECONDS = 1.0
# A run that is out of money still fetches what is paid for; one that is refused or interrupted begins nothing more.
_WEIGHT: dict[StopCause, int] = {"over_budget": 1, "refused": 2, "interrupted": 3}


class StopRun:
    """Why a run stops admitting requests, once it does. A weightier cause replaces a lighter one."""

    def __init__(self) -> None:
        self._interrupted = asyncio.Event()
        self._nothing_left = False
        self._breaker = Breaker()
        self.cause: StopCause | None = None
        self.reason: str | None = None
        self.error: Exception | None = None

    def request(
        self, cause: StopCause, reason: str, error: Exception | None = None, *, nothing_left: bool = False
    ) -> None:
        """Stop admitting; what is in flight goes on, after an interruption for a bounded time only.

        Args:
            cause: The kind of reason.
            reason: For people, with the numbers.
            error: Raised by the run in the end, where no request could fare better.
            nothing_left: Out of money so that even what is reserved already cannot be bought.
        """
        self._nothing_left |= nothing_left
        if self.cause is None or _WEIGHT[cause] > _WEIGHT[self.cause]:
            self.cause, self.reason = cause, reason
        self.error = self.error or error
        if cause == "interrupted":
            self._interrupted.set()

    def succeeded(self, how: Success) -> None:
        """A request went well: what speaks against it is counted anew."""
        self._breaker.succeeded(how)

    def failed(self, how: Trouble, reason: str, error: Exception | None = None) -> None:
        """A request went wrong. Stops the run once so much went wrong that the next request would fare no better."""
        if too_much := self._breaker.failed(how, reason):
            self.request("refused", too_much, error)

    @property
    def is_requested(self) -> bool:
        """True once nothing more may be reserved or bought that is not reserved yet."""
        return self.cause is not None

    @property
    def buys_no_more(self) -> bool:
        """True when even what was admitted and reserved must not be bought any more."""
        return self._nothing_left or self.begins_no_more

    @property
    def begins_no_more(self) -> bool:
        """True when nothing more is admitted, not even to fetch what is paid for."""
        return self.cause in ("interrupted", "refused")

    @property
    def is_interrupted(self) -> bool:
        """True once somebody asked the run to end."""
        return self._interrupted.is_set()

    async def interruption(self) -> None:
        """Wait until somebody asks the run to end."""
        await self._interrupted.wait()


async def pause(seconds: float, *, stop: StopRun, sleep: Sleep) -> None:
    """A wait between two tries that ends early when the run does."""
    interruption = asyncio.create_task(stop.interruption())
    waiting = asyncio.ensure_future(sleep(seconds))
    try:
        await asyncio.wait({interruption, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        interruption.cancel()
        waiting.cancel()


async def watch_parent(stop: StopRun, sleep: Sleep) -> None:
    """Stop the run when the process that started this one is gone."""
    parent = os.getppid()
    while os.getppid() == parent:
        await sleep(PARENT_CHECK_SECONDS)
    stop.request("interrupted", "the process that started this run is gone")


@contextmanager
def signals_stop(stop: StopRun) -> Iterator[None]:
    """SIGINT and SIGTERM ask the run to end; a second one ends it at once. The handlers that stood before come back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: signal.Signals) -> None:
        stop.request("interrupted", f"asked to stop ({number.name})")
        loop.remove_signal_handler(number)

    for number in before:
        loop.add_signal_handler(number, ask, number)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
