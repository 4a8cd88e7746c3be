"""Claims about the store as the engine uses it: what may be repeated is, and what may not is reported."""

import asyncio

import pytest

from seedream_assets.config.retry import STORE
from seedream_assets.errors import StoreRefused, StoreUnavailable
from seedream_assets.storage.async_store import AsyncStore


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


@pytest.mark.parametrize("times", [0, 1, STORE.attempts - 1])
def test_a_store_that_is_unavailable_for_a_while_is_asked_again(times):
    body, slept = read(Moody(StoreUnavailable("busy"), times))
    assert (body, len(slept)) == (b"body", times)


def test_a_store_that_stays_unavailable_is_not_asked_for_ever():
    with pytest.raises(StoreUnavailable, match="busy"):
        read(Moody(StoreUnavailable("busy"), STORE.attempts))


def test_a_store_that_refuses_is_not_asked_again():
    store = Moody(StoreRefused("no room"), 1)
    with pytest.raises(StoreRefused):
        read(store)
    assert store.calls == 1
