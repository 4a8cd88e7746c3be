"""Claims about money: a cap is never crossed, an unknown cost is never zero, dollars become the credits they were."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedream_assets.budget.rules import (
    Booked,
    CapReached,
    Spending,
    book_cost,
    cost_in_credits,
    refuse_without_cap,
    spending_of_run,
)
from seedream_assets.config.dataset import Budget
from seedream_assets.config.models import DOLLARS_PER_CREDIT
from seedream_assets.errors import ConfigError, NoCapError
from seedream_assets.leonardo.generations import Cost

CREDITS = st.integers(0, 300)


@pytest.mark.parametrize("name", ["max_credits_per_run", "max_credits_total"])
@pytest.mark.parametrize(("value", "allowed"), [(None, True), (0, True), (1, True), (-1, False)])
def test_a_cap_is_nothing_or_zero_or_more(name, value, allowed):
    if allowed:
        assert getattr(Budget(**{name: value}), name) == value
    else:
        with pytest.raises(ConfigError, match=rf"{name}: got -1, allowed is 0 or more"):
            Budget(**{name: value})


@pytest.mark.parametrize(
    ("given", "is_missing"),
    [
        ({}, True),
        ({"max_credits_per_run": 0}, False),
        ({"max_credits_total": 0}, False),
        ({"max_credits_per_day": 1}, False),
        ({"unlimited": True}, False),
    ],
)
def test_no_cap_is_a_decision_that_somebody_has_to_take(given, is_missing):
    budget = Budget(**given)
    assert budget.is_missing is is_missing
    refuse_without_cap(budget, 0)  # nothing to buy needs no budget
    if is_missing:
        assert spending_of_run(budget).reserve(0) == spending_of_run(budget)
        refused = spending_of_run(budget).reserve(1)
        assert isinstance(refused, CapReached)
        with pytest.raises(NoCapError) as error:
            refuse_without_cap(budget, 1)
        for reported in (str(refused), str(error.value)):
            assert "1 credit to buy and no cap; write budget: {max_credits_per_run: 280}" in reported
            assert "or budget: unlimited" in reported
    else:
        refuse_without_cap(budget, 10**9)
        assert spending_of_run(budget).limit == given.get("max_credits_per_run")


@pytest.mark.parametrize("cap", ["max_credits_per_run", "max_credits_total", "max_credits_per_day"])
def test_unlimited_and_a_cap_are_two_decisions(cap):
    with pytest.raises(ConfigError, match="unlimited: there is a cap beside it"):
        Budget(**{cap: 0}, unlimited=True)


def test_the_last_credit_may_be_spent_and_not_one_more():
    spending = Spending(cap="max_credits_per_run", limit=56, booked=28)
    full = spending.reserve(28)
    assert isinstance(full, Spending)
    assert full.committed == 56
    assert full.reserve(1) == CapReached(cap="max_credits_per_run", limit=56, committed=56, asked=1)


def test_a_cap_that_is_reached_tells_the_numbers():
    reached = Spending(cap="balance", limit=50, booked=28).reserve(28)
    assert str(reached) == "balance is 50 credits; 28 are committed, the next request needs 28"


@given(
    st.none() | st.integers(0, 1000),
    st.lists(st.tuples(st.booleans(), CREDITS, CREDITS), max_size=40),
)
def test_what_is_committed_never_exceeds_the_cap_but_by_what_was_charged_beyond_the_quote(limit, steps):
    spending = Spending(cap="max_credits_per_run", limit=limit)
    in_flight: list[int] = []
    reserved_and_booked: list[tuple[int, int]] = []
    for asks, credits, booked in steps:
        if asks or not in_flight:
            after = spending.reserve(credits)
            if isinstance(after, CapReached):
                assert limit is not None
                assert spending.committed + credits > limit
                continue
            spending = after
            in_flight.append(credits)
        else:
            reserved = in_flight.pop(0)
            spending = spending.settle(reserved=reserved, booked=booked)
            reserved_and_booked.append((reserved, booked))
        overcharged = sum(max(0, booked - reserved) for reserved, booked in reserved_and_booked)
        assert spending.reserved == sum(in_flight)
        assert spending.booked == sum(booked for _, booked in reserved_and_booked)
        assert limit is None or spending.committed <= limit + overcharged


@given(st.integers(0, 10_000))
def test_a_cost_that_was_not_reported_counts_as_quoted(quoted):
    assert cost_in_credits(None, quoted=quoted) == quoted


@pytest.mark.parametrize("images", range(1, 9))
def test_dollars_in_four_places_become_the_credits_they_were(images):
    credits = 28 * images
    dollars = round(Decimal(str(DOLLARS_PER_CREDIT)) * credits, 4)
    assert cost_in_credits(Cost(amount=dollars, unit="DOLLARS"), quoted=1) == credits


@pytest.mark.parametrize(("amount", "credits"), [("28", 28), ("28.0", 28), ("28.01", 29), ("0", 0)])
def test_a_part_of_a_credit_counts_as_a_whole_one(amount, credits):
    assert cost_in_credits(Cost(amount=Decimal(amount), unit="CREDITS"), quoted=1) == credits


@pytest.mark.parametrize(
    ("amount", "unit", "credits", "is_doubted"),
    [
        ("14", "CREDITS", 14, False),  # half of the price list
        ("13.01", "CREDITS", 14, False),
        ("13", "CREDITS", 28, True),
        ("0", "CREDITS", 28, True),
        ("0", "DOLLARS", 28, True),
        ("0.0001", "DOLLARS", 28, True),
        ("0.0209", "DOLLARS", 14, False),
        ("0.0194", "DOLLARS", 28, True),
        ("280", "CREDITS", 280, False),
    ],
)
def test_a_cost_below_half_of_the_list_counts_as_the_quote_and_is_kept_as_reported(amount, unit, credits, is_doubted):
    cost = Cost(amount=Decimal(amount), unit=unit)
    assert book_cost(cost, listed=28, reserved=28) == Booked(credits=credits, cost=cost, is_doubted=is_doubted)


def test_what_cannot_be_believed_or_was_not_reported_counts_as_was_reserved_where_that_was_more():
    nothing = Cost(amount=Decimal(0), unit="DOLLARS")
    assert book_cost(nothing, listed=28, reserved=56).credits == 56
    assert book_cost(nothing, listed=28, reserved=20).credits == 28
    assert book_cost(None, listed=28, reserved=56) == Booked(credits=56, cost=Cost(amount=Decimal(56), unit="CREDITS"))
    # An image that costs what the list says again is believed, however dear the last one was.
    assert book_cost(Cost(amount=Decimal(28), unit="CREDITS"), listed=28, reserved=280).credits == 28
