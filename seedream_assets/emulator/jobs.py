"""One generation: what was ordered, how it will end, what has happened to it, and when the history lists it.

Slots, money and limits are in `account`, JSON names in `answers`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
import secrets
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, Literal

from seedream_assets.emulator.pictures import Looks
from seedream_assets.emulator.settings import LateImages, Listing

Status = Literal["PENDING", "COMPLETE", "FAILED"]

_TICKS_FROM_1582_TO_1970: Final = 0x01B21DD213814000
_SLUG_LENGTH: Final = 100


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference image as ordered; `content` is what makes two references the same picture."""

    type: str
    content: str
    strength: str | None


@dataclass(frozen=True, slots=True)
class Order:
    """The body of a valid create request, defaults filled in; `seed` is None when none was sent."""

    model: str
    prompt: str
    width: int
    height: int
    quantity: int
    seed: int | None
    style_ids: tuple[str, ...]
    prompt_enhance: str
    references: tuple[Reference, ...]
    public: bool

    def fingerprint(self) -> str:
        """Name what is bought: two orders with one fingerprint buy the same pictures twice. SHA-256, hex."""
        bought = asdict(replace(self, public=False))
        return hashlib.sha256(json.dumps(bought).encode()).hexdigest()

    def share(self) -> float:
        """A number from 0 to 1 that is the order's own, the same whenever the same is ordered."""
        return int(self.fingerprint()[:8], 16) / 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a generation will end, decided when it is accepted. The default is: as asked for."""

    failed: bool = False
    never_ends: bool = False
    nsfw: bool = False
    moderation: tuple[str, ...] = ()
    images: int | None = None
    """Images that are handed out, when fewer or more than were ordered."""
    late_seconds: float = 0.0
    """How long it is COMPLETE before all its images are listed and can be fetched."""
    late_images: LateImages = "empty"
    failed_first_seconds: float = 0.0
    """How long it is FAILED before it is COMPLETE."""
    looks: Looks = "own"
    poor_images: int | None = None
    """How many of them, from the lowest index, look like that; None: all."""

    def looks_of(self, index: int) -> Looks:
        """Say how one image comes out."""
        return self.looks if self.poor_images is None or index < self.poor_images else "own"


@dataclass(slots=True)
class Job:
    """An accepted generation. Times are seconds since 1970 on the emulator's clock."""

    generation_id: str
    order: Order
    outcome: Outcome
    seed: int
    credits: int
    key_fingerprint: str
    created_at: float
    starts_at: float
    ends_at: float
    image_ids: tuple[str, ...]
    number: int = 0
    """How many the account had made before."""
    billed: bool = True
    answered: bool = False
    deleted: bool = False
    refunded: bool = False
    polls: int = 0
    shown_at: float | None = None
    """When an answer first showed that it has ended."""
    downloads: Counter[int] = field(default_factory=Counter)

    def status(self, now: float) -> Status:
        """Say what a poll at `now` sees."""
        if self.outcome.never_ends or now < self.ends_at:
            return "PENDING"
        fails = self.outcome.failed or now < self.ends_at + self.outcome.failed_first_seconds
        return "FAILED" if fails else "COMPLETE"

    def note_shown(self, now: float) -> None:
        """Remember that a caller is shown the job at `now`."""
        if self.shown_at is None and self.status(now) != "PENDING":
            self.shown_at = now

    def lateness(self) -> float | None:
        """How long after its end a caller was first shown it, as a share of its time in a slot; None before that."""
        if self.shown_at is None or self.ends_at <= self.starts_at:
            return None
        return max(0.0, self.shown_at - self.ends_at) / (self.ends_at - self.starts_at)

    def indexes(self, now: float) -> Sequence[int]:
        """List the images that can be fetched at `now`. What moderation withholds is taken from the front."""
        if self.status(now) != "COMPLETE":
            return ()
        made = self._made()
        if not self._is_late(now):
            return made
        return made[: len(made) // 2] if self.outcome.late_images == "partial" else ()

    def without_address(self, now: float) -> Sequence[int]:
        """List the images that are shown at `now` and have no address yet."""
        shows = self.status(now) == "COMPLETE" and self.outcome.late_images == "no_url" and self._is_late(now)
        return self._made() if shows else ()

    def _made(self) -> range:
        ordered = self.order.quantity
        made = ordered if self.outcome.images is None else self.outcome.images
        return range(max(0, ordered - made), max(ordered, made))

    def _is_late(self, now: float) -> bool:
        return now < self.ends_at + self.outcome.failed_first_seconds + self.outcome.late_seconds

    def file_name(self, index: int) -> str:
        """Name an image the way the vendor's CDN does: model, slug of the prompt, index."""
        slug = re.sub(r"[^A-Za-z0-9]+", "_", self.order.prompt).strip("_")[:_SLUG_LENGTH] or "image"
        return f"{self.order.model}_{slug}-{index}.jpg"


def new_generation_id(now: float) -> str:
    """Make a UUID version 6 that carries `now`, as the vendor's v2 jobs do. RFC 9562, section 5.6."""
    ticks = int(now * 10_000_000) + _TICKS_FROM_1582_TO_1970
    high, middle, low = ticks >> 28, (ticks >> 12) & 0xFFFF, ticks & 0xFFF
    return str(uuid.UUID(int=high << 96 | middle << 80 | 0x6 << 76 | low << 64 | 0b10 << 62 | secrets.randbits(62)))


def list_page(
    listing: Listing, jobs: Sequence[Job], *, now: float, lag_seconds: float, offset: int, limit: int, read: int
) -> list[Job]:
    """One page of the history.

    Args:
        listing: What it lists, and how.
        jobs: Everything that the account has made, oldest first.
        now: The emulator's clock.
        lag_seconds: Age at which a generation shows at the earliest.
        offset: Entries to pass over.
        limit: The longest page.
        read: The number of this read of the history, from 1.
    """
    is_stale = listing.stale_every > 0 and read % listing.stale_every == 0
    seen_at = now - listing.stale_seconds if is_stale else now
    listed: Iterator[Job] = (job for job in reversed(jobs) if _is_listed(job, listing, now, seen_at, lag_seconds))
    if listing.depth:
        listed = itertools.islice(listed, listing.depth)
    if listing.order == "oldest_first":
        listed = reversed(list(listed))
    elif listing.order == "scattered":
        listed = iter(sorted(listed, key=lambda job: job.order.share()))
    elif listing.order == "shuffled":
        entries = list(listed)
        random.Random(read).shuffle(entries)
        listed = iter(entries)
    if listing.repeats:
        listed = (job for job in listed for _ in range(2))
    offset = 0 if listing.ignores_offset else offset
    return list(itertools.islice(listed, offset, offset + limit))


def _is_listed(job: Job, listing: Listing, now: float, seen_at: float, lag_seconds: float) -> bool:
    if listing.lag_spread_seconds:
        lag_seconds += listing.lag_spread_seconds * job.order.share()
    age = seen_at - job.created_at
    if job.deleted or age < lag_seconds or 0 <= age - listing.vanish_after_seconds < listing.vanish_seconds:
        return False
    if listing.lists == "complete":
        return job.status(now) == "COMPLETE"
    return listing.lists == "all" or (listing.lists == "web_app" and not job.billed)


def written_time(seconds: float) -> str:
    """Write a time as the vendor does: UTC, milliseconds, and no zone."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
