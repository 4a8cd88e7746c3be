"""Claims about what a person may do by hand: see why a request is open, and decide it where no machine could."""

from datetime import UTC, datetime

import pytest

from seedream_assets.budget.dataset_budget import book_again
from seedream_assets.ledger.adopt import adopt_generation
from seedream_assets.ledger.by_hand import (
    NotByHand,
    find_request,
    list_open,
    release_all,
    release_request,
    show_request,
)
from seedream_assets.ledger.events import Released, Submitted, Writer, encode_event, event_key
from seedream_assets.ledger.state import RequestState
from seedream_assets_tests.purchase.desk import make_paid_request, make_paid_requests
from seedream_assets_tests.support.builders import make_intent


@pytest.fixture
def uncertain(desk):
    """A request that was bought, whose answer was lost, and whose history could not be read."""
    request = make_paid_request("a cat")
    desk.fault("create", "drop_after", times=1)
    desk.fault("history", "error_before")
    assert desk.run([request]).requests == {"uncertain": 1}
    desk.heal()
    return request


def generation_of(desk):
    return desk.emulator.account.bill()["details"][0]["generation_id"]


def test_open_requests_are_listed_with_what_a_person_needs(desk, uncertain):
    (found,) = list_open(desk.store)[0]
    assert (found.intent.request_id, found.intent.prompt) == (uncertain.request_id, "a cat")
    assert not found.in_hands
    assert "the next run looks it up" in found.reason


def test_the_reason_of_the_run_that_left_it_is_reported(desk, uncertain):
    key = "datasets/scenes/runs/all.json"
    body = f'{{"notes": {{"{uncertain.request_id}": "the history cannot be read"}}}}'.encode()
    desk.store.replace(key, body, content_type="application/json")
    assert list_open(desk.store)[0][0].reason.startswith("the history cannot be read; ")


def test_nothing_open_is_an_empty_list(desk):
    desk.run(make_paid_requests(2))
    assert list_open(desk.store) == ([], [])


def test_a_request_is_found_by_the_beginning_of_its_id(desk, uncertain):
    desk.run(make_paid_requests(3, words="a dog"))
    assert find_request(desk.store, uncertain.request_id[:12]) == uncertain.request_id
    for beginning, words in (("", "4 requests with an id"), ("zz", "0 requests with an id")):
        with pytest.raises(NotByHand, match=words):
            find_request(desk.store, beginning)


def test_a_request_s_events_are_shown_in_order(desk, uncertain):
    desk.run([uncertain])
    entry, events = show_request(desk.store, uncertain.request_id)
    assert entry.state is RequestState.COMPLETED
    assert [event.event for event in events] == ["completed", "intent", "submitted"]
    with pytest.raises(NotByHand, match="knows no request"):
        show_request(desk.store, "0" * 64)


def test_an_adopted_generation_is_stored_by_the_next_run_and_not_bought_again(desk, uncertain):
    entry = adopt_generation(
        desk.store, uncertain.request_id, generation_of(desk), desk.leonardo, book_again=book_again
    )
    assert entry.state is RequestState.SUBMITTED
    assert desk.run([uncertain]).requests == {"completed": 1}
    assert desk.bill["generations"] == 1
    submitted = [event for event in show_request(desk.store, uncertain.request_id)[1] if isinstance(event, Submitted)]
    assert [(event.adopted, event.writer.engine_id) for event in submitted] == [(True, "by-hand")]


def test_a_released_request_is_bought_by_the_next_run_with_the_reason_kept(desk):
    request = make_paid_request("a cat")
    desk.fault("create", "drop_before", times=1)
    desk.fault("history", "error_before")
    desk.run([request])
    desk.heal()
    entry = release_request(desk.store, request.request_id, "the account shows no such picture")
    assert (entry.state, entry.attempt) == (RequestState.FREE, 1)
    assert desk.run([request]).requests == {"completed": 1}
    released = [event for event in show_request(desk.store, request.request_id)[1] if isinstance(event, Released)]
    assert [(event.why, event.reason) for event in released] == [("by_hand", "the account shows no such picture")]


@pytest.mark.parametrize("words", ["a cat", "emulate-blocked", "emulate-failed", "emulate-stuck"])
def test_what_is_paid_for_or_has_ended_is_never_released_or_given_another_generation(desk, words):
    request = make_paid_request(words)
    desk.run([request], engine={"give_up_after_seconds": 0.1})
    with pytest.raises(NotByHand, match="not open"):
        release_request(desk.store, request.request_id, "no reason")
    with pytest.raises(NotByHand, match="not open"):
        adopt_generation(desk.store, request.request_id, "some-generation", desk.leonardo, book_again=book_again)


def test_a_generation_that_belongs_to_another_request_is_not_adopted(desk, uncertain):
    other = make_paid_request("a dog")
    desk.run([other])
    theirs = next(event for event in show_request(desk.store, other.request_id)[1] if isinstance(event, Submitted))
    with pytest.raises(NotByHand, match="belongs to request"):
        adopt_generation(
            desk.store, uncertain.request_id, theirs.generation_id, desk.leonardo, book_again=book_again, force=True
        )
    assert desk.state(uncertain) is RequestState.OPEN


def test_nobody_decides_over_a_run_that_lives(desk):
    request = make_paid_request("a cat")
    writer = Writer(engine_id="theirs", nonce="n", host="another machine", boot_id="b", pid=7)
    desk.store.replace("leases/theirs.json", b'{"lease_seconds": 600.0}', content_type="application/json")
    intent = make_intent(request, writer=writer, at=datetime.now(UTC))
    desk.store.create(event_key(intent), encode_event(intent), content_type="application/json")
    assert list_open(desk.store)[0][0].in_hands
    with pytest.raises(NotByHand, match="in the hands of a run on another machine, process 7"):
        release_request(desk.store, request.request_id, "no reason")
    assert desk.state(request) is RequestState.OPEN


def test_all_open_requests_are_released_but_those_that_a_run_works_on(desk):
    mine, theirs = make_paid_requests(3), make_paid_request("a cow")
    desk.fault("create", "drop_before", times=3)
    desk.fault("history", "error_before")
    desk.run(mine)
    desk.heal()
    writer = Writer(engine_id="theirs", nonce="n", host="another machine", boot_id="b", pid=7)
    desk.store.replace("leases/theirs.json", b'{"lease_seconds": 600.0}', content_type="application/json")
    intent = make_intent(theirs, writer=writer, at=datetime.now(UTC))
    desk.store.create(event_key(intent), encode_event(intent), content_type="application/json")
    found = release_all(desk.store, "the account was looked through")
    assert [found[request.request_id].state for request in mine] == [RequestState.FREE] * 3
    assert isinstance(found[theirs.request_id], NotByHand)
    assert desk.state(theirs) is RequestState.OPEN
    assert release_all(desk.store, "again").keys() == {theirs.request_id}


def test_an_event_that_is_not_known_is_shown_by_name_and_nothing_is_decided_over_it(desk, uncertain):
    key = f"requests/{uncertain.request_id}/00-refunded.json"
    desk.store.create(key, b"{}", content_type="application/json")
    entry, events = show_request(desk.store, uncertain.request_id)
    assert entry.unknown == ("00-refunded.json",)
    assert [event.event for event in events] == ["intent"]
    with pytest.raises(NotByHand, match="00-refunded.json.*update seedream-assets"):
        release_request(desk.store, uncertain.request_id, "no reason")
