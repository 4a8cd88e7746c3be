"""Everything of a row but its text and its id: size, quantity, seed, style and so on, read under its model's limits.

Each distinct text of a column is read once per model. Not here: the table's header, the prompt, and how reference images
are written (`config.references`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from seedream_assets.config.models import Limit, ModelSpec, SizePolicy, Source
from seedream_assets.config.prompts import LARGEST_QUANTITY
from seedream_assets.config.references import read_references, read_strength
from seedream_assets.errors import LimitError, RowError
from seedream_assets.prompts.cells import Cells, IntArray
from seedream_assets.prompts.row_errors import RowErrorLog

NOT_A_NUMBER = -1


def whole_numbers(name: str, texts: list[str]) -> tuple[IntArray, dict[int, RowError]]:
    """Each text as a whole number: `NOT_A_NUMBER` and a row error where it is none.

    "512", "512.0" and "-1" are numbers; "1,024", "5e2", "512px", "12.5" and "true" are not. A number of more than 18
    digits counts as the largest one there is, which is out of every range.
    """
    numbers = np.full(len(texts), NOT_A_NUMBER, dtype=np.int64)
    row_errors: dict[int, RowError] = {}
    for code, text in enumerate(texts):
        if text.isdecimal() and text.isascii() and len(text) <= 18:
            numbers[code] = int(text)
        elif plain := re.fullmatch(r"(-?)([0-9]+)(?:\.0*)?", text):
            digits = plain[2].lstrip("0")
            size = int(digits or "0") if len(digits) <= 18 else np.iinfo(np.int64).max
            numbers[code] = -size if plain[1] else size
        else:
            row_errors[code] = RowError(f"{name}_number", "a whole number in digits", _number_fix(text))
    return numbers, row_errors


def _number_fix(text: str) -> str:
    if text.casefold() in ("nan", "none", "null", "n/a", "na", "-"):
        return "leave the cell empty to take the recipe's value"
    if re.fullmatch(r"[0-9]{1,3}([ ,._'\u00a0\u202f][0-9]{3})+", text):
        return f"write {re.sub('[^0-9]', '', text)}, without separators"
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?[eE]\+?[0-9]{1,2}", text) and float(text) == int(float(text)) < 10**12:
        return f"write {int(float(text))}, without an exponent"
    if unit := re.fullmatch(r"([0-9]+)\s*[^\W\d_]+", text):
        return f"write {unit[1]}, without a unit"
    return "write a whole number, or leave the cell empty to take the recipe's value"


def reference_sources(prompts: pd.DataFrame) -> list[str]:
    """Every path or address that the rows' references name, once each, in order of appearance."""
    sources: dict[str, None] = {}
    for cell in prompts["references"].dropna().unique():
        for item in json.loads(cell) if cell else ():
            if "source" in item:
                sources[item["source"]] = None
    return list(sources)


Values = npt.NDArray[Any]
Reading = tuple[Values, dict[int, RowError]]

YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of many rows: distinct readings of it, and which of them each row has."""

    values: Values
    codes: IntArray

    @classmethod
    def gathered(cls, row_count: int, parts: Sequence[tuple[IntArray, Setting]], nothing: Values) -> Setting:
        """The setting of all rows from those of some of them each; a row of no part has the one value of `nothing`."""
        if len(parts) == 1 and len(parts[0][0]) == row_count:
            return parts[0][1]
        codes, values = np.zeros(row_count, dtype=np.int64), [nothing]
        for rows, setting in parts:
            codes[rows] = setting.codes + sum(map(len, values))
            values.append(setting.values)
        return cls(np.concatenate(values), codes)

    def of_rows(self) -> Values:
        """One value per row."""
        return self.values[self.codes]

    def take(self, rows: IntArray) -> Setting:
        """The setting of these rows, each of them once and in ascending order; without a copy where that is all."""
        return self if len(rows) == len(self.codes) else Setting(self.values, self.codes[rows])


def read_settings(
    cells: Mapping[str, Cells], rows: IntArray, model: ModelSpec, size_policy: SizePolicy, row_errors: RowErrorLog
) -> dict[str, Setting]:
    """The settings of `rows`, which are all for this model.

    Args:
        cells: Every setting's cells for these rows, none of them empty (an empty text means none).
        rows: Positions of the rows in the table, to name them in `row_errors`.

    Returns:
        Values are int64 for width, height, quantity and seed (`NOT_A_NUMBER` for no seed), bool for public, str for the
        others. Where a cell has an error, its value means nothing.
    """
    settings: dict[str, Setting] = {}
    for name, read in _READERS.items():
        found, wrong = read(cells[name].texts, model)
        row_errors.reject_cells(rows, cells[name], wrong)
        settings[name] = Setting(found, cells[name].codes)
    settings["references"] = _references(cells["references"], settings["reference_strength"], rows, model, row_errors)
    _check_size(cells, settings, rows, model, size_policy, row_errors)
    _check_last_seed(cells, settings, rows, model, row_errors)
    return settings


def _number(name: str, limit_of: Callable[[ModelSpec], Limit], *, optional: bool = False) -> Callable[..., Reading]:
    def read(texts: list[str], model: ModelSpec) -> Reading:
        limit = limit_of(model)
        numbers, row_errors = whole_numbers(name, texts)
        for code in np.flatnonzero((numbers < limit.low) | (numbers > limit.high)).tolist():
            if code not in row_errors:
                row_errors[code] = RowError(f"{name}_range", str(limit), _range_fix(int(numbers[code]), limit))
        if optional and "" in texts:
            row_errors.pop(texts.index(""))
        return numbers, row_errors

    return read


def _range_fix(number: int, limit: Limit) -> str:
    return f"lower it to {limit.high:.0f} or less" if number > limit.high else f"raise it to {limit.low:.0f} or more"


def _words(read_word: Callable[[str, ModelSpec], str | bool | RowError], dtype: type) -> Callable[..., Reading]:
    def read(texts: list[str], model: ModelSpec) -> Reading:
        read_texts = [read_word(text, model) for text in texts]
        row_errors = {code: found for code, found in enumerate(read_texts) if isinstance(found, RowError)}
        words = [dtype() if isinstance(found, RowError) else found for found in read_texts]
        return np.array(words, dtype=object if dtype is str else dtype), row_errors

    return read


def _style(text: str, model: ModelSpec) -> str | RowError:
    try:
        return model.style_name(text)
    except LimitError as error:
        return RowError("style", error.allowed, error.fix)


def _prompt_enhance(text: str, model: ModelSpec) -> str | RowError:
    word = text.casefold()
    mode = "ON" if word in YES else "OFF" if word in NO else word.upper()
    if mode in model.prompt_enhance:
        return mode
    return RowError("prompt_enhance", "one of " + ", ".join(model.prompt_enhance), "use one of these words")


def _public(text: str, _: ModelSpec) -> bool | RowError:
    word = text.casefold()
    if word in (*YES, *NO):
        return word in YES
    return RowError("public", "true or false, yes or no, 1 or 0", "write true or false")


_READERS: Mapping[str, Callable[[list[str], ModelSpec], Reading]] = {
    "width": _number("width", lambda model: model.width_px),
    "height": _number("height", lambda model: model.height_px),
    "quantity": _number("quantity", lambda model: _quantity(model.quantity.source)),
    "seed": _number("seed", lambda model: model.seed, optional=True),
    "style": _words(_style, str),
    "prompt_enhance": _words(_prompt_enhance, str),
    "public": _words(_public, bool),
    "reference_strength": _words(read_strength, str),
}
SETTINGS = (*_READERS, "references")


def _quantity(source: Source) -> Limit:
    return Limit(low=1, high=LARGEST_QUANTITY, unit="images per prompt", source=source)


def _references(cells: Cells, strengths: Setting, rows: IntArray, model: ModelSpec, row_errors: RowErrorLog) -> Setting:
    """Each distinct pair of a cell and a strength is read once."""
    words = [*model.reference_strengths, ""]
    positions = np.array([words.index(word) for word in strengths.values], dtype=np.int64)
    codes, distinct = pd.factorize(cells.codes * len(words) + positions[strengths.codes])
    texts = [cells.texts[pair // len(words)] for pair in distinct.tolist()]
    # A row whose strength is wrong is rejected for that; its references are still read, with the first strength.
    read = [
        read_references(text, words[pair % len(words)] or words[0], model)
        for text, pair in zip(texts, distinct.tolist(), strict=True)
    ]
    wrong = {code: found for code, found in enumerate(read) if isinstance(found, RowError)}
    row_errors.reject_cells(rows, Cells(column=cells.column, texts=texts, codes=codes.astype(np.int64)), wrong)
    return Setting(np.array(["" if isinstance(found, RowError) else found for found in read], dtype=object), codes)


def _check_size(
    cells: Mapping[str, Cells],
    settings: Mapping[str, Setting],
    rows: IntArray,
    model: ModelSpec,
    size_policy: SizePolicy,
    row_errors: RowErrorLog,
) -> None:
    """Sizes that the hard limits allow and the provider does not serve well: a warning, or an error where the size policy is `provider`."""
    width, height = settings["width"].of_rows(), settings["height"].of_rows()
    legal = np.flatnonzero(_within(width, model.width_px) & _within(height, model.height_px))
    base = int(model.height_px.high) + 1
    codes, distinct = pd.factorize(width[legal] * base + height[legal])
    advice = [model.size_advice(*divmod(size, base)) for size in distinct.tolist()]
    allowed = f"{model.provider_pixels} and {model.provider_ratio}"
    refused = size_policy == "provider"
    remedy = "choose another size" if refused else "choose another size if the images disappoint"
    noted = {
        code: RowError("size_provider" if refused else "size_unusual", allowed, f"{text}; {remedy}")
        for code, text in enumerate(advice)
        if text is not None
    }
    texts = ["{}x{}".format(*divmod(size, base)) for size in distinct.tolist()]
    sizes = Cells(column=cells["width"].column, texts=texts, codes=codes.astype(np.int64))
    (row_errors.reject_cells if refused else row_errors.warn_cells)(rows[legal], sizes, noted)


def _check_last_seed(
    cells: Mapping[str, Cells],
    settings: Mapping[str, Setting],
    rows: IntArray,
    model: ModelSpec,
    row_errors: RowErrorLog,
) -> None:
    """A request's seed is the row's plus the number of its first image, so the last one must be in range too."""
    seed, quantity = settings["seed"].of_rows(), settings["quantity"].of_rows()
    known = (seed != NOT_A_NUMBER) & _within(seed, model.seed) & (quantity >= 1) & (quantity <= LARGEST_QUANTITY)
    hit = np.flatnonzero(known & (seed + quantity - 1 > model.seed.high))
    high = int(model.seed.high)
    found = [
        RowError("seed_quantity_range", str(model.seed), f"with {q} images the seed is {high - q + 1} or less")
        for q in quantity[hit].tolist()
    ]
    row_errors.reject(rows[hit], cells["seed"].column, [str(number) for number in seed[hit].tolist()], found)


def _within(numbers: Values, limit: Limit) -> npt.NDArray[np.bool_]:
    return (numbers >= limit.low) & (numbers <= limit.high)
