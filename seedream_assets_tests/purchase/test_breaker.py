"""Claims about giving up: too much of one trouble in a row ends a run, and a success in between begins the row anew."""

import pytest

from seedream_assets.purchase.shutdown import MOST_IN_A_ROW, Breaker


def feed(breaker, events):
    """Events as `trouble` or `trouble:reason` or `+success`; what the last one said."""
    said = None
    for event in events:
        if event.startswith("+"):
            breaker.succeeded(event[1:])
            said = None
        else:
            trouble, _, reason = event.partition(":")
            said = breaker.failed(trouble, reason or "no")
    return said


@pytest.mark.parametrize(
    ("events", "stops"),
    [
        (["refused"] * 9, False),
        (["refused"] * 10, True),
        (["refused"] * 9 + ["+accepted", "refused"], False),
        (["refused"] * 9 + ["+delivered", "refused"], True),  # an older job's images say nothing about new requests
        (["refused"] * 9 + ["refused:another reason"], False),
        ([f"refused:{number}" for number in range(50)], False),
        (["uncertain"] * 19, False),
        ([f"uncertain:{number}" for number in range(20)], True),
        (["uncertain"] * 19 + ["+accepted", "uncertain"], False),
        (["uncertain", "refused"] * 9, False),
        (["undelivered"] * 19 + ["+accepted"], False),
        (["undelivered"] * 19 + ["+accepted", "undelivered"], True),
        (["undelivered"] * 19 + ["+delivered", "undelivered"], False),
        (["blocked"] * 29 + ["+accepted"] + ["blocked"] * 10, False),
        ([f"blocked:{word}" for word in range(30)], True),
        (["fruitless"] * 19 + ["+delivered", "fruitless"], False),
        (["fruitless"] * 20, True),
        # A success now and then does not hide that most fare alike.
        ((["refused"] * 4 + ["+accepted"]) * 11 + ["refused"] * 4, False),
        ((["refused"] * 4 + ["+accepted"]) * 11 + ["refused"] * 5, True),
        ((["refused"] * 2 + ["+accepted"]) * 50 + ["refused"], False),
        ((["blocked"] * 4 + ["refused", "+accepted"]) * 50 + ["refused"], False),
        (["unexpected"] * 10, True),
        (["unexpected"] * 9 + ["unexpected:something else"], False),
    ],
)
def test_a_row_of_one_trouble_stops_the_run(events, stops):
    assert (feed(Breaker(), events) is not None) is stops


@pytest.mark.parametrize("trouble", MOST_IN_A_ROW)
def test_the_reason_to_stop_says_how_many_and_the_latest(trouble):
    said = feed(Breaker(), [f"{trouble}:the server said no"] * MOST_IN_A_ROW[trouble])
    assert said.startswith(f"{MOST_IN_A_ROW[trouble]} ")
    assert said.endswith("the latest: the server said no")
