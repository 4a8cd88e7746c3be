"""The final prompt from a dataset's Jinja template and a row's cells.

Strict: a name that no column has is an error, and so is printing an empty cell; `{% if note %}`,
`{{ note or 'plain' }}` and `{{ note | default('plain') }}` are how a template says that a cell may be empty. What
would make a prompt differ from run to run is taken out.

Sandboxed: Jinja's own sandbox keeps a template away from Python's internals; it does not bound what `'x' * 10**10`, a
text that doubles in a loop, or a list of lists of lists takes when it is printed. Here the size of every operation's
result is estimated beforehand, what is too large is refused, and all operations of one row have a budget together.
Not here: checking the text that comes out (`prompts.table`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, Sized, ValuesView
from functools import wraps
from itertools import islice
from types import BuiltinMethodType, MethodType
from typing import Any

from jinja2 import (
    StrictUndefined,
    Template,
    TemplateError,
    TemplateRuntimeError,
    UndefinedError,
    meta,
    nodes,
    pass_context,
)
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from seedream_assets.config.prompts import NOT_IN_TEMPLATES
from seedream_assets.errors import ConfigError, PromptTableError, RowError
from seedream_assets.wording import count_of, did_you_mean

# Characters of one text on the way, and elements of one list with all that is in them.
MOST_CHARACTERS = 1_000_000
# Characters written, elements gone through, for one row.
MOST_WORK = 10_000_000
MOST_DIGITS = 4_000
_BITS = MOST_DIGITS * 10 // 3
_WIDTHS = re.compile(r"\d+")
# What can come to the product of a text and a number, or of two texts; beside these a result is no larger than its parts.
_PRODUCTS = frozenset(
    {"batch", "center", "expandtabs", "indent", "ljust", "pprint", "rjust", "slice", "to_bytes", "tojson", "translate"}
    | {"urlize", "wordwrap", "xmlattr", "zfill"}
)


class TooMuch(TemplateRuntimeError):
    """What a template asks for is more than a prompt can need."""


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """The environment of one template. Not for several threads at once; `begin_row` before each rendering."""

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def __init__(self) -> None:
        # Not optimised: constants would be worked out while the template is read.
        super().__init__(undefined=StrictUndefined, autoescape=False, optimized=False, finalize=_printed)
        for name in NOT_IN_TEMPLATES:
            self.globals.pop(name, None)
            self.filters.pop(name, None)
        self.filters = {name: self._bounded(name, function) for name, function in self.filters.items()}
        self.tests = {name: self._bounded(name, function) for name, function in self.tests.items()}
        self.filters |= {_LOOPED: self._looped, _WEIGHED: self._weighed}
        self.source_size = 1
        self._left = MOST_WORK

    def begin_row(self) -> None:
        """Give the budget of a row."""
        self._left = MOST_WORK

    def spend(self, work: int) -> None:
        """Take something off the budget.

        Raises:
            TooMuch: It is used up.
        """
        self._left -= work
        if self._left < 0:
            raise TooMuch(f"the template does more than {MOST_WORK} steps for this row")

    def weigh(self, *values: Any) -> int:
        """The characters and elements of values with all that is in them; spent.

        Raises:
            TooMuch: There are too many for one value.
        """
        weight = 0
        for value in values:  # most are texts
            weight += len(value) + 1 if type(value) is str else _weight((value,))
        _refuse(weight)
        self.spend(weight)
        return weight

    # What Jinja calls

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        template = super()._parse(source, name, filename)
        for loop in list(template.find_all(nodes.For)):
            written = sum(len(data.data) for data in loop.find_all(nodes.TemplateData))
            loop.iter = _filtered(loop.iter, _LOOPED, nodes.Const(written))
        for join in list(template.find_all(nodes.Concat)):
            join.nodes = [_filtered(part, _WEIGHED) for part in join.nodes]
        # Nested values are gone through whole where they are compared, and where they are keys.
        for compared in list(template.find_all(nodes.Compare)):
            compared.expr = _filtered(compared.expr, _WEIGHED)
            for operand in compared.ops:
                operand.expr = _filtered(operand.expr, _WEIGHED)
        for pair in list(template.find_all(nodes.Pair)):
            pair.key = _filtered(pair.key, _WEIGHED)
        for item in list(template.find_all(nodes.Getitem)):
            if not isinstance(item.arg, nodes.Const | nodes.Slice):
                item.arg = _filtered(item.arg, _WEIGHED)
        return template.set_environment(self)  # type: ignore[return-value]  # it gives itself, a Template

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """See `SandboxedEnvironment.call_binop`."""
        if operator == "+":
            self.weigh(left, right)
        elif operator == "%" and isinstance(left, str):
            _refuse(_formatted(left, right if isinstance(right, tuple) else (right,)))
        elif operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() + right.bit_length() if operator == "*" else left.bit_length() * max(right, 0)
            if bits > _BITS:
                raise TooMuch(f"a number has more than {MOST_DIGITS} digits")
        elif operator == "*":
            times = next((value for value in (left, right) if isinstance(value, int)), 1)
            _refuse(self.weigh(left, right) * max(times, 0))
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - as Jinja's own
        """See `SandboxedEnvironment.call`."""
        method = getattr(__obj, "__wrapped__", __obj)  # Jinja puts a function of its own before str.format
        given = (*args, *kwargs.values())
        if isinstance(method, MethodType | BuiltinMethodType) and isinstance(method.__self__, str | bytes | int):
            __self._refuse_growth(method.__name__, method.__self__, given)
        else:
            # A macro, or a loop that calls itself, may write all of the template.
            __self.spend(__self.source_size * (1 + _weight(given)))
        found = super().call(__context, __obj, *args, **kwargs)
        __self.weigh(found)
        return found

    # What it is made of

    def _bounded(self, name: str, function: Any) -> Callable[..., Any]:
        """A filter or a test that looks at what it is given, and at what it gives."""
        first = 1 if getattr(function, "jinja_pass_arg", None) is not None else 0

        @wraps(function)
        def bounded(*args: Any, **kwargs: Any) -> Any:
            before, value, rest = args[:first], args[first], args[first + 1 :]
            if isinstance(value, Iterator):
                value = list(islice(value, MOST_CHARACTERS))
            self._refuse_growth(name, value, (*rest, *kwargs.values()))
            found = function(*before, value, *rest, **kwargs)
            self.weigh(found)
            return found

        return bounded

    def _refuse_growth(self, name: str, value: Any, given: tuple[Any, ...]) -> None:
        """Refuse what may come to more than a text can hold, before it is done."""
        weight = self.weigh(value, *given)
        if name in ("format", "format_map"):
            _refuse(_formatted(str(value), given))
        elif name == "replace" and len(given) > 1 and isinstance(value, str):
            old, new = str(given[0]), str(given[1])
            _refuse(len(value) + (value.count(old) if old else len(value) + 1) * len(new))
        elif name == "join":
            # str.join: between the elements of what is given; the filter: between those of the value.
            between, parts = (
                (value, given[0])
                if isinstance(value, str) and given and not isinstance(given[0], str)
                else (
                    (given[0] if given else ""),
                    value,
                )
            )
            _refuse(weight + _weight((between,)) * (len(parts) if isinstance(parts, Sized) else MOST_CHARACTERS))
        elif name in _PRODUCTS:
            numbers = [one for one in given if isinstance(one, int)]
            _refuse(max(1, _weight((value,))) * max([1, *numbers, *(_weight((one,)) for one in given)]))

    def _looped(self, values: Iterable[Any], written: int) -> Iterable[Any]:
        """What a loop goes through; each turn costs what the loop writes."""
        if isinstance(values, Sized):
            self.spend(len(values) * (1 + written))
            return values
        return self._counted(values, written)

    def _counted(self, values: Iterable[Any], written: int) -> Iterator[Any]:
        for value in values:
            self.spend(1 + written)
            yield value

    def _weighed(self, value: Any) -> Any:
        self.weigh(value)
        return value


_LOOPED, _WEIGHED = "_looped", "_weighed"


@pass_context
def _printed(context: Context, value: Any) -> Any:
    environment = context.environment
    if isinstance(environment, BoundedEnvironment):
        environment.weigh(value)
    return value


def _filtered(node: Any, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)


def _weight(values: tuple[Any, ...]) -> int:
    """Characters and elements, with all that is in them: a list that holds another twice has it twice."""
    weight = 0
    left = list(values)
    while left:
        value = left.pop()
        if isinstance(value, str | bytes):
            weight += len(value)
        elif isinstance(value, int):
            weight += value.bit_length() // 3
        elif isinstance(value, Namespace):
            left.append(object.__getattribute__(value, "_Namespace__attrs"))
        elif isinstance(value, Mapping):
            weight += 2 * len(value)
            _refuse(weight)
            left += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset | KeysView | ValuesView | ItemsView):
            weight += len(value)
            _refuse(weight)
            left += value
        weight += 1
        _refuse(weight)
    return weight


def _formatted(template: str, given: tuple[Any, ...]) -> int:
    """At most so many characters are formatted: every field as wide as the widest, or as all that is given."""
    fields = template.count("%") + template.count("{")
    flat = [one for value in given for one in (value.values() if isinstance(value, Mapping) else [value])]
    widths = [int(digits[:9]) for digits in _WIDTHS.findall(template)] + [one for one in flat if isinstance(one, int)]
    return len(template) + fields * (max([0, *widths]) + _weight(tuple(flat)))


def _refuse(weight: int) -> None:
    if weight > MOST_CHARACTERS:
        raise TooMuch(f"the template makes a text or a list of more than {MOST_CHARACTERS} characters or elements")


WHOLE_ROW = "row"
# What an expression in a template can raise besides Jinja's own errors: 1 / 0, 'a' + 1, [][5], '%d' % 'a'.
_EXPRESSION_ERRORS = (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)
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
        ConfigError: It is nested too deep.
    """

    def __init__(self, source: str) -> None:
        self._environment = BoundedEnvironment()
        self._environment.source_size = max(1, len(source))
        try:
            self._template: Template = self._environment.from_string(source)
            names = meta.find_undeclared_variables(self._environment.parse(source))
        except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError) as error:
            # What bounds it nests it a little deeper than it was when `config` compiled it.
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
                f"{', '.join(columns)}{did_you_mean(unknown[0], columns)}. A name with spaces is written {WHOLE_ROW}['a name']"
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
                    f"the template makes more than {MOST_RENDERED} characters of the first {count_of(len(prompts), 'row')}; shorten "
                    "it, or split the table"
                )
        return prompts

    def _render_row(self, row: dict[str, Any]) -> str | RowError:
        try:
            self._environment.begin_row()
            return _bounded(self._template.render(row))
        except (TooMuch, RecursionError, MemoryError) as error:
            reason = (
                str(error) if isinstance(error, TooMuch) else "it calls itself without end, or asks for too much memory"
            )
            return RowError(
                "template",
                f"a prompt of at most {LONGEST_RENDERED} characters, texts of {MOST_CHARACTERS} on the way, {MOST_WORK} "
                "steps for a row",
                f"{reason}; shorten what the template makes of this row",
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
        raise TooMuch(f"it makes a prompt of {count_of(len(prompt), 'character')}")
    return prompt
