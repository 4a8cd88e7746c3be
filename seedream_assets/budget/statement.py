"""What was bought over all time, summed over the ledger. Pure; records in, rows out.

It is a history: what was bought for rows that were edited or removed since stays in it. What of it today's datasets
still show is a figure beside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from seedream_assets.budget.costs import CREDITS
from seedream_assets.ledger.open_requests import OpenRequests

GROUPINGS = ("dataset", "partition", "run", "style", "model", "day")
# The clocks of a machine and of its store differ by less. A store that dates an event later than this was copied.
COPIED_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoughtFor:
    """For whom and when a request was begun, by every grouping."""

    dataset: str
    partition: str
    run: str
    style: str
    model: str
    day: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """One generation that was paid for.

    Attributes:
        images: Ordered and paid for, whatever became of them.
        images_in_datasets: Of these, stored ones that a manifest has now.
        amount: In `unit`, as the API told it; where it told nothing, what was reserved, in `QUOTED`.
        ended_without: It failed or was blocked. Leonardo says that it gives such costs back; no answer of its API tells.
    """

    by: BoughtFor
    images: int
    images_in_datasets: int
    amount: Decimal
    unit: str
    ended_without: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StillOpen:
    """One request of which it is not known whether it was bought."""

    by: BoughtFor
    open: OpenRequests


@dataclass(slots=True)
class _Sum:
    images: int = 0
    amount: Decimal = Decimal(0)
    images_in_datasets: int = 0
    amount_in_datasets: Decimal = Decimal(0)
    amount_failed: Decimal = Decimal(0)
    open_requests: int = 0
    credits_held_back: int = 0


def sum_spend(records: Iterable[Bought | StillOpen], by: Sequence[str] = ("dataset",)) -> list[dict[str, Any]]:
    """Images and what they cost by these groupings and by unit, sorted.

    Args:
        records: Drawn one at a time.
        by: Any of `GROUPINGS`; `day` is one in UTC.

    Returns:
        Each row: the groupings, `unit`, `images`, `amount`, what of both is in today's datasets, what of the amount was
        for requests that failed, and the open requests with what they hold back, in credits.
    """
    sums: defaultdict[tuple[str, ...], _Sum] = defaultdict(_Sum)
    for record in records:
        place = tuple(str(getattr(record.by, name)) for name in by)
        if isinstance(record, StillOpen):
            found = sums[*place, CREDITS]
            found.open_requests += record.open.requests
            found.credits_held_back += record.open.credits_held
            continue
        found = sums[*place, record.unit]
        found.images += record.images
        found.amount += record.amount
        found.images_in_datasets += record.images_in_datasets
        found.amount_in_datasets += record.amount * record.images_in_datasets / record.images
        found.amount_failed += record.amount if record.ended_without else 0
    return [
        {**dict(zip((*by, "unit"), place, strict=True)), **_as_row(found)}
        for place, found in sorted(sums.items(), key=lambda item: item[0])
    ]


def _as_row(found: _Sum) -> Mapping[str, int | float]:
    return {
        "images": found.images,
        "amount": float(found.amount),
        "images_in_datasets": found.images_in_datasets,
        "amount_in_datasets": round(float(found.amount_in_datasets), 6),
        "amount_failed": float(found.amount_failed),
        "open_requests": found.open_requests,
        "credits_held_back": found.credits_held_back,
    }


def day_of(*, written: datetime, stored: datetime) -> str:
    """The day in UTC of an event: by the store's time, or by its writer's where the store was copied since.

    Args:
        written: By the clock of whoever wrote it.
        stored: When the store took it, by the store's clock; in a copy, when it was copied.
    """
    moment = written if stored - written > COPIED_AFTER else stored
    return moment.astimezone(UTC).strftime("%Y-%m-%d")
