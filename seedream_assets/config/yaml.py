"""YAML → what it declares, with the file and the line of every error. No Dagster: the command line reads with this.

A file is a `defs.yaml` as Dagster reads it (`type:` and `attributes:`), or a dataset's attributes alone. What Dagster
and this make of the same file is the same, for both validate with `DatasetConfig`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jinja2 import StrictUndefined, Undefined
from jinja2.nativetypes import NativeEnvironment
from pydantic import ValidationError

from seedream_assets.config.account import ResourcesConfig
from seedream_assets.config.base import AS_DECLARED, Config, Place, problems_of
from seedream_assets.config.dataset import NO_CAP, DatasetConfig
from seedream_assets.errors import ConfigError
from seedream_assets.wording import count_of, did_you_mean

# A declaration has a few kilobytes and some hundred values. Aliases can unfold a few lines to billions.
LARGEST_BYTES = 1 << 18
MOST_VALUES = 20_000
TYPES: Mapping[str, type[DatasetConfig] | type[ResourcesConfig]] = {
    "seedream_assets.ImageDataset": DatasetConfig,
    "seedream_assets.components.image_dataset.ImageDataset": DatasetConfig,
    "seedream_assets.SeedreamResources": ResourcesConfig,
    "seedream_assets.components.seedream_resources.SeedreamResources": ResourcesConfig,
}
FILE_KEYS = ("type", "attributes", "requirements", "template_vars_module", "post_processing")
# Jinja over the row's columns, not over the environment.
NOT_TEMPLATED: tuple[Place, ...] = (("prompts", "template"),)
# Kept as it stands where the variable is not set, and refused when a run starts.
KEPT_UNRESOLVED: tuple[Place, ...] = (("store",), ("image_store", "url"))
Evaluate = Callable[[str], Any]


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

    @property
    def dataset_name(self) -> tuple[str | None, Place]:
        """The name of the dataset that it declares, None for none, and where the name stands."""
        value: Any = self.value
        place: Place = ()
        if isinstance(value, dict) and "type" in value:
            is_dataset = TYPES.get(str(value["type"])) is DatasetConfig
            value, place = (value.get("attributes") if is_dataset else None), ("attributes",)
        name = value.get("name") if isinstance(value, dict) else None
        return (name if isinstance(name, str) else None), (*place, "name")

    def line(self, place: Place) -> int:
        """Where a value stands; for one that is not there, where the nearest thing around it stands."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def error(self, place: Place, message: str) -> YamlError:
        """An error about the value at `place`."""
        return YamlError(path=self.path, line=self.line(place), message=message)


def load_config(path: Path) -> DatasetConfig:
    """The one dataset that a file declares; relative paths start from the file's folder.

    Raises:
        ConfigError: As `load_configs`, or the file declares more than one.
    """
    configs = load_configs(path)
    if len(configs) > 1:
        names = ", ".join(config.name for config in configs)
        raise ConfigError(
            f"{path} declares {count_of(len(configs), 'dataset')} ({names}); here a file of one is expected"
        )
    return configs[0]


def load_configs(path: Path) -> list[DatasetConfig]:
    """The datasets that a file declares, in its order.

    Raises:
        ConfigError: The file cannot be read, holds no dataset, or holds errors: all of them, each with its line.
    """
    try:
        text = read_text(path)
    except ConfigError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return configs_of(text, path)


def configs_of(text: str, path: Path) -> list[DatasetConfig]:
    """The datasets in a text; `path` names it and is where relative paths start from.

    Raises:
        ConfigError: As `load_configs`.
    """
    documents, errors = read_documents(text, path)
    configs = []
    for document in documents:
        declared, found = read_document(document)
        errors += found
        if isinstance(declared, DatasetConfig):
            configs.append(declared)
    if not errors and not configs:
        errors = [YamlError(path=path, line=1, message="declares no dataset; it begins with name: and prompts:")]
    if errors:
        raise ConfigError("\n".join(map(str, sorted(errors))))
    return configs


def check_yaml_files(paths: Iterable[Path]) -> tuple[list[YamlError], list[YamlError]]:
    """Every error in these files, by file and line, and remarks on what is none: a dataset without a cap.

    Documents of other components are passed over. Nothing is read but the files: no table, no store, no account.
    """
    errors: list[YamlError] = []
    remarks: list[YamlError] = []
    first_named: dict[str, str] = {}
    for path in paths:
        try:
            text = read_text(path)
        except ConfigError as error:
            errors.append(YamlError(path=path, line=1, message=f"cannot be read: {error}"))
            continue
        documents, found = read_documents(text, path)
        errors += found
        for document in documents:
            declared, found = read_document(document)
            errors += found
            name, at = document.dataset_name
            where = f"{path}:{document.line(at)}"
            if name and first_named.setdefault(name, where) != where:
                errors.append(document.error(at, f"name: {name!r} is taken already, in {first_named[name]}"))
            if isinstance(declared, DatasetConfig) and declared.budget.is_missing:
                remarks.append(document.error((*at[:-1], "budget"), f"{declared.name} has {NO_CAP}"))
    return sorted(set(errors)), sorted(set(remarks))


def read_document(document: YamlDocument) -> tuple[Config | None, list[YamlError]]:
    """What a document declares, or all that is wrong with it; a document of others is neither."""
    value = document.value
    if not isinstance(value, dict):
        message = "holds no dataset; it begins with type: and attributes:, or with name: and prompts:"
        return None, [document.error((), message)]
    kind: type[Config] | None = DatasetConfig
    if "type" in value:
        kind = TYPES.get(str(value["type"]))
        if kind is None and str(value["type"]).startswith("seedream_assets."):
            known = "seedream_assets.ImageDataset or seedream_assets.SeedreamResources"
            meant = did_you_mean(str(value["type"]), TYPES)
            return None, [document.error(("type",), f"type: got {value['type']}, allowed is {known}{meant}")]
    elif "name" not in value and "prompts" not in value:
        return None, [document.error((), "type is missing: seedream_assets.ImageDataset")]
    if kind is None:
        return None, []
    prefix: Place = ("attributes",) if "type" in value else ()
    unknown = [str(key) for key in value if key not in FILE_KEYS] if prefix else []
    errors = [
        document.error((key,), f"{key}: allowed are {', '.join(FILE_KEYS)}{did_you_mean(key, FILE_KEYS)}")
        for key in unknown
    ]
    given = value.get("attributes") or {} if prefix else value
    if not isinstance(given, dict):
        return None, [*errors, document.error(prefix, "attributes: a mapping is expected, name: … and prompts: …")]
    declared, found = _read_attributes(document, kind, given, prefix)
    return (None if errors else declared), errors + found


def _read_attributes(
    document: YamlDocument, kind: type[Config], given: dict[str, Any], prefix: Place
) -> tuple[Config | None, list[YamlError]]:
    failed: dict[Place, str] = {}
    values = rendered(given, _evaluate, failed=failed)
    has_own_variables = "template_vars_module" in document.value
    problems = {} if has_own_variables else dict(failed)
    declared = None
    try:
        declared = kind.model_validate(values, context=AS_DECLARED)
    except ValidationError as error:
        for problem in problems_of(error):
            # Of what could not be evaluated nothing else is said.
            if not any(problem.place[: len(place)] == place for place in failed):
                problems[problem.place] = problem.message
    if isinstance(declared, DatasetConfig):
        declared = declared.changed(base=document.path.parent.resolve())
    errors = [
        document.error((*prefix, *place), f"{_dotted(place) or 'attributes'}: {message}")
        for place, message in problems.items()
    ]
    return (None if errors else declared), errors


def rendered(value: Any, evaluate: Evaluate, *, failed: dict[Place, str], place: Place = ()) -> Any:
    """A YAML value with its templates, such as `{{ env.NAME }}`, evaluated; what cannot be evaluated becomes None.

    Args:
        value: As YAML reads it; stays as it is.
        evaluate: What one text with a template gives.
        failed: Filled with the places of templates that could not be evaluated, and why.
        place: Where the value stands.
    """
    if isinstance(value, dict):
        return {key: rendered(inner, evaluate, failed=failed, place=(*place, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [rendered(inner, evaluate, failed=failed, place=(*place, at)) for at, inner in enumerate(value)]
    if not isinstance(value, str) or "{" not in value or place in NOT_TEMPLATED:
        return value
    try:
        result = evaluate(value)
    except Exception as error:  # noqa: BLE001  # whatever an expression in somebody's YAML may raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        failed[place] = f"{value} cannot be evaluated: {lines[-1] if lines else type(error).__name__}"
        return None
    if place not in KEPT_UNRESOLVED:
        return result
    # Dagster's `{{ env.X }}` is silently None where X is not set; in the middle of a text it is printed. Taken for "no
    # store of its own", that would send a dataset to another store, where nothing that it owns is known.
    is_unset = not result or ("{{" in value and "None" in str(result) and "None" not in value)
    return value if is_unset else result


class _Environment:
    """`env` in a template, as Dagster has it: `env.NAME` is None where it is not set, `env('NAME')` an error."""

    def __call__(self, name: str, *default: Any) -> Any:
        if name not in os.environ and not default:
            raise ConfigError(f"the environment variable {name} is not set, and no default is given")
        return os.environ.get(name, *default)

    def __getattr__(self, name: str) -> str | None:
        if name.startswith("jinja"):
            raise AttributeError(name)
        return os.environ.get(name)


def _evaluate(template: str) -> Any:
    result: Any = NativeEnvironment(undefined=StrictUndefined).from_string(template).render(env=_Environment())
    if isinstance(result, Undefined):
        raise ConfigError("it uses a name that is not known here; env is")
    return result


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
            for place, line, is_repeated in _counted(_places(node, ())):
                if is_repeated:
                    errors.append(YamlError(path=path, line=line, message=f"{_dotted(place)} is given twice"))
                lines.setdefault(place, line)
            value = yaml.SafeLoader("").construct_document(node)
            if value is not None:
                documents.append(YamlDocument(path=path, value=value, lines=lines))
    except yaml.MarkedYAMLError as error:
        found = error.problem_mark or error.context_mark
        errors.append(YamlError(path=path, line=found.line + 1 if found else 1, message=f"not YAML: {error.problem}"))
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


def _places(node: yaml.Node, place: Place) -> Iterator[tuple[Place, int, bool]]:
    """Every place with its line, and whether its key stood there before."""
    if not place:
        yield place, node.start_mark.line + 1, False
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            inner = (*place, str(key.value))
            yield inner, key.start_mark.line + 1, str(key.value) in seen
            seen.add(str(key.value))
            yield from _places(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            inner = (*place, number)
            yield inner, item.start_mark.line + 1, False
            yield from _places(item, inner)


def _dotted(place: Place) -> str:
    return ".".join(map(str, place))
