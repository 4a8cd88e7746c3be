"""Which columns of a manifest an export hands over, under which names and kinds."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pytest

from seedream_assets.exports.columns import column_values, export_columns, has_gap, kind_of


def names_of(*fields: tuple[str, pa.DataType], costs: bool = False) -> dict[str, tuple[str, str]]:
    columns = export_columns([pa.schema(fields)], costs=costs)
    return {column.source: (column.name, column.kind) for column in columns}


def test_ours_come_first_and_costs_only_where_they_are_wanted() -> None:
    fields = [("shelf", pa.string()), ("cost_amount", pa.float64()), ("prompt", pa.string()), ("run_id", pa.string())]
    assert list(names_of(*fields)) == ["prompt", "shelf"]
    assert list(names_of(*fields, costs=True)) == ["prompt", "cost_amount", "shelf"]


@pytest.mark.parametrize("name", ["image", "Images", "file_name", "thumb_file_names", "__key__", " "])
def test_a_name_that_a_loader_takes_for_its_own_is_changed(name: str) -> None:
    assert names_of((name, pa.string()))[name] == (f"{name}_column", "text")


def test_a_changed_name_takes_nobodys() -> None:
    found = names_of(("image", pa.string()), ("image_column", pa.string()))
    assert len({name for name, _ in found.values()}) == 2
    assert found["image_column"][0] == "image_column"


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (pa.int64(), pa.float64(), "float"),
        (pa.int64(), pa.string(), "text"),
        (pa.null(), pa.int32(), "int"),
        (pa.null(), pa.null(), "text"),
        (pa.bool_(), pa.bool_(), "bool"),
    ],
)
def test_one_column_has_one_kind_over_all_partitions(first: pa.DataType, second: pa.DataType, kind: str) -> None:
    (column,) = export_columns([pa.schema([("x", first)]), pa.schema([("x", second)])], gaps=frozenset({"x"}))
    assert (column.kind, column.gaps, column.arrow.name) == (kind, True, "x")


def test_a_time_without_a_zone_and_an_integer_beyond_64_bits_are_text() -> None:
    assert kind_of(pa.timestamp("us")) == "text"
    assert kind_of(pa.timestamp("ns", tz="Europe/Berlin")) == "time"
    assert kind_of(pa.uint64()) == "text"


def test_what_has_no_text_of_its_own_becomes_json() -> None:
    mixed = pa.chunked_array([pa.array([["a", "ü"], None])])
    assert column_values(mixed, "text").to_pylist() == ['["a", "ü"]', None]
    assert column_values(pa.chunked_array([pa.array([True, False])]), "text").to_pylist() == ["true", "false"]
    assert column_values(pa.chunked_array([pa.array([b"\x01\xff"])]), "text").to_pylist() == ["01ff"]
    naive = pa.chunked_array([pa.array([datetime(2026, 11, 1)], pa.timestamp("us"))])
    assert column_values(naive, "text").to_pylist() == ["2026-11-01 00:00:00"]
    assert column_values(pa.chunked_array([pa.array([1, 2], pa.int8())]), "float").to_pylist() == [1.0, 2.0]
    same = pa.chunked_array([pa.array(["a"])])
    assert column_values(same, "text") is same


def test_a_missing_value_and_a_float_that_json_cannot_say_are_gaps() -> None:
    assert has_gap(pa.chunked_array([pa.array([1, None])]))
    assert has_gap(pa.chunked_array([pa.array([1.0, float("inf")])]))
    assert not has_gap(pa.chunked_array([pa.array([1.0, 2.0])]))
