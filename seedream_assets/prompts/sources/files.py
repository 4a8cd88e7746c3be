"""Prompt tables and reference images on this machine: a path, a `file://` address, or a glob of paths."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from seedream_assets.config.addresses import without_credentials
from seedream_assets.errors import PromptTableError
from seedream_assets.prompts.sources import ALLOWED, WILDCARD, SourceAccess, SourceFile, too_large

_PIECE_BYTES = 1 << 20


class FileSource:
    """Finds files by path; see `Source`."""

    def __init__(self, access: SourceAccess) -> None:
        self._base = access.base.absolute()

    def find(self, location: str) -> Iterator[SourceFile]:
        """The file, or those that match a glob, sorted by path."""
        if location.startswith("file:/"):
            parts = urlsplit(location)
            if parts.netloc not in ("", "localhost"):
                raise PromptTableError(f"{without_credentials(location)} is on another machine; {ALLOWED}")
            location = unquote(parts.path)
        if not location.strip() or "\0" in location:
            raise PromptTableError(f"{location!r} names no file; {ALLOWED}")
        path = self._base / Path(location).expanduser()
        try:
            for match in self._matching(location, path):
                found = match.stat()
                yield SourceFile(
                    uri=match.as_uri(),
                    name=match.name,
                    size_bytes=found.st_size,
                    modified_at=datetime.fromtimestamp(found.st_mtime, UTC),
                    find_version=partial(_version, match),
                    read_up_to=partial(_read, match),
                )
        except OSError as error:
            raise PromptTableError(f"cannot look at {path}: {error.strerror}") from error

    def _matching(self, location: str, path: Path) -> list[Path]:
        """The file of this name, even where the name looks like a glob; else what the glob matches."""
        if not path.exists() and WILDCARD.search(location):
            pattern = location if Path(location).is_absolute() else f"{glob.escape(str(self._base))}/{location}"
            # Path.glob takes no absolute pattern.
            names = glob.glob(pattern, recursive=True)  # noqa: PTH207
            paths = sorted(path for name in names if (path := Path(name)).is_file())
            if not paths:
                raise PromptTableError(f"no file matches {location!r} in {self._base}; {ALLOWED}")
            return paths
        if path.is_dir():
            raise PromptTableError(f"{path} is a folder; name a file, or all of one kind as in {location}/*.csv")
        if not path.is_file():
            raise PromptTableError(f"there is no file {path}; put it there, or say where it is")
        return [path]


def _version(path: Path) -> str:
    try:
        found = path.stat()
    except OSError as error:
        raise PromptTableError(f"cannot look at {path}: {error.strerror}") from error
    return f"{found.st_size}-{found.st_mtime_ns}"


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            # Of what is there, and not of what is allowed: a read of n bytes takes n bytes of memory first.
            body = file.read(min(os.fstat(file.fileno()).st_size, max_bytes) + 1)
            while len(body) <= max_bytes and (more := file.read(_PIECE_BYTES)):  # it grows, or has no size of its own
                body += more
    except FileNotFoundError as error:
        raise PromptTableError(f"there is no file {path} any more") from error
    except OSError as error:
        raise PromptTableError(f"cannot read {path}: {error.strerror}; give this user the right to read it") from error
    if len(body) > max_bytes:
        raise too_large(path.as_uri(), max_bytes)
    return body
