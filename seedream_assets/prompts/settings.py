"""Everything of a row but its text and its id: size, quantity, seed, style and so on, read under its model's limits.

Each distinct text of a column is read once per model. Not here: the table's header, the prompt, and how reference images
are written (`config.prompts`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from seedream_assets.config.models import Limit, ModelSpec, SizePolicy
from seedream_assets.config.prompts import LARGEST_QUANTITY, read_references, read_strength
from seedream_assets.errors import LimitError, RowError
from seedream_assets.prompts.cells import IntArray, RowErrorLog, wrong_rows
from seedream_assets.wording import count_of

# No seed, and a number that could not be read.
NOT_A_NUMBER = -1
YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_LONGEST_NUMBER = 18  # digits; a number of more is out of every range
Values = npt.NDArray[Any]


def read_settings(
    cells: pd.DataFrame, columns: Mapping[str, str], model: ModelSpec, size_policy: SizePolicy, row_errors: RowErrorLog
) -> dict[str, Values]:
    """The settings of rows that are all for this model.

    Args:
        cells: A column of texts for each of `SETTINGS`, none of them NA (an empty text means none). The index is the
            rows' position in the table, to name them in `row_errors`.
        columns: The table's own name of each setting, where it has one.

    Returns:
        A value per row: int64 for width, height, quantity and seed (`NOT_A_NUMBER` for no seed), bool for public, str
        for the others. Where a cell has an error, its value means nothing.
    """
    rows = cells.index.to_numpy(dtype=np.int64)
    settings: dict[str, Values] = {}
    for name, (read, nothing) in _READERS.items():
        codes, texts = pd.factorize(cells[name])
        readings = [read(text, model) for text in texts]
        row_errors.reject(columns.get(name, name), *wrong_rows(rows, codes, texts, readings))
        settings[name] = _values(readings, nothing)[codes]
    column = columns.get("references", "references")
    settings["references"] = _references(column, cells["references"], settings["reference_strength"], model, row_errors)
    _check_size(columns.get("width", "width"), settings, rows, model, size_policy, row_errors)
    _check_last_seed(columns.get("seed", "seed"), settings, rows, model, row_errors)
    return settings


def _values(readings: list[Any], nothing: Any) -> Values:
    kind = object if isinstance(nothing, str) else type(nothing)
    return np.array([nothing if isinstance(reading, RowError) else reading for reading in readings], dtype=kind)


def read_number(name: str, text: str, limit: Limit) -> int | RowError:
    """A text as a whole number.

    "512", "512.0" and "-1" are numbers; "1,024", "5e2", "512px", "12.5" and "true" are not.
    """
    plain = re.fullmatch(r"(-?)([0-9]+)(?:\.0*)?", text)
    if plain is None:
        return RowError(f"{name}_number", "a whole number in digits", _number_fix(text))
    digits = plain[2].lstrip("0") or "0"
    number = int(plain[1] + digits[: _LONGEST_NUMBER + 1])
    if limit.allows(number):
        return number
    fix = f"lower it to {limit.high:.0f} or less" if number > limit.high else f"raise it to {limit.low:.0f} or more"
    return RowError(f"{name}_range", str(limit), fix)


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


def _width(text: str, model: ModelSpec) -> int | RowError:
    return read_number("width", text, model.width_px)


def _height(text: str, model: ModelSpec) -> int | RowError:
    return read_number("height", text, model.height_px)


def _quantity(text: str, model: ModelSpec) -> int | RowError:
    limit = Limit(low=1, high=LARGEST_QUANTITY, unit="images per prompt", source=model.quantity.source)
    return read_number("quantity", text, limit)


def _seed(text: str, model: ModelSpec) -> int | RowError:
    return read_number("seed", text, model.seed) if text else NOT_A_NUMBER


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


# By setting: what reads one text, and what stands for a text that cannot be read.
_READERS: Mapping[str, tuple[Callable[[str, ModelSpec], Any], Any]] = {
    "width": (_width, NOT_A_NUMBER),
    "height": (_height, NOT_A_NUMBER),
    "quantity": (_quantity, NOT_A_NUMBER),
    "seed": (_seed, NOT_A_NUMBER),
    "style": (_style, ""),
    "prompt_enhance": (_prompt_enhance, ""),
    "public": (_public, False),
    "reference_strength": (read_strength, ""),
}
SETTINGS = (*_READERS, "references")


def _references(
    column: str, cells: pd.Series[str], strengths: Values, model: ModelSpec, row_errors: RowErrorLog
) -> Values:
    """Each distinct pair of a cell and a strength is read once.

    A row whose strength is wrong is rejected for that; its references are still read, with the first strength.
    """
    text_codes, texts = pd.factorize(cells)
    word_codes, words = pd.factorize(strengths)
    codes, pairs = pd.factorize(text_codes * max(1, len(words)) + word_codes)
    of_pairs = [divmod(pair, len(words)) for pair in pairs.tolist()]
    readings = [
        read_references(texts[text], words[word] or model.reference_strengths[0], model) for text, word in of_pairs
    ]
    rows = cells.index.to_numpy(dtype=np.int64)
    row_errors.reject(column, *wrong_rows(rows, codes, [texts[text] for text, _ in of_pairs], readings))
    return _values(readings, "")[codes]


def _check_size(
    column: str,
    settings: Mapping[str, Values],
    rows: IntArray,
    model: ModelSpec,
    size_policy: SizePolicy,
    row_errors: RowErrorLog,
) -> None:
    """Sizes that the hard limits allow and the provider does not serve well: a warning, or an error under `provider`."""
    width, height = settings["width"], settings["height"]
    legal = np.flatnonzero((width != NOT_A_NUMBER) & (height != NOT_A_NUMBER))
    base = int(model.height_px.high) + 1
    codes, distinct = pd.factorize(width[legal] * base + height[legal])
    sizes = [divmod(size, base) for size in distinct.tolist()]
    is_refused = size_policy == "provider"
    rule = "size_provider" if is_refused else "size_unusual"
    remedy = "choose another size" if is_refused else "choose another size if the images disappoint"
    allowed = f"{model.provider_pixels} and {model.provider_ratio}"
    advice = [model.size_advice(*size) for size in sizes]
    noted = [RowError(rule, allowed, f"{text}; {remedy}") if text else None for text in advice]
    found = wrong_rows(rows[legal], codes, [f"{w}x{h}" for w, h in sizes], noted)
    (row_errors.reject if is_refused else row_errors.warn)(column, *found)


def _check_last_seed(
    column: str, settings: Mapping[str, Values], rows: IntArray, model: ModelSpec, row_errors: RowErrorLog
) -> None:
    """A request's seed is the row's plus the number of its first image, so the last one must be in range too."""
    seed, quantity = settings["seed"], settings["quantity"]
    known = (seed != NOT_A_NUMBER) & (quantity != NOT_A_NUMBER)
    high = int(model.seed.high)
    hit = np.flatnonzero(known & (seed + quantity - 1 > high))
    found = [
        RowError(
            "seed_quantity_range",
            str(model.seed),
            f"with {count_of(images, 'image')} the seed is {high - images + 1} or less",
        )
        for images in quantity[hit].tolist()
    ]
    row_errors.reject(column, rows[hit], map(str, seed[hit].tolist()), found)


def reference_sources(prompts: pd.DataFrame) -> list[str]:
    """Every path or address that the rows' references name, once each, in order of appearance."""
    items = [item for cell in prompts["references"].dropna().unique() if cell for item in json.loads(cell)]
    return list(dict.fromkeys(item["source"] for item in items if "source" in item))
