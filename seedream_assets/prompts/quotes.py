"""Where the quotes of delimited text stand, asked of a whole file at once: whether they leave any doubt about its cells.

0.2 s for 280 MB with two million quotes (one core of an AMD EPYC, 2026-11-29). Not here: reading the cells
(`prompts.delimited`).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import numpy as np
import numpy.typing as npt

from seedream_assets.prompts.cells import BoolArray, IntArray

Characters = npt.NDArray[np.uint8]
_QUOTE, _NEWLINE, _RETURN = 0x22, 0x0A, 0x0D
_CHARACTERS_AT_ONCE = 1 << 20
_FEW_QUOTES = 4_000_000


class Quoting(Enum):
    """What quotes do in a text that leaves no doubt about them."""

    NONE = "none opens a cell: each is part of the text"
    OF_LINES = "they wrap whole cells, and none of these holds a line end"
    OF_CELLS = "they wrap whole cells, some of which hold line ends"


def too_many_quotes(text: bytes | memoryview) -> bool:
    """Whether the places of all quotes would take several times the memory of the text; real tables have far fewer."""
    characters = np.frombuffer(text, dtype=np.uint8)
    pieces = range(0, len(characters), _CHARACTERS_AT_ONCE)
    quotes = sum(int((characters[at : at + _CHARACTERS_AT_ONCE] == _QUOTE).sum()) for at in pieces)
    return quotes > max(_FEW_QUOTES, len(characters) // 2)


def quoting(characters: Characters, delimiter: int) -> Quoting | None:
    """What the quotes do; None where they are in doubt.

    Quotes open and close in turns, and a doubled one closes and opens again at once. So every odd one must follow a
    boundary or the quote before it, and every even one must precede a boundary or the quote after it.
    """
    quotes = _places(characters, lambda piece: piece == _QUOTE)
    boundaries = _Boundaries(characters, delimiter)
    opening, closing = quotes[::2], quotes[1::2]
    if len(opening) == len(closing) > 0:
        doubled = opening[1:] == closing[:-1] + 1
        opens_well, closes_well = boundaries.before(opening), boundaries.after(closing)
        opens_well[1:] |= doubled
        closes_well[:-1] |= doubled
        if opens_well.all() and closes_well.all():
            return Quoting.OF_CELLS if _hold_line_ends(characters, quotes) else Quoting.OF_LINES
    return None if boundaries.before(quotes).any() else Quoting.NONE


class _Boundaries:
    """Where a cell may begin or end: at a delimiter, at a line end, at either end of the text."""

    def __init__(self, characters: Characters, delimiter: int) -> None:
        self._characters = characters
        self._is_boundary = np.zeros(256, dtype=np.bool_)
        self._is_boundary[[delimiter, _NEWLINE, _RETURN]] = True

    def before(self, places: IntArray) -> BoolArray:
        """True for each place, in ascending order, at which a cell may begin."""
        found: BoolArray = self._is_boundary[self._characters[places - 1]]
        found[:1] |= places[:1] == 0
        return found

    def after(self, places: IntArray) -> BoolArray:
        """True for each place, in ascending order, behind which a cell may end."""
        last = len(self._characters) - 1
        found: BoolArray = self._is_boundary[self._characters[np.minimum(places + 1, last)]]
        found[-1:] |= places[-1:] == last
        return found


def _hold_line_ends(characters: Characters, quotes: IntArray) -> bool:
    """Whether a line ends where a quote is open: behind an odd number of quotes."""
    line_ends = _places(characters, lambda piece: (piece == _NEWLINE) | (piece == _RETURN))
    return bool((np.searchsorted(quotes, line_ends) % 2).any())


def _places(characters: Characters, is_asked: Callable[[Characters], BoolArray]) -> IntArray:
    """Where the characters are as asked; in pieces, which stay in the processor's cache."""
    pieces = range(0, len(characters), _CHARACTERS_AT_ONCE)
    found = [np.flatnonzero(is_asked(characters[at : at + _CHARACTERS_AT_ONCE])) + at for at in pieces]
    return np.concatenate(found).astype(np.int64, copy=False) if found else np.empty(0, dtype=np.int64)
