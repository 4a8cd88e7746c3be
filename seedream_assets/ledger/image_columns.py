"""The columns of the tables about images: for each its dtype, its meaning, and the columns that it comes from.

One record for all who need it: the manifest is written with these dtypes, Dagster shows the meanings and the lineage, and
OpenLineage gets the same. What an image itself says is taken from `LedgerImage`, field by field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args, get_type_hints

from seedream_assets.ledger.events import LedgerImage

# A column of a stage.
Source = tuple[str, str]
Lineage = Mapping[str, tuple[Source, ...]]
PROMPTS, REQUESTS, IMAGES, DATASET = "prompts", "generation_requests", "images", "dataset"
UTC_TIME = "datetime64[us, UTC]"
EXTRA_COLUMN_PREFIX = "column_"
_DTYPES: Mapping[object, str] = {
    int: "int64",
    int | None: "Int64",
    str: "string",
    str | None: "string",
    bool: "boolean",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        dtype: Of pandas.
        meaning: One line for people.
        sources: Columns of earlier stages; none for what begins here.
    """

    dtype: str
    meaning: str
    sources: tuple[Source, ...] = ()


def _columns_of_image() -> dict[str, Column]:
    hints = get_type_hints(LedgerImage, include_extras=True)
    parts = {name: get_args(hint) for name, hint in hints.items()}
    return {name: Column(_DTYPES[kind], meaning, _from(IMAGES, name)) for name, (kind, meaning) in parts.items()}


def _from(stage: str, *columns: str) -> tuple[Source, ...]:
    return tuple((stage, column) for column in columns)


def _row(name: str, dtype: str, meaning: str) -> dict[str, Column]:
    """Taken from the prompt row as it is."""
    return {name: Column(dtype, meaning, _from(PROMPTS, name))}


def _spec(name: str, dtype: str, meaning: str) -> dict[str, Column]:
    """Of the prompt row, and as it was planned."""
    return {name: Column(dtype, meaning, (*_from(PROMPTS, name), *_from(REQUESTS, name)))}


def _planned(name: str, dtype: str, meaning: str, *columns: str) -> dict[str, Column]:
    """Of the plan; from the column of the same name where none is given."""
    return {name: Column(dtype, meaning, _from(REQUESTS, *(columns or (name,))))}


def _bought(name: str, dtype: str, meaning: str) -> dict[str, Column]:
    """What buying the image made known."""
    return {name: Column(dtype, meaning, _from(IMAGES, name))}


# An image's own fields, in the order of `LedgerImage`.
IMAGE_FIELDS: Mapping[str, Column] = _columns_of_image()
_FIELDS_OF_FILE = list(IMAGE_FIELDS)[list(IMAGE_FIELDS).index("provider_image_id") :]

MANIFEST: Mapping[str, Column] = {
    "image_id": IMAGE_FIELDS["image_id"],
    "request_id": Column(
        "string",
        "The paid request; a hash of the spec and its first sample.",
        (*_from(REQUESTS, "request_id"), *_from(IMAGES, "request_id")),
    ),
    **_planned("spec_id", "string", "Hash of all that changes the picture."),
    "sample": Column(
        "int64",
        "Number of the image among those of its spec, from 0.",
        (*_from(PROMPTS, "quantity"), *_from(REQUESTS, "start")),
    ),
    "dataset": Column("string", "This dataset."),
    "partition": Column("string", "Name of the partition; all where the dataset has none."),
    **_row("row_number", "int64", "Row of the prompt table, from 1, the header not counted."),
    **_row("prompt_id", "string", "The row's own id, or one derived from its content."),
    **_row("prompt", "string", "The final text, after the template."),
    "prompt_sha256": Column("string", "SHA-256 of the final text.", _from(PROMPTS, "prompt")),
    **_spec("model", "string", "Model asked for."),
    **_spec("width", "int64", "Width asked for, in pixels."),
    **_spec("height", "int64", "Height asked for, in pixels."),
    **_planned(
        "seed",
        "int64",
        "The request's; empty in a prompt where none is given. Sent, unless leonardo.send_seed says otherwise.",
    ),
    **_spec("style", "string", "Preset's name; None is the neutral one."),
    **_spec("prompt_enhance", "string", "OFF, ON or AUTO."),
    **_planned("references", "string", "Reference images with their strengths, as JSON."),
    **_bought(
        "status",
        "string",
        "stored; withheld, blocked or failed (final, with a reason); uncertain, over_budget, awaiting_approval or pending.",
    ),
    "reason": IMAGE_FIELDS["reason"],
    "rejected": Column("bool", "True where a quality check that rejects found something; exports leave the image out."),
    "reject_reasons": Column("string", "What was found, checks separated by semicolons."),
    "nsfw": IMAGE_FIELDS["nsfw"],
    **_bought("generation_id", "string", "Leonardo's id of the generation."),
    **{name: IMAGE_FIELDS[name] for name in _FIELDS_OF_FILE},
    **_planned("credits_quoted", "float64", "This image's share of the quote, in credits.", "credits", "count"),
    **_bought(
        "cost_amount",
        "float64",
        "This image's share of what the API charged, in cost_unit; 0 where it was owned already.",
    ),
    **_bought("cost_unit", "string", "CREDITS or DOLLARS."),
    "reused": Column("bool", "True where this dataset did not have to buy the image.", _from(IMAGES, "bought_for")),
    **_bought("submitted_at", UTC_TIME, "When the request was accepted."),
    **_bought("completed_at", UTC_TIME, "When the request came to its end in the ledger."),
    **_bought("dagster_run_id", "string", "The Dagster run that bought it."),
    **_bought("run_id", "string", "The engine's run that bought it."),
    **_bought("bought_for", "string", "The dataset that it was bought for."),
    **_planned("request_start", "int64", "First sample of the request.", "start"),
    **_planned("request_count", "int64", "Images of the request.", "count"),
    "code_version": Column("string", "Version of seedream-assets that wrote the row."),
    "table_uri": Column("string", "Address of the prompt table.", _from(PROMPTS, "table")),
    "table_sha256": Column("string", "SHA-256 of the prompt table as it was read.", _from(PROMPTS, "table")),
}
MANIFEST_COLUMNS: Mapping[str, str] = {name: column.dtype for name, column in MANIFEST.items()}
# What the ledger knows of each position of a request: the part of the manifest that is not in the plan.
ENDING_COLUMNS: Mapping[str, str] = {
    "request_id": "string",
    "position": IMAGE_FIELDS["position"].dtype,
    **{
        name: column.dtype
        for name, column in MANIFEST.items()
        if column.sources == _from(IMAGES, name) and name != "image_id"
    },
}
# What the stage `images` comes to know, one row per image.
IMAGE_COLUMNS: Mapping[str, str] = {"image_id": "string", **ENDING_COLUMNS}

# All that changes the picture; spec_id is its hash.
_SPEC = ("prompt", "model", "width", "height", "style", "prompt_enhance", "references", "reference_strength", "seed")
PLAN_LINEAGE: Lineage = {
    "request_id": _from(PROMPTS, *_SPEC),
    "spec_id": _from(PROMPTS, *_SPEC),
    "start": _from(PROMPTS, "quantity"),
    "count": _from(PROMPTS, "quantity"),
    "wanted": _from(PROMPTS, "quantity"),
    "seed": _from(PROMPTS, "seed"),
    "row_seed": _from(PROMPTS, "seed"),
    "references": _from(PROMPTS, "references", "reference_strength"),
    "credits": _from(PROMPTS, "model", "quantity"),
    **{
        name: _from(PROMPTS, name)
        for name in ("prompt", "model", "width", "height", "style", "prompt_enhance", "public", "row_number")
    },
}
IMAGES_LINEAGE: Lineage = {
    "image_id": _from(REQUESTS, "request_id", "count"),
    "request_id": _from(REQUESTS, "request_id"),
    "position": _from(REQUESTS, "count"),
}
MANIFEST_LINEAGE: Lineage = {name: column.sources for name, column in MANIFEST.items() if column.sources}


def manifest_lineage(others: Iterable[str]) -> Lineage:
    """The manifest's lineage with the table's own columns, under the names that the manifest gives them."""
    return {**MANIFEST_LINEAGE, **{name: _from(PROMPTS, _in_table(name)) for name in others}}


def extra_column_name(name: str) -> str:
    """A table's own column in the manifest: its name, with a prefix where that is the manifest's already.

    A name that looks prefixed like that gets one more, so that no two columns end up under one name.
    """
    bare = name
    while bare.startswith(EXTRA_COLUMN_PREFIX):
        bare = bare.removeprefix(EXTRA_COLUMN_PREFIX)
    return f"{EXTRA_COLUMN_PREFIX}{name}" if bare in MANIFEST_COLUMNS else name


def _in_table(name: str) -> str:
    bare = name.removeprefix(EXTRA_COLUMN_PREFIX)
    return bare if extra_column_name(bare) == name else name
