"""What a person can do about requests that no machine may decide: look at them, adopt a generation, release.

Belongs here: the rules of doing it safely. Not here: how it is asked and shown (`cli`).
"""

from __future__ import annotations

import asyncio
import json
import platform
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from uuid import uuid4

from seedream_assets.core.declaration import partition_in_key
from seedream_assets.core.errors import ObjectNotFound, SeedreamError
from seedream_assets.core.ledger import RequestState, Standing, fold, fold_all, owners_of
from seedream_assets.core.ledger_events import (
    REQUESTS_FOLDER,
    EventKey,
    Intent,
    LedgerEvent,
    Released,
    Submitted,
    Writer,
    id_in_key,
    request_folder,
)
from seedream_assets.generation.adoptions import claim_generation
from seedream_assets.generation.async_store import AsyncStore
from seedream_assets.generation.lease import is_gone
from seedream_assets.generation.ledger_store import Ledger, read_events
from seedream_assets.storage.object_store import ObjectStore

# Assumed where a lease's own length cannot be read: the longest that anybody sets.
LEASE_SECONDS = 600.0
Result = TypeVar("Result")


class NotByHand(SeedreamError):
    """What was asked would risk paying twice, or losing what is paid; nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """A request of which it is not known whether it was bought.

    Attributes:
        in_hands: True while a run that lives works on it; nobody else should touch it then.
        reason: Why it is open, and what comes next.
    """

    intent: Intent
    in_hands: bool
    reason: str


def list_open(store: ObjectStore) -> list[OpenRequest]:
    """Every request with an intent and no word whether it was bought, oldest first. One listing of the whole ledger."""
    keys = (EventKey.parse(info.key) for info in store.list(REQUESTS_FOLDER + "/"))
    standings = fold_all(key for key in keys if key)
    still_open = [
        f"{request_folder(request_id)}{standing.attempt:02d}-intent.json"
        for request_id, standing in standings.items()
        if standing.state is RequestState.OPEN
    ]
    intents = [event for event in read_events(store, still_open) if isinstance(event, Intent)]
    return sorted(_with_reasons(store, intents), key=lambda found: found.intent.at)


def find_request(store: ObjectStore, beginning: str) -> str:
    """The whole id of the request whose id begins like this.

    Raises:
        NotByHand: No request does, or several do.
    """
    keys = (EventKey.parse(info.key) for info in store.list(f"{REQUESTS_FOLDER}/{beginning}"))
    found = sorted({key.request_id for key in keys if key})
    if len(found) != 1:
        raise NotByHand(f"{len(found) or 'no'} requests begin with {beginning!r}; give more of the id")
    return found[0]


def show_request(store: ObjectStore, request_id: str) -> tuple[Standing, list[LedgerEvent]]:
    """Where a request stands, and its events in the order of their keys.

    Raises:
        NotByHand: There is no such request.
    """
    keys = [info.key for info in store.list(request_folder(request_id))]
    if not keys:
        raise NotByHand(f"the ledger knows no request {request_id}")
    return fold(key for name in keys if (key := EventKey.parse(name))), list(read_events(store, keys))


def adopt_generation(store: ObjectStore, request_id: str, generation_id: str) -> Standing:
    """Put down that this generation is what an open request bought; the next run polls and stores it.

    Whether it really is, the person has seen in the account: prompt, size and seed are told by `show_request`.

    Raises:
        NotByHand: The request is not open, a run works on it, or the generation is another request's.
    """

    async def adopt(ledger: Ledger, async_store: AsyncStore) -> Standing:
        intent = await _open_and_abandoned(ledger, async_store, request_id)
        owner = _owner_of(store, generation_id)
        if owner not in (None, request_id) or not await claim_generation(async_store, generation_id, request_id):
            raise NotByHand(f"generation {generation_id} belongs to request {owner or 'another'} already")
        await ledger.write(
            Submitted(
                request_id=request_id,
                attempt=intent.attempt,
                at=datetime.now(UTC),
                writer=_by_hand(),
                generation_id=generation_id,
                adopted=True,
            )
        )
        return await ledger.standing(request_id)

    return _run(store, adopt)


def release_request(store: ObjectStore, request_id: str, reason: str) -> Standing:
    """Put down that an open request bought nothing; the next run buys it.

    Args:
        store: Where the ledger is.
        request_id: Whole.
        reason: How the person knows; stands in the ledger for good.

    Raises:
        NotByHand: The request is not open, or a run works on it. What is submitted or has ended is never released.
    """

    async def release(ledger: Ledger, async_store: AsyncStore) -> Standing:
        intent = await _open_and_abandoned(ledger, async_store, request_id)
        await ledger.write(
            Released(
                request_id=request_id,
                attempt=intent.attempt,
                at=datetime.now(UTC),
                writer=_by_hand(),
                why="by_hand",
                reason=reason,
            )
        )
        return await ledger.standing(request_id)

    return _run(store, release)


async def _open_and_abandoned(ledger: Ledger, store: AsyncStore, request_id: str) -> Intent:
    standing = await ledger.standing(request_id)
    if standing.state is not RequestState.OPEN:
        raise NotByHand(f"request {request_id} is {standing.state.value}, not open; there is nothing to decide")
    intent = await ledger.read_intent(request_id, standing.attempt)
    if not await is_gone(intent.writer, store, lease_seconds=LEASE_SECONDS):
        raise NotByHand(
            f"request {request_id} is in the hands of a run on {intent.writer.host or 'some machine'}, process "
            f"{intent.writer.pid}; stop it first, or wait for it"
        )
    return intent


def _owner_of(store: ObjectStore, generation_id: str) -> str | None:
    keys = (EventKey.parse(info.key) for info in store.list(REQUESTS_FOLDER + "/"))
    return owners_of([key for key in keys if key]).get(id_in_key(generation_id))


def _with_reasons(store: ObjectStore, intents: Iterable[Intent]) -> list[OpenRequest]:
    reports: dict[str, dict[str, str]] = {}

    async def look(_ledger: Ledger, async_store: AsyncStore) -> list[OpenRequest]:
        found = []
        for intent in intents:
            in_hands = not await is_gone(intent.writer, async_store, lease_seconds=LEASE_SECONDS)
            key = f"datasets/{intent.dataset}/runs/{partition_in_key(intent.partition)}.json"
            if key not in reports:
                reports[key] = _notes(store, key)
            told = reports[key].get(intent.request_id, "its run ended before it was known whether it was bought")
            reason = (
                "a run works on it" if in_hands else f"{told}; the next run looks it up in the account's history again"
            )
            found.append(OpenRequest(intent=intent, in_hands=in_hands, reason=reason))
        return found

    return _run(store, look)


def _notes(store: ObjectStore, key: str) -> dict[str, str]:
    """What the latest run over a partition said of single requests."""
    try:
        notes = json.loads(store.read(key)).get("notes", {})
    except (ObjectNotFound, ValueError, AttributeError):
        return {}
    return {str(name): str(reason) for name, reason in notes.items()}


def _by_hand() -> Writer:
    """Signed by a person: no lease, no process."""
    return Writer(engine_id="by-hand", nonce=uuid4().hex, host=platform.node())


def _run(store: ObjectStore, work: Callable[[Ledger, AsyncStore], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        async_store = AsyncStore(store, threads=4, sleep=asyncio.sleep)
        try:
            return await work(Ledger(async_store), async_store)
        finally:
            async_store.close()

    return asyncio.run(run())
