"""What people see in Dagster's UI, as its metadata: schemas, tables with a few rows, and pictures.

Dagster shows Markdown images with data addresses, and strips raw HTML. What is in metadata is stored twice in Dagster's
own database, so a thumbnail has 1–3 kB and a whole contact sheet at most 50 kB. What a
table means, and which rows are shown, is for the stage to say, not for this module.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd

from seedream_assets.errors import DownloadError, ObjectNotFound
from seedream_assets.images.inspect import make_thumbnail
from seedream_assets.ledger.image_columns import (
    DATASET,
    IMAGE_COLUMNS,
    IMAGE_FIELDS,
    IMAGES,
    IMAGES_LINEAGE,
    MANIFEST,
    MANIFEST_COLUMNS,
    PLAN_LINEAGE,
    PROMPTS,
    REQUESTS,
    Lineage,
    manifest_lineage,
)
from seedream_assets.planning.plan import PLAN_COLUMNS
from seedream_assets.prompts.stage import PROMPT_DTYPES
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.wording import count_of

LONGEST_CELL = 120
# A contact sheet: thumbnails under a row of captions.
SIDE_PX = 128
THUMBNAIL_BYTES = 2_600
SHEET_BYTES = 50_000
MARKDOWN_BYTES = 500
COLUMNS = 4
IMAGES_SHOWN = 12
LONGEST_CAPTION = 70
# What has a meaning in Markdown, and stands in prompts.
_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*[]|#~"} | {"<": "&lt;", ">": "&gt;"})

# What each stage writes, and from which columns of the stages before it.
STAGE_COLUMNS: Mapping[str, Mapping[str, str]] = {
    PROMPTS: PROMPT_DTYPES,
    REQUESTS: PLAN_COLUMNS,
    IMAGES: IMAGE_COLUMNS,
    DATASET: MANIFEST_COLUMNS,
}
STAGE_LINEAGE: Mapping[str, Lineage] = {REQUESTS: PLAN_LINEAGE, IMAGES: IMAGES_LINEAGE}
NO_COLUMNS: Mapping[str, str] = {}

# What the columns of the prompts, the plan and the manifest mean.
COLUMN_MEANINGS: Mapping[str, str] = {
    **{name: column.meaning for name, column in {**IMAGE_FIELDS, **MANIFEST}.items()},
    "sample_rank": "Place in the preview that is bought before the plan is approved; empty for the rest.",
    "quantity": "Images wanted of this row.",
    "row_seed": "The seed that the table gives, if any; part of the spec.",
    "reference_strength": "Strength of references that name none of their own.",
    "public": "Whether the images show in Leonardo's community feed.",
    "table": "The prompt table that the row comes from.",
    "start": "First sample that the request buys.",
    "count": "Images that the request buys.",
    "wanted": "Images of the request that this dataset wants.",
    "credits": "Price of the whole request, in credits.",
    "standing": "What the ledger says: free, open, submitted, completed, blocked or failed.",
    "attempt": "Number of the latest attempt to buy it.",
}


def definition_metadata(
    stage: str, key_of: Callable[[str], dg.AssetKey], extra_columns: Mapping[str, str] = NO_COLUMNS
) -> dict[str, Any]:
    """The columns that a stage writes and where each comes from, under the labels that Dagster knows.

    They are part of an asset's definition, since they are the same for every partition; a materialisation names only
    the extra columns of its table.

    Args:
        stage: One of the four.
        key_of: The asset of a stage.
        extra_columns: Columns of the prompt table that are kept, with their dtypes.
    """
    columns = [dg.TableColumn(name, dtype, COLUMN_MEANINGS.get(name)) for name, dtype in STAGE_COLUMNS[stage].items()]
    columns += [
        dg.TableColumn(name, dtype, description="An extra column of the prompt table.")
        for name, dtype in extra_columns.items()
    ]
    lineage = manifest_lineage(extra_columns) if stage == DATASET else STAGE_LINEAGE.get(stage)
    return {
        "dagster/column_schema": dg.TableSchema(columns=columns),
        **({"dagster/column_lineage": _column_lineage(lineage, key_of)} if lineage else {}),
    }


def _column_lineage(lineage: Lineage, key_of: Callable[[str], dg.AssetKey]) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(asset_key=key_of(stage), column_name=column) for stage, column in sources]
            for name, sources in lineage.items()
        }
    )


def dtypes_of(table: pd.DataFrame) -> dict[str, str]:
    """The columns of a table by name. Pandas has two dtypes of text, `string` and `str`; one word for both."""
    return {
        str(name): "string" if isinstance(table[name].dtype, pd.StringDtype) else str(table[name].dtype)
        for name in table.columns
    }


def stored_metadata(store: ObjectStore, key: str, extra_columns: Mapping[str, str] = NO_COLUMNS) -> dict[str, Any]:
    """Where a stage's result is, and which columns it has beside those of the definition.

    The page of an asset has no room for a whole address, which would cut off everything beside it: it shows the key.
    """
    return {
        "stored_at": key,
        "dagster/uri": store.uri(key),
        **({"extra_columns": ", ".join(extra_columns)} if extra_columns else {}),
    }


def spread(table: pd.DataFrame, rows: int) -> pd.DataFrame:
    """At most so many rows, evenly over all of them, in their order."""
    if len(table) <= rows:
        return table
    return table.iloc[[place * len(table) // rows for place in range(rows)]]


def rows_table(table: pd.DataFrame, *, rows: int, evenly: bool = False) -> dg.MarkdownMetadataValue:
    """Some rows as a Markdown table; long cells are cut, and how many rows were left out is said.

    Args:
        table: The table; columns without a value in the rows shown are left out.
        rows: How many are shown.
        evenly: Spread over the table, for one whose neighbours are alike; else the first.
    """
    if table.empty:
        return dg.MetadataValue.md("none")
    note = f"{rows} of {count_of(len(table), 'row')}, evenly spread" if evenly else f"… and {len(table) - rows} more"
    left = f"\n\n{note}" if len(table) > rows else ""
    shown = (spread(table, rows) if evenly else table.head(rows)).dropna(axis="columns", how="all")
    return dg.MetadataValue.md(markdown_table(shown.columns, shown.itertuples(index=False, name=None)) + left)


def markdown_table(head: Iterable[str], rows: Iterable[Sequence[object]], *, longest: int = LONGEST_CELL) -> str:
    """A table in Markdown, every cell as the plain text that it is, cut after `longest` characters."""
    names = [_cell(name, longest) for name in head]
    lines = ["| " + " | ".join(names) + " |", "| " + " | ".join("---" for _ in names) + " |"]
    lines += ["| " + " | ".join(_cell(value, longest) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def plain(text: str, longest: int) -> str:
    """A text on one line, cut, with nothing in it that Markdown would read."""
    line = " ".join(text.split())
    cut = line if len(line) <= longest else line[: longest - 1] + "…"
    # A _ between letters is one in Markdown too.
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", cut.translate(_SPECIAL))


def _cell(value: object, longest: int) -> str:
    missing = value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and pd.isna(value))
    return "" if missing else plain(str(value), longest)


def choose_images(manifest: pd.DataFrame, most: int = IMAGES_SHOWN) -> pd.DataFrame:
    """A spread of the stored images: evenly over the table's order, each picture once."""
    return spread(manifest[manifest["status"] == "stored"].drop_duplicates("image_id"), most)


def contact_sheet(store: ObjectStore, manifest: pd.DataFrame) -> str:
    """Markdown with thumbnails and prompts of some of the stored images; at most `SHEET_BYTES`."""
    shown = choose_images(manifest).itertuples()
    pictures = (Captioned(str(row.image_id), str(row.object_key), f"{row.row_number}: {row.prompt}") for row in shown)
    return picture_grid(store, pictures) or "no image is stored yet"


class Captioned(NamedTuple):
    """A picture of the store with what is said about it."""

    image_id: str
    object_key: str
    caption: str


def picture_grid(store: ObjectStore, pictures: Iterable[Captioned], *, largest_bytes: int = SHEET_BYTES) -> str:
    """Markdown with thumbnails over their captions, as many as fit; empty where there is none.

    A picture that is gone or broken is left out.
    """
    cells: list[tuple[str, str]] = []
    size = MARKDOWN_BYTES
    for one in pictures:
        thumbnail = _thumbnail(store, one.object_key)
        if thumbnail is None:
            continue
        picture = f"![{one.image_id}](data:image/jpeg;base64,{base64.b64encode(thumbnail).decode()})"
        caption = plain(one.caption, LONGEST_CAPTION)
        size += len(picture.encode()) + len(caption.encode()) + len(" |  | ")
        if size > largest_bytes:
            break
        cells.append((picture, caption))
    return _grid(cells) if cells else ""


def _thumbnail(store: ObjectStore, key: str) -> bytes | None:
    """None where the image is gone or broken: the check says so, and the sheet goes on without it."""
    try:
        return make_thumbnail(store.read(key), longest_side_px=SIDE_PX, largest_bytes=THUMBNAIL_BYTES)
    except (ObjectNotFound, DownloadError):
        return None


def _grid(cells: list[tuple[str, str]]) -> str:
    """Captions under their pictures: a row of pictures, then a row of texts."""
    lines = ["|" + " |" * COLUMNS, "|" + " --- |" * COLUMNS]
    for at in range(0, len(cells), COLUMNS):
        for texts in zip(*cells[at : at + COLUMNS], strict=True):
            lines.append("| " + " | ".join([*texts, *[""] * (COLUMNS - len(texts))]) + " |")
    return "\n".join(lines)
