"""One page of the account's history tells of every job in flight: a look at it takes the place of many polls.

Nothing rests on it. Order and page size of the real history are not promised, it may lag, fail, or be full of others'
generations; so every job keeps its own poll (`InFlight.poll_at`), which comes when no look has told of the job in time.
A look that helps nobody makes the next one rarer, and a history found behind the times is not looked at again.

Only good news is believed: a job COMPLETE with all its images. Whatever else has ended is polled once for the last word.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from seedream_assets.config.waiting import Clock, Sleep
from seedream_assets.errors import LeonardoError
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.generations import Generation, GenerationStatus
from seedream_assets.leonardo.requests import GenerationRequest
from seedream_assets.purchase.in_flight import InFlight, Job
from seedream_assets.purchase.patience import LONGEST_WAIT_SECONDS, SHORTEST_WAIT_SECONDS, Patience

# The largest page is not documented; 50 is what recovery reads. Jobs beyond the last page are polled one by one.
PAGE = 50
MOST_PAGES = 4
# A look comes when so many jobs have probably ended since the last: that alone keeps reads at 1.5 for each job.
ENDS_FOR_A_LOOK = 0.65
# But not oftener: half of it is how late an end is noticed, 5 % of the latency.
SHARE_BETWEEN_LOOKS = 0.1
LONGEST_PAUSE_SECONDS = 300.0
# So many late jobs in a row that had ended while the history still showed them pending.
MOST_BEHIND = 3
_LOG = logging.getLogger(__name__)


class BulkPolling:
    """Watches jobs in flight, and tells each as soon as a look at the history shows its end.

    Args:
        client: Of the account.
        user_id: Whose history.
        in_flight: The jobs.
        patience: Their latencies.
        enabled: False: nobody looks, and every job is polled by itself.
    """

    def __init__(
        self,
        *,
        client: LeonardoClient,
        user_id: str,
        in_flight: InFlight,
        patience: Patience,
        enabled: bool,
        sleep: Sleep,
        clock: Clock,
    ) -> None:
        self._client = client
        self._user_id = user_id
        self.in_flight = in_flight
        self._patience = patience
        self._enabled = enabled
        self._sleep = sleep
        self._clock = clock
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")
        self._pages = 1
        self._in_vain = 0
        self._behind = 0

    @contextmanager
    def watching(self, request: GenerationRequest, generation_id: str, *, fresh: bool) -> Iterator[Job]:
        """Watch a job inside the block."""
        job = self.in_flight.enter(request, generation_id, now=self._clock(), fresh=fresh)
        self._begin_looking()
        try:
            yield job
        finally:
            self.in_flight.leave(job, at=self._clock())
            if not len(self.in_flight) and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    def note_end_by_poll(self, job: Job) -> None:
        """A job's own poll was the first to show its end. Where it came because the job is late, the looks are behind."""
        started_at = job.entered_at if job.started_at is None else job.started_at
        is_late = job.pending_until - started_at > self._patience.late_seconds(job.request)
        if is_late and job.pending_until > job.polled_at and not job.has_ended:
            self._behind += 1
            if self._behind >= MOST_BEHIND and self._enabled:
                self._enabled = False
                _LOG.warning("the account's history is behind the times; every job is polled by itself from now on")
        self.in_flight.end(job, by=self._clock())

    def _begin_looking(self) -> None:
        if self._enabled and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._keep_looking(), name="bulk polling")
            self._looking.add_done_callback(_tell_surprise)

    async def _keep_looking(self) -> None:
        while self._enabled:
            wait = self._next_look_at() - self._clock()
            # Jobs that start meanwhile may make a look due earlier.
            await self._sleep(min(max(wait, 0.01), SHORTEST_WAIT_SECONDS))
            # For a single job, its own poll says more.
            is_of_use = len(self.in_flight) > 1 or any(job.poll_fails for job in self.in_flight)
            if wait <= SHORTEST_WAIT_SECONDS and is_of_use:
                await self._look()

    def _next_look_at(self) -> float:
        """When a look has probably something to tell."""
        running = self.in_flight.running()
        if not running:
            return self._clock() + LONGEST_WAIT_SECONDS
        between = min(self._patience.median_seconds(job.request) for job in running) * SHARE_BETWEEN_LOOKS
        between = min(between * 4.0**self._in_vain, LONGEST_PAUSE_SECONDS)
        earliest = self._looked_at + max(between, SHORTEST_WAIT_SECONDS)
        wanted = ENDS_FOR_A_LOOK * self._pages
        soon, late = self._clock(), self._clock() + LONGEST_WAIT_SECONDS
        if self._ends_by(running, soon) >= wanted:
            return max(earliest, soon)
        while late - soon > SHORTEST_WAIT_SECONDS / 4:
            middle = (soon + late) / 2
            soon, late = (soon, middle) if self._ends_by(running, middle) >= wanted else (middle, late)
        return max(earliest, late)

    def _ends_by(self, running: list[Job], moment: float) -> float:
        total = 0.0
        for job in running:
            start = moment if job.started_at is None else job.started_at
            after = max(0.0, job.pending_until - start)
            total += self._patience.chance_of_end(job.request, after=after, until=moment - start)
        return total

    async def _look(self) -> None:
        began = self._looked_at = self._clock()
        shown: set[str] = set()
        running = {job.generation_id for job in self.in_flight.running()}
        pages = offset = 0
        try:
            while pages < MOST_PAGES:
                page = (await self._client.read_history(self._user_id, offset=offset, limit=PAGE)).generations
                pages, offset = pages + 1, offset + len(page)
                found = [generation for generation in page if self._note(generation, began)]
                shown.update(generation.id for generation in found)
                if not found or running <= shown:
                    break
        except LeonardoError:
            # Only a look: the jobs' own polls say what is wrong, if anything is.
            self._in_vain += 1
            return
        self._pages = max(1, pages)
        self._in_vain = 0 if 2 * len(running & shown) >= len(running) else self._in_vain + 1

    def _note(self, generation: Generation, began: float) -> bool:
        """Tell a job of ours what the history shows of it; False where it is not ours."""
        job = next((job for job in self.in_flight if job.generation_id == generation.id), None)
        if job is None:
            return False
        if generation.status is GenerationStatus.PENDING:
            self.in_flight.note_pending(job, at=began, polled=False)
        elif not job.told.done():
            self._behind = 0
            self.in_flight.end(job, by=self._clock())
            job.told.set_result(generation)
        return True


def tells_all(generation: Generation, request: GenerationRequest) -> bool:
    """True where an entry of the history says everything that a job's own poll could say."""
    return (
        generation.status is GenerationStatus.COMPLETE
        and len(generation.images) == request.count
        and all(image.id and image.url for image in generation.images)
    )


def _tell_surprise(looking: asyncio.Task[None]) -> None:
    if not looking.cancelled() and (error := looking.exception()) is not None:
        _LOG.error("looking at the account's history: %s", error, exc_info=error)
