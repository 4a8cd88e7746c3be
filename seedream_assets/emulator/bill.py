"""The books: what was bought, by whom, how often, and how well the slots were used.

What belongs here: sums over jobs and counters. What does not: any state of its own.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

from seedream_assets.emulator.jobs import Job, written_time

_REQUESTS: Final = {
    "creates": "create",
    "polls": "poll",
    "deletes": "delete",
    "history": "history",
    "me": "me",
    "models": "models",
    "init_images": "init_image",
    "uploads": "upload",
    "downloads": "download",
}


def draw_up(
    jobs: Sequence[Job],
    *,
    now: float,
    slots: int,
    balance_credits: int,
    counts: Mapping[str, int],
    violations: Sequence[str],
    faults_played: Mapping[str, int],
    details: bool,
) -> dict[str, Any]:
    """Sum up every billed generation.

    Returns:
        `credits` is everything charged, `refunded` what came back of it, `net_credits` the difference.
        `duplicates` counts generations beyond the first with one `Order.fingerprint`; `unanswered` those whose create
        answer never went out whole. `images` were ordered and charged, `images_available` can be downloaded now,
        `images_downloaded` of them were sent whole at least once. `slot_use` is busy slot-seconds over what the slots
        could have done between the first create and the last completion. `reads_per_generation` counts polls and
        pages of history together; `median_lateness` is how long after a job's end a caller was told, as a share of
        the time the job occupied a slot, None where nothing was told yet.
    """
    orders = Counter(job.order.fingerprint() for job in jobs)
    charged = sum(job.credits for job in jobs)
    refunded = sum(job.credits for job in jobs if job.refunded)
    downloaded = sum(len(job.downloads) for job in jobs)
    lateness = [share for job in jobs if (share := job.lateness()) is not None]
    bill: dict[str, Any] = {
        "credits": charged,
        "refunded": refunded,
        "net_credits": charged - refunded,
        "balance_credits": balance_credits,
        "generations": len(jobs),
        "images": sum(job.order.quantity for job in jobs),
        "images_available": sum(len(job.indexes(now)) for job in jobs),
        "images_downloaded": downloaded,
        "duplicates": len(jobs) - len(orders),
        "unanswered": sum(not job.answered for job in jobs),
        "statuses": dict(Counter(job.status(now) for job in jobs)),
        "requests": {name: counts.get(operation, 0) for name, operation in _REQUESTS.items()},
        "rate_limited": counts.get("rate_limited", 0),
        "invalid_creates": counts.get("invalid_create", 0),
        "blocked": counts.get("blocked", 0),
        "auth_leaks": counts.get("auth_leak", 0),
        "violations": list(violations),
        "faults_played": dict(faults_played),
        "polls_per_generation": sum(job.polls for job in jobs) / len(jobs) if jobs else 0.0,
        "reads_per_generation": (counts.get("poll", 0) + counts.get("history", 0)) / len(jobs) if jobs else 0.0,
        "median_lateness": median(lateness) if lateness else None,
        **_slot_use(jobs, now, slots),
    }
    if details:
        bill["by_request"] = dict(orders)
        bill["details"] = [_line(job, now) for job in jobs]
    return bill


def _slot_use(jobs: Sequence[Job], now: float, slots: int) -> dict[str, Any]:
    if not jobs:
        return {"first_create": None, "last_completion": None, "busy_slot_seconds": 0.0, "slot_use": 0.0}
    first = jobs[0].created_at
    last = max((job.ends_at for job in jobs if job.ends_at <= now), default=None)
    until = now if last is None or any(job.ends_at > now for job in jobs) else last
    busy = sum(max(0.0, min(job.ends_at, until) - job.starts_at) for job in jobs)
    possible = slots * (until - first)
    return {
        "first_create": first,
        "last_completion": last,
        "busy_slot_seconds": busy,
        "slot_use": busy / possible if possible > 0 else 0.0,
    }


def _line(job: Job, now: float) -> dict[str, Any]:
    order = job.order
    return {
        "generation_id": job.generation_id,
        "request": order.fingerprint(),
        "model": order.model,
        "prompt": order.prompt,
        "prompt_sha256": hashlib.sha256(order.prompt.encode("utf-8", "surrogatepass")).hexdigest(),
        "width": order.width,
        "height": order.height,
        "seed": order.seed,
        "seed_used": job.seed,
        "quantity": order.quantity,
        "style_ids": list(order.style_ids),
        "prompt_enhance": order.prompt_enhance,
        "public": order.public,
        "references": [{"type": r.type, "content": r.content, "strength": r.strength} for r in order.references],
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
        "told": job.told_at,
        "image_ids": list(job.image_ids),
        "downloads": {str(index): times for index, times in sorted(job.downloads.items())},
    }
