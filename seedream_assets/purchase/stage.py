"""Stage 3, `images`: the only stage that spends. Buys what the plan wants and nobody owns, and stores every image.

datasets/<dataset>/runs/<partition>.json                   what the latest run did, and why it stopped
datasets/<dataset>/requests/<partition>/<version>.json     the same of the latest run over this plan: see `versions`
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from seedream_assets.approval.rules import Gate
from seedream_assets.approval.store import keep_previews, open_gate
from seedream_assets.budget.rules import refuse_without_cap
from seedream_assets.config.account import LeonardoSettings
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.retry import Sleep
from seedream_assets.deployment import Deployment
from seedream_assets.errors import ConfigError, ObjectNotFound, SeedreamError, StoreError
from seedream_assets.ledger.state import LedgerEntry, RequestState
from seedream_assets.leonardo.requests import GenerationRequest
from seedream_assets.planning.plan import read_plan
from seedream_assets.planning.stage import PLAN_ANEW, SNAPSHOT, pin_plans, plan_key, read_plan_object
from seedream_assets.purchase.delivery import open_embedding
from seedream_assets.purchase.partition_stream import Endings, OnPartition, PartitionStream
from seedream_assets.purchase.report import Progress, RunReport, RunStats
from seedream_assets.purchase.run import RunOrder, run_generation
from seedream_assets.purchase.task import Event, Observer, Predecessor, RequestTask, ignore
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.parquet import iterate_rows, naming, read_facts
from seedream_assets.storage.versions import NO_VERSIONS, version_key

_LOG = logging.getLogger(__name__)
_REPORT: TypeAdapter[RunReport] = TypeAdapter(RunReport)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoughtPartitions:
    """What a run over several partitions came to, beyond the reports of `on_partition`.

    Attributes:
        report: Of the whole run.
        unplanned: Partitions that could not be begun, with the reason.
        not_begun: Partitions that the run did not come to before it was ended.
        error: Why no request could fare better, where the run ended so.
    """

    report: RunReport
    unplanned: Mapping[str, SeedreamError]
    not_begun: tuple[str, ...]
    error: SeedreamError | None


def buy_partitions(
    config: DatasetConfig,
    partitions: Iterable[str],
    deployment: Deployment,
    *,
    on_partition: OnPartition,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
    dagster_run_id: str | None = None,
    watch_parent: bool = False,
    on: Observer = ignore,
    sleep: Sleep = asyncio.sleep,
    gate: Gate | None = None,
    versions: Mapping[str, str] = NO_VERSIONS,
) -> BoughtPartitions:
    """Bring every request of these partitions' plans to its end, as one run with one budget. Blocks until it has ended.

    Where everything is owned already, neither the paid API nor the account is asked anything. Each partition's report
    is kept in the store before `on_partition` is called.

    Args:
        config, partitions, deployment: What is wanted, in which order, and on what.
        on_partition: Called with each partition as soon as it has come to its end, and with the others when the run has.
            From another thread, one partition at a time.
        on_progress: Called every few seconds.
        dagster_run_id: Stands in the ledger and in the manifest.
        watch_parent: Stop when the process that started this one is gone.
        on: Called with what happens to each request.
        sleep: Waits so many seconds.
        gate: What may be bought of plans that nobody has approved; None: opened here, for these partitions. What is
            paid for already is fetched in any case.
        versions: Of the plans, by partition; the latest of the others is taken now, and kept to.

    Raises:
        NoCapError: Something is to be bought, and nobody has said how much may be spent.
        ConfigError: Something is to be bought, and there is no key, or what the images are to be signed with
            cannot be used.
        Exception: What `on_partition` raised.
    """
    store, partitions = deployment.store, list(partitions)
    given, versions = versions, pin_plans(store, config, partitions, versions)
    gate = gate or open_gate(config, partitions, store, versions)
    prices, plans, snapshots, unplanned = _read_plans(store, config, partitions, versions, given)
    # A plan may be a day old: what others have bought since then is not bought again, and need not be claimed first.
    entries = {key: found for key, found in deployment.entries.of(prices).items() if not found.is_final}
    unfinished = {partition: [key for key in ids if key in entries] for partition, ids in plans.items()}
    wanted = {partition: _let_through(gate, partition, ids, entries) for partition, ids in unfinished.items()}

    to_buy = {key for ids in wanted.values() for key in ids if entries[key].state is RequestState.FREE}
    refuse_without_cap(config.budget, sum(prices[key] for key in to_buy))
    keep_previews(gate, config, store)

    def keep(partition: str, report: RunReport, endings: Endings) -> None:
        if report.stopped is None and len(wanted[partition]) < len(unfinished[partition]):
            report = replace(report, stopped="awaiting_approval", stop_reason=gate.held_back(partition))
        own = version_key(config, "requests", partition, versions[partition], ".json")
        for key in (own, config.key("runs", partition, ".json")):
            _write_report(store, key, report)
        on_partition(partition, report, endings)

    with PartitionStream(wanted, keep) as stream:

        def on_both(event: Event, request_id: str) -> None:
            stream.on(event, request_id)
            on(event, request_id)

        stream.report_empty()
        report, error = RunStats(0).report(stream.run_id, seconds=0.0), None
        if stream.total:
            order = RunOrder(
                store=store,
                leonardo=_account_of(deployment),
                settings=deployment.engine,
                models=deployment.models,
                budget=config.budget,
                dataset=config.name,
                partition_of=stream.buyer,
                tasks=_tasks(store, config, versions, entries, stream),
                total=stream.total,
                credits_to_buy=sum(prices[key] for key in to_buy),
                run_id=stream.run_id,
                dagster_run_id=dagster_run_id,
                embedding=open_embedding(config, snapshots, store),
                on_progress=on_progress,
                accepts_origin=deployment.accepts_origin,
                watch_parent=watch_parent,
                on=on_both,
                sleep=sleep,
            )
            try:
                report, error = _run_to_report(order, nothing_done=report)
            finally:
                deployment.prices.forget()
        not_begun = stream.finish(report.stopped, report.stop_reason)
    return BoughtPartitions(report=report, unplanned=unplanned, not_begun=tuple(not_begun), error=error)


def _account_of(deployment: Deployment) -> LeonardoSettings:
    if deployment.leonardo is None:
        raise ConfigError("no Leonardo key: set LEONARDO_API_KEY; planning needs none, buying does")
    return deployment.leonardo


def _run_to_report(order: RunOrder, *, nothing_done: RunReport) -> tuple[RunReport, SeedreamError | None]:
    """Carry the run out. One that ended with an error is reported as far as it came, with the error beside it."""
    reports: list[RunReport] = []
    try:
        return run_generation(replace(order, on_report=reports.append)), None
    except SeedreamError as error:
        return reports[0] if reports else replace(nothing_done, stopped="refused", stop_reason=str(error)), error


def _read_plans(
    store: ObjectStore,
    config: DatasetConfig,
    partitions: Iterable[str],
    versions: Mapping[str, str],
    given: Mapping[str, str],
) -> tuple[dict[str, int], dict[str, list[str]], dict[str, str | None], dict[str, SeedreamError]]:
    """The price of every planned request; each partition's requests, and its snapshot; the partitions without a plan."""
    prices: dict[str, int] = {}
    plans: dict[str, list[str]] = {}
    snapshots: dict[str, str | None] = {}
    unplanned: dict[str, SeedreamError] = {}
    for partition in partitions:
        try:
            plan = read_plan_object(store, config, partition, versions.get(partition))
            with naming(plan_key(config, partition, given.get(partition)), remedy=PLAN_ANEW):
                priced = {row["request_id"]: row["credits"] for row in iterate_rows(plan, ["request_id", "credits"])}
                snapshots[partition] = read_facts(plan).get(SNAPSHOT)
        except StoreError as error:
            unplanned[partition] = error
            continue
        plans[partition] = list(priced)
        prices |= priced
    return prices, plans, snapshots, unplanned


def _let_through(gate: Gate, partition: str, unfinished: list[str], entries: Mapping[str, LedgerEntry]) -> list[str]:
    """What a run may bring to its end: all of it, or what is paid for already and the preview."""
    if gate.held_back(partition) is None:
        return unfinished
    preview = gate.preview_of(partition)
    return [key for key in unfinished if entries[key].state is not RequestState.FREE or key in preview]


def _write_report(store: ObjectStore, key: str, report: RunReport) -> None:
    try:
        store.replace(key, _REPORT.dump_json(report, indent=1), content_type="application/json")
    except StoreError:
        # A run that ends because the store fails must say that, and not that its report could not be kept.
        if report.stopped != "refused":
            raise


def _tasks(
    store: ObjectStore,
    config: DatasetConfig,
    versions: Mapping[str, str],
    entries: Mapping[str, LedgerEntry],
    stream: PartitionStream,
) -> Iterator[RequestTask]:
    """What is not final, partition by partition, in each plan's order: the requests of one spec follow each other.

    A plan is read again when its turn comes: those of all partitions together would not fit into memory.
    """
    for share in stream.shares.values():
        if not share.stats.total:
            continue
        before: tuple[GenerationRequest, LedgerEntry] | None = None
        was_drawn = False
        body = read_plan_object(store, config, share.partition, versions[share.partition])
        for request, planned in read_plan(iterate_rows(body)):
            is_drawn = stream.draws(request.request_id, share.partition)
            if is_drawn:
                predecessor = None if was_drawn else _predecessor(request, before)
                yield RequestTask(request=request, entry=entries[request.request_id], predecessor=predecessor)
            before, was_drawn = (request, planned), is_drawn


def _predecessor(
    request: GenerationRequest, before: tuple[GenerationRequest, LedgerEntry] | None
) -> Predecessor | None:
    """The request before this one where it was nobody's when the plan was made and is not drawn just before."""
    if request.start == 0 or before is None:
        return None
    earlier, planned = before
    if planned.state is not RequestState.FREE:
        return None
    return Predecessor(request_id=earlier.request_id, count=earlier.count)


def load_report(
    store: ObjectStore, config: DatasetConfig, partition: str, version: str | None = None
) -> RunReport | None:
    """What the latest run over this partition, or over its plan of this version, did.

    None where there was none, or none that can be read: nothing depends on it but messages; the next run writes a new
    one.
    """
    key = config.key("runs", partition, ".json")
    if version is not None:
        key = version_key(config, "requests", partition, version, ".json")
    try:
        return _REPORT.validate_json(store.read(key))
    except ObjectNotFound:
        return None
    except ValueError:
        _LOG.warning("%s is not a run report; the next run writes a new one", key)
        return None
