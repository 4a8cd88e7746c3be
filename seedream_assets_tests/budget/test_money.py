"""Claims about money: no cap is crossed by any number of requests or runs, and the books agree with the bill."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from pydantic import TypeAdapter

from seedream_assets.budget.log import BudgetEntry
from seedream_assets.config.models import ModelCatalog
from seedream_assets.errors import BudgetError, LeonardoError
from seedream_assets.ledger.events import Released, request_folder
from seedream_assets.ledger.state import RequestState
from seedream_assets.ledger.store import read_event
from seedream_assets_tests.purchase.desk import CREDITS, make_paid_request, make_paid_requests

BUDGET = TypeAdapter(BudgetEntry)


def last_entry(desk):
    keys = [info.key for info in desk.store.list("datasets/scenes/budget/")]
    return BUDGET.validate_json(desk.store.read(keys[-1]))


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize(("affordable", "spare"), [(0, 27), (7, 0), (7, 27), (40, 0)])
def test_the_cap_of_a_run_is_reached_and_not_crossed(desk, images, affordable, spare):
    requests = make_paid_requests(50, count=images)
    cap = affordable * images * CREDITS + spare
    report = desk.run(requests, budget={"max_credits_per_run": cap})
    assert desk.bill["credits"] == affordable * images * CREDITS == report.credits_booked
    assert report.requests == {**({"completed": affordable} if affordable else {}), "not_sent": 50 - affordable}
    assert report.stopped == "over_budget"
    assert f"max_credits_per_run is {cap} credits; {report.credits_booked} are committed" in report.stop_reason


def test_a_cap_that_is_exactly_the_plan_s_price_stops_nothing(desk):
    report = desk.run(
        make_paid_requests(20), budget={"max_credits_per_run": 20 * CREDITS, "max_credits_total": 20 * CREDITS}
    )
    assert (report.requests, report.stopped) == ({"completed": 20}, None)


def test_the_next_run_goes_on_where_the_cap_stopped_the_last_one(desk):
    requests = make_paid_requests(9)
    for left in (4, 4, 1):
        assert desk.run(requests, budget={"max_credits_per_run": 4 * CREDITS}).requests["completed"] == left
    assert desk.judge(requests).is_clean


def test_the_total_cap_of_a_dataset_holds_over_its_runs(desk):
    requests = make_paid_requests(20)
    budget = {"max_credits_total": 15 * CREDITS}
    assert desk.run(requests[:10], budget=budget).requests == {"completed": 10}
    report = desk.run(requests, budget=budget)
    assert report.requests == {"completed": 5, "not_sent": 5}
    assert "max_credits_total is 420 credits; 420 are committed" in report.stop_reason
    assert desk.run(requests, budget=budget).requests == {"not_sent": 5}
    assert desk.bill["credits"] == 15 * CREDITS == last_entry(desk).committed


def test_two_runs_that_share_a_dataset_never_cross_its_cap_together(start_desk):
    desk = start_desk(latency_seconds=0.05)
    budget = {"max_credits_total": 30 * CREDITS}
    shares = [make_paid_requests(40, words=words) for words in ("a cat", "a dog", "a cow")]
    with ThreadPoolExecutor() as threads:
        reports = list(threads.map(lambda share: desk.run(share, budget=budget), shares))
    assert desk.bill["credits"] == 30 * CREDITS == sum(report.credits_booked for report in reports)
    assert last_entry(desk).committed == 30 * CREDITS
    assert "over_budget" in {report.stopped for report in reports}


def test_a_day_s_cap_holds_over_runs_at_once_and_the_next_day_goes_on(start_desk):
    desk = start_desk(latency_seconds=0.05)
    budget = {"max_credits_per_day": 30 * CREDITS}
    shares = [make_paid_requests(40, words=words) for words in ("a cat", "a dog")]
    with ThreadPoolExecutor() as threads:
        reports = list(threads.map(lambda share: desk.run(share, budget=budget), shares))
    assert desk.bill["credits"] == 30 * CREDITS == sum(report.credits_booked for report in reports)
    assert "over_budget" in {report.stopped for report in reports}
    assert any("max_credits_per_day is 840 credits" in (report.stop_reason or "") for report in reports)
    desk.store = Tomorrow(desk.store)
    assert desk.run(shares[0] + shares[1], budget=budget).requests["completed"] == 30


class Tomorrow:
    """A store whose clock is a day ahead of the time that its objects were written at."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    def now(self):
        return self._store.now() + timedelta(days=1)


def test_another_dataset_pays_from_its_own_cap(desk):
    desk.run(make_paid_requests(5), budget={"max_credits_total": 5 * CREDITS})
    report = desk.run(make_paid_requests(5, words="a dog"), dataset="other", budget={"max_credits_total": 5 * CREDITS})
    assert report.requests == {"completed": 5}


def test_what_nobody_bought_gives_its_credits_back(desk):
    requests = make_paid_requests(3, words="emulate-blocked") + make_paid_requests(3)
    report = desk.run(requests, budget={"max_credits_total": 5 * CREDITS, "max_credits_per_run": 5 * CREDITS})
    assert report.requests == {"blocked": 3, "completed": 3}
    assert last_entry(desk).committed == 3 * CREDITS


def test_the_balance_is_read_first_and_is_a_cap_like_the_others(start_desk):
    desk = start_desk(balance_credits=5 * CREDITS + 3)
    report = desk.run(make_paid_requests(8))
    assert report.requests == {"completed": 5, "not_sent": 3}
    assert "balance is 143 credits" in report.stop_reason
    assert desk.bill["requests"]["creates"] == 5


def test_a_balance_that_others_use_up_meanwhile_stops_the_run_cleanly(desk):
    requests = make_paid_requests(60)
    desk.fault("create", "error_before", status=402, message="Insufficient balance", skip=10)
    report = desk.run(requests)
    assert report.requests == {"completed": 10, "not_sent": 50}
    assert report.stopped == "over_budget"
    assert "balance is used up" in report.stop_reason
    assert desk.bill["requests"]["creates"] <= 10 + 14
    desk.heal()
    assert desk.run(requests).requests == {"completed": 50}
    assert desk.judge(requests).is_clean


def test_out_of_money_what_is_paid_for_is_still_fetched(desk):
    paid = make_paid_requests(40)
    desk.fault("download", "drop_before")
    desk.run(paid, engine={"lease_seconds": 60.0})
    bought = desk.bill["generations"]
    desk.heal()
    # The paid ones stand behind more unpaid ones than a block holds.
    report = desk.run(make_paid_requests(40, words="a dog") + paid, budget={"max_credits_per_run": 0})
    assert report.requests["completed"] == bought
    assert report.stopped == "over_budget"


@pytest.mark.parametrize(("unit", "amount"), [("CREDITS", Decimal(56)), ("DOLLARS", Decimal("0.0837"))])
def test_the_booked_cost_is_the_api_s_own_with_its_unit(start_desk, unit, amount):
    report = start_desk(cost_unit=unit).run(make_paid_requests(1, count=2))
    assert list(report.costs) == [unit]
    assert abs(report.costs[unit] - amount) < Decimal("0.0002")
    assert report.credits_booked == 56


def test_a_price_that_rose_crosses_no_cap_and_is_seen_in_the_report(start_desk):
    desk = start_desk(credits_per_image=40, slots=1, latency_seconds=0.05)
    cap = 20 * CREDITS
    report = desk.run(
        make_paid_requests(20), budget={"max_credits_per_run": cap}, engine={"slots": 1, "queue_ahead": 0}
    )
    assert report.credits_booked == desk.bill["credits"] <= cap
    assert report.credits_quoted == report.requests["completed"] * CREDITS < report.credits_booked
    assert report.stopped == "over_budget"


CAPS = ("max_credits_per_run", "max_credits_total", "max_credits_per_day")


@pytest.mark.parametrize("price", [56, 280])
@pytest.mark.parametrize("cap", CAPS)
def test_the_first_image_of_a_kind_tells_its_price_before_any_other_is_sent(start_desk, price, cap):
    desk = start_desk(credits_per_image=price, latency_seconds=0.1)
    requests = make_paid_requests(40)
    report = desk.run(requests, budget={cap: 560})
    assert desk.bill["credits"] == report.credits_booked == 560
    assert report.stopped == "over_budget"
    # No later run has to find out for itself.
    again = desk.run(requests, budget={cap: price - 1 if cap == CAPS[0] else 560})
    assert (again.credits_booked, desk.bill["credits"]) == (0, 560)
    assert f"the next request needs {price}" in again.stop_reason


def test_a_surprise_crosses_a_cap_by_one_request_s_price_and_no_more(start_desk):
    desk = start_desk(credits_per_image=280, latency_seconds=0.1)
    requests = make_paid_requests(40)
    for _ in range(3):
        desk.run(requests, budget={"max_credits_total": 100})
    assert desk.bill["credits"] == 280 == last_entry(desk).committed


def test_a_kind_is_a_model_and_a_size_and_the_first_of_each_goes_alone(start_desk):
    desk = start_desk(credits_per_image=280, latency_seconds=0.1)
    sizes = [make_paid_requests(20, words="a cat"), make_paid_requests(20, words="a wide cat", width=96)]
    report = desk.run([one for pair in zip(*sizes, strict=True) for one in pair], budget={"max_credits_per_run": 560})
    assert desk.bill["credits"] == report.credits_booked == 560
    prices = last_entry(desk).prices
    assert {kind: prices[kind][0].credits for kind in prices} == {
        "seedream-4.0 64x48": 280,
        "seedream-4.0 96x48": 280,
    }


@pytest.mark.parametrize("cap", [280, 300, 560, 600])
def test_of_many_kinds_at_once_no_more_than_one_price_is_unknown(start_desk, cap):
    desk = start_desk(credits_per_image=280, latency_seconds=0.1)
    requests = [make_paid_request("a cat", width=64 + 8 * number) for number in range(12)]
    desk.run(requests, budget={"max_credits_per_run": cap})
    # The last one fits by the price list, and is charged ten times that.
    assert desk.bill["credits"] <= (cap - CREDITS) // 280 * 280 + 280


def test_where_the_first_answer_is_lost_the_next_request_goes_alone_as_well(start_desk):
    desk = start_desk(credits_per_image=280, latency_seconds=0.1)
    desk.fault("create", "drop_after", times=2)
    desk.run(make_paid_requests(40), budget={"max_credits_per_run": 560}, engine={"history_settle_seconds": 0.1})
    # Two that nobody heard of, and the one whose answer came.
    assert desk.bill["generations"] <= 3


def test_a_run_that_is_ended_right_after_a_surprise_has_reported_the_next_one(start_desk):
    desk = start_desk(credits_per_image=280)
    requests = make_paid_requests(10)

    def end(step, _request_id):
        if step == "after_submitted":
            raise KeyboardInterrupt

    with pytest.raises(BaseException):  # noqa: B017, PT011 - however it dies
        desk.run(requests, on=end, budget={"max_credits_total": 400})
    assert desk.bill["credits"] == 280
    desk.run(requests, budget={"max_credits_total": 400}, engine={"lease_seconds": 1.0})
    assert desk.bill["credits"] == 280
    assert last_entry(desk).committed == 280


def test_a_price_that_fell_leaves_room_for_more(start_desk):
    desk = start_desk(credits_per_image=20)
    report = desk.run(make_paid_requests(30), budget={"max_credits_total": 400})
    assert report.credits_booked == desk.bill["credits"] <= 400
    assert report.requests["completed"] >= 19


class UnpricedModels(ModelCatalog):
    """A catalog whose one model has no price yet."""

    def find(self, name):
        return replace(super().find(name), price=None)


def test_a_model_without_a_price_is_refused_before_anything_is_bought(desk):
    with pytest.raises(BudgetError):
        desk.run(make_paid_requests(1), models=UnpricedModels())
    assert desk.bill["generations"] == 0


@pytest.mark.parametrize("reported", ["zero", "tiny"])
@pytest.mark.parametrize("cap", CAPS)
def test_a_cost_that_is_too_small_to_be_believed_counts_as_quoted_and_is_kept_as_reported(start_desk, reported, cap):
    desk = start_desk(cost_reported=reported)
    requests = make_paid_requests(40)
    report = desk.run(requests, budget={cap: 10 * CREDITS})
    assert desk.bill["credits"] == report.credits_booked == 10 * CREDITS
    assert report.stopped == "over_budget"
    assert report.doubted_costs == 10
    assert sum(report.costs.values()) <= Decimal("0.001")
    assert any("less than half of the price on file" in warning for warning in report.warnings)


@pytest.mark.parametrize("reported", ["none", "negative", "words"])
def test_a_cost_that_cannot_be_read_counts_as_quoted(start_desk, reported):
    desk = start_desk(cost_reported=reported)
    report = desk.run(make_paid_requests(40), budget={"max_credits_per_run": 10 * CREDITS})
    assert desk.bill["credits"] == report.credits_booked == 10 * CREDITS
    assert (report.costs, report.doubted_costs) == ({"CREDITS": 10 * CREDITS}, 0)


def test_where_prices_change_from_image_to_image_the_dearest_of_late_is_reserved(start_desk):
    desk = start_desk(price_cycle=(28, 56, 280), latency_seconds=0.05)
    requests, cap = make_paid_requests(60), 1500
    for _ in range(4):
        desk.run(requests, budget={"max_credits_total": cap}, engine={"slots": 1, "queue_ahead": 0})
        assert desk.bill["credits"] <= cap
    assert desk.bill["credits"] > cap - 2 * 280
    assert last_entry(desk).committed == desk.bill["credits"]


def test_dollars_and_credits_of_one_run_are_kept_apart(start_desk):
    desk = start_desk(cost_unit="DOLLARS")
    desk.fault("create", "cost", times=3)
    report = desk.run(make_paid_requests(10))
    assert report.costs["CREDITS"] == 3 * CREDITS
    assert abs(report.costs["DOLLARS"] - 7 * Decimal("0.04186")) < Decimal("0.001")
    assert report.credits_booked == 10 * CREDITS == desk.bill["credits"]


def test_without_a_cap_the_engine_buys_nothing_and_fetches_what_is_paid_for(desk):
    first, second = make_paid_requests(2)
    desk.fault("download", "not_found")
    assert desk.run([first], engine={"drain_seconds": 0.1}).requests == {"pending": 1}
    desk.heal()
    report = desk.run([first, second], budget={})
    assert report.requests == {"completed": 1, "not_sent": 1}
    assert report.stopped == "over_budget"
    assert "28 credits to buy and no cap; write budget:" in report.stop_reason
    assert desk.bill["credits"] == CREDITS


@pytest.mark.parametrize(
    ("status", "message", "cause"),
    [(402, "Insufficient balance", "over_budget"), (401, "Authentication hook unauthorized", "refused")],
)
def test_a_refusal_of_the_account_is_no_failure_of_the_request(desk, status, message, cause):
    """Many in flight at once: whoever was answered so is bought by the next run, and those that were accepted stay."""
    requests = make_paid_requests(20)
    desk.fault("create", "error_before", status=status, message=message, skip=5, times=20)
    try:
        report = desk.run(requests)
    except LeonardoError:
        report = None
    bought = desk.bill["credits"] // CREDITS
    assert bought < 20
    left = [one for one in requests if desk.state(one) is RequestState.FREE]
    assert len(left) == 20 - bought
    for one in left:
        events = [read_event(desk.store, info.key) for info in desk.store.list(request_folder(one.request_id))]
        assert [event.why for event in events if isinstance(event, Released)] in ([], ["never_sent"])
    if report is not None:
        assert (report.stopped, report.requests) == (cause, {"completed": bought, "not_sent": 20 - bought})
    else:
        assert cause == "refused"
    desk.heal()
    assert desk.run(requests).requests == {"completed": 20 - bought}
    assert desk.judge(requests).is_clean


def test_of_runs_that_begin_at_the_same_moment_each_can_be_surprised_once(start_desk):
    desk = start_desk(credits_per_image=280, latency_seconds=0.1)
    budget, surprise = {"max_credits_total": 1120}, 280 - CREDITS
    shares = [make_paid_requests(30, words=words) for words in ("a cat", "a dog", "a cow")]
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda share: desk.run(share, budget=budget), shares))
    assert desk.bill["credits"] <= 1120 + len(shares) * surprise
    desk.run(shares[0], budget=budget)
    assert last_entry(desk).committed == desk.bill["credits"]
