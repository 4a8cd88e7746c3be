"""Claims about costs by unit: nothing is left out, nothing of two units is added, and one figure names its rate."""

from decimal import Decimal

import pandas as pd
import pytest

from seedream_assets.budget.costs import (
    QUOTED,
    add_costs,
    costs_as_json,
    costs_in_json,
    costs_of_images,
    describe_costs,
    in_one_unit,
)

MIXED = {"CREDITS": Decimal(364), "DOLLARS": Decimal("1.97")}


@pytest.mark.parametrize(
    ("costs", "amount", "unit"),
    [
        ({}, "0", "CREDITS"),
        ({"DOLLARS": Decimal("0.0838")}, "0.0838", "DOLLARS"),
        ({"CREDITS": Decimal("28.5")}, "28.5", "CREDITS"),
        (MIXED, "1681.73", "CREDITS"),
        ({"DOLLARS": Decimal("0.04186"), QUOTED: Decimal(28)}, "56", "CREDITS"),
    ],
)
def test_one_figure_is_in_the_account_s_unit_or_in_credits_where_there_are_two(costs, amount, unit):
    assert in_one_unit(costs) == (Decimal(amount), unit)


def test_units_are_added_each_for_itself():
    assert add_costs([MIXED, {"DOLLARS": Decimal("0.03")}, {}]) == {"CREDITS": Decimal(364), "DOLLARS": Decimal(2)}


@pytest.mark.parametrize("costs", [{}, {"CREDITS": Decimal(28)}, MIXED])
def test_what_is_printed_is_read_again_as_it_was(costs):
    reported = costs_as_json(costs)
    assert costs_in_json(reported) == costs
    assert ("dollars_per_credit" in reported["cost"]) == (len(costs) > 1)


def test_words_name_every_unit_and_the_rate_where_there_are_two():
    assert (
        describe_costs(MIXED) == "364 credits and 1.97 dollars (1681.73 credits in all, at 0.001495 dollars a credit)"
    )
    assert describe_costs({"CREDITS": Decimal(12_345_678)}) == "12345678 credits"
    assert describe_costs({}) == "nothing"


def test_images_without_a_reported_cost_count_as_quoted_and_those_that_others_paid_for_cost_nothing():
    images = pd.DataFrame(
        [
            ("stored", 28.0, "CREDITS", False),
            ("stored", 0.0419, "DOLLARS", False),
            ("stored", None, None, False),
            ("stored", None, None, True),
            ("failed", 28.0, "CREDITS", False),
            ("uncertain", None, None, False),
        ],
        columns=["status", "cost_amount", "cost_unit", "reused"],
    ).assign(credits_quoted=56.0)
    assert costs_of_images(images) == {"CREDITS": Decimal(56), "DOLLARS": Decimal("0.0419"), QUOTED: Decimal(56)}
    assert costs_of_images(images.iloc[:0]) == {}
