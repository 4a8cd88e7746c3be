"""Claims about adoptions: one owner at a time, whoever races for it and wherever somebody dies."""

import asyncio
import contextlib

import pytest

from seedream_assets.ledger.store import claim_generation, free_generation
from seedream_assets.storage.async_store import AsyncStore


@pytest.fixture
def act(folder_store):
    def run(*works):
        async def all_of_them():
            with contextlib.closing(AsyncStore(folder_store, threads=8, sleep=asyncio.sleep)) as store:
                return await asyncio.gather(*(work(store) for work in works))

        return asyncio.run(all_of_them())

    return run


def claim(request, generation="g-1"):
    return lambda store: claim_generation(store, generation, request)


def free(request, generation="g-1"):
    return lambda store: free_generation(store, generation, request)


def test_one_of_many_wins_and_wins_again(act):
    won = act(*(claim(f"request-{number}") for number in range(8)))
    assert sum(won) == 1
    winner = f"request-{won.index(True)}"
    assert act(claim(winner)) == [True]


def test_what_was_freed_is_adopted_by_one_of_many_and_not_by_who_gave_it_back_unless_it_wins(act):
    assert act(claim("wrong")) == [True]
    assert act(free("wrong")) == [True]
    won = act(*(claim(f"request-{number}") for number in range(8)))
    assert sum(won) == 1
    assert act(claim("wrong")) == [False]


def test_only_the_owner_frees_and_only_once(act):
    assert act(free("nobody")) == [False]
    act(claim("first"))
    assert act(free("second")) == [False]
    assert sum(act(*(free("first") for _ in range(4)))) >= 1
    act(claim("second"))
    # Whoever repeats a retraction that had been cut off does not take it from the next owner.
    assert act(free("first")) == [False]
    assert act(claim("second"), claim("third")) == [True, False]


def test_it_can_go_round_and_come_back(act):
    for request in ("first", "second", "first", "third"):
        assert act(claim(request)) == [True]
        assert act(free(request)) == [True]
    assert act(claim("fourth")) == [True]


def test_ids_that_begin_alike_or_are_odd_are_kept_apart(act):
    for generation in ("g", "g-1", "g-1.retracted-1", "g/1"):
        assert act(claim(f"request of {generation}", generation)) == [True]
    assert act(free("request of g-1", "g-1")) == [True]
    assert act(claim("another", "g"), claim("another", "g-1"), claim("another", "g/1")) == [False, True, False]
