"""Several processes on one key: what part of the account's creates each gets, with and without Retry-After.

    python benchmarks/sharing.py --processes 2 4 --seconds 150 --runs 5

Every process is the whole engine with the account's whole limits as its settings, and knows nothing of the others. Jobs
are so short that the creates per minute are what is scarce. Each process begins a little later than the one before;
counted are the creates from the moment on when the last has begun. A second table: enough creates, and a queue at Leonardo that is too short for all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.emulator_process import emulator_process, read_bill
from seedream_assets.config.account import EngineSettings, LeonardoSettings
from seedream_assets.config.dataset import Budget
from seedream_assets.config.models import ModelCatalog
from seedream_assets.emulator.settings import DEMO_KEY, EmulatorSettings
from seedream_assets.leonardo.requests import GenerationSpec, make_request
from seedream_assets.purchase.run import RunOrder, run_generation
from seedream_assets.purchase.task import RequestTask
from seedream_assets.storage.folder import FolderStore

SECONDS_BETWEEN_STARTS = 5.0
Settings = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    scarce: list[tuple[str, Settings, int]] = [
        ("creates/min, 429", {"latency_seconds": 0.2, "creates_per_minute": 100}, 100),
        (
            "creates/min, Retry-After",
            {"latency_seconds": 0.2, "creates_per_minute": 100, "retry_after_header": True},
            100,
        ),
        ("places in the queue", {"latency_seconds": 2.0, "creates_per_minute": 0, "pending_limit": 20}, 600),
    ]
    print(f"{'scarce':26}{'processes':>10}  part of its equal share that each got   429s  lost  twice  of all")
    smallest: dict[tuple[str, int], list[float]] = {}
    for _run_number in range(options.runs):
        for name, settings, creates_per_minute in scarce:
            for processes in options.processes:
                parts = _measure(name, settings, creates_per_minute, processes, options.seconds)
                smallest.setdefault((name, processes), []).append(min(parts))
    for (name, processes), found in smallest.items():
        print(f"{name:26}{processes:>10}  smallest part: median {median(found):.2f}, lowest {min(found):.2f}")
    return 0


def _measure(name: str, settings: Settings, creates_per_minute: int, processes: int, seconds: float) -> list[float]:
    account = EmulatorSettings(balance_credits=10**7, picture_bytes=20_000, **settings)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="sharing-") as folder, emulator_process(account) as base_url:
        running = [
            context.Process(target=_run, args=(base_url, folder, number, creates_per_minute, seconds))
            for number in range(processes)
        ]
        for process in running:
            process.start()
        for process in running:
            process.join()
        assert [process.exitcode for process in running] == [0] * processes
        bill = read_bill(base_url)
    # A process that has drawn its last requests still finishes them: only what was created in the time counts.
    begins_at = bill["first_create"] + (processes - 1) * SECONDS_BETWEEN_STARTS
    ends_at = bill["first_create"] + seconds
    owners = [
        int(job["prompt"].split()[1].rstrip(",")) for job in bill["details"] if begins_at <= job["created"] <= ends_at
    ]
    created = [owners.count(number) for number in range(processes)]
    share = sum(created) / processes
    parts = [count / share for count in created]
    lost = bill["images"] - bill["images_downloaded"]
    # What the account could have done in the time: its creates per minute, or its slots.
    seconds = ends_at - begins_at
    possible = (
        account.creates_per_minute * seconds / 60
        if account.creates_per_minute
        else account.slots * seconds / (account.latency_seconds * 1.083)
    )
    print(
        f"{name:26}{processes:>10}  {'  '.join(f'{part:.2f}' for part in parts):38}{bill['rate_limited']:>6}{lost:>6}{bill['duplicates']:>7}"
        f"{sum(created) / possible:>8.2f}",
        flush=True,
    )
    return parts


def _run(base_url: str, folder: str, number: int, creates_per_minute: int, seconds: float) -> None:
    import time

    model = ModelCatalog()["seedream-4.0"]
    time.sleep(number * SECONDS_BETWEEN_STARTS)
    ends_at = time.monotonic() + seconds - number * SECONDS_BETWEEN_STARTS

    def tasks() -> Iterator[RequestTask]:
        counted = 0
        while time.monotonic() < ends_at:
            counted += 1
            spec = GenerationSpec(
                model=model.name,
                prompt=f"process {number}, mug {counted}",
                width=64,
                height=64,
                style="None",
                prompt_enhance="OFF",
            )
            yield RequestTask(request=make_request(spec, start=0, count=1, model=model))

    report = run_generation(
        RunOrder(
            store=FolderStore(Path(folder)),
            leonardo=LeonardoSettings(api_key=DEMO_KEY, base_url=base_url, creates_per_minute=creates_per_minute),
            settings=EngineSettings(),
            models=ModelCatalog(),
            budget=Budget(unlimited=True),
            dataset=f"process-{number}",
            partition_of=lambda _request_id: "all",
            tasks=tasks(),
            total=0,
        )
    )
    assert set(report.requests) <= {"completed", "not_sent"}, report


if __name__ == "__main__":
    sys.exit(main())
