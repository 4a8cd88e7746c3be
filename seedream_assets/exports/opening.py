"""The proof of an export: it is opened with its consumers' own libraries, and what they see is held against the manifest.

On this machine, all of it is opened and all rows are counted. In S3 nothing but a sample is fetched: every file is looked
up by name and size; of an ImageFolder the metadata is opened whole, with the sampled images; of Parquet and WebDataset
the smallest file of every split, and of the other Parquet files the footers, which count their rows.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from seedream_assets.config.exports import ExportChoice
from seedream_assets.errors import ObjectNotFound
from seedream_assets.exports.consumers import (
    LIBRARIES,
    LOADED_WHOLE_BYTES,
    Seen,
    missing_libraries,
    open_with_datasets,
    open_with_mlcroissant,
    open_with_webdataset,
)
from seedream_assets.exports.croissant import CROISSANT
from seedream_assets.exports.croissant_rules import missing_in_croissant
from seedream_assets.exports.export import ExportedFile, ExportSource, ExportTarget
from seedream_assets.exports.folder import RECORD, sha256_of
from seedream_assets.exports.local_copy import SAMPLE, LocalCopy, RangeReader, local_copy, sample_of
from seedream_assets.exports.rows import ExportRows, read_rows

PROBLEMS_TOLD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What became of opening an export.

    Attributes:
        ran: False where a library is missing.
        problems: What is wrong; empty also where it did not run.
        incomplete: What a complete export would have and only the owner can say.
        rows: Images that the libraries counted, those of a sample where only one was fetched.
        sampled: Of these, decoded and hashed.
        told: One sentence.
    """

    name: str
    uri: str
    ran: bool
    problems: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    rows: int = 0
    sampled: int = 0
    told: str = ""

    @property
    def passed(self) -> bool:
        """True where it ran, and nothing is wrong or missing."""
        return self.ran and not self.problems and not self.incomplete


def open_export(source: ExportSource, target: ExportTarget, choice: ExportChoice) -> Opening:
    """Open an export with its consumers' libraries.

    Raises:
        ExportError: There is nothing to hold it against.
        StoreError: The store failed.
    """
    missing = missing_libraries(choice.name)
    if missing:
        told = (
            f"not run: {', '.join(missing)} is not installed; `pip install 'seedream-assets[exports]'` brings what opens "
            "an export"
        )
        return Opening(name=choice.name, uri=target.uri, ran=False, told=told)
    rows = read_rows(source, choice.split)
    try:
        record = json.loads(target.store.read(target.key(RECORD)))
        files = [ExportedFile(**one) for one in record["files"]]
    except (ObjectNotFound, ValueError, KeyError, TypeError):  # none, or none that can be read
        record, files = {"complete": False}, []
    if not record["complete"]:
        return _failed(choice, target, f"{target.uri} holds no complete export; export again, which finishes it")
    problems = [*_not_there(rows, target, choice, files)]
    if choice.name != "imagefolder":
        problems += _wrong_row_counts(rows, target, files)
    incomplete: list[str] = []
    if choice.name == "croissant":
        incomplete = missing_in_croissant(json.loads(target.store.read(target.key(CROISSANT))))
    with TemporaryDirectory(prefix="seedream-opening-") as scratch, local_copy(rows, target, choice, files) as local:
        seen, sampled, found = _look(rows, choice, local, Path(scratch))
        if choice.name == "croissant":
            problems += _wrong_checksums(local.folder)
    problems += found
    counted = sum(local.counts.values())
    told = f"opened with {' and '.join(LIBRARIES[choice.name])}: {seen} rows counted, {sampled} decoded and hashed"
    if not local.whole:
        told += f"; a sample of {counted} of {sum(rows.counts.values())}, every file looked up"
    return Opening(
        name=choice.name,
        uri=target.uri,
        ran=True,
        problems=tuple(problems[:PROBLEMS_TOLD]),
        incomplete=tuple(incomplete),
        rows=seen,
        sampled=sampled,
        told="; ".join([*problems[:PROBLEMS_TOLD], *incomplete, told]),
    )


def _failed(choice: ExportChoice, target: ExportTarget, problem: str) -> Opening:
    return Opening(name=choice.name, uri=target.uri, ran=True, problems=(problem,), told=problem)


def _look(rows: ExportRows, choice: ExportChoice, local: LocalCopy, scratch: Path) -> tuple[int, int, list[str]]:
    """What the libraries see: rows, images decoded, problems."""
    every = max(1, sum(local.counts.values()) // SAMPLE)
    expected = sample_of(rows, every, all_of=local.whole or choice.name == "imagefolder")
    seen: Counter[tuple[str, str]] = Counter()
    sampled: dict[str, set[str]] = {library: set() for library in LIBRARIES[choice.name]}
    problems: list[str] = []
    try:
        for image in _open(choice, local, scratch):
            seen[image.library, image.split] += 1
            if image.image_id not in expected or image.image_id in sampled[image.library]:
                continue
            if not local.whole and len(sampled[image.library]) >= 2 * SAMPLE:
                continue
            sampled[image.library].add(image.image_id)
            try:
                body = image.decode()
            except Exception as error:  # noqa: BLE001 - as below; the others are looked at all the same
                problems.append(f"{image.library} cannot open {image.image_id}: {_words(error)}")
                continue
            if body is not None and hashlib.sha256(body).hexdigest() != expected[image.image_id]:
                problems.append(f"{image.library} hands out other bytes for {image.image_id} than the manifest's")
    except Exception as error:  # noqa: BLE001 - whatever a library raises is what its users would get
        problems.append(f"cannot be opened: {_words(error)}")
    else:
        for library, ids in sampled.items():
            found = {split: seen[library, split] for split in local.counts}
            if found != dict(local.counts):
                problems.append(f"{library} counts {found}, the manifest has {dict(local.counts)}")
            lacking = len(expected) - len(ids) if local.whole or choice.name == "imagefolder" else int(not ids)
            if lacking:
                problems.append(f"{library} lacks {lacking} of {len(expected)} sampled images")
    return (
        max((sum(seen[library, split] for split in local.counts) for library in sampled), default=0),
        min((len(ids) for ids in sampled.values()), default=0),
        problems,
    )


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


def _open(choice: ExportChoice, local: LocalCopy, scratch: Path) -> Iterator[Seen]:
    if choice.name == "croissant":
        return open_with_mlcroissant(local.folder / CROISSANT)
    size_bytes = sum(path.stat().st_size for paths in local.files.values() for path in paths)
    with_datasets = open_with_datasets(
        None if local.whole else choice.name,
        local.folder,
        local.files,
        scratch,
        streaming=choice.name != "imagefolder" and size_bytes > LOADED_WHOLE_BYTES,
    )
    if choice.name == "webdataset":
        return chain(with_datasets, open_with_webdataset(local.files))
    return with_datasets


def _not_there(
    rows: ExportRows, target: ExportTarget, choice: ExportChoice, files: Iterable[ExportedFile]
) -> Iterator[str]:
    """Files that are missing or of another size, by one listing."""
    found = {info.key.removeprefix(target.prefix): info.size_bytes for info in target.store.list(target.prefix)}
    for one in files:
        if found.get(one.path) != one.size_bytes:
            yield f"{one.path} has {found.get(one.path, 'no')} bytes, not {one.size_bytes}"
    if choice.name == "imagefolder":
        for split in rows.counts:
            for row in rows.iterate(split):
                path = f"{split}/{row.image.file_name}"
                if found.get(path) != row.image.size_bytes:
                    yield f"{path} has {found.get(path, 'no')} bytes, not {row.image.size_bytes}"


def _wrong_row_counts(rows: ExportRows, target: ExportTarget, files: Sequence[ExportedFile]) -> Iterator[str]:
    """Splits whose files do not add up to the manifest, by the record and by the footers of Parquet files."""
    counted: Counter[str] = Counter()
    for one in files:
        if one.split is None:
            continue
        if one.path.endswith(".parquet"):
            try:
                in_footer = pq.ParquetFile(
                    pa.PythonFile(RangeReader(target.store, target.key(one.path), one.size_bytes), mode="r")
                ).metadata.num_rows
            except (pa.ArrowInvalid, OSError) as error:
                yield f"{one.path} is not Parquet: {error}"
                continue
            if in_footer != one.rows:
                yield f"{one.path} has {in_footer} rows, not {one.rows}"
        counted[one.split] += one.rows
    if dict(counted) != dict(rows.counts):
        yield f"its files hold {dict(counted)} images, the manifest {dict(rows.counts)}; export again"


def _wrong_checksums(folder: Path) -> Iterator[str]:
    """Files with another hash than Croissant's description says; mlcroissant 1.1.1 compares none of files on disk."""
    for one in json.loads((folder / CROISSANT).read_text(encoding="utf-8"))["distribution"]:
        if "contentUrl" in one and sha256_of(folder / one["contentUrl"]) != one["sha256"]:
            yield f"{one['contentUrl']} does not have the sha256 that {CROISSANT} gives"
