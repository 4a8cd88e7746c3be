"""A budget log whose newest entry cannot be read goes on from the one before it, with what the ledger shows since.

An entry says what was reserved and settled since the one before. What was settled is looked up in the ledger by whoever
takes the open blocks over; what was reserved and claimed since stands there as intents. So nothing that was bought is
forgotten, and nothing is counted twice.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from seedream_assets.budget.log import (
    Block,
    BudgetEntry,
    budget_folder,
    decode_entry,
    encode_entry,
)
from seedream_assets.errors import ObjectUnreadable
from seedream_assets.ledger.events import REQUESTS_FOLDER, EventKey, Intent, Writer
from seedream_assets.ledger.lease import LEASES_FOLDER, look_at_lease
from seedream_assets.ledger.store import read_events
from seedream_assets.storage.async_store import AsyncStore
from seedream_assets.storage.object_store import ObjectInfo, ObjectStore

# Writers' clocks need not agree.
CLOCKS_APART = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Who has reserved how much for a request."""

    writer: Writer
    credits: int


def reservation_of(store: ObjectStore, dataset: str, request_id: str) -> Reservation | None:
    """The open reservation of a request in the newest entry of its dataset's log; None where there is none."""
    entries = list(store.list(budget_folder(dataset)))
    newest = _newest_readable(store, entries)[0]
    for block in newest.open.values() if newest else ():
        if request_id in block.reserved:
            return Reservation(writer=block.writer, credits=block.reserved[request_id])
    return None


async def mend_budget_log(
    objects: ObjectStore, dataset: str, mended: list[str], left: list[str], *, lease_seconds: float
) -> None:
    """Append to a dataset's log what follows from the last entry that can be read, where the newest cannot.

    Args:
        objects, dataset: Whose.
        mended, left: Told what was done, or why it was not.
    """
    store = AsyncStore(objects, threads=4, sleep=asyncio.sleep)
    try:
        entries = await store.list(budget_folder(dataset))
        newest, place = await store.call(lambda plain: _newest_readable(plain, entries))
        if place == len(entries) - 1:
            return
        if alive := await _living(store, lease_seconds=lease_seconds):
            left.append(
                f"{entries[-1].key} cannot be read, and a run is at work ({alive}); stop it, or wait for its end"
            )
            return
        since = entries[place] if newest else None
        blocks = await store.call(lambda plain: list(_blocks_since(plain, dataset, newest, since)))
        number, last = len(entries), newest or _nothing(await store.now())
        for block in [*blocks, None][: len(blocks) or 1]:
            number += 1
            still_open = {**last.open, number: block} if block else last.open
            last = replace(
                last,
                number=number,
                at=datetime.now(UTC),
                writer=Writer(engine_id="repair", nonce=uuid4().hex),
                open=still_open,
                store_time=await store.now(),
            )
            if not await store.create(f"{budget_folder(dataset)}{number:08d}.json", encode_entry(last)):
                left.append(f"{entries[-1].key} cannot be read, and somebody else writes to the log; try again")
                return
        mended.append(f"{entries[-1].key} cannot be read; the log goes on after it with {last.committed} credits")
    finally:
        store.close()


def _newest_readable(store: ObjectStore, entries: list[ObjectInfo]) -> tuple[BudgetEntry | None, int]:
    """The newest entry that can be read and its place; None and -1 where none can."""
    for place in range(len(entries) - 1, -1, -1):
        try:
            return decode_entry(store.read(entries[place].key), entries[place].key), place
        except ObjectUnreadable:
            continue
    return None, -1


def _blocks_since(
    store: ObjectStore, dataset: str, newest: BudgetEntry | None, since: ObjectInfo | None
) -> list[Block]:
    """What was claimed for the dataset after an entry, by the leases under which it was; a listing of the whole ledger."""
    keys = [
        info.key
        for info in store.list(f"{REQUESTS_FOLDER}/")
        if (key := EventKey.parse(info.key))
        and key.event == "intent"
        # What an entry reserves is claimed after it, and both are stamped by the store.
        and (since is None or info.last_modified >= since.last_modified)
    ]
    held = {
        (request_id, block.writer.engine_id)
        for block in (newest.open.values() if newest else ())
        for request_id in block.reserved
    }
    blocks: dict[str, Block] = {}
    for intent in read_events(store, keys, on_unreadable=lambda _error: None):
        if not isinstance(intent, Intent) or intent.dataset != dataset:
            continue
        # In a copied store every object is young: what the writers' own clocks say counts as well.
        if newest is not None and intent.at < newest.at - CLOCKS_APART:
            continue
        engine_id = intent.writer.engine_id
        if (intent.request_id, engine_id) in held:
            continue
        block = blocks.get(engine_id) or Block(writer=intent.writer, run_id=intent.run_id, reserved={})
        blocks[engine_id] = replace(block, reserved={**block.reserved, intent.request_id: intent.credits_reserved})
    return list(blocks.values())


async def _living(store: AsyncStore, *, lease_seconds: float) -> str | None:
    """The name of a lease that has not run out."""
    for info in await store.list(f"{LEASES_FOLDER}/"):
        engine_id = info.key.removeprefix(f"{LEASES_FOLDER}/").removesuffix(".json")
        if not (await look_at_lease(engine_id, store, lease_seconds=lease_seconds)).has_run_out:
            return engine_id
    return None


def _nothing(now: datetime) -> BudgetEntry:
    return BudgetEntry(number=0, at=now, writer=Writer(engine_id="repair", nonce=""), booked=0)
