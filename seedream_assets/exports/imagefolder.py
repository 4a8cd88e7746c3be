"""Hugging Face's ImageFolder: a folder per split, with its images and one metadata.parquet.

train/<image_id>.jpg      the stored image: a second name for its file, or a copy made by the server
train/metadata.parquet    file_name, then the columns
README.md                 the card
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from seedream_assets.config.exports import ExportChoice
from seedream_assets.exports.card import HERE, CardConfig, loading_snippet, write_card
from seedream_assets.exports.columns import features_in_card
from seedream_assets.exports.folder import ExportFolder, plan_shards, scratch, sha256_of
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
        folder.copy_images(source.store, _images(rows))
        with scratch() as local:
            for split, count in rows.counts.items():
                _write_metadata(folder, rows, split, count, local / METADATA)
        snippet = loading_snippet("imagefolder", folder=HERE, split=next(iter(rows.counts)), first="")
        folder.put("README.md", write_card(rows, [_config(rows)], LOADING, [snippet]))
        return folder.finish(rows, name=self.name)


def _images(rows: ExportRows) -> Iterator[tuple[str, StoredImage]]:
    for split in rows.counts:
        for row in rows.iterate(split):
            yield f"{split}/{row.image.file_name}", row.image


def _write_metadata(folder: ExportFolder, rows: ExportRows, split: str, count: int, local: Path) -> None:
    schema = pa.schema([pa.field(FILE_NAME, pa.string()), *rows.schema])
    made_as = ["imagefolder", 1, str(schema)]
    (shard,) = plan_shards(rows.iterate(split), made_as=made_as, most_bytes=2**63, most_rows=count)
    path = f"{split}/{METADATA}"
    if folder.keep(path, shard.fingerprint):
        return
    with pq.ParquetWriter(local, schema, compression="zstd") as writer:
        for group in _batched(rows.iterate(split)):
            records = [{FILE_NAME: row.image.file_name, **row.values} for row in group]
            writer.write_table(pa.Table.from_pylist(records, schema=schema))
    folder.put_file(path, local, sha256=sha256_of(local), fingerprint=shard.fingerprint, rows=count, split=split)


def _config(rows: ExportRows) -> CardConfig:
    return CardConfig(
        paths={split: f"{split}/**" for split in rows.counts},
        counts=rows.counts,
        features=features_in_card(rows.columns),
    )


def _batched(rows: Iterator[ExportRow]) -> Iterator[tuple[ExportRow, ...]]:
    while group := tuple(islice(rows, ROWS_PER_GROUP)):
        yield group
