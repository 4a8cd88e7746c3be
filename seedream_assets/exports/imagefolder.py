"""Hugging Face's ImageFolder: a folder per split, with its images and one metadata.parquet.

train/<image_id>.jpg      the stored image: a second name for its file, or a copy made by the server
train/metadata.parquet    file_name, then the columns
README.md                 the card
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from seedream_assets.config.exports import ExportChoice
from seedream_assets.exports.card import HERE, CardConfig, loading_snippet, write_card
from seedream_assets.exports.columns import features_in_card
from seedream_assets.exports.folder import ExportFolder
from seedream_assets.exports.formats import ExportReport, ExportSource, ExportTarget
from seedream_assets.exports.rows import ExportRow, ExportRows, StoredImage, read_rows

METADATA = "metadata.parquet"
FILE_NAME = "file_name"
ROWS_PER_GROUP = 10_000
LOADING = "`load_dataset` takes this folder by its path. It does not read an ImageFolder from `s3://`: copy it first."


class ImageFolderExport:
    """See `Export`. Images are not read."""

    name = "imagefolder"

    def write(self, source: ExportSource, target: ExportTarget, choice: ExportChoice) -> ExportReport:
        """See `Export.write`."""
        rows = read_rows(source, choice.split)
        folder = ExportFolder(target, kind=self.name, dataset=source.dataset)
        folder.begin()
        folder.copy_images(source.store, images_of(rows))
        schema = pa.schema([pa.field(FILE_NAME, pa.string()), *rows.schema])
        for split, count in rows.counts.items():
            folder.put_shards(
                partial(rows.iterate, split),
                partial(_write_metadata, schema=schema),
                partial(_metadata_name, split),
                split=split,
                made_as=["imagefolder", 1, str(schema)],
                most_bytes=2**63,
                most_rows=count,
            )
        snippet = loading_snippet("imagefolder", folder=HERE, split=next(iter(rows.counts)), first="")
        folder.put("README.md", write_card(rows, [_config(rows)], LOADING, [snippet]))
        return folder.finish(rows, name=self.name)


def images_of(rows: ExportRows) -> Iterator[tuple[str, StoredImage]]:
    """The images, each with its path in the export."""
    for split in rows.counts:
        for row in rows.iterate(split):
            yield f"{split}/{row.image.file_name}", row.image


def _metadata_name(split: str, _number: int, _count: int) -> str:
    return f"{split}/{METADATA}"


def _write_metadata(local: Path, rows: Iterator[ExportRow], *, schema: pa.Schema) -> None:
    with pq.ParquetWriter(local, schema, compression="zstd") as writer:
        while group := [*islice(rows, ROWS_PER_GROUP)]:
            records = [{FILE_NAME: row.image.file_name, **row.values} for row in group]
            writer.write_table(pa.Table.from_pylist(records, schema=schema))


def _config(rows: ExportRows) -> CardConfig:
    return CardConfig(
        paths={split: f"{split}/**" for split in rows.counts},
        counts=rows.counts,
        features=features_in_card(rows.columns),
    )
