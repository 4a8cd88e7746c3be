"""What is paid for already: have an ended job's images stored, and put down how it ended.

Whoever comes may do this, for its own requests and for those of others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from seedream_assets.errors import DownloadError
from seedream_assets.ledger.events import Blocked, Completed, Failed, Submitted
from seedream_assets.ledger.lease import Lease, signed
from seedream_assets.ledger.store import Ledger
from seedream_assets.leonardo.generations import Generation, GenerationStatus
from seedream_assets.leonardo.requests import GenerationRequest
from seedream_assets.purchase.delivery import Delivery
from seedream_assets.purchase.report import RunStats
from seedream_assets.purchase.shutdown import Breaker, StopRun
from seedream_assets.purchase.submit import AtStep, Buyer


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """A request that is paid for.

    Attributes:
        request: As it was bought, which may be larger or smaller than planned.
        quoted: Its price by the price list, in credits.
        account: Whose it is; None in a ledger of an earlier version.
    """

    request: GenerationRequest
    attempt: int
    submitted: Submitted
    buyer: Buyer
    quoted: int
    account: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collecting:
    """Sees paid requests to their end, and counts them."""

    ledger: Ledger
    lease: Lease
    delivery: Delivery
    stats: RunStats
    stop: StopRun
    breaker: Breaker
    quote: Callable[[GenerationRequest], int]
    at_step: AtStep

    async def look_up(self, request: GenerationRequest, attempt: int) -> Purchase | None:
        """What the ledger says of a request that somebody has bought; None where it has been taken back since."""
        submits = await self.ledger.read_submitted(request.request_id, attempt)
        if not submits:
            return None
        intent = await self.ledger.read_intent(request.request_id, attempt)
        bought = replace(request, count=intent.count)
        return Purchase(
            request=bought,
            attempt=attempt,
            submitted=submits[0],
            buyer=Buyer.of(intent),
            quoted=self.quote(bought),
            account=intent.account,
        )

    async def put_away(self, purchase: Purchase, generation: Generation | str) -> None:
        """Store what a finished job delivered and put down how it ended; a job that is left for later is counted so."""
        request_id = purchase.request.request_id
        if isinstance(generation, str):
            self.leave(request_id, generation)
            return
        if generation.status is GenerationStatus.FAILED:
            ended = self._unsuccessful(purchase, generation)
            await self._end(ended, images=0, reason=ended.reason)
            self._note_fruitless(ended.reason)
            return
        try:
            images = await self.delivery.deliver(purchase.request, generation)
        except DownloadError as error:
            self.leave(request_id, str(error))
            if too_much := self.breaker.failed("undelivered", str(error)):
                self.stop.request("refused", too_much)
            return
        if any(image.object_key is not None for image in images):
            self.breaker.succeeded("delivered")
        else:
            self._note_fruitless("every image was withheld")
        asked, delivered = purchase.request.count, len(generation.images)
        if delivered > asked:
            self.stats.note(
                request_id, f"Leonardo delivered {delivered} images where {asked} were asked for; {asked} are kept"
            )
        self.at_step("before_completed", request_id)
        completed = Completed(**self._header(purchase), images=images)
        await self._end(completed, images=sum(image.object_key is not None for image in images))
        self.at_step("after_completed", request_id)

    def _note_fruitless(self, reason: str) -> None:
        if too_much := self.breaker.failed("fruitless", reason):
            self.stop.request("refused", too_much)

    def leave(self, request_id: str, reason: str) -> None:
        """Count a paid request that the next run has to go on with."""
        self.stats.note(request_id, reason)
        self.stats.count("pending", of=request_id, reason=reason)

    async def _end(self, ended: Completed | Failed | Blocked, *, images: int, reason: str | None = None) -> None:
        if await self.ledger.write(ended):
            self.stats.count(ended.event, of=ended.request_id, images=images, reason=reason)
        else:
            self.stats.count("owned", of=ended.request_id)  # another run was faster

    def _unsuccessful(self, purchase: Purchase, generation: Generation) -> Blocked | Failed:
        words = ", ".join(generation.moderation)
        if words:
            return Blocked(**self._header(purchase), reason=f"refused by moderation: {words}")
        return Failed(**self._header(purchase), reason="Leonardo's job FAILED; the API gives no reason")

    def _header(self, purchase: Purchase) -> dict[str, Any]:
        submitted, buyer = purchase.submitted, purchase.buyer
        return signed(purchase.request.request_id, purchase.attempt, self.lease.writer()) | {
            "generation_id": submitted.generation_id,
            "count": purchase.request.count,
            "credits_quoted": purchase.quoted,
            "dataset": buyer.dataset,
            "run_id": buyer.run_id,
            "dagster_run_id": buyer.dagster_run_id,
            "cost_amount": submitted.cost_amount,
            "cost_unit": submitted.cost_unit,
            "submitted_at": submitted.at,
        }
