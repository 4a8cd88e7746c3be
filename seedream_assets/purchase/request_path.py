"""One request from where it stands to its end: claim → submit → poll → deliver, with every end counted.

The ledger decides where a request stands; this follows it. Each step is somebody else's: `submitting` spends,
`recovery` settles what is open, `polling` waits for the end, `collecting` stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from seedream_assets.budget.reservations import Reservations
from seedream_assets.budget.rules import Asked, kind_of
from seedream_assets.errors import BalanceExhausted, SubmitMisdirected, SubmitUncertain
from seedream_assets.ledger.events import Blocked, Released, Submitted
from seedream_assets.ledger.lease import Lease, LeaseLapsed
from seedream_assets.ledger.recovery import Recovery
from seedream_assets.ledger.state import LedgerEntry, RequestState
from seedream_assets.ledger.store import Ledger, cost_of
from seedream_assets.leonardo.generations import Generation
from seedream_assets.leonardo.requests import GenerationRequest
from seedream_assets.purchase.finalize import Collecting, Purchase
from seedream_assets.purchase.polling import Polling
from seedream_assets.purchase.report import RunStats
from seedream_assets.purchase.shutdown import Breaker, StopRun
from seedream_assets.purchase.submit import Claim, Submits
from seedream_assets.purchase.task import Errand

BORDERS_MOVED = "the request before it in this prompt was not claimed as planned; the next run plans anew"
_Sent = Submitted | Blocked | Released
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPath:
    """Sees requests through.

    Attributes:
        places: Room at Leonardo: slots, and a few that wait there.
        parked: Room to wait for other runs and for the history, without holding a place.
        paid_steps: Submits under way; they are not cut off with the request around them.
    """

    ledger: Ledger
    lease: Lease
    submits: Submits
    recovery: Recovery
    polling: Polling
    collecting: Collecting
    reservations: Reservations
    stats: RunStats
    stop: StopRun
    breaker: Breaker
    places: asyncio.Semaphore
    parked: asyncio.Semaphore
    paid_steps: set[asyncio.Task[_Sent]] = field(default_factory=set)

    async def follow(self, errand: Errand, *, room: asyncio.Semaphore) -> None:
        """Bring a request to its end for this run, and count it.

        Args:
            errand: Its demand.
            room: Given back while the request waits for others.
        """
        entry, ours = errand.demand.entry, False
        while not entry.is_final:
            match entry.state:
                case RequestState.FREE:
                    bought = await self._buy(errand, entry.attempt, room=room)
                    if bought is None:
                        return
                    entry, ours = bought
                case RequestState.OPEN:
                    settled = await self._settle_open(errand, entry, ours=ours, room=room)
                    if settled is None:
                        return
                    entry, ours = settled, False
                case RequestState.UNKNOWN:
                    errand.find(entry)
                    self.stats.note(errand.request.request_id, entry.why_untouched)
                    self.stats.count("uncertain", of=errand.request.request_id, reason=entry.why_untouched)
                    return
                case _:
                    errand.find(entry)
                    await self._collect(errand.request, entry.attempt, room=room)
                    return
        errand.find(entry)
        self.stats.count("owned", of=errand.request.request_id)

    def asks_for(self, request: GenerationRequest) -> Asked:
        """What buying a request asks the purse for."""
        spec = request.spec
        kind = kind_of(spec.model, spec.width, spec.height)
        return Asked(kind=kind, images=request.count, listed=self.quote(request))

    def quote(self, request: GenerationRequest) -> int:
        """Credits that a request costs by the price list."""
        return self.collecting.quote(request)

    async def _buy(self, errand: Errand, attempt: int, *, room: asyncio.Semaphore) -> tuple[LedgerEntry, bool] | None:
        """Claim and submit, then see the job to its end.

        Returns:
            The entry to go on from and whether the open intent is ours; None where the request has come to its end.
        """
        request = errand.request
        if not await errand.may_be_claimed(self.ledger):
            self._leave_unbought(request.request_id, BORDERS_MOVED)
            return None
        if attempt and (found := await self._bought_all_the_same(errand, attempt)):
            return found, False
        reference_ids = await self.submits.upload_references(request)
        async with self.places:
            async with self.reservations.first_alone(self.asks_for(request).kind):
                # Nothing is claimed ahead of its turn: what a killed run leaves open may really be on its way.
                turn = await self.submits.take_turn()
                await self.lease.renew_if_lapsed()
                if not await self._may_spend(request):
                    return None
                claim = await self._claim(errand, attempt, turn=turn, reference_ids=reference_ids)
                if isinstance(claim, LedgerEntry):
                    return claim, False
                sent = await self._send(claim)
                if isinstance(sent, LedgerEntry):
                    return sent, sent.state is RequestState.OPEN and sent.attempt == attempt
                if not isinstance(sent, Submitted):
                    self._count_unbought(request, sent)
                    return None
                await self._book(errand, sent)
            purchase = Purchase(
                request=request,
                attempt=attempt,
                submitted=sent,
                buyer=self.submits.buyer_of(request.request_id),
                quoted=self.quote(request),
            )
            generation = await self.polling.wait_for_end(request, sent.generation_id, fresh=True)
        await self._put_away(purchase, generation, room=room)
        return None

    async def _bought_all_the_same(self, errand: Errand, attempt: int) -> LedgerEntry | None:
        """What was denied before and is found in the history now is booked, and not bought again."""
        found = await self.recovery.look_again(errand.request.request_id, attempt)
        if found is not None and found.attempt < attempt:
            for submitted in await self.ledger.read_submitted(errand.request.request_id, found.attempt):
                await self._book(errand, submitted)
        return found

    async def _may_spend(self, request: GenerationRequest) -> bool:
        """True where the run goes on and credits are reserved; else the request is counted as not sent."""
        request_id, asked = request.request_id, self.asks_for(request)
        if not self.stop.buys_no_more and not self.reservations.holds(request_id, asked):
            granted, refused = await self.reservations.reserve({request_id: asked})
            if not granted:
                self.stop.request("over_budget", str(refused))
        if self.stop.buys_no_more or not self.reservations.holds(request_id, asked):
            self._leave_unbought(request_id, self.stop.reason or "stopped")
            return False
        return True

    async def _claim(
        self, errand: Errand, attempt: int, *, turn: float, reference_ids: Mapping[str, str]
    ) -> Claim | LedgerEntry:
        """The intent; or where the request stands, when it is somebody else's.

        From here on the reservation is kept, whatever happens, until it is known whether the request was bought.
        """
        request = errand.request
        self.reservations.keep(request.request_id)
        reserved = self.reservations.reserved_for(request.request_id)
        claim = await self.submits.claim(request, attempt, credits=reserved, turn=turn, reference_ids=reference_ids)
        if claim is None:
            self.reservations.let_go(request.request_id)
            entry = await self.ledger.entry(request.request_id)
            errand.find(entry)
            return entry
        errand.find(request.count)
        return (await self._bought_after_all(claim) if attempt else None) or claim

    async def _bought_after_all(self, claim: Claim) -> LedgerEntry | None:
        """A later attempt stands on the word that the earlier bought nothing: was that word overtaken meanwhile?

        Two runs can look the same intent up; one may still find and adopt what the other has just released.
        """
        request_id = claim.request.request_id
        entry = await self.ledger.entry(request_id)
        if entry.state is RequestState.OPEN and entry.attempt == claim.attempt:
            return None
        await self.submits.release(claim, "an earlier attempt was found to be bought")
        self.reservations.let_go(request_id)
        return await self.ledger.entry(request_id)

    async def _send(self, claim: Claim) -> _Sent | LedgerEntry:
        """The paid step. A standing where the request has to be looked at anew."""
        request_id = claim.request.request_id
        try:
            sent = await self._uncut(self.submits.send(claim))
        except SubmitUncertain as error:
            if isinstance(error, SubmitMisdirected):
                self.stop.request("refused", f"nothing more is bought: {error.message}", nothing_left=True)
            self._stop_if_too_much(self.breaker.failed("uncertain", error.message))
            return LedgerEntry(state=RequestState.OPEN, attempt=claim.attempt)
        except LeaseLapsed:
            self.reservations.let_go(request_id)
            return await self.ledger.entry(request_id)
        if isinstance(sent, Submitted):
            self.breaker.succeeded("accepted")
        else:
            self.reservations.let_go(request_id)
        return sent

    async def _uncut(self, paid: Coroutine[Any, Any, _Sent]) -> _Sent:
        """Run a paid step to its end even if the request around it is cancelled."""
        task = asyncio.create_task(paid)
        self.paid_steps.add(task)
        task.add_done_callback(self._forget_paid_step)
        return await asyncio.shield(task)

    def _forget_paid_step(self, task: asyncio.Task[_Sent]) -> None:
        self.paid_steps.discard(task)
        if not task.cancelled():
            task.exception()  # whoever was cancelled around it does not ask any more

    def _count_unbought(self, request: GenerationRequest, sent: Blocked | Released) -> None:
        if isinstance(sent, Blocked):
            self.stats.count("blocked", of=request.request_id, reason=sent.reason)
            self._stop_if_too_much(self.breaker.failed("blocked", sent.reason))
            return
        refusal = self.submits.account_refusal
        if refusal is not None:
            # No other request would fare better: the balance is a cap like the others, a bad key is an error.
            if isinstance(refusal, BalanceExhausted):
                self.stop.request("over_budget", f"the account's balance is used up: {refusal}", nothing_left=True)
            else:
                self.stop.request("refused", str(refusal), refusal)
        if sent.why == "refused":
            self.stats.note(request.request_id, sent.reason)
            self.stats.count("failed", of=request.request_id, reason=sent.reason)
        else:
            self._leave_unbought(request.request_id, sent.reason)
        if not self.stop.buys_no_more:
            self._stop_if_too_much(self.breaker.failed("refused", _without_request_id(sent.reason)))

    def _leave_unbought(self, request_id: str, reason: str) -> None:
        self.stats.note(request_id, reason)
        self.stats.count("not_sent", of=request_id, reason=None if self.stop.is_requested else reason)

    def _stop_if_too_much(self, reason: str | None) -> None:
        if reason:
            self.stop.request("refused", reason)

    async def _book(self, errand: Errand, submitted: Submitted) -> None:
        request = errand.request
        request_id, asked = request.request_id, self.asks_for(request)
        self.stats.credits_to_buy -= errand.take_credits()
        booked = await self.reservations.settle_bought(
            request_id, asked, cost=cost_of(submitted), is_answer=not submitted.adopted
        )
        self.stats.book(request_id, booked, quoted=asked.listed)

    async def _settle_open(
        self, errand: Errand, entry: LedgerEntry, *, ours: bool, room: asyncio.Semaphore
    ) -> LedgerEntry | None:
        """Wait for whoever has the request, or look it up. None where it stays uncertain."""
        request_id = errand.request.request_id
        errand.find(entry)  # whoever comes after must not wait for what we wait for
        settled = await self._aside(self.recovery.settle(request_id, entry.attempt, ours=ours), room=room)
        if isinstance(settled, str):
            self.stats.note(request_id, settled)
            self.stats.count("uncertain", of=request_id, reason=settled)
            return None
        if ours and settled.state is RequestState.FREE:
            self.reservations.let_go(request_id)
        if ours and settled.attempt == entry.attempt:
            # The first is the rule; a second one was charged all the same.
            for submitted in await self.ledger.read_submitted(request_id, entry.attempt):
                await self._book(errand, submitted)
        return settled

    async def _aside(self, waiting: Coroutine[Any, Any, Found], *, room: asyncio.Semaphore) -> Found:
        """Wait for something that needs neither a slot nor room in the run."""
        gave_room = False
        try:
            # The room is given back only by those who have a place aside: the others hold up admission.
            async with self.parked:
                room.release()
                gave_room = True
                return await waiting
        finally:
            waiting.close()  # where the place aside never came
            if gave_room:
                await room.acquire()

    async def _put_away(self, purchase: Purchase, generation: Generation | str, *, room: asyncio.Semaphore) -> None:
        """Store what a job delivered that has ended, once that is the last word."""
        request = purchase.request
        if not isinstance(generation, str) and generation.may_still_bring(request.count):
            generation = await self._aside(self.polling.wait_for_images(request, generation), room=room)
        await self.collecting.put_away(purchase, generation)

    async def _collect(self, request: GenerationRequest, attempt: int, *, room: asyncio.Semaphore) -> None:
        """Poll and store a request that is paid for already, by this run or another."""
        purchase = await self.collecting.look_up(request, attempt)
        if purchase is None:
            self.collecting.leave(request.request_id, "its adoption was taken back meanwhile; the next run goes on")
            return
        if purchase.account not in (None, self.recovery.account_id):
            self.collecting.leave(
                request.request_id, f"bought with account {purchase.account}; run once with a key of that account"
            )
            return
        async with self.places:
            generation = await self.polling.wait_for_end(
                purchase.request, purchase.submitted.generation_id, fresh=False
            )
        await self._put_away(purchase, generation, room=room)


def _without_request_id(reason: str) -> str:
    """The reason without the part that is new in every answer."""
    return reason.split(", request id ", 1)[0].split("(request id ", 1)[0]
