"""Claims about what comes after an end: an adoption taken back, late images, and events that nobody here knows.

As in `test_ledger`, every set of events is looked at, of a life in which a second attempt follows a retraction.
"""

import itertools

import pytest

from seedream_assets.ledger.events import EventKey
from seedream_assets.ledger.state import LedgerEntry, RequestState, fold, fold_all, in_force, owners_of

REQUEST_ID, OTHER_ID = "a" * 64, "b" * 64


def key(attempt, event, generation=None, name=None, request_id=REQUEST_ID):
    return EventKey(request_id, attempt, event, generation, name)


UNKNOWN = EventKey(REQUEST_ID, 0, "unknown", name="00-refunded.json")
RETRACTIONS = [key(0, "retracted", "g"), key(0, "retracted", "h"), key(1, "retracted", "g")]
EVERY_EVENT = [
    *(key(0, event) for event in ("intent", "released", "completed", "failed")),
    *(key(0, "submitted", generation) for generation in ("g", "h")),
    key(0, "recollected", name="1"),
    *(key(1, event) for event in ("intent", "completed")),
    key(1, "submitted", "g"),
    *RETRACTIONS,
]
ENTRIES = {
    events: fold(events)
    for size in range(len(EVERY_EVENT) + 1)
    for events in map(frozenset, itertools.combinations(EVERY_EVENT, size))
}


def live(events):
    """The submits that nobody took back, by attempt, said in another way than the fold says it."""
    return {
        (event.attempt, event.generation)
        for event in events
        if event.event == "submitted" and key(event.attempt, "retracted", event.generation) not in events
    }


def is_void(events, attempt):
    taken_back = any(event.event == "retracted" and event.attempt == attempt for event in events)
    return taken_back and not any(own == attempt for own, _ in live(events))


def test_a_generation_that_was_taken_back_is_not_owned_and_no_other_is_lost():
    for events, entry in ENTRIES.items():
        owned = {generation for _, generation in live(events)}
        assert entry.generations == tuple(sorted(owned))
        assert owners_of(list(events)) == dict.fromkeys(owned, REQUEST_ID)
        assert entry.retracted == tuple(sorted({event.generation for event in events if event in RETRACTIONS}))


def test_the_end_of_an_attempt_counts_while_one_of_its_submits_does():
    for events, entry in ENTRIES.items():
        ended = {event.attempt for event in events if event.event == "completed" and not is_void(events, event.attempt)}
        assert (entry.state is RequestState.COMPLETED) == bool(ended)
        if ended:
            assert entry.attempt == min(ended)


def test_what_is_still_owned_is_never_bought_again():
    for events, entry in ENTRIES.items():
        if live(events):
            assert entry.state not in (RequestState.FREE, RequestState.OPEN)


def test_taking_back_frees_nothing_that_was_not_released():
    for events, entry in ENTRIES.items():
        if entry.state is RequestState.FREE and events:
            assert key(entry.attempt - 1, "released") in events


def test_late_images_change_no_state_and_are_reported_where_the_end_that_they_complete_counts():
    late = key(0, "recollected", name="1")
    for events, entry in ENTRIES.items():
        without = ENTRIES[events - {late}] if events != {late} else entry
        assert (entry.state, entry.attempt) == (without.state, without.attempt)
        counts = late in events and entry.is_final and entry.attempt == 0 and not is_void(events, 0)
        assert entry.recollected == ((1,) if counts else ())


def test_nothing_is_said_of_a_request_with_an_event_that_is_not_known():
    for events, entry in ENTRIES.items():
        marked = fold([*events, UNKNOWN])
        assert marked.state is RequestState.UNKNOWN
        assert not marked.is_final
        assert marked.generations == entry.generations
        assert "00-refunded.json" in marked.why_untouched
        assert "update seedream-assets" in marked.why_untouched


def test_an_unknown_event_of_one_request_says_nothing_of_another():
    found = fold_all([UNKNOWN, key(0, "intent", request_id=OTHER_ID)])
    assert [found[name].state for name in (REQUEST_ID, OTHER_ID)] == [RequestState.UNKNOWN, RequestState.OPEN]


def test_an_untouched_request_is_read_by_its_latest_intent():
    assert fold([key(0, "intent"), key(1, "intent"), UNKNOWN]).attempt == 1
    assert fold([UNKNOWN]) == LedgerEntry(state=RequestState.UNKNOWN, attempt=0, unknown=("00-refunded.json",))


INTENT, SUBMIT, TAKEN_BACK = key(0, "intent"), key(0, "submitted", "g"), key(0, "retracted", "g")


@pytest.mark.parametrize(
    ("events", "state", "attempt"),
    [
        ([INTENT, SUBMIT, TAKEN_BACK], RequestState.OPEN, 0),
        # The intent is repeated before the adoption is taken back; a crash between the two changes nothing.
        ([INTENT, SUBMIT, key(1, "intent")], RequestState.SUBMITTED, 0),
        ([INTENT, SUBMIT, key(0, "completed"), key(1, "intent")], RequestState.COMPLETED, 0),
        ([INTENT, SUBMIT, key(0, "completed"), TAKEN_BACK, key(1, "intent")], RequestState.OPEN, 1),
        ([INTENT, SUBMIT, TAKEN_BACK, key(1, "intent"), key(1, "submitted", "g")], RequestState.SUBMITTED, 1),
        ([INTENT, key(0, "submitted", "h"), SUBMIT, TAKEN_BACK, key(0, "failed")], RequestState.FAILED, 0),
        ([INTENT, key(0, "released"), SUBMIT, TAKEN_BACK], RequestState.FREE, 1),
    ],
)
def test_a_life_with_a_mistake_in_it_stands_where_a_person_would_say(events, state, attempt):
    entry = fold(events)
    assert (entry.state, entry.attempt) == (state, attempt)


def test_the_right_owner_owns_what_was_taken_back():
    theirs = [key(0, "intent", request_id=OTHER_ID), key(0, "submitted", "g", request_id=OTHER_ID)]
    mine = [INTENT, SUBMIT, TAKEN_BACK]
    assert owners_of([*mine, *theirs]) == owners_of([*theirs, *mine]) == {"g": OTHER_ID}
    assert list(in_force(theirs)) == theirs
