"""Claims about cutting: how the wanted samples of a spec become requests, around what is owned."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedream_assets.planning.plan import cut_samples


def cut(quantity: int, owned: dict[int, int] | None = None, largest: int = 8) -> list[tuple[int, int]]:
    """The requests' samples as `[start, end)`."""
    return [(start, start + count) for start, count in cut_samples(quantity, largest=largest, owned=owned or {})]


@pytest.mark.parametrize(
    ("quantity", "owned", "expected"),
    [
        (1, None, [(0, 1)]),
        (8, {}, [(0, 8)]),
        (9, {}, [(0, 8), (8, 9)]),
        (20, {}, [(0, 8), (8, 16), (16, 20)]),
        (10, {0: 4}, [(0, 4), (4, 10)]),
        (10, {0: 4, 4: 6}, [(0, 4), (4, 10)]),
        (16, {0: 4, 4: 6}, [(0, 4), (4, 10), (10, 16)]),
        (2, {0: 8}, [(0, 8)]),
        (4, {0: 4, 4: 6}, [(0, 4)]),
        (10, {0: 4, 8: 2}, [(0, 4), (4, 8), (8, 10)]),
        (6, {0: 4, 5: 8}, [(0, 4), (4, 5), (5, 13)]),
    ],
)
def test_the_samples_are_cut_at_the_borders_of_what_is_owned(quantity, owned, expected):
    assert cut(quantity, owned) == expected


@settings(max_examples=50)
@given(st.integers(1, 60), st.dictionaries(st.integers(0, 60), st.integers(1, 8), max_size=8), st.integers(1, 8))
def test_the_requests_hold_every_sample_once_whatever_is_owned(quantity, owned, largest):
    reach = 0
    for start, count in sorted(owned.items()):
        if start < reach:
            del owned[start]  # two requests never hold the same sample
        else:
            reach = start + count
    cuts = cut(quantity, owned, largest)
    ends = [end for _, end in cuts]
    assert [start for start, _ in cuts] == [0, *ends[:-1]]
    assert ends[-1] >= quantity > cuts[-1][0]
    for start, end in cuts:
        assert end - start == owned.get(start, end - start)
        assert start in owned or end - start <= largest
    assert {start for start, _ in cuts} >= {start for start in owned if start < quantity}


def test_a_limit_tightened_since_takes_nothing_away_that_is_owned():
    assert cut(11, {0: 8}, largest=2) == [(0, 8), (8, 10), (10, 11)]
