"""A Jinja environment that a template cannot leave, and in which it can neither fill the memory nor run without end.

Jinja's sandbox keeps a template away from Python's internals; it does not bound what `'x' * 10**10`, a text that doubles
in a loop, or a list of lists of lists takes when it is printed. Here every operation says beforehand what it may come to
and is refused where that is too much, and all of a row's operations together have a budget.
"""

from __future__ import annotations

import re
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, Sized, ValuesView
from functools import wraps
from itertools import islice
from types import BuiltinMethodType, MethodType
from typing import Any

from jinja2 import StrictUndefined, TemplateRuntimeError, nodes, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

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
        del self.globals["lipsum"], self.filters["random"]
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
