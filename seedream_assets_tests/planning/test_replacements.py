"""Which further samples stand in for rejected ones: the same rejects give the same samples, whatever happened between."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedream_assets.planning.plan import NONE_REPLACED, Replacements


def replacing(*samples: int, rounds: int = 1) -> Replacements:
    return Replacements.of([("spec", sample) for sample in samples], max_rounds=rounds)


@pytest.mark.parametrize(
    ("rejected", "rounds", "wanted"),
    [
        ([], 3, 4),
        ([0], 0, 4),
        ([0], 1, 5),
        ([0, 3], 1, 6),
        ([0, 4], 1, 5),  # the replacement is rejected too, and there is no second round
        ([0, 4], 2, 6),
        ([0, 4, 5], 2, 6),
        ([0, 4, 5], 3, 7),
        ([7], 3, 4),  # not among what is wanted: an earlier quantity, or another dataset's
    ],
)
def test_every_round_adds_as_many_samples_as_the_one_before_lost(rejected, rounds, wanted):
    assert replacing(*rejected, rounds=rounds).samples_wanted("spec", 4) == wanted


def test_other_specs_want_what_their_rows_say():
    assert replacing(0, 1).samples_wanted("another", 4) == 4
    assert NONE_REPLACED.samples_wanted("spec", 4) == 4


def test_the_last_seed_ends_it_and_never_takes_away_what_a_row_wants():
    assert replacing(0, 1).samples_wanted("spec", 4, largest=5) == 5
    assert replacing(0, 1).samples_wanted("spec", 4, largest=0) == 4


rejects = st.lists(st.integers(0, 30), max_size=15)


@given(rejects, st.integers(1, 20), st.integers(0, 5))
def test_more_is_never_wanted_than_was_lost_and_never_less_than_declared(rejected, quantity, rounds):
    wanted = replacing(*rejected, rounds=rounds).samples_wanted("spec", quantity)
    lost = sum(sample < wanted for sample in set(rejected))
    assert quantity <= wanted <= quantity + lost
    good = wanted - lost
    assert good <= quantity
    if rounds > len(rejected):
        assert good == quantity


@given(rejects, st.integers(1, 20), st.integers(0, 5))
def test_a_row_that_wants_more_of_a_spec_wants_everything_that_one_wants_that_wants_less(rejected, quantity, rounds):
    some = replacing(*rejected, rounds=rounds)
    assert some.samples_wanted("spec", quantity) <= some.samples_wanted("spec", quantity + 1)


@given(rejects, st.integers(0, 5))
def test_a_plan_keeps_what_it_answers(rejected, rounds):
    some = replacing(*rejected, rounds=rounds)
    kept = Replacements.from_facts(json.loads(json.dumps(some.to_facts())))
    assert kept == (some if rounds and rejected else NONE_REPLACED)
