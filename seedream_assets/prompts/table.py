"""Check a prompt table: every row is accepted with all its settings, or rejected with every reason.

Here belong what a dataset says about its table, which column means what, the prompt's text and the rows' ids. Not here:
reading a file (`prompts.formats`), the other settings (`prompts.settings`), and what comes of accepted rows (`planning`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import repeat
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from seedream_assets.config.models import ModelCatalog, ModelSpec
from seedream_assets.config.prompts import RECOGNISED, TableRules
from seedream_assets.errors import LimitError, PromptTableError, RowError
from seedream_assets.prompts.cells import (
    BROKEN_ROW,
    RESERVED,
    TEXT,
    IntArray,
    RowErrorLog,
    as_text,
    check_header,
    from_arrow,
    iterate,
    listed,
    matching,
    row_places,
    shown,
    trimmed,
    wrong_rows,
)
from seedream_assets.prompts.columns import NO_COLUMNS, ColumnReport, report_columns
from seedream_assets.prompts.settings import NOT_A_NUMBER, SETTINGS, read_settings
from seedream_assets.prompts.template import PromptTemplate
from seedream_assets.wording import closest, count_of, did_you_mean


def match_columns(names: Sequence[str], mapping: Mapping[str, str], *, needs_prompt: bool) -> dict[str, str]:
    """The table's own column for each recognised name that the table has.

    A name is looked for as it is written, then in any case and without surrounding spaces. What the mapping gives to
    one name is not taken for another.

    Args:
        names: The table's header, without duplicates.
        mapping: Recognised name → the table's name.
        needs_prompt: False when the prompt comes from a template that does not name it.

    Returns:
        Recognised name → the table's name, in the order of `RECOGNISED`.

    Raises:
        PromptTableError: The mapping names what does not exist, a name fits two columns, or there is no prompt.
    """
    unknown = [name for name in mapping if name not in RECOGNISED]
    if unknown:
        raise PromptTableError(
            f"columns: {listed(unknown)} means nothing here; allowed is {', '.join(RECOGNISED)}"
            f"{did_you_mean(unknown[0], RECOGNISED)}. Other columns of the table are kept as they are"
        )
    given = {name: _required(name, wanted, names) for name, wanted in mapping.items()}
    claimed = Counter(given.values())
    shared = [column for column, count in claimed.items() if count > 1]
    if shared:
        raise PromptTableError(f"columns: {listed(shared)} is given to more than one name; give each its own column")
    free = [name for name in names if name not in claimed]
    matched = {name: given[name] if name in given else _find(name, name, free) for name in RECOGNISED}
    found = {name: column for name, column in matched.items() if column is not None}
    if needs_prompt and "prompt" not in found:
        like = _closest("prompt", names)
        raise PromptTableError(
            f"the table has no column 'prompt'; its columns are {listed(names)}. "
            f"Say which one it is, for example columns: {{prompt: {like!r}}}"
        )
    return found


def _required(recognised: str, wanted: str, names: Sequence[str]) -> str:
    column = _find(recognised, wanted, names)
    if column is None:
        raise PromptTableError(
            f"columns: {recognised} is said to be {wanted!r}, which the table does not have{did_you_mean(wanted, names)}; "
            f"its columns are {listed(names)}"
        )
    return column


def _find(recognised: str, wanted: str, names: Sequence[str]) -> str | None:
    if wanted in names:
        return wanted
    alike = [name for name in names if _folded(name) == _folded(wanted)]
    if len(alike) > 1:
        raise PromptTableError(
            f"{listed(alike)} could each be the column {wanted!r}; rename one, "
            f"or say which with columns: {{{recognised}: {alike[0]!r}}}"
        )
    return alike[0] if alike else None


def _folded(name: str) -> str:
    return name.strip().casefold()


def _closest(wanted: str, names: Sequence[str]) -> str:
    """The name most like `wanted`; the first one where none is alike."""
    holding = [name for name in names if wanted in _folded(name)]
    return holding[0] if holding else closest(wanted, names) or (names[0] if names else "Prompt")


LONGEST_SHOWN_PROMPT = 80
# All of Unicode's Cc but newline and tab. Bidirectional marks and joiners are of other categories: they are text.
CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x{9f}]"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_VISIBLE_OR_CONTROL = r"[^\s\p{Z}\p{Cf}]"
_LOST_CHARACTER = "\ufffd"


def final_text(prompts: pd.Series[str]) -> pd.Series[str]:
    """The prompts as they are sent: NFC, line ends as one newline, outer whitespace trimmed; NA where empty.

    NFC, because two spellings of one text would otherwise be two specs, and be paid for twice. A text of which
    nothing shows (spaces, invisible marks) counts as empty.
    """
    with_newlines = pc.replace_substring_regex(cast("Any", pa.array(prompts, from_pandas=True)), "\r\n?", "\n")
    texts = trimmed(cast("Any", pc).utf8_normalize(with_newlines, "NFC"))
    return texts.where(matching(texts, _VISIBLE_OR_CONTROL))


def check_texts(column: str, prompts: pd.Series[str], unrendered: IntArray, row_errors: RowErrorLog) -> None:
    """Reject prompts that are empty or hold control characters; warn where a character was lost on the way.

    Args:
        column: The table's column to name.
        prompts: As `final_text` gives them.
        unrendered: Rows that have no prompt for a reason that is already noted.
        row_errors: Where to note it.
    """
    empty = np.setdiff1d(np.flatnonzero(prompts.isna()), unrendered)
    nothing = RowError("prompt_empty", "a text that is not empty", "write a prompt, or take the row out")
    row_errors.reject(column, empty, repeat(""), nothing)
    rows = np.flatnonzero(matching(prompts, CONTROL))
    texts = prompts.iloc[rows].tolist()
    row_errors.reject(column, rows, map(_shown, texts), [control_error("prompt", text) for text in texts])
    rows = np.flatnonzero(matching(prompts, _LOST_CHARACTER))
    lost = RowError("replacement_character", "text without U+FFFD", "a letter was lost on the way here; type it again")
    row_errors.warn(column, rows, map(_shown, prompts.iloc[rows]), lost)


def check_lengths(
    column: str, prompts: pd.Series[str], rows: IntArray, model: ModelSpec, row_errors: RowErrorLog
) -> None:
    """Reject prompts of `rows`, all for this model, that have more characters (code points) than it takes."""
    limit = model.prompt_characters
    lengths = prompts.iloc[rows].str.len().fillna(0).to_numpy(dtype=np.int64)
    over = lengths > limit.high
    found = [
        RowError(
            "prompt_length",
            str(limit),
            f"it has {count_of(length, 'character')}; take {length - limit.high:.0f} of them out",
        )
        for length in lengths[over].tolist()
    ]
    row_errors.reject(column, rows[over], map(_shown, prompts.iloc[rows[over]]), found)


def control_error(name: str, text: str) -> RowError:
    """The error of a text with a control character in it, with the position of the first one."""
    found = _CONTROL.search(text)
    place = f"U+{ord(found[0]):04X} at character {found.start() + 1}" if found else "it"
    return RowError(f"{name}_control_character", "text without control characters", f"take {place} out")


def _shown(text: str) -> str:
    return shown(text, LONGEST_SHOWN_PROMPT)


LONGEST_PROMPT_ID = 200
DERIVED_DIGITS = 16
_SEPARATOR = "\x1e"  # a control character, which no accepted prompt holds
_DERIVED = re.compile(rf"[0-9a-f]{{{DERIVED_DIGITS}}}(-[0-9]+)?")


def check_given_ids(column: str, ids: pd.Series[str], places: pd.DataFrame, row_errors: RowErrorLog) -> None:
    """Reject ids that are too long, hold control characters, or stand in an earlier row already.

    Args:
        column: The table's own name of the column.
        ids: NA where the row gives none.
        places: `row_number` and `table` of every row.
    """
    ids = ids.dropna()  # under the rows' positions
    wrong = ids[matching(ids, f"{CONTROL}|[\\t\\n]")]
    row_errors.reject(column, _positions(wrong), wrong, [control_error("prompt_id", text) for text in wrong])
    wrong = ids[ids.str.len() > LONGEST_PROMPT_ID]
    too_long = RowError("prompt_id_length", f"1–{LONGEST_PROMPT_ID} characters", "shorten it")
    row_errors.reject(column, _positions(wrong), wrong, too_long)
    again = ids[ids.duplicated()]
    firsts = ids[ids.isin(again)].drop_duplicates()
    row_of = dict(zip(firsts, _positions(firsts).tolist(), strict=True))
    taken = [_id_taken(places.iloc[row_of[name]]) for name in again]
    row_errors.reject(column, _positions(again), again, taken)


def _positions(column: pd.Series[Any]) -> IntArray:
    return column.index.to_numpy(dtype=np.int64)


def _id_taken(place: pd.Series[Any]) -> RowError:
    row = f"row {place['row_number']}" + ("" if pd.isna(place["table"]) else f" of {place['table']}")
    return RowError(
        "prompt_id_duplicate", "an id of its own for every row", f"{row} has this id; give this row another"
    )


def prompt_ids(
    prompts: pd.Series[str], own: pd.DataFrame, extra_columns: pd.DataFrame, given: pd.Series[str]
) -> pd.Series[str]:
    """Every row's id: the given one, else the first digits of a hash of the prompt and the row's own settings.

    Rows with the same content get the suffixes -2, -3 and so on: in the order of their other columns' content, then
    of the table. So rows that differ in anything keep their ids in any order.

    Args:
        prompts: Final texts, none of them NA.
        own: Canonical text of each setting, NA where the row's cell is empty.
        extra_columns: The other columns of the same rows.
        given: Ids from the table, NA where the row has none.
    """
    missing = np.flatnonzero(given.isna())
    hashes = pd.Series(_hashes(prompts.iloc[missing], own.iloc[missing]), dtype=TEXT)
    taken = set(given.dropna())
    shared = np.flatnonzero(hashes.duplicated(keep=False) | hashes.isin(taken))
    apart = _numbered_apart(hashes.iloc[shared].tolist(), extra_columns.iloc[missing[shared]], taken)
    hashes.iloc[shared] = pd.Series(apart, dtype=TEXT)
    ids = given.copy()
    ids.iloc[missing] = hashes
    return ids


def _hashes(prompts: pd.Series[str], own: pd.DataFrame) -> list[str]:
    """The hash of each row's prompt and of its own settings as `name=text`, by name; an empty cell is left out."""
    names = sorted(own.columns)
    hashes = []
    for prompt, *texts in zip(iterate(prompts), *(iterate(own[name]) for name in names), strict=True):
        parts = [f"{name}={text}" for name, text in zip(names, texts, strict=True) if text is not None]
        hashes.append(sha256(_SEPARATOR.join([prompt or "", *parts]).encode()).hexdigest()[:DERIVED_DIGITS])
    return hashes


def _numbered_apart(hashes: Sequence[str], extra_columns: pd.DataFrame, taken: set[str]) -> list[str]:
    texts = [list(iterate(as_text(extra_columns[name]))) for name in sorted(extra_columns.columns)]
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
    """Whether an id looks like one that is derived here; a table's own may look like that too."""
    return _DERIVED.fullmatch(prompt_id) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPrompts:
    """A checked table. Every row of it is either in `prompts`, once, or in `rejected`, once per violation.

    Attributes:
        prompts: One row per accepted table row, in table order, index from 0: row_number (int64, from 1, the header
            not counted), prompt_id, prompt, model (string), width, height, quantity (int64; pixels, images per
            prompt), seed (Int64, NA for none), style, prompt_enhance (string, canonical), references (string, a JSON
            list as `read_references` writes it), reference_strength (string), public (bool), table (string, the
            label of the table that the row comes from, NA for none).
        extra_columns: The table's other columns for the same rows under the same index, names and values as they were.
        rejected: One row per violation, by row and column: row_number (int64), column (the table's own name), value
            (at most 200 characters), rule (a short word), allowed, fix, table (all string).
        warnings: The same columns, about accepted rows.
        columns: Which columns are used, and what is doubtful; `NO_COLUMNS` where it was not kept.
    """

    prompts: pd.DataFrame
    extra_columns: pd.DataFrame
    rejected: pd.DataFrame
    warnings: pd.DataFrame
    columns: ColumnReport = NO_COLUMNS


ANY_ROW = pd.DataFrame({"prompt": ["any"]})


def check_prompt_table(
    frame: pd.DataFrame, rules: TableRules, models: ModelCatalog, *, table: str | None = None
) -> CheckedPrompts:
    """Check every row of a table against the recipe and the models' limits.

    Same table, same rules: same result. A row without a prompt_id gets one that does not depend on where it stands.

    Args:
        frame: As `parse_prompt_file` or `join_prompt_tables` give it, or any frame with a header of its own.
        rules: What the dataset declares.
        models: The models and limits of this deployment.
        table: Label of the table; where the frame comes from `join_prompt_tables` it has labels already.

    Raises:
        PromptTableError: The table as a whole cannot be used: no prompt column, columns that are ambiguous or not
            there, a template that names what no column has.
        LimitError: A default of the recipe is not allowed.
        ConfigError: The template is no Jinja template.
    """
    # First the recipe, as a row that has nothing of its own: this deployment's limits may be tighter than the config's.
    of_recipe = rules.changed(template=None, columns={})
    for wrong in _checked(_Table.of(ANY_ROW, of_recipe, None), of_recipe, models).rejected.itertuples():
        raise LimitError(str(wrong.column), got=wrong.value, allowed=str(wrong.allowed), fix=str(wrong.fix))
    return _checked(_Table.of(frame, rules, table), rules, models)


@dataclass(frozen=True, slots=True)
class _Table:
    """A table whose header is understood: the cells, the number and table of every row, and what is broken."""

    cells: pd.DataFrame
    places: pd.DataFrame
    columns: dict[str, str]
    template: PromptTemplate | None
    broken: pd.Series[str]

    @classmethod
    def of(cls, frame: pd.DataFrame, rules: TableRules, label: str | None) -> _Table:
        names = [str(name) for name in frame.columns]
        check_header(names, label or "the table")
        frame = frame.set_axis(names, axis="columns").reset_index(drop=True)
        cells = frame.drop(columns=[name for name in RESERVED if name in names])
        template = None if rules.template is None else PromptTemplate(rules.template)
        needs_prompt = template is None or "prompt" in template.names
        columns = match_columns(list(cells.columns), rules.columns, needs_prompt=needs_prompt)
        broken = as_text(frame[BROKEN_ROW]) if BROKEN_ROW in names else _no_texts(len(frame))
        return cls(cells, row_places(frame, label), columns, template, broken)

    @property
    def in_template(self) -> dict[str, str]:
        """The table's column behind each name that the template uses."""
        own_names = {name: name for name in self.cells.columns}
        return self.template.columns(own_names | self.columns) if self.template else {}

    def name(self, recognised: str) -> str:
        """The table's own name of a column; the recognised one where the table does not have it."""
        return self.columns.get(recognised, recognised)

    def texts(self, recognised: str) -> pd.Series[str]:
        """A recognised column, all NA where the table does not have it."""
        column = self.columns.get(recognised)
        return _no_texts(len(self.cells)) if column is None else as_text(self.cells[column])


def _no_texts(rows: int) -> pd.Series[str]:
    return from_arrow(pa.nulls(rows, pa.large_string()))


def _checked(table: _Table, rules: TableRules, models: ModelCatalog) -> CheckedPrompts:
    row_errors = RowErrorLog(len(table.cells))
    row_errors.reject_broken(table.broken)
    prompts = _prompts(table, row_errors)
    ids = table.texts("prompt_id").where(table.broken.isna())
    check_given_ids(table.name("prompt_id"), ids, table.places, row_errors)
    given = pd.DataFrame({name: table.texts(name) for name in ("model", *SETTINGS)})
    settings = _settings(given, prompts, table, rules, models, row_errors)

    accepted = np.flatnonzero(~row_errors.rejected)
    extra_columns = _taken(table.cells.drop(columns=list(table.columns.values())), accepted)
    settings = _taken(
        settings.reindex(accepted) if len(settings) > len(accepted) else settings, np.arange(len(accepted))
    )
    texts, places = _taken(prompts, accepted), _taken(table.places, accepted)
    own = pd.DataFrame(
        {
            name: as_text(settings[name]).where(given[name].iloc[accepted].notna().to_numpy())
            for name in given.columns
            if name in table.columns
        },
        index=texts.index,
    )
    return CheckedPrompts(
        prompts=_framed(
            places,
            prompt_ids(texts, own, extra_columns, _taken(ids, accepted)),
            texts,
            settings,
        ),
        extra_columns=extra_columns,
        rejected=row_errors.rejections(table.places),
        warnings=row_errors.warnings(table.places),
        columns=report_columns(
            table.columns,
            extra_columns,
            used={*table.in_template.values(), *rules.used},
            prompts=texts,
            places=places,
        ),
    )


Rows = TypeVar("Rows", pd.DataFrame, "pd.Series[str]")


def _taken(rows: Rows, accepted: IntArray) -> Rows:
    """These rows, index from 0; without a copy where that is all of them."""
    return (rows if len(accepted) == len(rows) else rows.take(accepted)).reset_index(drop=True)


def _prompts(table: _Table, row_errors: RowErrorLog) -> pd.Series[str]:
    """The final text of every row, NA where there is none; notes what is wrong with it, but for its length."""
    column, texts = table.name("prompt"), table.texts("prompt")
    unrendered = np.empty(0, dtype=np.int64)
    if table.template is not None:
        cells = {name: iterate(as_text(table.cells[of])) for name, of in table.in_template.items()}
        rendered = table.template.render(cells, len(texts))
        wrong = {row: text for row, text in enumerate(rendered) if isinstance(text, RowError)}
        if "prompt" in table.template.names:
            # An empty prompt is reported as such, not as a cell that the template misses.
            filled = texts.notna().to_numpy()
            wrong = {row: row_error for row, row_error in wrong.items() if filled[row]}
        unrendered = np.array(list(wrong), dtype=np.int64)
        row_errors.reject(column, unrendered, iterate(texts.iloc[unrendered]), wrong.values())
        texts = pd.Series([None if isinstance(text, RowError) else text for text in rendered], dtype=TEXT)
    final = final_text(texts)
    check_texts(column, final, unrendered, row_errors)
    return final


def _settings(
    given: pd.DataFrame,
    prompts: pd.Series[str],
    table: _Table,
    rules: TableRules,
    models: ModelCatalog,
    row_errors: RowErrorLog,
) -> pd.DataFrame:
    """Every setting of every row, in the table's order; a row whose model is not allowed is judged by nothing else."""

    def of_model(model: ModelSpec, rows: IntArray) -> pd.DataFrame:
        defaults = rules.recipe.cells(model)
        cells = pd.DataFrame({name: given[name].iloc[rows].fillna(defaults[name]) for name in SETTINGS}, index=rows)
        check_lengths(table.name("prompt"), prompts, rows, model, row_errors)
        settings = read_settings(cells, table.columns, model, rules.size_policy, row_errors)
        return pd.DataFrame({"model": np.full(len(rows), model.name, dtype=object), **settings}, index=rows)

    codes, names = pd.factorize(given["model"].fillna(rules.recipe.model))
    found = [_find_model(name, models) for name in names]
    row_errors.reject(table.name("model"), *wrong_rows(np.arange(len(given)), codes, names, found))
    parts = [
        of_model(model, np.flatnonzero(codes == code))
        for code, model in enumerate(found)
        if not isinstance(model, RowError)
    ]
    parts = parts or [of_model(models.find(rules.recipe.model), np.empty(0, dtype=np.int64))]
    return parts[0] if len(parts) == 1 else pd.concat(parts).sort_index()


def _find_model(name: str, models: ModelCatalog) -> ModelSpec | RowError:
    spellings = {known.casefold(): known for known in models}
    try:
        return models.find(spellings.get(name.casefold(), name))
    except LimitError as error:
        return RowError("model", error.allowed, error.fix)


def _framed(places: pd.DataFrame, ids: pd.Series[str], prompts: pd.Series[str], settings: pd.DataFrame) -> pd.DataFrame:
    words = {
        name: pd.Series(settings[name], dtype=TEXT)
        for name in ("model", "style", "prompt_enhance", "references", "reference_strength")
    }
    seeds = settings["seed"].to_numpy()
    seed = pd.Series(pd.arrays.IntegerArray(seeds, seeds == NOT_A_NUMBER))
    return pd.DataFrame(
        {
            "row_number": places["row_number"],
            "prompt_id": ids,
            "prompt": prompts,
            "model": words["model"],
            **{name: settings[name] for name in ("width", "height", "quantity")},
            "seed": seed,
            **{name: words[name] for name in ("style", "prompt_enhance", "references", "reference_strength")},
            "public": settings["public"],
            "table": places["table"],
        }
    )
