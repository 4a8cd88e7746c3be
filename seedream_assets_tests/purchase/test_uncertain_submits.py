"""Claims about submits without an answer: never repeated blindly, found in the history, or left for a person."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from seedream_assets.ledger.events import Released, Submitted, Writer, encode_event, event_key
from seedream_assets.ledger.state import RequestState
from seedream_assets.ledger.store import read_event
from seedream_assets_tests.purchase.desk import make_paid_request, make_paid_requests
from seedream_assets_tests.support.builders import make_intent

DEAD = Writer(engine_id="dead", nonce="n", host="another machine", boot_id="b", pid=7)


def events(desk, request):
    return [read_event(desk.store, info.key) for info in desk.store.list(f"requests/{request.request_id}/")]


def leave_intent(desk, request, **changes):
    """What a process leaves behind that died between intent and POST, or between POST and `submitted`."""
    intent = make_intent(request, writer=DEAD, at=datetime.now(UTC), **changes)
    desk.store.create(event_key(intent), encode_event(intent), content_type="application/json")


@pytest.mark.parametrize("kind", ["drop_after", "error_after", "html_after", "empty", "cut", "hang"])
def test_an_accepted_submit_whose_answer_is_lost_is_adopted(desk, kind):
    requests = make_paid_requests(4)
    desk.fault("create", kind, **({"seconds": 5} if kind == "hang" else {}))
    report = desk.run(requests, leonardo={"answer_seconds": 0.3, "connect_seconds": 0.1})
    assert report.requests == {"completed": 4}
    assert report.credits_booked == desk.bill["credits"]
    assert desk.bill["generations"] == 4
    assert [event.adopted for event in events(desk, requests[0]) if isinstance(event, Submitted)] == [True]
    assert desk.judge(requests).is_clean


@pytest.mark.parametrize("kind", ["drop_before", "error_before", "html"])
def test_a_submit_that_was_not_accepted_is_released_and_bought_once(desk, kind):
    requests = make_paid_requests(4)
    desk.fault("create", kind, times=1)
    report = desk.run(requests)
    # What was bought after it shows in the history, and it does not.
    assert report.requests == {"completed": 4}
    released = [event for event in events(desk, requests[0]) if isinstance(event, Released)]
    assert [event.why for event in released] == ["not_in_history"]
    assert desk.judge(requests).is_clean


def test_a_lost_answer_stays_uncertain_until_the_history_shows_what_was_bought_later(desk):
    requests = make_paid_requests(4)
    desk.fault("create", "drop_before", times=4)
    report = desk.run(requests)
    assert report.requests == {"uncertain": 4}
    assert "the next image that is bought will show more" in report.notes[requests[0].request_id]
    assert all("`seedream ledger release`" in reason for reason in report.notes.values())
    assert desk.run(requests).requests == {"uncertain": 4}
    assert desk.run_with_witness(requests).requests == {"completed": 4}
    assert desk.bill["generations"] == 5


def test_a_second_loss_is_not_bought_again_on_the_same_day(desk):
    request = make_paid_request("a cat")
    desk.fault("create", "drop_before", prompt_contains="a cat")
    desk.run_with_witness([request])
    assert (desk.state(request), desk.entry(request).attempt) == (RequestState.OPEN, 1)
    desk.heal()
    report = desk.run_with_witness([request])
    assert report.requests == {"uncertain": 1}
    assert "a second time" in report.notes[request.request_id]


def test_nothing_is_released_before_the_history_has_settled(start_desk):
    desk = start_desk(history_lag_seconds=0.8)
    requests = make_paid_requests(3)
    desk.fault("create", "drop_after")
    report = desk.run(requests, engine={"history_settle_seconds": 1.6})
    assert report.requests == {"completed": 3}
    assert desk.bill["generations"] == 3


def test_a_history_that_cannot_be_read_leaves_the_request_uncertain_and_says_so(desk):
    requests = make_paid_requests(2)
    desk.fault("create", "drop_after")
    desk.fault("history", "error_before", status=503)
    report = desk.run(requests)
    assert report.requests == {"uncertain": 2}
    assert "history cannot be read" in report.notes[requests[0].request_id]
    assert desk.state(requests[0]) is RequestState.OPEN
    desk.heal()
    assert desk.run(requests).requests == {"completed": 2}
    assert desk.judge(requests).is_clean


def test_credits_of_an_uncertain_request_stay_reserved_until_it_is_known(desk):
    requests = make_paid_requests(2)
    desk.fault("create", "drop_after", prompt_contains="a cat 0")
    desk.fault("history", "error_before", status=503)
    budget = {"max_credits_total": 2 * 28}
    desk.run(requests, budget=budget)
    assert desk.run(make_paid_requests(2, words="a dog"), budget=budget).requests == {"not_sent": 2}
    desk.heal()
    desk.run(requests, budget=budget)
    assert desk.judge(requests).is_clean
    assert desk.bill["credits"] == 2 * 28


def test_one_look_into_the_history_serves_every_open_intent(desk):
    requests = make_paid_requests(12)
    desk.fault("create", "drop_after")
    desk.run(requests)
    # Each look costs three pages, the last of them empty, and the requests go one by one while no answer has come.
    assert desk.bill["requests"]["history"] <= 3 * 14


def test_a_history_of_several_pages_is_read_to_the_submit(start_desk):
    desk = start_desk(history_limit=3)
    desk.run(make_paid_requests(9, words="noise"))
    requests = make_paid_requests(8)
    desk.fault("create", "drop_after")
    assert desk.run(requests).requests == {"completed": 8}
    assert desk.bill["generations"] == 17


@pytest.mark.parametrize(("pages", "expected"), [(2, "completed"), (1, "completed")])
def test_the_next_look_goes_on_where_the_bound_has_ended_the_last(start_desk, pages, expected):
    desk = start_desk(history_limit=3)
    (request,) = make_paid_requests(1)
    desk.run(make_paid_requests(9, words="noise"))
    desk.fault("create", "drop_before", times=1)
    assert desk.run_with_witness([request], engine={"history_pages": pages}).requests == {expected: 1}
    assert desk.bill["generations"] == 11


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_dead_machine_s_wrong_clock_changes_nothing(desk, hours):
    request = make_paid_request("a cat")
    intent = make_intent(request, writer=DEAD)
    intent = dataclasses.replace(intent, at=datetime.now(UTC) + timedelta(hours=hours))
    desk.store.create(event_key(intent), encode_event(intent), content_type="application/json")
    report = desk.run_with_witness([request])
    if hours < 0:  # it may as well have been copied here an hour later
        assert report.requests == {"uncertain": 1}
        assert "long after it was written" in report.notes[request.request_id]
    else:
        assert report.requests == {"completed": 1}
        assert desk.bill["generations"] == 2


def test_what_a_dead_run_bought_is_stored_and_not_bought_again(desk):
    bought, unsent = make_paid_requests(2)
    desk.fault("create", "drop_after")
    desk.run([bought], engine={"history_settle_seconds": 0.0, "history_pages": 1}, on=stop_before_adoption)
    desk.heal()
    leave_intent(desk, unsent)
    assert desk.run([bought, unsent]).requests == {"completed": 1, "uncertain": 1}
    assert desk.run_with_witness([unsent]).requests == {"completed": 1}
    assert desk.bill["generations"] == 3
    assert desk.judge([bought, unsent]).billed_twice == 0


def stop_before_adoption(step, _request_id):
    if step == "after_adoption":
        raise RuntimeError("died here")


def test_twins_that_the_history_cannot_distinguish_are_left_to_a_person(desk):
    """Same row's seed, prompt and size; they differ in a style, which the history does not show."""
    from seedream_assets.leonardo.requests import GenerationSpec, make_request
    from seedream_assets_tests.purchase.desk import MODEL

    styles = [name for name in MODEL.allowed_styles if name != "None"][:2]
    twins = [
        make_request(
            GenerationSpec(
                model=MODEL.name, prompt="a cat", width=64, height=48, style=style, prompt_enhance="OFF", seed=5
            ),
            start=0,
            count=1,
            model=MODEL,
        )
        for style in styles
    ]
    leave_intent(desk, twins[1])
    desk.fault("create", "drop_after", times=1)
    report = desk.run(twins)
    assert report.requests == {"uncertain": 2}
    assert "differ only in what the history does not show" in report.notes[twins[0].request_id]
    assert desk.bill["generations"] == 1


def test_a_generation_of_the_web_app_with_another_seed_is_nobody_s(desk):
    request = make_paid_request("a cat")
    from seedream_assets.emulator.jobs import Order

    desk.emulator.account.add_web_app_generation(
        Order(
            model=request.spec.model,
            prompt="a cat",
            width=64,
            height=48,
            quantity=1,
            seed=request.seed + 1,
            style_ids=(),
            prompt_enhance="OFF",
            references=(),
            public=False,
        )
    )
    desk.fault("create", "drop_before", times=1)
    report = desk.run([request])
    assert report.requests == {"uncertain": 1}
    assert "not known to show seeds" in report.notes[request.request_id]
    assert desk.run_with_witness([request]).requests == {"completed": 1}
    assert desk.bill["generations"] == 2
