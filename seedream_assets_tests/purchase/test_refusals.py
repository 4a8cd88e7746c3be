"""Claims about refusals: each kind is held against the history once, before anything rests on it."""

import pytest

from seedream_assets.ledger.events import Released, Submitted
from seedream_assets.ledger.state import RequestState
from seedream_assets.ledger.store import read_event
from seedream_assets_tests.purchase.desk import make_paid_requests


def events(desk, request):
    return [read_event(desk.store, info.key) for info in desk.store.list(f"requests/{request.request_id}/")]


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 400},
        {"status": 401},
        {"status": 402},
        {"status": 403},
        {"status": 404},
        {"status": 413},
        {"status": 422},
        {"status": 400, "message": "content moderation filter: cat"},
    ],
    ids=str,
)
def test_a_request_that_was_accepted_and_answered_with_a_refusal_is_adopted(desk, answer):
    requests = make_paid_requests(3)
    desk.fault("create", "error_after", **({"message": "no"} | answer))
    assert desk.run(requests).requests == {"completed": 3}
    assert desk.bill["generations"] == 3
    assert [event.adopted for event in events(desk, requests[0]) if isinstance(event, Submitted)] == [True]
    assert desk.judge(requests).is_clean


@pytest.mark.parametrize("status", [400, 422])
def test_a_refusal_that_is_true_stands_after_one_look(desk, status):
    requests = make_paid_requests(6)
    desk.fault("create", "error_before", status=status, message="no", prompt_contains="a cat")
    report = desk.run(requests)
    assert report.requests == {"failed": 6}
    assert [event.why for event in events(desk, requests[0]) if isinstance(event, Released)] == ["refused"]
    assert desk.bill["generations"] == 0
    assert desk.bill["requests"]["history"] <= 3


def test_a_refusal_that_was_untrue_is_found_out_before_the_request_is_bought_again(desk):
    """The first of its kind was true, so the kind was believed; the next run looks again."""
    requests = make_paid_requests(3)
    desk.fault("create", "error_before", status=400, message="no", times=1)
    desk.fault("create", "error_after", status=400, message="no")
    assert desk.run(requests).requests == {"failed": 3}
    desk.heal()
    assert desk.run(requests).requests == {"completed": 3}
    assert desk.bill["generations"] == 3
    assert desk.judge(requests).is_clean


def test_a_refusal_stands_where_the_history_cannot_be_read(desk):
    desk.fault("create", "error_before", status=422, message="no")
    desk.fault("history", "error_before", status=503)
    assert desk.run(make_paid_requests(2)).requests == {"failed": 2}


@pytest.mark.parametrize("times", [1, 3])
def test_a_request_that_was_accepted_and_answered_with_429_is_sent_once(desk, times):
    requests = make_paid_requests(3)
    desk.fault("create", "error_after", status=429, message="Too many requests", times=times)
    assert desk.run(requests).requests == {"completed": 3}
    assert desk.bill["generations"] == 3
    assert desk.bill["duplicates"] == 0


def test_a_429_is_looked_up_before_a_request_is_sent_a_third_time(desk):
    """The first was true, so 429 is believed once; the second was not."""
    (request,) = make_paid_requests(1)
    desk.fault("create", "rate_limit", times=1, retry_after=0)
    desk.fault("create", "error_after", status=429, message="Too many requests", skip=1)
    assert desk.run([request]).requests == {"completed": 1}
    assert desk.bill["generations"] == 1


def test_what_a_refused_request_waits_for_is_reported(desk):
    desk.fault("create", "rate_limit", times=1, retry_after=0)
    desk.fault("history", "slow", seconds=0.5, times=1)
    desk.run(make_paid_requests(1), engine={"progress_seconds": 0.02})
    messages = {progress.waiting for progress in desk.progress} - {None}
    assert any(waiting.startswith("a refused request is looked up in the account's history") for waiting in messages)
    assert desk.progress[-1].waiting is None


@pytest.mark.parametrize(
    "fault", [{"kind": "redirect"}, {"kind": "redirect", "status": 307}, {"kind": "html", "status": 403}], ids=str
)
def test_what_is_not_leonardo_stops_buying_after_one_request(desk, fault):
    requests = make_paid_requests(20)
    desk.fault("create", **fault)
    report = desk.run(requests)
    assert report.requests == {"uncertain": 1, "not_sent": 19}
    assert report.stopped == "refused"
    assert "nothing more is bought" in report.stop_reason
    assert [desk.state(request) for request in requests].count(RequestState.OPEN) == 1
