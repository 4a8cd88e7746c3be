"""A contact sheet: thumbnails as data URIs in a Markdown table, small enough to be kept in Dagster's own database.

Dagster shows Markdown images with data addresses, and strips raw HTML. What is in metadata is stored twice, so a
thumbnail has 1–3 kB and the whole sheet at most 50 kB (200 kB of Markdown grew SQLite by 761 kB, measured 2026-11-22).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable

import pandas as pd

from seedream_assets.core.images import make_thumbnail
from seedream_assets.storage.object_store import ObjectStore

SIDE_PX = 112
THUMBNAIL_BYTES = 2_600
SHEET_BYTES = 50_000
COLUMNS = 4
IMAGES = 12
LONGEST_CAPTION = 60


def choose_images(manifest: pd.DataFrame, most: int = IMAGES) -> pd.DataFrame:
    """A spread of the stored images: evenly over the table's order, each picture once."""
    stored = manifest[manifest["status"] == "stored"].drop_duplicates("image_id")
    if len(stored) <= most:
        return stored
    step = len(stored) / most
    return stored.iloc[[int(place * step) for place in range(most)]]


def contact_sheet(store: ObjectStore, manifest: pd.DataFrame) -> str:
    """Markdown with thumbnails and prompts of some of the stored images; at most `SHEET_BYTES`."""
    cells, size = [], 0
    for row in choose_images(manifest).itertuples():
        thumbnail = make_thumbnail(
            store.read(str(row.object_key)), longest_side_px=SIDE_PX, largest_bytes=THUMBNAIL_BYTES
        )
        cell = f"![{row.image_id}](data:image/jpeg;base64,{base64.b64encode(thumbnail).decode()}) {_caption(str(row.prompt))}"
        size += len(cell.encode()) + 3
        if size > SHEET_BYTES - 200:
            break
        cells.append(cell)
    return _grid(cells) if cells else "no image is stored yet"


def _grid(cells: list[str]) -> str:
    lines = ["|" + " |" * COLUMNS, "|" + " --- |" * COLUMNS]
    lines += ["| " + " | ".join(_padded(cells[at : at + COLUMNS])) + " |" for at in range(0, len(cells), COLUMNS)]
    return "\n".join(lines)


def _padded(cells: list[str]) -> Iterable[str]:
    return cells + [""] * (COLUMNS - len(cells))


def _caption(prompt: str) -> str:
    text = " ".join(prompt.split())
    text = text if len(text) <= LONGEST_CAPTION else text[: LONGEST_CAPTION - 1] + "…"
    for character in "\\`*_{}[]<>|#!":
        text = text.replace(character, "\\" + character if character not in "<>" else " ")
    return text
