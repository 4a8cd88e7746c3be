"""How messages are worded everywhere: numbers with their noun, and the name that was probably meant. Pure.

Not here: what a message is about, which is said where it arises.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

# The part of two names that has to be alike, 0 to 1. "heigth" and "height" share 0.83, "prompt" and "prompt_enhance" 0.63.
LEAST_LIKENESS = 0.65


def count_of(number: int, noun: str, nouns: str | None = None) -> str:
    """A number with its noun: "1 image", "3 images", "0 images".

    Args:
        number: How many.
        noun: For one, as "open request".
        nouns: For any other number; default: with an s.
    """
    return f"{number} {noun if number == 1 else nouns or f'{noun}s'}"


def closest(wanted: str, names: Iterable[str]) -> str | None:
    """The name that is most like `wanted`, whatever the case and the separators of both; None where none is alike."""
    by_letters = {_letters(name): name for name in reversed(list(names))}
    alike = get_close_matches(_letters(wanted), list(by_letters), n=1, cutoff=LEAST_LIKENESS)
    return by_letters[alike[0]] if alike else None


def did_you_mean(wanted: str, names: Iterable[str]) -> str:
    """The end of a message about a name that does not exist: " (did you mean 'width'?)", or nothing."""
    name = closest(wanted, names)
    return "" if name is None else f" (did you mean {name!r}?)"


def _letters(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
