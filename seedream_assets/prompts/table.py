"""Check a prompt table: every row is accepted with all its settings, or rejected with every reason.

Here belong what a dataset says about its table, which column means what, the prompt's text and the rows' ids. Not here:
reading a file (`prompts.formats`), the other settings (`prompts.settings`), and what comes of accepted rows (`planning`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd

from seedream_assets.config.models import ModelCatalog, ModelSpec, SizePolicy
from seedream_assets.config.prompts import Recipe, TableRules
from seedream_assets.errors import LimitError, PromptTableError, RowError
from seedream_assets.prompts.cells import (
    BROKEN_ROW,
    RESERVED,
    BoolArray,
    Cells,
    IntArray,
    Texts,
    as_text,
    check_header,
    listed,
    row_places,
    taken,
)
from seedream_assets.prompts.row_errors import RowErrorLog, shown
from seedream_assets.prompts.settings import NOT_A_NUMBER, SETTINGS, Setting, Values, read_settings
from seedream_assets.prompts.template import PromptTemplate

RECOGNISED = (
    "prompt",
    "prompt_id",
    "model",
    "width",
    "height",
    "quantity",
    "seed",
    "style",
    "prompt_enhance",
    "references",
    "reference_strength",
    "public",
)


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
            f"{_hint(unknown[0], RECOGNISED)}. Other columns of the table are kept as they are"
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
        closest = _closest("prompt", names)
        raise PromptTableError(
            f"the table has no column 'prompt'; its columns are {listed(names)}. "
            f"Say which one it is, for example columns: {{prompt: {closest!r}}}"
        )
    return found


def _required(recognised: str, wanted: str, names: Sequence[str]) -> str:
    column = _find(recognised, wanted, names)
    if column is None:
        raise PromptTableError(
            f"columns: {recognised} is said to be {wanted!r}, which the table does not have{_hint(wanted, names)}; "
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
    folded = {_folded(name): name for name in reversed(names)}
    alike = get_close_matches(wanted, list(folded), n=1, cutoff=0.5)
    return holding[0] if holding else folded[alike[0]] if alike else names[0] if names else "Prompt"


def _hint(wanted: str, names: Sequence[str]) -> str:
    alike = get_close_matches(_folded(wanted), [_folded(name) for name in names], n=1, cutoff=0.6)
    return f" (did you mean {next(name for name in names if _folded(name) == alike[0])!r}?)" if alike else ""


LONGEST_SHOWN_PROMPT = 80
# All of Unicode's Cc but newline and tab. Bidirectional marks and joiners are of other categories: they are text.
CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x{9f}]"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_VISIBLE_OR_CONTROL = r"[^\s\p{Z}\p{Cf}]"
_LOST_CHARACTER = "\ufffd"


def final_text(prompts: Texts) -> Texts:
    """The prompts as they are sent: NFC, line ends as one newline, outer whitespace trimmed; null where empty.

    NFC, because two spellings of one text would otherwise be two specs, and be paid for twice. A text of which
    nothing shows (spaces, invisible marks) counts as empty.
    """
    texts = prompts.normalised()
    shows = np.zeros(len(texts), dtype=np.bool_)
    shows[texts.matching(_VISIBLE_OR_CONTROL)] = True
    return texts.without(np.flatnonzero(texts.filled() & ~shows))


def check_texts(column: str, prompts: Texts, unrendered: IntArray, row_errors: RowErrorLog) -> None:
    """Reject prompts that are empty or hold control characters; warn where a character was lost on the way.

    Args:
        column: The table's column to name.
        prompts: As `final_text` gives them.
        unrendered: Rows that have no prompt for a reason that is already noted.
        row_errors: Where to note it.
    """
    empty = np.setdiff1d(np.flatnonzero(~prompts.filled()), unrendered)
    nothing = RowError("prompt_empty", "a text that is not empty", "write a prompt, or take the row out")
    row_errors.reject(empty, column, [""] * len(empty), nothing)
    rows = prompts.matching(CONTROL)
    texts = prompts.take(rows).strings()
    row_errors.reject(rows, column, _shown(texts), [control_error("prompt", text) for text in texts])
    rows = prompts.matching(_LOST_CHARACTER)
    lost = RowError("replacement_character", "text without U+FFFD", "a letter was lost on the way here; type it again")
    row_errors.warn(rows, column, _shown(prompts.take(rows).strings()), lost)


def check_lengths(column: str, prompts: Texts, rows: IntArray, model: ModelSpec, row_errors: RowErrorLog) -> None:
    """Reject prompts of `rows`, all for this model, that have more characters (code points) than it takes."""
    limit = model.prompt_characters
    lengths = prompts.lengths()[rows]
    over = lengths > limit.high
    found = [
        RowError("prompt_length", str(limit), f"it has {length} characters; take {length - limit.high:.0f} of them out")
        for length in lengths[over].tolist()
    ]
    row_errors.reject(rows[over], column, _shown(prompts.take(rows[over]).strings()), found)


def control_error(name: str, text: str) -> RowError:
    """The error of a text with a control character in it, with the position of the first one."""
    found = _CONTROL.search(text)
    place = f"U+{ord(found[0]):04X} at character {found.start() + 1}" if found else "it"
    return RowError(f"{name}_control_character", "text without control characters", f"take {place} out")


def _shown(texts: list[str]) -> list[str]:
    return [shown(text, LONGEST_SHOWN_PROMPT) for text in texts]


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
    row_errors.reject(rows, column, texts, [control_error("prompt_id", text) for text in texts])
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
    hashes = _hashes(prompts.take(missing), settings, missing)
    taken = {name for name in given if name is not None} if len(missing) < len(given) else set()
    codes = hashes.distinct("prompt_id").codes
    repeated = np.flatnonzero(np.bincount(codes)[codes] > 1)
    given_already = [at for at, name in enumerate(hashes) if name in taken] if taken else []
    shared = np.union1d(repeated, np.array(given_already, dtype=np.int64))
    apart = _numbered_apart(hashes.take(shared).strings(), extra_columns.iloc[missing[shared]], taken)
    return given.with_texts(missing, hashes.with_texts(shared, Texts.of(apart)))


def _hashes(prompts: Texts, settings: Mapping[str, Cells], rows: IntArray) -> Texts:
    """The hash of each row's prompt and of its own settings as `name=text`, by name; an empty cell is left out."""
    columns: list[Iterable[str | None]] = [prompts]
    for name, cells in sorted(settings.items()):
        named = np.array([*(f"{name}={text}" for text in cells.texts), None], dtype=object)
        columns.append(named[cells.codes[rows]])  # an empty cell's code is -1, the last
    joined = (_SEPARATOR.join(filter(None, texts)) for texts in zip(*columns, strict=True))
    return Texts.of([sha256(text.encode()).hexdigest()[:DERIVED_DIGITS] for text in joined])


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
    """

    prompts: pd.DataFrame
    extra_columns: pd.DataFrame
    rejected: pd.DataFrame
    warnings: pd.DataFrame


def check_recipe(recipe: Recipe, models: ModelCatalog, size_policy: SizePolicy = "warn") -> None:
    """Check a dataset's defaults as a row that has nothing of its own.

    Raises:
        LimitError: A default is not allowed; the first one, by name.
    """
    rules = TableRules(recipe=recipe, size_policy=size_policy)
    checked = _checked(_Table.of(pd.DataFrame({"prompt": ["any"]}), rules, None), rules, models)
    for wrong in checked.rejected.itertuples():
        raise LimitError(str(wrong.column), got=wrong.value, allowed=str(wrong.allowed), fix=str(wrong.fix))


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
    check_recipe(rules.recipe, models, rules.size_policy)
    return _checked(_Table.of(frame, rules, table), rules, models)


@dataclass(frozen=True, slots=True)
class _Table:
    """A table whose header is understood: the cells, the number and table of every row, and what is broken."""

    cells: pd.DataFrame
    places: pd.DataFrame
    columns: dict[str, str]
    template: PromptTemplate | None
    broken: Texts

    @classmethod
    def of(cls, frame: pd.DataFrame, rules: TableRules, label: str | None) -> _Table:
        names = [str(name) for name in frame.columns]
        check_header(names, label or "the table")
        frame = frame.set_axis(names, axis="columns").reset_index(drop=True)
        cells = frame.drop(columns=[name for name in RESERVED if name in names])
        template = None if rules.template is None else PromptTemplate(rules.template)
        needs_prompt = template is None or "prompt" in template.names
        columns = match_columns(list(cells.columns), rules.columns, needs_prompt=needs_prompt)
        broken = as_text(frame[BROKEN_ROW]) if BROKEN_ROW in names else Texts.repeated(None, len(frame))
        return cls(cells, row_places(frame, label), columns, template, broken)

    def name(self, recognised: str) -> str:
        """The table's own name of a column; the recognised one where the table does not have it."""
        return self.columns.get(recognised, recognised)

    def texts(self, recognised: str) -> Texts:
        """A recognised column, all null where the table does not have it."""
        column = self.columns.get(recognised)
        return Texts.repeated(None, len(self.cells)) if column is None else as_text(self.cells[column])


def _checked(table: _Table, rules: TableRules, models: ModelCatalog) -> CheckedPrompts:
    row_errors = RowErrorLog(len(table.cells))
    broken = np.flatnonzero(table.broken.filled())
    row_errors.settle(broken, table.broken.take(broken).strings())
    prompts = _prompts(table, row_errors)
    ids = table.texts("prompt_id").without(broken)
    check_given_ids(table.name("prompt_id"), ids, table.places, row_errors)
    given = {name: table.texts(name).distinct(table.name(name)) for name in ("model", *SETTINGS)}
    found = _settings(given, prompts, table.name("prompt"), rules, models, row_errors)

    accepted = np.flatnonzero(~row_errors.rejected)
    extra_columns = taken(table.cells.drop(columns=list(table.columns.values())), accepted)
    settings = {name: setting.take(accepted) for name, setting in found.items()}
    own = {
        name: _own(name, settings[name], is_given=cells.codes[accepted] >= 0)
        for name, cells in given.items()
        if name in table.columns
    }
    texts = prompts.take(accepted)
    names = prompt_ids(texts, own, extra_columns, ids.take(accepted))
    return CheckedPrompts(
        prompts=_framed(taken(table.places, accepted), names, texts, settings),
        extra_columns=extra_columns,
        rejected=row_errors.rejections(table.places),
        warnings=row_errors.warnings(table.places),
    )


def _prompts(table: _Table, row_errors: RowErrorLog) -> Texts:
    """The final text of every row, null where there is none; notes what is wrong with it, but for its length."""
    column, texts = table.name("prompt"), table.texts("prompt")
    unrendered = np.empty(0, dtype=np.int64)
    if table.template is not None:
        own_names = {name: name for name in table.cells.columns}
        used = table.template.columns(own_names | table.columns)
        cells = {name: as_text(table.cells[of]) for name, of in used.items()}
        rendered = table.template.render(cells, len(texts))
        wrong = {row: text for row, text in enumerate(rendered) if isinstance(text, RowError)}
        if (
            "prompt" in table.template.names
        ):  # an empty prompt is reported as such, not as a cell that the template misses
            filled = texts.filled()
            wrong = {row: row_error for row, row_error in wrong.items() if filled[row]}
        unrendered = np.array(list(wrong), dtype=np.int64)
        row_errors.reject(unrendered, column, texts.take(unrendered).strings(), list(wrong.values()))
        texts = Texts.of([None if isinstance(text, RowError) else text for text in rendered])
    final = final_text(texts)
    check_texts(column, final, unrendered, row_errors)
    return final


def _settings(
    given: Mapping[str, Cells],
    prompts: Texts,
    prompt_column: str,
    rules: TableRules,
    models: ModelCatalog,
    row_errors: RowErrorLog,
) -> dict[str, Setting]:
    """Every setting of every row; a row whose model is not allowed is judged by nothing else."""
    row_count = len(prompts)
    parts: dict[str, list[tuple[IntArray, Setting]]] = {name: [] for name in given}
    wanted = given["model"].take(np.arange(row_count), default=rules.recipe.model)
    found_models, wrong = _models(wanted.texts, models)
    row_errors.reject_cells(np.arange(row_count), wanted, wrong)
    for code, model in found_models.items():
        rows = np.flatnonzero(wanted.codes == code)
        defaults = rules.recipe.cells(model)
        cells = {name: given[name].take(rows, default=defaults[name]) for name in SETTINGS}
        check_lengths(prompt_column, prompts, rows, model, row_errors)
        of_model = Setting(np.array([model.name], dtype=object), np.zeros(len(rows), dtype=np.int64))
        parts["model"].append((rows, of_model))
        for name, found in read_settings(cells, rows, model, rules.size_policy, row_errors).items():
            parts[name].append((rows, found))
    return {name: Setting.gathered(row_count, found, _NOTHING.get(name, _NO_WORD)) for name, found in parts.items()}


def _models(names: list[str], models: ModelCatalog) -> tuple[dict[int, ModelSpec], dict[int, RowError]]:
    spellings = {name.casefold(): name for name in models}
    found: dict[int, ModelSpec] = {}
    wrong: dict[int, RowError] = {}
    for code, name in enumerate(names):
        try:
            found[code] = models.find(spellings.get(name.casefold(), name))
        except LimitError as error:
            wrong[code] = RowError("model", error.allowed, error.fix)
    return found, wrong


# What stands for a setting that no model has read, in rows that are rejected for it.
_NO_WORD = np.array([""], dtype=object)
_NO_NUMBER = np.zeros(1, dtype=np.int64)
_NOTHING: Mapping[str, Values] = {
    **dict.fromkeys(("width", "height", "quantity", "seed"), _NO_NUMBER),
    "public": np.zeros(1, dtype=np.bool_),
}


def _own(name: str, setting: Setting, *, is_given: BoolArray) -> Cells:
    """The canonical texts of a setting where the row's own cell gives it."""
    texts = Texts.of(setting.values) if setting.values.dtype == object else as_text(pd.Series(setting.values))
    return Cells(column=name, texts=texts.strings(), codes=np.where(is_given, setting.codes, -1))


def _framed(places: pd.DataFrame, ids: Texts, prompts: Texts, settings: Mapping[str, Setting]) -> pd.DataFrame:
    def column(name: str) -> pd.Series[Any]:
        setting = settings[name]
        if setting.values.dtype != object:
            return pd.Series(setting.of_rows())
        return Texts.of(setting.values).take(setting.codes).to_series()

    seeds = settings["seed"].of_rows()
    return pd.DataFrame(
        {
            "row_number": places["row_number"],
            "prompt_id": ids.to_series(),
            "prompt": prompts.to_series(),
            **{name: column(name) for name in ("model", "width", "height", "quantity")},
            "seed": pd.Series(pd.arrays.IntegerArray(seeds, seeds == NOT_A_NUMBER)),
            **{
                name: column(name) for name in ("style", "prompt_enhance", "references", "reference_strength", "public")
            },
            "table": places["table"],
        }
    )
