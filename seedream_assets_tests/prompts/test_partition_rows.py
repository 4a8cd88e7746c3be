"""Claims about rows and partitions: each row is in one, is told why it is in none, or is before the first."""

from datetime import date

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedream_assets.config.partitions import MOST_PARTITIONS, Partitions, error_of_key, normal_key
from seedream_assets.errors import ConfigError, PromptTableError
from seedream_assets.prompts.formats import join_prompt_tables, parse_prompt_file
from seedream_assets.prompts.partitions import partition_rows, row_hashes, rows_of_partition

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


def test_a_row_that_is_broken_is_told_and_is_in_no_partition():
    frame = parse_prompt_file(b"prompt,colour\na cup,red\na,mug,blue\n", "prompts.csv")
    found = partition_rows(frame, COLOUR)
    assert found.keys == ("red",)
    assert rules(found) == {2: "broken_row"}


def test_rejected_rows_are_told_under_their_table_and_row():
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
    ("partitions", "key", "told"),
    [
        (DAILY, "2026-13-01", "is no day of this dataset; the first is 2026-11-01"),
        (DAILY, "2026-10-31", "is before the first one, 2026-11-01"),
        (DAILY, "..", "is no day"),
        (COLOUR, "a...b", "cannot be one"),
        (COLOUR, "", "cannot be one"),
    ],
)
def test_a_key_that_no_partition_can_have_is_refused(partitions, key, told):
    with pytest.raises(ConfigError, match=told):
        partitions.refuse_unless_key(key)


def test_a_row_s_hash_changes_with_its_cells_and_not_with_its_place():
    one = join_prompt_tables({"a.csv": parse_prompt_file(b"prompt,n\nx,1\ny,2\n", "a.csv")})
    other = join_prompt_tables({"b.csv": parse_prompt_file(b"prompt,n\ny,2\nx,1\nx,3\n", "b.csv")})
    assert row_hashes(one)[::-1].tolist() == row_hashes(other)[:2].tolist()
    assert row_hashes(other)[1] != row_hashes(other)[2]
