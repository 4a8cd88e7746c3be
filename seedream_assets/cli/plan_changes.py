"""What changed since a manifest, as lines for people and as facts for `--json`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from seedream_assets.planning.plan_diff import CHANGES, PlanDiff

ROWS_SHOWN = 20
LONGEST_PROMPT = 60
_MARKS = {"added": "+", "removed": "-", "changed": "~"}


def as_lines(uri: str, diff: PlanDiff) -> Iterator[str]:
    """The changes, the first rows of each kind, and the price of going there."""
    yield f"against {uri}:"
    yield "  " + ", ".join(f"{_rows(diff.count(change))} {change}" for change in CHANGES)
    for name, columns in (("added", diff.columns_added), ("removed", diff.columns_removed)):
        if columns:
            yield f"  columns {name}: {', '.join(columns)}"
    for old, new in diff.columns_renamed.items():
        yield f"  column renamed: {old} is {new} now"
    for change, mark in _MARKS.items():
        rows = diff.rows[diff.rows["change"] == change]
        for row in rows.head(ROWS_SHOWN).to_dict("records"):
            yield f"  {mark} {_told({str(name): value for name, value in row.items()})}"
        if len(rows) > ROWS_SHOWN:
            yield f"  {mark} … and {len(rows) - ROWS_SHOWN} more"
    prices = {change: diff.credits(change) for change in CHANGES if diff.credits(change)}
    parts = ", ".join(f"{credits} for rows {change}" for change, credits in prices.items())
    yield f"  to go there: {sum(prices.values())} credits" + (f" ({parts})" if parts else "")


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"


def _told(row: dict[str, Any]) -> str:
    prompt = str(row["prompt"])
    short = prompt if len(prompt) <= LONGEST_PROMPT else prompt[: LONGEST_PROMPT - 1] + "…"
    if row["change"] != "changed":
        return f"{row['prompt_id']}: {short}"
    images = f" ({row['earlier_images']} → {row['images']} images)" if row["images"] != row["earlier_images"] else ""
    credits = f", {row['credits']} credits" if row["credits"] else ""
    return f"{row['prompt_id']}: {', '.join(row['columns'])}{images}{credits}"


def as_facts(uri: str, diff: PlanDiff) -> dict[str, Any]:
    """The same, with every row that is not as it was."""
    changed = diff.rows[diff.rows["change"] != "unchanged"]
    return {
        "manifest": uri,
        "rows": {change: diff.count(change) for change in CHANGES},
        "credits": {change: diff.credits(change) for change in CHANGES if change != "removed"},
        "columns": {
            "added": list(diff.columns_added),
            "removed": list(diff.columns_removed),
            "renamed": dict(diff.columns_renamed),
        },
        "changes": [_fact(row) for row in changed.to_dict("records")],
    }


def _fact(row: Any) -> dict[str, Any]:
    plain = {str(name): value for name, value in row.items() if name != "columns"}
    return {name: None if pd.isna(value) else value for name, value in plain.items()} | {
        "columns": list(row["columns"])
    }
