"""Stage 2, `generation_requests`: what is owned, what is to buy, and what it will cost.

    datasets/<dataset>/requests/<partition>.parquet              the plan, columns as `PLAN_COLUMNS`
    datasets/<dataset>/requests/<partition>/<version>.parquet    the same, for the run that made it: see `versions`

It reads the ledger and spends nothing; materialising it is the quote.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd

from seedream_assets.budget.rules import DearPrices
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.models import LARGEST_REQUEST, ModelCatalog
from seedream_assets.deployment import Deployment
from seedream_assets.errors import ObjectNotFound, ObjectUnreadable, StoreError
from seedream_assets.ledger.events import Blocked, Completed, Failed, Intent, request_folder
from seedream_assets.ledger.state import NONE_OPEN, LedgerEntry, OpenRequests, RequestState
from seedream_assets.ledger.store import final_key, read_event
from seedream_assets.planning.plan import (
    NONE_REPLACED,
    PLAN_COLUMNS,
    Existing,
    Replacements,
    gather_wanted,
    plan_requests,
    reckon_with,
    specs_of,
)
from seedream_assets.planning.quote import DOCUMENTED_PACE, Pace, Quote, learn_pace, quote_plan
from seedream_assets.prompts.cells import IntArray
from seedream_assets.prompts.stage import PromptSnapshot
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.parquet import from_parquet, naming, read_facts, to_parquet
from seedream_assets.storage.versions import (
    delete_old_versions,
    read_latest,
    read_version,
    version_key,
    version_of,
    write_version,
)

PLAN_ANEW = "plan the partition again: `seedream run` does, or materialise generation_requests"
_LOG = logging.getLogger(__name__)
# In a plan's facts: the version of the prompts that it was made from.
SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A partition's plan and its price.

    Attributes:
        pace: How long one request takes, as far as it is known.
        replacements: The rejects that it answers with further samples.
        snapshot: The version of the prompts that it was made from; None where they were not written.
    """

    requests: pd.DataFrame
    quote: Quote
    pace: Pace = DOCUMENTED_PACE
    replacements: Replacements = NONE_REPLACED
    snapshot: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPlan:
    """A plan as it stands in the store: as `Plan`, with its version and without its price."""

    version: str
    requests: pd.DataFrame
    replacements: Replacements
    snapshot: str | None


def make_plan(
    config: DatasetConfig,
    snapshot: PromptSnapshot,
    deployment: Deployment,
    *,
    earlier: pd.DataFrame | None = None,
    replacements: Replacements = NONE_REPLACED,
    draw_preview: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
) -> Plan:
    """Plan the snapshot's images against what the ledger shows as owned. Writes nothing.

    Args:
        config, snapshot, deployment: What is wanted, and on what.
        earlier: The latest manifest of the partition: requests in it need not be read from the ledger, and their times
            say how long the next ones take.
        replacements: The rejects that are to be replaced.
        draw_preview: Gives the plan with its preview cut out, where an approval is asked for.

    Raises:
        BudgetError: A model's price is not known.
        LimitError: A row lies outside the limits of this deployment, tightened since it was checked.
        StoreError: The ledger cannot be read.
    """
    prompts, models = snapshot.checked.prompts, deployment.models
    specs = specs_of(prompts, snapshot.reference_hashes)
    samples = replacements.of_rows(specs["spec_id"], prompts["quantity"].to_numpy(), _most_samples(specs, models))
    extra = int(samples.sum() - prompts["quantity"].sum())
    known = {} if earlier is None else _existing_in(earlier)

    def existing_of(request_id: str, entry: LedgerEntry) -> Existing | None:
        return known.get(request_id) or _existing_in_ledger(deployment.store, request_id, entry, config.name)

    requests = plan_requests(
        gather_wanted(specs, prompts.assign(quantity=samples)),
        models=models,
        entries_of=deployment.entries.begun,
        existing_of=existing_of,
    )
    prices = _prices_for(requests, config.name, deployment)
    requests = reckon_with(prices, requests)
    if draw_preview is not None:
        requests = reckon_with(prices, draw_preview(requests))
    quote = quote_plan(
        requests,
        wanted=snapshot.wanted + extra,
        dataset=config.name,
        replacements=extra,
        prices=prices,
        open_requests=open_in_plan(deployment.store, requests),
        models=models,
    )
    pace = None if earlier is None else learn_pace(earlier)
    return Plan(
        requests=requests,
        quote=quote,
        pace=pace or DOCUMENTED_PACE,
        replacements=replacements,
        snapshot=snapshot.version,
    )


def _prices_for(requests: pd.DataFrame, dataset: str, deployment: Deployment) -> DearPrices:
    """What images cost of late, where anything of the plan may be bought; else nothing has to be read."""
    may_be_bought = requests["standing"].isin([RequestState.FREE.value, RequestState.OPEN.value])
    return deployment.prices.of(dataset) if may_be_bought.any() else {}


def _most_samples(specs: pd.DataFrame, models: ModelCatalog) -> IntArray:
    """How many samples each spec can have: a seed that the row gives counts up to its model's last one."""
    last = specs["model"].map({name: int(models.find(name).seed.high) for name in specs["model"].unique()})
    last = last.astype("int64")  # of no row, it would be text
    most: IntArray = (last + 1 - specs["seed"].fillna(0)).to_numpy(dtype=np.int64)
    return most


def _existing_in_ledger(store: ObjectStore, request_id: str, entry: LedgerEntry, dataset: str) -> Existing | None:
    """A request by its intent; where that cannot be read, by its end.

    Where neither can, it counts as large as can be: whatever it bought is then not bought again, and the rest waits
    until the object is mended.
    """
    key = f"{request_folder(request_id)}{entry.attempt:02d}-intent.json"
    try:
        intent = read_event(store, key)
    except (ObjectNotFound, ObjectUnreadable) as error:
        if entry.state is RequestState.UNKNOWN and isinstance(error, ObjectNotFound):
            return None  # all of it was written by a later version
        _LOG.warning("%s", error)
        return _existing_by_end(store, request_id, entry) or Existing(count=LARGEST_REQUEST, bought_for=dataset)
    if not isinstance(intent, Intent):
        raise StoreError(f"{key} holds another event: {intent.event}")
    return Existing(count=intent.count, bought_for=intent.dataset)


def _existing_by_end(store: ObjectStore, request_id: str, entry: LedgerEntry) -> Existing | None:
    if entry.is_final:
        with suppress(ObjectUnreadable):
            ending = read_event(store, final_key(request_id, entry))
            if isinstance(ending, Completed | Failed | Blocked):
                return Existing(count=ending.count, bought_for=ending.dataset)
    return None


def _existing_in(manifest: pd.DataFrame) -> dict[str, Existing]:
    """Requests that an earlier manifest of this partition shows whole, so that their intents need not be read.

    Of one that somebody else bought with another size, the manifest has the size that this dataset wanted: it is known
    by the images that are missing.
    """
    ended = manifest[manifest["completed_at"].notna()].drop_duplicates(["request_id", "sample"])
    held = ended.groupby("request_id")["sample"].transform("size")
    whole = ended[held == ended["request_count"]].drop_duplicates("request_id")
    rows = whole[["request_id", "request_count", "bought_for"]].itertuples(index=False, name=None)
    return {request_id: Existing(count=int(count), bought_for=str(dataset)) for request_id, count, dataset in rows}


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
    """The requests that are uncertain in a manifest and still open in the ledger."""
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


def write_plan(store: ObjectStore, config: DatasetConfig, partition: str, plan: Plan) -> str:
    """Keep a plan; the latest plan stands. Versions of long ago are deleted.

    Returns:
        Its version: what a run goes by that is to buy, count and report this plan and no other.
    """
    made_from = {} if plan.snapshot is None else {SNAPSHOT: plan.snapshot}
    facts = {"wanted": plan.quote.wanted, **plan.replacements.to_facts(), **made_from}
    version = write_version(store, config, "requests", partition, to_parquet(plan.requests, facts))
    delete_old_versions(store, config, "requests", partition, keep=version)
    if plan.snapshot is not None:
        delete_old_versions(store, config, "prompts", partition, keep=plan.snapshot)
    return version


def pin_plans(
    store: ObjectStore, config: DatasetConfig, partitions: Iterable[str], known: Mapping[str, str]
) -> dict[str, str]:
    """The versions of the plans that a run goes by to its end: those that are known, else the latest.

    Partitions that were not planned are left out.
    """
    pinned: dict[str, str] = {}
    for partition in partitions:
        if partition in known:
            pinned[partition] = known[partition]
            continue
        with suppress(ObjectNotFound):
            pinned[partition] = read_latest(store, config, "requests", partition)[1]
    return pinned


def read_plan_object(store: ObjectStore, config: DatasetConfig, partition: str, version: str | None = None) -> bytes:
    """The Parquet bytes of the plan of this version; without one, of the latest.

    Raises:
        StoreError: There is none; `generation_requests` has not been materialised for this partition, or this version
            is gone.
    """
    if version is not None:
        return read_version(store, config, "requests", partition, version)
    try:
        return store.read(config.key("requests", partition))
    except ObjectNotFound as error:
        raise StoreError(
            f"{config.name}, partition {partition}, was not planned yet; materialise generation_requests first"
        ) from error


def load_plan(store: ObjectStore, config: DatasetConfig, partition: str, version: str | None = None) -> pd.DataFrame:
    """The plan of this version; without one, the latest.

    Raises:
        StoreError: As `read_plan_object`.
        ObjectUnreadable: What stands there is no plan.
    """
    return load_kept_plan(store, config, partition, version).requests


def load_kept_plan(store: ObjectStore, config: DatasetConfig, partition: str, version: str | None = None) -> KeptPlan:
    """As `load_plan`, with what stands in the plan's facts.

    Raises:
        StoreError: As `read_plan_object`.
        ObjectUnreadable: What stands there is no plan.
    """
    body, key = read_plan_object(store, config, partition, version), plan_key(config, partition, version)
    with naming(key, remedy=PLAN_ANEW):
        facts = read_facts(body)
        return KeptPlan(
            version=version_of(body),
            requests=from_parquet(body, PLAN_COLUMNS),
            replacements=Replacements.from_facts(facts),
            snapshot=facts.get(SNAPSHOT),
        )


def plan_key(config: DatasetConfig, partition: str, version: str | None) -> str:
    """Where the plan of this version stands; without one, the latest."""
    if version is None:
        return config.key("requests", partition)
    return version_key(config, "requests", partition, version)
