"""The proof of an export: its consumers' own libraries open it, and what they see is compared with the manifest.

On this machine, all of it is opened and all rows are counted. From S3 only a sample is fetched: every file is looked up
by name and size; of an ImageFolder the metadata is opened whole, with the sampled images; of Parquet and WebDataset the
smallest file of every split, and of the other Parquet files the footers, which count their rows. No library is imported
before it is asked for.

    opened-<format>.json    beside the export: what the last opening without a problem saw, and all that it depends on

Where nothing of that has changed, the opening is not repeated. It depends on the manifests, the files of the export, the
versions of the libraries, and this module.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
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
from seedream_assets.exports.imagefolder import METADATA, images_of
from seedream_assets.exports.rows import ExportRows, read_rows
from seedream_assets.storage.object_store import ObjectInfo
from seedream_assets.wording import count_of

MOST_PROBLEMS = 10
# Images decoded and hashed, spread over the whole by their ids.
SAMPLE = 32
_CHUNK_BYTES = 16_000_000


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
        opened_at: When the libraries opened it, in ISO 8601; "" where they did not.
        basis: Everything that the result depends on: versions and digests. Another opening with the same basis is not
            needed.
    """

    name: str
    uri: str
    ran: bool
    problems: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    rows: int = 0
    sampled: int = 0
    message: str = ""
    opened_at: str = ""
    basis: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """True where it ran, and nothing is wrong or missing."""
        return self.ran and not self.problems and not self.incomplete


def open_export(source: ExportSource, target: ExportTarget, choice: ExportChoice) -> Opening:
    """Open an export with its consumers' libraries, unless nothing has changed since they last opened it.

    Raises:
        ExportError: There is nothing to compare it with.
        StoreError: The store failed.
    """
    missing = [library for library in LIBRARIES[choice.name] if find_spec(library) is None]
    if missing:
        message = (
            f"not run: {', '.join(missing)} is not installed; `pip install 'seedream-assets[exports]'` brings what opens "
            "an export"
        )
        return Opening(name=choice.name, uri=target.uri, ran=False, message=message)
    rows = read_rows(source, choice.split)
    files = _recorded_files(target)
    if files is None:
        return _failed(target, choice, f"{target.uri} holds no complete export; export again, which finishes it")
    there = {info.key.removeprefix(target.prefix): info for info in target.store.list(target.prefix)}
    basis = _basis(rows, target, choice, files, there)
    earlier = _earlier_opening(target, choice)
    if earlier is not None and earlier.basis == basis:
        return earlier
    opened = _open_now(rows, target, choice, files, there, basis)
    if not opened.problems:
        kept = {
            name: getattr(opened, name) for name in ("opened_at", "rows", "sampled", "incomplete", "message", "basis")
        }
        body = json.dumps({"format": choice.name, **kept}, indent=1).encode()
        target.store.replace(_record_key(target, choice), body, content_type="application/json")
    return opened


def _open_now(
    rows: ExportRows,
    target: ExportTarget,
    choice: ExportChoice,
    files: Sequence[ExportedFile],
    there: Mapping[str, ObjectInfo],
    basis: Mapping[str, Any],
) -> Opening:
    problems = [*_missing_files(rows, choice, files, there)]
    if problems:
        return _failed(target, choice, *problems[:MOST_PROBLEMS])
    if _local_folder(target) is None:
        problems += _wrong_row_counts(rows, target, files)
    incomplete: list[str] = []
    if choice.name == "croissant":
        incomplete = missing_in_croissant(json.loads(target.store.read(target.key(CROISSANT))))
    with TemporaryDirectory(prefix="seedream-opening-") as scratch:
        local = _local_copy(rows, target, choice, files, Path(scratch) / "export")
        if choice.name == "croissant":
            problems += _wrong_checksums(local.folder)
        seen, sampled, found = _compare(rows, choice, local, Path(scratch) / "cache")
    problems = [*problems, *found][:MOST_PROBLEMS]
    message = f"opened with {' and '.join(LIBRARIES[choice.name])}: {count_of(seen, 'row')} counted, {sampled} decoded and hashed"
    if not local.whole:
        fetched = sum(local.counts.values())
        message += f"; a sample of {fetched} of {sum(rows.counts.values())}, every file looked up"
    return Opening(
        name=choice.name,
        uri=target.uri,
        ran=True,
        problems=tuple(problems),
        incomplete=tuple(incomplete),
        rows=seen,
        sampled=sampled,
        message="; ".join([*problems, *incomplete, message]),
        opened_at=datetime.now(UTC).isoformat(timespec="seconds"),
        basis=basis,
    )


def _failed(target: ExportTarget, choice: ExportChoice, *problems: str) -> Opening:
    """What is wrong without a library having looked."""
    return Opening(name=choice.name, uri=target.uri, ran=True, problems=problems, message="; ".join(problems))


def _recorded_files(target: ExportTarget) -> list[ExportedFile] | None:
    """The files of a complete export; None where there is no such export, or its record cannot be read."""
    try:
        record = json.loads(target.store.read(target.key(RECORD)))
        files = [ExportedFile(**one) for one in record["files"]]
        return files if record["complete"] else None
    except (ObjectNotFound, ValueError, KeyError, TypeError):
        return None


def _record_key(target: ExportTarget, choice: ExportChoice) -> str:
    return target.key(f"opened-{choice.name}.json")


def _earlier_opening(target: ExportTarget, choice: ExportChoice) -> Opening | None:
    """The opening that was recorded last; None where there is none that can be read."""
    try:
        record = json.loads(target.store.read(_record_key(target, choice)))
        return Opening(
            name=choice.name,
            uri=target.uri,
            ran=True,
            incomplete=tuple(record["incomplete"]),
            rows=record["rows"],
            sampled=record["sampled"],
            message=f"{record['message']}; that was at {record['opened_at']}, and nothing has changed since",
            opened_at=record["opened_at"],
            basis=record["basis"],
        )
    except (ObjectNotFound, ValueError, KeyError, TypeError):
        return None


def _basis(
    rows: ExportRows,
    target: ExportTarget,
    choice: ExportChoice,
    files: Sequence[ExportedFile],
    there: Mapping[str, ObjectInfo],
) -> dict[str, Any]:
    """Everything that decides what an opening finds, as JSON values.

    In S3, files are known by the ETags of a listing, which change with their content. In a folder a file can be changed
    without a trace in the listing, so what the libraries read is hashed: the files of the record, and the sampled images.
    """
    listing = hashlib.sha256()
    for path, info in sorted(there.items()):
        if path != RECORD and not (path.startswith("opened-") and path.endswith(".json")):
            listing.update(f"{path} {info.size_bytes} {info.etag}\n".encode())
    hashed: dict[str, str] = {}
    folder = _local_folder(target)
    if folder is not None:
        paths = [one.path for one in files]
        if choice.name == "imagefolder":
            sample = _sample_of(rows, sum(rows.counts.values()))
            paths += [path for path, image in images_of(rows) if image.image_id in sample]
        hashed = {path: sha256_of(folder / path) for path in paths if path in there}
    record = target.store.read(target.key(RECORD))
    return {
        "libraries": {name: version(name) for name in (*LIBRARIES[choice.name], "pillow", "pyarrow")},
        "opening_code_sha256": sha256_of(Path(__file__)),
        "split": choice.split,
        "manifests_sha256": rows.manifests_sha256,
        "record_sha256": hashlib.sha256(record).hexdigest(),
        "listing_sha256": listing.hexdigest(),
        "files_sha256": hashed,
    }


def _compare(rows: ExportRows, choice: ExportChoice, local: LocalCopy, cache: Path) -> tuple[int, int, list[str]]:
    """What the libraries see, compared with the manifest: rows, images decoded, problems."""
    expected = _sample_of(rows, sum(local.counts.values()))
    seen: Counter[tuple[str, str]] = Counter()
    sampled: dict[str, set[str]] = {library: set() for library in LIBRARIES[choice.name]}
    problems: list[str] = []
    try:
        for image in _open(choice, local, cache):
            seen[image.library, image.split] += 1
            done = sampled[image.library]
            if image.image_id not in expected or image.image_id in done:
                continue
            if not local.whole and len(done) >= 2 * SAMPLE:
                continue
            done.add(image.image_id)
            try:
                body = image.decode()
            except Exception as error:  # noqa: BLE001 - as below; the others are looked at all the same
                problems.append(f"{image.library} cannot open {image.image_id}: {_describe(error)}")
                continue
            if body is not None and hashlib.sha256(body).hexdigest() != expected[image.image_id]:
                problems.append(f"{image.library} hands out other bytes for {image.image_id} than the manifest's")
    except Exception as error:  # noqa: BLE001 - whatever a library raises is what its users would get
        problems.append(f"cannot be opened: {_describe(error)}")
    else:
        for library, done in sampled.items():
            found = {split: seen[library, split] for split in local.counts}
            if found != dict(local.counts):
                problems.append(f"{library} counts {found}, the manifest has {dict(local.counts)}")
            lacking = len(expected) - len(done) if local.whole else int(not done)
            if lacking:
                problems.append(f"{library} lacks {lacking} of {count_of(len(expected), 'sampled image')}")
    counted = max(sum(seen[library, split] for split in local.counts) for library in sampled)
    return counted, min(len(done) for done in sampled.values()), problems


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


def _open(choice: ExportChoice, local: LocalCopy, cache: Path) -> Iterator[Seen]:
    if choice.name == "croissant":
        return open_with_mlcroissant(local.folder / CROISSANT)
    size_bytes = sum(path.stat().st_size for paths in local.files.values() for path in paths)
    with_datasets = open_with_datasets(
        None if local.whole else choice.name,
        local.folder,
        local.files,
        cache,
        streaming=choice.name != "imagefolder" and size_bytes > LOADED_WHOLE_BYTES,
    )
    if choice.name == "webdataset":
        return chain(with_datasets, open_with_webdataset(local.files))
    return with_datasets


def _missing_files(
    rows: ExportRows, choice: ExportChoice, files: Sequence[ExportedFile], there: Mapping[str, ObjectInfo]
) -> Iterator[str]:
    """Files that are missing or of another size, by the listing."""
    wanted = [(one.path, one.size_bytes) for one in files]
    images = images_of(rows) if choice.name == "imagefolder" else ()
    for path, size_bytes in chain(wanted, ((path, image.size_bytes) for path, image in images)):
        found = there[path].size_bytes if path in there else "no"
        if found != size_bytes:
            yield f"{path} has {found} bytes, not {size_bytes}"


def _wrong_row_counts(rows: ExportRows, target: ExportTarget, files: Sequence[ExportedFile]) -> Iterator[str]:
    """Splits whose files do not add up to the manifest, by the record and by the footers of Parquet files."""
    counted: Counter[str] = Counter()
    for one in files:
        if one.split is None:
            continue
        counted[one.split] += one.rows
        if one.path.endswith(".parquet"):
            try:
                in_footer = _rows_in_footer(target, one)
            except (pa.ArrowInvalid, OSError) as error:
                yield f"{one.path} is not Parquet: {error}"
                continue
            if in_footer != one.rows:
                yield f"{one.path} has {count_of(in_footer, 'row')}, not {one.rows}"
    if dict(counted) != dict(rows.counts):
        yield f"its files hold {dict(counted)} images, the manifest {dict(rows.counts)}; export again"


def _rows_in_footer(target: ExportTarget, file: ExportedFile) -> int:
    """Reads the footer alone: its length and "PAR1" are the file's last eight bytes."""
    key, end = target.key(file.path), file.size_bytes
    footer_bytes = 8 + int.from_bytes(target.store.read_range(key, max(0, end - 8), end)[:4], "little")
    footer = target.store.read_range(key, max(0, end - footer_bytes), end)
    return pq.read_metadata(pa.BufferReader(footer)).num_rows


def _wrong_checksums(folder: Path) -> Iterator[str]:
    """Files with another hash than Croissant's description says; mlcroissant 1.1.1 compares none of files on disk."""
    for one in json.loads((folder / CROISSANT).read_text(encoding="utf-8"))["distribution"]:
        if "contentUrl" in one and sha256_of(folder / one["contentUrl"]) != one["sha256"]:
            yield f"{one['contentUrl']} does not have the sha256 that {CROISSANT} gives"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCopy:
    """An export, or a sample of one, on this machine.

    Attributes:
        whole: All that the libraries count is there.
        counts: Images by split that its files hold.
        files: Data files by split; none of an ImageFolder in S3.
    """

    folder: Path
    whole: bool
    counts: Mapping[str, int]
    files: Mapping[str, Sequence[Path]]


def _local_folder(target: ExportTarget) -> Path | None:
    return Path(unquote(urlsplit(target.uri).path)) if target.uri.startswith("file://") else None


def _local_copy(
    rows: ExportRows, target: ExportTarget, choice: ExportChoice, files: Sequence[ExportedFile], folder: Path
) -> LocalCopy:
    """The export itself where it is on this machine, else a sample of it, fetched into `folder`."""
    by_split = {split: [one for one in files if one.split == split] for split in rows.counts}
    local = _local_folder(target)
    if local is not None:
        paths = {split: [local / one.path for one in some] for split, some in by_split.items()}
        return LocalCopy(folder=local, whole=True, counts=rows.counts, files=paths)
    if choice.name == "imagefolder":
        # All metadata, and the sampled images: a listed image that is missing fails only when it is decoded.
        _fetch(target, "README.md", folder)
        for split in rows.counts:
            _fetch(target, f"{split}/{METADATA}", folder)
        sample = _sample_of(rows, sum(rows.counts.values()))
        for path, image in images_of(rows):
            if image.image_id in sample:
                _fetch(target, path, folder)
        return LocalCopy(folder=folder, whole=True, counts=rows.counts, files={})
    smallest = {
        split: min(some, key=lambda one: (one.size_bytes, one.path)) for split, some in by_split.items() if some
    }
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
        counts={split: one.rows for split, one in smallest.items()},
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


def _sample_of(rows: ExportRows, opened: int) -> dict[str, str]:
    """Hashes of images by id, so many that about `SAMPLE` of them are among the images that are opened."""
    every = max(1, opened // SAMPLE)
    return {
        row.image.image_id: row.image.sha256
        for split in rows.counts
        for row in rows.iterate(split)
        if int(row.image.image_id[:8], 16) % every == 0
    }


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
