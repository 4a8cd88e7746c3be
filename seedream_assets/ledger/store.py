"""The ledger in the store: events written create-only, entries read with list calls; and the adoptions beside it.

An adoption says which request owns a generation that no answer named. Each is an object of its own, so that only one of
two requests wins:

    adoptions/<generation_id>.json                whose it is
    adoptions/<generation_id>.retracted-1.json    a person took it back: from here on the next object decides
    adoptions/<generation_id>.adopted-1.json      whose it is then; and so on, by number

Nothing here is ever changed. As many retractions as there are, so many adoptions are over, and the next may be created.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from seedream_assets.errors import ObjectNotFound, ObjectUnreadable, StoreError
from seedream_assets.ledger.events import (
    REQUESTS_FOLDER,
    RESTORE_EVENT,
    Blocked,
    Completed,
    EventKey,
    Failed,
    FinalEvent,
    Intent,
    LedgerEvent,
    Recollected,
    Released,
    Submitted,
    Writer,
    decode_event,
    encode_event,
    event_key,
    id_in_key,
    is_hashed_id,
    request_folder,
)
from seedream_assets.ledger.state import FRESH, LedgerEntry, RequestState, fold, fold_all, in_force, with_recollected
from seedream_assets.leonardo.generations import Cost
from seedream_assets.storage.async_store import AsyncStore
from seedream_assets.storage.object_store import ObjectInfo, ObjectStore

# One list call per request up to here, one listing of the whole ledger beyond: a page lists 1,000 keys, so a store of
# 100,000 requests is read in about 300 calls.
MOST_SINGLE_LISTINGS = 200
ADOPTIONS_FOLDER = "adoptions"


class Ledger:
    """Reads and writes for the engine, one request at a time.

    Args:
        store: Where the ledger is.
        on_ending: Called with every final event that stands as this process wrote it.
    """

    def __init__(self, store: AsyncStore, *, on_ending: Callable[[FinalEvent], None] = lambda _event: None) -> None:
        self._store = store
        self._on_ending = on_ending

    async def write(self, event: LedgerEvent) -> bool:
        """Write an event, create-only.

        Returns:
            True when it stands as written here; False when another writer's event of this kind was there first.
        """
        written = await self._store.create(event_key(event), encode_event(event))
        if written and isinstance(event, Completed | Failed | Blocked):
            self._on_ending(event)
        return written

    async def entry(self, request_id: str) -> LedgerEntry:
        """Where a request stands, by one list call."""
        infos = await self._store.list(request_folder(request_id))
        return fold(key for info in infos if (key := EventKey.parse(info.key)))

    async def taken_back(self, request_id: str) -> tuple[str, ...]:
        """The generations that a person took back from a request, by their ids as in keys."""
        return (await self.entry(request_id)).retracted

    async def read_intent(self, request_id: str, attempt: int) -> Intent:
        """The intent of an attempt."""
        event = await self.read(f"{request_folder(request_id)}{attempt:02d}-intent.json")
        if not isinstance(event, Intent):
            raise StoreError(f"the intent of {request_id}, attempt {attempt}, holds another event: {event.event}")
        return event

    async def read_submitted(self, request_id: str, attempt: int) -> list[Submitted]:
        """Every submit known for an attempt and not taken back, in the order of their keys; usually one."""
        infos = await self._store.list(f"{request_folder(request_id)}{attempt:02d}-")
        found = {key: info for info in infos if (key := EventKey.parse(info.key))}
        submits = [found[key] for key in in_force(list(found)) if key.event == "submitted"]
        events = [await self._read_or_take_from_key(info) for info in submits]
        return [event for event in events if isinstance(event, Submitted)]

    async def _read_or_take_from_key(self, info: ObjectInfo) -> LedgerEvent:
        """A submit; where its object cannot be read, its key is enough to go on: it names the generation that is paid for.

        What it cost is not known then, and the quote stands for it.
        """
        try:
            return await self.read(info.key)
        except ObjectUnreadable:
            key = EventKey.parse(info.key)
            if key is None or key.generation is None or is_hashed_id(key.generation):
                raise
            return Submitted(
                request_id=key.request_id,
                attempt=key.attempt,
                at=info.last_modified,
                writer=Writer(engine_id="unreadable", nonce=""),
                generation_id=key.generation,
                # Whether an answer named it is not known: as an adopted one it proves nothing of others.
                adopted=True,
            )

    async def released_why(self, request_id: str, *, before: int) -> frozenset[str]:
        """Why attempts before this one were released."""
        if before == 0:
            return frozenset()
        infos = await self._store.list(request_folder(request_id))
        keys = [key for info in infos if (key := EventKey.parse(info.key))]
        released = [key.attempt for key in keys if key.event == "released" and key.attempt < before]
        events = [await self.read(f"{request_folder(request_id)}{attempt:02d}-released.json") for attempt in released]
        return frozenset(event.why for event in events if isinstance(event, Released))

    async def intent_written_at(self, request_id: str, attempt: int) -> datetime | None:
        """When an intent was written, by the store's clock; None where there is none."""
        head = await self._store.head(f"{request_folder(request_id)}{attempt:02d}-intent.json")
        return head.last_modified if head else None

    async def read(self, key: str) -> LedgerEvent:
        """The event under a key.

        Raises:
            ObjectUnreadable: There is none, or it is torn.
        """
        try:
            body = await self._store.read(key)
        except ObjectNotFound as error:
            raise ObjectUnreadable(key, found="is not there any more", remedy=RESTORE_EVENT) from error
        return decode_event(body, key=key)


def final_key(request_id: str, entry: LedgerEntry) -> str:
    """The key of the event that ended a request."""
    return f"{request_folder(request_id)}{entry.attempt:02d}-{entry.state.value}.json"


class LedgerEntries:
    """Where requests stand, as far as this process has asked. What has come to its end stays there, and is asked for once.

    So the stages of one process list a large ledger once where everything is owned, and not once each.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._ended: dict[str, LedgerEntry] = {}

    def begun(self, request_ids: Collection[str]) -> dict[str, LedgerEntry]:
        """The entries of those that anybody has begun, or begun and released; the others are FRESH.

        Few requests are listed one by one; for many the whole ledger is listed once. Bodies are not read.
        """
        is_large = len(request_ids) > MOST_SINGLE_LISTINGS and not self._ended
        if is_large and next(self._store.list(f"{REQUESTS_FOLDER}/"), None) is None:
            return {}  # the first plan of a store: a million ids need not become a set of texts
        asked = set(request_ids)
        known = {request_id: self._ended[request_id] for request_id in asked & self._ended.keys()}
        asked.difference_update(known)
        found = fold_all(self._keys_of(asked))
        self._ended |= {request_id: entry for request_id, entry in found.items() if entry.is_final}
        return known | found

    def of(self, request_ids: Iterable[str]) -> dict[str, LedgerEntry]:
        """Every one's entry, in the order of the ids."""
        wanted = list(dict.fromkeys(request_ids))
        begun = self.begun(wanted)
        return {request_id: begun.get(request_id, FRESH) for request_id in wanted}

    def _keys_of(self, request_ids: set[str]) -> Iterator[EventKey]:
        if len(request_ids) > MOST_SINGLE_LISTINGS:
            for info in self._store.list(f"{REQUESTS_FOLDER}/"):
                key = EventKey.parse(info.key)
                if key and key.request_id in request_ids:
                    yield key
            return
        with ThreadPoolExecutor(max_workers=16) as threads:
            folders = [request_folder(request_id) for request_id in request_ids]
            for infos in threads.map(lambda folder: list(self._store.list(folder)), folders):
                yield from (key for info in infos if (key := EventKey.parse(info.key)))


def read_endings(
    store: ObjectStore,
    ended: Mapping[str, LedgerEntry],
    *,
    on_unreadable: Callable[[ObjectUnreadable], None] | None = None,
) -> Iterator[FinalEvent]:
    """How requests ended, each with the images that came late to it.

    Args:
        store: Where the ledger is.
        ended: Entries that are final, by request id.
        on_unreadable: Called for each object that is no event; the end of its request is left out. None: the first one raises.

    Raises:
        ObjectUnreadable: As `decode_event`, where `on_unreadable` is not given.
    """
    left_out: set[str] = set()

    def leave_out(error: ObjectUnreadable) -> None:
        if on_unreadable is None:
            raise error
        on_unreadable(error)
        if key := EventKey.parse(error.key):
            left_out.add(key.request_id)

    folders = {request_id: f"{request_folder(request_id)}{found.attempt:02d}-" for request_id, found in ended.items()}
    late = (
        f"{folders[request_id]}recollected-{number}.json"
        for request_id, entry in ended.items()
        for number in entry.recollected
    )
    recollected: dict[str, list[Recollected]] = {}
    for event in read_events(store, late, on_unreadable=leave_out):
        if isinstance(event, Recollected):
            recollected.setdefault(event.request_id, []).append(event)
    final = (final_key(request_id, entry) for request_id, entry in ended.items())
    for event in read_events(store, final, on_unreadable=leave_out):
        if isinstance(event, Completed | Failed | Blocked) and event.request_id not in left_out:
            yield with_recollected(event, recollected.get(event.request_id, ()))


def read_event(store: ObjectStore, key: str) -> LedgerEvent:
    """The event under a key."""
    return decode_event(store.read(key), key=key)


def read_events(
    store: ObjectStore, keys: Iterable[str], *, on_unreadable: Callable[[ObjectUnreadable], None] | None = None
) -> Iterator[LedgerEvent]:
    """The events under these keys, in their order, read a few at a time.

    Args:
        store, keys: Which.
        on_unreadable: Called for each object that is no event, and the others go on. None: the first one raises.

    Raises:
        ObjectUnreadable: As `decode_event`, where `on_unreadable` is not given.
    """
    with ThreadPoolExecutor(max_workers=16) as threads:
        wanted = list(keys)
        for key, body in zip(wanted, threads.map(store.read, wanted), strict=True):
            try:
                event = decode_event(body, key=key)
            except ObjectUnreadable as error:
                if on_unreadable is None:
                    raise
                on_unreadable(error)
                continue
            yield event


def last_release(store: ObjectStore, request_id: str, entry: LedgerEntry) -> Released | None:
    """Why the latest attempt of a FREE request was released; None where it was never begun."""
    if entry.state is not RequestState.FREE or entry.attempt == 0:
        return None
    key = f"{request_folder(request_id)}{entry.attempt - 1:02d}-released.json"
    try:
        event = read_event(store, key)
    except ObjectUnreadable:
        return None  # its key alone proves that nothing was bought; why is not known any more
    return event if isinstance(event, Released) else None


def cost_of(event: Submitted | Completed | Failed | Blocked) -> Cost | None:
    """The cost in an event; None where the API gave none."""
    if event.cost_amount is None or event.cost_unit is None:
        return None
    return Cost(amount=event.cost_amount, unit=event.cost_unit)


async def claim_generation(store: AsyncStore, generation_id: str, request_id: str) -> bool:
    """Make a generation found in the history a request's own; False where it is another request's already.

    Equal bytes count as one's own write: whoever adopts it for the same request succeeds.

    Raises:
        ObjectUnreadable: Somebody has adopted it, and whose it is cannot be read.
    """
    key = _adoption_key(generation_id, await _retractions(store, generation_id))
    if await store.create(key, _facts(generation_id, request_id)):
        return True
    try:
        adopted = json.loads(await store.read(key))
        is_readable = isinstance(adopted, dict) and isinstance(adopted.get("request_id"), str)
    except ValueError:
        is_readable = False
    if not is_readable:
        raise ObjectUnreadable(
            key,
            found="does not say which request has adopted this generation",
            remedy=f"see with `seedream trace {generation_id}` whether one owns it; where none does, delete this object, and "
            "the next run adopts it anew",
        )
    return False


async def free_generation(store: AsyncStore, generation_id: str, request_id: str) -> bool:
    """Let another request adopt what this one has adopted and, by its ledger, given back: `retracted` stands there.

    Only then: who frees it before could see it adopted by two.

    Returns:
        False where it is not this request's adoption that is in force; nothing was written.
    """
    number = await _retractions(store, generation_id)
    try:
        entry = await store.read(_adoption_key(generation_id, number))
    except ObjectNotFound:
        return False
    if entry != _facts(generation_id, request_id):
        return False
    key = f"{_folder(generation_id)}.retracted-{number + 1}.json"
    return await store.create(key, _facts(generation_id, request_id))


async def _retractions(store: AsyncStore, generation_id: str) -> int:
    """How many adoptions of a generation are over. An id in a key holds no dot, so nobody else's objects are counted."""
    return len(await store.list(f"{_folder(generation_id)}.retracted-"))


def _adoption_key(generation_id: str, number: int) -> str:
    return f"{_folder(generation_id)}.adopted-{number}.json" if number else f"{_folder(generation_id)}.json"


def _folder(generation_id: str) -> str:
    return f"{ADOPTIONS_FOLDER}/{id_in_key(generation_id)}"


def _facts(generation_id: str, request_id: str) -> bytes:
    return json.dumps({"generation_id": generation_id, "request_id": request_id}, indent=1).encode()
