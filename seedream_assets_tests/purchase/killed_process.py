"""A real run of the engine in a process of its own, which can be killed, stopped, and made to believe that it runs on
another machine. Forked from a server process that has imported everything, so that a start takes milliseconds.

Here belongs what happens inside the child. Which process is killed when, and what must be true afterwards, is said in
`kill_matrix`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.process
import os
import platform
import signal
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.session import get_session

from seedream_assets.config.account import EngineSettings, LeonardoSettings
from seedream_assets.config.dataset import Budget
from seedream_assets.config.models import ModelCatalog
from seedream_assets.config.retry import RetryPolicy
from seedream_assets.ledger.store import LedgerEntries
from seedream_assets.leonardo.downloads import tls_context
from seedream_assets.leonardo.requests import GenerationRequest, GenerationSpec, make_request
from seedream_assets.purchase.run import RunOrder, run_generation
from seedream_assets.purchase.task import Event, RequestTask
from seedream_assets.storage.folder import FolderStore
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.s3 import S3Store
from seedream_assets.storage.s3_client import S3Options, make_s3_client
from seedream_assets.storage.s3_obstore import ObstoreCreates

MODEL = ModelCatalog()["seedream-4.0"]
SIDE_PX = 512
# The engine waits for seconds where the emulator needs milliseconds.
LONGEST_SLEEP_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class ChildOrder:
    """One process's work. Plain values, since it crosses to another process.

    Attributes:
        store: A folder's path, or `s3://bucket`.
        environment: Where S3 is.
        prompts: One request each.
        machine: The host name that the process believes in; None for the real one.
        kill_at: The step at which the process kills itself, at the `kill_turn`-th time; `in_post` is a moment after
            `before_post`, and `any_time` counts from the start.
        kill_after_seconds: For these two.
        stop_instead: SIGSTOP in place of SIGKILL.
    """

    store: str
    base_url: str
    api_key: str
    prompts: tuple[str, ...]
    images: int = 2
    environment: dict[str, str] = field(default_factory=dict)
    machine: str | None = None
    kill_at: str | None = None
    kill_turn: int = 1
    kill_after_seconds: float = 0.0
    stop_instead: bool = False
    max_credits_total: int | None = None
    dataset: str = "killed"
    lease_seconds: float = 1.0
    settle_seconds: float = 0.8
    drain_seconds: float = 3.0
    watch_parent: bool = False


def make_requests(prompts: tuple[str, ...], images: int) -> list[GenerationRequest]:
    specs = [
        GenerationSpec(
            model=MODEL.name, prompt=prompt, width=SIDE_PX, height=SIDE_PX, style="None", prompt_enhance="OFF"
        )
        for prompt in prompts
    ]
    return [make_request(spec, start=0, count=images, model=MODEL) for spec in specs]


def open_child_store(address: str, environment: dict[str, str]) -> ObjectStore:
    if not address.startswith("s3://"):
        return FolderStore(Path(address))
    os.environ.update(environment)
    options = S3Options(rounds=RetryPolicy(attempts=6, first_wait_seconds=0.02, longest_wait_seconds=0.2))
    session, client = _S3_CLIENTS.get(environment["AWS_ENDPOINT_URL_S3"]) or make_client(options)
    bucket = address.removeprefix("s3://")
    creates = ObstoreCreates(bucket, session=session, options=options)
    return S3Store(bucket, options=options, client=client, creates=creates)


async def short_sleep(seconds: float) -> None:
    await asyncio.sleep(min(seconds, LONGEST_SLEEP_SECONDS))


def run_child(order: ChildOrder) -> None:
    """The child's whole life. Its exit code says nothing: the store and the bill do."""
    if order.machine is not None:
        machine = order.machine
        platform.node = lambda: machine  # type: ignore[assignment]
    if order.kill_at == "any_time":
        kill_later(order.kill_after_seconds, order)
    store = open_child_store(order.store, order.environment)
    tasks = open_tasks(store, make_requests(order.prompts, order.images))
    run_generation(
        RunOrder(
            store=store,
            leonardo=quick_leonardo(order.base_url, order.api_key),
            settings=EngineSettings(
                lease_seconds=order.lease_seconds,
                history_settle_seconds=order.settle_seconds,
                drain_seconds=order.drain_seconds,
                progress_seconds=60,
                store_threads=8,
            ),
            models=ModelCatalog(),
            budget=Budget(max_credits_total=order.max_credits_total, unlimited=order.max_credits_total is None),
            dataset=order.dataset,
            partition_of=lambda _request_id: "all",
            tasks=iter(tasks),
            total=len(tasks),
            on=Killer(order),
            watch_parent=order.watch_parent,
            sleep=short_sleep,
        )
    )


def open_tasks(store: ObjectStore, requests: list[GenerationRequest]) -> list[RequestTask]:
    """What is not final, as a plan would have it."""
    entries = LedgerEntries(store).of([request.request_id for request in requests])
    return [
        RequestTask(request=request, entry=entries[request.request_id])
        for request in requests
        if not entries[request.request_id].is_final
    ]


def quick_leonardo(base_url: str, api_key: str) -> LeonardoSettings:
    return LeonardoSettings(
        api_key=api_key,
        base_url=base_url,
        creates_per_minute=100_000,
        requests_per_minute=1_000_000,
        answer_seconds=5.0,
        connect_seconds=5.0,
    )


def run_orphan(order: ChildOrder, pid_file: str) -> None:
    """Start a run as a grandchild and wait to be killed: the run has to notice that nobody is left."""
    child = os.fork()
    if child == 0:
        try:
            run_child(order)
        finally:
            os._exit(0)
    Path(pid_file).write_text(str(child), encoding="ascii")
    signal.pause()


class Killer:
    """Ends or stops this process at the step that its order names."""

    def __init__(self, order: ChildOrder) -> None:
        self._order = order
        self._turns: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, step: Event, _request_id: str) -> None:
        if not isinstance(step, str):
            return
        with self._lock:
            self._turns[step] += 1
            turn = self._turns[step]
        if step == self._order.kill_at and turn == self._order.kill_turn:
            _end(self._order)
        if step == "before_post" and self._order.kill_at == "in_post" and turn == self._order.kill_turn:
            kill_later(self._order.kill_after_seconds, self._order)


def kill_later(seconds: float, order: ChildOrder) -> None:
    """End or stop this process after so many seconds."""
    timer = threading.Timer(seconds, _end, (order,))
    timer.daemon = True
    timer.start()


def _end(order: ChildOrder) -> None:
    os.kill(os.getpid(), signal.SIGSTOP if order.stop_instead else signal.SIGKILL)


_S3_CLIENTS: dict[str, tuple[Any, Any]] = {}


def make_client(options: S3Options) -> tuple[Any, Any]:
    session = get_session()
    return session, make_s3_client(options, session)


def warm_up() -> None:
    """Done once, in the process that the children are forked from: what every child would spend its first second on."""
    tls_context()
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3"):
        _S3_CLIENTS[endpoint] = make_client(
            S3Options(rounds=RetryPolicy(attempts=6, first_wait_seconds=0.02, longest_wait_seconds=0.2))
        )


def fork_server() -> Any:
    """The context whose processes start from a warmed server without threads. Set AWS_* before the first start."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["seedream_assets_tests.purchase.killed_process_warm"])
    return context
