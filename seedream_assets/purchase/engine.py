"""Admission: takes demands one by one, reserves for them, and keeps the account's slots filled.

Nothing here holds a list of the plan: demands are drawn from an iterator as room becomes free, and only counts are
kept. What happens to one request is `request_path`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from itertools import islice

from seedream_assets.budget.reservations import Reservations
from seedream_assets.errors import LeonardoError, ObjectUnreadable, StoreError
from seedream_assets.purchase.report import RunStats
from seedream_assets.purchase.request_path import RequestPath
from seedream_assets.purchase.shutdown import Breaker, StopRun
from seedream_assets.purchase.submit import AtStep
from seedream_assets.purchase.task import Demand, Errand

# Requests reserved for at one time: one entry in the dataset's budget log serves so many.
BLOCK = 32
_LOG = logging.getLogger(__name__)


class Engine:
    """One run over one plan. `run` it once.

    Args:
        path: What every request goes through.
        reservations: This run's money.
        stats: Where every end is counted.
        stop: Who may end the run early.
        breaker: When to give up.
        room: Requests in work at one time, at Leonardo or on the way to the store: this bounds memory.
        drain_seconds: How long an interrupted run finishes what is in flight.
    """

    def __init__(
        self,
        *,
        path: RequestPath,
        reservations: Reservations,
        stats: RunStats,
        stop: StopRun,
        breaker: Breaker,
        room: int,
        drain_seconds: float,
        at_step: AtStep,
    ) -> None:
        self._path = path
        self._reservations = reservations
        self._stats = stats
        self._stop = stop
        self._breaker = breaker
        self._room = asyncio.Semaphore(room)
        self._drain_seconds = drain_seconds
        self._at_step = at_step
        self._in_work: set[asyncio.Task[None]] = set()
        self._latest: Errand | None = None

    @property
    def waiting(self) -> str | None:
        """What is waited for before a refusal is believed, or until what has ended is whole; None where nothing is."""
        return "; ".join(filter(None, (self._path.submits.waiting, self._path.polling.waiting))) or None

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
            await self._close_reservations()
        self._stats.requests["not_sent"] += max(0, self._stats.total - self._stats.requests.total())
        if not admission.cancelled() and (failure := admission.exception()) is not None:
            raise failure
        if self._stop.error is not None:
            raise self._stop.error

    async def _admit_all(self, waiting: Iterator[Demand]) -> None:
        """Admit in the plan's order. Out of money, what is paid for already is still admitted, and fetched."""
        while self._may_begin() and (block := list(islice(waiting, BLOCK))):
            for position, demand in enumerate(block):
                if demand.is_to_buy and not await self._can_pay_first_of(block[position:]):
                    self._latest = None  # what comes after it has nothing to border on
                    continue
                await self._room.acquire()
                if not self._may_begin():
                    self._room.release()
                    return
                self._admit(demand)
            await self._reservations.write_settlements()

    def _may_begin(self) -> bool:
        return not self._stop.begins_no_more

    def _admit(self, demand: Demand) -> None:
        credits = self._reservations.price(self._path.asks_for(demand.request)) if demand.is_to_buy else 0
        errand = Errand(demand, before=self._latest, credits=credits)
        self._latest = errand
        task = asyncio.create_task(self._see_through(errand), name=demand.request.request_id[:12])
        self._in_work.add(task)
        task.add_done_callback(self._in_work.discard)

    async def _can_pay_first_of(self, demands: list[Demand]) -> bool:
        """Whether credits are reserved for the first demand; reserves with it for as many of the others as caps allow."""
        wanted = {one.request.request_id: self._path.asks_for(one.request) for one in demands if one.is_to_buy}
        first = demands[0].request.request_id
        if self._reservations.holds(first, wanted[first]):
            return True
        if self._stop.is_requested:
            return False
        granted, refused = await self._reservations.reserve(wanted)
        self._at_step("after_reserve", first)
        while first not in granted and self._in_work and not self._stop.is_requested:
            # What is in flight may cost less than was reserved for it: wait for it before giving up.
            await asyncio.wait(self._in_work, return_when=asyncio.FIRST_COMPLETED)
            await self._reservations.write_settlements()
            granted, refused = await self._reservations.reserve(wanted)
        if first not in granted:
            self._stop.request("over_budget", str(refused))
        return first in granted

    async def _see_through(self, errand: Errand) -> None:
        """One request to its end. A failure of one never ends another; one of the store ends the run."""
        request_id = errand.request.request_id
        self._stats.in_flight += 1
        try:
            await self._path.follow(errand, room=self._room)
        except asyncio.CancelledError:
            self._put_down(request_id, "interrupted while in flight; the next run goes on from here")
        except LeonardoError as error:
            self._put_down(request_id, str(error))
        except ObjectUnreadable as error:
            self._put_down(request_id, str(error))
        except StoreError as error:
            self._put_down(request_id, str(error))
            self._stop.request("refused", str(error), error)
        except Exception as error:  # noqa: BLE001 - nobody foresaw it, and no other request may suffer from it
            self._put_down_unexpected(request_id, error)
        finally:
            errand.find(None)
            self._stats.credits_to_buy -= errand.take_credits()
            self._reservations.settle_unbought(request_id)
            self._stats.in_flight -= 1
            self._room.release()

    def _put_down(self, request_id: str, reason: str) -> None:
        self._stats.note(request_id, reason)
        self._stats.count("pending", of=request_id, reason=reason)

    def _put_down_unexpected(self, request_id: str, error: Exception) -> None:
        """A mistake of this package, or of a server: one request waits for the next run, and the others go on."""
        reason = f"unexpected {type(error).__name__}: {error}"
        _LOG.error("request %s: %s", request_id, reason, exc_info=error)
        self._put_down(request_id, reason)
        if too_much := self._breaker.failed("unexpected", reason):
            self._stop.request("refused", too_much, error)

    async def _drain(self) -> None:
        """Give what is in flight a bounded time, then let go. A submit on its way is never cut off before that."""
        if left := {*self._in_work, *self._path.paid_steps}:
            await asyncio.wait(left, timeout=self._drain_seconds)
        while left := {*self._in_work, *self._path.paid_steps}:
            for task in left:
                task.cancel()
            await asyncio.wait(left)

    async def _close_reservations(self) -> None:
        """Settle with the dataset's log. Where the store is away the next run does it, and this one says why it ended."""
        try:
            await self._reservations.close()
        except StoreError as error:
            self._stop.request("refused", str(error), error)
