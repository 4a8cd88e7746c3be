"""A dataset as a run leaves it: real images and manifests in a store, without a run."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from typing import Any

import pandas as pd
from PIL import Image

from seedream_assets.config.dataset import partition_in_key
from seedream_assets.config.exports import Card
from seedream_assets.config.images import CONTENT_TYPES, EXTENSIONS
from seedream_assets.exports.formats import ExportSource
from seedream_assets.ledger.image_columns import MANIFEST_COLUMNS, extra_column_name
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.parquet import PARQUET, to_parquet

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@cache
def picture(number: int, picture_format: str = "JPEG", side: int = 24) -> bytes:
    """A picture that no other number has."""
    buffer = io.BytesIO()
    colour = (number * 37 % 256, number * 91 % 256, number * 13 % 256)
    image = Image.new("RGB", (side, side), colour)
    image.putpixel((number % side, number // side % side), (255, 255, 255))
    image.save(buffer, picture_format, **({"lossless": True} if picture_format == "WEBP" else {}))
    return buffer.getvalue()


@dataclass(frozen=True, kw_only=True)
class DatasetBuilder:
    """Writes images and manifests of one dataset."""

    store: ObjectStore
    name: str = "scenes"

    @property
    def source(self) -> ExportSource:
        return self.source_with()

    def source_with(self, **card: Any) -> ExportSource:
        return ExportSource(dataset=self.name, store=self.store, card=Card(**card))

    def write(
        self,
        rows: Sequence[Mapping[str, Any]] | int,
        *,
        extra_columns: Mapping[str, Any] | None = None,
        partition: str = "all",
        first: int = 0,
    ) -> pd.DataFrame:
        """One image per row; a row changes what a manifest has there (`picture_format` and `body` the image itself).

        `extra_columns` are columns of the prompt table beside those that are needed, by the table's names.
        """
        changes = [{} for _ in range(rows)] if isinstance(rows, int) else [dict(row) for row in rows]
        manifest = pd.DataFrame([self._row(first + number, partition, row) for number, row in enumerate(changes)])
        manifest = manifest[[*MANIFEST_COLUMNS]].astype(dict(MANIFEST_COLUMNS))
        for name, values in (extra_columns or {}).items():
            manifest[extra_column_name(name)] = values
        key = f"datasets/{self.name}/manifest/{partition_in_key(partition)}.parquet"
        self.store.replace(key, to_parquet(manifest), content_type=PARQUET)
        return manifest

    def _row(self, number: int, partition: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        given = dict(changes)
        picture_format = given.pop("picture_format", "JPEG")
        body = given.pop("body", None) or picture(given.pop("picture", number), picture_format)
        prompt = given.get("prompt", f"prompt {number}")
        image_id = given.get("image_id", sha256(f"{self.name}/{number}".encode()).hexdigest()[:32])
        key = f"images/{image_id[:2]}/{image_id}.{EXTENSIONS[picture_format]}"
        if given.get("status", "stored") == "stored":
            self.store.create(key, body, content_type=CONTENT_TYPES[picture_format])
        row: dict[str, Any] = dict.fromkeys(MANIFEST_COLUMNS)
        row |= {
            "image_id": image_id,
            "request_id": "ab" * 32,
            "spec_id": "cd" * 32,
            "sample": 0,
            "dataset": self.name,
            "partition": partition,
            "row_number": number + 1,
            "prompt_id": f"p{number}",
            "prompt": prompt,
            "prompt_sha256": sha256(prompt.encode()).hexdigest(),
            "model": "seedream-4.0",
            "width": 24,
            "height": 24,
            "seed": 1000 + number,
            "style": "None",
            "prompt_enhance": "OFF",
            "references": "[]",
            "status": "stored",
            "rejected": False,
            "nsfw": False,
            "generation_id": f"generation-{number}",
            "object_key": key,
            "format": picture_format,
            "width_px": 24,
            "height_px": 24,
            "size_bytes": len(body),
            "sha256": sha256(body).hexdigest(),
            "credits_quoted": 28.0,
            "cost_amount": 28.0,
            "cost_unit": "CREDITS",
            "reused": False,
            "submitted_at": NOON,
            "completed_at": NOON,
            "run_id": "run-1",
            "bought_for": self.name,
            "request_start": 0,
            "request_count": 1,
            "code_version": "0.1.0",
            "table_uri": "s3://bucket/secret-folder/prompts.csv",
            "table_sha256": "ef" * 32,
        }
        return row | given
