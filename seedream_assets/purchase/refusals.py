"""Is a refusal true? The first of each kind is held against the account's history before anything rests on it.

A server can accept a request and answer that it did not. So the first refusal of a kind (status and code) in a run holds
up all of that kind until one look at the history. Where the look shows that one of them was bought after all, that kind
proves nothing any more in this run. Where it shows none, or cannot be read, a refusal in one of the API's documented forms
stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from seedream_assets.config.waiting import Clock
from seedream_assets.errors import LeonardoRefused
from seedream_assets.ledger.events import Intent
from seedream_assets.ledger.recovery import Recovery
from seedream_assets.purchase.run_report import format_seconds

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
        stands, _ = await self._judge(error, intent)
        return stands

    async def still_stands(self, error: LeonardoRefused, intent: Intent) -> bool:
        """The same, for a request that is to be sent again: a look comes before each sending, shared by all that wait."""
        stands, has_looked = await self._judge(error, intent)
        return stands and (has_looked or not await self._shows(intent))

    async def _judge(self, error: LeonardoRefused, intent: Intent) -> tuple[bool, bool]:
        """Whether the refusal stands, and whether a look has been taken for this very request."""
        kind = error.status, error.code
        verdict = self._kinds.get(kind)
        if verdict is None:
            verdict = self._kinds[kind] = asyncio.get_running_loop().create_future()
            await self._find_out(intent, verdict)
            return verdict.result(), True
        if verdict.done():
            return verdict.result(), False
        # Refused while the look was under way or waited for: that look may have come too early for this one.
        return await asyncio.shield(verdict) and not await self._shows(intent), True

    async def _find_out(self, intent: Intent, verdict: asyncio.Future[bool]) -> None:
        try:
            verdict.set_result(not await self._shows(intent))
        except BaseException:
            # The run ends, or the store is away: nothing was found out, and nothing may be believed.
            verdict.set_result(False)
            raise

    async def _shows(self, intent: Intent) -> bool:
        """Whether the history shows that the request was bought, once it has had time to show it."""
        self._looks += 1
        try:
            await self._pause(self._wait_seconds)
            return await self._recovery.shows(intent, after=self._clock())
        finally:
            self._looks -= 1

    @property
    def _wait_seconds(self) -> float:
        return max(self._first_wait_seconds, self._recovery.longest_lag_seconds)
