"""A store, an emulated account, and runs of the engine over both: what most tests of this folder stand on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from seedream_assets.config.account import EngineSettings, LeonardoSettings
from seedream_assets.config.dataset import Budget, DatasetConfig
from seedream_assets.config.models import ModelCatalog
from seedream_assets.config.retry import Sleep
from seedream_assets.deployment import Deployment
from seedream_assets.emulator.server import RunningEmulator
from seedream_assets.ledger.events import FinalEvent
from seedream_assets.ledger.lease import CLOCK_GRAIN_SECONDS
from seedream_assets.ledger.state import LedgerEntry, RequestState
from seedream_assets.ledger.store import LedgerEntries
from seedream_assets.leonardo.requests import GenerationRequest, GenerationSpec, make_request
from seedream_assets.purchase.partition_stream import Endings
from seedream_assets.purchase.report import Progress, RunReport
from seedream_assets.purchase.run import RunOrder, run_generation
from seedream_assets.purchase.stage import buy_partitions
from seedream_assets.purchase.task import RequestTask
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.versions import NO_VERSIONS
from seedream_assets_tests.purchase.judging import Judgement, judge

MODEL = ModelCatalog()["seedream-4.0"]
CREDITS = 28
DATASET = "scenes"


def make_paid_request(
    prompt: str, *, count: int = 1, start: int = 0, seed: int | None = None, width: int = 64
) -> GenerationRequest:
    spec = GenerationSpec(
        model=MODEL.name, prompt=prompt, width=width, height=48, style="None", prompt_enhance="OFF", seed=seed
    )
    return make_request(spec, start=start, count=count, model=MODEL)


def make_paid_requests(
    number: int, *, count: int = 1, words: str = "a cat", width: int = 64
) -> list[GenerationRequest]:
    return [make_paid_request(f"{words} {index}", count=count, width=width) for index in range(number)]


def buy_images(
    config: DatasetConfig,
    partition: str,
    deployment: Deployment,
    *,
    on_ending: Callable[[FinalEvent], None] = lambda _event: None,
    sleep: Sleep = asyncio.sleep,
    version: str | None = None,
) -> RunReport:
    """Buy one planned partition; returns its report, and raises what kept it from being bought."""
    reports: list[RunReport] = []

    def keep(_partition: str, report: RunReport, endings: Endings) -> None:
        reports.append(report)
        for event in endings:
            on_ending(event)

    versions = NO_VERSIONS if version is None else {partition: version}
    bought = buy_partitions(config, [partition], deployment, on_partition=keep, sleep=sleep, versions=versions)
    for error in (bought.error, *bought.unplanned.values()):
        if error is not None:
            raise error
    return reports[0] if reports else bought.report


async def short_sleep(seconds: float) -> None:
    """The engine waits for seconds where the emulator needs milliseconds."""
    await asyncio.sleep(min(seconds, 0.02))


@dataclass(kw_only=True)
class Desk:
    """Runs over one store and one account; every run is a new engine."""

    store: ObjectStore
    emulator: RunningEmulator
    progress: list[Progress] = field(default_factory=list)

    def order(self, tasks: Iterable[RequestTask], **changes: Any) -> RunOrder:
        tasks = list(tasks)
        engine = {"lease_seconds": 5.0, "history_settle_seconds": 0.3, "drain_seconds": 2.0, "progress_seconds": 60.0}
        engine["settle_images_seconds"] = 0.3
        leonardo = {"api_key": self.emulator.key, "base_url": self.emulator.base_url}
        leonardo |= {"creates_per_minute": 100_000, "requests_per_minute": 100_000, "answer_seconds": 5.0}
        values: dict[str, Any] = {
            "store": self.store,
            "leonardo": LeonardoSettings(**(leonardo | changes.pop("leonardo", {}))),
            "settings": EngineSettings(**(engine | changes.pop("engine", {}))),
            "models": ModelCatalog(),
            "budget": Budget(**changes.pop("budget", {"unlimited": True})),
            "dataset": DATASET,
            "partition_of": lambda _request_id: "all",
            "tasks": iter(tasks),
            "total": len(tasks),
            "sleep": short_sleep,
            "on_progress": self.progress.append,
        }
        return RunOrder(**(values | changes))

    def run(self, requests: Iterable[GenerationRequest], **changes: Any) -> RunReport:
        """One run over what is not final of these requests."""
        return run_generation(self.order(self.tasks(requests), **changes))

    @property
    def leonardo(self) -> LeonardoSettings:
        """The account, without a limit of its own."""
        rates = {"creates_per_minute": 100_000, "requests_per_minute": 100_000}
        return LeonardoSettings(api_key=self.emulator.key, base_url=self.emulator.base_url, **rates)

    def run_with_witness(self, requests: Iterable[GenerationRequest], **changes: Any) -> RunReport:
        """Run, buy something else that the history will show, and run again."""
        wanted = list(requests)
        self.run(wanted, **changes)
        time.sleep(CLOCK_GRAIN_SECONDS + 0.1)  # or it may have been sent before that run's end
        self.run([make_paid_request(f"a witness of {wanted[0].request_id}")])
        return self.run(wanted, **changes)

    def tasks(self, requests: Iterable[GenerationRequest]) -> list[RequestTask]:
        wanted = list(requests)
        entries = LedgerEntries(self.store).of([request.request_id for request in wanted])
        return [
            RequestTask(request=request, entry=entries[request.request_id])
            for request in wanted
            if not entries[request.request_id].is_final
        ]

    def entry(self, request: GenerationRequest) -> LedgerEntry:
        return LedgerEntries(self.store).of([request.request_id])[request.request_id]

    def state(self, request: GenerationRequest) -> RequestState:
        return self.entry(request).state

    def judge(self, requests: Iterable[GenerationRequest]) -> Judgement:
        """After one more run with nothing to do, which settles what earlier ones left in the dataset's log."""
        self.run([])
        return judge(self.store, self.emulator.account, [one.request_id for one in requests])

    @property
    def bill(self) -> dict[str, Any]:
        return self.emulator.account.bill(details=False)

    def fault(self, operation: str, kind: str, **options: Any) -> None:
        self.emulator.account.add_fault(operation, kind, **options)

    def heal(self) -> None:
        self.emulator.account.clear_faults()


StartDesk = Callable[..., Desk]
