"""Every error in every dataset's YAML, with file and line.

`dg check yaml` reads one file per component type, and `dg check defs` stops at the first error (dagster 1.13.27). This
reads all documents of all files, and goes on after an error as if the value had been left out.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import ValidationError

from seedream_assets.budget.rules import NO_CAP
from seedream_assets.components.image_dataset import ImageDataset
from seedream_assets.components.schema import unless_unresolved
from seedream_assets.components.seedream_resources import SeedreamResources
from seedream_assets.components.yaml_documents import Place, YamlDocument, YamlError, read_documents, read_text
from seedream_assets.errors import ConfigError, LimitError, SeedreamError

Component = type[ImageDataset] | type[SeedreamResources]
COMPONENTS: Mapping[str, Component] = {
    "seedream_assets.ImageDataset": ImageDataset,
    "seedream_assets.components.image_dataset.ImageDataset": ImageDataset,
    "seedream_assets.SeedreamResources": SeedreamResources,
    "seedream_assets.components.seedream_resources.SeedreamResources": SeedreamResources,
}
FILE_KEYS = ("type", "attributes", "requirements", "template_vars_module", "post_processing")
# Where a value that an error names may stand.
SECTIONS: tuple[Place, ...] = (
    (),
    ("recipe",),
    ("leonardo",),
    ("recovery",),
    ("budget",),
    ("partitions",),
    ("prompts",),
    ("provenance",),
    ("verify",),
    ("reconcile",),
    ("card",),
    ("image_store",),
)
# The name under which Dagster's machinery knows a field, and the one in YAML.
OWN_NAMES = {"image_model": "model"}
# Jinja over the row's columns, not over Dagster's variables.
NOT_TEMPLATED: tuple[Place, ...] = (("prompts", "template"),)
# Kept as it stands where the variable is not set, and refused when a run starts.
KEPT_UNRESOLVED: tuple[Place, ...] = (("store",), ("image_store", "url"))
# pydantic's words for a value that has keys of its own.
_INSTANCE = re.compile(r"a valid dictionary or instance of \w+")
_NAMED = re.compile(r"(?:leonardo\.|engine\.)?(exports\.[a-z_0-9]+|[a-z_]+(?:\.(?:[a-z_]+|\d+))*)\b")


def check_yaml_files(paths: Iterable[Path]) -> list[YamlError]:
    """Every error in these files; see `examine_yaml_files`."""
    return examine_yaml_files(paths)[0]


def examine_yaml_files(paths: Iterable[Path]) -> tuple[list[YamlError], list[YamlError]]:
    """Every error in these files, by file and line, and remarks on what is none: a dataset without a cap.

    Documents of other components are passed over. Nothing is read but the files themselves: no table, no store, no account.
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
            component, found = examine(document)
            errors += found
            if isinstance(component, ImageDataset):
                prefix: Place = ("attributes",) if "attributes" in document.value else ()
                at = (*prefix, "name")
                where = f"{path}:{document.line(at)}"
                if first_named.setdefault(component.name, where) != where:
                    told = f"name: {component.name!r} is taken already, in {first_named[component.name]}"
                    errors.append(document.error(at, told))
                if not found and component.budget_of().is_missing:
                    remarks.append(document.error((*prefix, "budget"), f"{component.name} has {NO_CAP}"))
    return sorted(set(errors)), sorted(set(remarks))


def examine(document: YamlDocument) -> tuple[ImageDataset | SeedreamResources | None, list[YamlError]]:
    """The component that a document declares, and all that is wrong with it; a document of others is neither.

    The component is there even where its values are wrong, as far as it can be built without them.
    """
    found = _component_of(document)
    if isinstance(found, YamlError):
        return None, [found]
    if found is None:
        return None, []
    component, prefix = found
    unknown = [key for key in document.value if key not in FILE_KEYS] if prefix else []
    errors = [document.error((key,), f"{key}: allowed are {', '.join(FILE_KEYS)}") for key in unknown]
    given = document.value.get("attributes", {}) if prefix else document.value
    if not isinstance(given, dict):
        return None, [*errors, document.error(prefix, "attributes: a mapping is expected, name: … and prompts: …")]
    examination = _Examination(document, component, prefix, copy.deepcopy(given))
    built = examination.build()
    return built, errors + examination.errors


def _component_of(document: YamlDocument) -> tuple[Component, Place] | YamlError | None:
    value = document.value
    if not isinstance(value, dict):
        return document.error((), "holds no dataset; it begins with type: and attributes:, or with name: and prompts:")
    if "type" not in value:
        if "name" in value or "prompts" in value:
            return ImageDataset, ()
        return document.error((), "type is missing: seedream_assets.ImageDataset")
    declared = str(value["type"])
    if declared in COMPONENTS:
        return COMPONENTS[declared], ("attributes",)
    if declared.startswith("seedream_assets."):
        known = "seedream_assets.ImageDataset or seedream_assets.SeedreamResources"
        return document.error(("type",), f"type: got {declared}, allowed is {known}")
    return None


class _Examination:
    """One component's attributes: what is wrong is noted and taken out, until the rest can be built."""

    def __init__(self, document: YamlDocument, component: Component, prefix: Place, values: dict[str, Any]) -> None:
        self.document = document
        self.component = component
        self.prefix = prefix
        self.values = values
        self.errors: list[YamlError] = []
        self.given: Any = values  # as they stand in the file, rendered
        self.context = dg.ResolutionContext.default()
        self.has_own_variables = "template_vars_module" in document.value

    def build(self) -> ImageDataset | SeedreamResources | None:
        self.values = self._render(self.values, ())
        self.given = copy.deepcopy(self.values)
        built = self._validate()
        # Every turn takes out one value, so this ends; the error that has no place of its own is the last.
        while built is not None:
            wrong = self._value_error(built)
            if wrong is None:
                return built
            place = self._place_of(wrong)
            self._note(place, str(wrong))
            if not self._take_out(place):
                return built
            built = self._validate()
        return None

    def _note(self, place: Place, message: str) -> None:
        self.errors.append(self.document.error((*self.prefix, *place), message))

    def _render(self, value: Any, place: Place) -> Any:
        """Dagster's templates, leaf by leaf."""
        if isinstance(value, dict):
            return {key: self._render(inner, (*place, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._render(inner, (*place, number)) for number, inner in enumerate(value)]
        if not isinstance(value, str) or "{" not in value or place in NOT_TEMPLATED:
            return value
        try:
            rendered: Any = self.context.resolve_value(value, as_type=object)
        except Exception as error:  # noqa: BLE001  # whatever an expression in somebody's YAML may raise
            if not self.has_own_variables:
                self._note(place, f"{_told(place)}: {value} cannot be evaluated: {_last_line(error)}")
            return None
        return unless_unresolved(value, rendered) if place in KEPT_UNRESOLVED else rendered

    def _validate(self) -> ImageDataset | SeedreamResources | None:
        """The component from the values, all wrong ones noted and taken out."""
        for _ in range(2):
            try:
                return self.component.model_validate(_with_own_names(self.values))
            except ValidationError as error:
                for place, message in _by_place(error, self.values).items():
                    self._note(place, f"{_told(place)}: {message}")
                    self._take_out(place)
        return None

    def _value_error(self, built: ImageDataset | SeedreamResources) -> SeedreamError | None:
        try:
            if isinstance(built, ImageDataset):
                built.config(self.document.path.parent.resolve())
            else:
                built.resources()
        except SeedreamError as error:
            return error
        return None

    def _place_of(self, error: SeedreamError) -> Place:
        """The place of the value that an error's text begins with; the document's start where it names none."""
        named = _NAMED.match(error.name if isinstance(error, LimitError) else str(error))
        if named is None:
            return ()
        name: Place = tuple(int(part) if part.isdecimal() else part for part in named[1].split("."))
        for section in SECTIONS:
            place = (*section, *name)
            if _holds(self.values, place):
                return place
        return _place_in_list(self.given, self.values, name)

    def _take_out(self, place: Place) -> bool:
        """Go on as if this had been left out. What is required is replaced by something that is allowed."""
        if place[:1] == ("exports",) and len(place) == 2:
            # By value: the entries before it may have been taken out.
            self.values["exports"].remove(self.given["exports"][place[1]])
            return True
        stand_in = _stand_in(place)
        around: Any = _found(self.values, place[:-1])
        if stand_in is not None and isinstance(around, dict) and around.get(place[-1]) != stand_in:
            around[place[-1]] = stand_in
            return True
        if not place or not _holds(self.values, place):
            return False
        if isinstance(around, dict):
            del around[place[-1]]
            return True
        return self._take_out(place[:-1])


def _stand_in(place: Place) -> Any:
    """What goes on in the place of a required value; None where it can be left out."""
    if place[:2] == ("quality", "scorers") and place[3:] == ("function",):
        return f"stand_in:scorer_{place[2]}"
    required: dict[Place, Any] = {
        ("name",): "unnamed",
        ("prompts",): {"table": "prompts.csv"},
        ("prompts", "table"): "prompts.csv",
        ("approval", "above_credits"): 0,
        ("regenerate", "max_rounds"): 1,
    }
    return required.get(place)


def _place_in_list(given: Mapping[Any, Any], left: Mapping[Any, Any], name: Place) -> Place:
    """The entry of a list that a name such as `exports.webdataset.shard_bytes` means: `webdataset`, alone or as a key.

    The first that has not been taken out yet.
    """
    entries = given.get(name[0])
    if len(name) > 1 and isinstance(entries, list):
        for number, entry in enumerate(entries):
            named = entry == name[1] or (isinstance(entry, dict) and name[1] in entry)
            if named and entry in left.get(name[0], []):
                return (name[0], number)
    return (name[0],) if name[0] in left else ()


def _by_place(error: ValidationError, values: Mapping[str, Any]) -> dict[Place, str]:
    """What pydantic found, by place: one text for all that it tried at one place."""
    told: dict[Place, list[str]] = {}
    for one in error.errors(include_url=False, include_input=False):
        place: Place = ()
        loc = [OWN_NAMES.get(part, part) if isinstance(part, str) else part for part in one["loc"]]
        for part in loc:
            if _holds(values, (*place, part)):
                place = (*place, part)
        if one["type"] == "missing":
            place = (*place, loc[-1])
        message = one["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        told.setdefault(place, []).append(_INSTANCE.sub("a mapping", message))
    # Where one of several shapes was meant, only what is wrong with that one is told.
    told = {place: texts for place, texts in told.items() if not any(_is_within(other, place) for other in told)}
    return {place: _joined(dict.fromkeys(texts), _found(values, place)) for place, texts in told.items()}


def _is_within(inner: Place, outer: Place) -> bool:
    return bool(outer) and len(inner) > len(outer) and inner[: len(outer)] == outer


def _joined(texts: Iterable[str], got: object) -> str:
    told = " or ".join(text[0].lower() + text[1:] for text in texts)
    if told == "field required":
        return "is missing"
    if told == "extra inputs are not permitted":
        return "there is no such key here"
    return f"got {got!r}, allowed is {told}"


def _with_own_names(values: dict[str, Any]) -> dict[str, Any]:
    recipe = values.get("recipe")
    if not isinstance(recipe, dict):
        return values
    back = {yaml_name: own for own, yaml_name in OWN_NAMES.items()}
    return {**values, "recipe": {back.get(key, key): value for key, value in recipe.items()}}


def _inner(value: Any, part: str | int) -> tuple[Any, bool]:
    """What stands under a key or at a number, and whether anything does."""
    if isinstance(value, dict) and part in value:
        return value[part], True
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part], True
    return None, False


def _holds(values: Any, place: Place) -> bool:
    is_there = True
    for part in place:
        values, is_there = _inner(values, part)
        if not is_there:
            break
    return is_there


def _found(values: Any, place: Place) -> Any:
    for part in place:
        values, _ = _inner(values, part)
    return values


def _told(place: Place) -> str:
    return ".".join(map(str, place)) or "attributes"


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
