"""Claims about a declaration: what cannot be a dataset is refused where it is declared, and keys mislead nobody."""

from datetime import date
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedream_assets.config.dataset import DatasetConfig, Partitions, partition_in_key
from seedream_assets.errors import ConfigError

FIRST_DAY = date(2026, 11, 1)
PARTITION = st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.sampled_from(
    [".", "..", "%2E", "a/b", "a b"]
)


def make_config(**changes):
    values = {
        "name": "product_scenes",
        "base": PurePosixPath("/project"),
        "prompts": {"table": changes.pop("tables", "prompts.csv")},
        "store": "s3://bucket/prefix",
    }
    return DatasetConfig(**(values | changes))


@pytest.mark.parametrize("name", ["a", "A9_", "a" * 100])
def test_a_name_that_can_be_part_of_keys_is_taken(name):
    assert make_config(name=name).name == name


@pytest.mark.parametrize("name", ["", "9a", "_a", "a-b", "a/b", "a b", "é", "a" * 101, "a\n"])
def test_a_name_that_cannot_be_part_of_keys_is_refused(name):
    with pytest.raises(ConfigError, match="name: got"):
        make_config(name=name)


@pytest.mark.parametrize("tables", [(), ("",), ("a.csv", "")])
def test_a_dataset_without_a_table_is_refused(tables):
    with pytest.raises(ConfigError, match=r"prompts\.table"):
        make_config(tables=tables)


@pytest.mark.parametrize(
    ("partitions", "message"),
    [
        ({"by": "daily", "column": "day"}, "first day"),
        ({"by": "column"}, "needs a column"),
        ({"by": "none", "column": "day"}, "by none takes no column"),
        ({"by": "table", "column": "day"}, "by table takes no column"),
    ],
)
def test_partitions_that_lack_or_exceed_what_they_need_are_refused(partitions, message):
    with pytest.raises(ConfigError, match=message):
        Partitions(**partitions)


@pytest.mark.parametrize("partitions", [{}, {"by": "table"}, {"by": "column", "column": "day"}])
def test_partitions_with_what_they_need_are_taken(partitions):
    assert make_config(partitions=Partitions(**partitions)).partitions.by == partitions.get("by", "none")


def test_daily_partitions_need_a_column_or_a_place_in_the_path():
    by_path = Partitions(by="daily", start=FIRST_DAY)
    by_column = Partitions(by="daily", start=FIRST_DAY, column="day")
    with pytest.raises(ConfigError, match="daily needs a column with the date"):
        make_config(partitions=by_path)
    assert not make_config(partitions=by_column).has_partition_in_path
    assert make_config(partitions=by_path, tables=("in/{partition}.csv",)).has_partition_in_path


def test_the_partition_is_put_into_every_table_that_names_it():
    daily = Partitions(by="daily", start=FIRST_DAY)
    config = make_config(partitions=daily, tables=("in/{partition}/a.csv", "in/all.csv"))
    assert config.tables_of("2026-11-01") == ("in/2026-11-01/a.csv", "in/all.csv")


@pytest.mark.parametrize(
    ("partition", "in_key"),
    [
        ("all", "all"),
        ("2026-11-01", "2026-11-01"),
        ("living room", "living room"),
        ("a/b", "a%2Fb"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("a.csv", "a.csv"),
        ("50%", "50%25"),
        ("é", "%C3%A9"),
    ],
)
def test_a_partition_stands_in_a_key_without_misleading_a_path(partition, in_key):
    assert make_config().key("manifest", partition) == f"datasets/product_scenes/manifest/{in_key}.parquet"


def test_a_partition_in_the_path_of_tables_that_have_none_is_refused():
    with pytest.raises(ConfigError, match="is for time partitions, not for by: none"):
        make_config(tables=("in/{partition}.csv",))


@pytest.mark.parametrize("partition", ["x" * 200, "é" * 200, "日本語の文字" * 30, "a b/" * 50, "x" * 201])
def test_a_long_partition_fits_into_a_file_name(partition):
    in_key = partition_in_key(partition)
    assert len(f"{in_key}.rejected.parquet".encode()) <= 255
    assert partition_in_key(partition + "x") != in_key


def test_a_key_can_have_another_suffix():
    assert make_config().key("requests", "all", ".json") == "datasets/product_scenes/requests/all.json"


@given(PARTITION, PARTITION)
def test_two_partitions_never_share_a_key(one, other):
    assert (partition_in_key(one) == partition_in_key(other)) == (one == other)
    assert "/" not in partition_in_key(one)
