"""The result of a run as one flat object and in words."""

from __future__ import annotations

from typing import Any

from seedream_assets.core.quote import Quote
from seedream_assets.core.summary import SUMMED, add_up, describe, summarise

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
    told = summarise(
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
    return {**told, **changes}


def test_a_summary_counts_images_by_what_became_of_them() -> None:
    told = summary()
    assert (told["wanted"], told["stored"], told["reused"], told["blocked"], told["failed"]) == (4, 3, 2, 1, 0)
    assert told["cost"] == {"amount": 0.0, "unit": "CREDITS"}
    assert told["seconds"] == 61.235


def test_partitions_are_added_up_in_the_unit_of_the_dearest() -> None:
    parts = [
        summary("monday", cost={"amount": 56.0, "unit": "CREDITS"}),
        summary("tuesday", cost={"amount": 28.0, "unit": "CREDITS"}),
        summary("sunday", cost={"amount": 0.1, "unit": "DOLLARS"}),
    ]
    total = add_up(parts, {"friday": "no such file"}, dataset="shoes", seconds=9)
    assert {name: total[name] for name in SUMMED} == {name: 3 * parts[0][name] for name in SUMMED}
    assert total["cost"] == {"amount": 84.0, "unit": "CREDITS"}
    assert (total["not_read"], len(total["partitions"])) == ({"friday": "no such file"}, 3)


def test_nothing_to_add_up_is_zero() -> None:
    assert add_up([], {}, dataset="shoes", seconds=0)["cost"] == {"amount": 0, "unit": "CREDITS"}


def test_words_leave_out_what_is_zero_and_good_to_be_zero() -> None:
    words = describe(summary("monday", cost={"amount": 28.0, "unit": "CREDITS"}))
    assert "shoes, monday: 3 of 4 images stored (2 owned before); 1 blocked" in words
    assert "112 credits quoted, 56 to buy, 28 credits booked" in words
    assert "1 stored images are rejected; 1 more were wanted in their place" in words
    assert "1 rows of the table were rejected" in words
    assert "1 min 1 s" in words
    assert "failed" not in words


def test_words_say_that_nothing_was_bought() -> None:
    words = describe(summary(rejected=0, rejected_rows=0))
    assert "nothing was bought" in words
    assert "rejected" not in words
