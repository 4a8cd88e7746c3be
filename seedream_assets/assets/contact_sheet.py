"""A contact sheet: thumbnails as data URIs in a Markdown table, small enough to be kept in Dagster's own database.

Dagster shows Markdown images with data addresses, and strips raw HTML. What is in metadata is stored twice, so a
thumbnail has 1–3 kB and the whole sheet at most 50 kB (200 kB of Markdown grew SQLite by 761 kB, measured 2026-11-22).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from seedream_assets.assets.tables import plain, spread
from seedream_assets.errors import DownloadError, ObjectNotFound
from seedream_assets.images.inspect import make_thumbnail
from seedream_assets.storage.object_store import ObjectStore

SIDE_PX = 128
THUMBNAIL_BYTES = 2_600
SHEET_BYTES = 50_000
FRAME_BYTES = 500
COLUMNS = 4
IMAGES = 12
LONGEST_CAPTION = 70


def choose_images(manifest: pd.DataFrame, most: int = IMAGES) -> pd.DataFrame:
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
    size = FRAME_BYTES
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
