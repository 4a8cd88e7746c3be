"""What changed between a manifest and a table as it is now: rows added, removed and changed, and what that costs.

Which row is which is `row_matching`'s. Pure; tables in, table out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from seedream_assets.config.models import ModelCatalog
from seedream_assets.ledger.state import RequestState
from seedream_assets.leonardo.identity import derived_seed
from seedream_assets.manifest.build import MANIFEST_COLUMNS, extra_column_name
from seedream_assets.planning.row_matching import match_rows
from seedream_assets.prompts.cells import IntArray, as_text

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
    """The way from a manifest to a table.

    Attributes:
        rows: One row per row of either table, the new one's first, in their orders; columns and dtypes as
            `DIFF_COLUMNS`. `columns` is a tuple of names; `credits` is the price of what is to buy for the row: of a picture that several rows want, for the first.
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
    earlier: pd.DataFrame,
    *,
    prompts: pd.DataFrame,
    extra_columns: pd.DataFrame,
    specs: pd.DataFrame,
    plan: pd.DataFrame,
    models: ModelCatalog,
) -> PlanDiff:
    """Compare a manifest with a checked table and its plan.

    Args:
        earlier: A manifest of one partition.
        prompts, extra_columns: The accepted rows.
        specs: As `specs_of` gives them for the same rows.
        plan: As `plan_requests` makes it of them.
        models: For telling a row's own seed from a derived one.
    """
    old, old_extra_columns = _rows_of_manifest(earlier, models)
    new = prompts.assign(references=specs["references"], spec_id=specs["spec_id"]).reset_index(drop=True)
    new_extra_columns = extra_columns.rename(columns=extra_column_name).reset_index(drop=True)
    partners = match_rows(old, new, old_extra_columns, new_extra_columns)
    kept = np.flatnonzero(partners >= 0)
    before, after = old.iloc[partners[kept]].reset_index(drop=True), new.iloc[kept].reset_index(drop=True)
    extra_columns_before = old_extra_columns.iloc[partners[kept]].reset_index(drop=True)
    extra_columns_after = new_extra_columns.iloc[kept].reset_index(drop=True)
    renamed = _renamed(extra_columns_before, extra_columns_after)
    both = [str(name) for name in new_extra_columns if name in old_extra_columns]
    changed = _changed_columns(before, after, SETTINGS)
    _add(changed, _changed_columns(extra_columns_before, extra_columns_after, both))
    told: list[tuple[str, ...]] = [()] * len(new)
    for at, names in zip(kept.tolist(), changed, strict=True):
        told[at] = tuple(names)
    gone = np.setdiff1d(np.arange(len(old)), partners)
    return PlanDiff(
        rows=pd.concat(
            [_new_rows(new, old, partners, told, plan), _gone_rows(old.iloc[gone])], ignore_index=True
        ).astype(dict(DIFF_COLUMNS)),
        columns_added=tuple(
            str(name) for name in new_extra_columns if name not in both and name not in renamed.values()
        ),
        columns_removed=tuple(str(name) for name in old_extra_columns if name not in both and name not in renamed),
        columns_renamed=renamed,
    )


def _rows_of_manifest(manifest: pd.DataFrame, models: ModelCatalog) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of the table that a manifest was made of, in its order, and their passengers."""
    quantity = manifest.groupby("prompt_id").size()
    firsts = manifest.drop_duplicates("prompt_id").reset_index(drop=True)
    seeds = [
        None if models.get(model) is None or derived_seed(request_id, models[model]) == seed else seed - start
        for model, request_id, seed, start in firsts[["model", "request_id", "seed", "request_start"]].itertuples(
            index=False, name=None
        )
    ]
    rows = firsts.assign(
        quantity=firsts["prompt_id"].map(quantity).astype("int64"),
        seed=pd.Series(seeds, dtype="Int64", index=firsts.index),
    )
    return rows, firsts[[name for name in firsts.columns if name not in MANIFEST_COLUMNS]]


def _changed_columns(before: pd.DataFrame, after: pd.DataFrame, names: Sequence[str]) -> list[list[str]]:
    """The columns in which each pair of rows differs, as text: 3.0 and "3" are the same."""
    changed: list[list[str]] = [[] for _ in range(len(after))]
    for name in names:
        cells = zip(as_text(before[name]).to_list(), as_text(after[name]).to_list(), strict=True)
        for at, (old, new) in enumerate(cells):
            if old != new:
                changed[at].append(name)
    return changed


def _add(lists: list[list[str]], further: list[list[str]]) -> None:
    for names, more in zip(lists, further, strict=True):
        names += more


def _renamed(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, str]:
    """Columns that only their name tells apart, by old name; none where the cells do not settle it."""
    added = {str(name): _cells(after, str(name)) for name in after if name not in before}
    renamed: dict[str, str] = {}
    for name in (str(name) for name in before if name not in after):
        cells = _cells(before, name)
        same = [new for new, theirs in added.items() if cells is not None and theirs == cells]
        if len(same) == 1 and same[0] not in renamed.values():
            renamed[name] = same[0]
    return renamed


def _cells(frame: pd.DataFrame, name: str) -> list[str | None] | None:
    cells = as_text(frame[name]).to_list()
    return cells if any(cell is not None for cell in cells) else None


def _new_rows(
    new: pd.DataFrame,
    old: pd.DataFrame,
    partners: IntArray,
    told: list[tuple[str, ...]],
    plan: pd.DataFrame,
) -> pd.DataFrame:
    known = partners >= 0
    earlier = old.iloc[np.where(known, partners, 0)].reset_index(drop=True) if len(old) else old.reindex(new.index)
    return pd.DataFrame(
        {
            "change": np.where(~known, "added", np.where([bool(names) for names in told], "changed", "unchanged")),
            "prompt_id": new["prompt_id"],
            "earlier_prompt_id": earlier["prompt_id"].where(known),
            "row_number": new["row_number"],
            "earlier_row_number": earlier["row_number"].astype("Int64").where(known),
            "prompt": new["prompt"],
            "columns": pd.Series(told, dtype=object),
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
