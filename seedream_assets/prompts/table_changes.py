"""What a sensor remembers of a dataset's tables between two looks, and what has changed since. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

# Of a hash: two among 100,000 partitions agree by chance once in 50,000 tables.
DIGEST_BYTES = 6
CURSOR_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenTables:
    """The state of the tables when runs were last asked for.

    Attributes:
        number: How often runs were asked for; part of every run key, so that a table that goes back to what it was is a
            change too.
        tables: Digest of the versions of all files; equal means that nothing need be read.
        partitions: Digest of each partition's content, by the digest of its key.
    """

    number: int = 0
    tables: str = ""
    partitions: Mapping[bytes, bytes] = field(default_factory=dict)

    @classmethod
    def from_cursor(cls, cursor: str | None) -> SeenTables:
        """What a cursor says; nothing seen where there is none, or one that another version wrote."""
        try:
            told = json.loads(cursor or "")
            if told["version"] != CURSOR_VERSION:
                return cls()
            packed = base64.b64decode(told["partitions"], validate=True)
            pairs = [packed[at : at + 2 * DIGEST_BYTES] for at in range(0, len(packed), 2 * DIGEST_BYTES)]
            partitions = {pair[:DIGEST_BYTES]: pair[DIGEST_BYTES:] for pair in pairs}
            return cls(number=int(told["number"]), tables=str(told["tables"]), partitions=partitions)
        except (ValueError, KeyError, TypeError, binascii.Error):
            return cls()

    def to_cursor(self) -> str:
        """The cursor: about 16 bytes for each partition."""
        packed = b"".join(key + content for key, content in sorted(self.partitions.items()))
        told = {
            "version": CURSOR_VERSION,
            "number": self.number,
            "tables": self.tables,
            "partitions": base64.b64encode(packed).decode(),
        }
        return json.dumps(told)

    def changed(self, found: Mapping[str, bytes]) -> list[str]:
        """The partitions that are new or differ, in their order."""
        return [key for key, content in found.items() if self.partitions.get(digest(key)) != content]

    def emptied(self, known: Iterable[str], found: Mapping[str, bytes]) -> dict[str, bytes]:
        """The known partitions that had rows once, or were told to be empty, and have none now."""
        return {key: EMPTY for key in known if key not in found and digest(key) in self.partitions}

    def after(self, found: Mapping[str, bytes], *, asked: Iterable[str], tables: str) -> SeenTables:
        """The state once runs were asked for; what was not asked for stays as it was, and what is gone is forgotten."""
        asked_for = set(asked)
        partitions = {
            digest(key): content if key in asked_for else self.partitions[digest(key)]
            for key, content in found.items()
            if key in asked_for or digest(key) in self.partitions
        }
        is_all = not [key for key in self.changed(found) if key not in asked_for]
        return SeenTables(number=self.number + bool(asked_for), tables=tables if is_all else "", partitions=partitions)


def digest(*parts: str | bytes) -> bytes:
    """A short hash of these parts, told apart."""
    hashed = sha256()
    for part in parts:
        body = part.encode() if isinstance(part, str) else part
        hashed.update(len(body).to_bytes(8, "big") + body)
    return hashed.digest()[:DIGEST_BYTES]


def contiguous(order: Sequence[str], keys: Iterable[str]) -> list[tuple[str, str]]:
    """The keys as ranges, first and last of each, of those that follow each other in `order`."""
    wanted = set(keys)
    ranges: list[tuple[str, str]] = []
    begun: str | None = None
    latest = ""
    for key in order:
        if key in wanted:
            begun, latest = begun or key, key
        elif begun is not None:
            ranges.append((begun, latest))
            begun = None
    return [*ranges, (begun, latest)] if begun is not None else ranges


EMPTY = digest("no rows")
