"""Builders for tests of the gallery: rows as a manifest has them, and a store with their images."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import pandas as pd
from PIL import Image

from seedream_assets.config.exports import ExportChoice
from seedream_assets.exports.formats import ExportReport, ExportSource, ExportTarget
from seedream_assets.exports.gallery import GalleryExport
from seedream_assets.ledger.image_columns import MANIFEST_COLUMNS
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.parquet import PARQUET, to_parquet

FOLDER = "datasets/scenes/exports/gallery"
PAGE = f"{FOLDER}/index.html"
CATEGORIES = ("tableware", "lamps", "textiles")


def make_row(number: int, **changes: Any) -> dict[str, Any]:
    """A stored image; two samples of each prompt row."""
    image_id = sha256(f"image {number}".encode()).hexdigest()[:32]
    row: dict[str, Any] = {
        "image_id": image_id,
        "request_id": sha256(f"request {number // 2}".encode()).hexdigest()[:32],
        "sample": number % 2,
        "dataset": "scenes",
        "partition": "all",
        "row_number": number // 2 + 1,
        "prompt_id": f"row-{number // 2 + 1}",
        "prompt": f"A red chair, number {number // 2 + 1}",
        "model": "seedream-4.0",
        "width": 1280,
        "height": 720,
        "style": ("None", "Cinematic")[number // 2 % 2],
        "status": "stored",
        "reason": None,
        "generation_id": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
        "source_url": "https://cdn.example/picture.jpg",
        "object_key": f"images/{image_id[:2]}/{image_id}.jpg",
        "width_px": 1280,
        "height_px": 720,
        "size_bytes": 1234,
        "sha256": sha256(image_id.encode()).hexdigest(),
        "source_sha256": sha256(f"source of {image_id}".encode()).hexdigest(),
        "cost_amount": 28.0,
        "cost_unit": "CREDITS",
        "run_id": "run-1",
        "category": CATEGORIES[number // 2 % len(CATEGORIES)],
    }
    return row | changes


def make_source(store: ObjectStore, rows: Sequence[Mapping[str, Any]]) -> ExportSource:
    """A dataset `scenes` with one manifest of these rows, what they leave out filled in, and without images."""
    own = [name for row in rows for name in row if name not in MANIFEST_COLUMNS]
    frame = pd.DataFrame(list(rows), columns=list(dict.fromkeys([*MANIFEST_COLUMNS, *own])))
    for name, dtype in MANIFEST_COLUMNS.items():
        if dtype in ("int64", "bool"):
            frame[name] = frame[name].fillna(0)
    manifest = to_parquet(frame.astype(dict(MANIFEST_COLUMNS)))
    store.replace("datasets/scenes/manifest/all.parquet", manifest, content_type=PARQUET)
    return ExportSource(dataset="scenes", store=store)


def write_gallery(
    store: ObjectStore,
    rows: Sequence[Mapping[str, Any]],
    *,
    target: ObjectStore | None = None,
    images: bool | None = None,
) -> ExportReport:
    """The gallery of these rows, below `FOLDER` of their own store or of another."""
    source = make_source(store, rows)
    place = ExportTarget(store=target or store, prefix=f"{FOLDER}/")
    return GalleryExport().write(source, place, ExportChoice(name="gallery", images=images))


def make_unstored(number: int, status: str, reason: str, **changes: Any) -> dict[str, Any]:
    """An image that there is none of."""
    none = {"object_key": None, "width_px": None, "height_px": None, "size_bytes": None, "sha256": None}
    return make_row(number, status=status, reason=reason, **none, **changes)


def make_picture(colour: str = "firebrick", size: tuple[int, int] = (1280, 720), kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def store_images(store: ObjectStore, rows: Iterable[Mapping[str, Any]]) -> None:
    body = make_picture()
    for row in rows:
        if row["status"] == "stored":
            store.create(row["object_key"], body, content_type="image/jpeg")
