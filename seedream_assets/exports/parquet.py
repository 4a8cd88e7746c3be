"""Parquet with the images inside, as Hugging Face's `Image` has them, and its features in the schema.

train-00000-of-00012.parquet    image: {bytes, path}, then the columns
README.md                       the card
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from seedream_assets.config.exports import ExportChoice
from seedream_assets.exports.card import HERE, CardConfig, loading_snippet, write_card
from seedream_assets.exports.columns import SCHEMA_KEY, features_in_card, features_in_schema
from seedream_assets.exports.folder import ExportFolder, read_images
from seedream_assets.exports.formats import ExportedFile, ExportReport, ExportSource, ExportTarget
from seedream_assets.exports.rows import ExportRow, ExportRows, read_rows

IMAGE = pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
MOST_ROWS = 100_000
# Readers decode a row group as a whole; Hugging Face's viewer wants at most a thousand rows of images in one.
MOST_ROWS_PER_GROUP = 1_000
LOADING = "`load_dataset` takes this folder by its path; from S3, name the files."


class ParquetExport:
    """See `Export`. Every image is read, and its hash compared with the manifest's."""

    name = "parquet"

    def write(self, source: ExportSource, target: ExportTarget, choice: ExportChoice) -> ExportReport:
        """See `Export.write`. One row group is in memory at a time, and one file in TMPDIR."""
        rows = read_rows(source, choice.split)
        folder = ExportFolder(target, kind=self.name, dataset=source.dataset)
        write_shards(folder, rows, choice)
        folder.keep_others_of_the_same_files()
        return folder.finish(rows, name=self.name)


def write_shards(folder: ExportFolder, rows: ExportRows, choice: ExportChoice) -> list[ExportedFile]:
    """Write the Parquet files and the card into an export's folder."""
    folder.begin()
    schema = pa.schema([IMAGE, *rows.schema], metadata={SCHEMA_KEY: features_in_schema(rows.columns)})
    files: list[ExportedFile] = []
    for split in rows.counts:
        files += folder.put_shards(
            partial(rows.iterate, split),
            partial(_write_shard, rows=rows, schema=schema, most_bytes=choice.bytes_per_row_group),
            partial("{0}-{1:05}-of-{2:05}.parquet".format, split),
            split=split,
            made_as=["parquet", 1, str(schema), choice.bytes_per_row_group],
            most_bytes=choice.bytes_per_shard,
            most_rows=MOST_ROWS,
        )
    snippet = loading_snippet("parquet", folder=HERE, split=next(iter(rows.counts)), first="")
    folder.put("README.md", write_card(rows, [_config(rows)], LOADING, [snippet]))
    return files


def _write_shard(
    local: Path, ours: Iterator[ExportRow], *, rows: ExportRows, schema: pa.Schema, most_bytes: int
) -> None:
    with pq.ParquetWriter(
        local,
        schema,
        # Images are compressed already, and statistics over their bytes would hold two whole images per row group.
        compression={"image.bytes": "none", "image.path": "zstd", **dict.fromkeys(rows.schema.names, "zstd")},
        use_dictionary=rows.schema.names,  # type: ignore[arg-type]  # the stubs know only the switch
        write_statistics=rows.schema.names,
    ) as writer:
        for group in _row_groups(read_images(rows.source.store, ours), most_bytes):
            records = [{"image": {"bytes": body, "path": row.image.file_name}, **row.values} for row, body in group]
            writer.write_table(pa.Table.from_pylist(records, schema=schema), row_group_size=len(records))


def _row_groups(images: Iterable[tuple[ExportRow, bytes]], most_bytes: int) -> Iterator[list[tuple[ExportRow, bytes]]]:
    group: list[tuple[ExportRow, bytes]] = []
    size_bytes = 0
    for row, body in images:
        if group and (size_bytes + len(body) > most_bytes or len(group) >= MOST_ROWS_PER_GROUP):
            yield group
            group, size_bytes = [], 0
        group.append((row, body))
        size_bytes += len(body)
    if group:
        yield group


def _config(rows: ExportRows) -> CardConfig:
    return CardConfig(
        paths={split: f"{split}-*.parquet" for split in rows.counts},
        counts=rows.counts,
        features=features_in_card(rows.columns),
    )
