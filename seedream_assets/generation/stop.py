"""How a run comes to stop before the end of its plan: asked by a person, out of money, or refused for good."""

from __future__ import annotations

import asyncio

from seedream_assets.core.run_report import StopCause


class StopRun:
    """Why a run stops admitting requests, once it does. The first reason stays; an interruption outranks it."""

    def __init__(self) -> None:
        self._interrupted = asyncio.Event()
        self.cause: StopCause | None = None
        self.reason: str | None = None
        self.error: Exception | None = None

    def request(self, cause: StopCause, reason: str, error: Exception | None = None) -> None:
        """Stop admitting; what is in flight goes on, after an interruption for a bounded time only.

        Args:
            cause: The kind of reason.
            reason: For people, with the numbers.
            error: Raised by the run in the end, where no request could fare better.
        """
        if self.cause is None:
            self.cause, self.reason, self.error = cause, reason, error
        if cause == "interrupted":
            self._interrupted.set()

    @property
    def requested(self) -> bool:
        """True once nothing more is admitted."""
        return self.cause is not None

    @property
    def buys_no_more(self) -> bool:
        """True when even what was admitted and reserved must not be bought any more."""
        return self.cause in ("interrupted", "refused") or self._interrupted.is_set()

    @property
    def is_interrupted(self) -> bool:
        """True once somebody asked the run to end."""
        return self._interrupted.is_set()

    async def interruption(self) -> None:
        """Wait until somebody asks the run to end."""
        await self._interrupted.wait()
