"""Where prompt tables and reference images come from, as bytes.

Here belongs finding files and fetching them whole, from this machine, S3 or the web. What is in them is not looked at;
the web is in `http_source`, S3 in `s3_source`. Nothing is ever written.
"""

from __future__ import annotations

import glob
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from seedream_assets.config.redaction import without_credentials
from seedream_assets.errors import PromptTableError

if TYPE_CHECKING:
    import httpx

    from seedream_assets.storage.s3_client import S3Options


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file that can be fetched.

    Attributes:
        uri: For people and for provenance; without user, query or fragment, which may hold secrets.
        name: The file's own name.
        size_bytes: As found; None where only fetching tells.
        etag: S3's, as found; changes when the file does.
        find_version: What changes when the file does, asked for now: S3's ETag, a web server's ETag or Last-Modified,
            a local file's size and time. Raises PromptTableError where it cannot be told.
        read_up_to: Reads the whole file, or raises PromptTableError if it is longer than so many bytes.
        modified_at: Aware; of a local file, which may be seen half written. None for the others.
    """

    uri: str
    name: str
    size_bytes: int | None
    etag: str | None
    find_version: Callable[[], str] = field(repr=False, compare=False)
    read_up_to: Callable[[int], bytes] = field(repr=False, compare=False)
    modified_at: datetime | None = None


def too_large(uri: str, max_bytes: int) -> PromptTableError:
    """The error for a file that is longer than allowed."""
    return PromptTableError(
        f"{uri} is larger than the {max_bytes} bytes allowed for it; split it and name the parts as a list or a glob"
    )


MEBIBYTE = 1 << 20
# What lies in one file, unpacked: tables of real prompts are packed to a tenth, very regular ones to a fiftieth.
PACKED_TIMES = 100
UNPACKED_AT_LEAST = 32 * MEBIBYTE


def most_unpacked(packed_bytes: int) -> int:
    """The bytes that a packed file of this size may unpack to."""
    return max(UNPACKED_AT_LEAST, PACKED_TIMES * packed_bytes)


def too_packed(label: str, packed_bytes: int, what: str = "unpacks") -> PromptTableError:
    """The error for a file that unpacks to more than that."""
    return PromptTableError(
        f"{label}: the file of {packed_bytes} bytes {what} to more than the {most_unpacked(packed_bytes)} bytes allowed "
        f"for it ({PACKED_TIMES} times its size, or {UNPACKED_AT_LEAST}); give the table as plain CSV"
    )


MAX_TABLE_BYTES = 2 * 1024**3
_PIECE_BYTES = 1 << 20

_ALLOWED = "allowed are a path, s3://bucket/key, https://…, a glob of paths or of s3:// keys, and a list of these"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_WILDCARD = re.compile(r"[*?[]")


def find_sources(
    location: str | Sequence[str],
    *,
    base: Path,
    options: S3Options | None = None,
    transport: httpx.BaseTransport | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[SourceFile]:
    """The files that a declaration names.

    Args:
        location: A path, URL or glob, or a list of them. In a glob `*`, `?` and `[…]` stay within one folder, and
            `**` crosses folders. Nothing is sent to a web server before `fetch`.
        base: The folder that relative paths start from.
        options: For `s3://`.
        transport: How web servers are reached; None for the network, through the environment's proxies.
        sleep: Waits that many seconds between two attempts at a web server.

    Returns:
        One or more files: in the list's order, those of one glob sorted by path, none twice.

    Raises:
        PromptTableError: Something named is not there, or cannot be looked for; says what and where.
    """
    locations = [location] if isinstance(location, str) else [*location]
    if not locations:
        raise PromptTableError(f"no table is named; {_ALLOWED}")
    # boto3 and httpx take 0.2 s each to import, and a table beside the declaration needs neither.
    from seedream_assets.prompts.http_source import find_in_web
    from seedream_assets.prompts.s3_source import S3Sources

    in_s3 = S3Sources(options)
    found: dict[str, SourceFile] = {}
    for one in locations:
        scheme = _SCHEME.match(one)
        if scheme is None or one.startswith("file://"):
            sources = _find_on_disk(one, base)
        elif scheme[1] == "s3":
            sources = in_s3.find(one)
        elif scheme[1] in ("http", "https"):
            # By the whole address: two may differ in the query alone, which `uri` does not show.
            found.setdefault(one, find_in_web(one, transport=transport, sleep=sleep))
            continue
        else:
            raise PromptTableError(f"cannot read {scheme[1]}:/ addresses; {_ALLOWED}")
        for source in sources:
            found.setdefault(source.uri, source)
    return [*found.values()]


def fetch(source: SourceFile, *, max_bytes: int = MAX_TABLE_BYTES) -> bytes:
    """The whole file.

    Raises:
        PromptTableError: It is gone, may not be read, is longer than `max_bytes`, or its server did not give it.
    """
    if source.size_bytes is not None and source.size_bytes > max_bytes:
        raise too_large(source.uri, max_bytes)
    return source.read_up_to(max_bytes)


def _find_on_disk(location: str, base: Path) -> Iterator[SourceFile]:
    if location.startswith("file://"):
        parts = urlsplit(location)
        if parts.netloc not in ("", "localhost"):
            raise PromptTableError(f"{without_credentials(location)} is on another machine; {_ALLOWED}")
        location = unquote(parts.path)
    if not location.strip() or "\0" in location:
        raise PromptTableError(f"{location!r} names no file; {_ALLOWED}")
    path = base.absolute() / Path(location).expanduser()
    try:
        if not path.exists() and _WILDCARD.search(location):
            pattern = location if Path(location).is_absolute() else f"{glob.escape(str(base.absolute()))}/{location}"
            # Path.glob takes no absolute pattern.
            names = glob.glob(pattern, recursive=True)  # noqa: PTH207
            paths = sorted(path for name in names if (path := Path(name)).is_file())
            if not paths:
                raise PromptTableError(f"no file matches {location!r} in {base.absolute()}; {_ALLOWED}")
        elif path.is_dir():
            raise PromptTableError(f"{path} is a folder; name a file, or all of one kind as in {location}/*.csv")
        elif not path.is_file():
            raise PromptTableError(f"there is no file {path}; put it there, or say where it is")
        else:
            paths = [path]
        for path in paths:
            found = path.stat()
            yield SourceFile(
                uri=path.as_uri(),
                name=path.name,
                size_bytes=found.st_size,
                modified_at=datetime.fromtimestamp(found.st_mtime, UTC),
                etag=None,
                find_version=partial(_version_on_disk, path),
                read_up_to=partial(_read_from_disk, path),
            )
    except OSError as error:
        raise PromptTableError(f"cannot look at {path}: {error.strerror}") from error


def _version_on_disk(path: Path) -> str:
    try:
        found = path.stat()
    except OSError as error:
        raise PromptTableError(f"cannot look at {path}: {error.strerror}") from error
    return f"{found.st_size}-{found.st_mtime_ns}"


def _read_from_disk(path: Path, max_bytes: int) -> bytes:
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
