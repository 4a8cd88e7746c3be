"""reserve → submit → settle: the one place that knows what this run may still spend.

Three caps are asked for every request: the run's, the dataset's over all its runs, and the account's balance. Credits
are reserved before the intent and settled with the API's own figure.

A price can be another than the price list's. So the first request of a model and size goes alone, and the price in
its answer is reserved for all that follow, by this run and, through the dataset's log, by every other.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from seedream_assets.budget.dataset_budget import DatasetBudget
from seedream_assets.budget.rules import Asked, Booked, CapReached, PriceSeen, Spending, book_cost
from seedream_assets.errors import ObjectUnreadable
from seedream_assets.leonardo.generations import Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reservation:
    """Credits set aside for one request."""

    credits: int
    asked: Asked


@dataclass(slots=True, kw_only=True)
class _OpenBlock:
    """A block of this run that is not booked in the log yet.

    Attributes:
        signed_by: The lease that it was reserved under.
        counts: What each request of it counts now: what is reserved, or what was booked.
    """

    signed_by: str
    counts: dict[str, int]


class Reservations:
    """This run's money.

    Args:
        run: The run's own cap.
        balance: The account's balance as a cap.
        dataset: The cap over all runs of the dataset.
        engine_id: The lease that this process holds now. What was reserved under another one does not count: whoever
            took this process for dead may have given those credits back.
    """

    def __init__(
        self, *, run: Spending, balance: Spending, dataset: DatasetBudget, engine_id: Callable[[], str]
    ) -> None:
        self._caps = [run, balance]
        self._dataset = dataset
        self._engine_id = engine_id
        self._one_at_a_time = asyncio.Lock()
        self._reserved: dict[str, _Reservation] = {}
        self._kept: set[str] = set()
        self._blocks: dict[int, _OpenBlock] = {}
        self._block_of: dict[str, int] = {}
        self._answered: set[str] = set()
        self._alone: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._one_first = asyncio.Lock()

    def reserved_for(self, request_id: str) -> int:
        """Credits reserved for a request; 0 where none are."""
        return self._reserved[request_id].credits if request_id in self._reserved else 0

    def price(self, asked: Asked) -> int:
        """Credits to reserve for a request: the quote, or what the dearest image of late cost if that is more."""
        return self._dataset.price(asked)

    def holds(self, request_id: str, asked: Asked) -> bool:
        """True when a request's price is reserved for it, under the lease that this process holds now."""
        reserved = self._reserved.get(request_id)
        if reserved is None or self._blocks[self._block_of[request_id]].signed_by != self._engine_id():
            return False
        return reserved.credits >= self.price(asked)

    @asynccontextmanager
    async def first_alone(self, kind: str) -> AsyncIterator[None]:
        """Hold up all requests of a model and size but one, until an answer to this run has shown what they cost.

        An answer that was lost, or that refused, shows no price: the next request goes alone as well. The firsts of
        several kinds go one after the other, so that at most one price of a run is unknown.
        """
        if kind not in self._answered:
            async with self._alone[kind]:
                if kind not in self._answered:
                    async with self._one_first:
                        yield
                    return
        yield

    async def reserve(self, wanted: Mapping[str, Asked]) -> tuple[list[str], CapReached | ObjectUnreadable | None]:
        """Reserve for these requests, in their order, as many as all caps allow.

        Returns:
            The requests that may be bought, and the cap that stopped the rest.
        """
        async with self._one_at_a_time:
            missing = {request_id: asked for request_id, asked in wanted.items() if not self.holds(request_id, asked)}
            # Too little, or reserved under a lease that has lapsed: in the log, too, it stands in one block at a time.
            if too_little := missing.keys() & self._reserved.keys():
                for request_id in too_little:
                    self._give_back(request_id)
                await self._correct_log()
            await self._write_settlements()
            affordable, refused_here = self._affordable(missing)
            refused: CapReached | ObjectUnreadable | None = refused_here
            if affordable:
                number, refused_there = await self._dataset.reserve(affordable)
                refused = refused_there or refused_here
                if number is not None:
                    self._take(number, wanted)
            return [request_id for request_id, asked in wanted.items() if self.holds(request_id, asked)], refused

    def _take(self, number: int, wanted: Mapping[str, Asked]) -> None:
        block = self._dataset.block(number)
        self._blocks[number] = _OpenBlock(signed_by=block.writer.engine_id, counts=dict(block.reserved))
        for request_id, credits in block.reserved.items():
            self._reserved[request_id] = _Reservation(credits=credits, asked=wanted[request_id])
            self._block_of[request_id] = number
            self._caps = [cap.raised(by=credits) for cap in self._caps]  # asked a moment before

    def _affordable(self, wanted: Mapping[str, Asked]) -> tuple[dict[str, int], CapReached | None]:
        affordable: dict[str, int] = {}
        caps = list(self._caps)
        for request_id, asked in wanted.items():
            credits = self.price(asked)
            after: list[Spending] = []
            for cap in caps:
                outcome = cap.reserve(credits)
                if isinstance(outcome, CapReached):
                    return affordable, outcome
                after.append(outcome)
            caps = after
            affordable[request_id] = credits
        return affordable, None

    async def settle_bought(self, request_id: str, asked: Asked, *, cost: Cost | None, is_answer: bool) -> Booked:
        """Turn a reservation into what was charged: the API's figure, or what was reserved where it gives none.

        A price above what was reckoned with is written to the dataset's log before this returns: what waits for
        `first_alone` and every other process reserve with it.

        Args:
            request_id, asked: What was bought.
            cost: As the API gives it.
            is_answer: Whether the API answered this run's own request with it.

        Raises:
            StoreError: The log could not be written.
        """
        booked = book_cost(cost, listed=asked.listed, reserved=self.reserved_for(request_id) or asked.listed)
        reckoned = self.price(asked)
        self._settle(request_id, booked.credits)
        self._dataset.see(PriceSeen.of(asked, booked.credits))
        if booked.credits > reckoned:
            await self._reckon_anew(asked.kind)
        if is_answer:
            self._answered.add(asked.kind)
        return booked

    async def _reckon_anew(self, kind: str) -> None:
        """A kind is dearer than was reserved for: what nobody has claimed of it asks again, what was claimed counts so.

        Where a cap is crossed by that, everything asks again that nobody has claimed, of whatever kind.
        """
        async with self._one_at_a_time:
            for request_id, reserved in list(self._reserved.items()):
                price = self.price(reserved.asked)
                if reserved.asked.kind != kind or reserved.credits >= price:
                    continue
                if request_id in self._kept:
                    self._raise(request_id, reserved, price)
                else:
                    self._give_back(request_id)
            await self._correct_log()
            if self._dataset.is_overdrawn or any(cap.is_overdrawn for cap in self._caps):
                for request_id in self._reserved.keys() - self._kept:
                    self._give_back(request_id)
                await self._correct_log()

    async def _correct_log(self) -> None:
        await self._dataset.correct({number: block.counts for number, block in self._blocks.items()})

    def _raise(self, request_id: str, reserved: _Reservation, credits: int) -> None:
        """More is reserved for what may have been bought already, whether a cap allows it or not."""
        self._reserved[request_id] = _Reservation(credits=credits, asked=reserved.asked)
        self._blocks[self._block_of[request_id]].counts[request_id] = credits
        self._caps = [cap.raised(by=credits - reserved.credits) for cap in self._caps]

    def keep(self, request_id: str) -> None:
        """From now on the request may have been bought: its reservation stays, over the run's end, until that is known."""
        self._kept.add(request_id)

    def mark_unbought(self, request_id: str) -> None:
        """It is known that the request was not bought after all; what is reserved can serve its next attempt."""
        self._kept.discard(request_id)

    def settle_unbought(self, request_id: str) -> None:
        """Free a reservation of which nothing was bought; nothing happens where there is none, or where it is kept."""
        if request_id in self._reserved and request_id not in self._kept:
            self._give_back(request_id)

    def _give_back(self, request_id: str) -> None:
        reserved = self._reserved.pop(request_id)
        self._kept.discard(request_id)
        self._caps = [cap.settle(reserved=reserved.credits, booked=0) for cap in self._caps]
        del self._blocks[self._block_of.pop(request_id)].counts[request_id]

    def _settle(self, request_id: str, booked: int) -> None:
        self._kept.discard(request_id)
        reserved = self._reserved.pop(request_id, None)
        credits = reserved.credits if reserved else 0
        self._caps = [cap.settle(reserved=credits, booked=booked) for cap in self._caps]
        if request_id in self._block_of:
            counts = self._blocks[self._block_of[request_id]].counts
            # Bought twice, it counts twice.
            counts[request_id] = booked if reserved else counts[request_id] + booked

    async def write_settlements(self) -> None:
        """Book in the dataset's log every block of which nothing is open any more."""
        async with self._one_at_a_time:
            await self._write_settlements()

    async def _write_settlements(self) -> None:
        unsettled = {self._block_of[request_id] for request_id in self._reserved}
        done = {number: sum(block.counts.values()) for number, block in self._blocks.items() if number not in unsettled}
        await self._dataset.settle(done)
        for number in done:
            for request_id in self._blocks.pop(number).counts:
                if self._block_of.get(request_id) == number:
                    del self._block_of[request_id]

    async def close(self) -> None:
        """Give back what was reserved and not used; what is uncertain stays reserved until it is known."""
        for request_id in list(self._reserved):
            self.settle_unbought(request_id)
        await self.write_settlements()
