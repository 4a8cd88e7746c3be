"""What stands in a dataset's budget log, what it says to whoever only reads it, and how a broken one goes on.

`datasets/<dataset>/budget/<number>.json`, create-only; runs write through `dataset_budget`.

An entry says what was reserved and settled since the one before. Where the newest cannot be read, the log goes on from the
last one that can: what was settled since is looked up in the ledger by whoever takes the open blocks over, and what was
reserved and claimed since stands in the ledger as intents. So nothing that was bought is forgotten or counted twice.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from uuid import uuid4

from pydantic import TypeAdapter

from seedream_assets.budget.rules import DearPrice, DearPrices
from seedream_assets.config.partitions import utc_day
from seedream_assets.errors import ObjectUnreadable
from seedream_assets.ledger.events import REQUESTS_FOLDER, EventKey, Intent, Writer
from seedream_assets.ledger.lease import LEASES_FOLDER, look_at_lease
from seedream_assets.ledger.store import read_events
from seedream_assets.storage.async_store import AsyncStore
from seedream_assets.storage.object_store import ObjectInfo, ObjectStore
from seedream_assets.wording import count_of

BUDGET_VERSION = 1
# Writers' clocks need not agree.
CLOCKS_APART = timedelta(hours=1)
MEND_LOG = (
    "nothing is bought for this dataset until its budget log goes on: `seedream verify --repair` makes it go on with what "
    "the ledger shows"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Requests with credits reserved for them, by one run, not settled yet."""

    writer: Writer
    run_id: str
    reserved: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetEntry:
    """One entry of the log.

    Attributes:
        number: From 1.
        at: By the writer's clock.
        booked: Credits settled over the dataset's whole life.
        open: Blocks not settled yet, by the number of the entry that reserved them.
        store_time: By the store's clock, when the entry was decided; days go by it, since a store that was copied has
            new times of its own. None in entries of earlier versions.
        prices: What images cost of late, by model and size, where that was more than the price list says.
    """

    number: int
    at: datetime
    writer: Writer
    booked: int
    open: Mapping[int, Block] = field(default_factory=dict)
    version: int = BUDGET_VERSION
    store_time: datetime | None = None
    prices: Mapping[str, tuple[DearPrice, ...]] = field(default_factory=dict)

    @property
    def committed(self) -> int:
        """Booked and reserved together, in credits."""
        return self.booked + sum(sum(block.reserved.values()) for block in self.open.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """A dataset's credits as its log has them.

    Attributes:
        committed: Booked over its whole life, and reserved now.
        committed_today: The same of this day in UTC, by the store's clock; what is reserved counts on every day.
        prices: What images cost of late where that was more than the price list says.
    """

    committed: int
    committed_today: int
    prices: DearPrices = field(default_factory=dict)


_CODEC = TypeAdapter(BudgetEntry)


def budget_folder(dataset: str) -> str:
    """Where a dataset's log is."""
    return f"datasets/{dataset}/budget/"


def encode_entry(entry: BudgetEntry) -> bytes:
    """An entry as it stands in the store; what it has nothing to say of is left out, as in entries of earlier versions."""
    silent = {name for name in ("store_time", "prices") if not getattr(entry, name)}
    return _CODEC.dump_json(entry, indent=1, exclude=silent)


def decode_entry(body: bytes, key: str) -> BudgetEntry:
    """The entry under a key.

    Raises:
        ObjectUnreadable: It is none.
    """
    try:
        entry = _CODEC.validate_json(body)
    except ValueError as error:
        raise ObjectUnreadable(key, found="is not a budget entry", remedy=MEND_LOG) from error
    name = key.rpartition("/")[2].removesuffix(".json")
    if name.isdecimal() and int(name) != entry.number:
        raise ObjectUnreadable(key, found=f"holds entry {entry.number}, which is another", remedy=MEND_LOG)
    return entry


def booked_before_today(entries: Sequence[ObjectInfo], now: datetime, read: Callable[[str], bytes]) -> int:
    """What was booked when the day began, in credits.

    The last entry decided before midnight has it. It is searched from the log's end, in steps that double: a day's few
    entries are not found by reading those of all years.

    Args:
        entries: The whole log, in its order.
        now: The store's time.
        read: Reads an object.
    """
    midnight = utc_day(now)

    @cache
    def entry_at(place: int) -> BudgetEntry | None:
        with suppress(ObjectUnreadable):
            return decode_entry(read(entries[place].key), entries[place].key)
        return None

    def is_today(place: int) -> bool:
        entry = entry_at(place)
        return ((entry.store_time if entry else None) or entries[place].last_modified) >= midnight

    step = 1
    while step < len(entries) and is_today(len(entries) - step):
        step *= 2
    first_today = bisect_left(range(len(entries)), True, lo=max(0, len(entries) - step), key=is_today)
    # One that cannot be read is passed over for the one before it: more counts as today's then, never less.
    before = (entry for place in range(first_today - 1, -1, -1) if (entry := entry_at(place)) is not None)
    return next((entry.booked for entry in before), 0)


class PricesOfLate:
    """What images of datasets cost of late where that was more than the price list, as far as this process has read it."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._known: dict[str, DearPrices] = {}

    def of(self, dataset: str) -> DearPrices:
        """By model and size, as the dataset's newest budget entry has it; none where that cannot be read.

        Nothing can be bought then either, and a run says why.
        """
        if dataset not in self._known:
            self._known[dataset] = {}
            with suppress(ObjectUnreadable):
                self._known[dataset] = read_budget(self._store, dataset, today=False).prices
        return self._known[dataset]

    def forget(self) -> None:
        """Something was bought since: what was read may not be the newest any more."""
        self._known.clear()


def read_budget(store: ObjectStore, dataset: str, *, today: bool) -> BudgetState:
    """What all runs of a dataset have booked and reserved.

    Args:
        store, dataset: Whose.
        today: Also work out this day's share; costs a few calls more.
    """
    entries = list(store.list(budget_folder(dataset)))
    if not entries:
        return BudgetState(committed=0, committed_today=0)
    newest = decode_entry(store.read(entries[-1].key), entries[-1].key)
    booked_before = booked_before_today(entries, store.now(), store.read) if today else 0
    return BudgetState(
        committed=newest.committed, committed_today=newest.committed - booked_before, prices=newest.prices
    )


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
        mended, left: Each gets a line: what was done, or why it was not.
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
        mended.append(
            f"{entries[-1].key} cannot be read; the log goes on after it with {count_of(last.committed, 'credit')}"
        )
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
