"""What a sensor remembers between two looks, and what it takes for a change."""

from __future__ import annotations

import pytest

from seedream_assets.prompts.partitions import EMPTY, SeenTables, contiguous, digest

FOUND = {"a": digest("one"), "b": digest("two")}


def test_everything_is_new_at_first_and_nothing_once_it_was_asked_for() -> None:
    first = SeenTables()
    assert first.changed(FOUND) == ["a", "b"]
    seen = first.after(FOUND, asked=["a", "b"], tables="v1")
    assert seen.changed(FOUND) == []
    assert (seen.number, seen.tables) == (1, "v1")
    assert seen.changed({**FOUND, "b": digest("three")}) == ["b"]


def test_what_was_not_asked_for_stays_a_change_and_the_tables_are_read_again() -> None:
    seen = SeenTables().after(FOUND, asked=["a"], tables="v1")
    assert seen.changed(FOUND) == ["b"]
    assert seen.tables == ""


def test_what_is_gone_is_told_as_empty_once_it_was_known_and_then_forgotten() -> None:
    seen = SeenTables().after(FOUND, asked=["a", "b"], tables="v1")
    left = {"a": FOUND["a"]}
    assert seen.emptied(["a", "b", "never-seen"], left) == {"b": EMPTY}
    later = seen.after(left, asked=[], tables="v2")
    assert later.emptied(["b"], left) == {}
    assert later.number == 1


def test_a_cursor_gives_back_what_was_put_into_it() -> None:
    seen = SeenTables().after(FOUND, asked=["a", "b"], tables="v1")
    assert SeenTables.from_cursor(seen.to_cursor()) == seen


@pytest.mark.parametrize("cursor", [None, "", "no json", "[]", '{"version": 99}', '{"version": 1, "partitions": "!"}'])
def test_a_cursor_that_cannot_be_read_is_as_none(cursor: str | None) -> None:
    assert SeenTables.from_cursor(cursor) == SeenTables()


def test_parts_of_a_digest_are_told_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a") == digest(b"a")


def test_keys_that_follow_each_other_become_ranges() -> None:
    order = ["a", "b", "c", "d", "e"]
    assert contiguous(order, ["e", "a", "b"]) == [("a", "b"), ("e", "e")]
    assert contiguous(order, []) == []
    assert contiguous(order, order) == [("a", "e")]
