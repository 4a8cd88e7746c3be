"""Which column of a table means what: the recognised names, how a table's header is matched with them, reserved names.

Not here: reading a file (`prompts.formats`), checking what the cells hold (`prompts.settings`, `prompts.text`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from seedream_assets.errors import PromptTableError

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

# What a parsed or joined table says about its own rows. The brackets keep the names apart from any real header.
TABLE = "(table)"
ROW_NUMBER = "(row number)"
BROKEN_ROW = "(broken row)"
RESERVED = (TABLE, ROW_NUMBER, BROKEN_ROW)


def check_header(names: Iterable[str], where: str) -> None:
    """Refuse a header in which a name stands twice.

    Raises:
        PromptTableError: A name occurs more than once; its cells could not be told apart.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise PromptTableError(f"{where}: {_listed(twice)} stands more than once in the header; rename one of them")


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
            f"columns: {_listed(unknown)} means nothing here; allowed is {', '.join(RECOGNISED)}"
            f"{_hint(unknown[0], RECOGNISED)}. Other columns of the table ride along by themselves"
        )
    given = {name: _demanded(name, wanted, names) for name, wanted in mapping.items()}
    claimed = Counter(given.values())
    shared = [column for column, count in claimed.items() if count > 1]
    if shared:
        raise PromptTableError(f"columns: {_listed(shared)} is given to more than one name; give each its own column")
    free = [name for name in names if name not in claimed]
    matched = {name: given[name] if name in given else _find(name, name, free) for name in RECOGNISED}
    found = {name: column for name, column in matched.items() if column is not None}
    if needs_prompt and "prompt" not in found:
        closest = _closest("prompt", names)
        raise PromptTableError(
            f"the table has no column 'prompt'; its columns are {_listed(names)}. "
            f"Say which one it is, for example columns: {{prompt: {closest!r}}}"
        )
    return found


def _demanded(recognised: str, wanted: str, names: Sequence[str]) -> str:
    column = _find(recognised, wanted, names)
    if column is None:
        raise PromptTableError(
            f"columns: {recognised} is said to be {wanted!r}, which the table does not have{_hint(wanted, names)}; "
            f"its columns are {_listed(names)}"
        )
    return column


def _find(recognised: str, wanted: str, names: Sequence[str]) -> str | None:
    if wanted in names:
        return wanted
    alike = [name for name in names if _folded(name) == _folded(wanted)]
    if len(alike) > 1:
        raise PromptTableError(
            f"{_listed(alike)} could each be the column {wanted!r}; rename one, "
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


def _listed(names: Sequence[str], most: int = 30) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown or "none"
