"""Which column comes from which: from the prompt table's snapshot through the plan and the images to the manifest.

Data, not code: `assets` tells Dagster, and OpenLineage where that is configured. What a column names here is in the
stage's own columns (a test holds that); a column that is absent begins in its stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from seedream_assets.manifest.build import ENDING_COLUMNS, EXTRA_COLUMN_PREFIX, extra_column_name

# A column of a stage.
Source = tuple[str, str]
Lineage = Mapping[str, tuple[Source, ...]]
PROMPTS, REQUESTS, IMAGES, DATASET = "prompts", "generation_requests", "images", "dataset"
# What the `images` stage comes to know, one row per image.
IMAGE_COLUMNS: Mapping[str, str] = {"image_id": "string", **ENDING_COLUMNS}


def _from(stage: str, *columns: str) -> tuple[Source, ...]:
    return tuple((stage, column) for column in columns)


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
MANIFEST_LINEAGE: Lineage = {
    **{name: _from(PROMPTS, name) for name in ("row_number", "prompt_id", "prompt")},
    "prompt_sha256": _from(PROMPTS, "prompt"),
    "table_uri": _from(PROMPTS, "table"),
    "table_sha256": _from(PROMPTS, "table"),
    **{name: _from(REQUESTS, name) for name in ("spec_id", "seed", "references")},
    **{
        name: (*_from(PROMPTS, name), *_from(REQUESTS, name))
        for name in ("model", "width", "height", "style", "prompt_enhance")
    },
    "sample": (*_from(PROMPTS, "quantity"), *_from(REQUESTS, "start")),
    "request_start": _from(REQUESTS, "start"),
    "request_count": _from(REQUESTS, "count"),
    "credits_quoted": _from(REQUESTS, "credits", "count"),
    "reused": _from(IMAGES, "bought_for"),
    **{name: _from(IMAGES, name) for name in IMAGE_COLUMNS if name not in ("position", "request_id")},
    "request_id": (*_from(REQUESTS, "request_id"), *_from(IMAGES, "request_id")),
}


def manifest_lineage(others: Iterable[str]) -> Lineage:
    """The manifest's lineage with its `others`: the table's own columns, under the names that the manifest gives them."""
    return {**MANIFEST_LINEAGE, **{name: _from(PROMPTS, _in_table(name)) for name in others}}


def _in_table(name: str) -> str:
    told = name.removeprefix(EXTRA_COLUMN_PREFIX)
    return told if extra_column_name(told) == name else name
