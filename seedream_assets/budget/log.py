"""What stands in a dataset's budget log, and what it says to somebody who only reads it.

`datasets/<dataset>/budget/<number>.json`, create-only; who writes is `dataset_budget`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache

from pydantic import TypeAdapter

from seedream_assets.budget.rules import DearPrice, DearPrices
from seedream_assets.config.partitions import utc_day
from seedream_assets.errors import ObjectUnreadable
from seedream_assets.ledger.events import Writer
from seedream_assets.storage.object_store import ObjectInfo, ObjectStore

BUDGET_VERSION = 1
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

    The last entry decided before midnight tells it. It is searched from the log's end, in steps that double: a day's few
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

        Nothing can be bought then either, and who buys is told why.
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
