"""The result of a run as one flat object and in words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from seedream_assets.budget.costs import costs_as_json
from seedream_assets.cli.summary import SUMMED, add_up, describe, summarise
from seedream_assets.planning.quote import Quote

QUOTE = Quote(
    wanted=4,
    shared=0,
    requests=4,
    to_buy=2,
    images_to_buy=2,
    owned_images=2,
    in_flight=0,
    ended_without_images=0,
    credits_quoted=112,
    credits_to_buy=56,
    credits_saved=0,
    replacements=1,
)


def summary(partition: str = "all", **changes: Any) -> dict[str, Any]:
    found = summarise(
        dataset="shoes",
        partition=partition,
        quote=QUOTE,
        rejected_rows=1,
        counts={"stored": 3, "blocked": 1},
        reused=2,
        rejected=1,
        report=None,
        seconds=61.23456,
    )
    return {**found, **changes}


def test_a_summary_counts_images_by_what_became_of_them() -> None:
    found = summary()
    assert (found["wanted"], found["stored"], found["reused"], found["blocked"], found["failed"]) == (4, 3, 2, 1, 0)
    assert found["cost"] == {"amount": 0.0, "unit": "CREDITS"}
    assert found["seconds"] == 61.235


def paid(**costs: str) -> dict[str, Any]:
    return costs_as_json({unit: Decimal(amount) for unit, amount in costs.items()})


def test_partitions_are_added_up_and_each_unit_is_kept() -> None:
    parts = [
        summary("monday", **paid(CREDITS="336")),
        summary("tuesday", **paid(CREDITS="28", DOLLARS="1.87")),
        summary("sunday", **paid(DOLLARS="0.1")),
    ]
    total = add_up(parts, {"friday": "no such file"}, dataset="shoes", seconds=9)
    assert {name: total[name] for name in SUMMED} == {name: 3 * parts[0][name] for name in SUMMED}
    assert total["costs"] == [{"amount": 364.0, "unit": "CREDITS"}, {"amount": 1.97, "unit": "DOLLARS"}]
    # 1.97 dollars are 1317.73 credits.
    assert total["cost"] == {"amount": 1681.73, "unit": "CREDITS", "dollars_per_credit": 0.001495}
    assert "364 credits and 1.97 dollars (1681.73 credits in all, at 0.001495 dollars a credit) booked" in describe(
        total
    )
    assert (total["not_read"], len(total["partitions"])) == ({"friday": "no such file"}, 3)


def test_nothing_to_add_up_is_zero() -> None:
    assert add_up([], {}, dataset="shoes", seconds=0)["cost"] == {"amount": 0, "unit": "CREDITS"}


def test_one_unit_is_told_as_it_is() -> None:
    total = add_up([summary(**paid(DOLLARS="0.1")), summary(**paid(DOLLARS="0.2"))], {}, dataset="shoes", seconds=0)
    assert (total["cost"], total["costs"]) == ({"amount": 0.3, "unit": "DOLLARS"}, [{"amount": 0.3, "unit": "DOLLARS"}])


def test_words_leave_out_what_is_zero_and_good_to_be_zero() -> None:
    words = describe(summary("monday", **paid(CREDITS="28")))
    assert "shoes, monday: 3 of 4 images stored (2 owned before); 1 blocked" in words
    assert "112 credits quoted, 56 to buy, 28 credits booked" in words
    assert "1 stored image rejected; 1 more were wanted in their place" in words
    assert "1 row of the table rejected" in words
    assert "1 min 1 s" in words
    assert "failed" not in words


def test_words_say_that_nothing_was_bought() -> None:
    words = describe(summary(rejected=0, rejected_rows=0))
    assert "nothing was bought" in words
    assert "rejected" not in words


@pytest.mark.parametrize("status", ["withheld", "uncertain", "awaiting_approval"])
def test_a_word_that_nobody_knows_is_explained_where_it_occurs(status: str) -> None:
    line = f"\n{status.replace('_', ' ')}: "
    assert line in describe(summary() | {status: 1})
    assert line not in describe(summary() | {status: 0})
