"""Claims about single moments of recovery that no test over a whole run meets reliably."""

import asyncio
import time
from datetime import UTC, datetime

from seedream_assets.core.generations import HistoryPage
from seedream_assets.core.ledger import RequestState
from seedream_assets.core.ledger_events import Released, Writer
from seedream_assets.generation.async_store import AsyncStore
from seedream_assets.generation.lease import Lease
from seedream_assets.generation.ledger_store import Ledger
from seedream_assets.generation.recovery import Recovery
from seedream_assets.leonardo.retries import RetryPolicy
from seedream_assets_tests.core.builders import make_generation, make_intent

DEAD = Writer(engine_id="dead", nonce="n", host="another machine", boot_id="b", pid=7)


class History:
    """An account's history; `before_answer` happens while it is read."""

    def __init__(self, generations=(), before_answer=None):
        self.generations = list(generations)
        self.before_answer = before_answer
        self.reads = 0

    async def read_history(self, _user_id, *, offset, limit):
        self.reads += 1
        if offset == 0 and self.before_answer is not None:
            await self.before_answer()
        return HistoryPage(generations=tuple(self.generations[offset : offset + limit]))


class GrowingHistory(History):
    """Others make generations while it is read: everything moves down by one with every page."""

    async def read_history(self, user_id, *, offset, limit):
        page = await super().read_history(user_id, offset=offset, limit=min(limit, 3))
        if self.reads <= 12:
            self.generations.insert(0, found(open_intent(), id=f"web-{self.reads}", seed=1))
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
        ledger = Ledger(store)
        lease = Lease(store, seconds=60, sleep=asyncio.sleep, clock=time.monotonic)
        await lease.start()
        for intent in intents:
            await ledger.write(intent)
        recovery = Recovery(
            store=store,
            ledger=ledger,
            client=history,
            lease=lease,
            user_id="user",
            lease_seconds=60,
            settle_seconds=settle_seconds,
            pages=10,
            policy=RetryPolicy(attempts=1),
            sleep=sleep,
            clock=time.monotonic,
            stopping=options.get("stopping", lambda: False),
            at_step=lambda _step, _request_id: None,
        )
        history.ledger = ledger
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
    (standing,) = settle(folder_store, history, [intent])
    assert (standing.state, standing.attempt) == (RequestState.OPEN, 1)
    assert keys(folder_store, intent) == ["00-intent.json", "00-released.json", "01-intent.json"]


def test_a_generation_that_another_request_has_claimed_is_left_to_it(folder_store):
    intent = open_intent()
    folder_store.create("adoptions/generation-1.json", b"{}", content_type="application/json")
    (told,) = settle(folder_store, History([found(intent)]), [intent])
    assert told == "generation generation-1 in the account's history is claimed by another request"


def test_an_adoption_that_was_cut_short_is_carried_on(folder_store):
    """Killed between the claim of the generation and `submitted`."""
    intent = open_intent()
    settle(folder_store, History([found(intent)]), [intent])
    folder_store.delete(f"requests/{intent.request_id}/00-submitted-generation-1.json")
    (standing,) = settle(folder_store, History([found(intent)]), [intent])
    assert standing.state is RequestState.SUBMITTED


def test_looks_into_the_history_are_shared_and_spaced(folder_store):
    from seedream_assets_tests.generation.desk import make_paid_requests

    intents = [open_intent(request=request) for request in make_paid_requests(30)]
    history = History()
    standings = settle(folder_store, history, intents, settle_seconds=1.0)
    assert {standing.state for standing in standings} == {RequestState.FREE}
    # At most one look in a tenth of the settling time, however many wait.
    assert history.reads <= 14


def test_a_history_that_grows_while_it_is_read_is_read_to_its_end(folder_store):
    intent = open_intent()
    history = GrowingHistory([found(intent, id=f"web-{number}", seed=1) for number in range(-4, 0)])
    (standing,) = settle(folder_store, history, [intent])
    assert standing.state is RequestState.FREE


def test_a_history_that_knows_no_offset_proves_nothing(folder_store):
    intent = open_intent()
    (told,) = settle(folder_store, StubbornHistory([found(intent, id="web", seed=1)]), [intent])
    assert "could not be read back" in told


def test_a_run_that_is_asked_to_end_does_not_wait_for_the_history_to_settle(folder_store):
    intent = open_intent()
    began = time.monotonic()
    (told,) = settle(folder_store, History(), [intent], settle_seconds=30.0, stopping=lambda: True)
    assert told == "stopped before the account's history had settled"
    assert time.monotonic() - began < 2
    assert keys(folder_store, intent) == ["00-intent.json"]


def test_two_generations_for_one_intent_are_both_kept(folder_store):
    intent = open_intent()
    history = History([found(intent, id="generation-2"), found(intent, id="generation-1")])
    (standing,) = settle(folder_store, history, [intent])
    assert standing.generations == ("generation-1", "generation-2")
