"""Files that appear under their names whole, at once, and survive a power cut.

Here belongs the handling of the file system under `folder`: temporary files, links, flushes. Keys and promises of a
store are not known here. Everything raises OSError unless it says otherwise.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seedream_assets.errors import StoreRefused

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
