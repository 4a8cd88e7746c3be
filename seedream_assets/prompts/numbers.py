"""Text as a whole number, and what to tell someone whose text is none.

Not here: which numbers are allowed (`prompts.settings`).
"""

from __future__ import annotations

import re

import numpy as np

from seedream_assets.prompts.row_errors import IntArray, RowError

NOT_A_NUMBER = -1


def whole_numbers(name: str, texts: list[str]) -> tuple[IntArray, dict[int, RowError]]:
    """Each text as a whole number: `NOT_A_NUMBER` and a fault where it is none.

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
