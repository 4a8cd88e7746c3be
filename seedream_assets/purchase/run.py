"""One run from outside: settings and values in, a report out. Puts the engine's parts together, and takes them down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
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
from seedream_assets.leonardo.generations import Account, Cost
from seedream_assets.purchase.delivery import ByteBudget, Delivery, Finalizer
from seedream_assets.purchase.engine import Collaborators, Engine
from seedream_assets.purchase.polling import Polling
from seedream_assets.purchase.reference_uploads import ReferenceUploads
from seedream_assets.purchase.report import Progress, RunReport, RunStats
from seedream_assets.purchase.shutdown import StopRun, pause, signals_stop, watch_parent
from seedream_assets.purchase.submit import Refusals, Submits
from seedream_assets.purchase.task import Event, Observer, RequestTask, ignore
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """What a run holds open until it ends."""

    store: AsyncStore
    client: LeonardoClient
    downloads: ImageDownloads
    account: Account
    lease: Lease


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
        opened = await _open(order, stack)
        engine = _build_engine(order, opened, await _open_reservations(order, opened), stats, stop)

        def report_progress() -> None:
            order.on_progress(
                stats.progress(
                    seconds=order.clock() - began,
                    outage=opened.client.reachability.outage,
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


async def _open(order: RunOrder, stack: AsyncExitStack) -> _Opened:
    """Open the store and the account, and take a lease; refuses a store that is bought for from another account."""
    store = AsyncStore(order.store, threads=order.settings.store_threads, sleep=order.sleep)
    stack.callback(store.close)
    # Of its own, so that no queue of large images can make the lease run out.
    lease_store = AsyncStore(order.store, threads=1, sleep=order.sleep)
    stack.callback(lease_store.close)
    client = await stack.enter_async_context(LeonardoClient(order.leonardo))
    downloads = await stack.enter_async_context(ImageDownloads(order.leonardo))
    account = await repeat(client.read_account, sleep=order.sleep)
    lease = Lease(lease_store, seconds=order.settings.lease_seconds, sleep=order.sleep, clock=order.clock)
    mine = StoreAccount.of(account.user_id, order.leonardo.base_url)
    await refuse_another_account(store, client, mine, accepts_origin=order.accepts_origin)
    await lease.start()
    stack.push_async_callback(lease.stop)
    return _Opened(store=store, client=client, downloads=downloads, account=account, lease=lease)


def _build_engine(
    order: RunOrder, opened: _Opened, reservations: Reservations, stats: RunStats, stop: StopRun
) -> Engine:
    settings, account = order.settings, opened.account

    def on(event: Event, request_id: str) -> None:
        stats.on(event, request_id)
        order.on(event, request_id)

    async def pause_unless_stopped(seconds: float) -> None:
        await pause(seconds, stop=stop, sleep=order.sleep)

    ledger = Ledger(opened.store, on_ending=lambda event: on(event, event.request_id))
    recovery = _build_recovery(order, opened, ledger, stop)
    slots = min(settings.slots, account.slots or settings.slots)
    return Engine(
        Collaborators(
            ledger=ledger,
            lease=opened.lease,
            submits=Submits(
                ledger=ledger,
                client=opened.client,
                lease=opened.lease,
                references=ReferenceUploads(opened.store, opened.client, user_id=account.user_id, sleep=order.sleep),
                models=order.models,
                dataset=order.dataset,
                run_id=order.run_id,
                dagster_run_id=order.dagster_run_id,
                account_id=account.user_id,
                partition_of=order.partition_of,
                stop=stop,
                pause=pause_unless_stopped,
                refusals=Refusals(
                    recovery=recovery,
                    settle_seconds=settings.history_settle_seconds,
                    pause=pause_unless_stopped,
                    clock=order.clock,
                ),
                on=on,
            ),
            recovery=recovery,
            polling=Polling(
                client=opened.client,
                user_id=account.user_id,
                sweeps=settings.bulk_polling,
                give_up_after_seconds=settings.give_up_after_seconds,
                settle_images_seconds=settings.settle_images_seconds,
                sleep=order.sleep,
                pause=pause_unless_stopped,
                clock=order.clock,
                stopping=lambda: stop.is_interrupted,
            ),
            finalizer=Finalizer(
                ledger=ledger,
                lease=opened.lease,
                delivery=Delivery(
                    store=opened.store,
                    downloads=opened.downloads,
                    embedding=order.embedding,
                    memory=ByteBudget(settings.image_bytes_in_memory),
                    largest_pixels=order.leonardo.largest_image_pixels,
                    run_id=order.run_id,
                    sleep=order.sleep,
                    taken_back=ledger.taken_back,
                    on=on,
                ),
                models=order.models,
                stop=stop,
                on=on,
            ),
            reservations=reservations,
            models=order.models,
            stats=stats,
            stop=stop,
            on=on,
        ),
        at_leonardo=min(slots + settings.queue_ahead, slots * PENDING_FOR_EACH_SLOT),
        drain_seconds=settings.drain_seconds,
    )


def _build_recovery(order: RunOrder, opened: _Opened, ledger: Ledger, stop: StopRun) -> Recovery:
    settings, user_id = order.settings, opened.account.user_id
    return Recovery(
        store=opened.store,
        ledger=ledger,
        history=AccountHistory(
            client=opened.client,
            store=opened.store,
            user_id=user_id,
            pages=settings.history_pages,
            sleep=order.sleep,
            clock=order.clock,
        ),
        lease=opened.lease,
        account_id=user_id,
        lease_seconds=settings.lease_seconds,
        settle_seconds=settings.history_settle_seconds,
        sleep=order.sleep,
        clock=order.clock,
        stopping=lambda: stop.is_interrupted,
        on=order.on,
    )


async def _open_reservations(order: RunOrder, opened: _Opened) -> Reservations:
    """This run's money, under its three caps; settles first what dead runs of the dataset left."""
    store, lease, account = opened.store, opened.lease, opened.account
    dataset = DatasetBudget(
        store,
        dataset=order.dataset,
        run_id=order.run_id,
        limit=order.budget.max_credits_total,
        day_limit=order.budget.max_credits_per_day,
        sign=lease.writer,
        is_gone=lambda writer: is_gone(writer, store, lease_seconds=order.settings.lease_seconds),
        booked_for=booked_by_ledger(Ledger(store), order.models),
    )
    await dataset.open()
    unit = order.leonardo.balance_unit
    balance = None if account.balance is None else cost_in_credits(Cost(amount=account.balance, unit=unit), quoted=0)
    return Reservations(
        run=spending_of_run(order.budget),
        balance=Spending(cap="balance", limit=None if balance is None else max(0, balance)),
        dataset=dataset,
        engine_id=lambda: lease.engine_id,
    )


async def _keep_reporting(order: RunOrder, report_progress: Callable[[], None]) -> None:
    while True:
        await order.sleep(order.settings.progress_seconds)
        report_progress()
