"""What images really cost of late, by model and size, so that a price that rose is reserved before it is charged. Pure.

Only what is dearer than the price list is remembered: of a hundred answers, the dearest decides. Each price is kept with
how many answers have come since, and is dropped after a hundred of them, or when a price as high has been seen again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ANSWERS_REMEMBERED = 100
# More is no price, and sums over a million images have to stay numbers that a table can hold.
MOST_CREDITS_AN_IMAGE = 1_000_000


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
    """What buying a request asks for, before any answer has told what it costs.

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
    """What one answer told of a kind, in credits per image, rounded up, beside the price list's figure."""

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
