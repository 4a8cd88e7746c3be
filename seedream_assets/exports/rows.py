"""The rows of an export, from the manifests: stored images that nobody rejected, each once, in the manifests' order.

The manifests are read twice, a partition at a time: once to learn columns, splits and counts, once for the rows. Between
the two, a byte per row is kept in memory, and while the first lasts, 16 bytes per image.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from seedream_assets.budget.costs import QUOTED
from seedream_assets.errors import ExportError
from seedream_assets.exports.columns import ExportColumn, column_values, export_columns, has_gap
from seedream_assets.exports.formats import ExportSource
from seedream_assets.ledger.image_columns import extra_column_name
from seedream_assets.wording import did_you_mean

SPLITS = ("train", "validation", "test")
_SPLIT_OF = {
    **dict.fromkeys(("train", "training"), 0),
    **dict.fromkeys(("validation", "valid", "val", "dev", "eval", "evaluation"), 1),
    **dict.fromkeys(("test", "testing"), 2),
}
_LEFT_OUT = -1
ROWS_PER_TABLE = 1_000
_IMAGE = ("image_id", "object_key", "size_bytes", "sha256")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """Where an exported image lies in the dataset's store.

    Attributes:
        suffix: Of its key, without the dot: jpg, png, webp or another of `config/images`.
        sha256: Of the stored object, as the manifest has it.
    """

    image_id: str
    object_key: str
    suffix: str
    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        """A name without a prompt's words: a loader would take `test-tube.png` for the test split."""
        return f"{self.image_id}.{self.suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRow:
    """One image and what is said of it: plain values by the columns' exported names."""

    image: StoredImage
    values: Mapping[str, Any]


@dataclass(slots=True)
class _Manifest:
    """One partition's manifest after the first reading."""

    key: str
    sha256: str
    splits: np.ndarray[Any, np.dtype[np.int8]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRows:
    """What is exported of a dataset.

    Attributes:
        columns: In order.
        counts: Images by split; only splits that have any, train, validation, test in this order.
        formats: Images by suffix, sorted.
        left_out: Images that are not exported, by why.
        facts: What the card states.
    """

    source: ExportSource
    columns: tuple[ExportColumn, ...]
    counts: Mapping[str, int]
    formats: Mapping[str, int]
    left_out: Mapping[str, int]
    facts: DatasetFacts
    _manifests: tuple[_Manifest, ...] = field(repr=False)

    @property
    def schema(self) -> pa.Schema:
        """The columns without the picture."""
        return pa.schema([column.arrow for column in self.columns])

    @property
    def manifests_sha256(self) -> str:
        """One digest of all manifests, as they were when they were first read."""
        together = "".join(f"{manifest.key} {manifest.sha256}\n" for manifest in self._manifests)
        return hashlib.sha256(together.encode()).hexdigest()

    def iterate(self, split: str, suffix: str | None = None) -> Iterator[ExportRow]:
        """The rows of a split, a thousand at a time in memory; only images of one format where `suffix` names it.

        Raises:
            ExportError: A manifest was written anew since it was first read.
        """
        for manifest in self._manifests:
            table = self._read_again(manifest)
            table = table.filter(pa.array(manifest.splits == SPLITS.index(split)))
            for start in range(0, table.num_rows, ROWS_PER_TABLE):
                for row in self._rows_of(table.slice(start, ROWS_PER_TABLE)):
                    if suffix in (None, row.image.suffix):
                        yield row

    def _read_again(self, manifest: _Manifest) -> pa.Table:
        body = self.source.store.read(manifest.key)
        if hashlib.sha256(body).hexdigest() != manifest.sha256:
            raise ExportError(
                f"{self.source.store.uri(manifest.key)} was written anew while it was exported; export again, which keeps "
                "what is whole"
            )
        return pq.read_table(io.BytesIO(body))

    def _rows_of(self, table: pa.Table) -> Iterator[ExportRow]:
        described = pa.table([_column(table, column) for column in self.columns], schema=self.schema).to_pylist()
        images = table.select(_IMAGE).to_pylist()
        for values, image in zip(described, images, strict=True):
            yield ExportRow(image=StoredImage(**image, suffix=_suffix(image["object_key"])), values=values)


def read_rows(source: ExportSource, split_column: str | None = None) -> ExportRows:
    """Read all manifests once.

    Args:
        source: The dataset.
        split_column: The prompt table's column that says train, validation or test; None puts everything into train.

    Raises:
        ExportError: There is no manifest or no image to export, or a row has no split.
        StoreError: A manifest cannot be read.
    """
    manifests: list[_Manifest] = []
    schemas: list[pa.Schema] = []
    seen: set[bytes] = set()
    gaps: set[str] = set()
    left_out: Counter[str] = Counter()
    collector = FactsCollector()
    split_source = None if split_column is None else extra_column_name(split_column)
    for key in source.manifest_keys():
        body = source.store.read(key)
        table = pq.read_table(io.BytesIO(body))
        why = _why_left_out(table, seen)
        left_out.update(reason for reason in why if reason is not None)
        exported = np.array([reason is None for reason in why], dtype=bool)
        kept = table.filter(pa.array(exported))
        splits = np.full(table.num_rows, _LEFT_OUT, dtype=np.int8)
        splits[exported] = _splits_of(kept, split_source, key)
        manifests.append(_Manifest(key, hashlib.sha256(body).hexdigest(), splits))
        schemas.append(table.schema)
        # A column that this partition lacks is a gap in all of its rows.
        gaps.update(name for name in kept.column_names if has_gap(kept[name]))
        collector.add(table, kept)
    everywhere = set.intersection(*(set(schema.names) for schema in schemas))
    gaps.update(name for schema in schemas for name in schema.names if name not in everywhere)
    counts = {name: sum(int((one.splits == code).sum()) for one in manifests) for code, name in enumerate(SPLITS)}
    if not any(counts.values()):
        raise ExportError(
            f"{source.dataset} has no image to export: "
            + (", ".join(f"{count} {why}" for why, count in sorted(left_out.items())) or "its manifests are empty")
        )
    return ExportRows(
        source=source,
        columns=export_columns(schemas, gaps=frozenset(gaps), costs=source.card.costs),
        counts={name: count for name, count in counts.items() if count},
        formats=dict(sorted(collector.formats.items())),
        left_out=dict(sorted(left_out.items())),
        facts=collector.facts(),
        _manifests=tuple(manifests),
    )


def _why_left_out(table: pa.Table, seen: set[bytes]) -> list[str | None]:
    """Per row, why it is not exported; None where it is. Of rows that share an image, the first brings it in.

    With the second in another split, the same picture would be in train and in test.
    """
    rejected = column_of(table, "rejected") if "rejected" in table.column_names else [False] * table.num_rows
    reasons: list[str | None] = []
    for image_id, status, is_rejected in zip(
        column_of(table, "image_id"), column_of(table, "status"), rejected, strict=True
    ):
        short = bytes.fromhex(image_id)
        if status != "stored" or is_rejected:
            reasons.append("rejected" if status == "stored" else status)
        elif short in seen:
            reasons.append("shared")
        else:
            seen.add(short)
            reasons.append(None)
    return reasons


def _splits_of(kept: pa.Table, split_source: str | None, key: str) -> list[int]:
    if split_source is None:
        return [0] * kept.num_rows
    if split_source not in kept.column_names:
        raise ExportError(
            f"split: {key} has no column {split_source!r}; the prompt table has "
            f"{', '.join(kept.column_names[-5:])}, …: name the column that says train, validation or test"
            f"{did_you_mean(split_source, kept.column_names)}"
        )
    codes = []
    for value, row in zip(column_of(kept, split_source), column_of(kept, "row_number"), strict=True):
        code = _SPLIT_OF.get(str(value).strip().casefold())
        if code is None:
            raise ExportError(
                f"split: row {row} has {value!r} in column {split_source!r}; allowed are {', '.join(_SPLIT_OF)}, so that "
                "no image gets into a split by accident. Correct the table and materialise the dataset again; nothing "
                "is bought for that"
            )
        codes.append(code)
    return codes


def _column(table: pa.Table, column: ExportColumn) -> pa.ChunkedArray[Any]:
    if column.source not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, column.arrow.type)])
    return column_values(table[column.source], column.kind)


def _suffix(object_key: str) -> str:
    return object_key.rpartition(".")[2]


_COUNTED = ("model", "style", "prompt_enhance", "code_version")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """Counts and ranges over the exported images; maps are sorted by what occurs most, then by name.

    Attributes:
        wanted: Rows of the manifests, exported or not.
        size_bytes: Of the exported images.
        prompts: Different prompts among them.
        partitions: How many have an exported image.
        by_model, by_style, by_prompt_enhance, by_code_version: Images.
        by_pixels: Images by `width × height` of the files.
        tables: Names of the prompt tables, without their folders, each with its SHA-256.
        with_references: Images made with a reference image.
        first, last: When generations were submitted first and completed last.
        costs: By unit, what was only quoted apart; an image that another dataset paid for costs nothing here.
    """

    wanted: int
    size_bytes: int
    prompts: int
    partitions: int
    by_model: Mapping[str, int]
    by_style: Mapping[str, int]
    by_prompt_enhance: Mapping[str, int]
    by_code_version: Mapping[str, int]
    by_pixels: Mapping[str, int]
    tables: tuple[tuple[str, str], ...]
    with_references: int
    first: datetime | None
    last: datetime | None
    costs: Mapping[str, float]


class FactsCollector:
    """Adds up the facts, partition by partition."""

    def __init__(self) -> None:
        self.formats: Counter[str] = Counter()
        self._wanted = 0
        self._size_bytes = 0
        self._prompts: set[bytes] = set()
        self._partitions: set[str] = set()
        self._counted: dict[str, Counter[str]] = {name: Counter() for name in _COUNTED}
        self._pixels: Counter[str] = Counter()
        self._tables: set[tuple[str, str]] = set()
        self._with_references = 0
        self._times: list[datetime] = []
        self._costs: Counter[str] = Counter()

    def add(self, manifest: pa.Table, kept: pa.Table) -> None:
        """A partition: all of its manifest, and the rows that are exported."""
        self._wanted += manifest.num_rows
        self._size_bytes += pc.sum(kept["size_bytes"]).as_py() or 0
        self._prompts.update(bytes.fromhex(digest) for digest in column_of(kept, "prompt_sha256"))
        self._partitions.update(column_of(kept, "partition"))
        for name, counter in self._counted.items():
            counter.update(column_of(kept, name))
        widths, heights = column_of(kept, "width_px"), column_of(kept, "height_px")
        self._pixels.update(f"{width} × {height}" for width, height in zip(widths, heights, strict=True))
        self.formats.update(key.rpartition(".")[2] for key in column_of(kept, "object_key"))
        for uri, digest in zip(column_of(kept, "table_uri"), column_of(kept, "table_sha256"), strict=True):
            self._tables.add((str(uri).rpartition("/")[2], str(digest)))
        self._with_references += sum(1 for given in column_of(kept, "references") if given not in (None, "", "[]"))
        for column in ("submitted_at", "completed_at"):
            times = [pc.min(kept[column]).as_py(), pc.max(kept[column]).as_py()]
            self._times += [time for time in times if time is not None]
        costs = (column_of(kept, name) for name in ("cost_amount", "cost_unit", "credits_quoted", "reused"))
        for amount, unit, quoted, reused in zip(*costs, strict=True):
            if unit is not None:
                self._costs[unit] += amount or 0
            elif not reused:
                self._costs[QUOTED] += quoted or 0  # no answer stated a cost

    def facts(self) -> DatasetFacts:
        """What was added up."""
        return DatasetFacts(
            wanted=self._wanted,
            size_bytes=self._size_bytes,
            prompts=len(self._prompts),
            partitions=len(self._partitions),
            by_model=_most_first(self._counted["model"]),
            by_style=_most_first(self._counted["style"]),
            by_prompt_enhance=_most_first(self._counted["prompt_enhance"]),
            by_code_version=_most_first(self._counted["code_version"]),
            by_pixels=_most_first(self._pixels),
            tables=tuple(sorted(self._tables)),
            with_references=self._with_references,
            first=min(self._times, default=None),
            last=max(self._times, default=None),
            costs=dict(sorted((unit, round(float(amount), 4)) for unit, amount in self._costs.items())),
        )


def column_of(table: pa.Table, name: str) -> list[Any]:
    """A column's values."""
    return table[name].to_pylist()


def _most_first(counted: Counter[str]) -> dict[str, int]:
    known = [(str(name), count) for name, count in counted.items() if name is not None]
    return dict(sorted(known, key=lambda pair: (-pair[1], pair[0])))
