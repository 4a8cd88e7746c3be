"""Claims about the state of a request, for every set of events that two attempts can leave behind."""

import itertools
import random
from collections.abc import Iterator

import pytest

from seedream_assets.ledger.events import EventKey
from seedream_assets.ledger.state import FRESH, LedgerEntry, RequestState, fold, fold_all

REQUEST_ID = "a" * 64
FINAL = (RequestState.COMPLETED, RequestState.FAILED, RequestState.BLOCKED)
Events = frozenset[EventKey]


def key(attempt: int, event: str, generation: str | None = None) -> EventKey:
    return EventKey(REQUEST_ID, attempt, event, generation)


def parts(attempt: int) -> list[EventKey]:
    """Every event that one attempt can have; it can be billed twice when a rule outside the ledger was broken."""
    plain = [key(attempt, event) for event in ("intent", "completed", "failed", "blocked", "released")]
    return [*plain, *(key(attempt, "submitted", f"g-{attempt}-{number}") for number in (1, 2))]


EVERY_EVENT = [*parts(0), *parts(1)]


def subsets() -> Iterator[Events]:
    for size in range(len(EVERY_EVENT) + 1):
        yield from map(frozenset, itertools.combinations(EVERY_EVENT, size))


ENTRIES: dict[Events, LedgerEntry] = {events: fold(events) for events in subsets()}


def having(events: Events, *names: str) -> list[EventKey]:
    return [event for event in events if event.event in names]


def test_every_set_of_events_has_one_standing_in_any_order():
    order = random.Random(1)
    assert len(ENTRIES) == 2**14
    for events, entry in ENTRIES.items():
        assert isinstance(entry.state, RequestState)
        assert entry.is_final == (entry.state in FINAL)
        listed = sorted(events, key=str)
        assert fold(listed) == fold(reversed(listed)) == fold(order.sample(listed, len(listed))) == entry


def test_a_result_that_is_there_is_the_result():
    for events, entry in ENTRIES.items():
        if having(events, "completed"):
            assert entry.state is RequestState.COMPLETED
        assert (entry.state is RequestState.COMPLETED) == bool(having(events, "completed"))


def test_an_attempt_that_ended_without_a_result_is_final_until_there_is_one():
    for events, entry in ENTRIES.items():
        if having(events, "failed", "blocked") and not having(events, "completed"):
            assert entry.state is (RequestState.FAILED if having(events, "failed") else RequestState.BLOCKED)


def test_what_is_paid_for_is_never_bought_again():
    for events, entry in ENTRIES.items():
        if having(events, "submitted"):
            assert entry.state not in (RequestState.FREE, RequestState.OPEN)


def test_every_generation_that_was_ever_known_stays_known():
    for events, entry in ENTRIES.items():
        assert entry.generations == tuple(sorted(str(event.generation) for event in having(events, "submitted")))


def test_a_request_is_free_only_where_nobody_began_or_the_latest_attempt_is_proven_to_have_bought_nothing():
    for events, entry in ENTRIES.items():
        if entry.state is not RequestState.FREE:
            continue
        assert not having(events, "submitted", "completed", "failed", "blocked")
        latest = max((event.attempt for event in events), default=None)
        assert latest is None or key(latest, "released") in events


def test_an_open_request_has_an_intent_and_no_word_what_became_of_it():
    for events, entry in ENTRIES.items():
        if entry.state is RequestState.OPEN:
            assert {event.event for event in events if event.attempt == entry.attempt} == {"intent"}


def test_a_standing_rests_on_an_attempt_that_holds_its_event_and_a_free_one_begins_the_next():
    for events, entry in ENTRIES.items():
        attempts = {event.attempt for event in events}
        if entry.state is RequestState.FREE:
            assert entry.attempt == max(attempts, default=-1) + 1
        else:
            holding = "intent" if entry.state is RequestState.OPEN else entry.state.value
            found = {event.attempt for event in having(events, holding)}
            assert entry.attempt == (max(found) if entry.state is RequestState.OPEN else min(found))


def test_no_event_undoes_an_end_or_a_submit():
    for events, entry in ENTRIES.items():
        for event in EVERY_EVENT:
            after = ENTRIES[events | {event}]
            assert after.is_final or not entry.is_final
            if entry.state is RequestState.SUBMITTED:
                assert after.is_final or after.state is RequestState.SUBMITTED
            assert set(after.generations) >= set(entry.generations)


@pytest.mark.parametrize(
    ("events", "entry"),
    [
        ([], FRESH),
        ([key(0, "intent")], LedgerEntry(state=RequestState.OPEN, attempt=0)),
        ([key(0, "intent"), key(0, "released")], LedgerEntry(state=RequestState.FREE, attempt=1)),
        (
            [key(0, "intent"), key(0, "released"), key(1, "intent")],
            LedgerEntry(state=RequestState.OPEN, attempt=1),
        ),
        (
            [key(0, "intent"), key(0, "submitted", "g")],
            LedgerEntry(state=RequestState.SUBMITTED, attempt=0, generations=("g",)),
        ),
        (
            [key(0, "intent"), key(0, "released"), key(0, "submitted", "g"), key(1, "intent")],
            LedgerEntry(state=RequestState.SUBMITTED, attempt=0, generations=("g",)),
        ),
        (
            [key(0, "submitted", "g"), key(1, "submitted", "h"), key(1, "completed"), key(0, "failed")],
            LedgerEntry(state=RequestState.COMPLETED, attempt=1, generations=("g", "h")),
        ),
        ([key(10, "intent"), key(9, "released")], LedgerEntry(state=RequestState.OPEN, attempt=10)),
    ],
)
def test_a_life_of_a_request_stands_where_a_person_would_say(events, entry):
    assert fold(events) == entry


def test_many_requests_are_kept_apart():
    other = "b" * 64
    keys = [key(0, "intent"), EventKey(other, 0, "intent"), EventKey(other, 0, "submitted", "g")]
    assert fold_all(keys) == {
        REQUEST_ID: LedgerEntry(state=RequestState.OPEN, attempt=0),
        other: LedgerEntry(state=RequestState.SUBMITTED, attempt=0, generations=("g",)),
    }
    assert fold_all([]) == {}
