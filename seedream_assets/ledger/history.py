"""What an open intent is judged by: the account's history, and what the ledger says of the generations in it.

The history promises neither an order, nor a page size, nor how its end is shown. Each page is asked for from the last entry
of the one before, so that an entry which somebody deletes meanwhile does not let another slip through. A reading is
bounded in pages; the next look can go on where it ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from seedream_assets.config.retry import Clock, Sleep, repeat
from seedream_assets.errors import LeonardoError, ObjectUnreadable
from seedream_assets.ledger.events import REQUESTS_FOLDER, EventKey, Intent, id_in_key
from seedream_assets.ledger.recovery_rules import Acknowledged, Reading
from seedream_assets.ledger.state import RequestState, fold_all, in_force, owners_of
from seedream_assets.ledger.store import Ledger
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.generations import Generation, HistoryPage
from seedream_assets.storage.async_store import AsyncStore
from seedream_assets.storage.object_store import ObjectInfo

HISTORY_PAGE = 50
# Of what a reading shows: enough to know how the history spells each field, and few enough to be read at once.
MOST_WITNESSES = 40
MOST_WITNESSES_OF_A_SIZE = 10


@dataclass(slots=True, kw_only=True)
class HistoryRead:
    """A reading under way, or ended.

    Attributes:
        began_at: By this process's clock.
        store_now, api_now: The two other clocks at the same time.
        found: Entries by id, in the server's order.
        offset: Where the next page begins.
        last: The entry that it should begin with.
        grew: True when the latest look came further, so that going on may add more.
    """

    began_at: float
    store_now: datetime
    api_now: datetime | None = None
    found: dict[str, Generation] = field(default_factory=dict)
    offset: int = 0
    last: str | None = None
    reaches_end: bool = False
    grew: bool = False
    failure: str | None = None

    @property
    def may_go_on(self) -> bool:
        """True where there may be more to read."""
        return self.grew and not self.reaches_end and self.failure is None

    def take(self, page: HistoryPage) -> None:
        """Add a page, and work out where the next one begins."""
        self.api_now = self.api_now or page.api_now
        ids = [generation.id for generation in page.generations]
        if not ids:
            # The largest page is the server's secret, so a short page is not the end; an empty one is.
            self.reaches_end = True
            return
        new = [generation for generation in page.generations if generation.id not in self.found]
        if new and ids[0] not in self.found and self.last is not None and self.last not in ids:
            # Entries above were deleted and the rest has moved up: what lies between was not seen.
            self.offset = max(0, self.offset - HISTORY_PAGE)
            return
        self.grew = True
        self.found.update((generation.id, generation) for generation in new)
        self.last = ids[-1]
        # New generations push the others down meanwhile: some come twice, even whole pages, and none is missed.
        self.offset += len(ids) - 1 if new else len(ids)

    def reaches(self, moment: datetime) -> bool:
        """True where, by the order seen so far, what follows is older."""
        return self.as_reading().reaches_back_to(moment)

    def as_reading(self) -> Reading:
        """The reading as the rules take it."""
        return Reading(
            generations=tuple(self.found.values()),
            reaches_end=self.reaches_end,
            store_now=self.store_now,
            api_now=self.api_now,
            failure=self.failure,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountHistory:
    """The history of one account.

    Attributes:
        pages: The most that one look reads.
    """

    client: LeonardoClient
    store: AsyncStore
    user_id: str
    pages: int
    sleep: Sleep
    clock: Clock

    async def read(self, *, since: datetime, earlier: HistoryRead | None = None) -> HistoryRead:
        """Read back to a moment, to the list's end, or as many pages as one look may.

        Args:
            since: By the history's own time.
            earlier: A reading to go on with; it keeps the time at which it began.

        Returns:
            What was read; `failure` says why no more could be.
        """
        reading = earlier or HistoryRead(began_at=self.clock(), store_now=await self.store.now())
        reading.grew, reading.failure = False, None
        try:
            for page in range(self.pages):
                reading.take(await self._read_page(reading.offset))
                if reading.reaches_end or (reading.reaches(since) and (earlier is None or page)):
                    break
        except LeonardoError as error:
            reading.failure = str(error)
        return reading

    async def _read_page(self, offset: int) -> HistoryPage:
        async def read() -> HistoryPage:
            return await self.client.read_history(self.user_id, offset=offset, limit=HISTORY_PAGE)

        return await repeat(read, sleep=self.sleep)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerView:
    """One listing of the ledger. Generations go by their ids as they stand in keys.

    Attributes:
        owners: The request that owns each generation.
        attempts: The attempt of that request that bought it.
        acknowledged: When it was bought.
        retracted: What was taken back from a request.
        still_open: Every open request and its attempt.
    """

    owners: Mapping[str, str] = field(default_factory=dict)
    attempts: Mapping[str, int] = field(default_factory=dict)
    acknowledged: Mapping[str, Acknowledged] = field(default_factory=dict)
    retracted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    still_open: tuple[tuple[str, int], ...] = ()

    def acknowledged_since(self, moment: datetime) -> Mapping[str, Acknowledged]:
        """What was bought since then."""
        return {name: bought for name, bought in self.acknowledged.items() if bought.known_at >= moment}


def view_of(infos: Iterable[ObjectInfo]) -> LedgerView:
    """The view of a listing. Pure."""
    dated = {key: info.last_modified for info in infos if (key := EventKey.parse(info.key))}
    keys = list(dated)
    intents = {(key.request_id, key.attempt): dated[key] for key in keys if key.event == "intent"}
    bought = {key.generation: key for key in in_force(keys) if key.event == "submitted" and key.generation}
    states = fold_all(keys)
    return LedgerView(
        owners=owners_of(keys),
        attempts={name: key.attempt for name, key in bought.items()},
        acknowledged={
            name: Acknowledged(intended_at=intents.get((key.request_id, key.attempt), dated[key]), known_at=dated[key])
            for name, key in bought.items()
        },
        retracted={request_id: found.retracted for request_id, found in states.items() if found.retracted},
        still_open=tuple(
            (request_id, found.attempt) for request_id, found in states.items() if found.state is RequestState.OPEN
        ),
    )


class LedgerReader:
    """Reads views, and the bodies that a judgement needs. What was read once is kept: no event ever changes."""

    def __init__(self, store: AsyncStore, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger
        self._intents: dict[tuple[str, int], Intent] = {}
        self._witnesses: dict[str, Intent | None] = {}

    async def view(self) -> LedgerView:
        """The ledger as it stands. One listing of the whole of it."""
        infos = await self._store.list(REQUESTS_FOLDER + "/")
        return await asyncio.to_thread(view_of, infos)

    async def open_intents(self, view: LedgerView) -> tuple[Intent, ...]:
        """Every open intent that can be read."""
        known = {key: self._intents[key] for key in view.still_open if key in self._intents}
        new = [key for key in view.still_open if key not in known]
        read = await asyncio.gather(*(self._read_intent(request_id, attempt) for request_id, attempt in new))
        known |= {key: intent for key, intent in zip(new, read, strict=True) if intent is not None}
        self._intents = known
        return tuple(known.values())

    async def witnesses(
        self, view: LedgerView, shown: Iterable[Generation], *, sizes: set[tuple[int, int]]
    ) -> Mapping[str, Intent]:
        """The intents of generations in a reading that Leonardo itself has acknowledged: the latest, and of these sizes.

        Args:
            view: The ledger.
            shown: The reading's entries.
            sizes: Width and height of the requests that are judged.
        """
        owned = [entry for entry in shown if id_in_key(entry.id) in view.owners]
        owned.sort(key=lambda entry: view.acknowledged[id_in_key(entry.id)].known_at, reverse=True)
        chosen = owned[:MOST_WITNESSES]
        for size in sizes:
            chosen += [entry for entry in owned if (entry.width, entry.height) == size][:MOST_WITNESSES_OF_A_SIZE]
        names = list(dict.fromkeys(id_in_key(entry.id) for entry in chosen))
        new = [name for name in names if name not in self._witnesses]
        read = await asyncio.gather(*(self._read_witness(view.owners[name], view.attempts[name], name) for name in new))
        self._witnesses |= dict(zip(new, read, strict=True))
        return {name: intent for name in names if (intent := self._witnesses[name]) is not None}

    async def generation_id(self, view: LedgerView, name: str) -> str | None:
        """A generation's own id, by the name that it has in keys; None where the ledger does not say it."""
        try:
            submits = await self._ledger.read_submitted(view.owners[name], view.attempts[name])
        except ObjectUnreadable:
            return None
        return next((submit.generation_id for submit in submits if id_in_key(submit.generation_id) == name), None)

    async def _read_intent(self, request_id: str, attempt: int) -> Intent | None:
        try:
            return await self._ledger.read_intent(request_id, attempt)
        except ObjectUnreadable:
            return None

    async def _read_witness(self, request_id: str, attempt: int, name: str) -> Intent | None:
        """The intent, where Leonardo's answer gave the generation's id; an adopted one says nothing of the history."""
        try:
            submits = await self._ledger.read_submitted(request_id, attempt)
        except ObjectUnreadable:
            return None
        if any(id_in_key(submit.generation_id) == name and not submit.adopted for submit in submits):
            return await self._read_intent(request_id, attempt)
        return None
