"""What was booked, summed over manifests. Pure; tables in, table out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

GROUPINGS = ("dataset", "partition", "run", "style", "model", "day")
QUOTED = "CREDITS (quoted)"
_COLUMN = {"run": "run_id"}
COLUMNS = (
    "dataset",
    "partition",
    "run_id",
    "style",
    "model",
    "image_id",
    "cost_amount",
    "cost_unit",
    "credits_quoted",
    "reused",
    "submitted_at",
)


def sum_spend(manifests: Iterable[pd.DataFrame], by: Sequence[str] = ("dataset",)) -> pd.DataFrame:
    """Images and their cost by these groupings and by unit, in the groupings' order.

    An image that stands in several manifests, or several times in one, is counted where it was paid for, once. Where
    the API told no cost (a generation that was adopted from the history), the quote counts, under a unit of its own.

    Args:
        manifests: With at least `COLUMNS`.
        by: Any of `GROUPINGS`; `day` is the UTC day of the submit.

    Returns:
        The groupings as columns, then `unit`, `images` (int) and `amount` (float, in the unit).
    """
    names = [*by, "unit", "images", "amount"]
    tables = [manifest[list(COLUMNS)] for manifest in manifests if len(manifest)]
    if not tables:
        return pd.DataFrame(columns=names)
    rows = pd.concat(tables, ignore_index=True)
    # Submitted means paid for; the others were never bought.
    rows = rows[~rows["reused"].astype(bool) & rows["submitted_at"].notna()].drop_duplicates("image_id")
    rows = rows.assign(
        day=rows["submitted_at"].dt.strftime("%Y-%m-%d"),
        unit=rows["cost_unit"].fillna(QUOTED),
        cost_amount=rows["cost_amount"].fillna(rows["credits_quoted"]),
    )
    columns = [_COLUMN.get(name, name) for name in by]
    summed = rows.groupby([*columns, "unit"], dropna=False).agg(
        images=("image_id", "size"), amount=("cost_amount", "sum")
    )
    return summed.reset_index().set_axis(names, axis="columns")
