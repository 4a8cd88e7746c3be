"""Which row of an earlier table is which row of the table as it is now.

By `prompt_id`, first. A derived id is a hash of the row's content, so an edited row has another one: those are matched
by a prompt that only one row has on either side, then by extra columns, then by their place between the same neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from seedream_assets.prompts.cells import IntArray, as_text
from seedream_assets.prompts.table import is_derived


def match_rows(
    old: pd.DataFrame, new: pd.DataFrame, old_extra_columns: pd.DataFrame, new_extra_columns: pd.DataFrame
) -> IntArray:
    """The position of each new row's earlier self; -1 where it has none.

    Args:
        old, new: With `prompt_id` and `prompt`, each in its table's order; ids are unique.
        old_extra_columns, new_extra_columns: Their other columns.
    """
    places = pd.Series(np.arange(len(old)), index=old["prompt_id"].astype(str))
    partners: IntArray = new["prompt_id"].astype(str).map(places).fillna(-1).to_numpy(dtype=np.int64)
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
    columns = [as_text(frame[name]).to_list() for name in frame.columns]
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
    return {value: places[0] for value, places in found.items() if value is not None and len(places) == 1}


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
