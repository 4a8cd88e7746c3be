"""Prompt tables and reference images in S3: an `s3://` address or a glob of them. S3 itself is spoken by `storage`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cached_property, partial
from typing import TYPE_CHECKING

from seedream_assets.config.addresses import without_credentials
from seedream_assets.errors import ConfigError, PromptTableError, StoreError
from seedream_assets.prompts.sources import WILDCARD, SourceAccess, SourceFile, too_large
from seedream_assets.storage.s3 import LargerThanAsked, S3Store
from seedream_assets.storage.s3_client import S3Options, make_s3_client

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from seedream_assets.storage.object_store import ObjectInfo


class S3Source:
    """Finds objects in any bucket with one client, which is made when the first address asks for it; see `Source`.

    What fails for a moment is repeated by boto3.
    """

    def __init__(self, access: SourceAccess) -> None:
        self._options = access.s3 or S3Options()

    def find(self, location: str) -> Iterator[SourceFile]:
        """The object, or those that match a glob, sorted by key."""
        shown = without_credentials(location)
        bucket, _, key = location.removeprefix("s3://").partition("/")
        if not bucket or not key or WILDCARD.search(bucket):
            raise PromptTableError(f"{shown} names no object; give s3://bucket/key, wildcards in the key alone")
        store = S3Store(bucket, options=self._options, client=self._client)
        wildcard = WILDCARD.search(key)
        try:
            head = store.head(key)
            if head is not None or wildcard is None:
                infos: list[ObjectInfo] = [head] if head else []
            else:
                pattern = key.split("/")
                infos = [info for info in store.list(key[: wildcard.start()]) if matches(pattern, info.key.split("/"))]
        except (StoreError, ConfigError) as error:
            raise PromptTableError(f"cannot look for {shown}: {error}") from error
        if not infos:
            raise PromptTableError(f"no object {'matches' if wildcard else 'is at'} {shown}; correct the address")
        for info in infos:
            yield SourceFile(
                uri=store.uri(info.key),
                name=info.key.rpartition("/")[2],
                size_bytes=info.size_bytes,
                # An object that went back to what it was has its old ETag, and is a change all the same.
                find_version=partial(str, f"{info.etag}-{info.last_modified.timestamp():.0f}"),
                read_up_to=partial(_read, store, info.key),
            )

    @cached_property
    def _client(self) -> S3Client:
        return make_s3_client(self._options)


def matches(pattern: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether a key matches a glob, both split at "/"; `**` stands for any number of folders, also for none."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return matches(pattern[1:], parts) or (bool(parts) and matches(pattern, parts[1:]))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and matches(pattern[1:], parts[1:])


def _read(store: S3Store, key: str, max_bytes: int) -> bytes:
    try:
        return store.read(key, most_bytes=max_bytes)
    except LargerThanAsked as error:  # it has grown since it was found
        raise too_large(store.uri(key), max_bytes) from error
    except StoreError as error:
        raise PromptTableError(str(error)) from error
