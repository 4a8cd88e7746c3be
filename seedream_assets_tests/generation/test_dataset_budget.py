"""Claims about a dataset's credits over all its runs, where runs die, oversleep, or take each other for dead."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from seedream_assets.core.errors import StoreError
from seedream_assets.core.ledger_events import Writer
from seedream_assets.generation.async_store import AsyncStore
from seedream_assets.generation.budget_log import BudgetStanding, read_budget
from seedream_assets.generation.dataset_budget import DatasetBudget


class Hands:
    """Several runs' hands on one log; who is gone and what was booked is said by the test."""

    def __init__(self, store, limit=100, day_limit=None):
        self.day_limit = day_limit
        self.store = AsyncStore(store, threads=2, sleep=asyncio.sleep)
        self.limit = limit
        self.gone = set()
        self.booked = {}

    def hand(self, engine):
        async def is_gone(writer):
            return writer.engine_id in self.gone

        async def booked_for(request_id, engine_id):
            return self.booked.get((request_id, engine_id), 0)

        numbers = iter(range(1000))
        return DatasetBudget(
            self.store,
            dataset="scenes",
            run_id=f"run of {engine}",
            limit=self.limit,
            day_limit=self.day_limit,
            sign=lambda: Writer(engine_id=engine, nonce=f"{engine}-{next(numbers)}"),
            is_gone=is_gone,
            booked_for=booked_for,
        )

    async def opened(self, engine):
        hand = self.hand(engine)
        await hand.open()
        return hand


def act(store, work, **options):
    async def run():
        hands = Hands(store, **options)
        try:
            return await work(hands)
        finally:
            hands.store.close()

    return asyncio.run(run())


def test_as_many_as_fit_are_reserved_in_their_order(folder_store):
    async def work(hands):
        hand = await hands.opened("a")
        number, refused = await hand.reserve({"r1": 60, "r2": 30, "r3": 20, "r4": 5})
        assert dict(hand.block(number).reserved) == {"r1": 60, "r2": 30}
        assert str(refused) == "max_credits_total is 100 credits; 90 are committed, the next request needs 20"

    act(folder_store, work)


def test_two_hands_that_write_at_once_see_each_other(folder_store):
    async def work(hands):
        first, second = await hands.opened("a"), await hands.opened("b")
        outcomes = await asyncio.gather(first.reserve({"r1": 60}), second.reserve({"r2": 60}))
        assert sorted(number is None for number, _refused in outcomes) == [False, True]

    act(folder_store, work)


def test_what_a_dead_run_had_reserved_is_booked_freed_or_kept_by_what_became_of_it(folder_store):
    async def work(hands):
        dead = await hands.opened("dead")
        await dead.reserve({"bought": 30, "unbought": 30, "unknown": 30})
        hands.booked = {("bought", "dead"): 28, ("unknown", "dead"): None}
        hands.gone = {"dead"}
        assert (await hands.opened("next")).committed == 28 + 30
        hands.booked["unknown", "dead"] = 0
        assert (await hands.opened("later")).committed == 28

    act(folder_store, work)


def test_a_dead_run_s_credits_are_looked_for_again_before_a_cap_refuses(folder_store):
    async def work(hands):
        dead, living = await hands.opened("dead"), await hands.opened("living")
        await dead.reserve({"r1": 80})
        assert (await living.reserve({"r2": 50}))[0] is None
        hands.gone = {"dead"}
        number, refused = await living.reserve({"r2": 50})
        assert (number is not None, refused) == (True, None)

    act(folder_store, work)


def test_a_block_is_taken_over_once(folder_store):
    async def work(hands):
        dead = await hands.opened("dead")
        await dead.reserve({"bought": 30, "unknown": 30})
        hands.booked = {("bought", "dead"): 30, ("unknown", "dead"): None}
        hands.gone = {"dead"}
        taken = await asyncio.gather(*(hands.opened(f"taker {number}") for number in range(4)))
        assert {hand.committed for hand in [*taken, await hands.opened("last")]} == {60}

    act(folder_store, work)


def test_a_run_that_was_taken_for_dead_does_not_book_again_what_was_booked_for_it(folder_store):
    async def work(hands):
        frozen = await hands.opened("frozen")
        number, _refused = await frozen.reserve({"r1": 30})
        hands.booked = {("r1", "frozen"): 30}
        hands.gone = {"frozen"}
        await hands.opened("taker")
        await frozen.settle({number: 30})
        assert (await hands.opened("last")).committed == 30

    act(folder_store, work)


def test_a_request_that_an_overslept_run_reserved_again_is_booked_once(folder_store):
    """Found by the kill matrix: the same run has the request in two blocks, under two leases."""

    async def work(hands):
        first = await hands.opened("first lease")
        await first.reserve({"r1": 30})
        hands.gone = {"first lease"}
        hands.booked = {("r1", "first lease"): None}
        await hands.opened("taker")  # keeps it: an open intent then
        second = await hands.opened("second lease")
        number, _refused = await second.reserve({"r1": 30})
        await second.settle({number: 30})
        hands.booked = {("r1", "second lease"): 30, ("r1", "first lease"): 0}
        assert (await hands.opened("last")).committed == 30

    act(folder_store, work)


def test_a_log_that_was_edited_is_refused(folder_store):
    folder_store.create("datasets/scenes/budget/00000001.json", b"{}", content_type="application/json")

    async def work(hands):
        with pytest.raises(StoreError, match="must not be edited"):
            await hands.opened("a")

    act(folder_store, work)


class Dated:
    """A store whose clock a test sets: what is written is stamped with it."""

    def __init__(self, store):
        self._store = store
        self._stamps = {}
        self.time = datetime(2026, 11, 1, 12, tzinfo=UTC)

    def __getattr__(self, name):
        return getattr(self._store, name)

    def create(self, key, body, **options):
        created = self._store.create(key, body, **options)
        if created:
            self._stamps.setdefault(key, self.time)
        return created

    def list(self, prefix):
        return (replace(info, last_modified=self._stamps[info.key]) for info in self._store.list(prefix))

    def now(self):
        return self.time


@pytest.fixture
def dated(folder_store):
    return Dated(folder_store)


def test_a_day_s_cap_counts_this_day_s_bookings_alone(dated):
    async def work(hands):
        first = await hands.opened("a")
        number, _refused = await first.reserve({"r1": 60})
        await first.settle({number: 60})
        number, refused = await first.reserve({"r2": 60})
        assert number is None
        assert str(refused).startswith(
            "max_credits_per_day is 100 credits; 60 are committed, the next request needs 60"
        )
        assert read_budget(dated, "scenes", today=True).committed_today == 60
        dated.time += timedelta(hours=12)
        assert read_budget(dated, "scenes", today=True) == BudgetStanding(committed=60, committed_today=0)
        number, refused = await first.reserve({"r2": 60})
        assert (number is not None, refused) == (True, None)
        assert (await (await hands.opened("b")).reserve({"r3": 60}))[0] is None

    act(dated, work, limit=None, day_limit=100)


def test_what_is_reserved_over_midnight_counts_on_both_days(dated):
    async def work(hands):
        first = await hands.opened("a")
        number, _refused = await first.reserve({"r1": 60})
        dated.time += timedelta(hours=12)
        second = await hands.opened("b")
        assert (await second.reserve({"r2": 60}))[0] is None
        await first.settle({number: 60})
        assert (await second.reserve({"r2": 60}))[0] is None
        dated.time += timedelta(days=1)
        assert (await second.reserve({"r2": 60}))[0] is not None

    act(dated, work, limit=None, day_limit=100)


def test_a_day_s_cap_set_later_knows_what_was_booked_before_it_was_set(dated):
    async def work(hands):
        first = await hands.opened("a")
        number, _refused = await first.reserve({"r1": 60})
        await first.settle({number: 60})
        hands.day_limit = 100
        assert (await (await hands.opened("b")).reserve({"r2": 60}))[0] is None

    act(dated, work, limit=None)


def test_two_runs_at_once_never_cross_a_day_s_cap_together(dated):
    async def work(hands):
        runs = [await hands.opened(str(number)) for number in range(5)]
        outcomes = await asyncio.gather(*(run.reserve({f"r{number}": 40}) for number, run in enumerate(runs)))
        assert sorted(number is None for number, _refused in outcomes) == [False, False, True, True, True]

    act(dated, work, limit=None, day_limit=100)
