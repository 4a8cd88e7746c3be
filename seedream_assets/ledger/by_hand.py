"""What a person can do about requests that no machine may decide: look at them, and release those that bought nothing.

Belongs here: the rules of doing it safely. Not here: what needs a look at the account first (`adopt`), and how it is
asked and shown (`cli`).
"""

from __future__ import annotations

import asyncio
import json
import platform
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import uuid4

from seedream_assets.config.dataset import partition_in_key
from seedream_assets.errors import ObjectNotFound, ObjectUnreadable, SeedreamError
from seedream_assets.ledger.events import (
    REQUESTS_FOLDER,
    EventKey,
    Intent,
    LedgerEvent,
    Released,
    Writer,
    request_folder,
)
from seedream_assets.ledger.lease import UNREADABLE_SECONDS, is_gone
from seedream_assets.ledger.state import LedgerEntry, RequestState, fold, fold_all
from seedream_assets.ledger.store import Ledger, read_events
from seedream_assets.storage.async_store import AsyncStore
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.wording import count_of

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


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldUp:
    """A request that no run goes on with before a person has done something about it.

    Attributes:
        reason: What is in the way, and what to do.
    """

    request_id: str
    reason: str


def list_open(store: ObjectStore) -> tuple[list[OpenRequest], list[HeldUp]]:
    """The requests of which it is not known whether they were bought, oldest first; and those that are held up.

    One listing of the whole ledger.
    """
    keys = (EventKey.parse(info.key) for info in store.list(REQUESTS_FOLDER + "/"))
    entries = fold_all(key for key in keys if key)
    still_open = [
        f"{request_folder(request_id)}{entry.attempt:02d}-intent.json"
        for request_id, entry in entries.items()
        if entry.state is RequestState.OPEN
    ]
    held_up = [
        HeldUp(request_id=request_id, reason=entry.why_untouched)
        for request_id, entry in entries.items()
        if entry.state is RequestState.UNKNOWN
    ]

    def hold_up(error: ObjectUnreadable) -> None:
        held_up.append(HeldUp(request_id=error.key.split("/")[1], reason=str(error)))

    events = read_events(store, still_open, on_unreadable=hold_up)
    intents = [event for event in events if isinstance(event, Intent)]
    return sorted(_with_reasons(store, intents), key=lambda found: found.intent.at), held_up


def find_request(store: ObjectStore, beginning: str) -> str:
    """The whole id of the request whose id begins like this.

    Raises:
        NotByHand: No request does, or several do.
    """
    keys = (EventKey.parse(info.key) for info in store.list(f"{REQUESTS_FOLDER}/{beginning}"))
    found = sorted({key.request_id for key in keys if key})
    if len(found) != 1:
        raise NotByHand(
            f"{count_of(len(found), 'request')} with an id that begins with {beginning!r}; give more of the id"
        )
    return found[0]


def show_request(
    store: ObjectStore, request_id: str, *, on_unreadable: Callable[[ObjectUnreadable], None] | None = None
) -> tuple[LedgerEntry, list[LedgerEvent]]:
    """Where a request stands, and its events in the order of their keys, without those that this version does not know.

    Raises:
        NotByHand: There is no such request.
    """
    keys = [(info.key, EventKey.parse(info.key)) for info in store.list(request_folder(request_id))]
    if not keys:
        raise NotByHand(f"the ledger knows no request {request_id}")
    readable = [name for name, key in keys if key and key.event != "unknown"]
    return fold(key for _, key in keys if key), list(read_events(store, readable, on_unreadable=on_unreadable))


def release_all(store: ObjectStore, reason: str) -> dict[str, LedgerEntry | NotByHand]:
    """Record of every open request that it bought nothing; see `release_request`.

    Returns:
        Where each stands then, by request id, oldest first; or why it was left alone: a run works on it, or it has come
        to something since it was listed.
    """
    found: dict[str, LedgerEntry | NotByHand] = {}
    # One that cannot be read is decided by itself, with open eyes.
    for request in list_open(store)[0]:
        request_id = request.intent.request_id
        try:
            found[request_id] = release_request(store, request_id, reason)
        except NotByHand as error:
            found[request_id] = error
    return found


def release_request(store: ObjectStore, request_id: str, reason: str) -> LedgerEntry:
    """Record that an open request bought nothing; the next run buys it.

    Args:
        store: Where the ledger is.
        request_id: Whole.
        reason: How the person knows; stands in the ledger for good.

    Raises:
        NotByHand: The request is not open, or a run works on it. What is submitted or has ended is never released.
    """

    async def release(ledger: Ledger, async_store: AsyncStore) -> LedgerEntry:
        try:
            attempt = (await open_and_abandoned(ledger, async_store, request_id)).attempt
        except ObjectUnreadable:
            attempt = await _abandoned_for_its_age(ledger, async_store, request_id)
        await ledger.write(
            Released(
                request_id=request_id,
                attempt=attempt,
                at=datetime.now(UTC),
                writer=by_hand(),
                why="by_hand",
                reason=reason,
            )
        )
        return await ledger.entry(request_id)

    return run_by_hand(store, release)


async def open_and_abandoned(ledger: Ledger, store: AsyncStore, request_id: str) -> Intent:
    """The intent of an open request that nobody works on.

    Raises:
        NotByHand: The request is not open, or a run works on it.
    """
    entry = await ledger.entry(request_id)
    if entry.state is not RequestState.OPEN:
        raise not_to_be_decided(request_id, entry)
    intent = await ledger.read_intent(request_id, entry.attempt)
    await refuse_in_hands(intent.writer, store, request_id)
    return intent


async def _abandoned_for_its_age(ledger: Ledger, store: AsyncStore, request_id: str) -> int:
    """The attempt of an open request whose intent cannot be read, so that nobody knows whose it is.

    Raises:
        NotByHand: It is so young that a run may still work on it.
    """
    attempt = (await ledger.entry(request_id)).attempt
    written_at = await ledger.intent_written_at(request_id, attempt)
    if written_at is not None and await store.now() - written_at < timedelta(seconds=UNREADABLE_SECONDS):
        raise NotByHand(
            f"the intent of request {request_id} cannot be read and is younger than {UNREADABLE_SECONDS:g} s, so a run may still "
            "work on it; wait that long"
        )
    return attempt


def not_to_be_decided(request_id: str, entry: LedgerEntry) -> NotByHand:
    """What to say where a request is not open."""
    if entry.state is RequestState.UNKNOWN:
        return NotByHand(f"request {request_id}: {entry.why_untouched}")
    return NotByHand(f"request {request_id} is {entry.state.value}, not open; there is nothing to decide")


async def refuse_in_hands(writer: Writer, store: AsyncStore, request_id: str) -> None:
    """Let nobody decide over a run that lives.

    Raises:
        NotByHand: The process that signed lives.
    """
    if not await is_gone(writer, store, lease_seconds=UNREADABLE_SECONDS):
        raise NotByHand(
            f"request {request_id} is in the hands of a run on {writer.host or 'some machine'}, process "
            f"{writer.pid}; stop it first, or wait for it"
        )


def _with_reasons(store: ObjectStore, intents: Iterable[Intent]) -> list[OpenRequest]:
    reports: dict[str, dict[str, str]] = {}

    async def look(_ledger: Ledger, async_store: AsyncStore) -> list[OpenRequest]:
        found = []
        for intent in intents:
            in_hands = not await is_gone(intent.writer, async_store, lease_seconds=UNREADABLE_SECONDS)
            key = f"datasets/{intent.dataset}/runs/{partition_in_key(intent.partition)}.json"
            if key not in reports:
                reports[key] = _notes(store, key)
            note = reports[key].get(intent.request_id, "its run ended before it was known whether it was bought")
            reason = (
                "a run works on it" if in_hands else f"{note}; the next run looks it up in the account's history again"
            )
            found.append(OpenRequest(intent=intent, in_hands=in_hands, reason=reason))
        return found

    return run_by_hand(store, look)


def _notes(store: ObjectStore, key: str) -> dict[str, str]:
    """What the latest run over a partition said of single requests."""
    try:
        notes = json.loads(store.read(key)).get("notes", {})
    except (ObjectNotFound, ValueError, AttributeError):
        return {}
    return {str(name): str(reason) for name, reason in notes.items()}


def by_hand() -> Writer:
    """Signed by a person: no lease, no process."""
    return Writer(engine_id="by-hand", nonce=uuid4().hex, host=platform.node())


def run_by_hand(store: ObjectStore, work: Callable[[Ledger, AsyncStore], Awaitable[Result]]) -> Result:
    """Do something with the ledger and the store, and wait for it."""

    async def run() -> Result:
        async_store = AsyncStore(store, threads=4, sleep=asyncio.sleep)
        try:
            return await work(Ledger(async_store), async_store)
        finally:
            async_store.close()

    return asyncio.run(run())
