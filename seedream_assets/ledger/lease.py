"""The lease of an engine process: what shows others that its open intents are still in someone's hands.

One small object per process, `leases/<engine_id>.json`, renewed while the process lives. Others judge its age by the
store's clock alone; the process itself by seconds that go on while it is stopped. A process that has overslept its
lease must not send a paid request: it takes a new lease, under a new name, and claims anew. What it claimed under the
old name is lost to it for good.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from seedream_assets.config.retry import Clock, Sleep
from seedream_assets.errors import ObjectNotFound, SeedreamError, StoreError
from seedream_assets.ledger.events import Writer
from seedream_assets.storage.async_store import AsyncStore

LEASES_FOLDER = "leases"
# Nobody sets a longer one, and few one as long as the second, which is assumed of a lease that cannot be read.
LONGEST_SECONDS = 86_400.0
UNREADABLE_SECONDS = 600.0
# S3 gives whole seconds, and the answer with the store's time takes a moment to arrive.
CLOCK_GRAIN_SECONDS = 2.0
# What a killed process leaves behind is removed by whoever starts this much later. An open intent is judged by the age of
# its owner's lease, so it stays for longer than the pause between two runs of a dataset.
STALE_AFTER = timedelta(days=32)


class LeaseLapsed(SeedreamError):
    """This process was silent for longer than its lease: others may have taken over. Nothing was sent."""


class Lease:
    """This process's lease. `start` it before the first intent, `stop` it when everything is written.

    It has lapsed as soon as any clock says so: a guest that is paused takes its clocks along, and the store's goes on.

    Args:
        clock: The machine's seconds since boot.
        wall: The machine's time of day, as seconds; in a folder store it is the store's clock too.
    """

    def __init__(
        self, store: AsyncStore, *, seconds: float, sleep: Sleep, clock: Clock, wall: Clock = time.time
    ) -> None:
        self._store = store
        self._seconds = seconds
        self._sleep = sleep
        self._clock = clock
        self._wall = wall
        self._renewed_at = float("-inf")
        self._renewed_by_wall = float("-inf")
        self._renewed_by_store: datetime | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()
        self.engine_id = ""

    async def start(self) -> None:
        """Take a lease under a new name and keep renewing it.

        Raises:
            StoreError: The lease could not be written; nothing may be bought.
        """
        await self._take()
        await self._remove_stale()
        self._renewing = asyncio.create_task(self._renew_for_ever(), name="lease")

    async def stop(self) -> None:
        """Stop renewing and mark the lease as given back, so that nobody waits for a process that has ended.

        The object stays: its age shows whoever looks up an intent that was left open when this process can have sent
        its last request. A store that fails now costs the others nothing but the wait until the lease has run out.
        """
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        self._renewed_at = self._renewed_by_wall = float("-inf")
        try:
            await self._store.replace(_key(self.engine_id), self._body(given_back=True))
        except StoreError:
            return

    async def renew_if_lapsed(self) -> None:
        """Take a new lease under a new name where the old one has lapsed; what it covered is not ours any more."""
        async with self._one_at_a_time:
            if not self.holds():
                await self._take()

    def holds(self) -> bool:
        """True while nobody else may take over what this process has begun."""
        return self._age_seconds() < self._seconds

    def refuse_if_lapsed(self, engine_id: str, *, store_time: datetime | None = None) -> None:
        """Called just before a paid request leaves.

        Args:
            engine_id: The name under which the request was claimed.
            store_time: The store's clock, as the claim's own write or a question a moment ago gave it.

        Raises:
            LeaseLapsed: That lease has run out, or is about to.
        """
        by_store = 0.0
        if store_time is not None and self._renewed_by_store is not None:
            by_store = (store_time - self._renewed_by_store).total_seconds()
        if engine_id != self.engine_id or max(self._age_seconds(), by_store) >= self._seconds * 0.9:
            raise LeaseLapsed("this process was stopped for longer than its lease; it claims anew before it buys")

    async def refuse_if_lapsed_by_store(self, engine_id: str) -> None:
        """The same, for a request that has waited since it was claimed: the store is asked for its time.

        Raises:
            LeaseLapsed: That lease has run out, or is about to.
            StoreError: The store does not answer.
        """
        self.refuse_if_lapsed(engine_id, store_time=await self._store.now())

    def _age_seconds(self) -> float:
        return max(self._clock() - self._renewed_at, self._wall() - self._renewed_by_wall)

    def writer(self) -> Writer:
        """Who signs the next event."""
        return Writer(
            engine_id=self.engine_id, nonce=uuid4().hex, host=platform.node(), boot_id=_boot_id(), pid=os.getpid()
        )

    async def _take(self) -> None:
        engine_id = uuid4().hex
        began, by_wall = self._clock(), self._wall()
        await self._store.replace(_key(engine_id), self._body(engine_id))
        self._renewed_by_store = await self._taken_at(engine_id)
        self.engine_id, self._renewed_at, self._renewed_by_wall = engine_id, began, by_wall

    async def _taken_at(self, engine_id: str) -> datetime:
        """When the store took the lease, by its own clock."""
        head = await self._store.head(_key(engine_id))
        if head is None:
            raise StoreError(f"the lease {_key(engine_id)} is gone a moment after it was written")
        return head.last_modified

    async def _renew_for_ever(self) -> None:
        while True:
            await self._sleep(self._seconds / 3)
            async with self._one_at_a_time:
                await self._renew()

    async def _renew(self) -> None:
        if not self.holds():
            return  # overslept: only `renew_if_lapsed` gives a new one, under a new name
        began, by_wall = self._clock(), self._wall()
        try:
            await self._store.replace(_key(self.engine_id), self._body())
            by_store = await self._taken_at(self.engine_id)
        except StoreError:
            return  # tried again in a third of the lease; if none gets through, the lease lapses and buying stops
        # A write that took so long that the lease ran out meanwhile comes too late: others may have seen it run out.
        if self.holds():
            self._renewed_at, self._renewed_by_wall, self._renewed_by_store = began, by_wall, by_store

    async def _remove_stale(self) -> None:
        """Remove leases of processes that are long gone; whoever misses one takes its owner for gone just now.

        A courtesy: where this may not delete, the bucket's own rules may do it.
        """
        try:
            now = await self._store.now()
            for info in await self._store.list(LEASES_FOLDER + "/"):
                if now - info.last_modified > STALE_AFTER + timedelta(seconds=self._seconds):
                    await self._store.delete(info.key)
        except StoreError:
            return

    def _body(self, engine_id: str = "", *, given_back: bool = False) -> bytes:
        facts = {
            "engine_id": engine_id or self.engine_id,
            "lease_seconds": self._seconds,
            "given_back": given_back,
            "host": platform.node(),
            "pid": os.getpid(),
            "boot_id": _boot_id(),
        }
        return json.dumps(facts, indent=1).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSeen:
    """Somebody's lease, as the store shows it.

    Attributes:
        store_now: The store's clock when it was looked at.
        last_renewed: By the same clock; None where the lease is not there any more.
        seconds: Its length.
        given_back: True when its owner has ended in good order.
    """

    store_now: datetime
    last_renewed: datetime | None
    seconds: float
    given_back: bool

    @property
    def has_run_out(self) -> bool:
        """True when its owner must not send any more."""
        if self.last_renewed is None or self.given_back:
            return True
        return self.store_now - self.last_renewed > timedelta(seconds=self.seconds + CLOCK_GRAIN_SECONDS)

    @property
    def silent_seconds(self) -> float:
        """How long ago its owner can have sent its last request, where it has run out or its owner is dead; else 0."""
        if self.last_renewed is None:
            return 0.0
        last = self.last_renewed if self.given_back else self.last_renewed + timedelta(seconds=self.seconds)
        # The store's clock may give whole seconds only: the younger of two possible moments counts.
        return max(0.0, (self.store_now - last).total_seconds() - CLOCK_GRAIN_SECONDS)


async def look_at_lease(engine_id: str, store: AsyncStore, *, lease_seconds: float) -> LeaseSeen:
    """A lease as it stands.

    Args:
        engine_id: Whose.
        store: Its clock decides; nobody's own clock is asked.
        lease_seconds: Assumed at least where the lease's own length cannot be read.
    """
    key = _key(engine_id)
    head = await store.head(key)
    seconds, given_back = lease_seconds, False
    if head is not None:
        seconds = max(lease_seconds, UNREADABLE_SECONDS)
        try:
            facts = json.loads(await store.read(key))
            length, given_back = float(facts["lease_seconds"]), facts.get("given_back") is True
            seconds = length if 0 < length <= LONGEST_SECONDS else seconds
        except (ObjectNotFound, ValueError, TypeError, KeyError, OverflowError):
            pass
    return LeaseSeen(
        store_now=await store.now(),
        last_renewed=head.last_modified if head else None,
        seconds=seconds,
        given_back=given_back,
    )


async def mark_as_gone(engine_id: str, store: AsyncStore) -> None:
    """Record that a process without a lease was found to be gone now, so that later runs know since when.

    One that lives all the same, and whose lease somebody has removed, overwrites it with its next renewal.
    """
    facts = {"engine_id": engine_id, "lease_seconds": 0.0, "given_back": True}
    await store.create(_key(engine_id), json.dumps(facts, indent=1).encode())


async def is_gone(writer: Writer, store: AsyncStore, *, lease_seconds: float) -> bool:
    """True when the process that signed an event can no longer act on it: its lease has run out, or it is known dead."""
    if _is_dead_here(writer):
        return True
    return (await look_at_lease(writer.engine_id, store, lease_seconds=lease_seconds)).has_run_out


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


def signed(request_id: str, attempt: int, writer: Writer) -> dict[str, Any]:
    """What every event begins with."""
    return {"request_id": request_id, "attempt": attempt, "at": datetime.now(UTC), "writer": writer}
