"""Claims about leases: nobody is taken for gone too early, nobody sends too late, and nobody's own clock is asked."""

import asyncio
import dataclasses
import os
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from seedream_assets.errors import StoreRefused, StoreUnavailable
from seedream_assets.ledger.events import Writer
from seedream_assets.ledger.lease import (
    UNREADABLE_SECONDS,
    Lease,
    LeaseLapsed,
    is_gone,
    look_at_lease,
    mark_as_gone,
)
from seedream_assets.storage.async_store import AsyncStore

SECONDS = 60.0
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Clock:
    """Seconds of this process, moved by hand."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class StoreAt:
    """A store whose clock is moved by hand; every write is dated by it."""

    def __init__(self, store):
        self._store = store
        self.time = NOON
        self.dates = {}
        self.on_replace = None
        self.may_delete = True

    def __getattr__(self, name):
        return getattr(self._store, name)

    def replace(self, key, body, *, content_type, metadata=None):
        if self.on_replace is not None:
            self.on_replace()
        self._store.replace(key, body, content_type=content_type)
        self.dates[key] = self.time

    def head(self, key):
        head = self._store.head(key)
        return head and dataclasses.replace(head, last_modified=self.dates[key])

    def list(self, prefix):
        return (dataclasses.replace(info, last_modified=self.dates[info.key]) for info in self._store.list(prefix))

    def delete(self, key):
        if not self.may_delete:
            raise StoreRefused("may not delete")
        self._store.delete(key)

    def now(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(folder_store):
    return StoreAt(folder_store)


def with_lease(store, clock, work, *, seconds=SECONDS):
    """Run `work(lease, async_store)` with a lease that renews itself only when asked to."""

    async def run():
        async_store = AsyncStore(store, threads=1, sleep=asyncio.sleep)
        renew = asyncio.Event()

        async def sleep(_seconds):
            await renew.wait()
            renew.clear()

        lease = Lease(async_store, seconds=seconds, sleep=sleep, clock=clock)
        await lease.start()

        async def renewed():
            await asyncio.sleep(0)
            renew.set()
            await asyncio.sleep(0.05)

        lease.renewed_by_test = renewed
        try:
            return await work(lease, async_store)
        finally:
            async_store.close()

    return asyncio.run(run())


def elsewhere(writer):
    """The same writer, seen from another machine."""
    return Writer(engine_id=writer.engine_id, nonce=writer.nonce, host="another", boot_id="another", pid=writer.pid)


def test_a_process_that_lives_keeps_its_lease_as_long_as_it_renews(store, clock):
    async def work(lease, async_store):
        for _ in range(5):
            clock.now += 20
            store.time += timedelta(seconds=20)
            await lease.renewed_by_test()
            lease.refuse_if_lapsed(lease.engine_id)
            assert not await is_gone(elsewhere(lease.writer()), async_store, lease_seconds=1)

    with_lease(store, clock, work)


@pytest.mark.parametrize(("seconds", "may_send"), [(0, True), (53, True), (54, False), (60, False), (3600, False)])
def test_a_process_that_overslept_sends_nothing(store, clock, seconds, may_send):
    async def work(lease, _async_store):
        clock.now += seconds
        if may_send:
            lease.refuse_if_lapsed(lease.engine_id)
        else:
            with pytest.raises(LeaseLapsed):
                lease.refuse_if_lapsed(lease.engine_id)

    with_lease(store, clock, work)


@pytest.mark.parametrize(("seconds", "gone"), [(0, False), (60, False), (62, False), (63, True)])
def test_an_owner_is_gone_when_its_lease_has_run_out_by_the_store_s_clock(store, clock, seconds, gone):
    async def work(lease, async_store):
        store.time += timedelta(seconds=seconds)
        assert await is_gone(elsewhere(lease.writer()), async_store, lease_seconds=1) is gone

    with_lease(store, clock, work)


def test_no_owner_is_taken_for_gone_while_it_may_still_send(store, clock):
    """Over the whole length of a lease, in both clocks: never gone and sending at once."""

    async def work(lease, async_store):
        for _ in range(80):
            clock.now += 1
            store.time += timedelta(seconds=1)
            gone = await is_gone(elsewhere(lease.writer()), async_store, lease_seconds=1)
            try:
                lease.refuse_if_lapsed(lease.engine_id)
            except LeaseLapsed:
                continue
            assert not gone

    with_lease(store, clock, work)


def test_after_a_lapse_there_is_a_new_lease_and_the_old_claims_are_lost(store, clock):
    async def work(lease, _async_store):
        old = lease.engine_id
        clock.now += SECONDS
        await asyncio.gather(*(lease.renew_if_lapsed() for _ in range(5)))
        assert lease.engine_id != old
        lease.refuse_if_lapsed(lease.engine_id)
        with pytest.raises(LeaseLapsed):
            lease.refuse_if_lapsed(old)
        assert len(list(store.list("leases/"))) == 2

    with_lease(store, clock, work)


def test_a_lease_that_holds_is_not_exchanged(store, clock):
    async def work(lease, _async_store):
        old = lease.engine_id
        clock.now += SECONDS - 1
        await lease.renew_if_lapsed()
        assert lease.engine_id == old

    with_lease(store, clock, work)


def test_a_renewal_that_arrives_after_the_lapse_does_not_revive_the_lease(store, clock):
    async def work(lease, _async_store):
        def slow():
            clock.now += SECONDS

        clock.now += 20
        store.on_replace = slow
        await lease.renewed_by_test()
        assert not lease.holds()

    with_lease(store, clock, work)


def test_a_renewal_that_fails_is_no_renewal(store, clock):
    async def work(lease, _async_store):
        def fail():
            raise StoreRefused("no")

        clock.now += 50
        store.on_replace = fail
        await lease.renewed_by_test()
        clock.now += 10
        assert not lease.holds()

    with_lease(store, clock, work)


def test_a_process_that_ended_well_is_gone_at_once_and_was_silent_since(store, clock):
    async def work(lease, async_store):
        store.time += timedelta(seconds=7)
        await lease.stop()
        assert await is_gone(elsewhere(lease.writer()), async_store, lease_seconds=1)
        store.time += timedelta(seconds=30)
        seen = await look_at_lease(lease.engine_id, async_store, lease_seconds=1)
        assert seen.silent_seconds == 28  # two seconds less: a store's clock may be coarse
        with pytest.raises(LeaseLapsed):
            lease.refuse_if_lapsed(lease.engine_id)

    with_lease(store, clock, work)


def test_an_owner_without_a_lease_is_gone_and_may_have_sent_just_now(store, clock):
    async def work(lease, async_store):
        store.delete(f"leases/{lease.engine_id}.json")
        seen = await look_at_lease(lease.engine_id, async_store, lease_seconds=SECONDS)
        assert (seen.has_run_out, seen.silent_seconds) == (True, 0.0)

    with_lease(store, clock, work)


BROKEN = [
    b"",
    b"{}",
    b'{"lease_seconds": "long"}',
    b"[1]",
    b'"text"',
    b'{"lease_seconds": 1e999}',
    b'{"lease_seconds": NaN}',
]


@pytest.mark.parametrize("body", [*BROKEN, b'{"lease_seconds": 30, "given', b'{"lease_seconds": -1}', b"\xff\xfe"])
def test_a_lease_that_cannot_be_read_counts_as_long_as_any_may_be(store, clock, body):
    """Its owner may live under a longer one than one's own."""

    async def work(lease, async_store):
        store.replace(f"leases/{lease.engine_id}.json", body, content_type="application/json")
        store.time += timedelta(seconds=UNREADABLE_SECONDS + 2)
        for seconds, gone in ((SECONDS, False), (UNREADABLE_SECONDS + 100, False)):
            seen = await look_at_lease(lease.engine_id, async_store, lease_seconds=seconds)
            assert seen.has_run_out is gone
        store.time += timedelta(seconds=2)
        for seconds, gone in ((SECONDS, True), (UNREADABLE_SECONDS + 100, False)):
            seen = await look_at_lease(lease.engine_id, async_store, lease_seconds=seconds)
            assert seen.has_run_out is gone

    with_lease(store, clock, work)


@pytest.mark.parametrize(("seconds", "lapsed"), [(53.9, False), (54, True)])
@pytest.mark.parametrize("which", ["boot", "wall", "store"])
def test_a_lease_has_lapsed_as_soon_as_any_clock_says_so(store, clock, which, seconds, lapsed):
    """A guest that is paused takes its own clocks along; the store's goes on."""
    wall = Clock()

    async def run():
        async_store = AsyncStore(store, threads=1, sleep=asyncio.sleep)
        lease = Lease(async_store, seconds=SECONDS, sleep=asyncio.sleep, clock=clock, wall=wall)
        await lease.start()
        try:
            claimed = store.time
            if which == "boot":
                clock.now += seconds
            elif which == "wall":
                wall.now += seconds
            else:
                claimed += timedelta(seconds=seconds)
            if lapsed:
                with pytest.raises(LeaseLapsed):
                    lease.refuse_if_lapsed(lease.engine_id, store_time=claimed)
            else:
                lease.refuse_if_lapsed(lease.engine_id, store_time=claimed)
            store.time = claimed
            if which == "store" and lapsed:
                with pytest.raises(LeaseLapsed):
                    await lease.refuse_if_lapsed_by_store(lease.engine_id)
            await lease.renew_if_lapsed()
        finally:
            await lease.stop()
            async_store.close()

    asyncio.run(run())


def test_a_process_found_without_a_lease_is_gone_since_then(store, clock):
    async def work(_lease, async_store):
        await mark_as_gone("unknown", async_store)
        store.dates["leases/unknown.json"] = store.time
        store.time += timedelta(seconds=100)
        await mark_as_gone("unknown", async_store)
        seen = await look_at_lease("unknown", async_store, lease_seconds=SECONDS)
        assert (seen.has_run_out, seen.silent_seconds) == (True, 98.0)

    with_lease(store, clock, work)


def test_the_owner_s_lease_counts_with_the_owner_s_length(store, clock):
    async def work(lease, async_store):
        store.time += timedelta(seconds=30)
        assert not await is_gone(elsewhere(lease.writer()), async_store, lease_seconds=1)

    with_lease(store, clock, work)


def test_a_process_of_this_machine_that_is_no_more_is_gone_at_once(store, clock):
    child = subprocess.Popen(["true"])
    child.wait()

    async def work(lease, async_store):
        mine = lease.writer()
        dead = Writer(engine_id=mine.engine_id, nonce="n", host=mine.host, boot_id=mine.boot_id, pid=child.pid)
        assert await is_gone(dead, async_store, lease_seconds=SECONDS)
        assert not await is_gone(elsewhere(dead), async_store, lease_seconds=SECONDS)
        assert mine.pid == os.getpid()
        assert not await is_gone(mine, async_store, lease_seconds=SECONDS)

    with_lease(store, clock, work)


@pytest.mark.parametrize("may_delete", [True, False])
def test_leases_of_processes_long_gone_are_removed_where_that_is_allowed(store, clock, may_delete):
    store.replace("leases/old.json", b"{}", content_type="application/json")
    store.time += timedelta(days=33)
    store.may_delete = may_delete

    async def work(lease, _async_store):
        left = {info.key for info in store.list("leases/")}
        assert left == {f"leases/{lease.engine_id}.json"} | (set() if may_delete else {"leases/old.json"})

    with_lease(store, clock, work)


def test_a_store_that_is_away_at_the_end_does_not_fail_the_run(store, clock):
    async def work(lease, _async_store):
        def fail():
            raise StoreRefused("no")

        store.on_replace = fail
        await lease.stop()

    with_lease(store, clock, work)


def test_without_a_lease_nothing_begins(store, clock):
    def fail():
        raise StoreUnavailable("away")

    store.on_replace = fail

    async def run():
        async def no_sleep(_seconds):
            return None

        lease = Lease(AsyncStore(store, threads=1, sleep=no_sleep), seconds=1, sleep=no_sleep, clock=clock)
        with pytest.raises(StoreUnavailable):
            await lease.start()

    asyncio.run(run())
