"""The account: who may ask and how often, what it costs, where the jobs are, and what was bought and billed.

State and the rules that change it, under one lock, on an injected clock, and the bill drawn up from it. HTTP is in
`api`, JSON names of answers in `answers`.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import random
import secrets
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any, Final

from seedream_assets.emulator.faults import Fault, FaultScript, decide
from seedream_assets.emulator.jobs import Job, Order, Outcome, list_page, new_generation_id, written_time
from seedream_assets.emulator.settings import LARGEST_SEED, UUID_PATTERN, EmulatorSettings
from seedream_assets.emulator.uploads import InitImage, InitImages
from seedream_assets.emulator.validation import UPLOADED_TYPES

WINDOW_SECONDS: Final = 60.0


@dataclass(slots=True)
class MinuteWindow:
    """At most `limit` admissions in any 60 seconds; 0 admits everything."""

    limit: int
    _admitted: deque[float] = field(default_factory=deque)

    def wait_seconds(self, now: float) -> float:
        """Admit and return 0, or say how long until there is room."""
        if not self.limit:
            return 0.0
        admitted = self._admitted
        while admitted and admitted[0] <= now - WINDOW_SECONDS:
            admitted.popleft()
        if len(admitted) < self.limit:
            admitted.append(now)
            return 0.0
        return admitted[0] + WINDOW_SECONDS - now


class Slots:
    """Generation slots, first come first served.

    How long a job takes is known when it arrives, so its start and end are too: nothing ever has to tick.
    """

    def __init__(self, count: int) -> None:
        """Open `count` slots, all free."""
        self._free_at = [float("-inf")] * count
        self._ends: list[float] = []

    def occupy(self, now: float, seconds: float) -> tuple[float, float]:
        """Queue a job of this length; return when it starts and when it ends."""
        starts = max(now, self._free_at[0])
        ends = starts + seconds
        heapq.heapreplace(self._free_at, ends)
        heapq.heappush(self._ends, ends)
        return starts, ends

    def pending(self, now: float) -> int:
        """Count the jobs queued or running."""
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        return len(self._ends)


_REQUESTS: Final = {
    "creates": "create",
    "polls": "poll",
    "history": "history",
    "me": "me",
    "init_images": "init_image",
    "uploads": "upload",
    "downloads": "download",
}


def _slot_use(jobs: Sequence[Job], now: float, slots: int) -> dict[str, Any]:
    """Busy slot-seconds over what the slots could have done between the first create and the last completion."""
    if not jobs:
        return {"first_create": None, "last_completion": None, "slot_use": 0.0}
    first = jobs[0].created_at
    last = max((job.ends_at for job in jobs if job.ends_at <= now), default=None)
    until = now if last is None or any(job.ends_at > now for job in jobs) else last
    busy = sum(max(0.0, min(job.ends_at, until) - job.starts_at) for job in jobs)
    possible = slots * (until - first)
    return {
        "first_create": first,
        "last_completion": last,
        "slot_use": busy / possible if possible > 0 else 0.0,
    }


def _line(job: Job, now: float) -> dict[str, Any]:
    """One generation in the bill's details."""
    return {
        "generation_id": job.generation_id,
        "request": job.order.fingerprint(),
        **asdict(job.order),
        "style_ids": list(job.order.style_ids),
        "references": [asdict(reference) for reference in job.order.references],
        "seed_used": job.seed,
        "credits": job.credits,
        "refunded": job.refunded,
        "key": job.key_fingerprint,
        "status": job.status(now),
        "created_at": written_time(job.created_at),
        "created": job.created_at,
        "started": job.starts_at,
        "ended": None if job.outcome.never_ends else job.ends_at,
        "answered": job.answered,
        "deleted": job.deleted,
        "polls": job.polls,
        "image_ids": list(job.image_ids),
        "downloads": {str(index): times for index, times in sorted(job.downloads.items())},
    }


class RefusedError(Exception):
    """The account says no: an HTTP status, the flat error's text and code, and perhaps when to ask again."""

    def __init__(self, status: int, message: str, code: str = "unexpected", retry_after: float | None = None) -> None:
        """Keep what the answer needs."""
        super().__init__(message)
        self.status, self.message, self.code, self.retry_after = status, message, code, retry_after


class Account:
    """One account with an exact bill. Safe to use from the test's thread while the server runs in another."""

    def __init__(self, settings: EmulatorSettings, clock: Callable[[], float] = time.time) -> None:
        """Open the account with its whole balance and nothing bought."""
        self.settings = settings
        self.clock = clock
        self.script = FaultScript(settings.random_seed)
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self._lock = threading.RLock()
        self._random = random.Random(settings.random_seed)
        self._slots = Slots(settings.slots)
        self._requests = MinuteWindow(settings.requests_per_minute)
        self._creates = MinuteWindow(settings.creates_per_minute)
        self._jobs: dict[str, Job] = {}
        self._in_order: list[Job] = []
        self._image_ids: dict[str, Job] = {}
        self._unrefunded: list[Job] = []
        self._init_images = InitImages(settings.user_id)
        self._balance_credits = settings.balance_credits
        self._history_reads = 0
        self._web_app = random.Random(f"web app {settings.random_seed}")

    def change(self, /, **settings: Any) -> None:
        """Let the account behave otherwise from now on; see `EmulatorSettings.changed`."""
        with self._lock:
            self.settings = self.settings.changed(settings)

    def age(self, seconds: float) -> None:
        """Let everything that was made be older, as though so much time had passed since."""
        with self._lock:
            for job in self._in_order:
                job.created_at -= seconds
                job.starts_at -= seconds
                job.ends_at -= seconds

    # Who may ask, and how often

    def count(self, what: str) -> None:
        """Count a call or an incident for the bill."""
        with self._lock:
            self.counts[what] += 1

    def note_violation(self, what: str, *, leak: bool = False) -> None:
        """Write down something that no well-behaved client does; a leak is a key sent where it must not go."""
        with self._lock:
            self.violations.append(what)
            self.counts["auth_leak"] += leak

    def admit(self, authorization: str | None, *, creates: bool) -> str:
        """Check the key and the limits per minute; return the key's fingerprint.

        Raises:
            RefusedError: 401 for a missing or unknown key, 500 for a malformed one (a quirk), 429 over a limit.
        """
        scheme, _, key = (authorization or "").partition(" ")
        if not authorization or scheme.lower() != "bearer":
            raise RefusedError(401, "Authentication hook unauthorized this request", "access-denied")
        if not UUID_PATTERN.fullmatch(key):
            raise RefusedError(500, "Invalid response from authorization hook")
        if self.settings.keys and key.lower() not in {known.lower() for known in self.settings.keys}:
            raise RefusedError(401, "Authentication hook unauthorized this request", "access-denied")
        with self._lock:
            now = self.clock()
            wait = self._requests.wait_seconds(now) or (self._creates.wait_seconds(now) if creates else 0.0)
        if wait:
            raise self.too_many("Too many requests", wait if self.settings.retry_after_header else None)
        return fingerprint_of(key)

    def too_many(self, message: str, retry_after: float | None) -> RefusedError:
        """Count a 429 and hand it out."""
        self.count("rate_limited")
        return RefusedError(429, message, retry_after=retry_after)

    # Generations

    def create(self, order: Order, key_fingerprint: str, fault: Fault | None = None) -> Job:
        """Accept a generation and charge it.

        Raises:
            ModeratedError: The prompt is blocked.
            RefusedError: 402 when the balance cannot pay it, 429 when too many generations are pending.
        """
        outcome = decide(order, self.settings, fault)
        with self._lock:
            now = self.clock()
            cost_credits = order.quantity * self._price(fault)
            if cost_credits > self._settled_balance(now):
                raise RefusedError(402, "Insufficient balance")
            if self._slots.pending(now) >= self.settings.pending_limit:
                raise self.too_many("Maximum number of pending generations reached", None)
            self._balance_credits -= cost_credits
            starts_at, ends_at = self._slots.occupy(now, self._latency_seconds())
            job = self._keep(order, outcome, key_fingerprint, cost_credits, (now, starts_at, ends_at))
            if self.settings.web_app_share and self._web_app.random() < self.settings.web_app_share:
                self.add_web_app_generation(self._order_in_web_app(order))
            return job

    def add_web_app_generation(self, order: Order) -> Job:
        """Put a generation into the history that was made in the web app: finished, not billed, not ours."""
        with self._lock:
            now = self.clock()
            job = self._keep(order, Outcome(), "web-app", 0, (now, now, now))
            job.billed = False
            return job

    def poll(self, generation_id: str) -> Job | None:
        """Find a generation for a poll, and count the poll in it."""
        with self._lock:
            job = self.job(generation_id)
            if job is not None:
                job.polls += 1
                job.note_shown(self.clock())
            return job

    def job(self, generation_id: str) -> Job | None:
        """Find a generation that has not been deleted."""
        job = self._jobs.get(generation_id.lower())
        return None if job is None or job.deleted else job

    def jobs(self) -> list[Job]:
        """Every generation of the account, oldest first, deleted ones and web-app ones included."""
        with self._lock:
            return list(self._in_order)

    def delete(self, generation_id: str) -> Job | None:
        """Hide a generation. Its slot stays busy and its price stays paid: neither is documented otherwise."""
        with self._lock:
            job = self.job(generation_id)
            if job is not None:
                job.deleted = True
            return job

    def history(self, offset: int, limit: int) -> list[Job]:
        """List generations as the settings say: by default newest first, once they are old enough to be visible."""
        with self._lock:
            now = self.clock()
            self._history_reads += 1
            page = list_page(
                self.settings.listing,
                self._in_order,
                now=now,
                lag_seconds=self.settings.history_lag_seconds,
                offset=offset,
                limit=min(limit, self.settings.history_limit),
                read=self._history_reads,
            )
            for job in page:
                job.note_shown(now)
            return page

    def balance_credits(self) -> int:
        """Say what is left, refunds of failed generations included."""
        with self._lock:
            return self._settled_balance(self.clock())

    def top_up(self, credits_added: int) -> None:
        """Pay more credits in."""
        with self._lock:
            self._balance_credits += credits_added

    def note_answered(self, job: Job) -> None:
        """Remember that a create's answer was sent whole."""
        job.answered = True

    def note_download(self, job: Job, index: int) -> None:
        """Remember that an image was sent whole."""
        with self._lock:
            job.downloads[index] += 1
            if self.settings.deletes_downloaded and set(job.indexes(self.clock())) <= set(job.downloads):
                job.deleted = True

    # Reference images

    def issue_init_image(self, extension: str) -> InitImage:
        """Promise a place for a reference image."""
        with self._lock:
            return self._init_images.issue(extension, self.clock())

    def receive_upload(self, parts: Sequence[tuple[str, bytes]]) -> InitImage:
        """Take the bytes of a reference image; UploadRefusedError passes through."""
        with self._lock:
            image = self._init_images.receive(parts, self.clock())
            if not image.matches_extension:
                self.violations.append(f"upload is not {image.content_type}")
            return image

    def reference_content(self, type_: str, identity: str) -> str | None:
        """Name the picture behind a reference id, by content where there is any; None when it cannot be used."""
        if type_ in UPLOADED_TYPES:
            image = self._init_images.get(identity)
            return image.sha256 if image else None
        job = self._image_ids.get(identity)
        if job is None or job.deleted:
            return None
        available = [job.image_ids[index] for index in job.indexes(self.clock())]
        return identity if identity in available else None

    # The script and the bill

    def add_fault(self, operation: str, kind: str, **options: Any) -> Fault:
        """Let something go wrong from now on.

        Args:
            operation: One of `OPERATIONS`.
            kind: One of `KINDS`.
            options: Other fields of `Fault`; its parameters are those of the kind.

        Raises:
            ValueError: There is no such fault.
        """
        fault = Fault.model_validate({"operation": operation, "kind": kind, **options})
        self.script.add(fault)
        return fault

    def clear_faults(self) -> None:
        """Let nothing go wrong any more."""
        self.script.clear()

    def bill(self, *, details: bool = True) -> dict[str, Any]:
        """Sum up every billed generation, as it stands now.

        Returns:
            `credits` is everything charged, `refunded` what came back of it, `net_credits` the difference.
            `duplicates` counts generations beyond the first with one `Order.fingerprint`; `unanswered` those whose
            create answer never went out whole. `images` were ordered and charged, `images_available` can be downloaded
            now, `images_downloaded` of them were sent whole at least once. `reads_per_generation` counts polls and
            pages of history together; `median_lateness` is how long after its end a caller was first shown a job, as a
            share of the time the job occupied a slot, None where none was shown yet.
        """
        with self._lock:
            now = self.clock()
            jobs = [job for job in self._in_order if job.billed]
            orders = Counter(job.order.fingerprint() for job in jobs)
            charged = sum(job.credits for job in jobs)
            balance_credits = self._settled_balance(now)
            refunded = sum(job.credits for job in jobs if job.refunded)
            lateness = [share for job in jobs if (share := job.lateness()) is not None]
            counts = self.counts
            bill: dict[str, Any] = {
                "credits": charged,
                "refunded": refunded,
                "net_credits": charged - refunded,
                "balance_credits": balance_credits,
                "generations": len(jobs),
                "images": sum(job.order.quantity for job in jobs),
                "images_available": sum(len(job.indexes(now)) for job in jobs),
                "images_downloaded": sum(len(job.downloads) for job in jobs),
                "duplicates": len(jobs) - len(orders),
                "unanswered": sum(not job.answered for job in jobs),
                "statuses": dict(Counter(job.status(now) for job in jobs)),
                "requests": {name: counts[operation] for name, operation in _REQUESTS.items()},
                "rate_limited": counts["rate_limited"],
                "invalid_creates": counts["invalid_create"],
                "blocked": counts["blocked"],
                "auth_leaks": counts["auth_leak"],
                "violations": list(self.violations),
                "faults_played": dict(self.script.played),
                "polls_per_generation": sum(job.polls for job in jobs) / len(jobs) if jobs else 0.0,
                "reads_per_generation": (counts["poll"] + counts["history"]) / len(jobs) if jobs else 0.0,
                "median_lateness": median(lateness) if lateness else None,
                **_slot_use(jobs, now, self.settings.slots),
            }
            if details:
                bill["by_request"] = dict(orders)
                bill["details"] = [_line(job, now) for job in jobs]
            return bill

    # Inside

    def _keep(
        self, order: Order, outcome: Outcome, key_fingerprint: str, cost_credits: int, times: tuple[float, float, float]
    ) -> Job:
        created_at, starts_at, ends_at = times
        if self._in_order:  # A clock that is set back must not put the history out of order.
            created_at = max(created_at, self._in_order[-1].created_at)
        job = Job(
            generation_id=new_generation_id(created_at + self.settings.reporting.clock_ahead_seconds),
            order=order,
            outcome=outcome,
            seed=secrets.randbelow(LARGEST_SEED) if order.seed is None else order.seed,
            credits=cost_credits,
            key_fingerprint=key_fingerprint,
            created_at=created_at,
            starts_at=starts_at,
            ends_at=ends_at,
            image_ids=tuple(str(uuid.uuid4()) for _ in range(max(order.quantity, outcome.images or 0))),
            number=len(self._in_order),
        )
        self._jobs[job.generation_id] = job
        self._in_order.append(job)
        self._image_ids.update(dict.fromkeys(job.image_ids, job))
        if outcome.failed and not outcome.never_ends:
            self._unrefunded.append(job)
        return job

    def _price(self, fault: Fault | None) -> int:
        """Credits of one image of the generation that comes next."""
        if fault is not None and fault.kind == "price":
            return fault.credits_per_image
        cycle = self.settings.price_cycle or (self.settings.credits_per_image,)
        return cycle[sum(job.billed for job in self._in_order) % len(cycle)]

    def _order_in_web_app(self, before: Order) -> Order:
        prompt = before.prompt
        if self.settings.web_app_prompt == "own":
            prompt = f"A picture of my own, {self._web_app.random()}"
        seed = self._web_app.randrange(LARGEST_SEED)
        return replace(before, prompt=prompt, quantity=1, seed=seed, references=())

    def _latency_seconds(self) -> float:
        median, sigma = self.settings.latency_seconds, self.settings.latency_sigma
        return median * math.exp(sigma * self._random.gauss(0.0, 1.0)) if median else 0.0

    def _settled_balance(self, now: float) -> int:
        for job in self._unrefunded:
            if job.ends_at <= now:
                job.refunded = True
                self._balance_credits += job.credits
        self._unrefunded = [job for job in self._unrefunded if not job.refunded]
        return self._balance_credits


def fingerprint_of(key: str) -> str:
    """Name a key without showing it."""
    return hashlib.sha256(key.lower().encode()).hexdigest()[:12]
