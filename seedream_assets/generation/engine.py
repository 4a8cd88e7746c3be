"""Admission: takes demands one by one, reserves for them, and keeps the account's slots filled.

Nothing here holds a list of the plan: demands are drawn from an iterator as room becomes free, and only counts are
kept. What happens to one request is `request_path`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from seedream_assets.core.errors import DownloadError, LeonardoError, StoreError
from seedream_assets.core.generation_requests import GenerationRequest
from seedream_assets.core.ledger import FRESH, RequestState, Standing
from seedream_assets.core.run_report import Tally
from seedream_assets.generation.request_path import RequestPath
from seedream_assets.generation.spending import Purse
from seedream_assets.generation.stop import StopRun

# Requests reserved for at one time: one entry in the dataset's budget log serves so many.
BLOCK = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """One request that a plan wants and nobody has finished, with what the planner saw of it."""

    request: GenerationRequest
    standing: Standing = FRESH

    @property
    def is_to_buy(self) -> bool:
        """True when nobody had bought it when the plan was made."""
        return self.standing.state is RequestState.FREE


class Engine:
    """One run over one plan. `run` it once.

    Args:
        path: What every request goes through.
        purse: This run's money.
        tally: Where every end is counted.
        stop: Who may end the run early.
        room: Requests in work at one time, at Leonardo or on the way to the store: this bounds memory.
        drain_seconds: How long an interrupted run finishes what is in flight.
    """

    def __init__(
        self, *, path: RequestPath, purse: Purse, tally: Tally, stop: StopRun, room: int, drain_seconds: float
    ) -> None:
        self._path = path
        self._purse = purse
        self._tally = tally
        self._stop = stop
        self._room = asyncio.Semaphore(room)
        self._drain_seconds = drain_seconds
        self._in_work: set[asyncio.Task[None]] = set()

    async def run(self, demands: Iterable[Demand]) -> None:
        """See every demand to its end, or stop cleanly. What became of each is in the ledger and in the tally.

        Raises:
            Exception: The reason for which no request could fare better: the key, the store. What is owned is kept.
        """
        waiting = iter(demands)
        admission = asyncio.create_task(self._admit_all(waiting), name="admission")
        interruption = asyncio.create_task(self._stop.interruption(), name="interruption")
        try:
            await asyncio.wait({admission, interruption}, return_when=asyncio.FIRST_COMPLETED)
            while self._in_work and not interruption.done():
                await asyncio.wait({*self._in_work, interruption}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            admission.cancel()
            interruption.cancel()
            await asyncio.gather(admission, interruption, return_exceptions=True)
            await self._drain()
            await self._purse.close()
        self._tally.requests["not_sent"] += self._tally.total - self._tally.requests.total()
        if not admission.cancelled() and (failure := admission.exception()) is not None:
            raise failure
        if self._stop.error is not None:
            raise self._stop.error

    async def _admit_all(self, waiting: Iterator[Demand]) -> None:
        while not self._stop.requested and (block := list(islice(waiting, BLOCK))):
            affordable = await self._reserve(block)
            for demand in block:
                if demand.is_to_buy and demand.request.request_id not in affordable:
                    continue
                await self._room.acquire()
                if self._stop.buys_no_more:
                    self._room.release()
                    return
                task = asyncio.create_task(self._see_through(demand), name=demand.request.request_id[:12])
                self._in_work.add(task)
                task.add_done_callback(self._in_work.discard)
            await self._purse.write_settlements()

    async def _reserve(self, block: list[Demand]) -> set[str]:
        """The requests of a block that may be bought. Where a cap cuts some off, nothing more is admitted."""
        prices = {demand.request.request_id: self._path.price(demand.request) for demand in block if demand.is_to_buy}
        if not prices:
            return set()
        granted, refused = await self._purse.reserve(prices)
        while refused is not None and self._in_work and not self._stop.requested:
            # What is in flight may cost less than was reserved for it: wait for it before giving up.
            await asyncio.wait(self._in_work, return_when=asyncio.FIRST_COMPLETED)
            await self._purse.write_settlements()
            granted, refused = await self._purse.reserve(prices)
        if refused is not None:
            self._stop.request("over_budget", str(refused))
        return set(granted)

    async def _see_through(self, demand: Demand) -> None:
        """One request to its end. A failure of one never ends another; one of the store ends the run."""
        request_id = demand.request.request_id
        self._tally.in_flight += 1
        try:
            await self._path.follow(demand.request, demand.standing, room=self._room)
        except asyncio.CancelledError:
            reason = "interrupted while in flight; the next run goes on from here"
            self._purse.keep(request_id)
            self._tally.count("pending", reason="interrupted")
            self._tally.note(request_id, reason)
        except (LeonardoError, DownloadError) as error:
            self._put_down(request_id, str(error))
        except StoreError as error:
            self._purse.keep(request_id)
            self._put_down(request_id, str(error))
            self._stop.request("refused", str(error), error)
        except Exception as error:
            self._purse.keep(request_id)
            self._put_down(request_id, f"{type(error).__name__}: {error}")
            self._stop.request("refused", f"{type(error).__name__}: {error}", error)
        finally:
            self._purse.settle_unbought(request_id)
            self._tally.in_flight -= 1
            self._room.release()

    def _put_down(self, request_id: str, reason: str) -> None:
        self._tally.count("pending", reason=reason)
        self._tally.note(request_id, reason)

    async def _drain(self) -> None:
        """Give what is in flight a bounded time, then let go. A submit on its way is never cut off before that."""
        if self._in_work:
            await asyncio.wait(self._in_work, timeout=self._drain_seconds)
        for task in self._in_work:
            task.cancel()
        if self._in_work:
            await asyncio.wait(self._in_work)
        if self._path.paid_steps:
            await asyncio.wait(self._path.paid_steps, timeout=self._drain_seconds)
