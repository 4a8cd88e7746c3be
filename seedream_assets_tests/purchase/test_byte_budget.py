"""Bytes in memory: no more than fit, in the order in which they were asked for, and none lost to who goes away."""

import asyncio

import pytest

from seedream_assets.purchase.delivery import ByteBudget


def most_at_once(capacity, sizes):
    held, most = 0, 0

    async def hold(budget, size):
        nonlocal held, most
        async with budget.holding(size):
            held += size
            most = max(most, held)
            await asyncio.sleep(0.001)
            held -= size

    async def run():
        budget = ByteBudget(capacity)
        await asyncio.gather(*(hold(budget, size) for size in sizes))

    asyncio.run(run())
    return most


@pytest.mark.parametrize(("capacity", "sizes"), [(10, [4] * 20), (10, [10, 1, 9, 3, 3, 3, 3]), (10, [1] * 50)])
def test_no_more_bytes_are_held_than_fit(capacity, sizes):
    assert 0 < most_at_once(capacity, sizes) <= capacity


def test_an_image_larger_than_all_memory_comes_alone():
    assert most_at_once(10, [25, 25]) == 25


def test_a_holder_that_fails_gives_its_bytes_back():
    async def run():
        budget = ByteBudget(1)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                async with budget.holding(1):
                    raise ZeroDivisionError

    asyncio.run(asyncio.wait_for(run(), 1))


async def held(budget, size, granted, done):
    async with budget.holding(size):
        granted.append(size)
        await done.wait()


def test_a_large_holder_is_not_passed_by_small_ones():
    async def run():
        budget, granted, done = ByteBudget(10), [], asyncio.Event()
        tasks = [asyncio.create_task(held(budget, size, granted, done)) for size in (6, 7, 1)]
        await asyncio.sleep(0.01)
        assert granted == [6]
        done.set()
        await asyncio.gather(*tasks)
        return granted

    assert asyncio.run(run()) == [6, 7, 1]


def test_whoever_stops_waiting_lets_the_next_ones_in():
    async def run():
        budget, granted, done = ByteBudget(10), [], asyncio.Event()
        tasks = [asyncio.create_task(held(budget, size, granted, done)) for size in (6, 7, 1)]
        await asyncio.sleep(0.01)
        tasks[1].cancel()
        await asyncio.sleep(0.01)
        assert granted == [6, 1]
        done.set()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


def test_a_turn_that_comes_while_its_holder_is_cancelled_goes_on_to_the_next():
    async def run():
        budget, granted, done = ByteBudget(10), [], asyncio.Event()
        first = asyncio.create_task(held(budget, 10, granted, done))
        await asyncio.sleep(0)
        second = asyncio.create_task(held(budget, 10, granted, done))
        await asyncio.sleep(0)
        done.set()
        while not first.done():
            await asyncio.sleep(0)
        second.cancel()  # it was given the bytes, and has not run since
        await asyncio.gather(second, return_exceptions=True)
        assert granted == [10]
        async with asyncio.timeout(1), budget.holding(10):
            granted.append("last")
        return granted

    assert asyncio.run(run()) == [10, "last"]
