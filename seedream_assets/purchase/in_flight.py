"""Which of this run's jobs is probably running at Leonardo, and since when. Estimates only; nothing paid hangs on them.

An account runs so many generations at once and lets the others wait, first come first served. An answer says PENDING
to both. A job therefore counts as started when it was sent while a slot was free, or else when another of ours ended:
what a job spent in the queue is not its latency.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from seedream_assets.leonardo.generations import Generation
from seedream_assets.leonardo.requests import GenerationRequest
from seedream_assets.purchase.patience import Patience


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One job that is waited for. Times are the engine's clock.

    Attributes:
        told: What another look than its own poll has found: it has ended.
        started_at: None while it probably waits in the queue.
        pending_until: The last moment at which it is known to have been pending.
        polled_at: Its latest own poll, or its entry.
        poll_fails: True while its own polls get no answer.
        is_learned_from: False for one that was sent before this run.
    """

    request: GenerationRequest
    generation_id: str
    entered_at: float
    is_learned_from: bool
    told: asyncio.Future[Generation]
    started_at: float | None = None
    pending_until: float = field(init=False)
    polled_at: float = field(init=False)
    poll_fails: bool = False
    has_ended: bool = False

    def __post_init__(self) -> None:
        self.pending_until = self.polled_at = self.entered_at


class InFlight:
    """The jobs at Leonardo, in the order in which they were sent.

    Args:
        slots: Generations that the account runs at once.
        patience: Taught by every end.
    """

    def __init__(self, *, slots: int, patience: Patience) -> None:
        self._slots = slots
        self._patience = patience
        self._jobs: dict[str, Job] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def running(self) -> list[Job]:
        """Those that have probably started."""
        return [job for job in self._jobs.values() if job.started_at is not None]

    def enter(self, request: GenerationRequest, generation_id: str, *, now: float, fresh: bool) -> Job:
        """A job that is waited for from now on; `fresh` where it was sent a moment ago."""
        told: asyncio.Future[Generation] = asyncio.get_running_loop().create_future()
        job = Job(request=request, generation_id=generation_id, entered_at=now, is_learned_from=fresh, told=told)
        if not fresh or len(self.running()) < self._slots:
            job.started_at = now
        self._jobs[generation_id] = job
        return job

    def note_pending(self, job: Job, *, at: float, polled: bool) -> None:
        """The job was still pending at this moment: by its own poll, or by a look."""
        job.pending_until = max(job.pending_until, at)
        if polled:
            job.polled_at = at

    def end(self, job: Job, *, by: float) -> None:
        """The job was seen to have ended at `by`: learn from it, and give its slot to the next. Once is enough."""
        if job.has_ended:
            return
        job.has_ended = True
        if job.is_learned_from:
            # One that ended in the queue shows that the account has more slots than was thought: it did not wait.
            started_at = job.entered_at if job.started_at is None else job.started_at
            after = max(0.0, job.pending_until - started_at)
            self._patience.learn(job.request, after=after, until=max(by - started_at, after, 1e-3))
        self.leave(job, at=(job.pending_until + by) / 2)

    def leave(self, job: Job, *, at: float) -> None:
        """The job is waited for no longer; the first in the queue has its slot since `at`."""
        self._jobs.pop(job.generation_id, None)
        for waiting in self._jobs.values():
            if len(self.running()) >= self._slots:
                return
            if waiting.started_at is None:
                waiting.started_at = max(at, waiting.entered_at)

    def poll_at(self, job: Job) -> float:
        """When its own poll is due. Every other answer that shows the job pending puts it off, unless the job is late."""
        patience, request = self._patience, job.request
        if job.started_at is None:
            ahead = sum(other.started_at is None for other in self._jobs.values() if other.entered_at < job.entered_at)
            return job.pending_until + patience.median_seconds(request) * (1 + ahead // self._slots)
        elapsed = max(0.0, job.pending_until - job.started_at)
        due = job.pending_until + patience.wait_seconds(request, elapsed)
        # Whoever else shows it pending may be behind the times.
        late = job.started_at + patience.late_seconds(request)
        return min(due, max(late, job.polled_at + (job.polled_at - job.started_at) * 0.25))
