"""The place of an export, with the record of what stands there: how an export is finished, renewed and cleaned up.

    export.json     format, dataset, whether it is complete, and every file but copied images with size, hash, fingerprint

The record is written before the first file, so that a place is known as ours when the writer died; and it is what allows
removing files: nothing that the record does not name, and no image with a name that is not ours, is ever removed. The
same rows are always cut into the same shards, and a shard whose fingerprint stands in the record is not written again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from seedream_assets.errors import ExportError
from seedream_assets.exports.formats import ExportedFile, ExportReport, ExportTarget
from seedream_assets.exports.rows import ExportRow, ExportRows, StoredImage
from seedream_assets.storage.async_store import read_ahead
from seedream_assets.storage.folder import guess_content_type
from seedream_assets.storage.object_store import ObjectStore

RECORD = "export.json"
RECORD_VERSION = 1
# Copies and reads at one time. A copy by S3 takes 20 to 50 ms whatever the image's size.
THREADS = 16
_IMAGE_NAME = re.compile(r"(?:train|validation|test)/[0-9a-f]{32}\.[a-z0-9]{2,6}")


class ExportFolder:
    """One export's files at one place.

    Args:
        target: Where.
        kind: What the record calls the export; another kind at the same place is refused.
        dataset: Whose.

    Raises:
        ExportError: Something that is not this export lies there.
    """

    def __init__(self, target: ExportTarget, *, kind: str, dataset: str) -> None:
        self._target = target
        self._kind = kind
        self._dataset = dataset
        prefix = target.prefix
        self._found = {info.key.removeprefix(prefix): info.size_bytes for info in target.store.list(prefix)}
        self._earlier = self._read_record()
        self._files: dict[str, ExportedFile] = {}
        self._images: dict[str, int] = {}
        self._written = 0
        self._kept = 0

    def begin(self) -> None:
        """Take the place: from here on it is known as this export's, and as incomplete."""
        self._write_record(complete=False, rows=None)

    def keep(self, path: str, fingerprint: str) -> bool:
        """Whether a file made from the same things stands there whole; it then counts as part of the export."""
        earlier = self._earlier.get(path)
        if earlier is None or earlier.fingerprint != fingerprint or self._found.get(path) != earlier.size_bytes:
            return False
        self._files[path] = earlier
        self._kept += 1
        return True

    def keep_others_of_the_same_files(self) -> None:
        """Keep what another format wrote about these files, a croissant.json, where all of them stood there already."""
        if not self._written and all(path in self._earlier for path in self._files):
            others = {path: one for path, one in self._earlier.items() if one.fingerprint is None}
            self._files = {**{path: one for path, one in others.items() if path in self._found}, **self._files}

    def put_shards(
        self,
        rows_of: Callable[[], Iterable[ExportRow]],
        write: Callable[[Path, Iterator[ExportRow]], None],
        name_of: Callable[[int, int], str],
        *,
        split: str,
        made_as: Any,
        most_bytes: int,
        most_rows: int,
    ) -> list[ExportedFile]:
        """Cut a split's rows into files, and write those that do not stand there whole already.

        Args:
            rows_of: Gives the rows, the same each time; they are read twice.
            write: Writes a shard's rows to a local file.
            name_of: The file's path in the export, from the shard's number and the number of all.
            split: Whose rows.
            made_as: Whatever else decides about a file's bytes, as a JSON value.
            most_bytes, most_rows: Of one file.
        """
        planned = plan_shards(rows_of(), made_as=made_as, most_bytes=most_bytes, most_rows=most_rows)
        paths = [name_of(number, len(planned)) for number in range(len(planned))]
        left = iter(rows_of())
        for path, shard in zip(paths, planned, strict=True):
            rows = islice(left, shard.rows)
            if self.keep(path, shard.fingerprint):
                deque(rows, maxlen=0)
                continue
            # Where the local file lies is TMPDIR's to say; there is one at a time.
            with TemporaryDirectory(prefix="seedream-export-") as scratch:
                local = Path(scratch) / "shard"
                write(local, rows)
                self._put_file(path, local, shard, split)
        return [self._files[path] for path in paths]

    def _put_file(self, path: str, local: Path, shard: Shard, split: str) -> None:
        """Move a finished local file to its place, and into the record. A folder store only gives it a second name."""
        size_bytes, sha256 = local.stat().st_size, sha256_of(local)
        content_type = guess_content_type(path)
        self._target.store.replace_from_file(self._target.key(path), local, content_type=content_type, sha256=sha256)
        self._files[path] = ExportedFile(
            path=path,
            size_bytes=size_bytes,
            sha256=sha256,
            fingerprint=shard.fingerprint,
            rows=shard.rows,
            split=split,
        )
        self._written += 1
        self._write_record(complete=False, rows=None)

    def put(self, path: str, body: bytes) -> None:
        """Write a small file, unless these very bytes stand there."""
        sha256 = hashlib.sha256(body).hexdigest()
        earlier = self._earlier.get(path)
        same = earlier is not None and earlier.sha256 == sha256 and self._found.get(path) == len(body)
        self._files[path] = ExportedFile(path=path, size_bytes=len(body), sha256=sha256)
        if same:
            self._kept += 1
            return
        content_type = guess_content_type(path)
        self._target.store.replace(self._target.key(path), body, content_type=content_type)
        self._written += 1

    def copy_images(self, source: ObjectStore, images: Iterable[tuple[str, StoredImage]]) -> None:
        """Copy stored images to these paths; those that stand there already are left alone.

        A copy appears whole or not at all, under a name that stands for its content: name and size say that it is
        there. `seedream verify` compares bytes.
        """

        def copy(wanted: tuple[str, StoredImage]) -> None:
            path, image = wanted
            self._target.store.copy_from(source, image.object_key, self._target.key(path))

        for _ in read_ahead(self._missing(images), copy, threads=THREADS, most=2 * THREADS):
            self._written += 1

    def _missing(self, images: Iterable[tuple[str, StoredImage]]) -> Iterator[tuple[str, StoredImage]]:
        """Those that do not stand there yet; all of them are noted as this export's."""
        for path, image in images:
            self._images[path] = image.size_bytes
            if self._found.get(path) == image.size_bytes:
                self._kept += 1
            else:
                yield path, image

    def finish(self, rows: ExportRows, *, name: str) -> ExportReport:
        """Remove what an earlier export left and this one has not, and mark the export complete."""
        stale = [
            path
            for path in self._found
            if path not in self._files
            and path not in self._images
            and (path in self._earlier or (bool(self._images) and _IMAGE_NAME.fullmatch(path)))
        ]
        for path in stale:
            self._target.store.delete(self._target.key(path))
        self._write_record(complete=True, rows=rows)
        return ExportReport(
            name=name,
            uri=self._target.uri,
            files=tuple(self._files[path] for path in sorted(self._files)),
            rows=sum(rows.counts.values()),
            rows_by_split=rows.counts,
            size_bytes=sum(one.size_bytes for one in self._files.values()) + sum(self._images.values()),
            written=self._written,
            kept=self._kept,
            removed=len(stale),
            left_out=rows.left_out,
        )

    def _read_record(self) -> dict[str, ExportedFile]:
        if RECORD not in self._found:
            if self._found:
                raise ExportError(
                    f"{self._target.uri} is not empty and holds no {RECORD}, so what lies there is not ours to replace; "
                    "name an empty place"
                )
            return {}
        try:
            record = json.loads(self._target.store.read(self._target.key(RECORD)))
            whose = (record["export"], record["dataset"])
            files = [ExportedFile(**one) for one in record["files"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ExportError(
                f"{self._target.store.uri(self._target.key(RECORD))} is not the record of an export; name an empty place"
            ) from error
        if whose != (self._kind, self._dataset):
            raise ExportError(
                f"{self._target.uri} holds the {whose[0]} export of {whose[1]}, not the {self._kind} export of "
                f"{self._dataset}; name another place"
            )
        return {one.path: one for one in files}

    def _write_record(self, *, complete: bool, rows: ExportRows | None) -> None:
        # While it is not complete, the earlier export's files stay in it: they are not removed before the end.
        files = self._files if complete else {**self._earlier, **self._files}
        record: dict[str, Any] = {
            "export": self._kind,
            "dataset": self._dataset,
            "version": RECORD_VERSION,
            "complete": complete,
            "rows": rows.counts if rows else None,
            "images": len(self._images),
            "files": [asdict(files[path]) for path in sorted(files)],
        }
        body = json.dumps(record, indent=1).encode()
        self._target.store.replace(self._target.key(RECORD), body, content_type=guess_content_type(RECORD))


def sha256_of(path: Path) -> str:
    """The hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Consecutive rows that become one file.

    Attributes:
        rows: How many.
        fingerprint: Hash of all that the file is made from.
    """

    rows: int
    fingerprint: str


def plan_shards(rows: Iterable[ExportRow], *, made_as: Any, most_bytes: int, most_rows: int) -> list[Shard]:
    """Cut rows, in order, into shards of at most so many bytes of images and so many rows; one row at least in each.

    Args:
        rows: Read once; nothing of them is kept.
        made_as: Whatever else decides about a file's bytes, as a JSON value.
        most_bytes, most_rows: Per shard.
    """
    shards: list[Shard] = []
    count = size_bytes = 0
    digest = _begin(made_as)
    for row in rows:
        if count and (size_bytes + row.image.size_bytes > most_bytes or count >= most_rows):
            shards.append(Shard(rows=count, fingerprint=digest.hexdigest()))
            count = size_bytes = 0
            digest = _begin(made_as)
        count += 1
        size_bytes += row.image.size_bytes
        digest.update(_canonical([row.image.image_id, row.image.suffix, row.image.sha256, row.values]))
    if count:
        shards.append(Shard(rows=count, fingerprint=digest.hexdigest()))
    return shards


def _begin(made_as: Any) -> Any:
    return hashlib.sha256(_canonical(made_as))


def _canonical(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str).encode("utf-8", "surrogatepass") + b"\n"


def read_images(store: ObjectStore, rows: Iterable[ExportRow]) -> Iterator[tuple[ExportRow, bytes]]:
    """The rows with their images' bytes, in order, a few read ahead.

    Raises:
        ExportError: An image does not have the hash of the manifest.
    """

    def read(row: ExportRow) -> bytes:
        image = row.image
        body = store.read(image.object_key)
        if hashlib.sha256(body).hexdigest() != image.sha256:
            raise ExportError(
                f"{store.uri(image.object_key)} does not have the hash of the manifest, {image.sha256}; "
                "`seedream verify --deep` lists every such image. Nothing was exported from it"
            )
        return body

    return read_ahead(rows, read, threads=THREADS, most=THREADS)
