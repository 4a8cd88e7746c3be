"""Is a refusal true? The first of each kind is held against the account's history before anything rests on it.

A server can accept a request and answer that it did not. So the first refusal of a kind (status and code) in a run holds
up all of that kind until one look at the history. Where the look shows that one of them was bought after all, that kind
proves nothing any more in this run. Where it shows none, or cannot be read, a refusal in one of the API's documented forms
stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from seedream_assets.core.errors import LeonardoRefused
from seedream_assets.core.ledger_events import Intent
from seedream_assets.core.run_report import format_seconds
from seedream_assets.generation.recovery import Recovery
from seedream_assets.generation.waiting import Clock

Kind = tuple[int | None, str | None]
# What was accepted takes a moment to show.
SHORTEST_WAIT_SECONDS = 10.0


@dataclass(slots=True)
class _Held:
    """A kind of refusal. `verdict` says whether it is believed; until it is known, what is held up waits for it."""

    verdict: asyncio.Future[bool]
    intents: list[Intent] = field(default_factory=list)


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
        self._kinds: dict[Kind, _Held] = {}
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
        held = self._kinds.get(kind)
        if held is None:
            held = self._kinds[kind] = _Held(asyncio.get_running_loop().create_future())
            held.intents.append(intent)
            await self._find_out(held)
        elif not held.verdict.done():
            held.intents.append(intent)
        return await asyncio.shield(held.verdict)

    async def stands_again(self, intent: Intent) -> bool:
        """Whether a request that was refused twice was not accepted: one more look, shared by all that wait for one."""
        return not await self._look([intent])

    async def _find_out(self, held: _Held) -> None:
        try:
            held.verdict.set_result(not await self._look(held.intents))
        except BaseException:
            # The run ends, or the store is away: nothing was found out, and nothing may be believed.
            held.verdict.set_result(False)
            raise

    async def _look(self, intents: list[Intent]) -> bool:
        self._looks += 1
        try:
            await self._pause(self._wait_seconds)
            return await self._recovery.shows_any(intents, after=self._clock())
        finally:
            self._looks -= 1

    @property
    def _wait_seconds(self) -> float:
        return max(self._first_wait_seconds, self._recovery.longest_lag_seconds)
