"""Where prompt tables and reference images come from, as bytes: one module a kind of source, and the registry of them.

Here belongs finding files and fetching them whole. What is in them is not looked at, and nothing is ever written.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Protocol

from seedream_assets.errors import PromptTableError

if TYPE_CHECKING:
    import httpx

    from seedream_assets.storage.s3_client import S3Options

MAX_TABLE_BYTES = 2 * 1024**3
MEBIBYTE = 1 << 20
# What lies in one file, unpacked: tables of real prompts are packed to a tenth, very regular ones to a fiftieth.
PACKED_TIMES = 100
UNPACKED_AT_LEAST = 32 * MEBIBYTE

ALLOWED = "allowed are a path, s3://bucket/key, https://…, a glob of paths or of s3:// keys, and a list of these"
WILDCARD = re.compile(r"[*?[]")
ENTRY_POINTS = "seedream_assets.sources"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
# Scheme → class, imported when an address asks for it: boto3 and httpx take 0.2 s each to import.
SOURCES = {
    "file": "seedream_assets.prompts.sources.files:FileSource",
    "s3": "seedream_assets.prompts.sources.s3:S3Source",
    "http": "seedream_assets.prompts.sources.web:WebSource",
    "https": "seedream_assets.prompts.sources.web:WebSource",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file that can be fetched.

    Attributes:
        uri: For people and for provenance; without user, query or fragment, which may hold secrets.
        name: The file's own name; its suffix says which format it is in.
        size_bytes: As found; None where it is not known before fetching.
        find_version: What changes when the file does, asked for now: S3's ETag, a web server's ETag or Last-Modified,
            a local file's size and time. Raises PromptTableError where it cannot be found out.
        read_up_to: Reads the whole file, or raises PromptTableError if it is longer than so many bytes.
        modified_at: Aware; of a local file, which may be seen half written. None for the others.
        key: What two different files differ in; None where that is `uri`.
    """

    uri: str
    name: str
    size_bytes: int | None
    find_version: Callable[[], str] = field(repr=False, compare=False)
    read_up_to: Callable[[int], bytes] = field(repr=False, compare=False)
    modified_at: datetime | None = None
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceAccess:
    """What a source may need to reach its files.

    Attributes:
        base: The folder that relative paths start from.
        s3: How S3 is reached; None for the environment's settings.
        transport: How web servers are reached; None for the network, through the environment's proxies.
        sleep: Waits that many seconds between two attempts.
        clock: Seconds that never run backwards.
    """

    base: Path
    s3: S3Options | None = None
    transport: httpx.BaseTransport | None = None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


class Source(Protocol):
    """Finds the files of one kind of address. Made once for all addresses of a scheme in a table's declaration.

    A source of another package is a class and an entry point under the scheme that it reads. For example, a query of a
    SQLite file as a prompt table, `prompts: {table: "sqlite:///data/prompts.db"}`:

        class SqliteSource:
            def __init__(self, access: SourceAccess) -> None:
                self._base = access.base

            def find(self, location: str) -> list[SourceFile]:
                path = self._base / location.removeprefix("sqlite:///")
                return [
                    SourceFile(
                        uri=location,
                        name="prompts.csv",
                        size_bytes=None,
                        find_version=lambda: str(path.stat().st_mtime_ns),
                        read_up_to=lambda max_bytes: self._as_csv(path, max_bytes),
                    )
                ]

        [project.entry-points."seedream_assets.sources"]
        sqlite = "my_package.sources:SqliteSource"
    """

    def __init__(self, access: SourceAccess) -> None: ...

    def find(self, location: str) -> Iterable[SourceFile]:
        """The files at an address, in an order that stays the same.

        Raises:
            PromptTableError: There is none, or it cannot be looked for; says what, where and what to do. Never with a
                secret that the address may carry.
        """
        ...


def find_sources(
    location: str | Sequence[str],
    *,
    base: Path,
    options: S3Options | None = None,
    transport: httpx.BaseTransport | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[SourceFile]:
    """The files that a dataset config names.

    Args:
        location: A path, URL or glob, or a list of them. In a glob `*`, `?` and `[…]` stay within one folder, and
            `**` crosses folders. Nothing is sent to a web server before `fetch`.
        base, options, transport, sleep: See `SourceAccess`.

    Returns:
        One or more files: in the list's order, those of one glob sorted by path, none twice.

    Raises:
        PromptTableError: Something named is not there, or cannot be looked for; says what and where.
    """
    locations = [location] if isinstance(location, str) else [*location]
    if not locations:
        raise PromptTableError(f"no table is named; {ALLOWED}")
    access = SourceAccess(base=base, s3=options, transport=transport, sleep=sleep)
    opened: dict[str, Source] = {}
    found: dict[str, SourceFile] = {}
    for one in locations:
        match = _SCHEME.match(one)
        scheme = match[1] if match else "file"
        if scheme not in opened:
            opened[scheme] = _source_class(scheme)(access)
        for source in opened[scheme].find(one):
            found.setdefault(source.key or source.uri, source)
    return [*found.values()]


def _source_class(scheme: str) -> Callable[[SourceAccess], Source]:
    if scheme in SOURCES:
        known: Callable[[SourceAccess], Source] = resolve_name(SOURCES[scheme])
        return known
    others = entry_points(group=ENTRY_POINTS)
    if scheme not in others.names:
        raise PromptTableError(f"cannot read {scheme}:/ addresses; {ALLOWED}")
    other: Callable[[SourceAccess], Source] = others[scheme].load()
    return other


def fetch(source: SourceFile, *, max_bytes: int = MAX_TABLE_BYTES) -> bytes:
    """The whole file.

    Raises:
        PromptTableError: It is gone, may not be read, is longer than `max_bytes`, or its server did not give it.
    """
    if source.size_bytes is not None and source.size_bytes > max_bytes:
        raise too_large(source.uri, max_bytes)
    return source.read_up_to(max_bytes)


def too_large(uri: str, max_bytes: int) -> PromptTableError:
    """The error for a file that is longer than allowed."""
    return PromptTableError(
        f"{uri} is larger than the {max_bytes} bytes allowed for it; split it and name the parts as a list or a glob"
    )


def most_unpacked(packed_bytes: int) -> int:
    """The bytes that a packed file of this size may unpack to."""
    return max(UNPACKED_AT_LEAST, PACKED_TIMES * packed_bytes)


def too_packed(label: str, packed_bytes: int, what: str = "unpacks") -> PromptTableError:
    """The error for a file that unpacks to more than that."""
    return PromptTableError(
        f"{label}: the file of {packed_bytes} bytes {what} to more than the {most_unpacked(packed_bytes)} bytes allowed "
        f"for it ({PACKED_TIMES} times its size, or {UNPACKED_AT_LEAST}); give the table as plain CSV"
    )
