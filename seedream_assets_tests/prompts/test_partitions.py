"""Claims about partitions: each row is in one, has a reason why it is in none, or is before the first; and about what a
sensor remembers of the tables between two looks, and takes for a change."""

from datetime import date

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedream_assets.config.partitions import MOST_PARTITIONS, Partitions, error_of_key, normal_key
from seedream_assets.errors import ConfigError, PromptTableError
from seedream_assets.prompts.formats import join_prompt_tables, parse_prompt_file
from seedream_assets.prompts.partitions import (
    EMPTY,
    SeenTables,
    contiguous,
    digest,
    partition_rows,
    row_hashes,
    rows_of_partition,
)

COLOUR = Partitions(by="column", column="colour")
DAILY = Partitions(by="daily", column="day", start=date(2026, 11, 1))


def by_colour(values):
    return partition_rows(pd.DataFrame({"prompt": [f"p{n}" for n, _ in enumerate(values)], "colour": values}), COLOUR)


def rules(found):
    return dict(zip(found.rejected["row_number"], found.rejected["rule"], strict=True))


def test_rows_go_to_their_value_in_the_order_of_the_table():
    found = by_colour(["red", "blue", " red ", "Red"])
    assert found.keys == ("red", "blue", "Red")
    assert found.codes.tolist() == [0, 1, 0, 2]
    assert found.rejected.empty


def test_values_that_are_the_same_to_a_reader_are_one_partition():
    assert by_colour(["caf\u00e9", "cafe\u0301"]).keys == ("caf\u00e9",)
    assert by_colour([7.0, None, 8.0]).keys == ("7", "8")
    assert by_colour([True, False]).keys == ("true", "false")


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("", "partition_empty"),
        ("  ", "partition_empty"),
        (None, "partition_empty"),
        ("x" * 201, "partition_length"),
        ("red\nand blue", "partition_control_character"),
        ("red\x00", "partition_control_character"),
        ("a...z", "partition_dots"),
    ],
)
def test_a_value_that_cannot_name_a_partition_rejects_its_row_and_no_other(value, rule):
    found = by_colour(["red", value, "blue"])
    assert found.keys == ("red", "blue")
    assert found.codes.tolist() == [0, -1, 1]
    assert rules(found) == {2: rule}


@pytest.mark.parametrize("value", ["x" * 200, "a/b", "..", "a b", "100 %", "=1+1", "👟", "all"])
def test_unusual_values_are_partitions(value):
    assert by_colour([value]).keys == (value,)


@given(st.text())
def test_what_is_taken_as_a_key_dagster_takes_too(text):
    from dagster._core.definitions.partitions.utils.base import raise_error_on_invalid_partition_key_substring

    key = normal_key(text)
    if error_of_key(key) is None:
        raise_error_on_invalid_partition_key_substring([key])
        assert normal_key(key) == key


def test_a_row_that_is_broken_is_reported_and_is_in_no_partition():
    frame = parse_prompt_file(b"prompt,colour\na cup,red\na,mug,blue\n", "prompts.csv")
    found = partition_rows(frame, COLOUR)
    assert found.keys == ("red",)
    assert rules(found) == {2: "broken_row"}


def test_rejected_rows_are_named_by_their_table_and_row():
    tables = {
        name: parse_prompt_file(body, name)
        for name, body in [("a.csv", b"prompt,colour\nx,\n"), ("b.csv", b"prompt,colour\nx,red\ny,\n")]
    }
    _rows, rejected = rows_of_partition(join_prompt_tables(tables), COLOUR, "red")
    assert rejected[["table", "row_number", "column"]].values.tolist() == [
        ["a.csv", 1, "colour"],
        ["b.csv", 2, "colour"],
    ]


def test_more_values_than_partitions_may_be_are_refused():
    with pytest.raises(PromptTableError, match=f"has {MOST_PARTITIONS + 1} values; at most {MOST_PARTITIONS}"):
        by_colour([f"v{number}" for number in range(MOST_PARTITIONS + 1)])


@pytest.mark.parametrize("by", ["hourly", "daily", "weekly", "monthly"])
def test_dates_and_times_with_and_without_a_zone_stand_in_one_column(by):
    frame = pd.DataFrame(
        {
            "prompt": list("abcd"),
            "day": ["2026-11-01", "2026-11-01T00:30:00", "2026-11-01T02:30+02:00", "2026-11-01T00:10Z"],
        }
    )
    found = partition_rows(frame, Partitions(by=by, column="day", start=date(2026, 11, 1)))
    assert len(found.keys) == 1
    assert found.codes.tolist() == [0, 0, 0, 0]


def test_what_is_no_date_is_rejected_and_what_is_before_the_first_day_is_left_out():
    frame = pd.DataFrame(
        {"prompt": list("abcd"), "Day ": ["2026-11-02", "2.11.2026", "2026-10-31", "9999-12-31T23:59:59+00:00"]}
    )
    found = partition_rows(frame, Partitions(by="daily", column="day", start=date(2026, 11, 1), timezone="Asia/Tokyo"))
    assert found.keys == ("2026-11-02",)
    assert found.codes.tolist() == [0, -1, -1, -1]
    assert rules(found) == {2: "partition_date", 4: "partition_date"}


def test_time_partitions_come_oldest_first():
    frame = pd.DataFrame({"prompt": list("ab"), "day": ["2026-12-01", "2026-11-02"]})
    assert partition_rows(frame, DAILY).keys == ("2026-11-02", "2026-12-01")


def test_a_partition_without_rows_and_a_table_without_the_column_are_refused():
    frame = pd.DataFrame({"prompt": ["a"], "day": ["2026-11-02"]})
    with pytest.raises(PromptTableError, match="no row of the table belongs to the partition '2026-11-03'"):
        rows_of_partition(frame, DAILY, "2026-11-03")
    with pytest.raises(PromptTableError, match="no column 'colour' to partition by; it has prompt, day"):
        partition_rows(frame, COLOUR)


@pytest.mark.parametrize(
    ("partitions", "key", "message"),
    [
        (DAILY, "2026-13-01", "is no day of this dataset; the first is 2026-11-01"),
        (DAILY, "2026-10-31", "is before the first one, 2026-11-01"),
        (DAILY, "..", "is no day"),
        (COLOUR, "a...b", "cannot be one"),
        (COLOUR, "", "cannot be one"),
    ],
)
def test_a_key_that_no_partition_can_have_is_refused(partitions, key, message):
    with pytest.raises(ConfigError, match=message):
        partitions.refuse_unless_key(key)


def test_a_row_s_hash_changes_with_its_cells_and_not_with_its_place():
    one = join_prompt_tables({"a.csv": parse_prompt_file(b"prompt,n\nx,1\ny,2\n", "a.csv")})
    other = join_prompt_tables({"b.csv": parse_prompt_file(b"prompt,n\ny,2\nx,1\nx,3\n", "b.csv")})
    assert row_hashes(one)[::-1].tolist() == row_hashes(other)[:2].tolist()
    assert row_hashes(other)[1] != row_hashes(other)[2]


# --- what a sensor remembers

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


def test_what_is_gone_is_reported_as_empty_once_it_was_known_and_then_forgotten() -> None:
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


def test_parts_of_a_digest_are_kept_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a") == digest(b"a")


def test_keys_that_follow_each_other_become_ranges() -> None:
    order = ["a", "b", "c", "d", "e"]
    assert contiguous(order, ["e", "a", "b"]) == [("a", "b"), ("e", "e")]
    assert contiguous(order, []) == []
    assert contiguous(order, order) == [("a", "e")]
