"""What a process of a namespace of its own does, for `test_process_namespaces`: hold a lease, judge another's, or run.

    python -m seedream_assets_tests.purchase.namespace_process hold STORE SECONDS
    python -m seedream_assets_tests.purchase.namespace_process judge STORE
    python -m seedream_assets_tests.purchase.namespace_process run ORDER

`hold` prints who it is and keeps its lease until it is killed; `judge` reads one writer a line and prints for each
whether it is gone; `run` is one run of the engine. ORDER is a `ChildOrder` in JSON.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from pathlib import Path

from seedream_assets.config.retry import running_seconds
from seedream_assets.ledger.events import Writer
from seedream_assets.ledger.lease import Lease, is_gone
from seedream_assets.storage.async_store import AsyncStore
from seedream_assets.storage.folder import FolderStore
from seedream_assets_tests.purchase.killed_process import ChildOrder, run_child


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def hold(store: AsyncStore, seconds: float) -> None:
    lease = Lease(store, seconds=seconds, sleep=asyncio.sleep, clock=running_seconds)
    await lease.start()
    say(dataclasses.asdict(lease.writer()))
    await asyncio.Event().wait()


async def judge(store: AsyncStore) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        say(await is_gone(Writer(**json.loads(line)), store, lease_seconds=60))


def main() -> None:
    what, given = sys.argv[1:3]
    if what == "run":
        values = json.loads(given)
        run_child(ChildOrder(**{**values, "prompts": tuple(values["prompts"])}))
        return
    store = AsyncStore(FolderStore(Path(given)), threads=2, sleep=asyncio.sleep)
    asyncio.run(hold(store, float(sys.argv[3])) if what == "hold" else judge(store))


if __name__ == "__main__":
    main()
