"""One request on its way through a run, from the plan to the stored images; what is reported of it; and the run's context.

A spec's requests share its samples, so where one ends the next begins. When somebody else has claimed an earlier one
with another size since the plan was made, the later ones of this plan would overlap with what is owned, and part of
them would be bought twice. So a request is claimed only when the one before it is known to be as large as planned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from seedream_assets.budget.rules import Asked, Booked, kind_of
from seedream_assets.config.models import ModelCatalog, credits_for
from seedream_assets.config.retry import Sleep
from seedream_assets.ledger.events import FinalEvent, Intent, Submitted
from seedream_assets.ledger.lease import Lease, signed
from seedream_assets.ledger.state import FRESH, LedgerEntry, RequestState
from seedream_assets.ledger.store import Ledger
from seedream_assets.leonardo.requests import GenerationRequest
from seedream_assets.purchase.shutdown import StopRun

# Points that a request passes. Tests stop or kill a process there.
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
Outcome = Literal["completed", "failed", "blocked", "owned", "uncertain", "pending", "not_sent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """A request was bought by this run.

    Attributes:
        quoted: Its price by the price list, in credits.
    """

    booked: Booked
    quoted: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A request has come as far as this run brings it; reported once for each that was admitted.

    Attributes:
        images: Stored by this run.
        reason: Why it has no images; counted in the run's report.
        note: Why it is not final, or what is odd about its end; kept under its id.
    """

    outcome: Outcome
    images: int = 0
    reason: str | None = None
    note: str | None = None

    @classmethod
    def unfinished(cls, outcome: Literal["pending", "uncertain", "failed"], reason: str) -> Ended:
        """An end with one reason that is both counted and kept."""
        return cls(outcome, reason=reason, note=reason)


# What happens to a request: it passes a step, is bought, a final event is written to the ledger, it ends for this run.
Event = Step | Bought | FinalEvent | Ended
# Called from the engine's event loop, with the event and the request's id; must not block.
Observer = Callable[[Event, str], None]


def ignore(_event: Event, _request_id: str) -> None:
    """The observer that does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What all share that work in one run.

    Attributes:
        models: For the price list.
        stop: Who may end the run early, and why.
        pause: A wait that ends early when the run does.
        on: Called with what happens to each request.
        dataset, run_id, dagster_run_id, account_id: Stand in every intent.
        partition_of: For which partition a request is bought, by its id.
    """

    ledger: Ledger
    lease: Lease
    models: ModelCatalog
    stop: StopRun
    pause: Sleep
    on: Observer
    dataset: str
    run_id: str
    dagster_run_id: str | None
    account_id: str
    partition_of: Callable[[str], str]

    def asked(self, request: GenerationRequest) -> Asked:
        """What buying a request asks of the budget."""
        spec = request.spec
        listed = credits_for(self.models.find(spec.model), request.count)
        return Asked(kind=kind_of(spec.model, spec.width, spec.height), images=request.count, listed=listed)

    def sign(self, task: RequestTask) -> dict[str, Any]:
        """What every event of the claimed attempt begins with."""
        return signed(task.request_id, task.claimed.attempt, self.lease.writer())

    def sign_ending(self, task: RequestTask, submitted: Submitted | None) -> dict[str, Any]:
        """What every final event begins with; `submitted` is None where no job was made."""
        intent = task.claimed
        return self.sign(task) | {
            "generation_id": submitted.generation_id if submitted else None,
            "count": intent.count,
            "credits_quoted": credits_for(self.models.find(intent.model), intent.count),
            "dataset": intent.dataset,
            "run_id": intent.run_id,
            "dagster_run_id": intent.dagster_run_id,
            "cost_amount": submitted.cost_amount if submitted else None,
            "cost_unit": submitted.cost_unit if submitted else None,
            "submitted_at": submitted.at if submitted else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessor:
    """The request before another one in its spec, as planned. When the plan was made, nobody had bought it."""

    request_id: str
    count: int


@dataclass(slots=True, kw_only=True, eq=False)
class RequestTask:
    """One request that a plan wants and that is not final. The run fills in the rest as it goes.

    Attributes:
        request: As planned.
        entry: As last seen in the ledger: first by the planner, then by this run.
        predecessor: Where the one before it has to be looked up because this run does not hold it; None where it
            is the task just before, or was owned when the plan was made.
        before: The task admitted just before, where it borders on this one.
        credits_to_spend: Its price as long as it may still be bought.
        reference_ids: Leonardo's ids of the spec's uploaded reference images, by content hash.
        turn: When the account's rate had its turn for the next sending.
        intent: The intent of the attempt that is worked on: this run's own, or that of whoever has bought it.
        intent_written_at: When the store took this run's own intent, by the store's clock. No other clock may say
            that the lease still holds.
        is_unanswered: True where this run sent it and does not know whether it was accepted.
        submitted: The generation that was bought.
    """

    request: GenerationRequest
    entry: LedgerEntry = FRESH
    predecessor: Predecessor | None = None
    before: RequestTask | None = None
    credits_to_spend: int = 0
    reference_ids: Mapping[str, str] = field(default_factory=dict)
    turn: float = 0.0
    intent: Intent | None = None
    intent_written_at: datetime | None = None
    is_unanswered: bool = False
    submitted: Submitted | None = None
    _published: LedgerEntry | None = None
    _is_published: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def request_id(self) -> str:
        """The id of its request."""
        return self.request.request_id

    @property
    def is_to_buy(self) -> bool:
        """True when nobody had bought it when it was last looked at."""
        return self.entry.state is RequestState.FREE

    @property
    def claimed(self) -> Intent:
        """The intent, where it is known that there is one.

        Raises:
            RuntimeError: The request was not claimed.
        """
        if self.intent is None:
            raise RuntimeError(f"request {self.request_id} was not claimed")
        return self.intent

    @property
    def paid(self) -> Submitted:
        """The submit, where it is known that the request was bought.

        Raises:
            RuntimeError: The request was not bought.
        """
        if self.submitted is None:
            raise RuntimeError(f"request {self.request_id} was not bought")
        return self.submitted

    @property
    def as_bought(self) -> GenerationRequest:
        """The request with the size and the seed that its intent has, which may be others than planned."""
        return replace(self.request, count=self.claimed.count, seed=self.claimed.seed)

    def follow(self, before: RequestTask | None) -> None:
        """Remember the task admitted just before, where it is of the same spec and ends where this one begins."""
        if before is None:
            return
        mine, other = self.request, before.request
        if mine.start > 0 and mine.spec.spec_id == other.spec.spec_id and other.start + other.count == mine.start:
            self.before = before

    def publish(self, entry: LedgerEntry) -> None:
        """Let the task after this one know who has the request. Only the first call counts."""
        if not self._is_published.is_set():
            self._published = entry
            self._is_published.set()

    def take_credits_to_spend(self) -> int:
        """The credits that were still to be spent on it; 0 from the second call on."""
        credits, self.credits_to_spend = self.credits_to_spend, 0
        return credits

    async def may_be_claimed(self, ledger: Ledger) -> bool:
        """Wait until it is known who has the request before it; True where that one ends where this one begins."""
        if self.before is not None:
            return await self.before.is_as_planned(ledger)
        planned = self.predecessor
        if planned is None:
            return True
        entry = await ledger.entry(planned.request_id)
        return await _size_of(planned.request_id, entry, ledger) == planned.count

    async def is_as_planned(self, ledger: Ledger) -> bool:
        """True when this request was claimed, by anybody, with the size that was planned."""
        await self._is_published.wait()
        entry = self._published or FRESH
        if self.intent is not None and entry.state is RequestState.OPEN and self.intent.attempt == entry.attempt:
            return self.intent.count == self.request.count
        return await _size_of(self.request_id, entry, ledger) == self.request.count


async def _size_of(request_id: str, entry: LedgerEntry, ledger: Ledger) -> int | None:
    if entry.state in (RequestState.FREE, RequestState.UNKNOWN):
        return None
    return (await ledger.read_intent(request_id, entry.attempt)).count
