"""One request from where it stands to its end: claim → submit → poll → deliver, with every end counted.

The ledger decides where a request stands; this follows it. Each step is somebody else's: `submitting` spends,
`recovery` settles what is open, `delivery` stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from seedream_assets.core.errors import (
    BalanceExhausted,
    LeonardoRefused,
    LeonardoUnavailable,
    RateLimited,
    SubmitUncertain,
)
from seedream_assets.core.generation_requests import GenerationRequest
from seedream_assets.core.generations import Cost, Generation, GenerationStatus
from seedream_assets.core.ledger import RequestState, Standing
from seedream_assets.core.ledger_events import Blocked, Completed, Failed, Released, Submitted
from seedream_assets.core.models import ModelCatalog, credits_for
from seedream_assets.core.run_report import Tally
from seedream_assets.generation.delivery import Delivery
from seedream_assets.generation.ledger_store import Ledger
from seedream_assets.generation.lease import Lease
from seedream_assets.generation.patience import Patience
from seedream_assets.generation.recovery import Recovery
from seedream_assets.generation.spending import Purse
from seedream_assets.generation.stop import StopRun
from seedream_assets.generation.submitting import AtStep, Buyer, Submits, signed
from seedream_assets.generation.waiting import Clock, Sleep
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.retries import RetryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPath:
    """Sees requests through.

    Attributes:
        places: Room at Leonardo: slots, and a few that wait there.
        parked: Room to wait for other runs and for the history, without holding a place.
        paid_steps: Submits under way; they are never cut off.
    """

    client: LeonardoClient
    ledger: Ledger
    lease: Lease
    submits: Submits
    recovery: Recovery
    delivery: Delivery
    purse: Purse
    models: ModelCatalog
    tally: Tally
    stop: StopRun
    policy: RetryPolicy
    give_up_after_seconds: float
    places: asyncio.Semaphore
    parked: asyncio.Semaphore
    at_step: AtStep
    sleep: Sleep
    clock: Clock
    patience: Patience = field(default_factory=Patience)
    paid_steps: set[asyncio.Task[Any]] = field(default_factory=set)

    async def follow(self, request: GenerationRequest, standing: Standing, *, room: asyncio.Semaphore) -> None:
        """Bring a request to its end for this run, and count it.

        Args:
            request: As planned.
            standing: As last seen.
            room: Given back while the request waits for others.
        """
        ours = False
        while not standing.is_final:
            match standing.state:
                case RequestState.FREE:
                    bought = await self._buy(request, standing.attempt)
                    if bought is None:
                        return
                    standing, ours = bought
                case RequestState.OPEN:
                    settled = await self._settle_open(request, standing, ours=ours, room=room)
                    if settled is None:
                        return
                    standing, ours = settled, False
                case _:
                    await self._collect(request, standing)
                    return
        self.tally.count("owned")

    def price(self, request: GenerationRequest) -> int:
        """Credits to reserve for a request."""
        return self.purse.price(images=request.count, quoted=self._quote(request))

    def _quote(self, request: GenerationRequest) -> int:
        return credits_for(self.models.find(request.spec.model), request.count)

    async def _buy(self, request: GenerationRequest, attempt: int) -> tuple[Standing, bool] | None:
        """Claim and submit, then see the job to its end.

        Returns:
            The standing to go on from and whether the open intent is ours; None where the request has come to its end.
        """
        if not self.purse.holds(request.request_id):
            granted, refused = await self.purse.reserve({request.request_id: self.price(request)})
            if not granted:
                self.stop.request("over_budget", str(refused))
                self.tally.count("not_sent")
                return None
        async with self.places:
            if self.stop.buys_no_more:
                self.tally.count("not_sent")
                return None
            if not await self.submits.claim(request, attempt, credits=self.price(request)):
                return await self.ledger.standing(request.request_id), False
            try:
                result = await self._uncut(self.submits.send(request, attempt))
            except SubmitUncertain:
                return Standing(state=RequestState.OPEN, attempt=attempt), True
            except LeonardoRefused as error:
                self._stop_for(error)
                self.tally.count("not_sent")
                return None
            if isinstance(result, Submitted):
                self._book(request, result)
                generation = await self._wait_for_end(request, result.generation_id)
            else:
                self._count_unbought(request, result)
                return None
        await self._put_away(request, attempt, result, generation, self.submits.buyer)
        return None

    def _stop_for(self, error: LeonardoRefused) -> None:
        """No other request would fare better: the balance is a cap like the others, a bad key is an error."""
        if isinstance(error, BalanceExhausted):
            self.stop.request("over_budget", f"the account's balance is used up: {error}")
        else:
            self.stop.request("refused", str(error), error)

    def _count_unbought(self, request: GenerationRequest, result: Blocked | Released) -> None:
        if isinstance(result, Blocked):
            self.tally.count("blocked", reason=result.reason)
            return
        outcome = "failed" if result.why == "refused" else "not_sent"
        self.tally.count(outcome, reason=result.reason)
        self.tally.note(request.request_id, result.reason)

    def _book(self, request: GenerationRequest, submitted: Submitted) -> None:
        cost = cost_of(submitted)
        self.purse.settle_bought(request.request_id, cost=cost, images=request.count, quoted=self._quote(request))

    async def _uncut(self, paid: Coroutine[Any, Any, Submitted | Blocked | Released]) -> Submitted | Blocked | Released:
        """Run a paid step to its end even if the request around it is cancelled."""
        task = asyncio.create_task(paid)
        self.paid_steps.add(task)
        task.add_done_callback(self.paid_steps.discard)
        return await asyncio.shield(task)

    async def _settle_open(
        self, request: GenerationRequest, standing: Standing, *, ours: bool, room: asyncio.Semaphore
    ) -> Standing | None:
        """Wait for whoever has the request, or look it up. None where it stays uncertain."""
        room.release()
        try:
            async with self.parked:
                settled = await self.recovery.settle(request.request_id, standing.attempt, ours=ours)
        finally:
            await room.acquire()
        if isinstance(settled, str) or settled.state is RequestState.OPEN:
            reason = settled if isinstance(settled, str) else "in another run's hands"
            self.tally.count("uncertain", reason=reason)
            self.tally.note(request.request_id, reason)
            self.purse.keep(request.request_id)
            return None
        if settled.state is RequestState.SUBMITTED:
            for submitted in await self.ledger.read_submitted(request.request_id, settled.attempt):
                if submitted.adopted and submitted.writer.engine_id == self.lease.engine_id:
                    self._book(request, submitted)
        return settled

    async def _collect(self, request: GenerationRequest, standing: Standing) -> None:
        """Poll and store a request that is paid for already, by this run or another."""
        submitted = (await self.ledger.read_submitted(request.request_id, standing.attempt))[0]
        intent = await self.ledger.read_intent(request.request_id, standing.attempt)
        bought = replace(request, count=intent.count)
        async with self.places:
            generation = await self._wait_for_end(bought, submitted.generation_id)
        await self._put_away(bought, standing.attempt, submitted, generation, Buyer.of(intent))

    async def _wait_for_end(self, request: GenerationRequest, generation_id: str) -> Generation | None:
        """Poll until the job has ended; None where patience ran out. Polls that fail are only polls."""
        began, pending_until, failures = self.clock(), 0.0, 0
        while True:
            elapsed = self.clock() - began
            left = self.give_up_after_seconds - elapsed
            if left <= 0:
                return None
            await self.sleep(min(self.patience.wait_seconds(request, elapsed), left))
            try:
                generation = await self.client.read_generation(generation_id)
            except (LeonardoUnavailable, RateLimited) as error:
                failures += 1
                await self.sleep(self.policy.wait_seconds(failures, error, 0.5))
                continue
            failures, asked_at = 0, self.clock() - began
            if generation is not None and generation.status is not GenerationStatus.PENDING:
                self.patience.learn(request, after=pending_until, until=asked_at)
                return generation
            pending_until = asked_at

    async def _put_away(
        self,
        request: GenerationRequest,
        attempt: int,
        submitted: Submitted,
        generation: Generation | None,
        buyer: Buyer,
    ) -> None:
        """Store what a finished job delivered and put down how it ended."""
        if generation is None:
            reason = f"not finished after {self.give_up_after_seconds:g} s; the next run goes on polling"
            self.tally.count("pending", reason=reason)
            self.tally.note(request.request_id, reason)
            return
        header = signed(request.request_id, attempt, self.lease.writer()) | {
            "generation_id": submitted.generation_id,
            "count": request.count,
            "credits_quoted": self._quote(request),
            "dataset": buyer.dataset,
            "run_id": buyer.run_id,
            "dagster_run_id": buyer.dagster_run_id,
            "cost_amount": submitted.cost_amount,
            "cost_unit": submitted.cost_unit,
            "submitted_at": submitted.at,
        }
        if generation.status is GenerationStatus.FAILED:
            words = ", ".join(generation.moderation)
            ended: Blocked | Failed
            if words:
                ended = Blocked(**header, reason=f"refused by moderation: {words}")
            else:
                ended = Failed(**header, reason="Leonardo's job FAILED; the API gives no reason")
            await self.ledger.write(ended)
            self.tally.count(ended.event, reason=ended.reason)
            return
        images = await self.delivery.deliver(request, generation)
        await self.ledger.write(Completed(**header, images=images))
        self.at_step("after_completed", request.request_id)
        self.tally.count("completed", images=sum(image.object_key is not None for image in images))


def cost_of(event: Submitted | Completed | Failed | Blocked) -> Cost | None:
    """The cost that an event tells; None where the API told none."""
    if event.cost_amount is None or event.cost_unit is None:
        return None
    return Cost(amount=event.cost_amount, unit=event.cost_unit)
