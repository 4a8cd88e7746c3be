"""A store in which every request of a table is complete, and runs over it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from planning_laps import Laps
from planning_table import declare, make_table


def make_owned(requests: str, root: str) -> dict[str, Any]:
    """A folder store in which a run has completed every request; written as files, which is what the store reads."""
    from seedream_assets.storage.folder import FolderStore

    store = Path(root) / "store"

    def put(key: str, body: bytes) -> None:
        path = store / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    _fill(int(requests), Path(root), FolderStore(store), put)
    return {"requests": int(requests)}


def _fill(requests: int, root: Path, store: Any, put: Callable[[str, bytes], object]) -> None:
    from seedream_assets.config.dataset import UNPARTITIONED
    from seedream_assets.deployment import Deployment
    from seedream_assets.ledger.events import Submitted, encode_event, event_key
    from seedream_assets.planning.plan import read_plan
    from seedream_assets.prompts.stage import read_prompts
    from seedream_assets.quality.replanning import plan_partition
    from seedream_assets.storage.parquet import iterate_rows, to_parquet
    from seedream_assets_tests.support.builders import NOON, WRITER, make_intent
    from seedream_assets_tests.support.manifest_builders import make_completed

    root.mkdir(parents=True, exist_ok=True)
    table = root / "prompts.parquet"
    make_table(str(requests), str(table), again=0)
    config, deployment = declare(table), Deployment(store=store)
    plan = plan_partition(config, UNPARTITIONED, read_prompts(config, UNPARTITIONED, deployment), deployment)
    for number, (request, _) in enumerate(read_plan(iterate_rows(to_parquet(plan.requests)))):
        generation_id = f"{number:08x}-0000-4000-8000-{number:012x}"
        submitted = Submitted(
            request_id=request.request_id, attempt=0, at=NOON, writer=WRITER, generation_id=generation_id
        )
        for event in (make_intent(request), submitted, make_completed(request, generation_id=generation_id)):
            put(event_key(event), encode_event(event))


def run_owned(root: str) -> dict[str, Any]:
    """`seedream run` without a key: where anything were to be bought, it would fail."""
    from seedream_assets.cli.run import run_partitions
    from seedream_assets.config.dataset import UNPARTITIONED
    from seedream_assets.deployment import Deployment
    from seedream_assets.storage.folder import FolderStore
    from seedream_assets_tests.purchase.counted_store import CountedStore

    store = CountedStore(FolderStore(Path(root) / "store"))
    config, laps = declare(Path(root) / "prompts.parquet"), Laps()
    ran = run_partitions(config, [UNPARTITIONED], Deployment(store=store))
    laps.lap("run")
    summary = ran.summaries[UNPARTITIONED]
    if not ran.is_final:
        raise SystemExit(f"not a run in which everything is owned: {summary}")
    return laps.found(requests=summary["stored"], **_s3_requests(store))


def run_stages(root: str) -> dict[str, Any]:
    """The same stage by stage, as Dagster runs them: each knows only what stands in the store."""
    from seedream_assets.config.dataset import UNPARTITIONED
    from seedream_assets.deployment import Deployment
    from seedream_assets.prompts.stage import load_snapshot, read_prompts, write_snapshot
    from seedream_assets.quality.assemble import assemble_dataset
    from seedream_assets.quality.replanning import keep_plan, plan_partition
    from seedream_assets.storage.folder import FolderStore
    from seedream_assets_tests.purchase.counted_store import CountedStore
    from seedream_assets_tests.purchase.desk import buy_images

    store = CountedStore(FolderStore(Path(root) / "store"))
    config, deployment, laps = declare(Path(root) / "prompts.parquet"), Deployment(store=store), Laps()
    write_snapshot(store, config, UNPARTITIONED, read_prompts(config, UNPARTITIONED, deployment))
    laps.lap("prompts")
    snapshot = load_snapshot(store, config, UNPARTITIONED)
    keep_plan(store, config, UNPARTITIONED, plan_partition(config, UNPARTITIONED, snapshot, deployment))
    del snapshot
    laps.lap("generation_requests")
    buy_images(config, UNPARTITIONED, deployment)
    laps.lap("images")
    outcome = assemble_dataset(config, UNPARTITIONED, deployment)
    laps.lap("dataset")
    return laps.found(requests=len(outcome.manifest), **_s3_requests(store))


def list_ledger(root: str) -> dict[str, Any]:
    """The least that a run can do: every key of the ledger, once."""
    from seedream_assets.storage.folder import FolderStore

    laps = Laps()
    keys = sum(1 for _ in FolderStore(Path(root) / "store").list("requests/"))
    laps.lap("list")
    return laps.found(keys=keys)


def run_owned_on_s3(requests: str, root: str) -> dict[str, Any]:
    """The same against moto: here the requests that boto3 sends are counted."""
    import boto3

    from seedream_assets.cli.run import run_partitions
    from seedream_assets.config.dataset import UNPARTITIONED
    from seedream_assets.deployment import Deployment
    from seedream_assets.storage.s3 import S3Store
    from seedream_assets_tests.storage.s3_server import running_s3_server

    with running_s3_server() as server:
        os.environ.update(server.environment)
        server.make_bucket("planning")
        client, sent = boto3.client("s3"), Counter[str]()
        store = S3Store("planning", client=client)
        put = partial(client.put_object, Bucket="planning")
        _fill(int(requests), Path(root), store, lambda key, body: put(Key=key, Body=body))
        deployment, config = Deployment(store=store), declare(Path(root) / "prompts.parquet")
        run_partitions(config, [UNPARTITIONED], deployment)
        client.meta.events.register(
            "before-send.s3", lambda event_name, **_: sent.update([event_name.rpartition(".")[2]])
        )
        laps = Laps()
        run_partitions(config, [UNPARTITIONED], Deployment(store=store))
        laps.lap("run")
    return laps.found(
        requests=int(requests), s3_requests=sum(sent.values()), pages=sent["ListObjectsV2"], calls=dict(sent)
    )


def _s3_requests(store: Any) -> dict[str, Any]:
    """Calls of the store as requests of S3: a list is one for every thousand keys."""
    calls, keys = store.take(), store.take_listed()
    pages = sum(max(1, -(-count // 1000)) for count in keys)
    others = sum(count for name, count in calls.items() if not name.startswith("list"))
    return {"calls": dict(calls), "pages": pages, "s3_requests": others + pages}
