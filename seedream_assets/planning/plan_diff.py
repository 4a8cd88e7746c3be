"""What changed between an earlier table and the table as it is now: rows added, removed and changed, and their price.

Which row is which is decided by `prompt_id`, first. A derived id is a hash of the row's content, so an edited row has
another one: those are matched by a prompt that only one row has on either side, then by extra columns, then by their
position between the same neighbours. Pure; tables in, table out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from seedream_assets.ledger.state import RequestState
from seedream_assets.prompts.cells import IntArray, as_text, iterate
from seedream_assets.prompts.table import is_derived

CHANGES = ("added", "removed", "changed", "unchanged")
DIFF_COLUMNS: Mapping[str, str] = {
    "change": "string",
    "prompt_id": "string",
    "earlier_prompt_id": "string",
    "row_number": "Int64",
    "earlier_row_number": "Int64",
    "prompt": "string",
    "columns": "object",
    "images": "int64",
    "earlier_images": "int64",
    "credits": "int64",
}
# What makes a row another picture, or another number of them. `public` is in no manifest, and changes neither.
SETTINGS = ("prompt", "model", "width", "height", "style", "prompt_enhance", "references", "seed", "quantity")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDiff:
    """The way from an earlier table to the present one.

    Attributes:
        rows: One row per row of either table, the new one's first, in their orders; columns and dtypes as
            `DIFF_COLUMNS`. `columns` is a tuple of names; `credits` is the price of what is to buy for the row. A
            picture that several rows want is priced at the first of them.
        columns_added, columns_removed: Of the table's other columns.
        columns_renamed: New name by old name: same cells in every row that is in both.
    """

    rows: pd.DataFrame
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    columns_renamed: Mapping[str, str]

    def count(self, change: str) -> int:
        """How many rows are `added`, `removed`, `changed` or `unchanged`."""
        return int((self.rows["change"] == change).sum())

    def credits(self, change: str) -> int:
        """What is to buy for them."""
        return int(self.rows.loc[self.rows["change"] == change, "credits"].sum())


def diff_plan(
    old: pd.DataFrame,
    old_extra_columns: pd.DataFrame,
    *,
    prompts: pd.DataFrame,
    extra_columns: pd.DataFrame,
    specs: pd.DataFrame,
    plan: pd.DataFrame,
) -> PlanDiff:
    """Compare an earlier table with a checked one and its plan.

    Args:
        old, old_extra_columns: The rows of the earlier table, as a manifest remembers them.
        prompts, extra_columns: The accepted rows; extra columns under the same names as the earlier ones.
        specs: As `specs_of` gives them for the same rows.
        plan: As `plan_requests` makes it of them.
    """
    new = prompts.assign(references=specs["references"], spec_id=specs["spec_id"]).reset_index(drop=True)
    new_extra_columns = extra_columns.reset_index(drop=True)
    partners = match_rows(old, new, old_extra_columns, new_extra_columns)
    kept = np.flatnonzero(partners >= 0)
    before, after = old.iloc[partners[kept]].reset_index(drop=True), new.iloc[kept].reset_index(drop=True)
    extra_columns_before = old_extra_columns.iloc[partners[kept]].reset_index(drop=True)
    extra_columns_after = new_extra_columns.iloc[kept].reset_index(drop=True)
    renamed = _renamed(extra_columns_before, extra_columns_after)
    both = [str(name) for name in new_extra_columns if name in old_extra_columns]
    settings = _changed_columns(before, after, SETTINGS)
    others = _changed_columns(extra_columns_before, extra_columns_after, both)
    changed: list[tuple[str, ...]] = [()] * len(new)
    for at, names, more in zip(kept.tolist(), settings, others, strict=True):
        changed[at] = (*names, *more)
    gone = np.setdiff1d(np.arange(len(old)), partners)
    return PlanDiff(
        rows=pd.concat(
            [_new_rows(new, old, partners, changed, plan), _gone_rows(old.iloc[gone])], ignore_index=True
        ).astype(dict(DIFF_COLUMNS)),
        columns_added=tuple(
            str(name) for name in new_extra_columns if name not in both and name not in renamed.values()
        ),
        columns_removed=tuple(str(name) for name in old_extra_columns if name not in both and name not in renamed),
        columns_renamed=renamed,
    )


def _changed_columns(before: pd.DataFrame, after: pd.DataFrame, names: Sequence[str]) -> list[list[str]]:
    """The columns in which each pair of rows differs, as text: 3.0 and "3" are the same."""
    changed: list[list[str]] = [[] for _ in range(len(after))]
    for name in names:
        cells = zip(iterate(as_text(before[name])), iterate(as_text(after[name])), strict=True)
        for at, (old, new) in enumerate(cells):
            if old != new:
                changed[at].append(name)
    return changed


def _renamed(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, str]:
    """New name by old name of columns with the same cells; without those that fit more than one."""
    added = {str(name): _cells(after, str(name)) for name in after if name not in before}
    renamed: dict[str, str] = {}
    for name in (str(name) for name in before if name not in after):
        cells = _cells(before, name)
        same = [new for new, theirs in added.items() if cells is not None and theirs == cells]
        if len(same) == 1 and same[0] not in renamed.values():
            renamed[name] = same[0]
    return renamed


def _cells(frame: pd.DataFrame, name: str) -> list[str | None] | None:
    cells = list(iterate(as_text(frame[name])))
    return cells if any(cell is not None for cell in cells) else None


def _new_rows(
    new: pd.DataFrame,
    old: pd.DataFrame,
    partners: IntArray,
    changed: list[tuple[str, ...]],
    plan: pd.DataFrame,
) -> pd.DataFrame:
    known = partners >= 0
    earlier = old.iloc[np.where(known, partners, 0)].reset_index(drop=True) if len(old) else old.reindex(new.index)
    return pd.DataFrame(
        {
            "change": np.where(~known, "added", np.where([bool(names) for names in changed], "changed", "unchanged")),
            "prompt_id": new["prompt_id"],
            "earlier_prompt_id": earlier["prompt_id"].where(known),
            "row_number": new["row_number"],
            "earlier_row_number": earlier["row_number"].astype("Int64").where(known),
            "prompt": new["prompt"],
            "columns": pd.Series(changed, dtype=object),
            "images": new["quantity"],
            "earlier_images": earlier["quantity"].where(known, 0).fillna(0),
            "credits": _credits_of_rows(new, plan),
        }
    )


def _gone_rows(gone: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "change": "removed",
            "prompt_id": gone["prompt_id"],
            "earlier_prompt_id": gone["prompt_id"],
            "row_number": None,
            "earlier_row_number": gone["row_number"],
            "prompt": gone["prompt"],
            "columns": pd.Series([()] * len(gone), dtype=object, index=gone.index),
            "images": 0,
            "earlier_images": gone["quantity"],
            "credits": 0,
        }
    )


def _credits_of_rows(rows: pd.DataFrame, plan: pd.DataFrame) -> pd.Series[int]:
    """The price of what is to buy, for the first row that wants so many of the picture."""
    free = plan.loc[plan["standing"] == RequestState.FREE.value, ["request_id", "spec_id", "start", "credits"]]
    wanting = rows[["spec_id", "quantity"]].reset_index(names="row")
    pairs = wanting.merge(free, on="spec_id")
    pairs = pairs[pairs["quantity"] > pairs["start"]].sort_values("row").drop_duplicates("request_id")
    return pairs.groupby("row")["credits"].sum().reindex(rows.index, fill_value=0)


def match_rows(
    old: pd.DataFrame, new: pd.DataFrame, old_extra_columns: pd.DataFrame, new_extra_columns: pd.DataFrame
) -> IntArray:
    """The position of each new row's earlier self; -1 where it has none.

    Args:
        old, new: With `prompt_id` and `prompt`, each in its table's order; ids are unique.
        old_extra_columns, new_extra_columns: Their other columns.
    """
    positions = pd.Series(np.arange(len(old)), index=old["prompt_id"].astype(str))
    partners: IntArray = new["prompt_id"].astype(str).map(positions).fillna(-1).to_numpy(dtype=np.int64)
    left_old = _derived(old, np.setdiff1d(np.arange(len(old)), partners))
    left_new = _derived(new, np.flatnonzero(partners < 0))
    both = [name for name in new_extra_columns if name in old_extra_columns]
    by_prompt = (old["prompt"].tolist(), new["prompt"].tolist())
    by_extra_columns = (_texts(old_extra_columns[both]), _texts(new_extra_columns[both]))
    for of_old, of_new in (by_prompt, by_extra_columns) if both else (by_prompt,):
        _match_unique(left_old, left_new, of_old, of_new, partners)
    _match_gaps(left_old, left_new, partners)
    return partners


def _derived(rows: pd.DataFrame, positions: IntArray) -> list[int]:
    names = rows["prompt_id"].take(positions).astype(str)
    return [at for at, name in zip(positions.tolist(), names, strict=True) if is_derived(name)]


def _texts(frame: pd.DataFrame) -> list[tuple[str | None, ...] | None]:
    """Each row's cells as text; None for a row without any."""
    columns = [list(iterate(as_text(frame[name]))) for name in frame.columns]
    return [row if any(cell is not None for cell in row) else None for row in zip(*columns, strict=True)]


def _match_unique(
    left_old: list[int],
    left_new: list[int],
    of_old: Sequence[object],
    of_new: Sequence[object],
    partners: IntArray,
) -> None:
    """Match rows that alone on each side have the same value; they leave the lists."""
    olds, news = _unique(left_old, of_old), _unique(left_new, of_new)
    for value, at in news.items():
        if value in olds:
            partners[at] = olds[value]
            left_new.remove(at)
            left_old.remove(olds[value])


def _unique(positions: Sequence[int], values: Sequence[object]) -> dict[object, int]:
    found: dict[object, list[int]] = {}
    for at in positions:
        found.setdefault(values[at], []).append(at)
    return {value: rows[0] for value, rows in found.items() if value is not None and len(rows) == 1}


def _match_gaps(left_old: Sequence[int], left_new: Sequence[int], partners: IntArray) -> None:
    """Match what is left between the same two neighbours, in order, where both sides have as many rows there."""
    matched = set(partners[partners >= 0].tolist())
    old_gaps: dict[int, list[int]] = {}
    for at in left_old:
        neighbour = at - 1
        while neighbour >= 0 and neighbour not in matched:
            neighbour -= 1
        old_gaps.setdefault(neighbour, []).append(at)
    new_gaps: dict[int, list[int]] = {}
    for at in left_new:
        neighbour = at - 1
        while neighbour >= 0 and partners[neighbour] < 0:
            neighbour -= 1
        new_gaps.setdefault(int(partners[neighbour]) if neighbour >= 0 else -1, []).append(at)
    for gap, rows in new_gaps.items():
        if len(old_gaps.get(gap, ())) == len(rows):
            partners[rows] = old_gaps[gap]
