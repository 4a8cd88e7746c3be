"""The shape of the YAML's `exports` and `card`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import dagster as dg

from seedream_assets.components.schema import Described, GivenModel
from seedream_assets.config.exports import Card

# Formats by name; those with options as a mapping of one entry. What is allowed is known in `config.exports`.
DeclaredExports = Annotated[
    Sequence[str | Mapping[str, Mapping[str, Any] | None]] | None,
    dg.Resolver.passthrough(
        description="What the dataset is handed over as: imagefolder, webdataset, parquet, croissant, gallery; with "
        "options as {webdataset: {shard_bytes: 500000000, split: part}}.",
        examples=[["imagefolder", {"webdataset": {"shard_bytes": 500_000_000}}]],
    ),
]


class CardModel(GivenModel):
    """What only the owner can say of the dataset, for its card and its Croissant file."""

    title: Annotated[str | None, Described(description="Shown instead of the dataset's name.")] = None
    license: Annotated[
        str | None, Described(description="An SPDX identifier, or the address of a licence.", examples=["CC-BY-4.0"])
    ] = None
    creators: Annotated[
        Sequence[str] | None, Described(description="People or teams; left out: the dataset's teams.")
    ] = None
    url: Annotated[str | None, Described(description="Where the dataset is found or described.")] = None
    prompts_origin: Annotated[str | None, Described(description="Who wrote the prompts, and how.")] = None
    intended_use: Annotated[str | None, Described(description="What it is for, and what it is not for.")] = None
    limitations: Annotated[str | None, Described(description="What one should know before using it.")] = None
    personal_information: Annotated[str | None, Described(description="Whether it shows or names anybody.")] = None
    version: Annotated[str | None, Described(description="MAJOR.MINOR.PATCH.", examples=["1.0.0"])] = None
    costs: Annotated[bool | None, Described(description="Tell what the images cost, on the card and by image.")] = None


def read_card(model: CardModel | None, *, description: str | None, owners: Sequence[str]) -> Card:
    """The plain value; the dataset's description and its teams stand in for what the card does not say.

    Raises:
        ConfigError: The version is not one.
    """
    given = model.given() if model else {}
    teams = tuple(owner.removeprefix("team:") for owner in owners if owner.startswith("team:"))
    given["creators"] = tuple(given.get("creators", teams))
    return Card(description=description, **given)
