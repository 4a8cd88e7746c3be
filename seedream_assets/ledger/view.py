"""What the whole ledger says at one moment, as far as an open intent is judged by it: owners, witnesses, what is open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from seedream_assets.errors import ObjectUnreadable
from seedream_assets.ledger.events import REQUESTS_FOLDER, EventKey, Intent, id_in_key
from seedream_assets.ledger.recovery_rules import Acknowledged
from seedream_assets.ledger.state import RequestState, fold_all, in_force, owners_of
from seedream_assets.ledger.store import Ledger
from seedream_assets.leonardo.generations import Generation
from seedream_assets.storage.async_store import AsyncStore
from seedream_assets.storage.object_store import ObjectInfo

# Of what a reading shows: enough to know how the history spells each field, and few enough to be read at once.
MOST_WITNESSES = 40
MOST_WITNESSES_OF_A_SIZE = 10


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
        """Every open intent that can be read; what cannot be holds up its own request, and no other."""
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
        """A generation's own id, by the name that it has in keys; None where the ledger cannot tell it."""
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
        """The intent, where an answer told the generation's id; an adopted one says nothing of the history."""
        try:
            submits = await self._ledger.read_submitted(request_id, attempt)
        except ObjectUnreadable:
            return None
        if any(id_in_key(submit.generation_id) == name and not submit.adopted for submit in submits):
            return await self._read_intent(request_id, attempt)
        return None
