"""One run from outside: settings and values in, a report out. Puts the engine's parts together, and takes them down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from uuid import uuid4

from seedream_assets.budget.dataset_budget import DatasetBudget, booked_by_ledger
from seedream_assets.budget.reservations import Reservations
from seedream_assets.budget.rules import Spending, cost_in_credits, spending_of_run
from seedream_assets.config.account import EngineSettings, LeonardoSettings
from seedream_assets.config.dataset import Budget
from seedream_assets.config.models import ModelCatalog
from seedream_assets.config.retry import Clock, Sleep, repeat, running_seconds
from seedream_assets.images.embed import Embedding
from seedream_assets.ledger.account import StoreAccount, refuse_another_account
from seedream_assets.ledger.history import AccountHistory
from seedream_assets.ledger.lease import Lease, is_gone
from seedream_assets.ledger.recovery import Recovery
from seedream_assets.ledger.store import Ledger
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.downloads import ImageDownloads
from seedream_assets.leonardo.generations import Cost
from seedream_assets.purchase.delivery import ByteBudget, Delivery, Finalizer
from seedream_assets.purchase.engine import Collaborators, Engine
from seedream_assets.purchase.polling import Polling
from seedream_assets.purchase.report import Progress, RunReport, RunStats
from seedream_assets.purchase.shutdown import StopRun, pause, signals_stop, watch_parent
from seedream_assets.purchase.submit import ReferenceUploads, Refusals, Submits
from seedream_assets.purchase.task import Event, Observer, RequestTask, RunContext, ignore
from seedream_assets.storage.async_store import AsyncStore
from seedream_assets.storage.object_store import ObjectStore

# Leonardo keeps 20 generations waiting or running for each slot (limits page, 2026-07-01); one more is refused.
PENDING_FOR_EACH_SLOT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrder:
    """Everything one run needs to know.

    Attributes:
        tasks: What the plan wants and is not final. Drawn as others end; never held as a whole.
        total: How many there are.
        credits_to_buy: The price of those that are to be bought, for the projection; nothing is decided by it.
        partition_of: For which partition a request is bought, by its id.
        embedding: What is written into the images.
        on: Called with what happens to each request. Tests stop and kill processes through it.
        on_progress: Called every `settings.progress_seconds`, and once at the end.
        on_report: Called with the report when the run has ended, also where it ends with an error.
        accepts_origin: The store may be bought for through another address of its account than so far.
        watch_parent: Stop when the process that started this one is gone: Dagster's step under a killed run worker.
    """

    store: ObjectStore
    leonardo: LeonardoSettings
    settings: EngineSettings
    models: ModelCatalog
    budget: Budget
    dataset: str
    partition_of: Callable[[str], str]
    tasks: Iterable[RequestTask]
    total: int
    credits_to_buy: int = 0
    embedding: Embedding = field(default_factory=Embedding)
    run_id: str = field(default_factory=lambda: uuid4().hex)
    dagster_run_id: str | None = None
    on: Observer = ignore
    on_progress: Callable[[Progress], None] = lambda _progress: None
    on_report: Callable[[RunReport], None] = lambda _report: None
    accepts_origin: bool = False
    watch_parent: bool = False
    sleep: Sleep = asyncio.sleep
    clock: Clock = running_seconds


def run_generation(order: RunOrder) -> RunReport:
    """Buy, fetch and store what is wanted. Blocks until the run has ended.

    SIGINT and SIGTERM end the run cleanly: nothing more is submitted, what is in flight gets a bounded time, and the
    report says `interrupted`. Whatever happens, the ledger is left so that the next run goes on without paying again.

    Raises:
        StoreRefused: The store cannot be used safely; nothing was bought.
        LeonardoError: The account cannot be read, or refuses the key.
        StoreError: The store failed for good while the run was under way. What is owned is kept.
    """
    order.store.refuse_unless_create_only()
    return asyncio.run(_run(order))


async def _run(order: RunOrder) -> RunReport:
    began = order.clock()
    stop = StopRun()
    stats = RunStats(order.total, credits_to_buy=order.credits_to_buy)
    async with AsyncExitStack() as stack:
        stack.enter_context(signals_stop(stop))
        engine, client = await _open_engine(order, stack, stats, stop)

        def report_progress() -> None:
            order.on_progress(
                stats.progress(
                    seconds=order.clock() - began,
                    outage=client.reachability.outage,
                    waiting=engine.waiting,
                    stopping=stop.reason,
                )
            )

        watches = [asyncio.create_task(_keep_reporting(order, report_progress), name="progress")]
        if order.watch_parent:
            watches.append(asyncio.create_task(watch_parent(stop, order.sleep), name="parent"))
        failure: Exception | None = None
        try:
            await engine.run(order.tasks)
        except Exception as error:  # noqa: BLE001 - raised below, when the report has been handed over
            failure = error
            stop.request("refused", str(error), error)
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
    seconds = order.clock() - began
    report_progress()
    report = stats.report(order.run_id, seconds=seconds, stopped=stop.cause, stop_reason=stop.reason)
    order.on_report(report)
    if failure is not None:
        raise failure
    return report


async def _open_engine(
    order: RunOrder, stack: AsyncExitStack, stats: RunStats, stop: StopRun
) -> tuple[Engine, LeonardoClient]:
    """Open the store and the account, take a lease, and put the engine together.

    Raises:
        StoreRefused: The store is bought for from another account.
    """
    settings, sleep = order.settings, order.sleep
    store = AsyncStore(order.store, threads=settings.store_threads, sleep=sleep)
    stack.callback(store.close)
    # Of its own, so that no queue of large images can make the lease run out.
    lease_store = AsyncStore(order.store, threads=1, sleep=sleep)
    stack.callback(lease_store.close)
    client = await stack.enter_async_context(LeonardoClient(order.leonardo))
    downloads = await stack.enter_async_context(ImageDownloads(order.leonardo))
    account = await repeat(client.read_account, sleep=sleep)
    mine = StoreAccount.of(account.user_id, order.leonardo.base_url)
    await refuse_another_account(store, client, mine, accepts_origin=order.accepts_origin)
    lease = Lease(lease_store, seconds=settings.lease_seconds, sleep=sleep, clock=order.clock)
    await lease.start()
    stack.push_async_callback(lease.stop)

    def on(event: Event, request_id: str) -> None:
        stats.on(event, request_id)
        order.on(event, request_id)

    run = RunContext(
        ledger=Ledger(store, on_ending=lambda event: on(event, event.request_id)),
        lease=lease,
        models=order.models,
        stop=stop,
        pause=partial(pause, stop=stop, sleep=sleep),
        on=on,
        dataset=order.dataset,
        run_id=order.run_id,
        dagster_run_id=order.dagster_run_id,
        account_id=account.user_id,
        partition_of=order.partition_of,
    )
    recovery = _build_recovery(order, run, store, client)
    slots = min(settings.slots, account.slots or settings.slots)
    use = Collaborators(
        run=run,
        submits=_build_submits(order, run, store, client, recovery),
        recovery=recovery,
        polling=_build_polling(order, run, client),
        finalizer=Finalizer(run=run, delivery=_build_delivery(order, run, store, downloads)),
        reservations=await _open_reservations(order, run, store, account.balance),
        stats=stats,
    )
    at_leonardo = min(slots + settings.queue_ahead, slots * PENDING_FOR_EACH_SLOT)
    return Engine(use, at_leonardo=at_leonardo, drain_seconds=settings.drain_seconds), client


def _build_recovery(order: RunOrder, run: RunContext, store: AsyncStore, client: LeonardoClient) -> Recovery:
    return Recovery(
        store=store,
        ledger=run.ledger,
        history=AccountHistory(
            client=client,
            store=store,
            user_id=run.account_id,
            pages=order.settings.history_pages,
            sleep=order.sleep,
            clock=order.clock,
        ),
        lease=run.lease,
        account_id=run.account_id,
        lease_seconds=order.settings.lease_seconds,
        settle_seconds=order.settings.history_settle_seconds,
        sleep=order.sleep,
        clock=order.clock,
        stopping=lambda: run.stop.is_interrupted,
        on=order.on,
    )


def _build_submits(
    order: RunOrder, run: RunContext, store: AsyncStore, client: LeonardoClient, recovery: Recovery
) -> Submits:
    return Submits(
        run=run,
        client=client,
        references=ReferenceUploads(store, client, user_id=run.account_id, sleep=order.sleep),
        refusals=Refusals(
            recovery=recovery,
            settle_seconds=order.settings.history_settle_seconds,
            pause=run.pause,
            clock=order.clock,
        ),
    )


def _build_polling(order: RunOrder, run: RunContext, client: LeonardoClient) -> Polling:
    return Polling(
        client=client,
        user_id=run.account_id,
        sweeps=order.settings.bulk_polling,
        give_up_after_seconds=order.settings.give_up_after_seconds,
        settle_images_seconds=order.settings.settle_images_seconds,
        sleep=order.sleep,
        pause=run.pause,
        clock=order.clock,
        stopping=lambda: run.stop.is_interrupted,
    )


def _build_delivery(order: RunOrder, run: RunContext, store: AsyncStore, downloads: ImageDownloads) -> Delivery:
    return Delivery(
        store=store,
        downloads=downloads,
        embedding=order.embedding,
        memory=ByteBudget(order.settings.image_bytes_in_memory),
        largest_pixels=order.leonardo.largest_image_pixels,
        run_id=order.run_id,
        sleep=order.sleep,
        taken_back=run.ledger.taken_back,
        on=run.on,
    )


async def _open_reservations(
    order: RunOrder, run: RunContext, store: AsyncStore, balance: Decimal | None
) -> Reservations:
    """This run's money, under its three caps; settles first what dead runs of the dataset left."""
    dataset = DatasetBudget(
        store,
        dataset=order.dataset,
        run_id=order.run_id,
        limit=order.budget.max_credits_total,
        day_limit=order.budget.max_credits_per_day,
        sign=run.lease.writer,
        is_gone=lambda writer: is_gone(writer, store, lease_seconds=order.settings.lease_seconds),
        booked_for=booked_by_ledger(Ledger(store), order.models),
    )
    await dataset.open()
    cost = None if balance is None else Cost(amount=balance, unit=order.leonardo.balance_unit)
    limit = None if cost is None else max(0, cost_in_credits(cost, quoted=0))
    return Reservations(
        run=spending_of_run(order.budget),
        balance=Spending(cap="balance", limit=limit),
        dataset=dataset,
        engine_id=lambda: run.lease.engine_id,
    )


async def _keep_reporting(order: RunOrder, report_progress: Callable[[], None]) -> None:
    while True:
        await order.sleep(order.settings.progress_seconds)
        report_progress()
