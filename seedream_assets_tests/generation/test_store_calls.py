"""Claims about what the ledger costs: three small writes per fresh request, and next to nothing where all is owned."""

import pytest

from seedream_assets_tests.generation.counted_store import CountedStore, declare


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
        # Planning and buying each ask once where every request stands, and so does the manifest.
        "list requests": 3 * prompts,
        "create requests": 3 * prompts,
        "create images": prompts,
    }
    # At most two entries for each block of 32 requests.
    assert calls["create datasets/budget"] <= 2 * -(-prompts // 32)
    assert calls["head clock"] == calls["head requests"] == calls["head leases"] == 0

    declared.run()
    calls = store.take()
    assert of_requests(calls) == {"list requests": 3 * prompts}
    assert calls["read datasets/manifest"] == 2
    assert sum(count for name, count in calls.items() if "leases" in name or "budget" in name) == 0


def test_many_requests_are_listed_together(dataset):
    declared, store = dataset(201, "emulate-blocked")
    declared.run()
    store.take()
    declared.run()
    assert of_requests(store.take()) == {"list requests": 3}
