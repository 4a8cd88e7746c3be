"""The one small protocol that everything above storage is written against.

What every store promises, what a key and a metadata entry may look like, and the proof that a store's `create` never
overwrites. How S3 or a folder keeps the promises is in `s3` and `folder`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from seedream_assets.errors import ConfigError, ObjectNotFound, StoreRefused

# A file name's limit on every common filesystem, and S3's limit for a whole key with room for the store's prefix.
MAX_PART_BYTES = 255
MAX_KEY_BYTES = 900

# Folders at the top of a store that belong to the store itself.
PROBE_FOLDER = ".probe"
TEMPORARY_FOLDER = ".tmp"
DESCRIPTION_FOLDER = ".descriptions"
OWN_FOLDERS = (PROBE_FOLDER, TEMPORARY_FOLDER, DESCRIPTION_FOLDER)

_CONTROL_OR_SURROGATE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_RULE = (
    'allowed are relative, "/"-separated keys such as requests/1f3a/intent.json, without empty parts, "." or "..", '
    f"backslashes or control characters, at most {MAX_PART_BYTES} bytes a part and {MAX_KEY_BYTES} bytes in all"
)


def check_key(key: str) -> str:
    """Return `key` unchanged if it can be kept by every store.

    Raises:
        ConfigError: It cannot; says why and what is allowed.
    """
    if problem := _problem_of(key):
        raise ConfigError(f"object key {key!r} {problem}; {_RULE}")
    if key.split("/", 1)[0] in (TEMPORARY_FOLDER, DESCRIPTION_FOLDER):
        raise ConfigError(f"object key {key!r} is in a folder that the store keeps for itself; choose another")
    return key


def check_prefix(prefix: str) -> str:
    """Return `prefix` unchanged if it can be the beginning of a key; the empty one is the beginning of all.

    Raises:
        ConfigError: No key could ever begin like this.
    """
    if prefix and (problem := _problem_of(prefix.removesuffix("/"))):
        raise ConfigError(f"prefix {prefix!r} {problem}; {_RULE}")
    return prefix


def as_folder(prefix: str) -> str:
    """The prefix with the "/" that makes it a folder; the whole store for an empty one."""
    check_prefix(prefix)
    return prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


def _problem_of(key: str) -> str | None:
    if not key:
        return "is empty"
    if _CONTROL_OR_SURROGATE.search(key):
        return "holds a control character"
    if "\\" in key:
        return "holds a backslash"
    parts = key.split("/")
    if "" in parts:
        return "has an empty part"
    if "." in parts or ".." in parts:
        return 'has a part "." or ".."'
    if any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        return "has a part that is too long"
    if len(key.encode()) > MAX_KEY_BYTES:
        return "is too long"
    return None


SHA256_ENTRY = "content-sha256"

# Source: S3 user guide, "Working with object metadata": keys and values together.
MAX_METADATA_BYTES = 2048

# Lower case because S3 lowers it; no underscore because Ceph before 18 turns it into a hyphen.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*\Z")
_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_CONTENT_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:;[\x20-\x7e]+)?\Z")


def check_metadata(metadata: Mapping[str, str], *, content_type: str, sha256: str) -> dict[str, str]:
    """The metadata to store: the caller's entries and the digest of the body.

    Raises:
        ConfigError: An entry could not be stored, or would come back changed; says which and what is allowed.
    """
    if not _CONTENT_TYPE.match(content_type):
        raise ConfigError(f"content type {content_type!r} is not one; give a MIME type such as image/png")
    for name, value in metadata.items():
        if not _NAME.match(name):
            raise ConfigError(
                f"metadata name {name!r} would come back changed; allowed are a-z, 0-9 and hyphens, beginning with "
                "a letter or digit"
            )
        if not _VALUE.match(value):
            raise ConfigError(
                f"metadata {name}={value!r} would come back changed; allowed is printable ASCII without spaces at "
                "either end; put free text into an object of its own, or percent-encode it"
            )
    if metadata.get(SHA256_ENTRY, sha256) != sha256:
        raise ConfigError(
            f"metadata {SHA256_ENTRY} says {metadata[SHA256_ENTRY]}, the body's digest is {sha256}; leave the entry "
            "out, the store adds it"
        )
    complete = {**metadata, SHA256_ENTRY: sha256}
    total_bytes = sum(len(name) + len(value) for name, value in complete.items())
    if total_bytes > MAX_METADATA_BYTES:
        raise ConfigError(
            f"metadata takes {total_bytes} bytes with the store's own {SHA256_ENTRY}, allowed are "
            f"{MAX_METADATA_BYTES} for all names and values together; put long text into an object of its own"
        )
    return complete


def digest_of(body: bytes, given: str | None) -> str:
    """The hex SHA-256 of a body; the caller's own when it has one, which is believed.

    Raises:
        ConfigError: The given digest is not 64 lower-case hex digits.
    """
    if given is None:
        return hashlib.sha256(body).hexdigest()
    if not _SHA256.match(given):
        raise ConfigError(f"sha256 {given!r} is not one; allowed are 64 lower-case hex digits")
    return given


NO_METADATA: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """What a listing says of one object.

    Attributes:
        key: Relative to the store.
        size_bytes: Length of the body.
        last_modified: Aware UTC, by the store's clock, never by this machine's. S3 rounds down to whole seconds.
        etag: Without quotes; changes when the object does. Not a hash of the content.
    """

    key: str
    size_bytes: int
    last_modified: datetime
    etag: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectHead(ObjectInfo):
    """What the store knows of one object without handing out its body.

    Attributes:
        content_type: As given when it was written.
        metadata: As given when it was written, and `content-sha256`, which the store adds. A courtesy to people
            looking into the bucket: a folder store killed between the two writes has the object without it.
        sha256: Hex digest of the body; None when neither the server nor the writer noted one.
    """

    content_type: str
    metadata: Mapping[str, str]
    sha256: str | None


class ObjectStore(Protocol):
    """Objects under relative, "/"-separated keys.

    Every method may raise `StoreUnavailable` (may be repeated), `StoreRefused` (a person has to act) and, for a key or
    metadata that no store could keep, `ConfigError` before anything is sent. All methods may be called from
    several threads at once.
    """

    @property
    def url(self) -> str:
        """The store's address, `s3://bucket/prefix` or `file:///…`; holds no secrets."""
        ...

    def create(
        self,
        key: str,
        body: bytes,
        *,
        content_type: str,
        metadata: Mapping[str, str] = NO_METADATA,
        sha256: str | None = None,
    ) -> bool:
        """Write an object where none is; never overwrite one.

        Writers of different bytes agree on one winner. Writers of equal bytes all win: a body that must have a single
        author has to name that author.

        Args:
            key: Where.
            body: The whole content.
            content_type: MIME type.
            metadata: Short ASCII notes; see `check_metadata`.
            sha256: Hex digest of `body`, when the caller has it already; it is believed.

        Returns:
            True: the object under `key` holds exactly these bytes: just written, or by an earlier write of one's own
            whose answer was lost. False: a different object already stands there and was left alone.

        Raises:
            StoreUnavailable: Whether it was written is not known. The same call with the same bytes is safe.
            StoreRefused: The store turned the write away; a person has to act.
        """
        ...

    def replace(self, key: str, body: bytes, *, content_type: str, metadata: Mapping[str, str] = NO_METADATA) -> None:
        """Write an object, over an older one if there is one. Readers see the old or the new, each whole.

        Raises:
            StoreUnavailable: The old or the new object is there; the same call is safe.
        """
        ...

    def replace_from_file(self, key: str, path: Path, *, content_type: str, sha256: str) -> None:
        """As `replace`, with a file of this machine as the body, which is never held in memory whole.

        Args:
            key: Where.
            path: Read, or given a second name; not to be written to any more.
            content_type: MIME type.
            sha256: Hex digest of the file; it is believed.
        """
        ...

    def copy_from(self, source: ObjectStore, source_key: str, key: str) -> None:
        """Write an object of this store or of another one here too, over an older one if there is one.

        Content type and metadata come along. Where the two allow it, no byte passes through this process: a second name
        for the same file (which makes it read-only, for both names), or a copy made by the server. Not flushed to a
        local disk: what was copied can be copied again.

        Raises:
            ObjectNotFound: The source has no such object.
        """
        ...

    def read(self, key: str) -> bytes:
        """The whole body.

        Raises:
            ObjectNotFound: No object has this key.
        """
        ...

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """The bytes from `start` up to, not including, `stop`; fewer where the object ends.

        Raises:
            ObjectNotFound: No object has this key.
        """
        ...

    def head(self, key: str) -> ObjectHead | None:
        """What is known of one object; None when there is none."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key starts with `prefix`, in the order of the keys' UTF-8 bytes.

        Fetched page by page while it is consumed; objects written or deleted meanwhile may or may not appear.
        """
        ...

    def list_folders(self, prefix: str) -> Iterator[str]:
        """Names of the folders immediately under the folder `prefix` that hold any object, in key order, lazily."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object. No error when there is none."""
        ...

    def now(self) -> datetime:
        """The store's own clock, aware UTC; comparable with `last_modified`. Whole seconds on S3."""
        ...

    def uri(self, key: str) -> str:
        """The address of one object, for people and for provenance."""
        ...

    def refuse_unless_create_only(self) -> None:
        """Prove with a scratch object that `create` never overwrites here; leaves nothing behind.

        Raises:
            StoreRefused: It does overwrite, so two runs could both believe that they own a purchase.
        """
        ...


def copy_through(source: ObjectStore, source_key: str, target: ObjectStore, key: str) -> None:
    """Copy an object through this process, between stores that cannot do it among themselves; see `copy_from`."""
    head = source.head(source_key)
    if head is None:
        raise ObjectNotFound(f"no object at {source.uri(source_key)}")
    notes = {name: value for name, value in head.metadata.items() if name != SHA256_ENTRY}
    target.replace(key, source.read(source_key), content_type=head.content_type, metadata=notes)


def prove_create_only(store: ObjectStore) -> None:
    """Create one scratch object twice, with different bytes, and look which stayed.

    Raises:
        StoreRefused: The second write was not turned away, or what was written did not come back.
    """
    key = f"{PROBE_FOLDER}/{secrets.token_hex(16)}"
    first, second = b"first writer", b"second writer"
    try:
        first_won = store.create(key, first, content_type="text/plain")
        second_won = store.create(key, second, content_type="text/plain")
        found = store.read(key)
    finally:
        store.delete(key)
    if not first_won or second_won or found != first:
        raise StoreRefused(
            f"{store.url} does not do create-only writes: a second create of the same key was "
            f"{'accepted' if second_won else 'turned away'} and {'replaced' if found != first else 'left'} the first. "
            "Two runs could both believe that they own a purchase, so nothing is bought. The server ignores "
            "If-None-Match: use one with conditional writes, such as AWS S3 or Ceph RGW 20, or file:// on one machine"
        )
