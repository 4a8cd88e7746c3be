"""One run over one plan: a loop that admits requests, and the way of each from its ledger entry to its end.

Nothing here holds a list of the plan: requests are drawn from an iterator as others end, and only counts are kept.
The bounds of concurrency are drawn in docs/architecture.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

from seedream_assets.budget.reservations import Reservations
from seedream_assets.errors import (
    BalanceExhausted,
    LeonardoError,
    ObjectUnreadable,
    StoreError,
    SubmitMisdirected,
    SubmitUncertain,
)
from seedream_assets.ledger.events import Blocked, Released, Submitted
from seedream_assets.ledger.lease import LeaseLapsed
from seedream_assets.ledger.recovery import Recovery, StaysOpen
from seedream_assets.ledger.state import FRESH, RequestState
from seedream_assets.ledger.store import cost_of
from seedream_assets.purchase.delivery import Finalizer
from seedream_assets.purchase.polling import LeftForLater, Polled, Polling
from seedream_assets.purchase.report import RunStats
from seedream_assets.purchase.submit import Submits
from seedream_assets.purchase.task import Bought, Ended, RequestTask, RunContext

# Requests reserved for at one time: one entry in the dataset's budget log serves so many.
BLOCK = 32
BORDERS_MOVED = "the request before it in this prompt was not claimed as planned; the next run plans anew"
_LOG = logging.getLogger(__name__)
_Sent = Submitted | Blocked | Released
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collaborators:
    """What the engine works with.

    Attributes:
        submits: Claims and sends requests: the only one that spends.
        recovery: Settles intents that are open.
        polling: Waits for the end of jobs.
        finalizer: Stores images, and writes down how a job ended.
        reservations: This run's money.
        stats: Where every end is counted.
    """

    run: RunContext
    submits: Submits
    recovery: Recovery
    polling: Polling
    finalizer: Finalizer
    reservations: Reservations
    stats: RunStats


class Engine:
    """One run over one plan. `run` it once.

    Args:
        use: What it works with.
        at_leonardo: Generations at Leonardo at one time: those in the account's slots, and a few that wait there.
        drain_seconds: How long an interrupted run finishes what is in flight.
    """

    def __init__(self, use: Collaborators, *, at_leonardo: int, drain_seconds: float) -> None:
        self._use = use
        self._run = use.run
        self._drain_seconds = drain_seconds
        # Requests from claim to end of job.
        self._slots = asyncio.Semaphore(at_leonardo)
        # Requests in memory: while one lot is at Leonardo, another is downloaded, verified and stored.
        self._in_flight = asyncio.Semaphore(2 * at_leonardo)
        # Requests that wait for other runs or for the history, and count in neither of the two. So many that they do
        # not hold up the rest; beyond them, admission waits too.
        self._aside = asyncio.Semaphore(20 * at_leonardo)
        self._running: set[asyncio.Task[None]] = set()
        # Submits under way; they are not cancelled with the request around them.
        self._paid_steps: set[asyncio.Task[_Sent]] = set()
        self._latest: RequestTask | None = None

    @property
    def waiting(self) -> str | None:
        """What is waited for besides Leonardo's jobs, and for how long; None where nothing is."""
        use = self._use
        return (
            "; ".join(filter(None, (use.recovery.waiting, use.submits.refusals.waiting, use.polling.waiting))) or None
        )

    # Admission

    async def run(self, tasks: Iterable[RequestTask]) -> None:
        """See every request to its end, or stop cleanly. What became of each is in the ledger and in the stats.

        Raises:
            Exception: The reason for which no request could fare better: the key, the store. What is owned is kept.
        """
        use = self._use
        admission = asyncio.create_task(self._admit_all(iter(tasks)), name="admission")
        interruption = asyncio.create_task(self._run.stop.interruption(), name="interruption")
        try:
            await asyncio.wait({admission, interruption}, return_when=asyncio.FIRST_COMPLETED)
            while self._running and not interruption.done():
                await asyncio.wait({*self._running, interruption}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            admission.cancel()
            interruption.cancel()
            await asyncio.gather(admission, interruption, return_exceptions=True)
            await self._drain()
            await self._close_reservations()
        use.stats.count_rest()
        if not admission.cancelled() and (failure := admission.exception()) is not None:
            raise failure
        if self._run.stop.error is not None:
            raise self._run.stop.error

    async def _admit_all(self, waiting: Iterator[RequestTask]) -> None:
        """Admit in the plan's order. Out of money, what is paid for already is still admitted, and fetched."""
        while self._may_begin() and (block := list(islice(waiting, BLOCK))):
            for position, task in enumerate(block):
                if task.is_to_buy and not await self._can_pay_first_of(block[position:]):
                    self._latest = None  # what comes after it has nothing to border on
                    continue
                await self._in_flight.acquire()
                if not self._may_begin():
                    self._in_flight.release()
                    return
                self._admit(task)
            await self._use.reservations.write_settlements()

    def _may_begin(self) -> bool:
        return not self._run.stop.begins_no_more

    def _admit(self, task: RequestTask) -> None:
        task.credits_to_spend = self._use.reservations.price(self._run.asked(task.request)) if task.is_to_buy else 0
        task.follow(self._latest)
        self._latest = task
        running = asyncio.create_task(self._see_through(task), name=task.request_id[:12])
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _can_pay_first_of(self, tasks: list[RequestTask]) -> bool:
        """Whether credits are reserved for the first of these; reserves for as many of the others as the caps allow."""
        reservations, stop = self._use.reservations, self._run.stop
        wanted = {task.request_id: self._run.asked(task.request) for task in tasks if task.is_to_buy}
        first = tasks[0].request_id
        if reservations.holds(first, wanted[first]):
            return True
        if stop.is_requested:
            return False
        granted, refused = await reservations.reserve(wanted)
        self._run.on("after_reserve", first)
        while first not in granted and self._running and not stop.is_requested:
            # What is in flight may cost less than was reserved for it: wait for it before giving up.
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            await reservations.write_settlements()
            granted, refused = await reservations.reserve(wanted)
        if first not in granted:
            stop.request("over_budget", str(refused))
        return first in granted

    async def _drain(self) -> None:
        """Give what is in flight a bounded time, then cancel it. A submit on its way is never cut off before that."""
        if left := {*self._running, *self._paid_steps}:
            await asyncio.wait(left, timeout=self._drain_seconds)
        while left := {*self._running, *self._paid_steps}:
            for task in left:
                task.cancel()
            await asyncio.wait(left)

    async def _close_reservations(self) -> None:
        """Settle with the dataset's log. Where the store is away the next run does it, and this one says why it ended."""
        try:
            await self._use.reservations.close()
        except StoreError as error:
            self._run.stop.request("refused", str(error), error)

    # One request

    async def _see_through(self, task: RequestTask) -> None:
        """One request to its end for this run, which is reported once. A failure of one never ends another."""
        use = self._use
        use.stats.in_flight += 1
        try:
            self._run.on(await self._end_of(task), task.request_id)
        finally:
            task.publish(FRESH)
            use.stats.credits_to_buy -= task.take_credits_to_spend()
            use.reservations.settle_unbought(task.request_id)
            use.stats.in_flight -= 1
            self._in_flight.release()

    async def _end_of(self, task: RequestTask) -> Ended:
        """How a request ended, whatever happened to it. A failure of the store ends the run."""
        ended: Ended | None = None
        try:
            while ended is None:
                ended = await self._advance(task)
        except asyncio.CancelledError:
            return Ended.unfinished("pending", "interrupted while in flight; the next run goes on from here")
        except (LeonardoError, ObjectUnreadable) as error:
            return Ended.unfinished("pending", str(error))
        except StoreError as error:
            self._run.stop.request("refused", str(error), error)
            return Ended.unfinished("pending", str(error))
        except Exception as error:  # noqa: BLE001 - nobody foresaw it, and no other request may suffer from it
            reason = f"unexpected {type(error).__name__}: {error}"
            _LOG.error("request %s: %s", task.request_id, reason, exc_info=error)
            self._run.stop.failed("unexpected", reason, error)
            return Ended.unfinished("pending", reason)
        return ended

    async def _advance(self, task: RequestTask) -> Ended | None:
        """What the request's ledger entry calls for. None: its entry has changed, and is to be looked at again."""
        match task.entry.state:
            case RequestState.FREE:
                return await self._buy(task)
            case RequestState.OPEN:
                return await self._settle_open(task)
        task.publish(task.entry)
        match task.entry.state:
            case RequestState.SUBMITTED:
                return await self._collect(task)
            case RequestState.UNKNOWN:
                return Ended.unfinished("uncertain", task.entry.why_untouched)
        return Ended("owned")

    async def _buy(self, task: RequestTask) -> Ended | None:
        """Claim and submit, then wait for the job's end and store its images."""
        use = self._use
        if not await task.may_be_claimed(self._run.ledger):
            return self._not_sent(BORDERS_MOVED)
        if task.entry.attempt and await self._was_bought_after_all(task):
            return None
        task.reference_ids = await use.submits.references.ids_for(task.request.spec)
        async with self._slots:
            async with use.reservations.first_alone(self._run.asked(task.request).kind):
                ended = await self._claim_and_send(task)
            if ended is not None or task.submitted is None:
                return ended
            polled = await use.polling.wait_for_end(task.request, task.submitted.generation_id, fresh=True)
        return await self._finalize(task, polled)

    async def _was_bought_after_all(self, task: RequestTask) -> bool:
        """Whether the history shows now what was denied before; that is booked, and not bought again."""
        use, attempt = self._use, task.entry.attempt
        found = await use.recovery.look_again(task.request_id, attempt)
        if found is None:
            return False
        if found.attempt < attempt:
            for submitted in await self._run.ledger.read_submitted(task.request_id, found.attempt):
                await self._book(task, submitted)
        task.entry, task.is_unanswered = found, False
        return True

    async def _claim_and_send(self, task: RequestTask) -> Ended | None:
        """The paid step, once the account's rate allows it. `task.submitted` is set where the request was bought."""
        use = self._use
        # Nothing is claimed ahead of its turn: what a killed run leaves open may really be on its way.
        task.turn = await use.submits.take_turn()
        await self._run.lease.renew_if_lapsed()
        if (ended := await self._refuse_to_spend(task)) is not None:
            return ended
        if not await self._claim(task):
            return None
        sent = await self._send(task)
        if isinstance(sent, Submitted):
            await self._book(task, sent)
            task.submitted = sent
            return None
        return None if sent is None else self._unbought(sent)

    async def _refuse_to_spend(self, task: RequestTask) -> Ended | None:
        """None where the run goes on and credits are reserved; else the end of the request."""
        use, asked = self._use, self._run.asked(task.request)
        if not self._run.stop.buys_no_more and not use.reservations.holds(task.request_id, asked):
            granted, refused = await use.reservations.reserve({task.request_id: asked})
            if not granted:
                self._run.stop.request("over_budget", str(refused))
        if self._run.stop.buys_no_more or not use.reservations.holds(task.request_id, asked):
            return self._not_sent(self._run.stop.reason or "stopped")
        return None

    async def _claim(self, task: RequestTask) -> bool:
        """Write the intent; False where the request is somebody else's, or was bought by an earlier attempt.

        From here on the reservation is kept, whatever happens, until it is known whether the request was bought.
        """
        use, attempt = self._use, task.entry.attempt
        use.reservations.keep(task.request_id)
        if not await use.submits.claim(task, credits=use.reservations.reserved_for(task.request_id)):
            await self._look_again(task)
            task.publish(task.entry)
            return False
        task.publish(replace(task.entry, state=RequestState.OPEN))
        if not attempt:
            return True
        # A later attempt rests on the word that the earlier one bought nothing. Two runs can look the same intent up,
        # and one may still find and adopt what the other has just released.
        entry = await self._run.ledger.entry(task.request_id)
        if entry.state is RequestState.OPEN and entry.attempt == attempt:
            return True
        await use.submits.release(task, "an earlier attempt was found to be bought")
        await self._look_again(task)
        return False

    async def _look_again(self, task: RequestTask) -> None:
        """This attempt bought nothing: its reservation can serve another, and the ledger says what is to be done."""
        self._use.reservations.mark_unbought(task.request_id)
        task.entry, task.is_unanswered = await self._run.ledger.entry(task.request_id), False

    async def _send(self, task: RequestTask) -> _Sent | None:
        """Send the claimed request. None where its entry has to be looked at again."""
        use, attempt = self._use, task.entry.attempt
        try:
            sent = await self._uncut(use.submits.send(task))
        except SubmitUncertain as error:
            if isinstance(error, SubmitMisdirected):
                self._run.stop.request("refused", f"nothing more is bought: {error.message}", nothing_left=True)
            self._run.stop.failed("uncertain", error.message)
            task.entry, task.is_unanswered = replace(task.entry, state=RequestState.OPEN), True
            return None
        except LeaseLapsed:
            await self._look_again(task)
            task.is_unanswered = task.entry.state is RequestState.OPEN and task.entry.attempt == attempt
            return None
        if isinstance(sent, Submitted):
            self._run.stop.succeeded("accepted")
        else:
            use.reservations.mark_unbought(task.request_id)
        return sent

    async def _uncut(self, paid: Coroutine[Any, Any, _Sent]) -> _Sent:
        """Run a paid step to its end even if the request around it is cancelled."""
        step = asyncio.create_task(paid)
        self._paid_steps.add(step)
        step.add_done_callback(self._forget_paid_step)
        return await asyncio.shield(step)

    def _forget_paid_step(self, step: asyncio.Task[_Sent]) -> None:
        self._paid_steps.discard(step)
        if not step.cancelled():
            step.exception()  # whoever was cancelled around it does not ask any more

    def _unbought(self, sent: Blocked | Released) -> Ended:
        """The end of a request that Leonardo refused or that was never sent; stops the run where others fare the same."""
        stop = self._run.stop
        if isinstance(sent, Blocked):
            stop.failed("blocked", sent.reason)
            return Ended("blocked", reason=sent.reason)
        refusal = self._use.submits.account_refusal
        if isinstance(refusal, BalanceExhausted):
            # The balance is a cap like the others; a bad key is an error.
            stop.request("over_budget", f"the account's balance is used up: {refusal}", nothing_left=True)
        elif refusal is not None:
            stop.request("refused", str(refusal), refusal)
        ended = Ended.unfinished("failed", sent.reason) if sent.why == "refused" else self._not_sent(sent.reason)
        if not stop.buys_no_more:
            stop.failed("refused", _without_request_id(sent.reason))
        return ended

    def _not_sent(self, reason: str) -> Ended:
        return Ended("not_sent", reason=None if self._run.stop.is_requested else reason, note=reason)

    async def _book(self, task: RequestTask, submitted: Submitted) -> None:
        use, asked = self._use, self._run.asked(task.request)
        use.stats.credits_to_buy -= task.take_credits_to_spend()
        booked = await use.reservations.settle_bought(
            task.request_id, asked, cost=cost_of(submitted), is_answer=not submitted.adopted
        )
        self._run.on(Bought(booked=booked, quoted=asked.listed), task.request_id)

    async def _settle_open(self, task: RequestTask) -> Ended | None:
        """Wait for whoever has the request, or look it up in the account's history."""
        use, entry, is_ours = self._use, task.entry, task.is_unanswered
        task.publish(entry)  # the task after it must not wait for what this one waits for
        settled = await self._wait_aside(use.recovery.settle(task.request_id, entry.attempt, ours=is_ours))
        if isinstance(settled, StaysOpen):
            return Ended.unfinished("uncertain", settled.reason)
        task.entry, task.is_unanswered = settled, False
        if is_ours and settled.state is RequestState.FREE:
            use.reservations.mark_unbought(task.request_id)
        if is_ours and settled.attempt == entry.attempt:
            # The first is the rule; a second one was charged all the same.
            for submitted in await self._run.ledger.read_submitted(task.request_id, entry.attempt):
                await self._book(task, submitted)
        return None

    async def _wait_aside(self, waiting: Coroutine[Any, Any, Found]) -> Found:
        """Wait for something that needs no slot, without counting as in flight."""
        is_aside = False
        try:
            # Only a request that may wait aside leaves room in flight for another; the rest hold up admission.
            async with self._aside:
                self._in_flight.release()
                is_aside = True
                return await waiting
        finally:
            waiting.close()  # where it was never awaited
            if is_aside:
                await self._in_flight.acquire()

    async def _collect(self, task: RequestTask) -> Ended:
        """Wait for the job of a request that is paid for already, by this run or another, and store its images."""
        use = self._use
        if not await use.finalizer.look_up(task):
            return Ended.unfinished("pending", "its adoption was taken back meanwhile; the next run goes on")
        account = task.claimed.account
        if account not in (None, use.recovery.account_id):
            return Ended.unfinished("pending", f"bought with account {account}; run once with a key of that account")
        async with self._slots:
            polled = await use.polling.wait_for_end(task.as_bought, task.paid.generation_id, fresh=False)
        return await self._finalize(task, polled)

    async def _finalize(self, task: RequestTask, polled: Polled) -> Ended:
        """Store what an ended job delivered, once that is the last word, and write down how it ended."""
        use, bought = self._use, task.as_bought
        if not isinstance(polled, LeftForLater) and polled.may_still_bring(bought.count):
            polled = await self._wait_aside(use.polling.wait_for_images(bought, polled))
        if isinstance(polled, LeftForLater):
            return Ended.unfinished("pending", polled.reason)
        return await use.finalizer.finalize(task, polled)


def _without_request_id(reason: str) -> str:
    """The reason without the part that is new in every answer."""
    return reason.split(", request id ", 1)[0].split("(request id ", 1)[0]
