"""Claims about the rate of creates after a 429, on a clock that the test sets."""

from __future__ import annotations

import pytest

from seedream_assets.leonardo.shared_rate import CUT_TO, SharedRate


def sent_within(rate: SharedRate, begin: float, seconds: float) -> list[float]:
    """When creates leave that all want to go at once."""
    now, sent = begin, []
    while now < begin + seconds:
        wait = rate.wait_seconds(now)
        if not wait:
            sent.append(now)
        now += wait
    return sent


def refuse(rate: SharedRate, now: float, *, sent_at: float | None = None, retry_after: float | None = None) -> None:
    rate.note_refused(now, sent_at=now if sent_at is None else sent_at, retry_after_seconds=retry_after)


def test_alone_it_sends_at_the_limit() -> None:
    assert len(sent_within(SharedRate(60, at_once=5), 0.0, 60.0)) in (64, 65)


def test_a_429_cuts_what_was_really_sent() -> None:
    rate = SharedRate(100, at_once=1)
    for second in range(0, 60, 2):  # 30 in a minute, where 100 are allowed
        assert rate.wait_seconds(float(second)) == 0.0
    refuse(rate, 60.0)
    assert rate.per_minute(60.0) == pytest.approx(30 * CUT_TO, rel=0.1)


def test_many_429s_at_once_cut_once() -> None:
    rate = SharedRate(100, at_once=1)
    sent_within(rate, 0.0, 60.0)
    for _ in range(20):
        refuse(rate, 60.0)
    once = rate.per_minute(60.0)
    refuse(rate, 75.0, sent_at=65.0)
    assert rate.per_minute(60.0) == once
    refuse(rate, 75.0, sent_at=72.0)
    assert rate.per_minute(75.0) < once + 25


def test_time_gives_back_what_was_cut_and_never_more_than_the_limit() -> None:
    rate = SharedRate(100, at_once=1)
    sent_within(rate, 0.0, 60.0)
    refuse(rate, 60.0)
    found = [rate.per_minute(60.0 + seconds) for seconds in (0, 10, 20, 60, 1e6)]
    assert found == sorted(found)
    assert found[1] - found[0] == pytest.approx(found[2] - found[1])
    assert found[-1] == 100


def test_however_often_it_is_refused_it_goes_on_asking() -> None:
    rate = SharedRate(100, at_once=1)
    for minute in range(100):
        refuse(rate, 60.0 * minute)
    assert len(sent_within(rate, 6000.0, 60.0)) >= 5


@pytest.mark.parametrize(("asked", "waits"), [(7.0, 7.0), (0.0, 0.0), (1e9, 60.0)])
def test_a_retry_after_is_obeyed_within_bounds(asked: float, waits: float) -> None:
    rate = SharedRate(1_000_000, at_once=100)
    refuse(rate, 10.0, retry_after=asked)
    assert rate.wait_seconds(10.0) == pytest.approx(waits, abs=0.01)
