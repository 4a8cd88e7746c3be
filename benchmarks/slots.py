"""How well the account's slots are used, with how many reads, and how late an end is noticed: three clients, one account.

    python benchmarks/slots.py --runs 5

`seedream_assets` whole (ledger, checks, lineage, folder store) beside two scripts as they are usually written: one job
after the other, and a worker for each slot that sleeps 5 s between polls. All figures are the emulator's own books.
`best` is what no client can beat: the same latencies with work always waiting, so only the tail is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import platform
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks.emulator_process import emulator_process, read_bill
from seedream_assets.config.account import EngineSettings, LeonardoSettings
from seedream_assets.config.dataset import Budget
from seedream_assets.config.models import ModelCatalog
from seedream_assets.emulator.settings import DEMO_KEY, EmulatorSettings
from seedream_assets.leonardo.requests import GenerationSpec, make_request
from seedream_assets.purchase.run import RunOrder, run_generation
from seedream_assets.purchase.task import RequestTask
from seedream_assets.storage.folder import FolderStore

SIDE_PX = 64
UNLIMITED = 1_000_000
USUAL_SLEEP_SECONDS = 5.0
Client = Callable[[str, Path, int, int], None]


def main() -> int:
    options = _options()
    print(f"{platform.platform()}, Python {platform.python_version()}", flush=True)
    print(
        f"{'client':22}{'run':>4}{'jobs':>6}{'seconds':>9}{'slot use':>10}{'best':>8}{'reads/job':>11}{'lateness':>10}"
    )
    clients: list[tuple[str, Client, int]] = [
        ("seedream_assets", _ours, options.requests),
        ("semaphore, sleep 5 s", _semaphore, options.semaphore_requests),
        ("one after the other", _sequential, options.sequential_requests),
    ]
    if options.without_bulk_polling:
        clients.insert(1, ("… without bulk polling", _ours_polling_singly, options.requests))
    for name, client, requests in clients:
        found = [_measure(name, client, requests, run, options) for run in range(options.runs)]
        for column in ("slot_use", "reads_per_generation", "median_lateness"):
            values = sorted(bill[column] for bill in found)
            print(f"    {column:22} median {median(values):.3f}, {values[0]:.3f} to {values[-1]:.3f}", flush=True)
    return 0


def _measure(name: str, client: Client, requests: int, run: int, options: argparse.Namespace) -> dict[str, Any]:
    settings = EmulatorSettings(
        slots=options.slots,
        latency_seconds=options.latency,
        latency_sigma=options.sigma,
        random_seed=options.seed + run,
        creates_per_minute=0,
        requests_per_minute=0,
        balance_credits=10**7,
        picture_bytes=20_000,
    )
    with tempfile.TemporaryDirectory(prefix="slots-") as folder, emulator_process(settings) as base_url:
        client(base_url, Path(folder), requests, options.slots)
        bill = read_bill(base_url)
    assert (bill["images_downloaded"], bill["duplicates"]) == (requests, 0), bill
    seconds = bill["last_completion"] - bill["first_create"]
    print(
        f"{name:22}{run:>4}{requests:>6}{seconds:>9.1f}{bill['slot_use']:>10.3f}{_best(bill, options.slots):>8.3f}"
        f"{bill['reads_per_generation']:>11.2f}{bill['median_lateness']:>10.1%}",
        flush=True,
    )
    return bill


def _best(bill: dict[str, Any], slots: int) -> float:
    free_at, busy = [0.0] * slots, 0.0
    for job in bill["details"]:
        latency = job["ended"] - job["started"]
        busy += latency
        heapq.heapreplace(free_at, free_at[0] + latency)
    return busy / (slots * max(free_at))


def _ours(base_url: str, folder: Path, requests: int, slots: int, *, bulk_polling: bool = True) -> None:
    model = ModelCatalog()["seedream-4.0"]
    specs = (
        GenerationSpec(
            model=model.name,
            prompt=f"a mug {number}",
            width=SIDE_PX,
            height=SIDE_PX,
            style="None",
            prompt_enhance="OFF",
        )
        for number in range(requests)
    )
    report = run_generation(
        RunOrder(
            store=FolderStore(folder),
            leonardo=LeonardoSettings(
                api_key=DEMO_KEY, base_url=base_url, creates_per_minute=UNLIMITED, requests_per_minute=UNLIMITED
            ),
            settings=EngineSettings(slots=slots, bulk_polling=bulk_polling),
            models=ModelCatalog(),
            budget=Budget(unlimited=True),
            dataset="slots",
            partition_of=lambda _request_id: "all",
            tasks=(RequestTask(request=make_request(spec, start=0, count=1, model=model)) for spec in specs),
            total=requests,
        )
    )
    assert report.requests == {"completed": requests}, report


def _ours_polling_singly(base_url: str, folder: Path, requests: int, slots: int) -> None:
    _ours(base_url, folder, requests, slots, bulk_polling=False)


def _sequential(base_url: str, folder: Path, requests: int, _slots: int) -> None:
    async def act() -> None:
        async with _client(base_url) as client:
            for number in range(requests):
                await _buy_and_store(client, number, folder, poll_every_seconds=1.0)

    asyncio.run(act())


def _semaphore(base_url: str, folder: Path, requests: int, slots: int) -> None:
    async def act() -> None:
        at_once = asyncio.Semaphore(slots)

        async def one(client: httpx.AsyncClient, number: int) -> None:
            async with at_once:
                await _buy_and_store(client, number, folder, poll_every_seconds=USUAL_SLEEP_SECONDS)

        async with _client(base_url) as client:
            await asyncio.gather(*(one(client, number) for number in range(requests)))

    asyncio.run(act())


def _client(base_url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=base_url, trust_env=False, timeout=60)


async def _buy_and_store(
    client: httpx.AsyncClient,
    number: int,
    folder: Path,
    *,
    poll_every_seconds: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """What such scripts do: create, sleep and poll until it has ended, download, write."""
    key = {"Authorization": f"Bearer {DEMO_KEY}"}
    parameters = {"prompt": f"a mug {number}", "width": SIDE_PX, "height": SIDE_PX, "quantity": 1}
    body = {"model": "seedream-4.0", "public": False, "parameters": parameters}
    created = await client.post("/v2/generations", json=body, headers=key)
    generation_id = created.json()["generate"]["generationId"]
    status, job = "PENDING", {}
    while status == "PENDING":
        await sleep(poll_every_seconds)
        answer = await client.get(f"/v1/generations/{generation_id}", headers=key)
        job = answer.json()["generations_by_pk"]
        status = job["status"]
    for position, image in enumerate(job["generated_images"]):
        content = (await client.get(image["url"])).content
        await asyncio.to_thread((folder / f"{number}-{position}.jpg").write_bytes, content)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--semaphore-requests", type=int, default=100)
    parser.add_argument("--sequential-requests", type=int, default=15)
    parser.add_argument("--slots", type=int, default=10)
    parser.add_argument("--latency", type=float, default=2.0, help="median seconds")
    parser.add_argument("--sigma", type=float, default=0.4)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the first run's latencies; the others count on")
    parser.add_argument(
        "--without-bulk-polling", action="store_true", help="ours a second time, each job by its own polls"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
