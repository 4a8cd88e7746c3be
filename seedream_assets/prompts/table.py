"""Check a prompt table: every row is accepted with all its settings, or rejected with every reason.

Belongs here: what a dataset says about its table, and the order of the checks. Not here: reading a file
(`prompts.formats`), and what comes of the accepted rows (`generation_requests`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from seedream_assets.config.models import ModelCatalog, ModelSpec, SizePolicy
from seedream_assets.errors import LimitError
from seedream_assets.prompts.cells import Texts, as_text, taken
from seedream_assets.prompts.columns import BROKEN_ROW, RESERVED, ROW_NUMBER, TABLE, check_header, match_columns
from seedream_assets.prompts.ids import check_given_ids, prompt_ids
from seedream_assets.prompts.numbers import NOT_A_NUMBER
from seedream_assets.prompts.recipe import Recipe
from seedream_assets.prompts.row_errors import TEXT, BoolArray, Cells, IntArray, RowError, RowErrorLog
from seedream_assets.prompts.settings import SETTINGS, Setting, Values, read_settings
from seedream_assets.prompts.template import PromptTemplate
from seedream_assets.prompts.text import check_lengths, check_texts, final_text

__all__ = ["CheckedPrompts", "Recipe", "TableRules", "check_prompt_table", "check_recipe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRules:
    """What a dataset says about its prompt table.

    Attributes:
        columns: Recognised name → the table's name, where they differ by more than case and outer spaces.
        template: Jinja over the row's cells, under the table's names and the recognised ones (which win); None to
            take the prompt as it stands.
        size_policy: Whether a size that the provider does not serve well is a warning or a fault.
    """

    columns: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    template: str | None = None
    recipe: Recipe = field(default_factory=Recipe)
    size_policy: SizePolicy = "warn"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPrompts:
    """A checked table. Every row of it is either in `prompts`, once, or in `rejected`, once per violation.

    Attributes:
        prompts: One row per accepted table row, in table order, index from 0: row_number (int64, from 1, the header
            not counted), prompt_id, prompt, model (string), width, height, quantity (int64; pixels, images per
            prompt), seed (Int64, NA for none), style, prompt_enhance (string, canonical), references (string, a JSON
            list as `prompts.references` writes it), reference_strength (string), public (bool), table (string, the
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

    Same table, same rules: same result. A row without a prompt_id gets one that does not depend on its place.

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
    """A table whose header is understood: the cells, the place of every row, and what is broken."""

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
        return cls(cells, _places(frame, label), columns, template, broken)

    def name(self, recognised: str) -> str:
        """The table's own name of a column; the recognised one where the table does not have it."""
        return self.columns.get(recognised, recognised)

    def texts(self, recognised: str) -> Texts:
        """A recognised column, all null where the table does not have it."""
        column = self.columns.get(recognised)
        return Texts.repeated(None, len(self.cells)) if column is None else as_text(self.cells[column])


def _places(frame: pd.DataFrame, label: str | None) -> pd.DataFrame:
    numbers = frame[ROW_NUMBER] if ROW_NUMBER in frame.columns else pd.RangeIndex(1, len(frame) + 1)
    tables = frame[TABLE] if TABLE in frame.columns else Texts.repeated(label, len(frame)).to_series()
    return pd.DataFrame({"row_number": np.asarray(numbers, dtype=np.int64), "table": pd.Series(tables, dtype=TEXT)})


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
        if "prompt" in table.template.names:  # an empty prompt is told as such, not as a cell that the template misses
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
