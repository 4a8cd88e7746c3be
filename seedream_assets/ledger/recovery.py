"""Open intents: whose owner lives, is waited for; whose owner is gone, are looked up in the account's history.

One look into the history serves every open intent that waits for it. An intent is adopted as soon as its generation
shows. It is released only when one reading proves that nothing was bought (`ledger.recovery_rules`). Otherwise it stays
open, and every later run looks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from seedream_assets.config.retry import Clock, Sleep, format_seconds
from seedream_assets.errors import LeonardoError, SubmitUncertain
from seedream_assets.ledger.events import Intent, Released, Submitted, id_in_key
from seedream_assets.ledger.history import AccountHistory, HistoryRead, LedgerReader, LedgerView
from seedream_assets.ledger.lease import Lease, is_gone, look_at_lease, mark_as_gone, signed
from seedream_assets.ledger.recovery_rules import (
    CLOCK_SLACK,
    Adopt,
    Known,
    NotBought,
    Reading,
    Uncertain,
    Verdict,
    Window,
    judge,
    quiet_seconds_needed,
)
from seedream_assets.ledger.state import LedgerEntry, RequestState
from seedream_assets.ledger.store import Ledger, claim_generation
from seedream_assets.storage.async_store import AsyncStore

FIRST_LOOK_SECONDS = 0.5
LONGEST_LOOK_SECONDS = 15.0
# How long one run waits for a history, in times of its settling; what needs longer is judged by a later run.
MOST_SETTLINGS_WAITED = 2
MOST_SECONDS_BETWEEN_LOOKS = 5.0
# A reading that goes on from look to look is given up for this run after so many.
MOST_LOOKS_AT_ONE_READING = 20
# What the history should show and does not is looked up by its id: so many at a time, and so many gone ones in a run.
MOST_LOOKED_UP = 10
MOST_DELETED = 500
# A fresh job can take a moment to be found by its id; one that is not found later was deleted.
UNKNOWN_FOR_SECONDS = 60.0
# Named points at which tests stop or kill a process.
OnStep = Callable[[Literal["after_adoption", "before_release", "after_release"], str], None]
BY_HAND = "a person can decide: `seedream ledger adopt`, `seedream ledger release`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look into the account's history, and what the ledger said after it.

    Attributes:
        began_at: When the reading began, by this process's clock.
        read: The reading under way, to go on with.
        unread_intents: Requests with an open intent that cannot be read.
        looks: How many looks it took so far.
    """

    began_at: float
    reading: Reading
    read: HistoryRead
    view: LedgerView
    open_intents: tuple[Intent, ...]
    unread_intents: tuple[str, ...]
    witnesses: Mapping[str, Intent]
    looks: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """One open intent that is looked up.

    Attributes:
        closed_at: When its window closed, by this process's clock.
    """

    intent: Intent
    window: Window
    closed_at: float
    is_second_loss: bool


@dataclass(frozen=True, slots=True)
class StaysOpen:
    """An open intent of which this run cannot know whether it was bought."""

    reason: str


class Recovery:
    """Settles open intents of one store on one account.

    Args:
        account_id: The account; what another one has begun is left alone.
        settle_seconds: How long a generation may take to show in the history.

    Attributes:
        longest_lag_seconds: How long the history was seen not to show what had been bought.
    """

    def __init__(
        self,
        *,
        store: AsyncStore,
        ledger: Ledger,
        history: AccountHistory,
        lease: Lease,
        account_id: str,
        lease_seconds: float,
        settle_seconds: float,
        sleep: Sleep,
        clock: Clock,
        stopping: Callable[[], bool],
        on: OnStep,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._reader = LedgerReader(store, ledger)
        self._history = history
        self._lease = lease
        self.account_id = account_id
        self._lease_seconds = lease_seconds
        self._settle_seconds = settle_seconds
        self._sleep = sleep
        self._clock = clock
        self._stopping = stopping
        self._on = on
        # However many wait: a look reads pages of history and lists the ledger.
        self._look_every_seconds = min(MOST_SECONDS_BETWEEN_LOOKS, settle_seconds / 10)
        self._one_look = asyncio.Lock()
        self._latest: Look | None = None
        self._earliest_offset = timedelta(0)
        self._deleted: set[str] = set()
        self._waits: dict[str, float] = {}
        self.longest_lag_seconds = 0.0

    async def settle(self, request_id: str, attempt: int, *, ours: bool) -> LedgerEntry | StaysOpen:
        """Find out what became of an open intent.

        Args:
            request_id: Whose.
            attempt: Its attempt.
            ours: True when this very process wrote the intent and its POST got no answer.

        Returns:
            The request's new entry, or why it has to stay uncertain.
        """
        intent = await self._ledger.read_intent(request_id, attempt)
        if intent.account not in (None, self.account_id):
            return StaysOpen(f"begun with account {intent.account}; run once with a key of that account")
        try:
            if not ours:
                entry = await self._wait_for_owner(intent)
                if entry is not None:
                    return entry
            return await self._search(await self._search_for(intent, ours=ours))
        finally:
            self._waits.pop(request_id, None)

    @property
    def waiting(self) -> str | None:
        """What is waited for, and for how long at the most; None where nothing is."""
        if not self._waits:
            return None
        left = max(0.0, max(self._waits.values()) - self._clock())
        number = len(self._waits)
        requests = "1 open request is" if number == 1 else f"{number} open requests are"
        until = f", for up to {format_seconds(left)}" if left else ""
        return f"{requests} looked up in the account's history{until}"

    async def shows(self, intent: Intent, *, after: float) -> bool:
        """True where a look, begun after this moment of our clock, shows that a request was bought.

        For one that was refused a moment ago: a history that cannot be read, or that does not show it, says False.
        """
        now = await self._store.now()
        window = Window(opened=min(intent.at, now), closed=now)
        search = _Search(intent=intent, window=window, closed_at=after, is_second_loss=False)
        look = await self._look(since=window.opened, began_after=after)
        return _may_be_bought(self._judge_once(look, search))

    async def look_again(self, request_id: str, attempt: int) -> LedgerEntry | None:
        """Before a request is bought anew: was what a server or a history denied bought all the same?

        Args:
            request_id: Whose.
            attempt: The attempt that is about to begin.

        Returns:
            The entry, where an earlier attempt was adopted after all; None where it may be bought.

        Raises:
            SubmitUncertain: It was sent without a seed, and the history shows one like it.
        """
        if not {"refused", "not_in_history"} & await self._ledger.released_why(request_id, before=attempt):
            return None
        intent, now = await self._ledger.read_intent(request_id, attempt - 1), await self._store.now()
        search = _Search(
            intent=intent,
            window=Window(opened=min(intent.at, now), closed=now),
            closed_at=self._clock(),
            is_second_loss=True,
        )
        look = await self._look(since=search.window.opened, began_after=self._clock())
        verdict = self._judge_once(look, search)
        if isinstance(verdict, Uncertain) and verdict.shows_one_like_it:
            raise SubmitUncertain(f"not bought again: {verdict.reason}; {BY_HAND}")
        entry = await self._ledger.entry(request_id)
        if isinstance(verdict, Adopt) and entry.attempt == attempt:
            await self._adopt(intent, verdict, taken_back=entry.retracted)
            entry = await self._ledger.entry(request_id)
        return None if entry.state is RequestState.FREE else entry

    async def _wait_for_owner(self, intent: Intent) -> LedgerEntry | StaysOpen | None:
        """The entry once the owner has written more; None once the owner is gone; why not where we stop before."""
        wait: float = FIRST_LOOK_SECONDS
        while True:
            if await is_gone(intent.writer, self._store, lease_seconds=self._lease_seconds):
                # Its last word may have come between our listing and its end.
                entry = await self._ledger.entry(intent.request_id)
                return None if self._is_still(entry, intent) else entry
            if self._stopping():
                return StaysOpen("in another run's hands")
            self._waits[intent.request_id] = self._clock() + self._lease_seconds + self._settle_seconds
            await self._sleep(wait)
            wait = min(wait * 2, LONGEST_LOOK_SECONDS, self._lease_seconds / 2)
            entry = await self._ledger.entry(intent.request_id)
            if not self._is_still(entry, intent):
                return entry

    @staticmethod
    def _is_still(entry: LedgerEntry, intent: Intent) -> bool:
        return entry.state is RequestState.OPEN and entry.attempt == intent.attempt

    async def _search_for(self, intent: Intent, *, ours: bool) -> _Search:
        """The window of an intent whose owner does not send any more.

        It closed at the end of the owner's lease: the owner refuses to send after it. Where no lease is left, or its
        owner is known to be dead before it has run out, the time counts from now.
        """
        now, silent_seconds = await self._store.now(), 0.0
        if not ours:
            lease = await look_at_lease(intent.writer.engine_id, self._store, lease_seconds=self._lease_seconds)
            silent_seconds = lease.silent_seconds
            if lease.last_renewed is None:
                await mark_as_gone(intent.writer.engine_id, self._store)
        # An attempt that goes on after a retraction repeats an earlier intent, and was sent when that one was.
        written_at = await self._ledger.intent_written_at(intent.request_id, intent.attempt) or intent.at
        closed = now - timedelta(seconds=silent_seconds)
        return _Search(
            intent=intent,
            window=Window.of(intent, written_at=written_at, closed=closed),
            closed_at=self._clock() - silent_seconds,
            is_second_loss="not_in_history"
            in await self._ledger.released_why(intent.request_id, before=intent.attempt),
        )

    async def _search(self, search: _Search) -> LedgerEntry | StaysOpen:
        intent, wait = search.intent, FIRST_LOOK_SECONDS
        needed_since = float("-inf")
        earlier: Look | None = None
        while True:
            look = await self._look(since=search.window.opened, began_after=needed_since, earlier=earlier)
            verdict = await self._judge(look, search)
            # Asked after the look: where somebody has released this attempt meanwhile, what the history shows may be
            # the next attempt's, whose intent was written before it was sent.
            entry = await self._ledger.entry(intent.request_id)
            if not self._is_still(entry, intent):
                return entry
            if isinstance(verdict, NotBought):
                return await self._release(search)
            if isinstance(verdict, Adopt):
                if await self._adopt(intent, verdict, taken_back=entry.retracted):
                    return await self._ledger.entry(intent.request_id)
                found = verdict.generations[0].id
                verdict = Uncertain(reason=f"generation {found} in the account's history is claimed by another request")
            if self._is_over(search, look, verdict):
                return StaysOpen(self._describe(search, look, verdict))
            earlier = look if self._may_go_deeper(look, verdict) else None
            if earlier is None:
                settled_at = search.closed_at + self._longest_wait()
                self._waits[intent.request_id] = settled_at
                await self._sleep(max(0.05, min(wait, settled_at - self._clock())))
                wait = min(wait * 2, LONGEST_LOOK_SECONDS)
            needed_since = self._clock()

    def _is_over(self, search: _Search, look: Look, verdict: Uncertain) -> bool:
        """True when looking again in this run would show no more."""
        if self._stopping():
            return True
        if self._may_go_deeper(look, verdict):
            return False
        # A history that is behind now is not waited for: its lag would grow with the wait. Nor is one that was seen to be
        # far behind, for ten times as long: a later run looks again.
        waited = look.began_at - search.closed_at >= self._longest_wait()
        return waited or (bool(verdict.unshown) and self._is_quiet(search, look))

    def _describe(self, search: _Search, look: Look, verdict: Uncertain) -> str:
        if self._stopping() and not self._is_quiet(search, look):
            return "stopped before the account's history had settled"
        return f"{verdict.reason}; {BY_HAND}"

    def _may_go_deeper(self, look: Look, verdict: Uncertain) -> bool:
        return verdict.more_pages_help and look.read.may_go_on and look.looks < MOST_LOOKS_AT_ONE_READING

    def _quiet_needed(self) -> float:
        return quiet_seconds_needed(settle_seconds=self._settle_seconds, longest_lag_seconds=self.longest_lag_seconds)

    def _longest_wait(self) -> float:
        return min(self._quiet_needed(), MOST_SETTLINGS_WAITED * self._settle_seconds)

    def _is_quiet(self, search: _Search, look: Look) -> bool:
        return look.began_at - search.closed_at >= self._settle_seconds

    async def _judge(self, look: Look, search: _Search) -> Verdict:
        """What a look says of an intent; what it should have shown is looked up by its id, until one is not gone."""
        verdict = self._judge_once(look, search)
        while isinstance(verdict, Uncertain) and verdict.unshown and self._is_quiet(search, look):
            asked = verdict.unshown[:MOST_LOOKED_UP]
            await self._look_up(look, asked)
            if not self._deleted.issuperset(asked):
                return verdict  # one is there, or not known: the history is behind
            verdict = self._judge_once(look, search)
            if len(self._deleted) >= MOST_DELETED:
                break
        return verdict

    def _judge_once(self, look: Look, search: _Search) -> Verdict:
        intent, view = search.intent, look.view
        acknowledged = dict(view.acknowledged_since(search.window.opened))
        for name, sent in look.witnesses.items():
            bought = view.acknowledged[name]
            acknowledged[name] = replace(bought, intended_at=min(bought.intended_at, sent.at))
        return judge(
            intent,
            window=search.window,
            reading=look.reading,
            known=Known(
                # What a person has taken back from this request is not its own, even while nobody else has it.
                owners={**view.owners, **dict.fromkeys(view.retracted.get(intent.request_id, ()), "retracted")},
                acknowledged=acknowledged,
                witnesses=look.witnesses,
                deleted=frozenset(self._deleted),
                rivals=look.open_intents,
                unread_rivals=look.unread_intents,
            ),
            quiet_seconds=look.began_at - search.closed_at,
            needed_seconds=self._quiet_needed(),
            is_second_loss=search.is_second_loss,
        )

    async def _look_up(self, look: Look, names: Iterable[str]) -> None:
        """Whether the account still knows generations that a reading should have shown: deleted, or late in the history."""
        for name in names:
            generation_id = await self._reader.generation_id(look.view, name)
            age = (look.reading.store_now - look.view.acknowledged[name].known_at).total_seconds()
            if generation_id is None or name in self._deleted:
                continue
            try:
                found = await self._history.client.read_generation(generation_id)
            except LeonardoError:
                continue
            if found is not None:
                self.longest_lag_seconds = max(self.longest_lag_seconds, age)
            elif age > UNKNOWN_FOR_SECONDS:
                self._deleted.add(name)

    async def _adopt(self, intent: Intent, verdict: Adopt, *, taken_back: Collection[str]) -> bool:
        """Take the generations found as the intent's own; False where another request was faster with all of them.

        What a person has taken back from it since the look is not taken again.
        """
        adopted = False
        for generation in verdict.generations:
            if id_in_key(generation.id) in taken_back or not await claim_generation(
                self._store, generation.id, intent.request_id
            ):
                continue
            self._on("after_adoption", intent.request_id)
            header = signed(intent.request_id, intent.attempt, self._lease.writer())
            await self._ledger.write(Submitted(**header, generation_id=generation.id, adopted=True))
            adopted = True
        return adopted

    async def _release(self, search: _Search) -> LedgerEntry:
        intent = search.intent
        header = signed(intent.request_id, intent.attempt, self._lease.writer())
        quiet = self._clock() - search.closed_at
        reason = (
            f"not in the account's history {quiet:.0f} s after its last possible submit, and what was bought since is"
        )
        self._on("before_release", intent.request_id)
        await self._ledger.write(Released(**header, why="not_in_history", reason=reason))
        self._on("after_release", intent.request_id)
        return await self._ledger.entry(intent.request_id)

    async def _look(self, *, since: datetime, began_after: float, earlier: Look | None = None) -> Look:
        """A look into the history that began after this moment; one at a time, shared by all that wait.

        Args:
            since: By the store's clock, how far back it has to reach.
            began_after: By this process's clock.
            earlier: A look whose reading is to go on; the time at which that began stays.
        """
        async with self._one_look:
            latest = self._latest
            if earlier is not None and latest is not None and latest.read is earlier.read and latest is not earlier:
                return latest  # somebody else has gone on with the same reading meanwhile
            is_fresh = earlier is None and latest is not None and latest.began_at >= began_after
            if latest is not None and is_fresh and self._is_enough(latest.reading, since):
                return latest
            if latest is not None:
                await self._sleep(max(0.0, latest.began_at + self._look_every_seconds - self._clock()))
            self._latest = await self._look_now(self._by_history(since), earlier)
            return self._latest

    def _is_enough(self, reading: Reading, since: datetime) -> bool:
        return reading.failure is not None or reading.reaches_back_to(self._by_history(since))

    def _by_history(self, since: datetime) -> datetime:
        """A moment as the history may date it, at the earliest: what was learned of its clock only widens the search."""
        return since + self._earliest_offset - CLOCK_SLACK

    async def _look_now(self, since: datetime, earlier: Look | None) -> Look:
        read = await self._history.read(since=since, earlier=earlier.read if earlier else None)
        # The ledger is read after the history: whatever request a generation belongs to, its intent is in the ledger.
        view, reading = await self._reader.view(), read.as_reading()
        open_intents = await self._reader.open_intents(view)
        sizes = {(intent.width, intent.height) for intent in open_intents}
        look = Look(
            began_at=read.began_at,
            reading=reading,
            read=read,
            view=view,
            open_intents=open_intents,
            unread_intents=tuple({name for name, _ in view.still_open} - {one.request_id for one in open_intents}),
            witnesses=await self._reader.witnesses(view, reading.generations, sizes=sizes),
            looks=earlier.looks + 1 if earlier else 1,
        )
        self._learn_from(look)
        return look

    def _learn_from(self, look: Look) -> None:
        """How far the history's clock was seen to be behind the store's."""
        reading = look.reading
        if reading.api_now is not None:
            self._earliest_offset = min(self._earliest_offset, reading.api_now - reading.store_now)
        for entry in reading.generations:
            bought = look.view.acknowledged.get(id_in_key(entry.id))
            if bought is not None and entry.created_at is not None and bought.has_time:
                self._earliest_offset = min(self._earliest_offset, entry.created_at - bought.known_at)


def _may_be_bought(verdict: Verdict) -> bool:
    """True where the history speaks against a refusal."""
    return isinstance(verdict, Adopt) or (isinstance(verdict, Uncertain) and verdict.shows_one_like_it)
