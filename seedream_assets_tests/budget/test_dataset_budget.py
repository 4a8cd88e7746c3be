"""Claims about a dataset's credits over all its runs, where runs die, oversleep, or take each other for dead."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from seedream_assets.budget.dataset_budget import Charged, DatasetBudget
from seedream_assets.budget.log import (
    Block,
    BudgetEntry,
    BudgetState,
    booked_before_today,
    decode_entry,
    encode_entry,
    read_budget,
)
from seedream_assets.budget.rules import Asked, DearPrice, PriceSeen
from seedream_assets.ledger.events import Writer
from seedream_assets.storage.async_store import AsyncStore
from seedream_assets.storage.object_store import ObjectInfo


class Hands:
    """Several runs' hands on one log; who is gone and what was booked is said by the test."""

    def __init__(self, store, limit=100, day_limit=None):
        self.day_limit = day_limit
        self.store = AsyncStore(store, threads=2, sleep=asyncio.sleep)
        self.limit = limit
        self.gone = set()
        self.booked = {}
        self.seen = ()

    def hand(self, engine):
        async def is_gone(writer):
            return writer.engine_id in self.gone

        async def booked_for(request_id, engine_id, _reserved):
            credits = self.booked.get((request_id, engine_id), 0)
            return None if credits is None else Charged(credits=credits, seen=self.seen)

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


def test_nothing_is_reserved_on_a_log_that_was_edited(folder_store):
    folder_store.create("datasets/scenes/budget/00000001.json", b"{}", content_type="application/json")

    async def work(hands):
        number, refused = await (await hands.opened("a")).reserve({"request": 1})
        assert number is None
        assert "00000001.json is not a budget entry" in str(refused)
        assert "verify --repair" in str(refused)

    act(folder_store, work)


SQUARE = "seedream-4.0 1024x1024"
ASKED = Asked(kind=SQUARE, images=2, listed=56)


def test_a_dear_price_is_reckoned_with_by_whoever_opens_the_log_or_writes_to_it_next(folder_store):
    async def work(hands):
        one, other = await hands.opened("a"), await hands.opened("b")
        number, _refused = await one.reserve({"r1": 56})
        assert (one.price(ASKED), other.price(ASKED)) == (56, 56)
        one.see(PriceSeen(kind=SQUARE, credits=40, listed=28))
        assert one.price(ASKED) == 80
        await one.correct({number: {"r1": 80}})
        assert (await hands.opened("c")).price(ASKED) == 80
        assert (await hands.opened("c")).committed == 80
        await other.reserve({"r2": 5})
        assert (other.price(ASKED), other.committed) == (80, 85)
        assert other.price(Asked(kind="seedream-4.0 2048x2048", images=2, listed=56)) == 56

    act(folder_store, work)


def test_prices_that_two_runs_see_at_once_are_both_kept(folder_store):
    async def work(hands):
        one, other = await hands.opened("a"), await hands.opened("b")
        one.see(PriceSeen(kind=SQUARE, credits=40, listed=28))
        other.see(PriceSeen(kind="seedream-4.0 2048x2048", credits=280, listed=28))
        await asyncio.gather(one.correct({}), other.correct({}))
        assert set((await read_prices(hands)).keys()) == {SQUARE, "seedream-4.0 2048x2048"}

    async def read_prices(hands):
        return read_budget(hands.store.store, "scenes", today=False).prices

    act(folder_store, work)


def test_what_a_dead_run_paid_is_learned_from_whoever_takes_over(folder_store):
    async def work(hands):
        await (await hands.opened("dead")).reserve({"r1": 30})
        hands.gone, hands.booked = {"dead"}, {("r1", "dead"): 90}
        hands.seen = (PriceSeen(kind=SQUARE, credits=90, listed=30),)
        assert (await hands.opened("next")).price(ASKED) == 180
        assert (await hands.opened("after")).price(ASKED) == 180

    act(folder_store, work)


def test_an_entry_of_an_earlier_version_is_read_and_keeps_its_bytes():
    writer = Writer(engine_id="e", nonce="n", host="h", boot_id="b", pid=7)
    at = datetime(2026, 11, 1, 12, tzinfo=UTC)
    block = Block(writer=writer, run_id="r", reserved={"q": 28})
    entry = BudgetEntry(number=3, at=at, writer=writer, booked=56, open={3: block})
    body = encode_entry(entry)
    assert list(json.loads(body)) == ["number", "at", "writer", "booked", "open", "version"]
    assert decode_entry(body, "key") == entry
    dear = replace(entry, store_time=at, prices={SQUARE: (DearPrice(credits=56, answers_since=3),)})
    reported = json.loads(encode_entry(dear))
    assert reported["prices"] == {SQUARE: [{"credits": 56, "answers_since": 3}]}
    assert decode_entry(encode_entry(dear), "key") == dear


class Dated:
    """A store whose clock a test sets: what is written is stamped with it."""

    def __init__(self, store):
        self._store = store
        self.stamps = {}
        self.time = datetime(2026, 11, 1, 12, tzinfo=UTC)

    def __getattr__(self, name):
        return getattr(self._store, name)

    def create(self, key, body, **options):
        created = self._store.create(key, body, **options)
        if created:
            self.stamps.setdefault(key, self.time)
        return created

    def list(self, prefix):
        return (replace(info, last_modified=self.stamps[info.key]) for info in self._store.list(prefix))

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
        assert read_budget(dated, "scenes", today=True) == BudgetState(committed=60, committed_today=0)
        number, refused = await first.reserve({"r2": 60})
        assert (number is not None, refused) == (True, None)
        assert (await (await hands.opened("b")).reserve({"r3": 60}))[0] is None

    act(dated, work, limit=None, day_limit=100)


def test_days_go_by_the_entries_own_times_in_a_store_that_was_copied(dated):
    async def work(hands):
        first = await hands.opened("a")
        for hour in range(24):
            number, _refused = await first.reserve({f"r{hour}": 4})
            await first.settle({number: 4})
            dated.time += timedelta(hours=1)
        for key in dated.stamps:  # copied a moment ago: the store has new times for everything
            dated.stamps[key] = dated.time
        assert read_budget(dated, "scenes", today=True) == BudgetState(committed=96, committed_today=48)
        later = await hands.opened("b")
        assert (await later.reserve({"r": 53}))[0] is None
        assert (await later.reserve({"r": 52}))[0] is not None

    act(dated, work, limit=None, day_limit=100)


def test_entries_without_a_time_of_their_own_are_dated_by_the_store(dated):
    writer = Writer(engine_id="e", nonce="n")
    for number in (1, 2, 3):
        entry = BudgetEntry(number=number, at=dated.time, writer=writer, booked=10 * number)
        dated.create(f"datasets/scenes/budget/{number:08d}.json", encode_entry(entry), content_type="application/json")
        dated.time += timedelta(hours=8)
    assert read_budget(dated, "scenes", today=True) == BudgetState(committed=30, committed_today=10)


@pytest.mark.parametrize("today", range(12))
def test_the_day_s_beginning_is_found_wherever_it_lies_in_the_log(today):
    now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    dates = [now - timedelta(days=1)] * (11 - today) + [now.replace(hour=0)] * today
    writer = Writer(engine_id="e", nonce="n")
    bodies = {
        f"{number:08d}": encode_entry(BudgetEntry(number=number, at=now, writer=writer, booked=number, store_time=date))
        for number, date in enumerate(dates, start=1)
    }
    entries = [ObjectInfo(key=key, size_bytes=1, last_modified=now, etag=None) for key in bodies]
    assert booked_before_today(entries, now, bodies.__getitem__) == 11 - today


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
