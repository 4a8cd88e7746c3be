"""One read of the newest page of the account's history takes the place of a poll of every job in flight.

While jobs are waited for, the page is read once in an interval: a tenth of the mean latency of the jobs that have ended
so far, within bounds. A job that the page does not show is polled by itself, at a slower pace.

Nothing depends on the history. Its order and the size of its pages are not promised; it may lag, fail, or be full of
other people's generations. Only good news is believed: a job COMPLETE with all its images. Any other end is polled
once, and the job's own poll has the last word.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean

from seedream_assets.config.retry import POLLS
from seedream_assets.config.waiting import Clock, Sleep
from seedream_assets.errors import LeonardoError
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.generations import Generation, GenerationStatus
from seedream_assets.leonardo.requests import GenerationRequest

# The largest page is not documented; 50 is what recovery reads. Jobs beyond it are polled by themselves.
PAGE = 50
# Of the mean latency. Half of an interval is how late an end is noticed on average.
SHARE_OF_LATENCY = 0.1
SHORTEST_INTERVAL_SECONDS = 0.25
LONGEST_INTERVAL_SECONDS = 10.0
# Until a job has ended. No figure for Seedream 4.0 is published; other clients first ask after 4 to 8 s.
FIRST_INTERVAL_SECONDS = 0.5
# An account that gets slower or faster is followed within so many jobs.
LATENCIES_REMEMBERED = 50
# A job is polled by itself when no sweep has shown it for so long: half of the mean latency.
INTERVALS_UNSEEN = 5
# And when sweeps have shown it as pending for so long, since they may be behind the times: twice the mean latency.
INTERVALS_UNPOLLED = 20
# The history is read no more after so many jobs in a row that had ended while it still showed them as pending.
MOST_BEHIND = 3
_LOG = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One job that is waited for. Times are the engine's clock.

    Attributes:
        is_fresh: True where it was submitted a moment ago: its latency is worth learning.
        polled_at: Its latest own poll that was answered, or when the waiting began.
        pending_at: The latest sweep that showed it as pending.
        poll_due_at: When it is to be polled whatever the sweeps show; None where that depends on them.
        ended: As a sweep showed it after its end.
        has_news: Set when `ended` has changed.
    """

    request: GenerationRequest
    generation_id: str
    is_fresh: bool
    began_at: float
    polled_at: float
    pending_at: float = -math.inf
    poll_due_at: float | None = None
    ended: Generation | None = None
    has_news: asyncio.Event = field(default_factory=asyncio.Event)


class HistorySweep:
    """Sweeps the history while any job is waited for.

    Args:
        client: Of the account.
        user_id: Whose history.
        enabled: False: the history is not read, and every job is polled by itself.
    """

    def __init__(
        self,
        *,
        client: LeonardoClient,
        user_id: str,
        enabled: bool,
        sleep: Sleep,
        clock: Clock,
    ) -> None:
        self._client = client
        self._user_id = user_id
        self._enabled = enabled
        self._sleep = sleep
        self._clock = clock
        self._jobs: dict[str, Job] = {}
        self._latencies: deque[float] = deque(maxlen=LATENCIES_REMEMBERED)
        self._sweeping: asyncio.Task[None] | None = None
        self._swept_at = -math.inf
        self._behind = 0

    def __len__(self) -> int:
        """How many jobs are waited for."""
        return len(self._jobs)

    @property
    def interval_seconds(self) -> float:
        """Between two sweeps."""
        if not self._latencies:
            return FIRST_INTERVAL_SECONDS
        interval = fmean(self._latencies) * SHARE_OF_LATENCY
        return min(max(interval, SHORTEST_INTERVAL_SECONDS), LONGEST_INTERVAL_SECONDS)

    @contextmanager
    def watching(self, request: GenerationRequest, generation_id: str, *, fresh: bool) -> Iterator[Job]:
        """Look for a job in every sweep inside the block. One that is not fresh is polled at once."""
        now = self._clock()
        job = Job(request=request, generation_id=generation_id, is_fresh=fresh, began_at=now, polled_at=now)
        job.poll_due_at = None if fresh else now
        self._jobs[generation_id] = job
        if self._enabled and (self._sweeping is None or self._sweeping.done()):
            self._sweeping = asyncio.create_task(self._keep_sweeping(), name="history sweep")
            self._sweeping.add_done_callback(_log_surprise)
        try:
            yield job
        finally:
            del self._jobs[generation_id]
            if not self._jobs and self._sweeping is not None:
                self._sweeping.cancel()
                self._sweeping = None

    def poll_at(self, job: Job) -> float:
        """When the job is to be polled by itself."""
        if job.poll_due_at is not None:
            return job.poll_due_at
        interval = self.interval_seconds
        unseen = max(job.polled_at, job.pending_at) + INTERVALS_UNSEEN * interval
        return min(unseen, job.polled_at + INTERVALS_UNPOLLED * interval)

    def note_end(self, job: Job, *, by_sweep: bool) -> None:
        """Learn from a job that was just found to have ended."""
        if job.is_fresh:
            self._latencies.append(self._clock() - job.began_at)
        if by_sweep:
            self._behind = 0
        elif job.ended is None and job.polled_at < job.pending_at == self._swept_at:
            self._behind += 1
            if self._behind >= MOST_BEHIND and self._enabled:
                self._enabled = False
                _LOG.warning("the account's history is behind the times; every job is polled by itself from now on")

    async def _keep_sweeping(self) -> None:
        failures, wait = 0, self.interval_seconds
        while self._enabled:
            await self._sleep(wait)
            try:
                await self._sweep()
            except LeonardoError as error:
                # The jobs' own polls report what is wrong, if anything is.
                failures += 1
                wait = max(self.interval_seconds, POLLS.wait_seconds(failures, error))
            else:
                failures, wait = 0, self.interval_seconds

    async def _sweep(self) -> None:
        began = self._clock()
        page = await self._client.read_history(self._user_id, offset=0, limit=PAGE)
        self._swept_at = began
        for generation in page.generations:
            job = self._jobs.get(generation.id)
            if job is None:
                continue
            if generation.status is GenerationStatus.PENDING:
                job.pending_at = began
            elif job.ended is None or is_whole(generation, job.request):
                job.ended = generation
                job.has_news.set()


def is_whole(generation: Generation, request: GenerationRequest) -> bool:
    """True where an entry of the history says everything that a job's own poll could say."""
    return (
        generation.status is GenerationStatus.COMPLETE
        and len(generation.images) == request.count
        and all(image.id and image.url for image in generation.images)
    )


def _log_surprise(sweeping: asyncio.Task[None]) -> None:
    if not sweeping.cancelled() and (error := sweeping.exception()) is not None:
        _LOG.error("reading the account's history: %s", error, exc_info=error)
