"""One run from outside: settings and values in, a report out. Puts the engine's parts together, and takes them down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from uuid import uuid4

from seedream_assets.budget.dataset_budget import DatasetBudget, told_by
from seedream_assets.budget.reservations import Reservations
from seedream_assets.budget.rules import Spending, cost_in_credits, spending_of_run
from seedream_assets.config.account import LeonardoSettings
from seedream_assets.config.dataset import Budget
from seedream_assets.config.engine import EngineSettings
from seedream_assets.config.models import ModelCatalog, credits_for
from seedream_assets.config.retry import repeat
from seedream_assets.config.waiting import Clock, Sleep, running_seconds
from seedream_assets.images.embed import Embedding
from seedream_assets.ledger.account import StoreAccount, refuse_another_account
from seedream_assets.ledger.events import FinalEvent
from seedream_assets.ledger.history import AccountHistory
from seedream_assets.ledger.lease import Lease, is_gone
from seedream_assets.ledger.recovery import Recovery
from seedream_assets.ledger.store import Ledger
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.downloads import ImageDownloads
from seedream_assets.leonardo.generations import Account, Cost
from seedream_assets.prompts.reference_images import ReferenceUploads
from seedream_assets.purchase.delivery import ByteBudget, Delivery
from seedream_assets.purchase.engine import Engine
from seedream_assets.purchase.finalize import Collecting
from seedream_assets.purchase.history_sweep import HistorySweep
from seedream_assets.purchase.polling import Polling
from seedream_assets.purchase.report import Progress, RunListener, RunReport, RunStats
from seedream_assets.purchase.request_path import RequestPath
from seedream_assets.purchase.shutdown import Breaker, StopRun, pause, signals_stop, watch_parent
from seedream_assets.purchase.submit import AtStep, Buyer, Refusals, Submits
from seedream_assets.purchase.task import Demand
from seedream_assets.storage.async_store import AsyncStore
from seedream_assets.storage.object_store import ObjectStore

MOST_REASONS = 20
# Leonardo keeps 20 generations waiting or running for each slot (limits page, 2026-07-01); one more is refused.
PENDING_FOR_EACH_SLOT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrder:
    """Everything one run needs to know.

    Attributes:
        demands: Drawn as room becomes free; never held as a whole.
        total: How many there are.
        credits_to_buy: The price of those that are to be bought, for the projection; nothing is decided by it.
        partition_of: For which partition a request is bought; None: for `partition`.
        listener: Who is told of every single request.
        embedding: What is written into the images.
        on_progress: Called every `settings.progress_seconds`, and once at the end.
        on_report: Called with the report when the run has ended, also where it ends with an error.
        accepts_origin: The store may be bought for through another address of its account than so far.
        watch_parent: Stop when the process that started this one is gone: Dagster's step under a killed run worker.
        at_step: Called at the named points of each request, for tests that kill a process there.
    """

    store: ObjectStore
    leonardo: LeonardoSettings
    settings: EngineSettings
    models: ModelCatalog
    budget: Budget
    dataset: str
    partition: str
    demands: Iterable[Demand]
    total: int
    credits_to_buy: int = 0
    embedding: Embedding = field(default_factory=Embedding)
    run_id: str = field(default_factory=lambda: uuid4().hex)
    partition_of: Callable[[str], str] | None = None
    listener: RunListener | None = None
    dagster_run_id: str | None = None
    on_progress: Callable[[Progress], None] = lambda _progress: None
    on_report: Callable[[RunReport], None] = lambda _report: None
    on_ending: Callable[[FinalEvent], None] = lambda _event: None
    accepts_origin: bool = False
    watch_parent: bool = False
    at_step: AtStep = lambda _step, _request_id: None
    sleep: Sleep = asyncio.sleep
    clock: Clock = running_seconds


def run_generation(order: RunOrder) -> RunReport:
    """Buy, fetch and store what is demanded. Blocks until the run has ended.

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
    stats = RunStats(order.total, credits_to_buy=order.credits_to_buy, listener=order.listener)
    async with AsyncExitStack() as stack:
        stack.enter_context(signals_stop(stop))
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
        reservations = await _open_reservations(order, store, lease, account)
        ledger = Ledger(store, on_ending=order.on_ending)
        recovery = _build_recovery(order, store, client, ledger, lease, account, stop)
        engine = _build_engine(
            order, store, client, downloads, account, ledger, lease, recovery, reservations, stats, stop
        )

        def report_progress() -> None:
            order.on_progress(
                stats.progress(
                    seconds=order.clock() - began,
                    credits_spent=reservations.booked_credits,
                    outage=client.reachability.outage,
                    waiting="; ".join(filter(None, (recovery.waiting, engine.waiting))) or None,
                    stopping=stop.reason,
                )
            )

        watches = [asyncio.create_task(_keep_reporting(order, report_progress), name="progress")]
        if order.watch_parent:
            watches.append(asyncio.create_task(watch_parent(stop, order.sleep), name="parent"))
        failure: Exception | None = None
        try:
            await engine.run(order.demands)
        except Exception as error:  # noqa: BLE001 - raised below, when the report has been handed over
            failure = error
            stop.request("refused", str(error), error)
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
    seconds = order.clock() - began
    report_progress()
    report = RunReport(
        run_id=order.run_id,
        requests=dict(+stats.requests),
        images_stored=stats.images_stored,
        credits_booked=reservations.booked_credits,
        credits_quoted=reservations.quoted_credits,
        costs=dict(reservations.costs),
        doubted_costs=reservations.doubted_costs,
        reasons=dict(stats.reasons.most_common(MOST_REASONS)),
        stopped=stop.cause,
        stop_reason=stop.reason,
        seconds=seconds,
        notes=dict(stats.notes),
    )
    order.on_report(report)
    if failure is not None:
        raise failure
    return report


def _build_engine(
    order: RunOrder,
    store: AsyncStore,
    client: LeonardoClient,
    downloads: ImageDownloads,
    account: Account,
    ledger: Ledger,
    lease: Lease,
    recovery: Recovery,
    reservations: Reservations,
    stats: RunStats,
    stop: StopRun,
) -> Engine:
    settings = order.settings
    slots = min(settings.slots, account.slots or settings.slots)
    at_leonardo = min(slots + settings.queue_ahead, slots * PENDING_FOR_EACH_SLOT)
    breaker = Breaker()
    path = RequestPath(
        ledger=ledger,
        lease=lease,
        submits=Submits(
            ledger=ledger,
            client=client,
            lease=lease,
            references=ReferenceUploads(store, client, user_id=account.user_id, sleep=order.sleep),
            models=order.models,
            buyer_of=lambda request_id: Buyer(
                dataset=order.dataset,
                partition=order.partition_of(request_id) if order.partition_of else order.partition,
                run_id=order.run_id,
                dagster_run_id=order.dagster_run_id,
            ),
            interruption=stop.interruption,
            pause=lambda seconds: pause(seconds, stop=stop, sleep=order.sleep),
            stopping=lambda: stop.buys_no_more,
            doubt=Refusals(
                recovery=recovery,
                settle_seconds=settings.history_settle_seconds,
                pause=lambda seconds: pause(seconds, stop=stop, sleep=order.sleep),
                clock=order.clock,
            ),
            account_id=account.user_id,
            at_step=order.at_step,
        ),
        recovery=recovery,
        polling=Polling(
            client=client,
            sweep=HistorySweep(
                client=client,
                user_id=account.user_id,
                enabled=settings.bulk_polling,
                sleep=order.sleep,
                clock=order.clock,
            ),
            give_up_after_seconds=settings.give_up_after_seconds,
            clock=order.clock,
            settle_images_seconds=settings.settle_images_seconds,
            pause=lambda seconds: pause(seconds, stop=stop, sleep=order.sleep),
            stopping=lambda: stop.is_interrupted,
        ),
        collecting=Collecting(
            ledger=ledger,
            lease=lease,
            delivery=Delivery(
                store=store,
                downloads=downloads,
                embedding=order.embedding,
                memory=ByteBudget(settings.image_bytes_in_memory),
                largest_pixels=order.leonardo.largest_image_pixels,
                run_id=order.run_id,
                sleep=order.sleep,
                at_step=order.at_step,
                taken_back=ledger.taken_back,
            ),
            stats=stats,
            stop=stop,
            breaker=breaker,
            quote=lambda request: credits_for(order.models.find(request.spec.model), request.count),
            at_step=order.at_step,
        ),
        reservations=reservations,
        stats=stats,
        stop=stop,
        breaker=breaker,
        places=asyncio.Semaphore(at_leonardo),
        # Enough that waiting for others does not hold up the rest; beyond it, admission waits too.
        parked=asyncio.Semaphore(20 * at_leonardo),
    )
    return Engine(
        path=path,
        reservations=reservations,
        stats=stats,
        stop=stop,
        breaker=breaker,
        # Twice the places: while one lot is at Leonardo, another is downloaded, verified and stored.
        room=2 * at_leonardo,
        drain_seconds=settings.drain_seconds,
        at_step=order.at_step,
    )


def _build_recovery(
    order: RunOrder,
    store: AsyncStore,
    client: LeonardoClient,
    ledger: Ledger,
    lease: Lease,
    account: Account,
    stop: StopRun,
) -> Recovery:
    settings = order.settings
    return Recovery(
        store=store,
        ledger=ledger,
        history=AccountHistory(
            client=client,
            store=store,
            user_id=account.user_id,
            pages=settings.history_pages,
            sleep=order.sleep,
            clock=order.clock,
        ),
        lease=lease,
        account_id=account.user_id,
        lease_seconds=settings.lease_seconds,
        settle_seconds=settings.history_settle_seconds,
        sleep=order.sleep,
        clock=order.clock,
        stopping=lambda: stop.is_interrupted,
        at_step=order.at_step,
    )


async def _open_reservations(order: RunOrder, store: AsyncStore, lease: Lease, account: Account) -> Reservations:
    """This run's money, under its three caps; settles first what dead runs of the dataset left."""
    dataset = DatasetBudget(
        store,
        dataset=order.dataset,
        run_id=order.run_id,
        limit=order.budget.max_credits_total,
        day_limit=order.budget.max_credits_per_day,
        sign=lease.writer,
        is_gone=lambda writer: is_gone(writer, store, lease_seconds=order.settings.lease_seconds),
        booked_for=told_by(Ledger(store), order.models),
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
