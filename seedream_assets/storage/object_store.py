"""The one small protocol that everything above storage is written against.

Here belongs what every store promises. How S3 or a folder keeps the promise is in `s3` and `folder`; what a key or
a metadata entry may look like is in `keys` and `object_metadata`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from seedream_assets.errors import ObjectNotFound
from seedream_assets.storage.object_metadata import SHA256_ENTRY

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
            metadata: Short ASCII notes; see `object_metadata`.
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
