"""The final prompt from a dataset's Jinja template and a row's cells.

Sandboxed and strict: a name that no column has is an error, and so is printing an empty cell; `{% if note %}`,
`{{ note or 'plain' }}` and `{{ note | default('plain') }}` are how a template says that a cell may be empty. What
would make a prompt differ from run to run is taken out. Not here: checking the text that comes out (`prompt_text`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, UndefinedError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from seedream_assets.core.errors import DeclarationError, PromptTableError
from seedream_assets.core.prompt_faults import Fault

WHOLE_ROW = "row"
# What an expression in a template can raise besides Jinja's own errors: 1 / 0, 'a' + 1, [][5], '%d' % 'a'.
_EXPRESSION_ERRORS = (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)


class EmptyCell(StrictUndefined):
    """An empty cell: false when asked, an error when printed."""

    def __bool__(self) -> bool:  # type: ignore[override]  # Jinja declares that it never returns
        return False

    def __repr__(self) -> str:
        return "an empty cell"


class PromptTemplate:
    """One compiled template.

    Raises:
        DeclarationError: It is no Jinja template.
    """

    def __init__(self, source: str) -> None:
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
        del environment.globals["lipsum"], environment.filters["random"]
        try:
            self._template: Template = environment.from_string(source)
            names = meta.find_undeclared_variables(environment.parse(source))
        except TemplateSyntaxError as error:
            raise DeclarationError(f"template, line {error.lineno}: {error.message}") from error
        self.names = frozenset(names - set(environment.globals))

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

    def render(self, cells: Mapping[str, Iterable[str | None]], row_count: int) -> list[str | Fault]:
        """The prompt of every row, or why there is none.

        Args:
            cells: The texts of the columns that `columns` named, one per row, None where empty.
            row_count: How many rows there are, which no cells say when the template uses none.
        """
        empty = {name: EmptyCell(hint=f"the cell {name!r} is empty", name=name) for name in cells}
        with_row = WHOLE_ROW in self.names and WHOLE_ROW not in cells
        prompts: list[str | Fault] = []
        for texts in zip(*cells.values(), strict=True) if cells else ((),) * row_count:
            row: dict[str, Any] = {
                name: empty[name] if text is None else text for name, text in zip(cells, texts, strict=True)
            }
            prompts.append(self._render_row({**row, WHOLE_ROW: row} if with_row else row))
        return prompts

    def _render_row(self, row: dict[str, Any]) -> str | Fault:
        try:
            return self._template.render(row)
        except UndefinedError as error:
            return Fault(
                "template",
                "a row that has what the template uses",
                f"{error.message}; fill the cell, or say in the template what stands in for an empty one",
            )
        except _EXPRESSION_ERRORS as error:
            return Fault("template", "a row that the template can be applied to", f"{type(error).__name__}: {error}")
