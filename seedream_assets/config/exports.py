"""Which exports a dataset declares, with which options, and what its owner says on its card. Values only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, WithJsonSchema, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from seedream_assets.config.base import Config, refuse, without_nulls

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


class ExportChoice(Config):
    """One export of a dataset: in YAML a format's name, or the name with its options."""

    name: SkipJsonSchema[str]
    split: str | None = Field(
        default=None, description="The table's column that says train, validation or test; left out: all is train."
    )
    shard_bytes: int | None = Field(
        default=None,
        ge=1,
        le=LARGEST_SHARD_BYTES,
        strict=True,
        description="Bytes of images after which a new file is begun; left out: the format's own.",
    )
    row_group_bytes: int | None = Field(
        default=None,
        ge=1,
        le=LARGEST_ROW_GROUP_BYTES,
        strict=True,
        description="Bytes of images in one row group of a Parquet file.",
    )
    images: bool | None = Field(
        default=None, strict=True, description="Full images in the gallery's folder too, instead of links to the store."
    )

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        """`parquet`, or `{parquet: {split: part}}`, or this class's own fields."""
        if isinstance(given, str):
            return {"name": given}
        if isinstance(given, Mapping) and len(given) == 1 and "name" not in given:
            ((name, options),) = given.items()
            if isinstance(options or {}, Mapping):
                return {"name": name, **without_nulls(options or {})}
        if not isinstance(given, Mapping) or "name" not in given:
            raise ValueError(
                "allowed is a format's name, or one name with its options, as in {webdataset: {shard_bytes: 500000000}}"
            )
        return without_nulls(given)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if name not in FORMAT_OPTIONS:
            raise ValueError(f"there is no format {name!r}; allowed is one of {', '.join(FORMAT_OPTIONS)}")
        return name

    @field_validator("split")
    @classmethod
    def _check_split(cls, split: str) -> str:
        if not split.strip():
            raise ValueError("allowed is the name of a column")
        return split

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        known = FORMAT_OPTIONS[self.name]
        unknown = [option for option in self.given() if option not in ("name", *known)]
        if unknown:
            refuse(*(((option,), f"{self.name} has no such option; it has {', '.join(known)}") for option in unknown))
        return self

    @property
    def bytes_per_shard(self) -> int:
        """Bytes of images after which a new file is begun."""
        return self.shard_bytes or DEFAULT_SHARD_BYTES.get(self.name, 500_000_000)

    @property
    def bytes_per_row_group(self) -> int:
        """Bytes of images in one row group."""
        return self.row_group_bytes or DEFAULT_ROW_GROUP_BYTES


class Card(Config):
    """What only the owner of a dataset can say, for its card and its Croissant file."""

    title: str | None = Field(default=None, description="Shown instead of the dataset's name.")
    # No option: the dataset's own description.
    description: SkipJsonSchema[str | None] = None
    license: str | None = Field(
        default=None, description="An SPDX identifier, or the address of a licence.", examples=["CC-BY-4.0"]
    )
    creators: tuple[str, ...] = Field(default=(), description="People or teams; left out: the dataset's teams.")
    url: str | None = Field(default=None, description="Where the dataset is found or described.")
    prompts_origin: str | None = Field(default=None, description="Who wrote the prompts, and how.")
    intended_use: str | None = Field(default=None, description="What it is for, and what it is not for.")
    limitations: str | None = Field(default=None, description="What one should know before using it.")
    personal_information: str | None = Field(default=None, description="Whether it shows or names anybody.")
    version: str | None = Field(default=None, description="MAJOR.MINOR.PATCH.", examples=["1.0.0"])
    costs: bool = Field(default=False, description="Say what the images cost, on the card and by image.")

    @field_validator("version")
    @classmethod
    def _check_version(cls, version: str) -> str:
        if not _VERSION.fullmatch(version):
            raise ValueError("allowed is MAJOR.MINOR.PATCH, as in 1.0.0")
        return version


def check_choices(choices: tuple[ExportChoice, ...]) -> tuple[ExportChoice, ...]:
    """The exports of one dataset, which go together.

    Raises:
        ValidationError: A format is named twice, or `parquet` and `croissant`, which share their files, differ.
    """
    names = [choice.name for choice in choices]
    twice = [number for number, name in enumerate(names) if name in names[:number]]
    if twice:
        refuse(
            *(
                ((number,), f"{names[number]} is named twice; every format has one place in the store")
                for number in twice
            )
        )
    of_parquet = [choice for choice in choices if choice.name in ("parquet", "croissant")]
    shapes = {(choice.split, choice.bytes_per_shard, choice.bytes_per_row_group) for choice in of_parquet}
    if len(shapes) > 1:
        raise ValueError(
            "croissant describes the files of parquet, so both need the same options; give them the same, or leave "
            "parquet out, which croissant writes anyway"
        )
    return choices


_EXPORTS_SCHEMA = {
    "type": "array",
    "items": {
        "anyOf": [
            {"type": "string", "enum": list(FORMAT_OPTIONS)},
            {"type": "object", "minProperties": 1, "maxProperties": 1, "propertyNames": {"enum": list(FORMAT_OPTIONS)}},
        ]
    },
}
Exports = Annotated[tuple[ExportChoice, ...], AfterValidator(check_choices), WithJsonSchema(_EXPORTS_SCHEMA)]
