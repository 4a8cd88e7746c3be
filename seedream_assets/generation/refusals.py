"""Is a refusal true? The first of each kind is held against the account's history before anything rests on it.

A server can accept a request and answer that it did not. So the first refusal of a kind (status and code) in a run holds
up all of that kind until one look at the history. Where the look shows that one of them was bought after all, that kind
proves nothing any more in this run. Where it shows none, or cannot be read, a refusal in one of the API's documented forms
stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from seedream_assets.core.errors import LeonardoRefused
from seedream_assets.core.ledger_events import Intent
from seedream_assets.core.run_report import format_seconds
from seedream_assets.generation.recovery import Recovery
from seedream_assets.generation.waiting import Clock

Kind = tuple[int | None, str | None]
# What was accepted takes a moment to show.
SHORTEST_WAIT_SECONDS = 10.0


class Refusals:
    """What this run believes of refusals.

    Args:
        recovery: Looks at the history.
        settle_seconds: How long the history may take to show a generation; a twelfth of it is waited for, and no more
            than `SHORTEST_WAIT_SECONDS` unless the history was seen to be slower.
        pause: A wait that ends early when the run does.
    """

    def __init__(
        self, *, recovery: Recovery, settle_seconds: float, pause: Callable[[float], Awaitable[None]], clock: Clock
    ) -> None:
        self._recovery = recovery
        self._first_wait_seconds = min(SHORTEST_WAIT_SECONDS, settle_seconds / 12)
        self._pause = pause
        self._clock = clock
        # Whether each kind is believed; until that is known, what is held up waits for it.
        self._kinds: dict[Kind, asyncio.Future[bool]] = {}
        self._looks = 0

    @property
    def waiting(self) -> str | None:
        """What is waited for before a refusal is believed; None where nothing is."""
        if not self._looks:
            return None
        wait = format_seconds(self._wait_seconds)
        requests = "a refused request is" if self._looks == 1 else f"{self._looks} refused requests are"
        return f"{requests} looked up in the account's history, {wait} after the refusal, before it is believed"

    async def stands(self, error: LeonardoRefused, intent: Intent) -> bool:
        """Whether a refusal proves that the request was not accepted.

        Args:
            error: The refusal.
            intent: Of the request that was refused.
        """
        kind = error.status, error.code
        verdict = self._kinds.get(kind)
        if verdict is None:
            verdict = self._kinds[kind] = asyncio.get_running_loop().create_future()
            await self._find_out(intent, verdict)
        elif not verdict.done():
            # Refused while the look was under way or waited for: that look may have come too early for this one.
            return await asyncio.shield(verdict) and await self.stands_again(intent, wait_seconds=self._wait_seconds)
        return await asyncio.shield(verdict)

    async def stands_again(self, intent: Intent, *, wait_seconds: float | None = None) -> bool:
        """Whether a request that was refused twice was not accepted: one more look, shared by all that wait for one.

        Args:
            intent: Its intent.
            wait_seconds: Before the look; None: a fifth of the first wait, or the longest lag seen.
        """
        short = max(self._first_wait_seconds / 5, self._recovery.longest_lag_seconds)
        return not await self._look(intent, short if wait_seconds is None else wait_seconds)

    async def _find_out(self, intent: Intent, verdict: asyncio.Future[bool]) -> None:
        try:
            verdict.set_result(not await self._look(intent, self._wait_seconds))
        except BaseException:
            # The run ends, or the store is away: nothing was found out, and nothing may be believed.
            verdict.set_result(False)
            raise

    async def _look(self, intent: Intent, wait_seconds: float) -> bool:
        self._looks += 1
        try:
            await self._pause(wait_seconds)
            return await self._recovery.shows(intent, after=self._clock())
        finally:
            self._looks -= 1

    @property
    def _wait_seconds(self) -> float:
        return max(self._first_wait_seconds, self._recovery.longest_lag_seconds)
