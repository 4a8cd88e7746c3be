"""Claims about the sum of what was bought: a history by any grouping, each unit apart, and what of it is still shown."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from seedream_assets.budget.costs import QUOTED
from seedream_assets.budget.statement import Bought, StillOpen, day_of, sum_spend
from seedream_assets.ledger.state import OpenRequests

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def bought_for(**changes):
    values = {"dataset": "shoes", "partition": "all", "run": "r1", "style": "None", "model": "m", "day": "2026-11-23"}
    return values | changes


def bought(images=1, amount="28", unit="CREDITS", in_datasets=0, ended_without=False, **by):
    return Bought(
        by=bought_for(**by),
        images=images,
        images_in_datasets=in_datasets,
        amount=Decimal(amount),
        unit=unit,
        ended_without=ended_without,
    )


def test_what_was_bought_is_summed_by_what_was_asked_and_each_unit_apart():
    records = [bought(), bought(style="Cinematic"), bought(unit="DOLLARS", amount="0.0419"), bought(unit=QUOTED)]
    rows = sum_spend(records, by=["style", "day"])
    assert [(row["style"], row["day"], row["unit"], row["images"], row["amount"]) for row in rows] == [
        ("Cinematic", "2026-11-23", "CREDITS", 1, 28.0),
        ("None", "2026-11-23", "CREDITS", 1, 28.0),
        ("None", "2026-11-23", "CREDITS (quoted)", 1, 28.0),
        ("None", "2026-11-23", "DOLLARS", 1, 0.0419),
    ]


def test_what_of_it_today_s_datasets_show_and_what_failed_stand_beside_it():
    (row,) = sum_spend([bought(images=4, amount="112", in_datasets=3), bought(), bought(ended_without=True)])
    assert (row["images"], row["amount"]) == (6, 168.0)
    assert (row["images_in_datasets"], row["amount_in_datasets"]) == (3, 84.0)
    assert row["amount_failed"] == 28.0


def test_what_is_open_is_no_amount_and_is_reported():
    held = OpenRequests(requests=1, since=NOON, credits_held=56, credits_again=56)
    rows = sum_spend(
        [bought(), StillOpen(by=bought_for(), open=held), StillOpen(by=bought_for(dataset="hats"), open=held)]
    )
    assert [(row["dataset"], row["amount"], row["open_requests"], row["credits_held_back"]) for row in rows] == [
        ("hats", 0.0, 1, 56),
        ("shoes", 28.0, 1, 56),
    ]


def test_nothing_bought_is_no_row():
    assert sum_spend([]) == []


@pytest.mark.parametrize(
    ("written", "stored", "day"),
    [
        (NOON, NOON, "2026-11-23"),
        (NOON.replace(hour=23, minute=30), NOON + timedelta(hours=12, minutes=10), "2026-11-24"),  # the store's day
        (NOON, NOON + timedelta(hours=1), "2026-11-23"),
        (NOON, NOON + timedelta(days=40), "2026-11-23"),  # a copied store
        (NOON + timedelta(days=400), NOON, "2026-11-23"),  # a machine whose clock is wrong
    ],
)
def test_a_day_is_the_store_s_unless_the_store_was_copied(written, stored, day):
    assert day_of(written=written, stored=stored) == day


def test_open_requests_say_how_many_how_long_and_what_hangs_on_them():
    one = OpenRequests(requests=1, since=NOON, credits_held=28, credits_again=56)
    many = OpenRequests.together([one, OpenRequests(), OpenRequests(requests=11, since=NOON - timedelta(hours=2))])
    assert (many.requests, many.since, many.credits_held) == (12, NOON - timedelta(hours=2), 28)
    assert str(many).startswith("12 open requests, the oldest since 2026-11-23 10:00 UTC: 28 credits held back")
    assert many.what_hangs_on_it.endswith("up to 56 credits more if 12 open requests turn out not to be bought")
    assert one.what_hangs_on_it.endswith("up to 56 credits more if the open request turns out not to be bought")
    assert OpenRequests.together([]) == OpenRequests()
