"""What stands in a dataset's budget log, and what it says to somebody who only reads it.

`datasets/<dataset>/budget/<number>.json`, create-only; who writes is `dataset_budget`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import TypeAdapter

from seedream_assets.core.errors import StoreError
from seedream_assets.core.ledger_events import Writer
from seedream_assets.core.time_windows import utc_day
from seedream_assets.storage.object_store import ObjectInfo, ObjectStore

BUDGET_VERSION = 1


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
        booked: Credits settled over the dataset's whole life.
        open: Blocks not settled yet, by the number of the entry that reserved them.
    """

    number: int
    at: datetime
    writer: Writer
    booked: int
    open: Mapping[int, Block] = field(default_factory=dict)
    version: int = BUDGET_VERSION

    @property
    def committed(self) -> int:
        """Booked and reserved together, in credits."""
        return self.booked + sum(sum(block.reserved.values()) for block in self.open.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetStanding:
    """A dataset's credits as its log has them.

    Attributes:
        committed: Booked over its whole life, and reserved now.
        committed_today: The same of this day in UTC, by the store's clock; what is reserved counts on every day.
    """

    committed: int
    committed_today: int


_CODEC = TypeAdapter(BudgetEntry)


def budget_folder(dataset: str) -> str:
    """Where a dataset's log is."""
    return f"datasets/{dataset}/budget/"


def encode_entry(entry: BudgetEntry) -> bytes:
    """An entry as it stands in the store."""
    return _CODEC.dump_json(entry, indent=1)


def decode_entry(body: bytes, key: str) -> BudgetEntry:
    """The entry under a key.

    Raises:
        StoreError: It is none.
    """
    try:
        return _CODEC.validate_json(body)
    except ValueError as error:
        raise StoreError(f"{key} is not a budget entry; a dataset's budget log must not be edited") from error


def last_before_today(entries: Sequence[ObjectInfo], now: datetime) -> str | None:
    """The key of the entry that the day began with; None where the log began today or is empty.

    Entries are dated by the store, when it took them. One stamped today makes all after it today's.
    """
    midnight = utc_day(now)
    first_today = next((number for number, info in enumerate(entries) if info.last_modified >= midnight), len(entries))
    return entries[first_today - 1].key if first_today else None


def read_budget(store: ObjectStore, dataset: str, *, today: bool) -> BudgetStanding:
    """What all runs of a dataset have booked and reserved.

    Args:
        store, dataset: Whose.
        today: Also work out this day's share; costs two calls more.
    """
    entries = list(store.list(budget_folder(dataset)))
    if not entries:
        return BudgetStanding(committed=0, committed_today=0)
    newest = decode_entry(store.read(entries[-1].key), entries[-1].key)
    before = last_before_today(entries, store.now()) if today else None
    booked_before = decode_entry(store.read(before), before).booked if before else 0
    return BudgetStanding(committed=newest.committed, committed_today=newest.committed - booked_before)
