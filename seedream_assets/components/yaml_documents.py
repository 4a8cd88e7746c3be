"""YAML text → documents that know on which line each of their values stands. What the values mean is not here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from seedream_assets.errors import ConfigError

Place = tuple[str | int, ...]
# A declaration has a few kilobytes and some hundred values. Aliases can unfold a few lines to billions.
LARGEST_BYTES = 1 << 18
MOST_VALUES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class YamlError:
    """One thing that is wrong with a YAML file.

    Attributes:
        path: The file.
        line: From 1; where the value stands, or the nearest thing around it.
        message: What was given, what is allowed, what to do.
    """

    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlDocument:
    """One document of a file.

    Attributes:
        path: The file.
        value: As YAML reads it.
        lines: The line, from 1, of every value by its place in the document; a mapping's entry stands on its key's.
    """

    path: Path
    value: Any
    lines: Mapping[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """Where a value stands; for one that is not there, where the nearest thing around it stands."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def error(self, place: Place, message: str) -> YamlError:
        """An error about the value at `place`."""
        return YamlError(path=self.path, line=self.line(place), message=message)


def read_text(path: Path) -> str:
    """What a YAML file holds.

    Raises:
        ConfigError: It cannot be read, or is longer than a declaration is; the reason, without the path.
    """
    try:
        with path.open("rb") as file:
            body = file.read(LARGEST_BYTES + 1)
        if len(body) <= LARGEST_BYTES:
            return body.decode()
    except OSError as error:
        raise ConfigError(str(error.strerror)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(error)) from error
    raise ConfigError(f"it has more than {LARGEST_BYTES} bytes, which is the most allowed")


def read_documents(text: str, path: Path) -> tuple[list[YamlDocument], list[YamlError]]:
    """The documents of a text, empty ones left out, and what is wrong with it as YAML: syntax, keys given twice.

    A text whose aliases unfold to more than `MOST_VALUES` values, or in a circle, is wrong as well.
    """
    documents: list[YamlDocument] = []
    errors: list[YamlError] = []
    try:
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            lines: dict[Place, int] = {}
            for place, line, is_repeated in _counted(_walk(node, ())):
                if is_repeated:
                    errors.append(YamlError(path=path, line=line, message=f"{_told(place)} is given twice"))
                lines.setdefault(place, line)
            value = yaml.SafeLoader("").construct_document(node)
            if value is not None:
                documents.append(YamlDocument(path=path, value=value, lines=lines))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        errors.append(YamlError(path=path, line=mark.line + 1 if mark else 1, message=f"not YAML: {error.problem}"))
    except RecursionError:
        errors.append(YamlError(path=path, line=1, message="not YAML: it is nested without end, or far too deep"))
    except (yaml.YAMLError, ValueError) as error:
        # A character that YAML does not allow; a date that does not exist.
        errors.append(YamlError(path=path, line=1, message=f"not YAML: {' '.join(str(error).split())}"))
    return documents, errors


def _counted(places: Iterable[tuple[Place, int, bool]]) -> Iterator[tuple[Place, int, bool]]:
    for number, place in enumerate(places):
        if number >= MOST_VALUES:
            raise yaml.YAMLError(f"more than {MOST_VALUES} values, with what its aliases stand for")
        yield place


def _walk(node: yaml.Node, place: Place) -> Iterator[tuple[Place, int, bool]]:
    """Every place with its line, and whether its key stood there before."""
    if not place:
        yield place, node.start_mark.line + 1, False
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            inner = (*place, str(key.value))
            yield inner, key.start_mark.line + 1, str(key.value) in seen
            seen.add(str(key.value))
            yield from _walk(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            inner = (*place, number)
            yield inner, item.start_mark.line + 1, False
            yield from _walk(item, inner)


def _told(place: Place) -> str:
    return ".".join(map(str, place))
