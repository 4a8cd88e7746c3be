"""Which exports a dataset declares, with which options, and what its owner says on its card. Values only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from seedream_assets.errors import ConfigError

EXPORT_ENTRY_POINTS = "seedream_assets.exports"
# Option by option, what each format knows; `seedream export --option` and the YAML are held to the same table.
FORMAT_OPTIONS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(sorted(entry_points(group=EXPORT_ENTRY_POINTS).names), ("split", "shard_bytes")),
    "imagefolder": ("split",),
    "webdataset": ("split", "shard_bytes"),
    "parquet": ("split", "shard_bytes", "row_group_bytes"),
    "croissant": ("split", "shard_bytes", "row_group_bytes"),
    "gallery": ("images",),
}
# About a gigabyte a tar, half of one a Parquet file: what the WebDataset and Hugging Face documentation advise.
DEFAULT_SHARD_BYTES: Mapping[str, int] = {"webdataset": 1_000_000_000, "parquet": 500_000_000, "croissant": 500_000_000}
DEFAULT_ROW_GROUP_BYTES = 100_000_000
# An object of S3 may be 5 TB, a row group is held in memory while it is written.
LARGEST_SHARD_BYTES = 100_000_000_000
LARGEST_ROW_GROUP_BYTES = 2_000_000_000
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportChoice:
    """One export of a dataset.

    Attributes:
        name: The format.
        split: The table's column that says train, validation or test; None puts everything into train.
        shard_bytes: Bytes of images after which a new file is begun; None for the format's own.
        row_group_bytes: Of images in one row group of a Parquet file.
        images: Full images in the gallery's folder too, instead of links to the store.

    Raises:
        ConfigError: The format is not known, does not have the option, or the number is out of range.
    """

    name: str
    split: str | None = None
    shard_bytes: int | None = None
    row_group_bytes: int | None = None
    images: bool | None = None

    def __post_init__(self) -> None:
        if self.name not in FORMAT_OPTIONS:
            raise ConfigError(
                f"exports.{self.name}: there is no such format; allowed is one of {', '.join(FORMAT_OPTIONS)}"
            )
        for option in ("split", "shard_bytes", "row_group_bytes", "images"):
            if getattr(self, option) is not None and option not in FORMAT_OPTIONS[self.name]:
                raise _no_such_option(self.name, option)
        _refuse_outside(self.name, "shard_bytes", self.shard_bytes, LARGEST_SHARD_BYTES)
        _refuse_outside(self.name, "row_group_bytes", self.row_group_bytes, LARGEST_ROW_GROUP_BYTES)
        if self.images is not None and not isinstance(self.images, bool):
            raise ConfigError(f"exports.{self.name}.images: got {self.images!r}, allowed is true or false")
        if self.split is not None and (not isinstance(self.split, str) or not self.split.strip()):
            raise ConfigError(f"exports.{self.name}.split: got {self.split!r}, allowed is the name of a column")

    @property
    def bytes_per_shard(self) -> int:
        """Bytes of images after which a new file is begun."""
        return self.shard_bytes or DEFAULT_SHARD_BYTES.get(self.name, 500_000_000)

    @property
    def bytes_per_row_group(self) -> int:
        """Bytes of images in one row group."""
        return self.row_group_bytes or DEFAULT_ROW_GROUP_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What only the owner of a dataset can say, for its card and its Croissant file; None where nothing was said.

    Attributes:
        title: Shown instead of the dataset's name.
        description: What the dataset is.
        license: An SPDX identifier or the address of a licence.
        creators: Names of people or teams.
        url: Where the dataset is found or described.
        prompts_origin: Who wrote the prompts, and how.
        intended_use, limitations, personal_information: Free text.
        version: MAJOR.MINOR.PATCH.
        costs: Tell what the images cost, on the card and in columns.

    Raises:
        ConfigError: The version is not one.
    """

    title: str | None = None
    description: str | None = None
    license: str | None = None
    creators: tuple[str, ...] = ()
    url: str | None = None
    prompts_origin: str | None = None
    intended_use: str | None = None
    limitations: str | None = None
    personal_information: str | None = None
    version: str | None = None
    costs: bool = False

    def __post_init__(self) -> None:
        if self.version is not None and not _VERSION.fullmatch(self.version):
            raise ConfigError(f"card.version: got {self.version!r}, allowed is MAJOR.MINOR.PATCH, as in 1.0.0")


def read_choices(declared: Iterable[str | Mapping[str, Any]]) -> tuple[ExportChoice, ...]:
    """The exports as they stand in the YAML: `imagefolder`, or `{webdataset: {shard_bytes: 500000000}}`.

    Raises:
        ConfigError: Not of this shape, not known, or named twice.
    """
    choices = tuple(_read_choice(one) for one in declared)
    names = [choice.name for choice in choices]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"exports.{name}: is named twice; every format has one place in the store")
    splits = {choice.split for choice in choices if choice.name in ("parquet", "croissant")}
    shapes = {
        (choice.bytes_per_shard, choice.bytes_per_row_group)
        for choice in choices
        if choice.name in ("parquet", "croissant")
    }
    if len(splits) > 1 or len(shapes) > 1:
        raise ConfigError(
            "exports.croissant: it describes the files of parquet, so both need the same options; give them the same, or "
            "leave parquet out, which croissant writes anyway"
        )
    return choices


def _read_choice(declared: str | Mapping[str, Any]) -> ExportChoice:
    if isinstance(declared, str):
        return ExportChoice(name=declared)
    if not isinstance(declared, Mapping) or len(declared) != 1:
        raise ConfigError(
            f"exports: got {declared!r}, allowed is a format's name or one name with its options, as in "
            "{webdataset: {shard_bytes: 500000000}}"
        )
    ((name, options),) = declared.items()
    if name not in FORMAT_OPTIONS:
        return ExportChoice(name=str(name))
    if not isinstance(options or {}, Mapping):
        raise ConfigError(f"exports.{name}: got {options!r}, allowed are options: {_options_of(name)}")
    for option in options or {}:
        if option not in FORMAT_OPTIONS[name]:
            raise _no_such_option(name, str(option))
    return ExportChoice(name=name, **(options or {}))


def _no_such_option(name: str, option: str) -> ConfigError:
    return ConfigError(f"exports.{name}.{option}: there is no such option; {name} knows {_options_of(name)}")


def _options_of(name: str) -> str:
    return ", ".join(FORMAT_OPTIONS[name])


def _refuse_outside(name: str, option: str, value: object, most: int) -> None:
    is_whole = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most
    if value is not None and not is_whole:
        raise ConfigError(f"exports.{name}.{option}: got {value!r}, allowed is a number of bytes, 1 to {most}")
