"""reserve → submit → settle: the one place that knows what this run may still spend.

Three caps are asked for every request: the run's, the dataset's over all its runs, and the account's balance. Credits
are reserved before the intent and settled with the API's own figure.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from decimal import Decimal

from seedream_assets.core.budget import CapReached, Spending, cost_in_credits
from seedream_assets.core.generations import Cost
from seedream_assets.generation.dataset_budget import DatasetBudget


class Purse:
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
        self._reserved: dict[str, int] = {}
        self._kept: set[str] = set()
        self._block_of: dict[str, int] = {}
        self._signed_by: dict[int, str] = {}
        self._unsettled: defaultdict[int, set[str]] = defaultdict(set)
        self._booked_in_block: defaultdict[int, int] = defaultdict(int)
        self._dearest_image = 0
        self.costs: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.booked_credits = 0
        self.quoted_credits = 0

    def reserved_for(self, request_id: str) -> int:
        """Credits reserved for a request; 0 where none are."""
        return self._reserved.get(request_id, 0)

    def price(self, *, images: int, quoted: int) -> int:
        """Credits to reserve for a request: the quote, or what the dearest image of this run cost if that is more."""
        return max(quoted, images * self._dearest_image)

    def holds(self, request_id: str, credits: int) -> bool:
        """True when so many credits are reserved for this request, under the lease that this process holds now."""
        signed_by = self._signed_by.get(self._block_of.get(request_id, 0))
        return signed_by == self._engine_id() and self._reserved[request_id] >= credits

    async def reserve(self, credits: Mapping[str, int]) -> tuple[list[str], CapReached | None]:
        """Reserve for these requests, in their order, as many as all caps allow.

        Returns:
            The requests that may be bought, and the cap that stopped the rest.
        """
        async with self._one_at_a_time:
            missing = {key: asked for key, asked in credits.items() if not self.holds(key, asked)}
            for request_id in missing:
                self._settle(request_id, 0)  # too little, or reserved under a lease that has lapsed
            affordable, refused = self._affordable(missing)
            if affordable:
                number, dataset_refused = await self._dataset.reserve(affordable)
                refused = dataset_refused or refused
                if number is not None:
                    self._take(number)
            return [key for key, asked in credits.items() if self.holds(key, asked)], refused

    def _take(self, number: int) -> None:
        block = self._dataset.block(number)
        self._signed_by[number] = block.writer.engine_id
        self._unsettled[number] = set(block.reserved)
        for request_id, asked in block.reserved.items():
            self._reserved[request_id] = asked
            self._block_of[request_id] = number
            self._caps = [_must_fit(cap.reserve(asked)) for cap in self._caps]

    def _affordable(self, credits: Mapping[str, int]) -> tuple[dict[str, int], CapReached | None]:
        affordable: dict[str, int] = {}
        caps = list(self._caps)
        for request_id, asked in credits.items():
            after = [cap.reserve(asked) for cap in caps]
            for outcome in after:
                if isinstance(outcome, CapReached):
                    return affordable, outcome
            caps = [_must_fit(outcome) for outcome in after]
            affordable[request_id] = asked
        return affordable, None

    def settle_bought(self, request_id: str, *, cost: Cost | None, images: int, quoted: int) -> int:
        """Turn a reservation into what was charged: the API's figure, or what was reserved where it told none.

        Returns:
            What was charged, in credits.
        """
        booked = cost_in_credits(cost, quoted=self._reserved.get(request_id, quoted))
        self.booked_credits += booked
        self.quoted_credits += quoted
        unit, amount = (cost.unit, cost.amount) if cost else ("CREDITS", Decimal(booked))
        self.costs[unit] += amount
        self._dearest_image = max(self._dearest_image, -(-booked // images))
        self._settle(request_id, booked)
        return booked

    def keep(self, request_id: str) -> None:
        """From now on the request may have been bought: its reservation stays, over the run's end, until that is known."""
        self._kept.add(request_id)

    def let_go(self, request_id: str) -> None:
        """It is known that the request was not bought after all; what is reserved can serve its next attempt."""
        self._kept.discard(request_id)

    def settle_unbought(self, request_id: str) -> None:
        """Free a reservation of which nothing was bought; nothing happens where there is none, or where it is kept."""
        if request_id in self._reserved and request_id not in self._kept:
            self._settle(request_id, 0)

    def _settle(self, request_id: str, booked: int) -> None:
        self._kept.discard(request_id)
        reserved = self._reserved.pop(request_id, 0)
        self._caps = [cap.settle(reserved=reserved, booked=booked) for cap in self._caps]
        block = self._block_of.pop(request_id, None)
        if block is not None:
            self._unsettled[block].discard(request_id)
            self._booked_in_block[block] += booked

    async def write_settlements(self) -> None:
        """Book in the dataset's log every block of which nothing is open any more."""
        async with self._one_at_a_time:
            done = {block: self._booked_in_block[block] for block, waiting in self._unsettled.items() if not waiting}
            await self._dataset.settle(done)
            for block in done:
                del self._unsettled[block], self._signed_by[block]
                self._booked_in_block.pop(block, None)

    async def close(self) -> None:
        """Give back what was reserved and not used; what is uncertain stays reserved until it is known."""
        for request_id in list(self._reserved):
            self.settle_unbought(request_id)
        await self.write_settlements()


def _must_fit(outcome: Spending | CapReached) -> Spending:
    if isinstance(outcome, CapReached):
        raise RuntimeError(f"reserved past a cap that was asked a moment before: {outcome}")
    return outcome
