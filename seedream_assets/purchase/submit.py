"""The paid step: intent, then one POST, then `submitted` before anything else is done with the id.

This is the only place that spends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import Any, Literal

from seedream_assets.config.models import ModelCatalog, credits_for
from seedream_assets.config.retry import BUSY_SUBMITS, SUBMITS
from seedream_assets.config.waiting import Clock, format_seconds
from seedream_assets.errors import (
    Interrupted,
    LeonardoError,
    LeonardoRefused,
    LeonardoUnavailable,
    PromptBlocked,
    RateLimited,
    SubmitUncertain,
)
from seedream_assets.ledger.events import Blocked, Intent, Released, Submitted
from seedream_assets.ledger.lease import Lease, LeaseLapsed, signed
from seedream_assets.ledger.recovery import Recovery
from seedream_assets.ledger.store import Ledger
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.requests import GenerationRequest
from seedream_assets.prompts.reference_images import ReferenceUploads

Kind = tuple[int | None, str | None]
# What was accepted takes a moment to show.
SHORTEST_WAIT_SECONDS = 10.0


class Refusals:
    """Whether a refusal is true: the first of each kind is checked against the account's history.

    A server can accept a request and answer that it did not. So the first refusal of a kind (status and code) in a run
    holds up all of that kind until the history has been read once. Where the history shows that the request was bought
    after all, that kind proves nothing any more in this run. Where it shows nothing, or cannot be read, a refusal in one
    of the API's documented forms stands.

    Args:
        recovery: Looks at the history.
        settle_seconds: How long the history may take to show a generation; a twelfth of it is waited for, and no more
            than `SHORTEST_WAIT_SECONDS` unless the history was seen to be slower.
        pause: A wait that ends early when the run does.
    """

    def __init__(
        self, *, recovery: Recovery, settle_seconds: float, pause: Callable[[float], Awaitable[None]], clock: Clock
    ) -> None:
        self._recovery = recovery
        self._first_wait_seconds = min(SHORTEST_WAIT_SECONDS, settle_seconds / 12)
        self._pause = pause
        self._clock = clock
        # Whether each kind is believed; until that is known, what is held up waits for it.
        self._kinds: dict[Kind, asyncio.Future[bool]] = {}
        self._looks = 0

    @property
    def waiting(self) -> str | None:
        """What is waited for before a refusal is believed; None where nothing is."""
        if not self._looks:
            return None
        wait = format_seconds(self._wait_seconds)
        requests = "a refused request is" if self._looks == 1 else f"{self._looks} refused requests are"
        return f"{requests} looked up in the account's history, {wait} after the refusal, before it is believed"

    async def stands(self, error: LeonardoRefused, intent: Intent) -> bool:
        """Whether a refusal proves that the request was not accepted.

        Args:
            error: The refusal.
            intent: Of the request that was refused.
        """
        stands, _ = await self._judge(error, intent)
        return stands

    async def still_stands(self, error: LeonardoRefused, intent: Intent) -> bool:
        """The same, for a request that is to be sent again: a look comes before each sending, shared by all that wait."""
        stands, has_looked = await self._judge(error, intent)
        return stands and (has_looked or not await self._shows(intent))

    async def _judge(self, error: LeonardoRefused, intent: Intent) -> tuple[bool, bool]:
        """Whether the refusal stands, and whether a look has been taken for this very request."""
        kind = error.status, error.code
        verdict = self._kinds.get(kind)
        if verdict is None:
            verdict = self._kinds[kind] = asyncio.get_running_loop().create_future()
            await self._find_out(intent, verdict)
            return verdict.result(), True
        if verdict.done():
            return verdict.result(), False
        # Refused while the look was under way or waited for: that look may have come too early for this one.
        return await asyncio.shield(verdict) and not await self._shows(intent), True

    async def _find_out(self, intent: Intent, verdict: asyncio.Future[bool]) -> None:
        try:
            verdict.set_result(not await self._shows(intent))
        except BaseException:
            # The run ends, or the store is away: nothing was found out, and nothing may be believed.
            verdict.set_result(False)
            raise

    async def _shows(self, intent: Intent) -> bool:
        """Whether the history shows that the request was bought, once it has had time to show it."""
        self._looks += 1
        try:
            await self._pause(self._wait_seconds)
            return await self._recovery.shows(intent, after=self._clock())
        finally:
            self._looks -= 1

    @property
    def _wait_seconds(self) -> float:
        return max(self._first_wait_seconds, self._recovery.longest_lag_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Buyer:
    """For whom a run buys; stands in every intent."""

    dataset: str
    partition: str
    run_id: str
    dagster_run_id: str | None = None

    @classmethod
    def of(cls, intent: Intent) -> Buyer:
        """Who wrote an intent."""
        return cls(
            dataset=intent.dataset,
            partition=intent.partition,
            run_id=intent.run_id,
            dagster_run_id=intent.dagster_run_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An intent of this process that stands in the ledger.

    Attributes:
        engine_id: The lease that it was claimed under; sent under no other.
        written_at: When the store took the intent, by its own clock: no other clock may say that the lease still holds.
        turn: The account's rate had its turn for it at this moment.
        reference_ids: Leonardo's ids of the spec's uploaded reference images, by content hash.
    """

    request: GenerationRequest
    attempt: int
    engine_id: str
    intent: Intent
    written_at: datetime
    turn: float
    reference_ids: Mapping[str, str]


# Named points of a run, for tests that stop or kill a process there.
Step = Literal[
    "after_reserve",
    "before_intent",
    "after_intent",
    "before_post",
    "after_post",
    "after_submitted",
    "after_image",
    "before_completed",
    "after_completed",
    "after_adoption",
    "before_release",
    "after_release",
]
AtStep = Callable[[Step, str], None]


class Submits:
    """Claims requests and sends them, each once.

    Args:
        buyer_of: For whom a request is bought.
        interruption: Ends when the run is asked to end.
        stopping: True once nothing more may be bought.
        pause: A wait between two tries.
        doubt: Asked before anything rests on a refusal.
        account_id: Stands in every intent.

    Attributes:
        account_refusal: A refusal that concerns the account, not the request (key, balance); every other request
            would fare the same.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        client: LeonardoClient,
        lease: Lease,
        references: ReferenceUploads,
        models: ModelCatalog,
        buyer_of: Callable[[str], Buyer],
        interruption: Callable[[], Awaitable[None]],
        pause: Callable[[float], Awaitable[None]],
        stopping: Callable[[], bool],
        doubt: Refusals,
        account_id: str,
        at_step: AtStep,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._lease = lease
        self._doubt = doubt
        self._account_id = account_id
        self._references = references
        self._models = models
        self.buyer_of = buyer_of
        self._interruption = interruption
        self._pause = pause
        self._stopping = stopping
        self._at_step = at_step
        self.account_refusal: LeonardoRefused | None = None

    async def upload_references(self, request: GenerationRequest) -> Mapping[str, str]:
        """Leonardo's ids of the request's reference images, uploaded where they have to be. Before anything is claimed.

        Raises:
            LeonardoError: An upload failed; nothing was bought.
            StoreError: The bytes are not in the store.
        """
        return await self._references.ids_for(request.spec)

    @property
    def waiting(self) -> str | None:
        """What is waited for before a refusal is believed; None where nothing is."""
        return self._doubt.waiting

    async def take_turn(self) -> float:
        """Wait until the account's rate allows one more create, or the run ends. Nothing is claimed ahead of it."""
        return await self._client.take_turn(unless=self._interruption)

    async def claim(
        self, request: GenerationRequest, attempt: int, *, credits: int, turn: float, reference_ids: Mapping[str, str]
    ) -> Claim | None:
        """Put down the intent, as the last thing before it is sent.

        Returns:
            None: another writer's stands there, and what becomes of it is theirs to say.
        """
        self._at_step("before_intent", request.request_id)
        intent = self._intent(request, attempt, credits=credits)
        if not await self._ledger.write(intent):
            return None
        self._at_step("after_intent", request.request_id)
        return Claim(
            request=request,
            attempt=attempt,
            engine_id=intent.writer.engine_id,
            intent=intent,
            written_at=await self._ledger.intent_written_at(request.request_id, attempt) or intent.at,
            turn=turn,
            reference_ids=reference_ids,
        )

    async def send(self, claim: Claim) -> Submitted | Blocked | Released:
        """Send a claimed request, once, and put down what became of it.

        A refusal that may pass (429) and a connection that was never made are tried again, as long as the pause
        between allows: each time with a turn of its own, and a look at the lease by the store's clock. Everything else is
        put down and final for this attempt.

        Raises:
            SubmitUncertain: Sent, and not known. The intent stays open.
            LeaseLapsed: Others may have taken over; not sent, and released.
        """
        for tries in count(1):
            try:
                return await self._send_once(claim)
            except (RateLimited, LeonardoUnavailable) as error:
                policy = SUBMITS
                if isinstance(error, RateLimited):
                    policy = BUSY_SUBMITS
                    await self._doubt_refusal_for_now(claim, error)
                wait = policy.wait_after(tries, error)
                if wait is None:
                    return await self.release(claim, f"gave up after {tries} tries: {error}")
                await self._pause(wait)
            except Interrupted as error:
                return await self.release(claim, str(error))
            except LeaseLapsed as error:
                await self.release(claim, str(error))
                raise
            try:
                claim = replace(claim, turn=await self.take_turn())
                await self._lease.refuse_if_lapsed_by_store(claim.engine_id)
            except LeaseLapsed as error:
                await self.release(claim, str(error))
                raise
        raise AssertionError("the loop returns or raises")

    async def _doubt_refusal_for_now(self, claim: Claim, error: RateLimited) -> None:
        """Before a request that was refused with a 429 is sent again: was it accepted all the same?

        Raises:
            SubmitUncertain: It may have been.
        """
        if not await self._doubt.still_stands(error, claim.intent):
            raise SubmitUncertain(_may_be_untrue(error), status=error.status, code=error.code) from error

    async def release(
        self, claim: Claim, reason: str, *, why: Literal["refused", "never_sent"] = "never_sent"
    ) -> Released:
        """Give a claim back that was certainly not accepted."""
        self._at_step("before_release", claim.request.request_id)
        released = Released(**self._signed(claim), why=why, reason=reason)
        await self._ledger.write(released)
        self._at_step("after_release", claim.request.request_id)
        return released

    async def _send_once(self, claim: Claim) -> Submitted | Blocked | Released:
        request = claim.request
        try:
            submission = await self._client.create(
                request,
                model=self._models.find(request.spec.model),
                reference_ids=claim.reference_ids,
                turn=claim.turn,
                may_send=lambda: self._refuse_to_send_now(claim),
            )
        except RateLimited:
            raise
        except LeonardoRefused as error:
            if not await self._doubt.stands(error, claim.intent):
                raise SubmitUncertain(_may_be_untrue(error), status=error.status, code=error.code) from error
            if isinstance(error, PromptBlocked):
                return await self._put_down_blocked(claim, error)
            if type(error) is LeonardoRefused:
                return await self.release(claim, f"refused by Leonardo: {error}", why="refused")
            # The account's fault (balance, key) and not the request's: a later run may buy it as it is.
            self.account_refusal = error
            return await self.release(claim, f"refused for the account: {error}")
        self._at_step("after_post", request.request_id)
        submitted = Submitted(
            **self._signed(claim),
            generation_id=submission.generation_id,
            cost_amount=submission.cost.amount if submission.cost else None,
            cost_unit=submission.cost.unit if submission.cost else None,
        )
        await self._ledger.write(submitted)
        self._at_step("after_submitted", request.request_id)
        return submitted

    def _refuse_to_send_now(self, claim: Claim) -> None:
        """The last look before a paid request leaves this machine."""
        self._at_step("before_post", claim.request.request_id)
        if self._stopping() or self.account_refusal is not None:
            raise Interrupted("the run was stopped before this request was sent")
        self._lease.refuse_if_lapsed(claim.engine_id, store_time=claim.written_at)

    async def _put_down_blocked(self, claim: Claim, error: PromptBlocked) -> Blocked:
        request, buyer = claim.request, self.buyer_of(claim.request.request_id)
        blocked = Blocked(
            **self._signed(claim),
            generation_id=None,
            count=request.count,
            credits_quoted=credits_for(self._models.find(request.spec.model), request.count),
            dataset=buyer.dataset,
            run_id=buyer.run_id,
            dagster_run_id=buyer.dagster_run_id,
            reason=str(error),
        )
        await self._ledger.write(blocked)
        return blocked

    def _intent(self, request: GenerationRequest, attempt: int, *, credits: int) -> Intent:
        buyer = self.buyer_of(request.request_id)
        return Intent.of_request(
            request,
            attempt=attempt,
            writer=self._lease.writer(),
            credits_reserved=credits,
            dataset=buyer.dataset,
            partition=buyer.partition,
            run_id=buyer.run_id,
            dagster_run_id=buyer.dagster_run_id,
            account=self._account_id,
        )

    def _signed(self, claim: Claim) -> dict[str, Any]:
        return signed(claim.request.request_id, claim.attempt, self._lease.writer())


def _may_be_untrue(error: LeonardoError) -> str:
    return f"refused, and the account's history shows that such a refusal need not be true: {error.message}"
