"""Stage 2, `generation_requests`: what is owned, what is to buy, and what it will cost.

    datasets/<dataset>/requests/<partition>.parquet              the plan, columns as `PLAN_COLUMNS`
    datasets/<dataset>/requests/<partition>/<version>.parquet    the same, for the run that made it: see `versions`

It reads the ledger and spends nothing; materialising it is the quote.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd

from seedream_assets.approval.store import keep_planned_sample, with_sample
from seedream_assets.budget.rules import DearPrices
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.deployment import Deployment
from seedream_assets.config.models import LARGEST_REQUEST, ModelCatalog
from seedream_assets.errors import ObjectNotFound, ObjectUnreadable, StoreError
from seedream_assets.ledger.events import Blocked, Completed, Failed, Intent, LedgerEvent, request_folder
from seedream_assets.ledger.state import LedgerEntry, RequestState
from seedream_assets.ledger.store import final_key, read_event
from seedream_assets.manifest.build import MANIFEST_COLUMNS, endings_in, read_manifest
from seedream_assets.planning.open_requests import open_in_plan
from seedream_assets.planning.plan import (
    LATER_PLAN_COLUMNS,
    PLAN_COLUMNS,
    gather_wanted,
    plan_requests,
    reckon_with,
)
from seedream_assets.planning.plan_cuts import Existing
from seedream_assets.planning.quote import DOCUMENTED_PACE, Pace, Quote, learn_pace, quote_plan
from seedream_assets.planning.replacements import NONE_REPLACED, Replacements
from seedream_assets.prompts.cells import IntArray
from seedream_assets.prompts.stage import PromptSnapshot
from seedream_assets.quality.stage import judge_partition
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
    partition: str,
    snapshot: PromptSnapshot,
    deployment: Deployment,
    *,
    credits_beside: int = 0,
    earlier: pd.DataFrame | None = None,
) -> Plan:
    """Plan the snapshot's images against what the ledger shows as owned. Writes nothing.

    Args:
        config, partition, snapshot, deployment: What is wanted, and on what.
        credits_beside: What the same run wants to buy in its other partitions; counts for the approval.
        earlier: The manifest whose rejects are to be replaced; None for the latest one.

    Raises:
        BudgetError: A model's price is not known.
        LimitError: A row lies outside the limits of this deployment, tightened since it was checked.
        StoreError: The ledger cannot be read.
    """
    prompts = snapshot.checked.prompts
    if earlier is None:
        earlier = load_manifest(deployment.store, config, partition)
    replacements = _replacements(config, partition, deployment.store, earlier)
    extra = 0

    def samples_of(specs: pd.DataFrame, quantities: IntArray) -> IntArray:
        nonlocal extra
        samples = replacements.of_rows(specs["spec_id"], quantities, _most_samples(specs, deployment.models))
        extra = int((samples - quantities).sum())
        return samples

    wanted = gather_wanted(prompts, snapshot.reference_hashes, samples_of)
    known = _existing_in(earlier)

    def existing_of(request_id: str, entry: LedgerEntry) -> Existing | None:
        if request_id not in known:
            key = f"{request_folder(request_id)}{entry.attempt:02d}-intent.json"
            try:
                known[request_id] = _existing_by(read_event(deployment.store, key), key)
            except (ObjectNotFound, ObjectUnreadable) as error:
                if entry.state is RequestState.UNKNOWN and isinstance(error, ObjectNotFound):
                    return None  # a later version's, all of it
                _LOG.warning("%s", error)
                ended = _existing_by_end(deployment.store, request_id, entry)
                # As large as can be: whatever it bought is then not bought again, and the rest waits for its mending.
                known[request_id] = ended or Existing(count=LARGEST_REQUEST, bought_for=config.name)
        return known[request_id]

    requests = plan_requests(
        wanted, models=deployment.models, entries_of=deployment.entries.begun, existing_of=existing_of
    )
    prices = _prices_for(requests, config.name, deployment)
    requests = reckon_with(prices, requests)
    if config.approval is not None:
        requests = with_sample(
            requests, config, partition, deployment.store, deployment.models, credits_beside=credits_beside
        )
        requests = reckon_with(prices, requests)  # a sample is cut anew
    quote = quote_plan(
        requests,
        wanted=snapshot.wanted + extra,
        dataset=config.name,
        replacements=extra,
        prices=prices,
        open_requests=open_in_plan(deployment.store, requests),
    )
    pace = learn_pace(earlier) or DOCUMENTED_PACE
    return Plan(requests=requests, quote=quote, pace=pace, replacements=replacements, snapshot=snapshot.version)


def _prices_for(requests: pd.DataFrame, dataset: str, deployment: Deployment) -> DearPrices:
    """What images cost of late, where anything of the plan may be bought; else nothing has to be read."""
    may_be_bought = requests["standing"].isin([RequestState.FREE.value, RequestState.OPEN.value])
    return deployment.prices.of(dataset) if may_be_bought.any() else {}


def _replacements(config: DatasetConfig, partition: str, store: ObjectStore, earlier: pd.DataFrame) -> Replacements:
    """The rejects among the images of the latest manifest, by the rules as they are declared now. Reads no image."""
    rounds = config.regenerate.max_rounds
    if not rounds or not config.quality.rejects:
        return NONE_REPLACED
    judged = judge_partition(config, partition, store, earlier, measure=False)
    rejected = earlier[earlier["image_id"].isin(list(judged.reject_reasons))]
    return Replacements.of(zip(rejected["spec_id"], rejected["sample"], strict=True), max_rounds=rounds)


def _most_samples(specs: pd.DataFrame, models: ModelCatalog) -> IntArray:
    """How many samples each spec can have: a seed that the row gives counts up to its model's last one."""
    codes, names = pd.factorize(specs["model"])
    last = np.array([int(models.find(name).seed.high) for name in names], dtype=np.int64)[codes]
    seeds: IntArray = specs["seed"].to_numpy(dtype=np.int64, na_value=0)
    return last + 1 - seeds


def _existing_by(intent: LedgerEvent, key: str) -> Existing:
    if not isinstance(intent, Intent):
        raise StoreError(f"{key} holds another event: {intent.event}")
    return Existing(count=intent.count, bought_for=intent.dataset)


def _existing_by_end(store: ObjectStore, request_id: str, entry: LedgerEntry) -> Existing | None:
    """What a request holds whose intent cannot be read, where its end tells it."""
    if entry.is_final:
        with suppress(ObjectUnreadable):
            ending = read_event(store, final_key(request_id, entry))
            if isinstance(ending, Completed | Failed | Blocked):
                return Existing(count=ending.count, bought_for=ending.dataset)
    return None


def _existing_in(manifest: pd.DataFrame) -> dict[str, Existing]:
    """Requests that an earlier manifest of this partition knows, so that their intents need not be read."""
    told = (
        endings_in(manifest).groupby("request_id").agg(count=("position", "size"), bought_for=("bought_for", "first"))
    )
    rows = told.itertuples(name=None)
    return {str(request_id): Existing(count=int(count), bought_for=str(dataset)) for request_id, count, dataset in rows}


def load_manifest(store: ObjectStore, config: DatasetConfig, partition: str) -> pd.DataFrame:
    """The manifest as it was last written; empty where there is none, or none that can be read.

    Everything in it stands elsewhere as well, so one that is torn or another's counts as none, and is built anew.
    """
    key = config.key("manifest", partition)
    try:
        return read_manifest(store.read(key), key=key)
    except ObjectNotFound:
        pass
    except ObjectUnreadable as error:
        _LOG.warning("%s", error)
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in MANIFEST_COLUMNS.items()})


def write_plan(store: ObjectStore, config: DatasetConfig, partition: str, plan: Plan) -> str:
    """Keep a plan, and which requests are its sample; the latest plan stands. Versions of long ago are deleted.

    Returns:
        Its version: what a run goes by that is to buy, count and report this plan and no other.
    """
    keep_planned_sample(store, config, partition, plan.requests)
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
            requests=from_parquet(body, PLAN_COLUMNS, later=LATER_PLAN_COLUMNS),
            replacements=Replacements.from_facts(facts),
            snapshot=facts.get(SNAPSHOT),
        )


def plan_key(config: DatasetConfig, partition: str, version: str | None) -> str:
    """Where the plan of this version stands; without one, the latest."""
    if version is None:
        return config.key("requests", partition)
    return version_key(config, "requests", partition, version)
