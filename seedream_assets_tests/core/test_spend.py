"""What was booked, summed over manifests."""

from __future__ import annotations

import pandas as pd

from seedream_assets.core.spend import QUOTED, sum_spend


def manifest(**columns: list[object]) -> pd.DataFrame:
    rows = len(next(iter(columns.values())))
    values: dict[str, list[object]] = {
        "dataset": ["shoes"] * rows,
        "partition": ["all"] * rows,
        "run_id": ["run-1"] * rows,
        "style": ["None"] * rows,
        "model": ["seedream-4.0"] * rows,
        "image_id": [f"image-{number}" for number in range(rows)],
        "cost_amount": [28.0] * rows,
        "cost_unit": ["CREDITS"] * rows,
        "credits_quoted": [28.0] * rows,
        "reused": [False] * rows,
        "submitted_at": [pd.Timestamp("2026-11-23T23:30Z")] * rows,
        **columns,
    }
    return pd.DataFrame(values)


def test_images_are_summed_by_what_was_asked_and_by_unit() -> None:
    table = manifest(style=["None", "Cinematic", "None"], cost_unit=["CREDITS", "CREDITS", "DOLLARS"])
    found = sum_spend([table], by=["style", "day"])
    assert found.to_dict("records") == [
        {"style": "Cinematic", "day": "2026-11-23", "unit": "CREDITS", "images": 1, "amount": 28.0},
        {"style": "None", "day": "2026-11-23", "unit": "CREDITS", "images": 1, "amount": 28.0},
        {"style": "None", "day": "2026-11-23", "unit": "DOLLARS", "images": 1, "amount": 28.0},
    ]


def test_an_image_is_counted_where_it_was_paid_for_and_once() -> None:
    one, other = manifest(image_id=["a", "b"]), manifest(image_id=["a", "c"], reused=[True, False])
    (row,) = sum_spend([one, other, one]).to_dict("records")
    assert (row["images"], row["amount"]) == (3, 84.0)


def test_what_was_never_submitted_costs_nothing_and_a_cost_nobody_told_is_the_quote() -> None:
    table = manifest(
        cost_amount=[None, None], cost_unit=[None, None], submitted_at=[pd.NaT, pd.Timestamp("2026-11-01T00:00Z")]
    )
    (row,) = sum_spend([table]).to_dict("records")
    assert (row["unit"], row["images"], row["amount"]) == (QUOTED, 1, 28.0)


def test_without_manifests_there_is_an_empty_table_of_the_same_columns() -> None:
    assert list(sum_spend([], by=["run"]).columns) == ["run", "unit", "images", "amount"]
