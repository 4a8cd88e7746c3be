"""Peak memory of the paid stage for a small and a large plan: it is streamed, so both need about the same.

    python benchmarks/memory.py --requests 1000 20000 --runs 5
    python benchmarks/memory.py --requests 1000 20000 --store-seconds 0.3     # each image takes so long to store

Each plan is made by a process of its own; another one buys it (folder store, emulator with latency 0 in a third), and
tells the most memory it ever held, with what it holds before it begins: the interpreter and its libraries.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.emulator_process import emulator_process
from seedream_assets.emulator.settings import DEMO_KEY, EmulatorSettings

if TYPE_CHECKING:
    from seedream_assets.storage.object_store import ObjectStore

DATASET = """name: memory
prompts: {table: prompts.csv}
recipe: {width: 64, height: 64}
budget: unlimited
leonardo: {creates_per_minute: 1000000, requests_per_minute: 1000000}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, nargs="+", default=[1000, 20_000])
    parser.add_argument("--image-bytes", type=int, default=200_000)
    parser.add_argument("--store-seconds", type=float, default=0.0)
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}", flush=True)
    print(f"{'requests':>9}{'seconds':>9}{'before MB':>11}{'peak MB':>9}{'of the first':>14}", flush=True)
    for _run in range(options.runs):
        first: float | None = None
        for requests in options.requests:
            found = _measure(requests, options.image_bytes, options.store_seconds)
            first = first or found["peak_mb"]
            print(
                f"{requests:>9}{found['seconds']:>9.0f}{found['before_mb']:>11.0f}{found['peak_mb']:>9.0f}"
                f"{found['peak_mb'] / first:>14.2f}",
                flush=True,
            )
    return 0


def _measure(requests: int, image_bytes: int, store_seconds: float) -> dict[str, float]:
    account = EmulatorSettings(
        latency_seconds=0,
        creates_per_minute=0,
        requests_per_minute=0,
        balance_credits=10**9,
        picture_bytes=image_bytes,
    )
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="memory-") as folder, emulator_process(account) as base_url:
        Path(folder, "prompts.csv").write_text("\n".join(["prompt", *(f"a mug {n}" for n in range(requests))]))
        Path(folder, "dataset.yaml").write_text(DATASET)
        os.environ["SEEDREAM_STORE"] = Path(folder, "store").as_uri()
        os.environ["LEONARDO_API_KEY"], os.environ["LEONARDO_BASE_URL"] = DEMO_KEY, base_url
        with context.Pool(1) as planner:
            planner.apply(_plan, (folder,))
        with context.Pool(1) as buyer:
            found: dict[str, float] = buyer.apply(_buy, (folder, requests, store_seconds))
    return found


def _load(folder: str) -> tuple[Any, Any]:
    from seedream_assets.config.yaml import load_config
    from seedream_assets.deployment import Deployment

    config = load_config(Path(folder, "dataset.yaml"))
    return config, Deployment.from_environment(config)


def _plan(folder: str) -> None:
    from seedream_assets.config.partitions import UNPARTITIONED
    from seedream_assets.prompts.stage import read_prompts, write_snapshot
    from seedream_assets.quality.replanning import keep_plan, plan_partition

    config, deployment = _load(folder)
    snapshot = read_prompts(config, UNPARTITIONED, deployment)
    write_snapshot(deployment.store, config, UNPARTITIONED, snapshot)
    keep_plan(deployment.store, config, UNPARTITIONED, plan_partition(config, UNPARTITIONED, snapshot, deployment))


class _SlowStore:
    """A store that takes its time over every image."""

    def __init__(self, store: ObjectStore, seconds: float) -> None:
        self._store = store
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def create(self, key: str, body: bytes, **options: Any) -> bool:
        if key.startswith("images/"):
            time.sleep(self._seconds)
        return self._store.create(key, body, **options)


def _buy(folder: str, requests: int, store_seconds: float) -> dict[str, float]:
    from seedream_assets.config.partitions import UNPARTITIONED
    from seedream_assets.purchase.partition_stream import Endings
    from seedream_assets_tests.purchase.desk import buy_images

    config, deployment = _load(folder)
    if store_seconds:
        deployment = dataclasses.replace(deployment, store=_SlowStore(deployment.store, store_seconds))
    before, began = _peak_mb(), time.monotonic()
    with Endings() as endings:
        report = buy_images(config, UNPARTITIONED, deployment, on_ending=endings.add)
    assert report.requests == {"completed": requests}, report
    return {"seconds": time.monotonic() - began, "before_mb": before, "peak_mb": _peak_mb()}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
