"""The paid step: intent, then one POST, then `submitted` before anything else is done with the id.

This is the only place that spends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

from seedream_assets.config.models import ModelCatalog, credits_for
from seedream_assets.config.retry import BUSY_SUBMITS, SUBMITS, Clock, format_seconds
from seedream_assets.errors import (
    Interrupted,
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
from seedream_assets.purchase.reference_uploads import ReferenceUploads
from seedream_assets.purchase.shutdown import StopRun
from seedream_assets.purchase.task import Observer, RequestTask

Kind = tuple[int | None, str | None]
# A generation that was accepted takes a moment to show in the history.
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


@dataclass(slots=True, kw_only=True)
class Submits:
    """Claims requests and sends them, each once.

    Attributes:
        dataset, run_id, dagster_run_id, account_id: Stand in every intent.
        partition_of: For which partition a request is bought.
        pause: A wait between two tries, which ends early when the run does.
        refusals: Asked before anything rests on a refusal.
        account_refusal: A refusal that concerns the account and not the request (key, balance): every other request
            would fare the same.
    """

    ledger: Ledger
    client: LeonardoClient
    lease: Lease
    references: ReferenceUploads
    models: ModelCatalog
    dataset: str
    run_id: str
    dagster_run_id: str | None
    account_id: str
    partition_of: Callable[[str], str]
    stop: StopRun
    pause: Callable[[float], Awaitable[None]]
    refusals: Refusals
    on: Observer
    account_refusal: LeonardoRefused | None = None

    async def upload_references(self, request: GenerationRequest) -> Mapping[str, str]:
        """Leonardo's ids of the request's reference images, uploaded where they have to be. Before anything is claimed.

        Raises:
            LeonardoError: An upload failed; nothing was bought.
            StoreError: The bytes are not in the store.
        """
        return await self.references.ids_for(request.spec)

    @property
    def waiting(self) -> str | None:
        """What is waited for before a refusal is believed; None where nothing is."""
        return self.refusals.waiting

    async def take_turn(self) -> float:
        """Wait until the account's rate allows one more create, or the run ends. Nothing is claimed ahead of it."""
        return await self.client.take_turn(unless=self.stop.interruption)

    async def claim(self, task: RequestTask, *, credits: int) -> bool:
        """Write the intent of the attempt that the task's entry names: the last thing before the request is sent.

        Returns:
            False where another writer's intent is there; what becomes of that one is for its writer to say.
        """
        self.on("before_intent", task.request_id)
        intent = self._intent(task, credits=credits)
        if not await self.ledger.write(intent):
            return False
        self.on("after_intent", task.request_id)
        written_at = await self.ledger.intent_written_at(task.request_id, intent.attempt)
        task.intent, task.intent_written_at = intent, written_at or intent.at
        return True

    async def send(self, task: RequestTask) -> Submitted | Blocked | Released:
        """Send a claimed request, once, and write down what became of it.

        A refusal that may pass (429) and a connection that was never made are tried again as often as the policies
        allow: each time with a turn of its own, and a look at the lease by the store's clock. Every other answer is
        written down, and is final for this attempt.

        Raises:
            SubmitUncertain: Sent, and not known whether it was accepted. The intent stays open.
            LeaseLapsed: Others may have taken over; not sent, and released.
        """
        for tries in count(1):
            try:
                return await self._send_once(task)
            except (RateLimited, LeonardoUnavailable) as error:
                policy = SUBMITS
                if isinstance(error, RateLimited):
                    policy = BUSY_SUBMITS
                    # Before it is sent again: was it accepted all the same?
                    if not await self.refusals.still_stands(error, task.claimed):
                        raise _uncertain(error) from error
                wait = policy.wait_after(tries, error)
                if wait is None:
                    return await self.release(task, f"gave up after {tries} tries: {error}")
                await self.pause(wait)
            except Interrupted as error:
                return await self.release(task, str(error))
            except LeaseLapsed as error:
                await self.release(task, str(error))
                raise
            try:
                task.turn = await self.take_turn()
                await self.lease.refuse_if_lapsed_by_store(task.claimed.writer.engine_id)
            except LeaseLapsed as error:
                await self.release(task, str(error))
                raise
        raise AssertionError("the loop returns or raises")

    async def release(
        self, task: RequestTask, reason: str, *, why: Literal["refused", "never_sent"] = "never_sent"
    ) -> Released:
        """Write down that a claimed request was certainly not accepted."""
        self.on("before_release", task.request_id)
        released = Released(**self._signed(task), why=why, reason=reason)
        await self.ledger.write(released)
        self.on("after_release", task.request_id)
        return released

    async def _send_once(self, task: RequestTask) -> Submitted | Blocked | Released:
        try:
            submission = await self.client.create(
                task.request,
                model=self.models.find(task.request.spec.model),
                reference_ids=task.reference_ids,
                turn=task.turn,
                may_send=lambda: self._refuse_to_send_now(task),
            )
        except RateLimited:
            raise
        except LeonardoRefused as error:
            return await self._refused(task, error)
        self.on("after_post", task.request_id)
        submitted = Submitted(
            **self._signed(task),
            generation_id=submission.generation_id,
            cost_amount=submission.cost.amount if submission.cost else None,
            cost_unit=submission.cost.unit if submission.cost else None,
        )
        await self.ledger.write(submitted)
        self.on("after_submitted", task.request_id)
        return submitted

    async def _refused(self, task: RequestTask, error: LeonardoRefused) -> Blocked | Released:
        """Write down a refusal, once it is believed.

        Raises:
            SubmitUncertain: It may have been accepted all the same.
        """
        if not await self.refusals.stands(error, task.claimed):
            raise _uncertain(error) from error
        if isinstance(error, PromptBlocked):
            return await self._blocked(task, error)
        if type(error) is LeonardoRefused:
            return await self.release(task, f"refused by Leonardo: {error}", why="refused")
        # It is about the account (balance, key) and not about the request: a later run may buy it as it is.
        self.account_refusal = error
        return await self.release(task, f"refused for the account: {error}")

    def _refuse_to_send_now(self, task: RequestTask) -> None:
        """The last look before a paid request leaves this machine."""
        self.on("before_post", task.request_id)
        if self.stop.buys_no_more or self.account_refusal is not None:
            raise Interrupted("the run was stopped before this request was sent")
        self.lease.refuse_if_lapsed(task.claimed.writer.engine_id, store_time=task.intent_written_at)

    async def _blocked(self, task: RequestTask, error: PromptBlocked) -> Blocked:
        intent = task.claimed
        blocked = Blocked(
            **self._signed(task),
            generation_id=None,
            count=intent.count,
            credits_quoted=credits_for(self.models.find(intent.model), intent.count),
            dataset=intent.dataset,
            run_id=intent.run_id,
            dagster_run_id=intent.dagster_run_id,
            reason=str(error),
        )
        await self.ledger.write(blocked)
        return blocked

    def _intent(self, task: RequestTask, *, credits: int) -> Intent:
        return Intent.of_request(
            task.request,
            attempt=task.entry.attempt,
            writer=self.lease.writer(),
            credits_reserved=credits,
            dataset=self.dataset,
            partition=self.partition_of(task.request_id),
            run_id=self.run_id,
            dagster_run_id=self.dagster_run_id,
            account=self.account_id,
        )

    def _signed(self, task: RequestTask) -> dict[str, Any]:
        return signed(task.request_id, task.claimed.attempt, self.lease.writer())


def _uncertain(error: LeonardoRefused) -> SubmitUncertain:
    message = f"refused, and the account's history shows that such a refusal need not be true: {error.message}"
    return SubmitUncertain(message, status=error.status, code=error.code)
