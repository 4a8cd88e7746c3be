"""Let everything go wrong that can, alone and together, then run again in peace, and judge by the bill.

A fault is data: what the emulated API does, what the S3 proxy does, or what the store does. The first run meets it;
what the user sees of that is its report. Then the fault is gone, and runs follow until everything is done.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from seedream_assets.config.account import EngineSettings, LeonardoSettings
from seedream_assets.config.dataset import Budget
from seedream_assets.config.models import ModelCatalog
from seedream_assets.config.retry import RetryPolicy
from seedream_assets.emulator.server import running_emulator
from seedream_assets.emulator.settings import EmulatorSettings
from seedream_assets.errors import SeedreamError, StoreRefused
from seedream_assets.ledger.lease import CLOCK_GRAIN_SECONDS
from seedream_assets.leonardo.requests import GenerationRequest
from seedream_assets.purchase.report import RunReport
from seedream_assets.purchase.run import RunOrder, run_generation
from seedream_assets.storage.folder import FolderStore
from seedream_assets.storage.object_store import NO_METADATA, ObjectStore
from seedream_assets.storage.s3 import S3Store
from seedream_assets.storage.s3_client import S3Options
from seedream_assets_tests.purchase.judging import Judgement, judge, release_what_was_not_billed
from seedream_assets_tests.purchase.killed_process import make_requests, open_tasks
from seedream_assets_tests.storage.faulty_proxy import Fault, Refusal, SeenRequest, running_faulty_proxy
from seedream_assets_tests.storage.s3_server import S3Server

CREDITS = 28
MOST_RUNS = 10
LARGEST_IMAGE_BYTES = 200_000
SETTLE_SECONDS = 3.0
LONGEST_SLEEP_SECONDS = 0.05
API = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class FaultCase:
    """One thing that goes wrong.

    Attributes:
        api: Faults of the emulated API, each as `Account.add_fault` takes them.
        account: Settings of the emulated account.
        s3: What the proxy does to a share of the requests of a method; any makes the store S3.
        writes_left: The store is full after so many writes.
        balance: Credits for so much of the plan only.
    """

    name: str
    api: tuple[API, ...] = ()
    account: Mapping[str, Any] = field(default_factory=dict)
    s3: tuple[tuple[str, Fault | Refusal, float], ...] = ()
    writes_left: int | None = None
    balance: float | None = None


def _on(operation: str, kind: str, probability: float = 0.1, **options: Any) -> API:
    return {"operation": operation, "kind": kind, "probability": probability, **options}


_LOST_ANSWERS = _on("create", "drop_after")
CASES = (
    FaultCase(name="nothing goes wrong"),
    FaultCase(name="answer lost after acceptance", api=(_LOST_ANSWERS,)),
    FaultCase(name="500 after acceptance", api=(_on("create", "error_after"),)),
    FaultCase(name="500 before acceptance", api=(_on("create", "error_before"),)),
    FaultCase(name="connection dropped before", api=(_on("create", "drop_before"),)),
    FaultCase(name="429 with Retry-After", api=(_on("create", "rate_limit", 0.3, retry_after=1),)),
    FaultCase(name="429 without Retry-After", api=(_on("create", "rate_limit", 0.3),)),
    FaultCase(
        name="slow answers", api=(_on("create", "slow", 0.1, seconds=0.3), _on("poll", "slow", 0.1, seconds=0.3))
    ),
    FaultCase(name="accepted long after the time-out", api=(_on("create", "slow_before", 0.05, seconds=2.2),)),
    FaultCase(name="silence after acceptance", api=(_on("create", "hang", 0.05),)),
    FaultCase(name="silence before acceptance", api=(_on("create", "hang_before", 0.05),)),
    FaultCase(
        name="HTML instead of JSON",
        api=(_on("create", "html", 0.05), _on("create", "html_after", 0.05), _on("poll", "html", 0.2)),
    ),
    FaultCase(name="empty and broken answers", api=(_on("create", "empty"), _on("create", "cut"), _on("poll", "cut"))),
    FaultCase(name="polls fail in bursts", api=(_on("poll", "error_before", 1.0, times=100, status=503),)),
    FaultCase(name="jobs FAILED", api=(_on("create", "failed"),)),
    FaultCase(name="jobs nsfw", api=(_on("create", "nsfw", moderation=["NSFW"]),)),
    FaultCase(name="fewer images than asked for", api=(_on("create", "fewer_images"),)),
    FaultCase(name="more images than asked for", api=(_on("create", "more_images"),)),
    FaultCase(
        name="images listed after COMPLETE",
        api=(
            _on("create", "late_images", 0.2, seconds=0.4),
            _on("create", "late_images", 0.2, seconds=0.4, shown="no_url"),
        ),
    ),
    FaultCase(name="FAILED before COMPLETE", api=(_on("create", "failed_first", 0.3, seconds=0.4),)),
    FaultCase(name="prompts blocked", api=(_on("create", "blocked"),)),
    FaultCase(name="image bodies cut", api=(_on("download", "cut", 0.2), _on("download", "truncated_image", 0.2))),
    FaultCase(name="image bodies empty", api=(_on("download", "empty", 0.2),)),
    FaultCase(name="image bodies of another type", api=(_on("download", "wrong_type", 0.2),)),
    FaultCase(name="images larger than the cap", api=(_on("download", "oversize", 0.1, body_bytes=300_000),)),
    FaultCase(name="images not found", api=(_on("download", "not_found", 0.2),)),
    FaultCase(name="image host down for a while", api=(_on("download", "error_before", 1.0, times=150, status=503),)),
    FaultCase(name="image host down for good", api=(_on("download", "drop_before", 1.0),)),
    FaultCase(
        name="history late", api=(_LOST_ANSWERS, _on("create", "error_after")), account={"history_lag_seconds": 1.5}
    ),
    FaultCase(name="history fails now and then", api=(_LOST_ANSWERS, _on("history", "error_before", 0.4, status=503))),
    FaultCase(name="history down for good", api=(_LOST_ANSWERS, _on("history", "error_before", 1.0))),
    FaultCase(name="no answer to any submit", api=(_on("create", "drop_after", 1.0),)),
    FaultCase(name="every submit refused", api=(_on("create", "error_before", 1.0, status=400, message="no"),)),
    FaultCase(name="balance runs out in the middle", balance=0.5),
    FaultCase(name="disk full", writes_left=100),
    FaultCase(name="S3: 503 SlowDown", s3=(("PUT", Refusal(status=503, code="SlowDown"), 0.1),)),
    FaultCase(name="S3: 500", s3=(("PUT", Refusal(status=500, code="InternalError"), 0.1),)),
    FaultCase(name="S3: requests lost", s3=(("PUT", Fault.LOSE_REQUEST, 0.1), ("GET", Fault.LOSE_REQUEST, 0.1))),
    FaultCase(name="S3: answers lost", s3=(("PUT", Fault.LOSE_ANSWER, 0.2),)),
    FaultCase(name="S3: 409 for nothing", s3=(("PUT", Refusal(status=409, code="ConditionalRequestConflict"), 0.1),)),
    FaultCase(name="S3: 412 for nothing", s3=(("PUT", Refusal(status=412, code="PreconditionFailed"), 0.1),)),
    FaultCase(
        name="everything at once",
        api=tuple(
            _on(operation, kind, 0.02)
            for operation, kind in (
                ("create", "drop_after"),
                ("create", "drop_before"),
                ("create", "error_after"),
                ("create", "error_before"),
                ("create", "rate_limit"),
                ("create", "html_after"),
                ("create", "empty"),
                ("create", "failed"),
                ("create", "nsfw"),
                ("create", "fewer_images"),
                ("create", "blocked"),
                ("poll", "error_before"),
                ("poll", "drop_before"),
                ("poll", "html"),
                ("poll", "not_found"),
                ("history", "error_before"),
                ("history", "drop_before"),
                ("download", "cut"),
                ("download", "empty"),
                ("download", "wrong_type"),
                ("download", "error_before"),
                ("download", "not_found"),
            )
        ),
        account={"history_lag_seconds": 1.0},
        s3=(
            ("PUT", Refusal(status=503, code="SlowDown"), 0.02),
            ("PUT", Fault.LOSE_ANSWER, 0.02),
            ("PUT", Fault.LOSE_REQUEST, 0.02),
            ("PUT", Refusal(status=409, code="ConditionalRequestConflict"), 0.02),
            ("GET", Refusal(status=500, code="InternalError"), 0.02),
        ),
    ),
)


@dataclass(kw_only=True)
class Result:
    """What became of a case.

    Attributes:
        seen: What the first run reported: requests by outcome, and why it stopped.
        runs: Runs until everything was final, the first included.
        generations: Billed for the requests of the case.
        witnesses: Billed besides: before each later run one more request is bought, so that the history has something
            new to show. What it does not show after that was not bought.
    """

    name: str
    seen: str
    runs: int
    generations: int
    witnesses: int
    verdict: Judgement
    first_seconds: float
    seconds: float


class FullAfter:
    """A store whose disk is full after so many writes, until room is made."""

    def __init__(self, store: ObjectStore, writes_left: int) -> None:
        self._store = store
        self._lock = threading.Lock()
        self.writes_left: int | None = writes_left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _write(self) -> None:
        with self._lock:
            if self.writes_left is None:
                return
            self.writes_left -= 1
            if self.writes_left < 0:
                raise StoreRefused("cannot create: No space left on device; make room")

    def create(
        self, key: str, body: bytes, *, content_type: str, metadata: Any = NO_METADATA, sha256: Any = None
    ) -> bool:
        self._write()
        return self._store.create(key, body, content_type=content_type, metadata=metadata, sha256=sha256)

    def replace(self, key: str, body: bytes, *, content_type: str, metadata: Any = NO_METADATA) -> None:
        self._write()
        self._store.replace(key, body, content_type=content_type, metadata=metadata)


async def _short_sleep(seconds: float) -> None:
    await asyncio.sleep(min(seconds, LONGEST_SLEEP_SECONDS))


class FaultMatrix:
    """Runs fault cases over so many requests each, one after the other."""

    def __init__(self, *, requests: int, s3: S3Server | None, random_seed: int = 0) -> None:
        self._requests = requests
        self._s3 = s3
        self._seed = random_seed

    def run(self, case: FaultCase) -> Result:
        """The first run meets the fault, the others do not."""
        began = time.monotonic()
        requests = make_requests(tuple(f"{case.name} {number}" for number in range(self._requests)), 1)
        price = len(requests) * CREDITS
        settings = EmulatorSettings(
            latency_seconds=0.05,
            creates_per_minute=0,
            requests_per_minute=0,
            slots=50,
            pending_limit=10_000,
            picture_bytes=1024,
            random_seed=self._seed,
            balance_credits=price * 10 if case.balance is None else int(price * case.balance),
            **case.account,
        )
        with running_emulator(settings) as emulator, self._store(case) as (store, heal):
            for fault in case.api:
                emulator.account.add_fault(**fault)
            seen = self._see(store, emulator.base_url, emulator.key, requests, price)
            first_seconds = time.monotonic() - began
            emulator.account.clear_faults()
            emulator.account.top_up(price * 10)
            heal()
            runs = 1
            while open_tasks(store, requests) and runs < MOST_RUNS:
                if runs == MOST_RUNS // 2:
                    release_what_was_not_billed(store, emulator.account, requests)
                # What is bought later, and shown, proves of what is not shown that it was not bought.
                time.sleep(CLOCK_GRAIN_SECONDS + 0.2)
                witness = make_requests((f"{case.name} witness {runs}",), 1)
                self._see(store, emulator.base_url, emulator.key, witness, CREDITS * MOST_RUNS, dataset="witness")
                self._see(store, emulator.base_url, emulator.key, requests, price)
                runs += 1
            # One more, with nothing to do: it settles in the dataset's log what earlier runs left open.
            self._see(store, emulator.base_url, emulator.key, [], price)
            bought = [line["prompt"] for line in emulator.account.bill(details=True)["details"]]
            witnesses = sum(prompt.startswith(f"{case.name} witness ") for prompt in bought)
            verdict = judge(store, emulator.account, [request.request_id for request in requests])
        return Result(
            name=case.name,
            seen=seen,
            runs=runs,
            generations=len(bought) - witnesses,
            witnesses=witnesses,
            verdict=verdict,
            first_seconds=first_seconds,
            seconds=time.monotonic() - began,
        )

    @staticmethod
    def _see(
        store: ObjectStore,
        base_url: str,
        key: str,
        requests: list[GenerationRequest],
        price: int,
        *,
        dataset: str = "faults",
    ) -> str:
        tasks = open_tasks(store, requests)
        reports: list[RunReport] = []
        order = RunOrder(
            store=store,
            leonardo=LeonardoSettings(
                api_key=key,
                base_url=base_url,
                creates_per_minute=1_000_000,
                requests_per_minute=1_000_000,
                answer_seconds=0.8,
                connect_seconds=0.5,
                largest_image_bytes=LARGEST_IMAGE_BYTES,
            ),
            settings=EngineSettings(
                slots=50,
                lease_seconds=10,
                history_settle_seconds=SETTLE_SECONDS,
                settle_images_seconds=1.0,
                progress_seconds=60,
                give_up_after_seconds=30,
            ),
            models=ModelCatalog(),
            # Exactly the price of the plan: whatever is counted twice cannot be bought.
            budget=Budget(max_credits_total=price),
            dataset=dataset,
            partition_of=lambda _request_id: "all",
            tasks=iter(tasks),
            total=len(tasks),
            on_report=reports.append,
            sleep=_short_sleep,
        )
        raised = ""
        try:
            run_generation(order)
        except SeedreamError as error:
            raised = f"; raised {type(error).__name__}: {error}"
        if not reports:
            return raised.removeprefix("; ")
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(reports[0].requests.items()))
        stopped = f"; stopped ({reports[0].stopped}): {reports[0].stop_reason}" if reports[0].stopped else ""
        return counts + stopped + raised

    @contextmanager
    def _store(self, case: FaultCase) -> Iterator[tuple[ObjectStore, Any]]:
        if case.s3:
            with self._s3_behind_proxy(case) as found:
                yield found
            return
        with tempfile.TemporaryDirectory(prefix="fault-matrix-") as folder:
            store: Any = FolderStore(Path(folder))
            if case.writes_left is None:
                yield store, lambda: None
                return
            full = FullAfter(store, case.writes_left)
            yield full, lambda: setattr(full, "writes_left", None)

    @contextmanager
    def _s3_behind_proxy(self, case: FaultCase) -> Iterator[tuple[ObjectStore, Any]]:
        assert self._s3 is not None
        bucket = f"fault-{uuid4().hex[:16]}"
        self._s3.make_bucket(bucket)
        dice, lock = random.Random(self._seed), threading.Lock()

        def decide(request: SeenRequest) -> Fault | Refusal | None:
            with lock:
                for method, fault, probability in case.s3:
                    if request.method == method and dice.random() < probability:
                        return fault
            return None

        with running_faulty_proxy(self._s3.endpoint_url) as proxy:
            options = S3Options(
                endpoint_url=proxy.endpoint_url,
                rounds=RetryPolicy(attempts=6, first_wait_seconds=0.01, longest_wait_seconds=0.1),
            )
            store = S3Store(bucket, options=options)
            proxy.decide = decide
            yield store, lambda: setattr(proxy, "decide", lambda _request: None)
