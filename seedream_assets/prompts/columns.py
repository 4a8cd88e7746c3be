"""What of a table is used, what only rides along, and what looks like a setting and changes nothing.

A column of another tool, or one with a slip in its name, is no error: it is an extra column, the recipe's default is
bought in its place, and nobody notices. The same goes for another tool's syntax in the text of a prompt. So the quote
lists the columns, and has a warning for each that is doubtful. Nothing is refused for it. Not here: which names are
settings elsewhere (`config.prompts`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from seedream_assets.config.models import PROVEN_PROMPT_CHARACTERS
from seedream_assets.config.prompts import advice_on_name
from seedream_assets.prompts.cells import cell_text, listed, matching, shown

COLUMNS_SHOWN = 12
MOST_DOUBTS = 20
LONGEST_EXAMPLE = 40


class _Syntax(NamedTuple):
    """Another tool's syntax in a prompt: how it is found (RE2 and `re`), what it is called, and what to do."""

    pattern: str
    name: str
    advice: str


_SYNTAXES = (
    _Syntax(
        r"(?i)(?:^|\s)(?:--|[—–])(?:ar|aspect|niji|stylize|chaos|weird|seed|quality|style|sref|cref|oref|iw|cw|sw)\s+\S+"
        r"|(?:^|\s)--(?:[vsqcwpr]|version|no|tile|raw|hd|fast|relax|turbo|draft|profile|repeat|stop)\b(?:\s+[\d.]+)?",
        "Midjourney's parameters",
        "they are sent as words; write columns for them, as width, height, seed and style, and take them out",
    ),
    _Syntax(
        r"(?i)<(?:lora|lyco|hypernet|embedding):[^<>]*>|\bembedding:\w+",
        "tags of Stable Diffusion's networks",
        "they are sent as words; no network is loaded, so take them out",
    ),
    _Syntax(
        r"\{[^{}\"]*\|[^{}\"]*\}|\[[^\[\]\"]*\|[^\[\]\"]*\]",
        "alternatives",
        "none is chosen, all are sent; write a row for each",
    ),
    _Syntax(
        r"\([^()]*[^\s\d()]:\s*(?:[0-2](?:\.\d+)?|\.\d+)\)|[A-Za-z]+::(?:-?\d+(?:\.\d+)?)?(?:\s|$)",
        "weights",
        "they are sent as text; say in words what matters most",
    ),
    _Syntax(
        r"(?:^|[^\w])__[A-Za-z0-9](?:[\w/*-]*[A-Za-z0-9*])?__(?:[^\w]|$)",
        "wildcards",
        "nothing is filled in; write the words, or a column and prompts.template",
    ),
    _Syntax(
        r"(?i)(?:^|\n)\s*negative prompt:.*|\bsteps: \d+, sampler: \w+",
        "another tool's record of its settings",
        "it is sent as text; write what you need of it as columns, and take it out",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnReport:
    """The columns of a table, and what is doubtful in it.

    Attributes:
        used: Columns that decide something: settings, with the table's own name where it is another, and columns that
            the template, the partitions or an export use.
        extra: The others; they change no picture.
        doubts: A sentence for each extra column that looks like a setting, and for each kind of syntax in the prompts
            that does nothing here, and a sentence for prompts and references of which it is unproven that Leonardo takes
            them; `MOST_DOUBTS` at most.
    """

    used: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def to_facts(self) -> dict[str, list[str]]:
        """As JSON can hold it."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Sequence[str]]) -> ColumnReport:
        """What `to_facts` gave."""
        return cls(**{name: tuple(values) for name, values in facts.items()})


NO_COLUMNS = ColumnReport()


def report_columns(
    settings: Mapping[str, str],
    extra_columns: pd.DataFrame,
    *,
    used: Collection[str],
    prompts: pd.Series[str],
    places: pd.DataFrame,
) -> ColumnReport:
    """The report of a checked table.

    Args:
        settings: Recognised name → the table's name, for those that the table has.
        extra_columns: The table's other columns, for the accepted rows.
        used: Names of columns that are used for something other than a setting.
        prompts: The accepted rows' final texts.
        places: Their `row_number` and `table`.
    """
    extra = [str(name) for name in extra_columns.columns if name not in used]
    doubts = [
        *(doubt for name in extra if (doubt := _doubt_of(name, extra_columns[name], settings))),
        *_doubts_of_prompts(prompts, places),
        *_doubts_of_lengths(prompts, places),
    ]
    if len(doubts) > MOST_DOUBTS:
        doubts = [*doubts[: MOST_DOUBTS - 1], f"… and {len(doubts) - MOST_DOUBTS + 1} more like these"]
    named = [name if name == column else f"{name} ({column})" for name, column in settings.items()]
    others = [str(name) for name in extra_columns.columns if name in used]
    return ColumnReport(used=(*named, *others), extra=tuple(extra), doubts=tuple(doubts))


def _doubt_of(name: str, cells: pd.Series[str], settings: Mapping[str, str]) -> str | None:
    """A column whose cells are all empty asks for nothing. The cells are looked at only where the name is doubtful."""
    if advice_on_name(name, None, given=settings) is None:
        return None
    first = next((text for cell in cells if (text := (cell_text(cell) or "").strip())), None)
    advice = None if first is None else advice_on_name(name, first, given=settings)
    return f"column {shown(name, LONGEST_EXAMPLE)!r} changes nothing: {advice}" if advice else None


def _doubts_of_prompts(prompts: pd.Series[str], places: pd.DataFrame) -> Iterator[str]:
    with_table = places["table"].nunique() > 1
    for syntax in _SYNTAXES:
        rows = np.flatnonzero(matching(prompts, syntax.pattern))
        found = re.search(syntax.pattern, prompts.iloc[rows[0]]) if len(rows) else None
        if found is None:
            continue
        place = places.iloc[rows[0]]
        where = f"row {place['row_number']}" + (f" of {place['table']}" if with_table else "")
        holders = "1 prompt holds" if len(rows) == 1 else f"{len(rows)} prompts hold"
        example = shown(" ".join(found[0].split()).strip(",."), LONGEST_EXAMPLE)
        yield f"{holders} {syntax.name}, as {example!r} in {where}: {syntax.advice}"


def _doubts_of_lengths(prompts: pd.Series[str], places: pd.DataFrame) -> Iterator[str]:
    lengths = prompts.str.len().fillna(0).to_numpy(dtype=np.int64)
    long = int((lengths > PROVEN_PROMPT_CHARACTERS).sum())
    if long:
        longest = int(lengths.argmax())
        holders = "1 prompt has" if long == 1 else f"{long} prompts have"
        yield (
            f"{holders} more than {PROVEN_PROMPT_CHARACTERS} characters, the longest {lengths[longest]} in row "
            f"{places.iloc[longest]['row_number']}: that Leonardo takes them is unproven (1500 on v1, 2000 reported on v2, "
            "9999 in its schema); try one first, or refuse them with leonardo.largest_prompt"
        )


def doubt_of_references(unproven: Mapping[str, str]) -> str | None:
    """One sentence for all reference images that the provider is not known to take; None where there are none.

    Args:
        unproven: What is unusual about each, by its path or address.
    """
    if not unproven:
        return None
    source, why = next(iter(unproven.items()))
    images = "1 reference image is" if len(unproven) == 1 else f"{len(unproven)} reference images are"
    return f"{images} unproven, as {shown(source, LONGEST_EXAMPLE)!r}: {why}; Leonardo may scale it, or refuse its rows"


def column_rows(report: ColumnReport) -> list[tuple[str, str, str]]:
    """What, how many, and which: the rows of a quote. Nothing where the columns are not known."""
    if report == NO_COLUMNS:
        return []
    rows = [("columns used", str(len(report.used)), ", ".join(report.used[:COLUMNS_SHOWN]))]
    if report.extra:
        names = listed([shown(name, LONGEST_EXAMPLE) for name in report.extra], COLUMNS_SHOWN)
        rows.append(("extra columns", str(len(report.extra)), f"{names}; kept, and change no picture"))
    return [*rows, *(("warning", "doubtful", doubt) for doubt in report.doubts)]
