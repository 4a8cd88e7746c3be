"""What a person sees while a run buys: a line in the log every few seconds, and charts on the asset's page.

Dagster has no progress bar (1.13). An observation of the asset shows at once on its page, and its numbers as charts
over time; one takes about 20 ms, so they come half a minute apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import dagster as dg

from seedream_assets.purchase.report import Progress

SECONDS_BETWEEN_OBSERVATIONS = 30.0


class LiveProgress:
    """What the engine calls with its progress. One object per run of it; short runs are told in the log only.

    Args:
        context: Of the step.
        key: The asset that is observed.
        partition: None where it has none, or where the run is over several.
        clock: Seconds.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        key: dg.AssetKey,
        partition: str | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._key = key
        self._partition = partition
        self._clock = clock
        self._observed_at = clock()

    def __call__(self, progress: Progress) -> None:
        """Tell where the run stands."""
        tell = self._context.log.warning if progress.outage or progress.stopping else self._context.log.info
        tell("%s", progress)
        if self._clock() - self._observed_at < SECONDS_BETWEEN_OBSERVATIONS:
            return
        self._observed_at = self._clock()
        self._context.log_event(
            dg.AssetObservation(
                asset_key=self._key,
                partition=self._partition,
                description=str(progress),
                metadata={
                    "requests_done": progress.done,
                    "requests_in_flight": progress.in_flight,
                    "requests_queued": progress.queued,
                    "requests_failed": sum(progress.failed.values()),
                    "images_stored": progress.images_stored,
                    "images_per_minute": round(progress.images_per_minute, 1),
                    "credits_spent": progress.credits_spent,
                    "credits_projected": progress.credits_projected,
                    **({"seconds_left": round(progress.seconds_left)} if progress.seconds_left is not None else {}),
                },
            )
        )
