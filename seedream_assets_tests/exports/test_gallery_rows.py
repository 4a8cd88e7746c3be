"""What the page is given: packed columns, facets, lineage."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedream_assets.exports.gallery_rows import (
    GROUPS,
    MOST_FACET_VALUES,
    PackedRows,
    pack_column,
    pack_rows,
    plain_value,
    split_reasons,
)
from seedream_assets.ledger.image_columns import MANIFEST_COLUMNS
from seedream_assets_tests.exports.gallery_builders import make_row, make_unstored


def pack(rows: list[dict[str, Any]]) -> PackedRows:
    return pack_rows(rows, thumbnails={row["image_id"] for row in rows if row["status"] == "stored"})


def unpack(column: dict[str, Any]) -> list[Any]:
    if "cells" in column:
        return list(column["cells"])
    return [None if place < 0 else column["values"][place] for place in column["of"]]


def facets_of(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {facet["name"]: facet for facet in pack(rows).drawn["facets"]}


@given(st.lists(st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3)))
def test_a_packed_column_holds_what_was_packed(cells: list[Any]) -> None:
    unpacked = unpack(pack_column(cells))
    assert [(type(cell), cell) for cell in unpacked] == [(type(cell), cell) for cell in cells]


def test_a_text_that_repeats_is_kept_once() -> None:
    packed = pack_column(["a long prompt"] * 100)
    assert packed == {"values": ["a long prompt"], "of": [0] * 100}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (float("nan"), None),
        (pd.NA, None),
        (pd.NaT, None),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (28.0, 28),
        (0.5, 0.5),
        (float("inf"), "inf"),
        (2**53 + 1, "9007199254740993"),
        ("<NA>", "<NA>"),  # a text that only looks like it
        (datetime(2026, 11, 24, 12, tzinfo=timezone(timedelta(hours=2))), "2026-11-24T10:00:00Z"),
        (pd.Timestamp(2026, 11, 24, tz=UTC), "2026-11-24T00:00:00Z"),
        (datetime(2026, 11, 24, 12), "2026-11-24T12:00:00"),
        (date(2026, 11, 24), "2026-11-24"),
        (Decimal("1.10"), "1.10"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_a_cell_becomes_what_json_knows(value: Any, plain: Any) -> None:
    assert plain_value(value) == plain
    assert type(plain_value(value)) is type(plain)


def test_status_filters_begin_with_what_there_is_to_see() -> None:
    rows = [make_row(0), make_unstored(1, "blocked", "moderation"), make_unstored(2, "withheld", "nsfw")]
    status = facets_of(rows)["status"]
    assert status["values"] == ["stored", "withheld", "blocked"]  # the manifest's own order
    assert status["of"] == [0, 2, 1]
    assert status["first"] == "stored"


@pytest.mark.parametrize("rows", [[make_row(0)], [make_unstored(0, "pending", "not bought yet")]])
def test_where_all_rows_have_one_status_nothing_is_hidden(rows: list[dict[str, Any]]) -> None:
    assert "first" not in facets_of(rows)["status"]


def test_a_column_that_rides_along_with_few_values_is_a_filter() -> None:
    rows = [make_row(number, sku=f"sku-{number // 2}") for number in range(24)]
    facets = facets_of(rows)
    assert facets["category"]["values"] == ["lamps", "tableware", "textiles"]
    assert "sku" not in facets  # as many values as prompt rows
    assert set(facets) == {"status", "style", "category"}


def test_a_filter_puts_the_most_frequent_value_first() -> None:
    rows = [make_row(number, category="rare" if number < 2 else "common") for number in range(12)]
    assert facets_of(rows)["category"]["values"] == ["common", "rare"]


def test_a_column_with_too_many_or_too_long_values_is_no_filter() -> None:
    count = 2 * (MOST_FACET_VALUES + 1)
    rows = [make_row(2 * number, tag=f"tag {number // 2}", note="n" * (80 + number % 2)) for number in range(count)]
    assert not {"tag", "note"} & set(facets_of(rows))
    assert "tag" in facets_of(rows[:-2])


def test_a_missing_value_is_found_under_no_value() -> None:
    rows = [make_row(number, category="lamps" if number < 4 else None) for number in range(12)]
    assert facets_of(rows)["category"]["of"] == [0] * 4 + [-1] * 8


def test_a_column_that_is_named_like_a_part_of_the_address_gets_a_prefix() -> None:
    rows = [make_row(number, q=number // 2 % 2, check="a b"[number // 2 % 2]) for number in range(12)]
    facets = facets_of(rows)
    assert facets["column_q"]["label"] == "q"
    assert facets["column_q"]["values"] == ["0", "1"]
    assert "column_check" in facets


def test_each_check_that_rejected_an_image_is_a_filter() -> None:
    rows = [
        make_row(0, rejected=True, reject_reasons="near_duplicate: of 3f; blank"),
        make_row(1, rejected=False),
        make_unstored(2, "failed", "no luck", rejected=False),
    ]
    check = facets_of(rows)["check"]
    assert {check["values"][place] for place in check["of"][0]} == {
        "rejected",
        "rejected: near_duplicate",
        "rejected: blank",
    }
    assert check["values"][check["of"][1]] == "passed"
    assert check["of"][2] == -1


def test_without_rejected_images_or_their_column_there_is_no_such_filter() -> None:
    assert "check" not in facets_of([make_row(0), make_row(1)])
    assert "check" not in facets_of([make_row(0, rejected=False), make_row(1, rejected=False)])


def test_reasons_are_kept_apart() -> None:
    assert split_reasons("blank; near_duplicate: of a; near_duplicate: of b") == ["blank", "near_duplicate"]
    assert split_reasons(None) == []


def test_the_lineage_holds_every_column_with_a_value() -> None:
    row = make_row(0, rejected=False, brand_new_column="x")
    packed = pack([row])
    columns = packed.drawn["columns"] | packed.lineage["columns"]
    shown_values = {name: unpack(columns[name])[0] for name in row if row[name] is not None}
    assert shown_values == {name: value for name, value in row.items() if value is not None}
    placed = [name for _, names in packed.lineage["groups"] for name in names]
    assert sorted(placed) == sorted(row)


def test_columns_of_the_table_are_shown_with_the_prompt_row() -> None:
    groups = dict(pack([make_row(0)]).lineage["groups"])
    assert groups["Prompt row"][-1] == "category"


def test_every_column_is_in_one_group_only() -> None:
    placed = [name for names in GROUPS.values() for name in names]
    assert len(placed) == len(set(placed))
    assert len(set(MANIFEST_COLUMNS) - set(placed)) < len(MANIFEST_COLUMNS) / 4


def test_no_rows_are_packed_too() -> None:
    packed = pack([])
    assert packed.rows == 0
    assert packed.drawn == {"facets": [], "columns": {"prompt": {"values": [], "of": []}}}
