"""Claims about what the ledger costs: three small writes per fresh request, and next to nothing where all is owned."""

import pytest

from seedream_assets.ledger.state import FRESH, RequestState
from seedream_assets.ledger.store import LedgerEntries
from seedream_assets_tests.purchase.counted_store import CountedStore, declare


@pytest.fixture
def dataset(desk, tmp_path):
    def make(prompts, words="a cat"):
        store = CountedStore(desk.store)
        rows = [f"{words} {number}" for number in range(prompts)]
        return declare(tmp_path / f"declared-{prompts}", rows, store, desk.emulator), store

    return make


def of_requests(calls):
    return {name: count for name, count in calls.items() if name.split()[1] in ("requests", "images", "adoptions")}


@pytest.mark.parametrize("prompts", [1, 40])
def test_a_fresh_request_costs_three_small_writes_and_an_owned_one_next_to_nothing(dataset, prompts):
    declared, store = dataset(prompts)
    declared.run()
    calls = store.take()
    assert of_requests(calls) == {
        # Planning and buying each ask once where every request stands, and so does the manifest; and the first run over a
        # store looks once whether anything was bought for it.
        "list requests": 3 * prompts + 1,
        "create requests": 3 * prompts,
        "create images": prompts,
        # The store's time of the claim: no other clock may say that the lease still holds.
        "head requests": prompts,
    }
    # At most two entries for each block of 32 requests.
    assert calls["create datasets/budget"] <= 2 * -(-prompts // 32)
    # Every entry of the budget log asks for the store's time, and the lease asks once.
    assert calls["now clock"] == calls["create datasets/budget"] + 1
    assert calls["head leases"] == calls["replace leases"] - 1

    declared.run()
    calls = store.take()
    assert of_requests(calls) == {"list requests": prompts}
    assert calls["read datasets/manifest"] == 2
    assert sum(count for name, count in calls.items() if "leases" in name or "budget" in name) == 0


def test_many_requests_are_listed_together(dataset):
    declared, store = dataset(201)
    declared.run()
    store.take()
    declared.run()
    # A look whether there is any, then all of them.
    assert of_requests(store.take()) == {"list requests": 2}


def test_what_has_ended_is_asked_for_once_and_what_has_not_each_time(dataset):
    declared, store = dataset(3)
    plan, _, _ = declared.run()
    store.take()
    ended, unknown = list(plan.requests["request_id"]), "f" * 64
    entries = LedgerEntries(store)
    assert {entry.state for entry in entries.begun(ended[:2]).values()} == {RequestState.COMPLETED}
    assert store.take() == {"list requests": 2}
    found = entries.of([unknown, *ended])
    assert [found[name].state for name in ended] == [RequestState.COMPLETED] * 3
    assert found[unknown] == FRESH
    assert entries.begun([unknown]) == {}
    assert store.take() == {"list requests": 3}
