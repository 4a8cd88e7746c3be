"""The lease of an engine process: what tells others that its open intents are still in someone's hands.

One small object per process, `leases/<engine_id>.json`, renewed while the process lives. Others judge its age by the
store's clock alone; the process itself by seconds that go on while it is stopped. A process that has overslept its
lease must not send a paid request: it takes a new lease, under a new name, and claims anew.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

from seedream_assets.core.errors import SeedreamError, StoreError
from seedream_assets.core.ledger_events import Writer
from seedream_assets.generation.async_store import AsyncStore
from seedream_assets.generation.waiting import Clock, Sleep

LEASES_FOLDER = "leases"
# S3 gives whole seconds, and the answer that tells the store's time takes a moment to arrive.
CLOCK_GRAIN_SECONDS = 2.0


class LeaseLapsed(SeedreamError):
    """This process was silent for longer than its lease: others may have taken over. Nothing was sent."""


class Lease:
    """This process's lease. `start` it before the first intent, `stop` it when everything is put down."""

    def __init__(self, store: AsyncStore, *, seconds: float, sleep: Sleep, clock: Clock) -> None:
        self._store = store
        self._seconds = seconds
        self._sleep = sleep
        self._clock = clock
        self._renewed_at = float("-inf")
        self._renewing: asyncio.Task[None] | None = None
        self.engine_id = ""

    async def start(self) -> None:
        """Take a lease under a new name and keep renewing it.

        Raises:
            StoreError: The lease could not be written; nothing may be bought.
        """
        await self._take()
        self._renewing = asyncio.create_task(self._renew_for_ever(), name="lease")

    async def stop(self) -> None:
        """Stop renewing and remove the lease, so that nobody waits for a process that ended well."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        await self._store.delete(_key(self.engine_id))

    async def renew_if_lapsed(self) -> None:
        """After `LeaseLapsed`: a new lease under a new name. Intents written under the old one are not ours any more."""
        if not self.holds():
            await self._take()

    def holds(self) -> bool:
        """True while nobody else may take over what this process has begun."""
        return self._clock() - self._renewed_at < self._seconds

    def refuse_if_lapsed(self) -> None:
        """Called just before a paid request leaves.

        Raises:
            LeaseLapsed: The lease has run out, or is about to.
        """
        if self._clock() - self._renewed_at >= self._seconds * 0.9:
            raise LeaseLapsed("this process was stopped for longer than its lease; it claims anew before it buys")

    def writer(self) -> Writer:
        """Who signs the next event."""
        return Writer(
            engine_id=self.engine_id, nonce=uuid4().hex, host=platform.node(), boot_id=_boot_id(), pid=os.getpid()
        )

    async def _take(self) -> None:
        began = self._clock()
        self.engine_id = uuid4().hex
        await self._store.replace(_key(self.engine_id), self._body())
        self._renewed_at = began

    async def _renew_for_ever(self) -> None:
        while True:
            await self._sleep(self._seconds / 3)
            if not self.holds():
                continue  # overslept: only `renew_if_lapsed` gives a new one, under a new name
            began = self._clock()
            try:
                await self._store.replace(_key(self.engine_id), self._body())
            except StoreError:
                continue  # tried again in a third of the lease; if none gets through, the lease lapses and buying stops
            self._renewed_at = began

    def _body(self) -> bytes:
        facts = {"engine_id": self.engine_id, "lease_seconds": self._seconds, "host": platform.node()}
        return json.dumps(facts | {"pid": os.getpid(), "boot_id": _boot_id()}, indent=1).encode()


async def is_gone(writer: Writer, store: AsyncStore, *, lease_seconds: float) -> bool:
    """True when the process that signed an event can no longer act on it: its lease has run out, or it is known dead.

    Args:
        writer: From the event.
        store: Its clock decides; nobody's own clock is asked.
        lease_seconds: Assumed where the lease's own length cannot be read.
    """
    if _is_dead_here(writer):
        return True
    end = await lease_end(writer, store, lease_seconds=lease_seconds)
    if end is None:
        return True  # it is written before the first intent and removed last
    return await store.now() > end + timedelta(seconds=CLOCK_GRAIN_SECONDS)


async def lease_end(writer: Writer, store: AsyncStore, *, lease_seconds: float) -> datetime | None:
    """When a writer's lease runs out if it is not renewed, by the store's clock; None where there is no lease.

    Args:
        writer: From the event.
        store: Where leases are.
        lease_seconds: Assumed where the lease's own length cannot be read.
    """
    key = _key(writer.engine_id)
    head = await store.head(key)
    if head is None:
        return None
    try:
        seconds = float(json.loads(await store.read(key)).get("lease_seconds", lease_seconds))
    except (StoreError, ValueError, AttributeError, TypeError):
        seconds = lease_seconds
    return head.last_modified + timedelta(seconds=seconds)


def _is_dead_here(writer: Writer) -> bool:
    """True when the writer ran on this machine, in this boot, and its process is no more."""
    if not writer.boot_id or writer.host != platform.node() or writer.boot_id != _boot_id() or writer.pid <= 0:
        return False
    try:
        os.kill(writer.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _boot_id() -> str:
    """This boot of this machine, and the process namespace: in another container the same number is another process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _key(engine_id: str) -> str:
    return f"{LEASES_FOLDER}/{engine_id}.json"
