"""Claims about one run: everything wanted comes to its end, each end is reported, and nothing is bought again."""

import dataclasses

import pytest

from seedream_assets.config.account import LeonardoSettings
from seedream_assets.errors import AuthenticationFailed, StoreRefused
from seedream_assets.ledger.events import Completed, Failed
from seedream_assets.ledger.state import RequestState
from seedream_assets.ledger.store import final_key, read_event
from seedream_assets_tests.purchase.desk import CREDITS, make_paid_request, make_paid_requests
from seedream_assets_tests.purchase.fault_matrix import FullAfter


def ending(desk, request):
    return read_event(desk.store, final_key(request.request_id, desk.entry(request)))


def test_everything_demanded_is_bought_once_and_stored(desk):
    requests = make_paid_requests(5, count=2)
    report = desk.run(requests)
    assert report.requests == {"completed": 5}
    assert (report.images_stored, report.credits_booked, report.credits_quoted) == (10, 10 * CREDITS, 10 * CREDITS)
    assert report.stopped is None
    assert desk.bill["credits"] == report.credits_booked
    assert desk.judge(requests).is_clean


def test_a_second_run_buys_nothing(desk):
    requests = make_paid_requests(3)
    desk.run(requests)
    report = desk.run(requests)
    assert report.requests == {}
    assert desk.bill["generations"] == 3


def test_a_plan_that_is_out_of_date_buys_nothing_that_is_owned_by_now(desk):
    requests = make_paid_requests(3)
    planned = desk.tasks(requests)
    desk.run(requests)
    from seedream_assets.purchase.run import run_generation

    report = run_generation(desk.order(planned))
    assert report.requests == {"owned": 3}
    assert (desk.bill["generations"], report.credits_booked) == (3, 0)


def test_every_end_is_kept_with_its_reason(desk):
    good, blocked, failed, withheld, nsfw = requests = [
        make_paid_request("a cat", count=2),
        make_paid_request("emulate-blocked", count=2),
        make_paid_request("emulate-failed", count=2),
        make_paid_request("emulate-withheld", count=2),
        make_paid_request("emulate-nsfw", count=2),
    ]
    report = desk.run(requests)
    assert report.requests == {"completed": 3, "blocked": 2}
    assert isinstance(ending(desk, good), Completed)
    assert ending(desk, blocked).generation_id is None
    assert "moderation" in ending(desk, failed).reason
    assert [image.object_key is not None for image in ending(desk, withheld).images] == [False, True]
    assert "delivered 1 of 2" in ending(desk, withheld).images[0].reason
    assert [image.nsfw for image in ending(desk, nsfw).images] == [True, True]
    assert desk.run(requests).requests == {}


def test_a_job_that_failed_without_a_word_is_final(desk):
    request = make_paid_request("a cat")
    desk.fault("create", "failed")
    assert desk.run([request]).requests == {"failed": 1}
    desk.heal()
    assert desk.run([request]).requests == {}
    assert isinstance(ending(desk, request), Failed)
    assert desk.bill["generations"] == 1


def test_an_ending_says_who_bought_it_and_what_it_cost(desk):
    request = make_paid_request("a cat", count=2)
    report = desk.run([request], dagster_run_id="dagster-7")
    event = ending(desk, request)
    assert (event.run_id, event.dagster_run_id, event.dataset) == (report.run_id, "dagster-7", "scenes")
    assert (event.cost_amount, event.cost_unit, event.credits_quoted) == (2 * CREDITS, "CREDITS", 2 * CREDITS)


def test_a_refused_request_is_reported_and_may_be_tried_by_the_next_run(desk):
    request = make_paid_request("a cat")
    desk.fault("create", "error_before", status=400, message="no such style")
    report = desk.run([request])
    assert report.requests == {"failed": 1}
    assert "no such style" in report.notes[request.request_id]
    assert desk.entry(request) == dataclasses.replace(desk.entry(request), state=RequestState.FREE, attempt=1)
    desk.heal()
    assert desk.run([request]).requests == {"completed": 1}


def test_a_job_that_never_ends_is_left_with_its_id_and_not_bought_again(desk):
    request = make_paid_request("emulate-stuck")
    for _ in range(2):
        report = desk.run([request], engine={"give_up_after_seconds": 0.1})
        assert report.requests == {"pending": 1}
        assert "the next run goes on polling" in report.notes[request.request_id]
    assert desk.bill["generations"] == 1
    assert desk.state(request) is RequestState.SUBMITTED


def test_images_that_cannot_be_fetched_leave_the_request_pending_and_the_run_well(desk):
    requests = make_paid_requests(3)
    desk.fault("download", "not_found", prompt_contains="a cat 1")
    report = desk.run(requests)
    assert report.requests == {"completed": 2, "pending": 1}
    assert report.stopped is None
    assert "404" in report.notes[requests[1].request_id]
    desk.heal()
    assert desk.run(requests).requests == {"completed": 1}
    assert desk.judge(requests).is_clean


def test_a_deleted_generation_is_given_up_long_before_the_longest_wait(desk):
    request = make_paid_request("a cat")
    desk.fault("poll", "not_found")
    # Every look at the clock takes ten seconds: a minute of not being found passes in a few polls.
    ticks = iter(range(0, 100_000, 10))
    report = desk.run([request], clock=lambda: float(next(ticks)), engine={"lease_seconds": 10_000.0})
    assert report.requests == {"pending": 1}
    assert "was it deleted?" in report.notes[request.request_id]


def test_a_wrong_key_ends_the_run_with_an_error_and_buys_nothing(desk):
    wrong = LeonardoSettings(api_key="not-a-key", base_url=desk.emulator.base_url)
    order = dataclasses.replace(desk.order(desk.tasks(make_paid_requests(1))), leonardo=wrong)
    from seedream_assets.purchase.run import run_generation

    with pytest.raises(AuthenticationFailed):
        run_generation(order)
    assert desk.bill["generations"] == 0


def test_a_key_that_is_revoked_in_the_middle_ends_the_run_and_is_named_in_its_report(desk):
    requests = make_paid_requests(40)
    desk.fault("create", "error_before", status=401, message="Authentication hook unauthorized", skip=3)
    reports = []
    with pytest.raises(AuthenticationFailed):
        desk.run(requests, on_report=reports.append)
    assert reports[0].stopped == "refused"
    assert reports[0].requests["completed"] == 3
    assert reports[0].requests["not_sent"] == 37
    assert desk.bill["requests"]["creates"] < 3 + 2 * 14
    desk.heal()
    assert desk.run(requests).requests == {"completed": 37}
    assert desk.judge(requests).is_clean


def test_a_full_disk_ends_the_run_and_loses_nothing(desk):
    requests = make_paid_requests(12)
    desk.store = FullAfter(desk.store, 36)
    with pytest.raises(StoreRefused, match="make room"):
        desk.run(requests)
    desk.store.writes_left = None
    for _ in range(3):
        desk.run(requests)
    assert desk.judge(requests).is_clean


def test_a_surprise_in_one_request_leaves_the_others_alone(desk):
    requests = make_paid_requests(6)

    def surprise(step, request_id):
        if step == "after_submitted" and request_id == requests[2].request_id:
            raise ZeroDivisionError("a mistake of ours")

    report = desk.run(requests, on=surprise)
    assert report.requests == {"completed": 5, "pending": 1}
    assert "ZeroDivisionError: a mistake of ours" in report.notes[requests[2].request_id]
    assert desk.run(requests).requests == {"completed": 1}
    assert desk.judge(requests).is_clean


def test_the_same_surprise_ten_times_in_a_row_ends_the_run(desk):
    requests = make_paid_requests(60)

    def surprise(step, _request_id):
        if step == "before_intent":
            raise ZeroDivisionError("a mistake of ours")

    with pytest.raises(ZeroDivisionError):
        desk.run(requests, on=surprise)
    assert desk.bill["generations"] == 0


def test_a_run_of_refusals_for_one_reason_ends_the_run(desk):
    requests = make_paid_requests(80)
    desk.fault("create", "error_before", status=400, message="this account may not use the model")
    report = desk.run(requests)
    assert report.stopped == "refused"
    assert "in a row were refused" in report.stop_reason
    assert "may not use the model" in report.stop_reason
    assert desk.bill["requests"]["creates"] < 10 + 2 * 14


def test_a_run_of_lost_answers_ends_the_run_and_what_was_bought_is_found(desk):
    requests = make_paid_requests(80)
    desk.fault("create", "drop_after")
    report = desk.run(requests)
    assert report.stopped == "refused"
    assert "no answer that says whether" in report.stop_reason
    assert report.requests["completed"] == desk.bill["generations"]
    desk.heal()
    desk.run(requests)
    assert desk.judge(requests).is_clean


def test_progress_projects_what_is_booked_and_what_is_still_to_buy(desk):
    requests = make_paid_requests(4, count=2)
    seen = []
    desk.run(requests, credits_to_buy=8 * CREDITS, on_progress=seen.append, engine={"progress_seconds": 0.01})
    assert {progress.credits_projected for progress in seen} == {8 * CREDITS}
    assert (seen[-1].done, seen[-1].credits_spent) == (4, 8 * CREDITS)


def test_a_refused_request_is_no_longer_projected(desk):
    requests = [make_paid_request("a cat"), make_paid_request("emulate-blocked")]
    desk.run(requests, credits_to_buy=2 * CREDITS)
    assert desk.progress[-1].credits_projected == CREDITS
