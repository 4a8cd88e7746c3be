"""Calls to the store in threads: what may be repeated is, what may not is reported, and results come in order."""

import asyncio
import threading

import pytest

from seedream_assets.config.retry import STORE
from seedream_assets.errors import StoreRefused, StoreUnavailable
from seedream_assets.storage.async_store import AsyncStore, read_ahead


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


def test_results_come_in_the_items_order() -> None:
    first_may_end = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert first_may_end.wait(10)
        else:
            first_may_end.set()
        return number * number

    assert list(read_ahead(range(20), work, threads=2, most=4)) == [(number, number**2) for number in range(20)]


def test_no_more_are_drawn_than_may_be_held() -> None:
    drawn: list[int] = []

    def items() -> object:
        for number in range(100):
            drawn.append(number)
            yield number

    results = read_ahead(items(), lambda number: number, threads=2, most=5)
    assert next(results) == (0, 0)
    assert len(drawn) == 5
    assert next(results) == (1, 1)
    assert len(drawn) == 6


def test_an_error_comes_out_in_its_turn_and_what_was_not_begun_is_dropped() -> None:
    begun: list[int] = []
    lock = threading.Lock()

    def work(number: int) -> int:
        with lock:
            begun.append(number)
        if number == 1:
            raise ValueError("broken")
        return number

    results = read_ahead(range(1000), work, threads=1, most=10)
    assert next(results) == (0, 0)
    with pytest.raises(ValueError, match="broken"):
        list(results)
    assert len(begun) <= 12
    assert threading.active_count() < 50


def test_whoever_stops_early_leaves_nothing_running() -> None:
    before = threading.active_count()
    results = read_ahead(range(1000), lambda number: number, threads=4, most=8)
    assert next(results) == (0, 0)
    results.close()
    assert threading.active_count() == before
