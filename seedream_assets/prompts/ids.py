"""The name of every prompt row: the table's own, or one derived from what the row holds.

A derived id does not depend on where the row stands, on the recipe, or on cells that are empty, so a table may be
sorted and grow columns without its rows being renamed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from seedream_assets.prompts.cells import Texts, as_text
from seedream_assets.prompts.row_errors import Cells, IntArray, RowError, RowErrorLog
from seedream_assets.prompts.text import CONTROL, control_fault
from seedream_assets.prompts.text_hashes import distinct_digests, hexadecimal

LONGEST_PROMPT_ID = 200
DERIVED_DIGITS = 16
_SEPARATOR = "\x1e"  # a control character, which no accepted prompt holds
_DERIVED = re.compile(rf"[0-9a-f]{{{DERIVED_DIGITS}}}(-[0-9]+)?")


def check_given_ids(column: str, ids: Texts, places: pd.DataFrame, row_errors: RowErrorLog) -> None:
    """Reject ids that are too long, hold control characters, or stand in an earlier row already.

    Args:
        column: The table's own name of the column.
        ids: Null where the row gives none.
        places: `row_number` and `table` of every row.
    """
    if not ids.filled().any():
        return
    rows = ids.matching(f"{CONTROL}|[\\t\\n]")
    texts = ids.take(rows).strings()
    row_errors.reject(rows, column, texts, [control_fault("prompt_id", text) for text in texts])
    rows = np.flatnonzero(ids.lengths() > LONGEST_PROMPT_ID)
    too_long = RowError("prompt_id_length", f"1–{LONGEST_PROMPT_ID} characters", "shorten it")
    row_errors.reject(rows, column, ids.take(rows).strings(), too_long)
    codes = ids.distinct(column).codes
    given = np.flatnonzero(codes >= 0)
    _, first, which = np.unique(codes[given], return_index=True, return_inverse=True)
    firsts = given[first[which]]
    again = firsts != given
    taken = [_taken(places, row) for row in firsts[again].tolist()]
    row_errors.reject(given[again], column, ids.take(given[again]).strings(), taken)


def _taken(places: pd.DataFrame, row: int) -> RowError:
    number, table = places["row_number"].to_numpy()[row], str(places["table"].iloc[row])
    place = f"row {number}" if places["table"].isna().iloc[row] else f"row {number} of {table}"
    return RowError(
        "prompt_id_duplicate", "an id of its own for every row", f"{place} has this id; give this row another"
    )


def prompt_ids(prompts: Texts, settings: Mapping[str, Cells], extra_columns: pd.DataFrame, given: Texts) -> Texts:
    """Every row's id: the given one, else the first digits of a hash of the prompt and the row's own settings.

    Rows with the same content get the suffixes -2, -3 and so on: in the order of their other columns' content, then
    of the table. So rows that differ in anything keep their ids in any order.

    Args:
        prompts: Final texts, none of them null.
        settings: Setting → canonical texts, empty where the row's cell is.
        extra_columns: The other columns of the same rows.
        given: Ids from the table, null where the row has none.
    """
    missing = np.flatnonzero(~given.filled())
    if not len(missing):
        return given
    named = [_named(name, cells, missing) for name, cells in sorted(settings.items())]
    found = prompts.take(missing).digests_with(named, _SEPARATOR)[:, : DERIVED_DIGITS // 2]
    hashes = Texts(hexadecimal(found))
    taken = {name for name in given if name is not None} if len(missing) < len(given) else set()
    codes, _ = distinct_digests(found)
    repeated = np.flatnonzero(np.bincount(codes)[codes] > 1)
    given_already = [at for at, name in enumerate(hashes) if name in taken] if taken else []
    shared = np.union1d(repeated, np.array(given_already, dtype=np.int64))
    apart = _numbered_apart(hashes.take(shared).strings(), extra_columns.iloc[missing[shared]], taken)
    return given.with_texts(missing, hashes.with_texts(shared, Texts.of(apart)))


def _named(name: str, cells: Cells, rows: IntArray) -> Cells:
    return Cells(column=name, texts=[f"{name}={text}" for text in cells.texts], codes=cells.codes[rows])


def _numbered_apart(hashes: Sequence[str], extra_columns: pd.DataFrame, taken: set[str]) -> list[str]:
    texts = [as_text(extra_columns[name]).to_list() for name in sorted(extra_columns.columns)]
    others = [repr(row) for row in zip(*texts, strict=True)] if texts else [""] * len(hashes)
    names = [""] * len(hashes)
    used: dict[str, int] = {}
    for at in sorted(range(len(hashes)), key=lambda at: (hashes[at], others[at])):
        count = used.get(hashes[at], 0) + 1
        while _numbered(hashes[at], count) in taken:
            count += 1
        used[hashes[at]] = count
        names[at] = _numbered(hashes[at], count)
    return names


def _numbered(name: str, count: int) -> str:
    return name if count == 1 else f"{name}-{count}"


def is_derived(prompt_id: str) -> bool:
    """Whether an id looks like one that `prompts.ids` derives; a table's own may look like that too."""
    return _DERIVED.fullmatch(prompt_id) is not None
