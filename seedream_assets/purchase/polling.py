"""Waiting for the end of a job that is paid for, with few reads.

While jobs are waited for, one sweep of the history's newest page in each interval shows the ends of many at once; the
interval is a tenth of the mean latency of the jobs that have ended so far, within bounds. A job that the sweeps do not
show is polled by itself, at a slower fixed pace. Requests that wait in Leonardo's own queue keep the slots busy until
an end is noticed.

Nothing depends on the history. Its order and the size of its pages are not promised; it may lag, fail, or be full of
other people's generations. Only good news is believed: a job COMPLETE with all its images. Any other end is polled
once, and the job's own poll has the last word.

An end need not be the last word either: images can be listed late, and a job can be FAILED before it is COMPLETE.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from statistics import fmean

from seedream_assets.config.retry import POLLS, Clock, Sleep, format_seconds
from seedream_assets.errors import LeonardoError, LeonardoUnavailable, RateLimited
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
# And when sweeps have shown it as pending for so long, since they may be behind: twice the mean latency.
INTERVALS_UNPOLLED = 20
# The history is read no more after so many jobs in a row that had ended while it still showed them as pending.
MOST_BEHIND = 3
# A fresh job can take a moment to be found; one that stays unknown was deleted.
UNKNOWN_FOR_SECONDS = 60.0
# A job that FAILED and does not say why may still become COMPLETE, for so long.
FAILED_SETTLE_SECONDS = 30.0
# Between two polls for missing images; each wait is half as long again as the one before.
FIRST_LATE_WAIT_SECONDS = 1.0
LONGEST_LATE_WAIT_SECONDS = 20.0
LATE_WAIT_GROWTH = 1.5
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeftForLater:
    """A job that is paid for and has not ended as far as this run could see; the next run goes on with it."""

    reason: str


Polled = Generation | LeftForLater


@dataclass(slots=True, kw_only=True, eq=False)
class _Job:
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
    is_fresh: bool
    began_at: float
    polled_at: float
    pending_at: float = -math.inf
    poll_due_at: float | None = None
    ended: Generation | None = None
    has_news: asyncio.Event = field(default_factory=asyncio.Event)


class Polling:
    """Waits for ends.

    Args:
        client, user_id: The account, and whose history is swept.
        sweeps: False: the history is not read, and every job is polled by itself.
        give_up_after_seconds: The longest wait for one job.
        settle_images_seconds: How long a job with missing images is polled again.
        sleep: Between two sweeps.
        pause: A wait that ends early when the run is to end.
        stopping: True once the run is to end.
    """

    def __init__(
        self,
        *,
        client: LeonardoClient,
        user_id: str,
        sweeps: bool,
        give_up_after_seconds: float,
        settle_images_seconds: float,
        sleep: Sleep,
        pause: Sleep,
        clock: Clock,
        stopping: Callable[[], bool],
    ) -> None:
        self._client = client
        self._user_id = user_id
        self._sweeps = sweeps
        self._give_up_after_seconds = give_up_after_seconds
        self._settle_images_seconds = settle_images_seconds
        self._sleep = sleep
        self._pause = pause
        self._clock = clock
        self._stopping = stopping
        self._jobs: dict[str, _Job] = {}
        self._latencies: deque[float] = deque(maxlen=LATENCIES_REMEMBERED)
        self._sweeping: asyncio.Task[None] | None = None
        self._swept_at = -math.inf
        self._behind = 0
        # Jobs that are polled again for missing images, with the moment until which they are.
        self._late: dict[str, float] = {}

    @property
    def jobs(self) -> int:
        """How many jobs are waited for."""
        return len(self._jobs)

    @property
    def waiting(self) -> str | None:
        """A message on the jobs that are polled again, with the longest time that this may take; None where none is."""
        if not self._late:
            return None
        left = format_seconds(max(0.0, max(self._late.values()) - self._clock()))
        jobs = "1 finished job" if len(self._late) == 1 else f"{len(self._late)} finished jobs"
        return f"{jobs} polled again for missing images, for up to {left}"

    # The end of a job

    async def wait_for_end(self, request: GenerationRequest, generation_id: str, *, fresh: bool) -> Polled:
        """Wait until the job has ended. Polls that fail are repeated.

        Args:
            request: As it was bought.
            generation_id: Its job.
            fresh: True where it was submitted a moment ago; else it is polled at once.

        Returns:
            The ended job, or why it is left for the next run.
        """
        give_up_at, unknown_since, failures = self._clock() + self._give_up_after_seconds, math.inf, 0
        with self._watching(request, generation_id, fresh=fresh) as job:
            while self._clock() < give_up_at:
                await self._wait_for_news(job, give_up_at)
                if job.ended is not None and _is_whole(job.ended, request):
                    self._learn(job, by_sweep=True)
                    return job.ended
                asked_at = self._clock()
                try:
                    generation = await self._client.read_generation(generation_id)
                except (LeonardoUnavailable, RateLimited) as error:
                    failures += 1
                    job.poll_due_at = self._clock() + POLLS.wait_seconds(failures, error)
                    continue
                if generation is not None and generation.status is not GenerationStatus.PENDING:
                    self._learn(job, by_sweep=False)
                    return generation
                failures, job.polled_at, job.poll_due_at = 0, asked_at, None
                unknown_since = min(unknown_since, asked_at) if generation is None else math.inf
                if asked_at - unknown_since > UNKNOWN_FOR_SECONDS:
                    return _unknown(request, generation_id)
        return LeftForLater(f"not finished after {self._give_up_after_seconds:g} s; the next run goes on polling")

    @contextmanager
    def _watching(self, request: GenerationRequest, generation_id: str, *, fresh: bool) -> Iterator[_Job]:
        """Sweep as long as any job is waited for. One that is not fresh is polled at once."""
        now = self._clock()
        job = _Job(request=request, is_fresh=fresh, began_at=now, polled_at=now, poll_due_at=None if fresh else now)
        self._jobs[generation_id] = job
        if self._sweeps and (self._sweeping is None or self._sweeping.done()):
            self._sweeping = asyncio.create_task(self._keep_sweeping(), name="history sweep")
            self._sweeping.add_done_callback(_log_surprise)
        try:
            yield job
        finally:
            del self._jobs[generation_id]
            if not self._jobs and self._sweeping is not None:
                self._sweeping.cancel()
                self._sweeping = None

    async def _wait_for_news(self, job: _Job, latest: float) -> None:
        """Wait until a sweep shows the job's end, or else until its own poll is due."""
        while not job.has_news.is_set():
            seconds = min(self._poll_at(job), latest) - self._clock()
            if seconds <= 0:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(job.has_news.wait(), seconds)
        job.has_news.clear()

    def _poll_at(self, job: _Job) -> float:
        """When the job is to be polled by itself."""
        if job.poll_due_at is not None:
            return job.poll_due_at
        interval = self._interval_seconds
        unseen = max(job.polled_at, job.pending_at) + INTERVALS_UNSEEN * interval
        return min(unseen, job.polled_at + INTERVALS_UNPOLLED * interval)

    def _learn(self, job: _Job, *, by_sweep: bool) -> None:
        """Learn from a job that was just found to have ended: the latency, and what the history is worth."""
        if job.is_fresh:
            self._latencies.append(self._clock() - job.began_at)
        if by_sweep:
            self._behind = 0
        elif job.ended is None and job.polled_at < job.pending_at == self._swept_at:
            self._behind += 1
            if self._behind >= MOST_BEHIND and self._sweeps:
                self._sweeps = False
                _LOG.warning("the account's history is behind; every job is polled by itself from now on")

    # Sweeps

    @property
    def _interval_seconds(self) -> float:
        """Between two sweeps."""
        if not self._latencies:
            return FIRST_INTERVAL_SECONDS
        interval = fmean(self._latencies) * SHARE_OF_LATENCY
        return min(max(interval, SHORTEST_INTERVAL_SECONDS), LONGEST_INTERVAL_SECONDS)

    async def _keep_sweeping(self) -> None:
        failures, wait = 0, self._interval_seconds
        while self._sweeps:
            await self._sleep(wait)
            try:
                await self._sweep()
            except LeonardoError as error:
                # The jobs' own polls report what is wrong, if anything is.
                failures += 1
                wait = max(self._interval_seconds, POLLS.wait_seconds(failures, error))
            else:
                failures, wait = 0, self._interval_seconds

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
            elif job.ended is None or _is_whole(generation, job.request):
                job.ended = generation
                job.has_news.set()

    # Images that come late

    async def wait_for_images(self, request: GenerationRequest, generation: Generation) -> Polled:
        """Poll again after an end that need not be the last word, at growing intervals. The job needs no slot any more.

        An end is final once a poll that was sent after the settling time still shows the same. Where the run is to end,
        or the API does not answer, the job is left as it is.

        Args:
            request: As it was bought.
            generation: As it was seen to have ended.

        Returns:
            The job as it is final, or why it is left for the next run.
        """
        began = self._clock()
        self._late[generation.id] = began + self._settle_seconds(generation)
        try:
            return await self._poll_again(request, generation, began)
        finally:
            self._late.pop(generation.id, None)

    async def _poll_again(self, request: GenerationRequest, generation: Generation, began: float) -> Polled:
        asked_at = began
        unknown_since, failures, wait = math.inf, 0, FIRST_LATE_WAIT_SECONDS
        while generation.may_still_bring(request.count) and asked_at - began < self._settle_seconds(generation):
            left = self._settle_seconds(generation) - (self._clock() - began)
            await self._pause(min(wait, left) if left > 0 else wait)
            if self._stopping():
                return LeftForLater("stopped while images were missing that may still come; the next run goes on here")
            wait = min(wait * LATE_WAIT_GROWTH, LONGEST_LATE_WAIT_SECONDS)
            now = self._clock()
            try:
                seen = await self._client.read_generation(generation.id)
            except (LeonardoUnavailable, RateLimited) as error:
                if now - began > self._give_up_after_seconds:
                    return LeftForLater(f"its images are missing, and Leonardo does not answer: {error}")
                failures += 1
                wait = max(wait, POLLS.wait_seconds(failures, error))
                continue
            failures = 0
            if seen is not None:
                generation, asked_at, unknown_since = _fuller(seen, generation), now, math.inf
                continue
            unknown_since = min(unknown_since, now)
            if now - unknown_since > UNKNOWN_FOR_SECONDS:
                return _unknown(request, generation.id)
        if generation.status is GenerationStatus.PENDING:
            return LeftForLater("it had ended, and is reported as under way again; the next run goes on polling")
        return generation

    def _settle_seconds(self, generation: Generation) -> float:
        if generation.status is GenerationStatus.FAILED:
            return min(FAILED_SETTLE_SECONDS, self._settle_images_seconds)
        return self._settle_images_seconds


def _is_whole(generation: Generation, request: GenerationRequest) -> bool:
    """True where an entry of the history says everything that a job's own poll could say."""
    return (
        generation.status is GenerationStatus.COMPLETE
        and len(generation.images) == request.count
        and all(image.id and image.url for image in generation.images)
    )


def _fuller(seen: Generation, known: Generation) -> Generation:
    """What was seen now, except where it shows less than was known already: an answer can be behind."""

    def fullness(generation: Generation) -> tuple[bool, int]:
        return generation.status is GenerationStatus.COMPLETE, len(generation.images)

    return seen if fullness(seen) >= fullness(known) else known


def _unknown(request: GenerationRequest, generation_id: str) -> LeftForLater:
    return LeftForLater(
        f"Leonardo does not know generation {generation_id} any more; was it deleted? Then "
        f"`seedream ledger end {request.request_id[:12]}` ends its request"
    )


def _log_surprise(sweeping: asyncio.Task[None]) -> None:
    if not sweeping.cancelled() and (error := sweeping.exception()) is not None:
        _LOG.error("reading the account's history: %s", error, exc_info=error)
