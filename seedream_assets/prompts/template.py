"""The final prompt from a dataset's Jinja template and a row's cells.

Sandboxed and strict: a name that no column has is an error, and so is printing an empty cell; `{% if note %}`,
`{{ note or 'plain' }}` and `{{ note | default('plain') }}` are how a template says that a cell may be empty. What
would make a prompt differ from run to run is taken out. Not here: checking the text that comes out (`prompts.text`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, UndefinedError, meta

from seedream_assets.errors import ConfigError, PromptTableError
from seedream_assets.prompts.row_errors import RowError
from seedream_assets.prompts.sandbox import MOST_CHARACTERS, MOST_WORK, BoundedEnvironment, TooMuch

WHOLE_ROW = "row"
# What an expression in a template can raise besides Jinja's own errors: 1 / 0, 'a' + 1, [][5], '%d' % 'a'.
_EXPRESSION_ERRORS = (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)
LONGEST_TEMPLATE = 100_000
LONGEST_RENDERED = 100_000
MOST_RENDERED = 1 << 30


class EmptyCell(StrictUndefined):
    """An empty cell: false when asked, an error when printed."""

    def __bool__(self) -> bool:  # type: ignore[override]  # Jinja declares that it never returns
        return False

    def __repr__(self) -> str:
        return "an empty cell"


class PromptTemplate:
    """One compiled template.

    Raises:
        ConfigError: It is no Jinja template.
    """

    def __init__(self, source: str) -> None:
        if len(source) > LONGEST_TEMPLATE:
            raise ConfigError(f"template: it has {len(source)} characters; allowed are {LONGEST_TEMPLATE}")
        self._environment = BoundedEnvironment()
        self._environment.source_size = max(1, len(source))
        try:
            self._template: Template = self._environment.from_string(source)
            names = meta.find_undeclared_variables(self._environment.parse(source))
        except TemplateSyntaxError as error:
            raise ConfigError(f"template, line {error.lineno}: {error.message}") from error
        except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError) as error:
            # Nested deeper than Python can; a number of more digits than it reads.
            raise ConfigError(f"template: it cannot be compiled ({type(error).__name__}: {error})") from error
        self.names = frozenset(names - set(self._environment.globals))

    def columns(self, columns: Mapping[str, str]) -> dict[str, str]:
        """The table's column behind each name that the template uses.

        Args:
            columns: Every name that a template may use → the table's column.

        Raises:
            PromptTableError: The template uses a name that no column has.
        """
        unknown = sorted(self.names - set(columns) - {WHOLE_ROW})
        if unknown:
            raise PromptTableError(
                f"the template uses {', '.join(unknown)}, which the table does not have; it has "
                f"{', '.join(columns)}. A name with spaces is written {WHOLE_ROW}['a name']"
            )
        whole = dict(columns) if WHOLE_ROW in self.names - set(columns) else {}
        return whole | {name: columns[name] for name in self.names if name in columns}

    def render(self, cells: Mapping[str, Iterable[str | None]], row_count: int) -> list[str | RowError]:
        """The prompt of every row, or why there is none.

        Args:
            cells: The texts of the columns that `columns` named, one per row, None where empty.
            row_count: How many rows there are, which no cells say when the template uses none.

        Raises:
            PromptTableError: The prompts of all rows together are longer than `MOST_RENDERED` characters.
        """
        characters = 0
        empty = {name: EmptyCell(hint=f"the cell {name!r} is empty", name=name) for name in cells}
        with_row = WHOLE_ROW in self.names and WHOLE_ROW not in cells
        prompts: list[str | RowError] = []
        for texts in zip(*cells.values(), strict=True) if cells else ((),) * row_count:
            row: dict[str, Any] = {
                name: empty[name] if text is None else text for name, text in zip(cells, texts, strict=True)
            }
            prompt = self._render_row({**row, WHOLE_ROW: row} if with_row else row)
            prompts.append(prompt)
            characters += len(prompt) if isinstance(prompt, str) else 0
            if characters > MOST_RENDERED:
                raise PromptTableError(
                    f"the template makes more than {MOST_RENDERED} characters of the first {len(prompts)} rows; shorten "
                    "it, or split the table"
                )
        return prompts

    def _render_row(self, row: dict[str, Any]) -> str | RowError:
        try:
            self._environment.begin_row()
            return _bounded(self._template.render(row))
        except (TooMuch, RecursionError, MemoryError) as error:
            told = (
                str(error) if isinstance(error, TooMuch) else "it calls itself without end, or asks for too much memory"
            )
            return RowError(
                "template",
                f"a prompt of at most {LONGEST_RENDERED} characters, texts of {MOST_CHARACTERS} on the way, {MOST_WORK} "
                "steps for a row",
                f"{told}; shorten what the template makes of this row",
            )
        except UndefinedError as error:
            return RowError(
                "template",
                "a row that has what the template uses",
                f"{error.message}; fill the cell, or say in the template what stands in for an empty one",
            )
        except _EXPRESSION_ERRORS as error:
            return RowError("template", "a row that the template can be applied to", f"{type(error).__name__}: {error}")


def _bounded(prompt: str) -> str:
    if len(prompt) > LONGEST_RENDERED:
        raise TooMuch(f"it makes a prompt of {len(prompt)} characters")
    return prompt
