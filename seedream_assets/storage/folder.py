"""A local folder as an object store: for one machine, for demos and for tests.

Whole objects appear under their names at once. A file system has no place for content types and metadata; where they
differ from what the key's suffix implies, they stand in a small JSON file beside the object. An object never waits for
that file and is never read through it: it may be lost without harm, and counts only for the bytes it was written for.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path, PurePosixPath

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
from seedream_assets.storage.whole_files import (
    flush_file,
    flush_folder,
    link,
    move,
    remove_empty_folders,
    remove_stale_files,
    second_name,
    temporary_file,
)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is known of one object besides its bytes."""

    content_type: str
    metadata: Mapping[str, str]


def guess_content_type(key: str) -> str:
    """The MIME type that a key's suffix stands for, the same on every machine."""
    return _CONTENT_TYPES.get(PurePosixPath(key).suffix.lower(), "application/octet-stream")


def is_implied(description: Description, key: str) -> bool:
    """Whether the key and the bytes alone imply all of it, so that no file is needed."""
    return set(description.metadata) <= {SHA256_ENTRY} and description.content_type == guess_content_type(key)


def write_description(description: Description, *, path: Path, temporary: Path) -> None:
    """Put the description at `path`, whole or not at all; not flushed to the disk.

    Raises:
        OSError: It could not be written; no temporary file is left.
    """
    text = json.dumps({"content_type": description.content_type, "metadata": dict(description.metadata)})
    try:
        temporary.write_text(text, encoding="ascii")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_description(path: Path, *, key: str, body: bytes) -> Description:
    """The description of these bytes: the written one if it is theirs, else what the key and the bytes imply.

    Raises:
        OSError: The file is there and cannot be read.
    """
    sha256 = hashlib.sha256(body).hexdigest()
    implied = Description(content_type=guess_content_type(key), metadata={SHA256_ENTRY: sha256})
    try:
        written = json.loads(path.read_text(encoding="ascii"))
        description = Description(content_type=str(written["content_type"]), metadata=dict(written["metadata"]))
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return implied
    return description if description.metadata.get(SHA256_ENTRY) == sha256 else implied


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_PLACE = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST}
_FOR_NOW = {errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENOMEM,
            errno.ETIMEDOUT}  # fmt: skip


def folder_error(error: OSError, *, doing: str, uri: str) -> StoreError:
    """The error to raise for `error`, chained with `from` at the call site.

    Args:
        error: What the operating system said.
        doing: The verb: "create", "read" and so on.
        uri: Of the object or of the store.
    """
    said = f"cannot {doing} {uri}: {error.strerror or error}"
    if error.errno in _NO_ROOM:
        return StoreRefused(f"{said}; nothing was left there. Make room, or point the store at a larger disk")
    if error.errno in _NO_PERMISSION:
        return StoreRefused(f"{said}. Give this user the right to read and write the store's folder")
    if error.errno in _NO_PLACE:
        return StoreRefused(
            f"{said}. In a folder an object cannot also be the folder of other objects, and something that is not "
            "the store's own may be in the way"
        )
    if error.errno in _FOR_NOW:
        return StoreUnavailable(said)
    return StoreRefused(said)


STALE_AFTER_SECONDS = 24 * 3600.0


class _Written(Enum):
    """Who wrote the object that stands under a key."""

    NOW = auto()
    BEFORE = auto()  # with the same bytes
    BY_ANOTHER = auto()


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
            written = self._link_unless_taken(temporary, path, body)
            if written is _Written.BY_ANOTHER:
                return False
            # Also for equal bytes found there: their writer may have died before it flushed or described them.
            flush_folder(path.parent)
            if written is _Written.NOW or not self._description_path(key).exists():
                self._describe(key, Description(content_type=content_type, metadata=complete))
            return True

    def replace(self, key: str, body: bytes, *, content_type: str, metadata: Mapping[str, str] = NO_METADATA) -> None:
        """See `ObjectStore.replace`. On any error the older object, if any, is still there whole."""
        path = self._path(key)
        complete = check_metadata(metadata, content_type=content_type, sha256=digest_of(body, None))
        with self._translated("replace", key), temporary_file(self._temporary_folder, body) as temporary:
            move(temporary, path)
            flush_folder(path.parent)
            self._describe(key, Description(content_type=content_type, metadata=complete))

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
            self._describe(key, Description(content_type=content_type, metadata=complete))

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
        body = self._read_if_there(key)
        if body is None:
            raise ObjectNotFound(f"no object at {self.uri(key)}")
        return body

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """See `ObjectStore.read_range`."""
        with self._translated("read", key):
            try:
                with self._path(key).open("rb") as file:
                    file.seek(start)
                    return file.read(stop - start)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
                raise ObjectNotFound(f"no object at {self.uri(key)}") from error

    def head(self, key: str) -> ObjectHead | None:
        """See `ObjectStore.head`. Reads the whole object, since a file system keeps no digests."""
        path = self._path(key)
        with self._translated("look at", key):
            try:
                status = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            body = self._read_if_there(key)
            if body is None:
                return None
            description = read_description(self._description_path(key), key=key, body=body)
        return ObjectHead(
            key=key,
            size_bytes=len(body),
            last_modified=datetime.fromtimestamp(status.st_mtime, UTC),
            etag=_etag(status),
            content_type=description.content_type,
            metadata=description.metadata,
            sha256=hashlib.sha256(body).hexdigest(),
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

    @staticmethod
    def _link_unless_taken(temporary: Path, path: Path, body: bytes) -> _Written:
        while True:
            try:
                link(temporary, path)
            except FileExistsError:
                with suppress(FileNotFoundError):  # deleted since: try again to be the one
                    return _Written.BEFORE if path.read_bytes() == body else _Written.BY_ANOTHER
            else:
                return _Written.NOW

    def _describe(self, key: str, description: Description) -> None:
        path = self._description_path(key)
        with suppress(OSError):  # the object is safe by now, and must not be reported as failed for a courtesy
            if is_implied(description, key):
                path.unlink(missing_ok=True)
            else:
                temporary = self._temporary_folder / secrets.token_hex(16)
                write_description(description, path=path, temporary=temporary)

    def _read_if_there(self, key: str) -> bytes | None:
        with self._translated("read", key):
            try:
                return self._path(key).read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None

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
