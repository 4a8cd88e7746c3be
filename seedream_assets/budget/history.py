"""The ledger read as a history of what was bought: one listing, then what single events say, many at a time.

Nothing is held but counts by generation of what the manifests have: a store of any size streams through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from itertools import groupby, islice

from seedream_assets.budget.costs import QUOTED
from seedream_assets.budget.statement import Bought, BoughtFor, StillOpen, day_of
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
from seedream_assets.ledger.open_requests import OpenRequests
from seedream_assets.ledger.state import RequestState, fold, in_force
from seedream_assets.ledger.store import cost_of, read_event
from seedream_assets.storage.object_store import ObjectInfo, ObjectStore
from seedream_assets.storage.parquet import iterate_rows

THREADS = 16
# Requests read at one time; so many answers at most are in memory.
BATCH = 500
Record = Bought | StillOpen
_Paid = Submitted | Completed | Failed | Blocked
_ENDS = ("completed", "failed", "blocked")


def read_history(store: ObjectStore, on_problem: Callable[[str], None]) -> Iterator[Record]:
    """Everything that was ever bought in a store, and what is open; in the order of the requests' ids.

    Args:
        store: Whose.
        on_problem: Told of every request and manifest that cannot be read; the others go on.
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


def _bought_for(intent: Intent, day: str) -> BoughtFor:
    return BoughtFor(
        dataset=intent.dataset,
        partition=intent.partition,
        run=intent.run_id,
        style=intent.style,
        model=intent.model,
        day=day,
    )
