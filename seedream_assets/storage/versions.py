"""The versions of a dataset's snapshots and plans: a run keeps to those that it made, whatever others write meanwhile.

    datasets/<dataset>/prompts/<partition>/<version>.parquet     a snapshot; what it rejected beside it, if anything
    datasets/<dataset>/requests/<partition>/<version>.parquet    a plan; its facts name the version of its snapshot
    datasets/<dataset>/requests/<partition>/<version>.json       what the latest run over that plan did

Each is written under its version, the hash of its bytes, and then under the partition's own name, where the latest
stands. A run is given the version; whoever has none takes the latest, once. Versions that no plan of the last
`KEPT_DAYS` days has made or used are deleted when the next plan is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from types import MappingProxyType

from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.errors import ObjectNotFound, StoreError
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.parquet import PARQUET

KEPT_DAYS = 30
NO_VERSIONS: Mapping[str, str] = MappingProxyType({})
_DIGITS = 32


def version_of(body: bytes) -> str:
    """The version of an object with this content."""
    return sha256(body).hexdigest()[:_DIGITS]


def version_key(config: DatasetConfig, folder: str, partition: str, version: str, suffix: str = ".parquet") -> str:
    """Where a version stands."""
    return config.key(folder, partition, f"/{version}{suffix}")


def write_version(store: ObjectStore, config: DatasetConfig, folder: str, partition: str, body: bytes) -> str:
    """Keep Parquet bytes under their version, and then as the latest.

    Returns:
        The version.
    """
    version = version_of(body)
    key = version_key(config, folder, partition, version)
    # Written again where it stands already: its date says when it was last used.
    store.replace(key, body, content_type=PARQUET)
    store.copy_from(store, key, config.key(folder, partition))
    return version


def read_latest(store: ObjectStore, config: DatasetConfig, folder: str, partition: str) -> tuple[bytes, str]:
    """The latest, and its version, under which it stays what it is.

    Raises:
        ObjectNotFound: There is none.
    """
    body = store.read(config.key(folder, partition))
    version = version_of(body)
    key = version_key(config, folder, partition, version)
    if store.head(key) is None:  # written before there were versions, or a version that was deleted
        store.replace(key, body, content_type=PARQUET)
    return body, version


def read_version(store: ObjectStore, config: DatasetConfig, folder: str, partition: str, version: str) -> bytes:
    """A version's bytes.

    Raises:
        StoreError: It was deleted, and the latest is another one.
    """
    key = version_key(config, folder, partition, version)
    try:
        return store.read(key)
    except ObjectNotFound as error:
        try:
            latest = store.read(config.key(folder, partition))
        except ObjectNotFound:
            latest = b""
        if version_of(latest) != version:
            raise StoreError(
                f"{store.uri(key)} is gone: versions are kept for {KEPT_DAYS} days, and the latest is another one; "
                "materialise prompts and generation_requests again"
            ) from error
        return latest


def delete_old_versions(store: ObjectStore, config: DatasetConfig, folder: str, partition: str, *, keep: str) -> None:
    """Delete what was last written so long before the newest version that no run is at work on it; `keep` stays.

    Raises nothing: a store that lets nobody delete is one to work with.
    """
    with suppress(StoreError):
        infos = list(store.list(config.key(folder, partition, "/")))
        newest = max((info.last_modified for info in infos), default=None)
        for info in infos:
            name = info.key.rpartition("/")[2]
            if (
                newest is not None
                and newest - info.last_modified > timedelta(days=KEPT_DAYS)
                and not name.startswith(keep)
            ):
                store.delete(info.key)
