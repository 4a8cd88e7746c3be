"""One demand on its way through a run: what the requests beside it have to know of it.

A spec's requests share its samples, so where one ends the next begins. When somebody else has claimed an earlier one
with another size since the plan was made, the later ones of this plan would overlap with what is owned, and part of
them would be bought twice. So a request is claimed only when the one before it is known to be as large as planned.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from seedream_assets.ledger.state import FRESH, LedgerEntry, RequestState
from seedream_assets.ledger.store import Ledger
from seedream_assets.leonardo.requests import GenerationRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessor:
    """The request before another one in its spec, as planned: nobody's then, and somebody's since."""

    request_id: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """One request that a plan wants and nobody has finished, with what the planner saw of it.

    Attributes:
        entry: As last seen.
        predecessor: Where the one before it has to be looked up because this run does not demand it; None where it
            is demanded just before, or was owned when the plan was made.
    """

    request: GenerationRequest
    entry: LedgerEntry = FRESH
    predecessor: Predecessor | None = None

    @property
    def is_to_buy(self) -> bool:
        """True when nobody had bought it when it was last looked at."""
        return self.entry.state is RequestState.FREE


class Errand:
    """A demand that a run has admitted.

    Args:
        demand: What is wanted.
        before: The errand admitted just before; counts only where it is of the same spec and borders on this one.
        credits: Its price, where it is to be bought.
    """

    def __init__(self, demand: Demand, *, before: Errand | None, credits: int) -> None:
        self.demand = demand
        self.request = demand.request
        self._before = before if before is not None and before.borders_on(self.request) else None
        self._credits = credits
        # The size of what was claimed by this run, or the standing of what somebody else has; None: nobody has it.
        self._found: asyncio.Future[int | LedgerEntry | None] = asyncio.get_running_loop().create_future()

    def borders_on(self, later: GenerationRequest) -> bool:
        """True when `later` begins where this one ends."""
        mine = self.request
        return later.start > 0 and mine.spec.spec_id == later.spec.spec_id and mine.start + mine.count == later.start

    def find(self, found: int | LedgerEntry | None) -> None:
        """Tell whoever comes after: claimed by this run with so many images, somebody else's, or nobody's."""
        if not self._found.done():
            self._found.set_result(found)

    def take_credits(self) -> int:
        """The credits that were still to be spent on it; 0 from the second call on."""
        credits, self._credits = self._credits, 0
        return credits

    async def may_be_claimed(self, ledger: Ledger) -> bool:
        """Wait for the request before it, and say whether that one ends where this one begins. The first always may."""
        if self._before is not None:
            return await self._before.is_as_planned(ledger)
        planned = self.demand.predecessor
        if planned is None:
            return True
        entry = await ledger.entry(planned.request_id)
        return await _size_of(planned.request_id, entry, ledger) == planned.count

    async def is_as_planned(self, ledger: Ledger) -> bool:
        """True when this request was claimed, by anybody, with the size that was planned."""
        found = await asyncio.shield(self._found)
        if isinstance(found, LedgerEntry):
            found = await _size_of(self.request.request_id, found, ledger)
        return found == self.request.count


async def _size_of(request_id: str, entry: LedgerEntry, ledger: Ledger) -> int | None:
    if entry.state in (RequestState.FREE, RequestState.UNKNOWN):
        return None
    return (await ledger.read_intent(request_id, entry.attempt)).count
