"""The paid step: intent, then one POST, then `submitted` before anything else is done with the id.

This is the only place that spends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from seedream_assets.core.errors import (
    LeonardoRefused,
    LeonardoUnavailable,
    PromptBlocked,
    RateLimited,
)
from seedream_assets.core.generation_requests import GenerationRequest
from seedream_assets.core.ledger_events import Blocked, Intent, Released, Submitted, Writer
from seedream_assets.core.models import ModelCatalog, credits_for
from seedream_assets.generation.ledger_store import Ledger
from seedream_assets.generation.lease import Lease, LeaseLapsed
from seedream_assets.generation.references import ReferenceUploads
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.retries import RetryPolicy


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


# Named points of a run, for tests that stop or kill a process there.
Step = Literal["before_intent", "after_intent", "after_post", "after_submitted", "after_image", "after_completed"]
AtStep = Callable[[Step, str], None]


class Submits:
    """Claims requests and sends them, each once."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        client: LeonardoClient,
        lease: Lease,
        references: ReferenceUploads,
        models: ModelCatalog,
        buyer: Buyer,
        policy: RetryPolicy,
        pause: Callable[[float], Awaitable[None]],
        stopping: Callable[[], bool],
        at_step: AtStep,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._lease = lease
        self._references = references
        self._models = models
        self.buyer = buyer
        self._policy = policy
        self._pause = pause
        self._stopping = stopping
        self._at_step = at_step

    async def claim(self, request: GenerationRequest, attempt: int, *, credits: int) -> bool:
        """Put down the intent. False: another writer's stands there, and what becomes of it is theirs to say."""
        spec = request.spec
        await self._lease.renew_if_lapsed()
        self._at_step("before_intent", request.request_id)
        written = await self._ledger.write(
            Intent(
                **self._signed(request, attempt),
                spec_id=spec.spec_id,
                start=request.start,
                count=request.count,
                model=spec.model,
                prompt=spec.prompt,
                width=spec.width,
                height=spec.height,
                style=spec.style,
                prompt_enhance=spec.prompt_enhance,
                seed=request.seed,
                public=request.public,
                references=tuple(reference.identity for reference in spec.references),
                credits_reserved=credits,
                dataset=self.buyer.dataset,
                partition=self.buyer.partition,
                run_id=self.buyer.run_id,
                dagster_run_id=self.buyer.dagster_run_id,
            )
        )
        self._at_step("after_intent", request.request_id)
        return written

    async def send(self, request: GenerationRequest, attempt: int) -> Submitted | Blocked | Released:
        """Send a claimed request, once, and put down what became of it.

        A refusal that may pass (429) and a connection that was never made are tried again, as long as the pause
        between allows. Everything else is put down and final for this attempt.

        Raises:
            SubmitUncertain: Sent, and not known. The intent stays open.
            LeonardoRefused: For a reason that concerns the account, not this request (key, balance). Released first.
        """
        for tries in range(1, self._policy.attempts + 1):
            try:
                return await self._send_once(request, attempt)
            except (RateLimited, LeonardoUnavailable) as error:
                if tries == self._policy.attempts or self._stopping():
                    return await self._release(request, attempt, "never_sent", f"gave up after {tries} tries: {error}")
                # The same spread for everyone: which half of the step a client gets is drawn from the request's id.
                chance = int(request.request_id[:4], 16) / 0x10000
                await self._pause(self._policy.wait_seconds(tries, error, chance))
            except LeaseLapsed as error:
                return await self._release(request, attempt, "never_sent", str(error))
        raise AssertionError("the loop returns or raises")

    async def _send_once(self, request: GenerationRequest, attempt: int) -> Submitted | Blocked | Released:
        model = self._models.find(request.spec.model)
        try:
            reference_ids = await self._references.ids_for(request.spec)
            submission = await self._client.create(
                request, model=model, reference_ids=reference_ids, may_send=self._lease.refuse_if_lapsed
            )
        except PromptBlocked as error:
            blocked = Blocked(
                **self._signed(request, attempt),
                generation_id=None,
                count=request.count,
                credits_quoted=credits_for(model, request.count),
                dataset=self.buyer.dataset,
                run_id=self.buyer.run_id,
                dagster_run_id=self.buyer.dagster_run_id,
                reason=str(error),
            )
            await self._ledger.write(blocked)
            return blocked
        except RateLimited:
            raise
        except LeonardoRefused as error:
            released = await self._release(request, attempt, "refused", f"refused by Leonardo: {error}")
            if type(error) is not LeonardoRefused:
                raise  # the key or the balance: the next request would fare the same
            return released
        self._at_step("after_post", request.request_id)
        submitted = Submitted(
            **self._signed(request, attempt),
            generation_id=submission.generation_id,
            cost_amount=submission.cost.amount if submission.cost else None,
            cost_unit=submission.cost.unit if submission.cost else None,
        )
        await self._ledger.write(submitted)
        self._at_step("after_submitted", request.request_id)
        return submitted

    async def _release(
        self, request: GenerationRequest, attempt: int, why: Literal["refused", "never_sent"], reason: str
    ) -> Released:
        released = Released(**self._signed(request, attempt), why=why, reason=reason)
        await self._ledger.write(released)
        return released

    def _signed(self, request: GenerationRequest, attempt: int) -> dict[str, Any]:
        return signed(request.request_id, attempt, self._lease.writer())


def signed(request_id: str, attempt: int, writer: Writer) -> dict[str, Any]:
    """What every event begins with."""
    return {"request_id": request_id, "attempt": attempt, "at": datetime.now(UTC), "writer": writer}
