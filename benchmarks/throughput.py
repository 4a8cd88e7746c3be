"""Download → verify → store: images a second, CPU and memory for each image, beside clients that promise nothing.

    python benchmarks/throughput.py --runs 5
    python benchmarks/throughput.py --runs 5 --img2dataset     # installs it into a venv of its own first

1 MB images from the emulator (latency 0) over loopback into an S3 server (moto), each in a process of its own; every
client in a fresh process that counts its own CPU, after a few images that load what libraries import when first used.
The machine, moto and the emulator limit images a second here, so compare CPU.

    ours        the whole engine: create, polls, ledger, decoding, two hashes, XMP marks, create-only writes with SHA-256
    usual       httpx and boto3 in threads: GET, PUT
    best        httpx over aiohttp's transport and boto3 in threads, one hash sent as the object's checksum
    img2dataset the same URLs, as they are (no resizing), into a folder: its own way to S3 would cost more
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.emulator_process import emulator_process, server_process

if TYPE_CHECKING:
    from seedream_assets.purchase.run import RunOrder

IMAGE_BYTES = 1_000_000
AT_ONCE = 32
BUCKET = "throughput"
HERE = Path(__file__).parent
REQUIREMENTS = HERE / "img2dataset-requirements.txt"
VENV = HERE.parent / ".seedream" / "img2dataset-venv"
Measured = dict[str, float]


def main() -> int:
    options = _options()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores", flush=True)
    print(f"{'client':14}{'run':>4}{'images':>8}{'images/s':>10}{'CPU ms/image':>14}{'peak RSS MB':>13}", flush=True)
    if options.img2dataset:
        _install_img2dataset()
    found: dict[str, list[Measured]] = {}
    # One round after the other, so that a busy minute of the machine falls on all alike.
    for run in range(options.runs):
        for name, client in _clients(options).items():
            measured = _measure(client, options)
            found.setdefault(name, []).append(measured)
            print(
                f"{name:14}{run:>4}{options.images:>8}{options.images / measured['seconds']:>10.1f}"
                f"{_cpu(measured, options):>14.2f}{measured['rss_mb']:>13.0f}",
                flush=True,
            )
    for name, runs in found.items():
        values = sorted(_cpu(measured, options) for measured in runs)
        print(f"{name:14} CPU ms/image: median {median(values):.2f}, {values[0]:.2f} to {values[-1]:.2f}")
    return 0


def _cpu(measured: Measured, options: argparse.Namespace) -> float:
    return measured["cpu_seconds"] * 1000 / options.images


def _clients(options: argparse.Namespace) -> dict[str, Callable[..., Measured]]:
    clients: dict[str, Callable[..., Measured]] = {"ours": _ours, "usual": _usual, "best": _best}
    if options.img2dataset:
        clients["img2dataset"] = _img2dataset
    return {name: clients[name] for name in options.only or clients}


def _measure(client: Callable[..., Measured], options: argparse.Namespace) -> Measured:
    from seedream_assets.emulator.settings import EmulatorSettings

    account = EmulatorSettings(
        latency_seconds=0,
        creates_per_minute=0,
        requests_per_minute=0,
        balance_credits=10**8,
        picture_bytes=IMAGE_BYTES,
    )
    context = multiprocessing.get_context("spawn")
    # moto keeps every object in memory, so each client gets one of its own.
    with _s3_process() as environment, emulator_process(account) as base_url:
        os.environ.update(environment)
        urls = [] if client is _ours else _order_images(base_url, options.images + options.quantity, options.quantity)
        with context.Pool(1) as pool:
            found: Measured = pool.apply(client, (base_url, urls, options.images, options.quantity))
    return found


def _order_images(base_url: str, images: int, quantity: int) -> list[str]:
    """What the bare clients do not do themselves: buy, and ask for the addresses."""
    import httpx

    from seedream_assets.emulator.settings import DEMO_KEY

    urls: list[str] = []
    headers = {"Authorization": f"Bearer {DEMO_KEY}"}
    with httpx.Client(base_url=base_url, headers=headers, trust_env=False, timeout=60) as client:
        for number in range(images // quantity):
            parameters = {"prompt": f"a mug {number}", "width": 1024, "height": 1024, "quantity": quantity}
            body = {"model": "seedream-4.0", "public": False, "parameters": parameters}
            created = client.post("/v2/generations", json=body).json()["generate"]["generationId"]
            job = client.get(f"/v1/generations/{created}").json()["generations_by_pk"]
            urls.extend(image["url"] for image in job["generated_images"])
    return urls


def _used(began: float, before: resource.struct_rusage) -> Measured:
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": time.monotonic() - began, "cpu_seconds": cpu, "rss_mb": after.ru_maxrss / 1024}


def _ours(base_url: str, _urls: list[str], images: int, quantity: int) -> Measured:
    from seedream_assets.purchase.run import run_generation

    run_generation(_order(base_url, "warm-up", requests=1, quantity=quantity))
    order = _order(base_url, "throughput", requests=images // quantity, quantity=quantity)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    report = run_generation(order)
    measured = _used(began, before)
    assert report.images_stored == images, report
    return measured


def _order(base_url: str, dataset: str, *, requests: int, quantity: int) -> RunOrder:
    from seedream_assets.config.account import EngineSettings, LeonardoSettings
    from seedream_assets.config.dataset import Budget
    from seedream_assets.config.models import ModelCatalog
    from seedream_assets.emulator.settings import DEMO_KEY
    from seedream_assets.leonardo.requests import GenerationSpec, make_request
    from seedream_assets.purchase.run import RunOrder
    from seedream_assets.purchase.task import RequestTask
    from seedream_assets.storage.s3 import S3Store
    from seedream_assets.storage.s3_client import S3Options, make_s3_client

    model = ModelCatalog()["seedream-4.0"]
    specs = (
        GenerationSpec(
            model=model.name,
            prompt=f"a mug {number} for {dataset}",
            width=1024,
            height=1024,
            style="None",
            prompt_enhance="OFF",
        )
        for number in range(requests)
    )
    options = S3Options(max_connections=AT_ONCE)
    make_s3_client(options).create_bucket(Bucket=dataset)
    return RunOrder(
        store=S3Store(dataset, options=options),
        leonardo=LeonardoSettings(
            api_key=DEMO_KEY, base_url=base_url, creates_per_minute=10**6, requests_per_minute=10**6
        ),
        settings=EngineSettings(store_threads=AT_ONCE),
        models=ModelCatalog(),
        budget=Budget(unlimited=True),
        dataset=dataset,
        partition_of=lambda _request_id: "all",
        tasks=(RequestTask(request=make_request(spec, start=0, count=quantity, model=model)) for spec in specs),
        total=requests,
    )


def _usual(_base_url: str, urls: list[str], _images: int, quantity: int) -> Measured:
    import httpx

    return _bare(urls, quantity, lambda: httpx.AsyncClient(trust_env=False, timeout=60), tuned=False)


def _best(_base_url: str, urls: list[str], _images: int, quantity: int) -> Measured:
    import aiohttp
    import httpx
    import httpx_aiohttp

    def client() -> httpx.AsyncClient:
        transport = httpx_aiohttp.AiohttpTransport(
            client=lambda: aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE))
        )
        return httpx.AsyncClient(transport=transport, trust_env=False, timeout=60)

    return _bare(urls, quantity, client, tuned=True)


def _bare(urls: list[str], warm_up: int, make_client: Callable[[], Any], *, tuned: bool) -> Measured:
    import boto3
    from botocore.config import Config

    more: dict[str, Any] = {"max_pool_connections": AT_ONCE}
    if tuned:
        more |= {"s3": {"payload_signing_enabled": False}, "request_checksum_calculation": "when_required"}
    s3 = boto3.session.Session().client("s3", config=Config(**more))
    s3.create_bucket(Bucket=BUCKET)

    def put(key: str, body: bytes) -> None:
        digest = {"ChecksumSHA256": base64.b64encode(hashlib.sha256(body).digest()).decode()} if tuned else {}
        s3.put_object(Bucket=BUCKET, Key=key, Body=body, ContentType="image/jpeg", **digest)

    async def act(urls: list[str], folder: str) -> None:
        at_once, loop = asyncio.Semaphore(AT_ONCE), asyncio.get_running_loop()
        with ThreadPoolExecutor(AT_ONCE) as threads:
            async with make_client() as client:

                async def one(number: int, url: str) -> None:
                    async with at_once:
                        body = (await client.get(url)).content
                        await loop.run_in_executor(threads, put, f"{folder}/{number:05}.jpg", body)

                await asyncio.gather(*(one(number, url) for number, url in enumerate(urls)))

    asyncio.run(act(urls[:warm_up], "warm-up"))
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    asyncio.run(act(urls[warm_up:], "images"))
    return _used(began, before)


def _img2dataset(_base_url: str, urls: list[str], images: int, _quantity: int) -> Measured:
    with tempfile.TemporaryDirectory(prefix="img2dataset-") as folder:
        listed = Path(folder, "urls.txt")
        listed.write_text("\n".join(urls[-images:]))
        command = [
            *(VENV / "bin" / "img2dataset", listed),
            *("--output_folder", Path(folder, "out"), "--output_format", "files", "--resize_mode", "no"),
            *("--processes_count", "1", "--thread_count", AT_ONCE, "--encode_quality", "95"),
            *("--skip_reencode", "True", "--number_sample_per_shard", images, "--enable_wandb", "False"),
        ]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began
        stored = len(list(Path(folder, "out").rglob("*.jpg")))
    assert stored == images, done.stderr[-2000:]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu_seconds": cpu - _import_seconds(), "rss_mb": after.ru_maxrss / 1024}


def _import_seconds() -> float:
    """What the program costs before it does anything: left out, as the other clients' imports are."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _process in range(2):  # its own and its worker's
        subprocess.run([VENV / "bin" / "python", "-c", "import img2dataset"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _install_img2dataset() -> None:
    if (VENV / "bin" / "img2dataset").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    pip = [
        VENV / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--require-hashes",
        "--requirement",
        REQUIREMENTS,
    ]
    subprocess.run(pip, check=True)


@contextmanager
def _s3_process() -> Iterator[dict[str, str]]:
    """An S3 server (moto) in a process of its own; yields the variables that lead boto3 to it."""
    with server_process(_serve_s3) as environment:
        yield environment


def _serve_s3(announced: Connection) -> None:
    from seedream_assets_tests.storage.s3_server import running_s3_server

    with running_s3_server() as server:
        announced.send(dict(server.environment))
        time.sleep(10**6)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1280)
    parser.add_argument("--quantity", type=int, default=8, help="images of one request")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--img2dataset", action="store_true")
    parser.add_argument("--only", nargs="+", help="ours, usual, best, img2dataset")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
