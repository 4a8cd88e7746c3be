"""Claims about the store as the engine uses it: patient where it may be, honest where it may not."""

import asyncio

import pytest

from seedream_assets.errors import StoreRefused, StoreUnavailable
from seedream_assets.storage.async_store import WAITS_SECONDS, AsyncStore


class Moody:
    """A store whose reads fail so many times first."""

    def __init__(self, error, times):
        self.error, self.times, self.calls = error, times, 0

    def read(self, _key):
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return b"body"


def read(store):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    async def run():
        async_store = AsyncStore(store, threads=1, sleep=sleep)
        try:
            return await async_store.read("key")
        finally:
            async_store.close()

    return asyncio.run(run()), slept


@pytest.mark.parametrize("times", [0, 1, len(WAITS_SECONDS)])
def test_a_store_that_asks_for_patience_gets_it(times):
    assert read(Moody(StoreUnavailable("busy"), times)) == (b"body", list(WAITS_SECONDS[:times]))


def test_patience_ends():
    with pytest.raises(StoreUnavailable, match="busy"):
        read(Moody(StoreUnavailable("busy"), len(WAITS_SECONDS) + 1))


def test_a_store_that_refuses_is_not_asked_again():
    store = Moody(StoreRefused("no room"), 1)
    with pytest.raises(StoreRefused):
        read(store)
    assert store.calls == 1
