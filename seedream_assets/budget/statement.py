"""What was bought over all time: the ledger read as a history, and summed.

What was bought for rows that were edited or removed since stays in it. What of it today's datasets still show is a figure
beside it. A store of any size streams through: one listing, then what single events say, many at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby, islice
from typing import Any

from seedream_assets.budget.costs import CREDITS, QUOTED
from seedream_assets.errors import StoreError
from seedream_assets.ledger.events import (
    REQUESTS_FOLDER,
    Blocked,
    Completed,
    EventKey,
    Failed,
    Intent,
    Submitted,
    id_in_key,
    request_folder,
)
from seedream_assets.ledger.state import OpenRequests, RequestState, fold, in_force
from seedream_assets.ledger.store import cost_of, read_event
from seedream_assets.storage.object_store import ObjectInfo, ObjectStore
from seedream_assets.storage.parquet import iterate_rows

GROUPINGS = ("dataset", "partition", "run", "style", "model", "day")
# The clocks of a machine and of its store differ by less. A store that dates an event later than this was copied.
COPIED_AFTER = timedelta(hours=1)
THREADS = 16
# Requests read at one time; so many answers at most are in memory.
BATCH = 500
_Paid = Submitted | Completed | Failed | Blocked
_ENDS = ("completed", "failed", "blocked")


# For whom and when a request was begun, by the name of every grouping.
Groups = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """One generation that was paid for.

    Attributes:
        images: Ordered and paid for, whatever became of them.
        images_in_datasets: Of these, stored ones that a manifest has now.
        amount: In `unit`, as the API gave it; where it gave none, what was reserved, in `QUOTED`.
        ended_without: It failed or was blocked. Leonardo says that it gives such costs back; no answer of its API says so.
    """

    by: Groups
    images: int
    images_in_datasets: int
    amount: Decimal
    unit: str
    ended_without: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StillOpen:
    """One request of which it is not known whether it was bought."""

    by: Groups
    open: OpenRequests


@dataclass(slots=True)
class _Sum:
    images: int = 0
    amount: Decimal = Decimal(0)
    images_in_datasets: int = 0
    amount_in_datasets: Decimal = Decimal(0)
    amount_failed: Decimal = Decimal(0)
    open_requests: int = 0
    credits_held_back: int = 0


def sum_spend(records: Iterable[Bought | StillOpen], by: Sequence[str] = ("dataset",)) -> list[dict[str, Any]]:
    """Images and what they cost by these groupings and by unit, sorted.

    Args:
        records: Drawn one at a time.
        by: Any of `GROUPINGS`; `day` is one in UTC.

    Returns:
        Each row: the groupings, `unit`, `images`, `amount`, what of both is in today's datasets, what of the amount was
        for requests that failed, and the open requests with what they hold back, in credits.
    """
    sums: defaultdict[tuple[str, ...], _Sum] = defaultdict(_Sum)
    for record in records:
        place = tuple(record.by[name] for name in by)
        if isinstance(record, StillOpen):
            found = sums[*place, CREDITS]
            found.open_requests += record.open.requests
            found.credits_held_back += record.open.credits_held
            continue
        found = sums[*place, record.unit]
        found.images += record.images
        found.amount += record.amount
        found.images_in_datasets += record.images_in_datasets
        found.amount_in_datasets += record.amount * record.images_in_datasets / record.images
        found.amount_failed += record.amount if record.ended_without else 0
    return [
        {**dict(zip((*by, "unit"), place, strict=True)), **_as_row(found)}
        for place, found in sorted(sums.items(), key=lambda item: item[0])
    ]


def _as_row(found: _Sum) -> Mapping[str, int | float]:
    return {
        "images": found.images,
        "amount": float(found.amount),
        "images_in_datasets": found.images_in_datasets,
        "amount_in_datasets": round(float(found.amount_in_datasets), 6),
        "amount_failed": float(found.amount_failed),
        "open_requests": found.open_requests,
        "credits_held_back": found.credits_held_back,
    }


def day_of(*, written: datetime, stored: datetime) -> str:
    """The day in UTC of an event: by the store's time, or by its writer's where the store was copied since.

    Args:
        written: By the clock of whoever wrote it.
        stored: When the store took it, by the store's clock; in a copy, when it was copied.
    """
    moment = written if stored - written > COPIED_AFTER else stored
    return moment.astimezone(UTC).strftime("%Y-%m-%d")


Record = Bought | StillOpen


def read_history(store: ObjectStore, on_problem: Callable[[str], None]) -> Iterator[Record]:
    """Everything that was ever bought in a store, and what is open; in the order of the requests' ids.

    Args:
        store: Whose.
        on_problem: Called for every request and manifest that cannot be read; the others go on.
    """
    kept = _images_in_manifests(store, on_problem)
    ledger = groupby(store.list(f"{REQUESTS_FOLDER}/"), key=lambda info: info.key.split("/")[1])
    requests = (list(infos) for _, infos in ledger)
    with ThreadPoolExecutor(max_workers=THREADS) as threads:
        while batch := list(islice(requests, BATCH)):
            for found in threads.map(lambda infos: _try_request(store, infos, kept), batch):
                if isinstance(found, str):
                    on_problem(found)
                else:
                    yield from found


def _images_in_manifests(store: ObjectStore, on_problem: Callable[[str], None]) -> Mapping[str, int]:
    """Which images of each generation a manifest has as stored, as bits by their position; by the id in keys."""
    kept: dict[str, int] = {}
    columns = ["generation_id", "status", "sample", "request_start"]
    for dataset in store.list_folders("datasets/"):
        for info in store.list(f"datasets/{dataset}/manifest/"):
            if not info.key.endswith(".parquet"):
                continue
            try:
                for row in iterate_rows(store.read(info.key), columns):
                    if row["status"] == "stored" and row["generation_id"]:
                        generation = id_in_key(row["generation_id"])
                        kept[generation] = kept.get(generation, 0) | 1 << (row["sample"] - row["request_start"])
            except StoreError as error:
                on_problem(f"{info.key} is left out of what is in today's datasets: {error}")
    return kept


def _try_request(store: ObjectStore, infos: Iterable[ObjectInfo], kept: Mapping[str, int]) -> list[Record] | str:
    try:
        return list(_records_of(store, infos, kept))
    except StoreError as error:
        return str(error)


def _records_of(store: ObjectStore, infos: Iterable[ObjectInfo], kept: Mapping[str, int]) -> Iterator[Record]:
    """What one request's events say. A generation that was taken back is not its own."""
    found = {key: info for info in infos if (key := EventKey.parse(info.key))}
    counting = in_force(list(found))
    for key in _paid_keys(counting):
        paid = read_event(store, found[key].key)
        ended_without = any(end.attempt == key.attempt and end.event in ("failed", "blocked") for end in counting)
        if isinstance(paid, Submitted | Completed | Failed | Blocked) and paid.generation_id is not None:
            yield _bought(store, paid, found[key].last_modified, kept, ended_without=ended_without)
    entry = fold(found)
    for key in counting:
        if entry.state is RequestState.OPEN and (key.attempt, key.event) == (entry.attempt, "intent"):
            yield _open(_intent(store, key.request_id, key.attempt), found[key].last_modified)


def _paid_keys(counting: Sequence[EventKey]) -> Iterator[EventKey]:
    """The submits, each generation once; and an end whose submit is lost: somebody lost an object, and not the bill."""
    counted: set[str | None] = set()
    for key in counting:
        if key.event == "submitted" and key.generation not in counted:
            counted.add(key.generation)
            yield key
    submitted = {key.attempt for key in counting if key.event == "submitted"}
    yield from (key for key in counting if key.event in _ENDS and key.attempt not in submitted)


def _open(intent: Intent, stored: datetime) -> StillOpen:
    credits = intent.credits_reserved
    return StillOpen(
        by=_bought_for(intent, day_of(written=intent.at, stored=stored)),
        open=OpenRequests(requests=1, since=intent.at, credits_held=credits, credits_again=credits),
    )


def _bought(
    store: ObjectStore, paid: _Paid, stored: datetime, kept: Mapping[str, int], *, ended_without: bool
) -> Bought:
    intent = _intent(store, paid.request_id, paid.attempt)
    cost = cost_of(paid)
    in_datasets = kept.get(id_in_key(str(paid.generation_id)), 0).bit_count()
    return Bought(
        by=_bought_for(intent, day_of(written=paid.at, stored=stored)),
        images=intent.count,
        images_in_datasets=min(in_datasets, intent.count),
        amount=cost.amount if cost else Decimal(intent.credits_reserved),
        unit=cost.unit if cost else QUOTED,
        ended_without=ended_without,
    )


def _intent(store: ObjectStore, request_id: str, attempt: int) -> Intent:
    key = f"{request_folder(request_id)}{attempt:02d}-intent.json"
    event = read_event(store, key)
    if not isinstance(event, Intent):
        raise StoreError(f"{key} holds another event: {event.event}")
    return event


def _bought_for(intent: Intent, day: str) -> Groups:
    named = {name: getattr(intent, name) for name in ("dataset", "partition", "style", "model")}
    return {**named, "run": intent.run_id, "day": day}
