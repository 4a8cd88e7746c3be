"""What the paid API says of a generation, as values: an accepted submit, the state of a job, the account.

Belongs here: the words and the meaning. Not here: how they are spelled on the wire (`leonardo/wire`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

_INDEX_IN_FILE_NAME = re.compile(r"-(\d{1,2})\.[A-Za-z0-9]+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What Leonardo says a request costs, for all its images together.

    Attributes:
        amount: A decimal number.
        unit: `CREDITS` (old plans) or `DOLLARS` (pay-as-you-go).
    """

    amount: Decimal
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """An accepted request: from here on it is paid for."""

    generation_id: str
    cost: Cost | None


class GenerationStatus(StrEnum):
    """Leonardo's own three words; a status it may invent later counts as PENDING until it ends."""

    PENDING = "PENDING"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedImage:
    """One image as Leonardo lists it."""

    id: str
    url: str
    nsfw: bool

    @property
    def index_in_name(self) -> int | None:
        """The `-<index>` suffix of the file name, from 0; the order of the list is not documented."""
        match = _INDEX_IN_FILE_NAME.search(self.url.split("?", 1)[0])
        return int(match.group(1)) if match else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The state of a job, from a poll or from the account's history.

    Attributes:
        created_at: UTC; None where the server sent none that can be read.
        moderation: Classifications such as `NSFW`; can be filled on a job that is COMPLETE.
        model: The server's own name of the model, which is not the one that a create sends; None where it names none.
    """

    id: str
    status: GenerationStatus
    created_at: datetime | None
    prompt: str
    width: int | None
    height: int | None
    seed: int | None
    images: tuple[GeneratedImage, ...]
    moderation: tuple[str, ...]
    model: str | None = None

    def may_still_bring(self, count: int) -> bool:
        """True where an end is not believed at once: fewer images than were asked for, or it failed and says nothing.

        A job was seen to be COMPLETE before all of its images were listed with their addresses, and FAILED before it was
        COMPLETE. What moderation refused stays refused.
        """
        if self.status is GenerationStatus.FAILED:
            return not self.moderation
        return len(self.images) < count


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPage:
    """One page of the account's history, as the server listed it.

    Attributes:
        generations: In the server's order, web-app ones included.
        api_now: The API's own clock when it answered (its `Date` header); None where it sent none.
    """

    generations: tuple[Generation, ...]
    api_now: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whose key it is and what it may do.

    Attributes:
        balance: What the API's own tokens amount to; web-app tokens do not pay for API calls. Its unit was credits on
            the one pay-as-you-go account that was seen (2026-09).
        slots: Generations at once; None where the server does not say.
    """

    user_id: str
    balance: Decimal | None
    slots: int | None


def order_images(images: tuple[GeneratedImage, ...], count: int) -> dict[int, GeneratedImage]:
    """Which of the `count` images asked for each delivered image is, by position from 0.

    The index in the file name decides where every image has a distinct one within range; else the order of the list. Of
    more images than were asked for the first count, by their index where every one has its own. Positions that nothing
    was delivered for are absent: withheld.
    """
    by_name = {index: image for image in images if (index := image.index_in_name) is not None}
    if len(by_name) < len(images):
        return dict(enumerate(images[:count]))
    named = dict(sorted(by_name.items()))
    if all(index < count for index in named):
        return named
    in_order = tuple(named.values()) if len(images) > count else images
    return dict(enumerate(in_order[:count]))
