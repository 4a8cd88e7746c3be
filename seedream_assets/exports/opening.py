"""The proof of an export: its consumers' own libraries open it, and what they see is compared with the manifest.

On this machine, all of it is opened and all rows are counted. From S3 only a sample is fetched: every file is looked up
by name and size; of an ImageFolder the metadata is opened whole, with the sampled images; of Parquet and WebDataset the
smallest file of every split, and of the other Parquet files the footers, which count their rows. No library is imported
before it is asked for.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from seedream_assets.config.exports import ExportChoice
from seedream_assets.errors import ObjectNotFound
from seedream_assets.exports.croissant import CROISSANT, missing_in_croissant
from seedream_assets.exports.folder import RECORD, sha256_of
from seedream_assets.exports.formats import ExportedFile, ExportSource, ExportTarget
from seedream_assets.exports.imagefolder import METADATA
from seedream_assets.exports.rows import ExportRows, read_rows
from seedream_assets.storage.object_store import ObjectStore

MOST_PROBLEMS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What became of opening an export.

    Attributes:
        ran: False where a library is missing.
        problems: What is wrong; empty also where it did not run.
        incomplete: What a complete export would have and only the owner can say.
        rows: Images that the libraries counted, those of a sample where only one was fetched.
        sampled: Of these, decoded and hashed.
        message: One sentence.
    """

    name: str
    uri: str
    ran: bool
    problems: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    rows: int = 0
    sampled: int = 0
    message: str = ""

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
        message = (
            f"not run: {', '.join(missing)} is not installed; `pip install 'seedream-assets[exports]'` brings what opens "
            "an export"
        )
        return Opening(name=choice.name, uri=target.uri, ran=False, message=message)
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
    message = f"opened with {' and '.join(LIBRARIES[choice.name])}: {seen} rows counted, {sampled} decoded and hashed"
    if not local.whole:
        message += f"; a sample of {counted} of {sum(rows.counts.values())}, every file looked up"
    return Opening(
        name=choice.name,
        uri=target.uri,
        ran=True,
        problems=tuple(problems[:MOST_PROBLEMS]),
        incomplete=tuple(incomplete),
        rows=seen,
        sampled=sampled,
        message="; ".join([*problems[:MOST_PROBLEMS], *incomplete, message]),
    )


def _failed(choice: ExportChoice, target: ExportTarget, problem: str) -> Opening:
    return Opening(name=choice.name, uri=target.uri, ran=True, problems=(problem,), message=problem)


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


# Images decoded and hashed, spread over the whole by their ids.
SAMPLE = 32
_CHUNK_BYTES = 16_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCopy:
    """An export, or a sample of one, on this machine.

    Attributes:
        whole: All of it is there.
        counts: Images by split that its files hold.
    """

    folder: Path
    whole: bool
    counts: Mapping[str, int]
    files: Mapping[str, Sequence[Path]]


@contextmanager
def local_copy(
    rows: ExportRows, target: ExportTarget, choice: ExportChoice, files: Sequence[ExportedFile]
) -> Iterator[LocalCopy]:
    """The export itself where it is on this machine, else a sample of it."""
    if target.uri.startswith("file://"):
        folder = Path(unquote(urlsplit(target.uri).path))
        by_split: dict[str, list[Path]] = {}
        for one in files:
            if one.split is not None:
                by_split.setdefault(one.split, []).append(folder / one.path)
        yield LocalCopy(folder=folder, whole=True, counts=rows.counts, files=by_split)
        return
    with TemporaryDirectory(prefix="seedream-sample-") as scratch:
        folder = Path(scratch)
        if choice.name == "imagefolder":
            yield _fetch_imagefolder(rows, target, folder)
        else:
            yield _fetch_shards(rows, target, choice, files, folder)


def _fetch_imagefolder(rows: ExportRows, target: ExportTarget, folder: Path) -> LocalCopy:
    """All metadata, and the sampled images: a listed image that is missing fails only when it is decoded."""
    every = max(1, sum(rows.counts.values()) // SAMPLE)
    sample = sample_of(rows, every, all_of=True)
    _fetch(target, "README.md", folder)
    for split in rows.counts:
        _fetch(target, f"{split}/{METADATA}", folder)
        for row in rows.iterate(split):
            if row.image.image_id in sample:
                _fetch(target, f"{split}/{row.image.file_name}", folder)
    return LocalCopy(folder=folder, whole=True, counts=rows.counts, files={})


def _fetch_shards(
    rows: ExportRows, target: ExportTarget, choice: ExportChoice, files: Sequence[ExportedFile], folder: Path
) -> LocalCopy:
    smallest: dict[str, ExportedFile] = {}
    for one in sorted((one for one in files if one.split is not None), key=lambda one: (one.size_bytes, one.path)):
        smallest.setdefault(str(one.split), one)
    for one in smallest.values():
        _fetch(target, one.path, folder)
    if choice.name == "croissant":
        description = json.loads(target.store.read(target.key(CROISSANT)))
        here = {one.path for one in smallest.values()}
        description["distribution"] = [
            one for one in description["distribution"] if one["@type"] != "cr:FileObject" or one["@id"] in here
        ]
        (folder / CROISSANT).write_text(json.dumps(description), encoding="utf-8")
    return LocalCopy(
        folder=folder,
        whole=False,
        counts={split: smallest[split].rows for split in rows.counts},
        files={split: [folder / one.path] for split, one in smallest.items()},
    )


def _fetch(target: ExportTarget, path: str, folder: Path) -> None:
    local = folder / path
    local.parent.mkdir(parents=True, exist_ok=True)
    with local.open("wb") as file:
        while body := target.store.read_range(target.key(path), file.tell(), file.tell() + _CHUNK_BYTES):
            file.write(body)
            if len(body) < _CHUNK_BYTES:
                break


def sample_of(rows: ExportRows, every: int, *, all_of: bool) -> dict[str, str]:
    """Hashes of images by id, about one in `every`; at least one where the whole is opened."""
    chosen: dict[str, str] = {}
    first: dict[str, str] = {}
    for split in rows.counts:
        for row in rows.iterate(split):
            if not first:
                first[row.image.image_id] = row.image.sha256
            if int(row.image.image_id[:8], 16) % every == 0:
                chosen[row.image.image_id] = row.image.sha256
    return chosen or (first if all_of else {})


class RangeReader(io.RawIOBase):
    """An object as a file that is read where it is needed."""

    def __init__(self, store: ObjectStore, key: str, size_bytes: int) -> None:
        super().__init__()
        self._store, self._key, self._size_bytes, self._position = store, key, size_bytes, 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, as files do."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        stop = self._size_bytes if size < 0 else min(self._size_bytes, self._position + size)
        body = self._store.read_range(self._key, self._position, stop) if stop > self._position else b""
        self._position += len(body)
        return body


# Up to this size a library loads an export as its users do; beyond, it streams: loading would copy all of it to disk.
LOADED_WHOLE_BYTES = 1_000_000_000
LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "imagefolder": ("datasets",),
    "webdataset": ("datasets", "webdataset"),
    "parquet": ("datasets",),
    "croissant": ("mlcroissant",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One image as a consumer's library hands it out.

    Attributes:
        library: Which.
        split: By the library; where it knows none, by the file's name.
        decode: Decodes it with the library, and gives the bytes that it was decoded from; None where the library hides
            them.
    """

    library: str
    split: str
    image_id: str
    decode: Callable[[], bytes | None]


def missing_libraries(name: str) -> list[str]:
    """The libraries that opening this format takes and that are not installed."""
    return [library for library in LIBRARIES[name] if find_spec(library) is None]


def open_with_datasets(
    builder: str | None, folder: Path, files: Mapping[str, Sequence[Path]] | None, cache: Path, *, streaming: bool
) -> Iterator[Seen]:
    """Hugging Face `datasets`: `load_dataset(<folder>)`, or these files of every split with a builder."""
    import datasets

    source: dict[str, Any] = {"path": str(folder)}
    if builder is not None and files is not None:
        source = {
            "path": builder,
            "data_files": {split: [str(path) for path in paths] for split, paths in files.items()},
        }
    with _quiet(datasets):
        names = [None] if builder else datasets.get_dataset_config_names(str(folder))
        for name in names:
            loaded = datasets.load_dataset(**source, name=name, cache_dir=str(cache), streaming=streaming)
            for split, images in loaded.items():
                column = next(key for key, kind in images.features.items() if isinstance(kind, datasets.Image))
                for example in images.cast_column(column, datasets.Image(decode=False)):
                    # A column of the table may be called json, but not __key__.
                    fields = example["json"] if "__key__" in example else example
                    yield Seen(
                        library="datasets",
                        split=str(split),
                        image_id=fields["image_id"],
                        decode=partial(_decode_with_datasets, datasets, example[column]),
                    )


def open_with_webdataset(files: Mapping[str, Sequence[Path]]) -> Iterator[Seen]:
    """The library `webdataset`: every tar, sample by sample."""
    import webdataset

    for split, paths in files.items():
        samples = webdataset.WebDataset([str(path) for path in paths], shardshuffle=False, empty_check=False)
        for sample in samples:
            ((suffix, body),) = [
                (key, value) for key, value in sample.items() if key != "json" and not key.startswith("__")
            ]
            yield Seen(
                library="webdataset",
                split=split,
                image_id=sample["__key__"].rpartition("/")[2],
                decode=partial(_decode_with_webdataset, webdataset, suffix, body),
            )


def open_with_mlcroissant(description: Path) -> Iterator[Seen]:
    """The library `mlcroissant`: validates the file, then reads the records through it."""
    import mlcroissant

    absl = logging.getLogger("absl")
    level = absl.level
    absl.setLevel(logging.ERROR)  # what it warns of is in `missing_in_croissant`, or only recommended
    try:
        dataset = mlcroissant.Dataset(jsonld=str(description))
        for records in dataset.metadata.record_sets:
            name = records.uuid
            for record in dataset.records(name):
                yield Seen(
                    library="mlcroissant",
                    split=name.partition("-")[2] or "train",
                    image_id=record[f"{name}/image_id"].decode(),
                    decode=partial(_decode_from_memory, record[f"{name}/image"]),
                )
    finally:
        absl.setLevel(level)


def _decode_with_datasets(datasets: Any, picture: Mapping[str, Any]) -> bytes:
    datasets.Image().decode_example(dict(picture)).load()
    body: bytes | None = picture["bytes"]
    return body if body is not None else Path(picture["path"]).read_bytes()


def _decode_with_webdataset(webdataset: Any, suffix: str, body: bytes) -> bytes:
    picture = webdataset.autodecode.imagehandler("pil")(suffix, body)
    if picture is None:
        # A suffix that the library does not know, such as avif: it hands out the bytes, and its users decode them.
        with Image.open(io.BytesIO(body)) as opened:
            opened.load()
    else:
        picture.load()
    return body


def _decode_from_memory(picture: Any) -> bytes | None:
    """Decodes Pillow's picture; its bytes are there until then, where it was opened from memory."""
    file = getattr(picture, "fp", None)
    body = file.getvalue() if isinstance(file, io.BytesIO) else None
    picture.load()
    return body


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    disabled = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            datasets.enable_progress_bars()
