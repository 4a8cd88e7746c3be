"""One run of the disbelief matrix in a process of its own, and what it reports.

A light module: every child imports it. What is run when is said in `disbelief_matrix`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from seedream_assets.config.account import EngineSettings, LeonardoSettings
from seedream_assets.config.dataset import Budget
from seedream_assets.config.models import ModelCatalog
from seedream_assets.config.retry import running_seconds
from seedream_assets.errors import SeedreamError
from seedream_assets.leonardo.requests import GenerationRequest, GenerationSpec, make_request
from seedream_assets.purchase.report import RunReport
from seedream_assets.purchase.run import RunOrder, run_generation
from seedream_assets_tests.purchase.killed_process import (
    MODEL,
    ChildOrder,
    Killer,
    kill_later,
    open_child_store,
    open_tasks,
    short_sleep,
)

DATASET = "disbelief"
# How the engine begins its note on an error that nobody foresaw.
UNEXPECTED = "unexpected "
# Neither is a multiple of 16.
WIDTH, HEIGHT = 72, 56
SLOTS = 6
ANSWER_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class DoubtingOrder(ChildOrder):
    """One process's work.

    Attributes:
        seeds: The rows' own; empty: derived.
        enhance: The rows' `prompt_enhance`.
        run_cap: `max_credits_per_run`.
        paused_guest: The clock since boot stands still while the process is stopped.
    """

    seeds: tuple[int, ...] = ()
    enhance: Any = "OFF"
    run_cap: int | None = None
    paused_guest: bool = False

    def requests(self) -> list[GenerationRequest]:
        """One for each prompt."""
        specs = [
            GenerationSpec(
                model=MODEL.name,
                prompt=prompt,
                width=WIDTH,
                height=HEIGHT,
                style="None",
                prompt_enhance=self.enhance,
                seed=self.seeds[number] if self.seeds else None,
            )
            for number, prompt in enumerate(self.prompts)
        ]
        return [make_request(spec, start=0, count=self.images, model=MODEL) for spec in specs]


class GuestClock:
    """The seconds since boot of a guest: they stand still while its machine is paused, here while it is stopped."""

    _MOST_SECONDS = 0.5

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at = self._seen = running_seconds()
        threading.Thread(target=self._tick, daemon=True).start()

    def __call__(self) -> float:
        with self._lock:
            now = running_seconds()
            self._at += min(now - self._seen, self._MOST_SECONDS)
            self._seen = now
            return self._at

    def _tick(self) -> None:
        while True:
            self()
            time.sleep(0.05)


def run_doubting(order: DoubtingOrder, messages: Connection) -> None:
    """The child's whole life; `messages` gets one line on what the run reported, unless it is killed."""
    if order.kill_at == "any_time":
        kill_later(order.kill_after_seconds, order)
    store = open_child_store(order.store, order.environment)
    tasks = open_tasks(store, order.requests())
    reports: list[RunReport] = []
    values: dict[str, Any] = {"clock": GuestClock()} if order.paused_guest else {}
    run = RunOrder(
        store=store,
        leonardo=LeonardoSettings(
            api_key=order.api_key,
            base_url=order.base_url,
            creates_per_minute=100_000,
            requests_per_minute=1_000_000,
            answer_seconds=ANSWER_SECONDS,
            connect_seconds=5.0,
        ),
        settings=EngineSettings(
            slots=SLOTS,
            queue_ahead=0,
            lease_seconds=order.lease_seconds,
            history_settle_seconds=order.settle_seconds,
            drain_seconds=order.drain_seconds,
            settle_images_seconds=6.0,
            give_up_after_seconds=12.0,
            progress_seconds=60,
            store_threads=8,
        ),
        models=ModelCatalog(),
        budget=Budget(max_credits_total=order.max_credits_total, max_credits_per_run=order.run_cap),
        dataset=DATASET,
        partition_of=lambda _request_id: "all",
        tasks=iter(tasks),
        total=len(tasks),
        on=Killer(order),
        on_report=reports.append,
        sleep=short_sleep,
        **values,
    )
    raised = ""
    try:
        run_generation(run)
    except SeedreamError as error:
        raised = f"{type(error).__name__}: {error}"
    messages.send(_in_words(reports, raised))


def _in_words(reports: list[RunReport], raised: str) -> str:
    words = []
    for report in reports:
        words += [f"{count} {outcome}" for outcome, count in sorted(report.requests.items()) if count]
        words += [f"stopped: {report.stop_reason}"] if report.stopped else []
        # A mistake of the package goes first: nothing else is so rare.
        notes = sorted(report.notes.values(), key=lambda note: not note.startswith(UNEXPECTED))
        words += [f"e.g. {note}" for note in notes[:1]]
    return "; ".join(filter(None, [*words, raised])) or "nothing to do"
