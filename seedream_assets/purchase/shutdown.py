"""How a run comes to stop before the end of its plan: asked by a person, out of money, or refused for good."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from seedream_assets.config.waiting import Sleep
from seedream_assets.purchase.run_report import StopCause

PARENT_CHECK_SECONDS = 1.0
# A run that is out of money still fetches what is paid for; one that is refused or interrupted begins nothing more.
_WEIGHT: dict[StopCause, int] = {"over_budget": 1, "refused": 2, "interrupted": 3}


class StopRun:
    """Why a run stops admitting requests, once it does. A weightier cause takes the place of a lighter one."""

    def __init__(self) -> None:
        self._interrupted = asyncio.Event()
        self._nothing_left = False
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
