"""WebDataset: tars of samples, an image and a JSON each, the same bytes every time.

train-000000.tar        <image_id>.jpg, <image_id>.json, …
train-png-000000.tar    where a dataset has several formats, a set of tars for each: loaders infer the fields of all
                        samples from the first five
README.md               the card
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from seedream_assets.config.exports import ExportChoice
from seedream_assets.exports.card import HERE, CardConfig, loading_snippet, write_card
from seedream_assets.exports.columns import ExportColumn, values_in_card
from seedream_assets.exports.folder import ExportFolder, read_images
from seedream_assets.exports.formats import ExportedFile, ExportReport, ExportSource, ExportTarget
from seedream_assets.exports.rows import ExportRow, read_rows

MOST_ROWS = 10_000
LOADING = 'A sample is an image and `json`, which holds the columns; text that is missing is "".'


class WebDatasetExport:
    """See `Export`. Every image is read, and its hash compared with the manifest's."""

    name = "webdataset"

    def write(self, source: ExportSource, target: ExportTarget, choice: ExportChoice) -> ExportReport:
        """See `Export.write`. A few images are in memory at a time, and one tar in TMPDIR."""
        rows = read_rows(source, choice.split)
        folder = ExportFolder(target, kind=self.name, dataset=source.dataset)
        folder.begin()
        columns = json_columns(rows.columns)
        several = len(rows.formats) > 1
        configs = []
        files: list[ExportedFile] = []
        for suffix in rows.formats:
            counts: dict[str, int] = {}
            for split in rows.counts:
                stem = f"{split}-{suffix}" if several else split
                tars = folder.put_shards(
                    partial(rows.iterate, split, suffix),
                    partial(_write_tar, source=source, columns=columns),
                    partial(_tar_name, stem),
                    split=split,
                    made_as=["webdataset", 1, [[column.name, column.kind] for column in columns]],
                    most_bytes=choice.bytes_per_shard,
                    most_rows=MOST_ROWS,
                )
                files += tars
                if tars:
                    counts[split] = sum(tar.rows for tar in tars)
            configs.append(_config(columns, suffix, counts, several=several))
        split = next(iter(rows.counts))
        snippets = [
            loading_snippet(library, folder=HERE, split=split, first=files[0].path)
            for library in ("parquet", "webdataset")
        ]
        folder.put("README.md", write_card(rows, configs, LOADING, snippets))
        return folder.finish(rows, name=self.name)


def json_columns(columns: Sequence[ExportColumn]) -> tuple[ExportColumn, ...]:
    """The columns as the JSON of a sample has them: all there and none null, so that all samples have one shape.

    Five first samples with a null make a loader take the field for one that is always null (datasets 5.2.0: "Couldn't
    cast array of type string to null"). So a column with a gap is text, in which "" is what is missing.
    """
    return tuple(
        ExportColumn(source=column.source, name=column.name, kind="text")
        if column.kind == "time" or (column.gaps and column.kind != "text")
        else column
        for column in columns
    )


def json_of(values: Mapping[str, Any], columns: Sequence[ExportColumn]) -> bytes:
    """A sample's JSON."""
    plain = {column.name: _plain(values[column.name], column) for column in columns}
    return json.dumps(plain, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass")


def _plain(value: Any, column: ExportColumn) -> Any:
    if column.kind != "text":
        return value
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _tar_name(stem: str, number: int, _count: int) -> str:
    return f"{stem}-{number:06}.tar"


def _write_tar(
    local: Path, rows: Iterator[ExportRow], *, source: ExportSource, columns: Sequence[ExportColumn]
) -> None:
    """A tar of samples without a trace of the machine or the moment it was written on."""
    with tarfile.open(local, "w", format=tarfile.USTAR_FORMAT) as tar:
        for row, body in read_images(source.store, rows):
            # The name up to its first dot is the sample's key; an image_id has none.
            described = json_of(row.values, columns)
            for name, content in ((row.image.file_name, body), (f"{row.image.image_id}.json", described)):
                # A TarInfo's own defaults are mtime, uid and gid 0, mode 0644 and no names.
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def _config(columns: Sequence[ExportColumn], suffix: str, counts: Mapping[str, int], *, several: bool) -> CardConfig:
    return CardConfig(
        name=suffix if several else "default",
        paths={split: f"{split}-{suffix}-*.tar" if several else f"{split}-*.tar" for split in counts},
        counts=counts,
        features=[
            {"name": "__key__", "dtype": "string"},
            {"name": "__url__", "dtype": "string"},
            {"name": suffix, "dtype": "image"},
            {"name": "json", "struct": values_in_card(columns)},
        ],
    )
