"""An export on this machine, whole or a sample of it, for libraries that open files. What is in a bucket is fetched in part.

Here belongs what is fetched. What is looked for in it is in `opening`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

from seedream_assets.config.exports import ExportChoice
from seedream_assets.exports.croissant import CROISSANT
from seedream_assets.exports.export import ExportedFile, ExportTarget
from seedream_assets.exports.imagefolder import METADATA
from seedream_assets.exports.rows import ExportRows
from seedream_assets.storage.object_store import ObjectStore

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
        told = json.loads(target.store.read(target.key(CROISSANT)))
        here = {one.path for one in smallest.values()}
        told["distribution"] = [
            one for one in told["distribution"] if one["@type"] != "cr:FileObject" or one["@id"] in here
        ]
        (folder / CROISSANT).write_text(json.dumps(told), encoding="utf-8")
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
