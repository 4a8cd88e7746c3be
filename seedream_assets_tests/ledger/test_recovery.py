"""Claims about single moments of recovery that no test over a whole run meets reliably."""

import asyncio
import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from urllib.request import url2pathname

from seedream_assets.ledger.events import Released, Submitted, Writer, encode_event, event_key
from seedream_assets.ledger.history import AccountHistory
from seedream_assets.ledger.lease import Lease
from seedream_assets.ledger.recovery import MOST_LOOKED_UP, Recovery
from seedream_assets.ledger.state import RequestState
from seedream_assets.ledger.store import Ledger
from seedream_assets.leonardo.generations import HistoryPage
from seedream_assets.storage.async_store import AsyncStore
from seedream_assets_tests.support.builders import make_generation, make_intent, make_paid_request

DEAD = Writer(engine_id="dead", nonce="n", host="another machine", boot_id="b", pid=7)


WITNESS = make_paid_request(prompt="bought later")


class History:
    """An account's history; `before_answer` happens while it is read.

    With a witness, something is bought, acknowledged and shown when it is read for the first time.
    """

    def __init__(self, generations=(), before_answer=None, *, witness=False):
        self.generations = list(generations)
        self.before_answer = before_answer
        self.witness = witness
        self.reads = 0

    async def read_history(self, _user_id, *, offset, limit):
        self.reads += 1
        if offset == 0 and self.before_answer is not None:
            await self.before_answer()
        if self.witness:
            await self.buy_a_witness()
        return HistoryPage(generations=tuple(self.generations[offset : offset + limit]))

    async def buy_a_witness(self):
        self.witness = False
        bought = make_intent(WITNESS, writer=DEAD, at=datetime.now(UTC))
        await self.ledger.write(bought)
        header = {"request_id": bought.request_id, "attempt": 0, "at": datetime.now(UTC), "writer": DEAD}
        await self.ledger.write(Submitted(**header, generation_id="witness"))
        self.generations.insert(0, found(bought, id="witness"))

    async def read_generation(self, generation_id):
        return next((one for one in self.generations if one.id == generation_id), None)


class GrowingHistory(History):
    """Others make generations while it is read: everything moves down by one with every page."""

    async def read_history(self, user_id, *, offset, limit):
        page = await super().read_history(user_id, offset=offset, limit=min(limit, 3))
        if self.reads <= 12:
            self.generations.insert(0, found(open_intent(), id=f"web-{self.reads}", seed=1))
        return page


class ShrinkingHistory(History):
    """Somebody deletes the newest generation after each page: everything moves up by one."""

    async def read_history(self, user_id, *, offset, limit):
        page = await super().read_history(user_id, offset=offset, limit=min(limit, 3))
        if len(self.generations) > 4:
            del self.generations[1]
        return page


class StubbornHistory(History):
    """It gives its first page, whatever is asked for."""

    async def read_history(self, user_id, *, offset, limit):
        return await super().read_history(user_id, offset=0, limit=limit)


def settle(folder_store, history, intents, *, settle_seconds=0.2, **options):
    """What recovery says of each open intent, all asked at once."""

    async def sleep(seconds):
        await asyncio.sleep(min(seconds, 0.05))

    async def run():
        store = AsyncStore(folder_store, threads=4, sleep=sleep)
        ledger = history.ledger = Ledger(store)
        lease = Lease(store, seconds=60, sleep=asyncio.sleep, clock=time.monotonic)
        await lease.start()
        for intent in intents:
            await ledger.write(intent)
        recovery = Recovery(
            store=store,
            ledger=ledger,
            history=AccountHistory(
                client=history,
                store=store,
                user_id="user",
                pages=options.get("pages", 10),
                sleep=sleep,
                clock=time.monotonic,
            ),
            lease=lease,
            account_id="user",
            lease_seconds=60,
            settle_seconds=settle_seconds,
            sleep=sleep,
            clock=time.monotonic,
            stopping=options.get("stopping", lambda: False),
            on=lambda _step, _request_id: None,
        )
        recovery.longest_lag_seconds = options.get("lag_seconds", 0.0)
        try:
            asked = (recovery.settle(intent.request_id, intent.attempt, ours=False) for intent in intents)
            return await asyncio.gather(*asked)
        finally:
            await lease.stop()
            store.close()

    return asyncio.run(run())


def open_intent(**changes):
    return make_intent(**({"writer": DEAD, "at": datetime.now(UTC)} | changes))


def found(intent, **changes):
    return make_generation(intent, **({"created_at": datetime.now(UTC)} | changes))


def keys(folder_store, intent):
    return [info.key.rpartition("/")[2] for info in folder_store.list(f"requests/{intent.request_id}/")]


def test_the_next_attempt_s_generation_is_not_adopted_for_this_one(folder_store):
    """Found by the kill matrix: another run releases this attempt and buys the next while the history is read."""
    intent = open_intent()

    async def another_run_goes_on():
        header = {"request_id": intent.request_id, "at": datetime.now(UTC), "writer": DEAD}
        await history.ledger.write(Released(**header, attempt=0, why="not_in_history", reason="not there"))
        await history.ledger.write(open_intent(attempt=1))

    history = History([found(intent)], before_answer=another_run_goes_on)
    (entry,) = settle(folder_store, history, [intent])
    assert (entry.state, entry.attempt) == (RequestState.OPEN, 1)
    assert keys(folder_store, intent) == ["00-intent.json", "00-released.json", "01-intent.json"]


def test_a_generation_that_another_request_has_claimed_is_left_to_it(folder_store):
    intent = open_intent()
    theirs = json.dumps({"generation_id": "generation-1", "request_id": "b" * 64}).encode()
    folder_store.create("adoptions/generation-1.json", theirs, content_type="application/json")
    (outcome,) = settle(folder_store, History([found(intent)]), [intent])
    assert outcome.reason.startswith("generation generation-1 in the account's history is claimed by another request; ")


def test_an_adoption_that_was_cut_short_is_carried_on(folder_store):
    """Killed between the claim of the generation and `submitted`."""
    intent = open_intent()
    settle(folder_store, History([found(intent)]), [intent])
    folder_store.delete(f"requests/{intent.request_id}/00-submitted-generation-1.json")
    (entry,) = settle(folder_store, History([found(intent)]), [intent])
    assert entry.state is RequestState.SUBMITTED


def test_looks_into_the_history_are_shared_and_spaced(folder_store):
    from seedream_assets_tests.purchase.desk import make_paid_requests

    intents = [open_intent(request=request) for request in make_paid_requests(30)]
    history = History(witness=True)
    entries = settle(folder_store, history, intents, settle_seconds=1.0)
    assert {entry.state for entry in entries} == {RequestState.FREE}
    # A look reads three pages; were they not shared, each of thirty would look several times.
    assert history.reads < 3 * 30


def test_a_history_that_grows_while_it_is_read_is_read_to_its_end(folder_store):
    intent = open_intent()
    history = GrowingHistory([found(intent, id=f"web-{number}", seed=1) for number in range(-4, 0)], witness=True)
    (entry,) = settle(folder_store, history, [intent])
    assert entry.state is RequestState.FREE


def test_an_entry_that_moves_up_because_others_are_deleted_is_not_missed(folder_store):
    intent = open_intent()
    others = [found(intent, id=f"web-{number}", seed=1) for number in range(8)]
    history = ShrinkingHistory([*others, found(intent, id="own")], witness=True)
    (entry,) = settle(folder_store, history, [intent])
    assert entry.generations == ("own",)


def test_a_history_that_knows_no_offset_proves_nothing(folder_store):
    intent = open_intent()
    (outcome,) = settle(folder_store, StubbornHistory([found(intent, id="web", seed=1)], witness=True), [intent])
    assert "could not be read back" in outcome.reason


def test_one_page_a_look_is_enough_to_come_to_the_end(folder_store):
    intent = open_intent()
    history = GrowingHistory([found(intent, id=f"web-{number}", seed=1) for number in range(-4, 0)], witness=True)
    history.reads = 100  # it does not grow any more
    (entry,) = settle(folder_store, history, [intent], pages=1)
    assert entry.state is RequestState.FREE


def test_what_another_account_began_is_left_to_it(folder_store):
    intent = open_intent(account="another")
    history = History([found(intent)])
    (outcome,) = settle(folder_store, history, [intent])
    assert outcome.reason == "begun with account another; run once with a key of that account"
    assert history.reads == 0


def test_an_open_intent_that_cannot_be_read_holds_up_no_other(folder_store):
    intent = open_intent()
    broken = f"requests/{'e' * 64}/00-intent.json"
    folder_store.create(broken, b"", content_type="application/json")
    (entry,) = settle(folder_store, History(witness=True), [intent])
    assert entry.state is RequestState.FREE


def test_a_generation_that_the_account_has_deleted_need_not_be_shown(folder_store):
    """And one that it still knows by its id says that the history is behind."""
    intent = open_intent()
    bought = make_paid_request(prompt="bought at the same time")

    async def acknowledge():
        if history.reads == 1:
            header = {"request_id": bought.request_id, "attempt": 0, "at": datetime.now(UTC), "writer": DEAD}
            await history.ledger.write(make_intent(bought, writer=DEAD, at=datetime.now(UTC)))
            await history.ledger.write(Submitted(**header, generation_id="behind"))

    class Behind(History):
        async def read_generation(self, generation_id):
            return found(intent, id=generation_id)

    history = Behind(before_answer=acknowledge, witness=True)
    (outcome,) = settle(folder_store, history, [intent])
    assert "does not show generation behind" in outcome.reason


def test_however_many_the_account_has_deleted_none_of_them_need_be_shown(folder_store):
    intent = replace(open_intent(), at=datetime.now(UTC) - timedelta(minutes=3))
    two_minutes_ago = time.time() - 120
    for number in range(2 * MOST_LOOKED_UP + 1):
        bought = make_intent(make_paid_request(prompt=f"deleted {number}"), writer=DEAD, at=datetime.now(UTC))
        header = {"request_id": bought.request_id, "attempt": 0, "at": datetime.now(UTC), "writer": DEAD}
        for event in (bought, Submitted(**header, generation_id=f"deleted-{number}")):
            folder_store.create(event_key(event), encode_event(event), content_type="application/json")
            os.utime(
                url2pathname(urlsplit(folder_store.uri(event_key(event))).path), (two_minutes_ago, two_minutes_ago)
            )
    (entry,) = settle(folder_store, History(witness=True), [intent])
    assert entry.state is RequestState.FREE


def test_a_run_that_is_asked_to_end_does_not_wait_for_the_history_to_settle(folder_store):
    intent = open_intent()
    began = time.monotonic()
    (outcome,) = settle(folder_store, History(), [intent], settle_seconds=30.0, stopping=lambda: True)
    assert outcome.reason == "stopped before the account's history had settled"
    assert time.monotonic() - began < 2
    assert keys(folder_store, intent) == ["00-intent.json"]


def test_a_history_that_was_seen_far_behind_is_not_waited_for_by_the_run(folder_store):
    """Found by the disbelief matrix: ten times the age of what it never showed would be hours."""
    intent = open_intent()
    began = time.monotonic()
    (outcome,) = settle(folder_store, History(witness=True), [intent], lag_seconds=1000.0)
    assert outcome.reason.startswith("the account's history has not had the time to show it; ")
    assert time.monotonic() - began < 5
    assert keys(folder_store, intent) == ["00-intent.json"]


def test_two_generations_for_one_intent_are_both_kept(folder_store):
    intent = open_intent()
    history = History([found(intent, id="generation-2"), found(intent, id="generation-1")])
    (entry,) = settle(folder_store, history, [intent])
    assert entry.generations == ("generation-1", "generation-2")
