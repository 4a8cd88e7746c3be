"""Waiting for the end of a job that is paid for, with as few questions as possible.

A look at the account's history tells of many jobs at once (`purchase.history_sweep`); the job's own poll comes when an end is
likely and nothing has been told, and has the last word. A webhook would be a third way to be told: it would end
`Job.told` as a look does.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from seedream_assets.config.waiting import Clock, Sleep
from seedream_assets.errors import LeonardoUnavailable, RateLimited
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.generations import Generation, GenerationStatus
from seedream_assets.leonardo.requests import GenerationRequest
from seedream_assets.leonardo.retry import RetryPolicy
from seedream_assets.purchase.history_sweep import BulkPolling, tells_all
from seedream_assets.purchase.in_flight import Job
from seedream_assets.purchase.run_report import format_seconds

# A fresh job can take a moment to be found; one that stays unknown was deleted.
UNKNOWN_FOR_SECONDS = 60.0
# A job that FAILED and does not say why may still become COMPLETE, for so long.
FAILED_SETTLE_SECONDS = 30.0
# Between two questions about images that lack; each wait is half as long again as the one before.
FIRST_LATE_WAIT_SECONDS = 1.0
LONGEST_LATE_WAIT_SECONDS = 20.0
LATE_WAIT_GROWTH = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """Waits for ends.

    Attributes:
        bulk: Tells of jobs before their own poll is due.
        policy: For polls that get no answer.
        give_up_after_seconds: The longest wait for one job.
        settle_images_seconds: How long a job whose images lack is asked again.
        pause: A wait that ends early when the run is to end.
        stopping: True once it is.
        late: Jobs that are asked again, with the moment until which they are.
    """

    client: LeonardoClient
    bulk: BulkPolling
    policy: RetryPolicy
    give_up_after_seconds: float
    sleep: Sleep
    clock: Clock
    settle_images_seconds: float
    pause: Sleep
    stopping: Callable[[], bool]
    late: dict[str, float] = field(default_factory=dict)

    async def wait_for_end(self, request: GenerationRequest, generation_id: str, *, fresh: bool) -> Generation | str:
        """Wait until the job has ended: told by a look at the history, or else by its own polls. Failures are only polls.

        Args:
            request: As it was bought.
            generation_id: Its job.
            fresh: True where it was submitted a moment ago: its latency is worth learning.

        Returns:
            The ended job, or why it is left for the next run.
        """
        began, unknown_since, failures = self.clock(), math.inf, 0
        with self.bulk.watching(request, generation_id, fresh=fresh) as job:
            poll_at = None if fresh else began
            while True:
                left = self.give_up_after_seconds - (self.clock() - began)
                if left <= 0:
                    return f"not finished after {self.give_up_after_seconds:g} s; the next run goes on polling"
                told = await self._told_before_poll(job, poll_at, latest=self.clock() + left)
                if told is not None and tells_all(told, request):
                    return told
                poll_at, asked_at = None, self.clock()
                try:
                    generation = await self.client.read_generation(generation_id)
                except (LeonardoUnavailable, RateLimited) as error:
                    failures, job.poll_fails = failures + 1, True
                    poll_at = self.clock() + self.policy.wait_seconds(failures, error, 0.5)
                    continue
                failures, job.poll_fails = 0, False
                if generation is not None and generation.status is not GenerationStatus.PENDING:
                    self.bulk.note_end_by_poll(job)
                    return generation
                self.bulk.in_flight.note_pending(job, at=asked_at, polled=True)
                unknown_since = min(unknown_since, asked_at) if generation is None else math.inf
                if asked_at - unknown_since > UNKNOWN_FOR_SECONDS:
                    return _unknown(request, generation_id)

    async def wait_for_images(self, request: GenerationRequest, generation: Generation) -> Generation | str:
        """Ask again after an end that need not be the last word, at growing intervals; the job needs no slot any more.

        An end is final once an answer that was asked for after its time still tells the same. A run that is to end, or
        an API that does not answer, finalizes nothing.

        Args:
            request: As it was bought.
            generation: As it was seen to have ended.

        Returns:
            The job as it is final, or why it is left for the next run.
        """
        began = self.clock()
        self.late[generation.id] = began + self._settle_seconds(generation)
        try:
            return await self._ask_again(request, generation, began)
        finally:
            self.late.pop(generation.id, None)

    @property
    def waiting(self) -> str | None:
        """How many jobs are asked again, and for how long at the most; None where none is."""
        if not self.late:
            return None
        left = format_seconds(max(0.0, max(self.late.values()) - self.clock()))
        jobs = "1 finished job" if len(self.late) == 1 else f"{len(self.late)} finished jobs"
        return f"{jobs} asked again for images that lack, for up to {left}"

    async def _ask_again(self, request: GenerationRequest, generation: Generation, began: float) -> Generation | str:
        asked_at = began
        unknown_since, failures, wait = math.inf, 0, FIRST_LATE_WAIT_SECONDS
        while generation.may_still_bring(request.count) and asked_at - began < self._settle_seconds(generation):
            left = self._settle_seconds(generation) - (self.clock() - began)
            await self.pause(min(wait, left) if left > 0 else wait)
            if self.stopping():
                return "stopped while images lacked that may still come; the next run goes on from here"
            wait = min(wait * LATE_WAIT_GROWTH, LONGEST_LATE_WAIT_SECONDS)
            now = self.clock()
            try:
                told = await self.client.read_generation(generation.id)
            except (LeonardoUnavailable, RateLimited) as error:
                if now - began > self.give_up_after_seconds:
                    return f"its images lack, and Leonardo does not answer: {error}"
                failures += 1
                wait = max(wait, self.policy.wait_seconds(failures, error, 0.5))
                continue
            failures = 0
            if told is not None:
                generation, asked_at, unknown_since = _fuller(told, generation), now, math.inf
                continue
            unknown_since = min(unknown_since, now)
            if now - unknown_since > UNKNOWN_FOR_SECONDS:
                return _unknown(request, generation.id)
        if generation.status is GenerationStatus.PENDING:
            return "it had ended, and is told to be under way again; the next run goes on polling"
        return generation

    def _settle_seconds(self, generation: Generation) -> float:
        if generation.status is GenerationStatus.FAILED:
            return min(FAILED_SETTLE_SECONDS, self.settle_images_seconds)
        return self.settle_images_seconds

    async def _told_before_poll(self, job: Job, poll_at: float | None, *, latest: float) -> Generation | None:
        """What a look told of the job's end; None when its own poll is due: at `poll_at`, else when an end is likely."""
        while not job.told.done():
            seen = job.pending_until, job.started_at
            due = min(self.bulk.in_flight.poll_at(job) if poll_at is None else poll_at, latest)
            waiting: asyncio.Future[Any] = asyncio.ensure_future(self.sleep(max(0.0, due - self.clock())))
            try:
                await asyncio.wait([waiting, job.told], return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
            is_put_off = poll_at is None and seen != (job.pending_until, job.started_at) and self.clock() < latest
            if not job.told.done() and not is_put_off:
                return None
        generation, job.told = job.told.result(), asyncio.get_running_loop().create_future()
        return generation


def _unknown(request: GenerationRequest, generation_id: str) -> str:
    """What to say of a paid job that its own id no longer finds."""
    return (
        f"Leonardo does not know generation {generation_id} any more; was it deleted? Then "
        f"`seedream ledger end {request.request_id[:12]}` ends its request"
    )


def _fuller(told: Generation, known: Generation) -> Generation:
    """What is told now, except where it is less than what was seen already: an answer can be behind the times."""

    def fullness(generation: Generation) -> tuple[bool, int]:
        return generation.status is GenerationStatus.COMPLETE, len(generation.images)

    return told if fullness(told) >= fullness(known) else known
