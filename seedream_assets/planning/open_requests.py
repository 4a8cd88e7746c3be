"""Open requests with what hangs on them, as far as a plan or a manifest is concerned. Reads intents, writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from seedream_assets.config.deployment import Deployment
from seedream_assets.errors import ObjectNotFound, ObjectUnreadable
from seedream_assets.ledger.events import Intent, request_folder
from seedream_assets.ledger.state import NONE_OPEN, OpenRequests, RequestState
from seedream_assets.ledger.store import read_event
from seedream_assets.storage.object_store import ObjectStore


def open_in_plan(store: ObjectStore, plan: pd.DataFrame) -> OpenRequests:
    """The open requests among a plan's.

    Args:
        store: Where their intents are.
        plan: Columns as `PLAN_COLUMNS`; `credits` is what each would cost anew.
    """
    rows = plan[plan["standing"] == RequestState.OPEN.value]
    keys = {
        f"{request_folder(row['request_id'])}{row['attempt']:02d}-intent.json": int(row["credits"])
        for row in rows[["request_id", "attempt", "credits"]].to_dict("records")
    }
    return _read_open(store, keys)


def open_in_manifest(deployment: Deployment, manifest: pd.DataFrame) -> OpenRequests:
    """The requests that a manifest tells as uncertain and that are still open."""
    rows = manifest[manifest["status"] == "uncertain"].drop_duplicates("request_id")
    entries = deployment.entries.of(rows["request_id"])
    keys = {
        f"{request_folder(row['request_id'])}{entries[row['request_id']].attempt:02d}-intent.json": round(
            row["credits_quoted"] * row["request_count"]
        )
        for row in rows[["request_id", "credits_quoted", "request_count"]].to_dict("records")
        if entries[row["request_id"]].state is RequestState.OPEN
    }
    return _read_open(deployment.store, keys)


def _read_open(store: ObjectStore, prices: Mapping[str, int]) -> OpenRequests:
    """What the intents under these keys say; of one that cannot be read, its price is all that is known."""
    if not prices:
        return NONE_OPEN
    with ThreadPoolExecutor(max_workers=16) as threads:
        intents = list(threads.map(lambda key: _intent_at(store, key), prices))
    return OpenRequests.together(
        OpenRequests(
            requests=1,
            since=intent.at if intent else None,
            credits_held=intent.credits_reserved if intent else price,
            credits_again=price,
        )
        for intent, price in zip(intents, prices.values(), strict=True)
    )


def _intent_at(store: ObjectStore, key: str) -> Intent | None:
    try:
        event = read_event(store, key)
    except (ObjectNotFound, ObjectUnreadable):
        return None
    return event if isinstance(event, Intent) else None
