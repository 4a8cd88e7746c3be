"""Money as values: caps, what is reserved, what is booked, what images really cost. Pure.

A reservation is the quote (or what the dearest image of late cost, if that is more). It is settled with the API's own
figure, unless that is too small to be believed. A cap compares what is booked plus what is still reserved, so it holds
with any number of requests in flight.

Of prices, only what is dearer than the price list is remembered: of a hundred answers, the dearest decides. Each is kept
with how many answers have come since, and is dropped after a hundred of them, or when a price as high has been seen again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from seedream_assets.config.dataset import NO_CAP, Budget
from seedream_assets.config.models import DOLLARS_PER_CREDIT
from seedream_assets.errors import NoCapError
from seedream_assets.leonardo.generations import Cost
from seedream_assets.wording import count_of

# The cap of a budget that nobody has written: 0 credits.
MISSING = "missing"
ANSWERS_REMEMBERED = 100
# More is no price, and sums over a million images have to stay numbers that a table can hold.
MOST_CREDITS_AN_IMAGE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CapReached:
    """Why a request was not sent, with the numbers.

    Attributes:
        cap: `max_credits_per_run`, `max_credits_total`, `max_credits_per_day`, `balance` or `MISSING`.
        limit: The cap, in credits.
        committed: Booked and reserved so far, in credits.
        asked: What the refused request would have needed.
    """

    cap: str
    limit: int
    committed: int
    asked: int

    def __str__(self) -> str:
        if self.cap == MISSING:
            return f"{count_of(self.asked, 'credit')} to buy and {NO_CAP}"
        until = "; the next day begins at 00:00 UTC by the store's clock" if self.cap == "max_credits_per_day" else ""
        return (
            f"{self.cap} is {count_of(self.limit, 'credit')}; {self.committed} are committed, the next request needs "
            f"{self.asked}{until}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """One run's money so far.

    Attributes:
        limit: The cap in credits; None: no cap.
        cap: The cap's name.
        booked: Settled, in credits.
        reserved: For requests in flight, in credits.
    """

    cap: str
    limit: int | None
    booked: int = 0
    reserved: int = 0

    @property
    def committed(self) -> int:
        """Booked and reserved together."""
        return self.booked + self.reserved

    @property
    def is_overdrawn(self) -> bool:
        """True where more is committed than the cap allows: what was bought cost more than was reserved for it."""
        return self.limit is not None and self.committed > self.limit

    def reserve(self, credits: int) -> Spending | CapReached:
        """The spending with `credits` more reserved, or the cap that this would cross."""
        if self.limit is not None and self.committed + credits > self.limit:
            return CapReached(cap=self.cap, limit=self.limit, committed=self.committed, asked=credits)
        return replace(self, reserved=self.reserved + credits)

    def raised(self, *, by: int) -> Spending:
        """The spending with more reserved for what may have been bought already: past the cap where need be."""
        return replace(self, reserved=self.reserved + by)

    def settle(self, *, reserved: int, booked: int) -> Spending:
        """The spending with a reservation turned into what was really charged; 0 where nothing was."""
        return replace(self, reserved=self.reserved - reserved, booked=self.booked + booked)


def spending_of_run(budget: Budget) -> Spending:
    """What one run may spend by its own cap. Where nobody has said how much, that is nothing."""
    if budget.is_missing:
        return Spending(cap=MISSING, limit=0)
    return Spending(cap="max_credits_per_run", limit=budget.max_credits_per_run)


def refuse_without_cap(budget: Budget, credits: int) -> None:
    """Refuse to buy for so many credits where nobody has said how much may be spent.

    Raises:
        NoCapError: There is no cap; says what to write.
    """
    if budget.is_missing and credits > 0:
        raise NoCapError(f"{count_of(credits, 'credit')} to buy and {NO_CAP}: nothing was bought")


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """What a bought request came to.

    Attributes:
        credits: What it counts against caps.
        cost: As the API gives it; what was reserved where it gives none.
        is_doubted: The API gave less than half of the price list, so what was reserved counts in its place.
    """

    credits: int
    cost: Cost
    is_doubted: bool = False


def book_cost(cost: Cost | None, *, listed: int, reserved: int) -> Booked:
    """What a request's cost counts against caps, beside the cost that the API gave.

    Args:
        cost: As the API gives it; None where it gives none, which counts as reserved and is never taken for zero.
        listed: The request's price by the price list, in credits; half of it is the least that is believed.
        reserved: What was reserved for it, in credits.
    """
    if cost is None:
        return Booked(credits=reserved, cost=Cost(amount=Decimal(reserved), unit="CREDITS"))
    credits = cost_in_credits(cost, quoted=reserved)
    if 2 * credits < listed:
        return Booked(credits=max(listed, reserved), cost=cost, is_doubted=True)
    return Booked(credits=credits, cost=cost)


def cost_in_credits(cost: Cost | None, *, quoted: int) -> int:
    """What a cost counts against a cap: credits rounded up, dollars at the known rate, to the nearest.

    A cost that the API did not give counts as quoted: unknown is never taken for zero.
    """
    if cost is None:
        return quoted
    if cost.unit == "DOLLARS":
        # The API rounds dollars to four decimals: 0.0838 for 56 credits is 56.05, and must not count as 57.
        return round(cost.amount / Decimal(str(DOLLARS_PER_CREDIT)))
    return math.ceil(cost.amount)


def kind_of(model: str, width: int, height: int) -> str:
    """What a price is known for: a model and a size, as it stands in the budget log."""
    return f"{model} {width}x{height}"


def kind_in(kind: str) -> tuple[str, int, int]:
    """Model, width and height of what `kind_of` gave."""
    model, _, size = kind.rpartition(" ")
    width, _, height = size.partition("x")
    return model, int(width), int(height)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What buying a request asks for, before any answer has shown what it costs.

    Attributes:
        kind: See `kind_of`.
        images: At least one.
        listed: The price of all of them by the price list, in credits.
    """

    kind: str
    images: int
    listed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSeen:
    """What one answer showed of a kind, in credits per image, rounded up, beside the price list's figure."""

    kind: str
    credits: int
    listed: int

    @classmethod
    def of(cls, asked: Asked, credits: int) -> PriceSeen:
        """What it says that a whole request counted as so many credits."""
        each = min(-(-credits // asked.images), MOST_CREDITS_AN_IMAGE)
        return cls(kind=asked.kind, credits=each, listed=asked.listed // asked.images)


@dataclass(frozen=True, slots=True, kw_only=True)
class DearPrice:
    """A price above the price list.

    Attributes:
        credits: Per image.
        answers_since: How many answers about this kind have come after it.
    """

    credits: int
    answers_since: int = 0


DearPrices = Mapping[str, tuple[DearPrice, ...]]


def learn(known: DearPrices, seen: Iterable[PriceSeen]) -> DearPrices:
    """What is known after these answers as well, in their order."""
    learned = dict(known)
    for answer in seen:
        kept = [
            DearPrice(credits=price.credits, answers_since=price.answers_since + 1)
            for price in learned.get(answer.kind, ())
            if price.credits > answer.credits and price.answers_since + 1 < ANSWERS_REMEMBERED
        ]
        if answer.credits > answer.listed:
            kept.append(DearPrice(credits=answer.credits))
        learned[answer.kind] = tuple(kept)
    return {kind: prices for kind, prices in learned.items() if prices}


def dearest(known: DearPrices, kind: str) -> int:
    """Credits per image of the dearest answer of late; 0 where none was dearer than the price list."""
    return max((price.credits for price in known.get(kind, ())), default=0)


def price_of(known: DearPrices, asked: Asked) -> int:
    """Credits to reserve: the price list's, or the dearest answer's of late where that is more."""
    return max(asked.listed, asked.images * dearest(known, asked.kind))
