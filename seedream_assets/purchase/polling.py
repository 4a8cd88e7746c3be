"""Waiting for the end of a job that is paid for, with few reads.

One sweep of the history's newest page in each interval shows the ends of many jobs at once (`purchase.history_sweep`).
A job that no sweep shows is polled by itself, at a slower pace. Requests that wait in Leonardo's own queue keep the slots
busy until an end is noticed.

An end need not be the last word: images can be listed late, and a job can be FAILED before it is COMPLETE.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from seedream_assets.config.retry import POLLS
from seedream_assets.config.waiting import Clock, Sleep, format_seconds
from seedream_assets.errors import LeonardoUnavailable, RateLimited
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.generations import Generation, GenerationStatus
from seedream_assets.leonardo.requests import GenerationRequest
from seedream_assets.purchase.history_sweep import HistorySweep, Job, is_whole

# A fresh job can take a moment to be found; one that stays unknown was deleted.
UNKNOWN_FOR_SECONDS = 60.0
# A job that FAILED and does not say why may still become COMPLETE, for so long.
FAILED_SETTLE_SECONDS = 30.0
# Between two polls for missing images; each wait is half as long again as the one before.
FIRST_LATE_WAIT_SECONDS = 1.0
LONGEST_LATE_WAIT_SECONDS = 20.0
LATE_WAIT_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class LeftForLater:
    """A job that is paid for and has not ended as far as this run could see; the next run goes on with it."""

    reason: str


Polled = Generation | LeftForLater


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """Waits for ends.

    Attributes:
        sweep: Finds the ends of many jobs at once.
        give_up_after_seconds: The longest wait for one job.
        settle_images_seconds: How long a job with missing images is polled again.
        pause: A wait that ends early when the run is to end.
        stopping: True once the run is to end.
        late: Jobs that are polled again for missing images, with the moment until which they are.
    """

    client: LeonardoClient
    sweep: HistorySweep
    give_up_after_seconds: float
    clock: Clock
    settle_images_seconds: float
    pause: Sleep
    stopping: Callable[[], bool]
    late: dict[str, float] = field(default_factory=dict)

    async def wait_for_end(self, request: GenerationRequest, generation_id: str, *, fresh: bool) -> Polled:
        """Wait until the job has ended. Polls that fail are repeated.

        Args:
            request: As it was bought.
            generation_id: Its job.
            fresh: True where it was submitted a moment ago; else it is polled at once.

        Returns:
            The ended job, or why it is left for the next run.
        """
        give_up_at, unknown_since, failures = self.clock() + self.give_up_after_seconds, math.inf, 0
        with self.sweep.watching(request, generation_id, fresh=fresh) as job:
            while self.clock() < give_up_at:
                await self._wait_for_news(job, give_up_at)
                if job.ended is not None and is_whole(job.ended, request):
                    self.sweep.note_end(job, by_sweep=True)
                    return job.ended
                asked_at = self.clock()
                try:
                    generation = await self.client.read_generation(generation_id)
                except (LeonardoUnavailable, RateLimited) as error:
                    failures += 1
                    job.poll_due_at = self.clock() + POLLS.wait_seconds(failures, error)
                    continue
                if generation is not None and generation.status is not GenerationStatus.PENDING:
                    self.sweep.note_end(job, by_sweep=False)
                    return generation
                failures, job.polled_at, job.poll_due_at = 0, asked_at, None
                unknown_since = min(unknown_since, asked_at) if generation is None else math.inf
                if asked_at - unknown_since > UNKNOWN_FOR_SECONDS:
                    return _unknown(request, generation_id)
        return LeftForLater(f"not finished after {self.give_up_after_seconds:g} s; the next run goes on polling")

    async def _wait_for_news(self, job: Job, latest: float) -> None:
        """Wait until a sweep shows the job's end, or else until its own poll is due."""
        while not job.has_news.is_set():
            seconds = min(self.sweep.poll_at(job), latest) - self.clock()
            if seconds <= 0:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(job.has_news.wait(), seconds)
        job.has_news.clear()

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
        began = self.clock()
        self.late[generation.id] = began + self._settle_seconds(generation)
        try:
            return await self._poll_again(request, generation, began)
        finally:
            self.late.pop(generation.id, None)

    @property
    def waiting(self) -> str | None:
        """A message on the jobs that are polled again, with the longest time that this may take; None where none is."""
        if not self.late:
            return None
        left = format_seconds(max(0.0, max(self.late.values()) - self.clock()))
        jobs = "1 finished job" if len(self.late) == 1 else f"{len(self.late)} finished jobs"
        return f"{jobs} polled again for missing images, for up to {left}"

    async def _poll_again(self, request: GenerationRequest, generation: Generation, began: float) -> Polled:
        asked_at = began
        unknown_since, failures, wait = math.inf, 0, FIRST_LATE_WAIT_SECONDS
        while generation.may_still_bring(request.count) and asked_at - began < self._settle_seconds(generation):
            left = self._settle_seconds(generation) - (self.clock() - began)
            await self.pause(min(wait, left) if left > 0 else wait)
            if self.stopping():
                return LeftForLater(
                    "stopped while images were missing that may still come; the next run goes on from here"
                )
            wait = min(wait * LATE_WAIT_GROWTH, LONGEST_LATE_WAIT_SECONDS)
            now = self.clock()
            try:
                seen = await self.client.read_generation(generation.id)
            except (LeonardoUnavailable, RateLimited) as error:
                if now - began > self.give_up_after_seconds:
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
            return min(FAILED_SETTLE_SECONDS, self.settle_images_seconds)
        return self.settle_images_seconds


def _unknown(request: GenerationRequest, generation_id: str) -> LeftForLater:
    """The message on a paid job that Leonardo no longer knows."""
    return LeftForLater(
        f"Leonardo does not know generation {generation_id} any more; was it deleted? Then "
        f"`seedream ledger end {request.request_id[:12]}` ends its request"
    )


def _fuller(seen: Generation, known: Generation) -> Generation:
    """What was seen now, except where it shows less than was known already: an answer can be behind the times."""

    def fullness(generation: Generation) -> tuple[bool, int]:
        return generation.status is GenerationStatus.COMPLETE, len(generation.images)

    return seen if fullness(seen) >= fullness(known) else known
