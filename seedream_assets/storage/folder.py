"""A local folder as an object store: for one machine, for demos and for tests.

Whole objects appear under their names at once. A file system has no place for content types and metadata; where they
differ from what the key's suffix implies, they stand in a small JSON file beside the object. An object never waits for
that file and is never read through it: it may be lost without harm, and counts only for the bytes it was written for.

The functions below the class know files alone: files that appear under their names whole, at once, and survive a power
cut. They raise OSError unless they say otherwise.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Literal

from seedream_assets.errors import ConfigError, ObjectNotFound, StoreError, StoreRefused, StoreUnavailable
from seedream_assets.storage.object_store import (
    DESCRIPTION_FOLDER,
    NO_METADATA,
    OWN_FOLDERS,
    SHA256_ENTRY,
    TEMPORARY_FOLDER,
    ObjectHead,
    ObjectInfo,
    ObjectStore,
    as_folder,
    check_key,
    check_metadata,
    check_prefix,
    copy_through,
    digest_of,
    prove_create_only,
)

STALE_AFTER_SECONDS = 24 * 3600.0

# Not the mimetypes module: what it answers differs with the machine's files and with the version of Python.
_CONTENT_TYPES = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".tar": "application/x-tar",
    ".txt": "text/plain",
    ".webp": "image/webp",
}


def guess_content_type(key: str) -> str:
    """The MIME type that a key's suffix stands for, the same on every machine."""
    return _CONTENT_TYPES.get(PurePosixPath(key).suffix.lower(), "application/octet-stream")


_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_REFUSED = (
    (
        {errno.ENOSPC, errno.EDQUOT, errno.EFBIG},
        "; nothing was left there. Make room, or point the store at a larger disk",
    ),
    ({errno.EACCES, errno.EPERM, errno.EROFS}, ". Give this user the right to read and write the store's folder"),
    (
        {errno.ENOTDIR, errno.EISDIR, errno.EEXIST},
        ". In a folder an object cannot also be the folder of other objects, and something that is not the store's own "
        "may be in the way",
    ),
)
_UNAVAILABLE = {errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENOMEM,
                errno.ETIMEDOUT}  # fmt: skip


def folder_error(error: OSError, *, doing: str, uri: str) -> StoreError:
    """The error to raise for `error`, chained with `from` at the call site.

    Args:
        error: What the operating system reported.
        doing: The verb: "create", "read" and so on.
        uri: Of the object or of the store.
    """
    message = f"cannot {doing} {uri}: {error.strerror or error}"
    if error.errno in _UNAVAILABLE:
        return StoreUnavailable(message)
    return StoreRefused(message + next((advice for numbers, advice in _REFUSED if error.errno in numbers), ""))


class FolderStore:
    """An `ObjectStore` in a folder of a local file system with hard links.

    Every object is written and flushed under a temporary name first, then linked or moved to its own in one step of
    the operating system: no reader ever sees part of one, whenever the writer dies. The folder is made by the first
    write. Opening removes temporary files that a dead writer left more than `STALE_AFTER_SECONDS` ago.

    Args:
        folder: Absolute path.
        clock: Seconds since 1970, only for the age of temporary files.

    Raises:
        ConfigError: The path is not absolute.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        if not folder.is_absolute():
            raise ConfigError(f"store folder {str(folder)!r} is relative; give an absolute path")
        self._folder = folder
        self._temporary_folder = folder / TEMPORARY_FOLDER
        remove_stale_files(self._temporary_folder, older_than=clock() - STALE_AFTER_SECONDS)

    def __repr__(self) -> str:
        return f"FolderStore({self.url})"

    @property
    def url(self) -> str:
        """The folder as a file:// address."""
        return self._folder.as_uri()

    @property
    def is_there(self) -> bool:
        """Whether the folder exists."""
        return self._folder.is_dir()

    def uri(self, key: str) -> str:
        """The object's file as a file:// address."""
        return self._path(key).as_uri()

    def create(
        self,
        key: str,
        body: bytes,
        *,
        content_type: str,
        metadata: Mapping[str, str] = NO_METADATA,
        sha256: str | None = None,
    ) -> bool:
        """See `ObjectStore.create`. On any error the object is not there, or is there whole; nothing else is left."""
        path = self._path(key)
        complete = check_metadata(metadata, content_type=content_type, sha256=digest_of(body, sha256))
        with self._translated("create", key), temporary_file(self._temporary_folder, body) as temporary:
            found = _link_unless_taken(temporary, path, body)
            if found == "another":
                return False
            # Also for equal bytes found there: their writer may have died before it flushed or described them.
            flush_folder(path.parent)
            if found == "nothing" or not self._description_path(key).exists():
                self._describe(key, content_type, complete)
            return True

    def replace(self, key: str, body: bytes, *, content_type: str, metadata: Mapping[str, str] = NO_METADATA) -> None:
        """See `ObjectStore.replace`. On any error the older object, if any, is still there whole."""
        path = self._path(key)
        complete = check_metadata(metadata, content_type=content_type, sha256=digest_of(body, None))
        with self._translated("replace", key), temporary_file(self._temporary_folder, body) as temporary:
            move(temporary, path)
            flush_folder(path.parent)
            self._describe(key, content_type, complete)

    def replace_from_file(self, key: str, path: Path, *, content_type: str, sha256: str) -> None:
        """See `ObjectStore.replace_from_file`. On the same file system the file is not copied."""
        complete = check_metadata(NO_METADATA, content_type=content_type, sha256=digest_of(b"", sha256))
        with (
            self._translated("replace", key),
            second_name(self._temporary_folder, path, read_only=False) as temporary,
        ):
            flush_file(temporary)
            move(temporary, self._path(key))
            flush_folder(self._path(key).parent)
            self._describe(key, content_type, complete)

    def copy_from(self, source: ObjectStore, source_key: str, key: str) -> None:
        """See `ObjectStore.copy_from`."""
        path = self._path(key)
        if not isinstance(source, FolderStore):
            copy_through(source, source_key, self, key)
            return
        with self._translated("copy to", key):
            try:
                with second_name(self._temporary_folder, source._path(source_key), read_only=True) as temporary:
                    move(temporary, path)
            except FileNotFoundError as error:
                raise ObjectNotFound(f"no object at {source.uri(source_key)}") from error
            described = self._description_path(key)
            described.unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                described.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source._description_path(source_key), described)

    def read(self, key: str) -> bytes:
        """See `ObjectStore.read`."""
        with self._translated("read", key):
            try:
                return self._path(key).read_bytes()
            except _ABSENT as error:
                raise ObjectNotFound(f"no object at {self.uri(key)}") from error

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """See `ObjectStore.read_range`."""
        with self._translated("read", key):
            try:
                with self._path(key).open("rb") as file:
                    file.seek(start)
                    return file.read(stop - start)
            except _ABSENT as error:
                raise ObjectNotFound(f"no object at {self.uri(key)}") from error

    def head(self, key: str) -> ObjectHead | None:
        """See `ObjectStore.head`. Reads the whole object, since a file system keeps no digests."""
        path = self._path(key)
        with self._translated("look at", key):
            try:
                status, body = path.stat(), path.read_bytes()
            except _ABSENT:
                return None
            sha256 = hashlib.sha256(body).hexdigest()
            content_type, metadata = self._description(key, sha256)
        return ObjectHead(
            key=key,
            size_bytes=len(body),
            last_modified=datetime.fromtimestamp(status.st_mtime, UTC),
            etag=_etag(status),
            content_type=content_type,
            metadata=metadata,
            sha256=sha256,
        )

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`; lazy by folder."""
        check_prefix(prefix)
        return self._list_below(prefix.rpartition("/")[0], prefix)

    def list_folders(self, prefix: str) -> Iterator[str]:
        """See `ObjectStore.list_folders`."""
        folder_key = as_folder(prefix).removesuffix("/")
        return (
            entry.name
            for entry in self._entries(folder_key)
            if entry.is_dir() and any(self._list_below(_join(folder_key, entry.name), ""))
        )

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`. Folders that it empties go too."""
        path = self._path(key)
        with self._translated("delete", key):
            if path.is_dir():
                return
            with suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
            self._description_path(key).unlink(missing_ok=True)
            for used in (path, self._description_path(key)):
                remove_empty_folders(used.parent, below=self._folder)

    def now(self) -> datetime:
        """See `ObjectStore.now`: the time the file system gives a file written this moment."""
        with self._translated("write to", ""), temporary_file(self._temporary_folder, b"now", flush=False) as temporary:
            return datetime.fromtimestamp(temporary.stat().st_mtime, UTC)

    def refuse_unless_create_only(self) -> None:
        """See `ObjectStore.refuse_unless_create_only`."""
        prove_create_only(self)

    def _path(self, key: str) -> Path:
        return self._folder / check_key(key)

    def _description_path(self, key: str) -> Path:
        # By hash: a key's own name may be as long as a file name can be, and "a.json" may be a folder of objects.
        name = hashlib.sha256(key.encode()).hexdigest()
        return self._folder / DESCRIPTION_FOLDER / name[:2] / f"{name}.json"

    @contextmanager
    def _translated(self, doing: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise folder_error(error, doing=doing, uri=(self._folder / key).as_uri()) from error

    def _describe(self, key: str, content_type: str, metadata: Mapping[str, str]) -> None:
        """Write content type and metadata down, where the key and the bytes do not imply them."""
        path = self._description_path(key)
        with suppress(OSError):  # the object is safe by now, and must not be reported as failed for a courtesy
            if set(metadata) <= {SHA256_ENTRY} and content_type == guess_content_type(key):
                path.unlink(missing_ok=True)
                return
            text = json.dumps({"content_type": content_type, "metadata": dict(metadata)})
            with temporary_file(self._temporary_folder, text.encode("ascii"), flush=False) as temporary:
                move(temporary, path)

    def _description(self, key: str, sha256: str) -> tuple[str, Mapping[str, str]]:
        """Content type and metadata of these bytes: as written, if it was for them, else as the key implies."""
        with suppress(FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
            written = json.loads(self._description_path(key).read_text(encoding="ascii"))
            content_type, metadata = str(written["content_type"]), dict(written["metadata"])
            if metadata.get(SHA256_ENTRY) == sha256:
                return content_type, metadata
        return guess_content_type(key), {SHA256_ENTRY: sha256}

    def _entries(self, folder_key: str) -> Iterator[os.DirEntry[str]]:
        """What is in one folder, in key order: a folder counts as its name with the "/" that follows it."""
        with self._translated("list", folder_key):
            try:
                with os.scandir(self._folder / folder_key) as scanned:
                    entries = [*scanned]
            except (FileNotFoundError, NotADirectoryError):
                return
        entries.sort(key=lambda entry: os.fsencode(f"{entry.name}/" if entry.is_dir() else entry.name))
        for entry in entries:
            if _join(folder_key, entry.name).split("/", 1)[0] not in OWN_FOLDERS:
                yield entry

    def _list_below(self, folder_key: str, prefix: str) -> Iterator[ObjectInfo]:
        for entry in self._entries(folder_key):
            key = _join(folder_key, entry.name)
            if entry.is_dir():
                if f"{key}/".startswith(prefix) or prefix.startswith(f"{key}/"):
                    yield from self._list_below(key, prefix)
            elif key.startswith(prefix):
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    continue
                yield ObjectInfo(
                    key=key,
                    size_bytes=status.st_size,
                    last_modified=datetime.fromtimestamp(status.st_mtime, UTC),
                    etag=_etag(status),
                )


def _join(folder_key: str, name: str) -> str:
    return f"{folder_key}/{name}" if folder_key else name


def _etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_ino:x}-{status.st_size:x}"


# How often a folder may be removed under a writer's hands by a delete before that stops being a coincidence.
_FOLDER_ATTEMPTS = 100

_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK}


@contextmanager
def temporary_file(folder: Path, body: bytes, *, flush: bool = True) -> Iterator[Path]:
    """A file holding `body`, safe on the disk if it is flushed; gone afterwards unless it was moved."""
    make_folder(folder)
    temporary = folder / secrets.token_hex(16)
    try:
        with temporary.open("xb") as file:
            file.write(body)
            file.flush()
            # An event of the ledger is money, so it has to survive a power cut.
            if flush:
                os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def second_name(folder: Path, origin: Path, *, read_only: bool) -> Iterator[Path]:
    """A temporary name for the file `origin`, or a copy of it where it can have no second one; gone unless moved.

    Args:
        folder: Where the temporary name is.
        origin: Anywhere.
        read_only: Make the file read-only: an editor opened on one of the two names would change both.
    """
    make_folder(folder)
    temporary = folder / secrets.token_hex(16)
    try:
        try:
            os.link(origin, temporary)
            if read_only and temporary.stat().st_mode & _WRITABLE:
                temporary.chmod(stat.S_IMODE(temporary.stat().st_mode) & ~_WRITABLE)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS | {errno.EACCES, errno.EROFS}:
                raise
            temporary.unlink(missing_ok=True)
            shutil.copyfile(origin, temporary)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def link(temporary: Path, path: Path) -> None:
    """Give a temporary file its final name, where nothing has it yet.

    Raises:
        FileExistsError: Something has that name.
        StoreRefused: The file system has no hard links. Opening the final name with O_EXCL would be create-only
            too, but a writer killed halfway would leave a torn file, so there is no falling back.
    """
    try:
        _with_folder(path.parent, lambda: os.link(temporary, path))
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        raise StoreRefused(
            f"cannot create {path.as_uri()}: its file system makes no hard link there ({error.strerror}), and without "
            "one a killed writer could leave part of an object. Use a folder on a local disk (ext4, xfs, btrfs, APFS), "
            "all on one file system, or an s3:// store"
        ) from error


def move(temporary: Path, path: Path) -> None:
    """Give a temporary file its final name, over whatever file has it."""
    _with_folder(path.parent, lambda: temporary.replace(path))


def _link_unless_taken(temporary: Path, path: Path, body: bytes) -> Literal["nothing", "the same", "another"]:
    """Give a temporary file its final name, where nothing has it; report what had it."""
    while True:
        try:
            link(temporary, path)
        except FileExistsError:
            with suppress(FileNotFoundError):  # deleted since: try again to be the one
                return "the same" if path.read_bytes() == body else "another"
        else:
            return "nothing"


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each step flushed."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise
    flush_folder(folder.parent)


def flush_file(path: Path) -> None:
    """Make what is in a file survive a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut. One that has been emptied and removed has none to keep."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_empty_folders(folder: Path, *, below: Path) -> None:
    """Remove a folder and those above it, as long as they are empty and below `below`."""
    while folder != below:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def remove_stale_files(folder: Path, *, older_than: float) -> None:
    """Remove the files that were last written before that many seconds since 1970; never raises OSError."""
    with suppress(OSError):
        for file in folder.iterdir():
            with suppress(OSError):
                if file.stat().st_mtime < older_than:
                    file.unlink()


def _with_folder(folder: Path, step: Callable[[], object]) -> None:
    for _ in range(_FOLDER_ATTEMPTS):
        try:
            step()
        except FileNotFoundError:
            make_folder(folder)
        else:
            return
    step()
