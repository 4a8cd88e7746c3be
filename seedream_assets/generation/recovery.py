"""Open intents: whose owner lives, is waited for; whose owner is gone, are looked up in the account's history.

One look into the history serves every open intent that waits for it. An intent is adopted as soon as its generation
shows, and released only when the history has had time to settle since the last moment at which the submit can have
been sent. Where the history cannot be read, it stays open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from seedream_assets.core.errors import LeonardoError
from seedream_assets.core.generations import Generation
from seedream_assets.core.ledger import RequestState, Standing, fold_all, owners_of
from seedream_assets.core.ledger_events import REQUESTS_FOLDER, EventKey, Intent, Released, Submitted
from seedream_assets.core.recovery import CLOCK_SLACK, Adopt, Unclear, Verdict, judge
from seedream_assets.generation.adoptions import claim_generation
from seedream_assets.generation.async_store import AsyncStore
from seedream_assets.generation.lease import Lease, is_gone, look_at_lease
from seedream_assets.generation.ledger_store import Ledger
from seedream_assets.generation.submitting import AtStep, signed
from seedream_assets.generation.waiting import Clock, Sleep
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.retries import RetryPolicy, repeat

HISTORY_PAGE = 50
FIRST_LOOK_SECONDS = 0.5
LONGEST_LOOK_SECONDS = 15.0
MOST_SECONDS_BETWEEN_LOOKS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look into the account's history, and what the ledger says of it."""

    began_at: float
    history: tuple[Generation, ...]
    reaches_end: bool
    oldest: datetime | None
    owners: Mapping[str, str]
    open_intents: tuple[Intent, ...]
    failure: str | None = None

    def reaches_back_to(self, moment: datetime) -> bool:
        """True when every generation since `moment` was read."""
        return self.reaches_end or (self.oldest is not None and self.oldest < moment)


class Recovery:
    """Settles open intents of one store on one account."""

    def __init__(
        self,
        *,
        store: AsyncStore,
        ledger: Ledger,
        client: LeonardoClient,
        lease: Lease,
        user_id: str,
        lease_seconds: float,
        settle_seconds: float,
        pages: int,
        policy: RetryPolicy,
        sleep: Sleep,
        clock: Clock,
        stopping: Callable[[], bool],
        at_step: AtStep,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._client = client
        self._lease = lease
        self._user_id = user_id
        self._lease_seconds = lease_seconds
        self._settle_seconds = settle_seconds
        self._pages = pages
        self._policy = policy
        self._sleep = sleep
        self._clock = clock
        self._stopping = stopping
        self._at_step = at_step
        self._intents: dict[tuple[str, int], Intent] = {}
        self._retracted: dict[str, tuple[str, ...]] = {}
        # However many wait: a look reads pages of history and lists the ledger.
        self._look_every_seconds = min(MOST_SECONDS_BETWEEN_LOOKS, settle_seconds / 10)
        self._one_look = asyncio.Lock()
        self._latest: Look | None = None

    async def settle(self, request_id: str, attempt: int, *, ours: bool) -> Standing | str:
        """Find out what became of an open intent.

        Args:
            request_id: Whose.
            attempt: Its attempt.
            ours: True when this very process wrote the intent and its POST got no answer.

        Returns:
            The request's new standing, or why it has to stay uncertain.
        """
        intent = await self._ledger.read_intent(request_id, attempt)
        if not ours:
            standing = await self._wait_for_owner(intent)
            if standing is not None:
                return standing
        silent_since = self._clock() if ours else await self._silent_since(intent)
        # An attempt that goes on after a retraction repeats an earlier intent, and was sent when that one was.
        written_at = min(await self._ledger.intent_written_at(request_id, attempt) or intent.at, intent.at)
        return await self._search(intent, written_at, settled_at=silent_since + self._settle_seconds)

    async def _wait_for_owner(self, intent: Intent) -> Standing | str | None:
        """The standing once the owner has put down more; None once the owner is gone; why not where we stop before."""
        wait: float = FIRST_LOOK_SECONDS
        while True:
            if await is_gone(intent.writer, self._store, lease_seconds=self._lease_seconds):
                # Its last word may have come between our listing and its end.
                standing = await self._ledger.standing(intent.request_id)
                return None if self._is_still(standing, intent) else standing
            if self._stopping():
                return "in another run's hands"
            await self._sleep(wait)
            wait = min(wait * 2, LONGEST_LOOK_SECONDS, self._lease_seconds / 2)
            standing = await self._ledger.standing(intent.request_id)
            if not self._is_still(standing, intent):
                return standing

    @staticmethod
    def _is_still(standing: Standing, intent: Intent) -> bool:
        return standing.state is RequestState.OPEN and standing.attempt == intent.attempt

    async def _silent_since(self, intent: Intent) -> float:
        """By our clock, the last moment at which a gone owner can have sent its request: the end of its lease.

        The owner refuses to send after it. Where no lease is left, or its owner is known to be dead before it has run
        out, the time counts from now.
        """
        lease = await look_at_lease(intent.writer.engine_id, self._store, lease_seconds=self._lease_seconds)
        return self._clock() - lease.silent_seconds

    async def _search(self, intent: Intent, written_at: datetime, *, settled_at: float) -> Standing | str:
        wait: float = FIRST_LOOK_SECONDS
        needed_since = float("-inf")
        while True:
            look = await self._look(since=written_at, began_after=needed_since)
            verdict = self._judge(look, intent, written_at)
            settled = look.began_at >= settled_at
            # Asked after the look: where somebody has released this attempt meanwhile, what the history shows may be
            # the next attempt's, whose intent was written before it was sent.
            standing = await self._ledger.standing(intent.request_id)
            if not self._is_still(standing, intent):
                return standing
            if isinstance(verdict, Adopt) and await self._adopt(intent, verdict):
                return await self._ledger.standing(intent.request_id)
            if settled or self._stopping():
                if look.failure:
                    return f"the account's history cannot be read: {look.failure}"
                if isinstance(verdict, Unclear):
                    return verdict.reason
                if not settled:
                    return "stopped before the account's history had settled"
                if isinstance(verdict, Adopt):
                    return (
                        f"generation {verdict.generations[0].id} in the account's history is claimed by another request"
                    )
                return await self._release(intent)
            pause = max(0.05, min(wait, settled_at - self._clock()))
            wait = min(wait * 2, LONGEST_LOOK_SECONDS)
            await self._sleep(pause)
            needed_since = self._clock()

    def _judge(self, look: Look, intent: Intent, written_at: datetime) -> Verdict:
        if look.failure:
            return Unclear(reason=look.failure)
        return judge(
            intent,
            written_at=written_at,
            history=look.history,
            reaches_back=look.reaches_back_to(written_at - CLOCK_SLACK),
            # What a person has taken back from this request is not its own, even while nobody else has it.
            owners={**look.owners, **dict.fromkeys(self._retracted.get(intent.request_id, ()), "retracted")},
            rivals=look.open_intents,
        )

    async def _adopt(self, intent: Intent, verdict: Adopt) -> bool:
        """Take the generations found as the intent's own; False where another request was faster with all of them."""
        adopted = False
        for generation in verdict.generations:
            if not await claim_generation(self._store, generation.id, intent.request_id):
                continue
            self._at_step("after_adoption", intent.request_id)
            header = signed(intent.request_id, intent.attempt, self._lease.writer())
            await self._ledger.write(Submitted(**header, generation_id=generation.id, adopted=True))
            adopted = True
        return adopted

    async def _release(self, intent: Intent) -> Standing:
        header = signed(intent.request_id, intent.attempt, self._lease.writer())
        reason = f"not in the account's history {self._settle_seconds:g} s after its last possible submit"
        self._at_step("before_release", intent.request_id)
        await self._ledger.write(Released(**header, why="not_in_history", reason=reason))
        self._at_step("after_release", intent.request_id)
        return await self._ledger.standing(intent.request_id)

    async def _look(self, *, since: datetime, began_after: float) -> Look:
        """A look into the history that began after this moment; one at a time, shared by all that wait."""
        async with self._one_look:
            latest = self._latest
            fresh = latest is not None and latest.began_at >= began_after
            if latest is None or not fresh or not (latest.failure or latest.reaches_back_to(since - CLOCK_SLACK)):
                if latest is not None:
                    await self._sleep(max(0.0, latest.began_at + self._look_every_seconds - self._clock()))
                latest = self._latest = await self._look_now(since - CLOCK_SLACK)
            return latest

    async def _look_now(self, since: datetime) -> Look:
        began_at = self._clock()
        found: dict[str, Generation] = {}
        reaches_end, failure, offset = False, None, 0
        try:
            for _page in range(self._pages):
                batch = await self._read_page(offset=offset)
                found.update((generation.id, generation) for generation in batch)
                times = [generation.created_at for generation in batch if generation.created_at]
                # The largest page is the server's secret, so a short page is not the end; an empty one is.
                if reaches_end := not batch:
                    break
                # Newest first in what was seen, but not documented: stop early only where the page is in that order.
                if times and times == sorted(times, reverse=True) and times[-1] < since:
                    break
                # New generations push the others down while pages are read: some come twice, even whole pages, and none
                # is missed.
                offset += len(batch)
        except LeonardoError as error:
            failure = str(error)
        # The ledger is read after the history: whatever request a generation belongs to, its intent is in the ledger.
        owners, intents = await self._read_ledger()
        oldest = min((item.created_at for item in found.values() if item.created_at), default=None)
        return Look(
            began_at=began_at,
            history=tuple(found.values()),
            reaches_end=reaches_end,
            oldest=oldest,
            owners=owners,
            open_intents=intents,
            failure=failure,
        )

    async def _read_page(self, *, offset: int) -> list[Generation]:
        async def read() -> list[Generation]:
            page = await self._client.read_history(self._user_id, offset=offset, limit=HISTORY_PAGE)
            return list(page.generations)

        return await repeat(read, policy=self._policy, sleep=self._sleep)

    async def _read_ledger(self) -> tuple[Mapping[str, str], tuple[Intent, ...]]:
        """Who owns which generation, and every open intent: one listing, and one read per open intent."""
        infos = await self._store.list(REQUESTS_FOLDER + "/")
        keys = [key for info in infos if (key := EventKey.parse(info.key))]
        owners = owners_of(keys)
        standings = fold_all(keys)
        self._retracted = {request: found.retracted for request, found in standings.items() if found.retracted}
        still_open = [
            (request, found.attempt) for request, found in standings.items() if found.state is RequestState.OPEN
        ]
        # An intent never changes: each is read once, however often the history is looked at.
        known = {key: self._intents[key] for key in still_open if key in self._intents}
        new = [key for key in still_open if key not in known]
        read = await asyncio.gather(*(self._ledger.read_intent(request, attempt) for request, attempt in new))
        self._intents = known | dict(zip(new, read, strict=True))
        return owners, tuple(self._intents.values())
