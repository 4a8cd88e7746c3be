"""Claims about prices: of the last hundred answers the dearest is reserved, and what is not dearer leaves no trace."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedream_assets.budget.rules import ANSWERS_REMEMBERED, Asked, PriceSeen, dearest, learn, price_of

SQUARE, WIDE = "seedream-4.0 1024x1024", "seedream-4.0 2048x1024"


def answers(*credits, kind=SQUARE, listed=28):
    return [PriceSeen(kind=kind, credits=amount, listed=listed) for amount in credits]


@given(st.lists(st.integers(0, 100), max_size=250))
def test_what_is_remembered_is_the_dearest_of_the_last_hundred_answers_where_it_is_above_the_list(credits):
    known = learn({}, answers(*credits))
    top = max(credits[-ANSWERS_REMEMBERED:], default=0)
    assert dearest(known, SQUARE) == (top if top > 28 else 0)
    assert price_of(known, Asked(kind=SQUARE, images=3, listed=84)) == 3 * max(28, top)


@given(st.lists(st.integers(0, 100), max_size=60), st.integers(0, 60))
def test_learning_in_two_steps_is_learning_in_one(credits, cut):
    assert learn(learn({}, answers(*credits[:cut])), answers(*credits[cut:])) == learn({}, answers(*credits))


@pytest.mark.parametrize(("later", "remembered"), [(99, 56), (100, 0)])
def test_a_dear_answer_is_remembered_for_a_hundred_answers_with_itself(later, remembered):
    assert dearest(learn({}, answers(56, *[28] * later)), SQUARE) == remembered


@pytest.mark.parametrize("credits", [0, 1, 27, 28])
def test_a_price_that_is_not_above_the_list_leaves_nothing_in_the_log(credits):
    assert learn({}, answers(*[credits] * 200)) == {}


def test_a_price_is_known_for_its_model_and_size_alone():
    known = learn({}, [*answers(56), *answers(280, kind=WIDE)])
    assert [dearest(known, kind) for kind in (SQUARE, WIDE, "seedream-4.5 1024x1024")] == [56, 280, 0]
    assert dearest(learn(known, answers(*[28] * 100)), WIDE) == 280


@pytest.mark.parametrize(("booked", "images", "each"), [(56, 2, 28), (57, 2, 29), (1, 8, 1), (0, 4, 0)])
def test_the_price_of_an_image_is_rounded_up(booked, images, each):
    asked = Asked(kind=SQUARE, images=images, listed=28 * images)
    assert PriceSeen.of(asked, booked) == PriceSeen(kind=SQUARE, credits=each, listed=28)
