"""Objects under keys, in S3 or in a local folder: from the address of a store to the store.

All that knows how bytes are kept is here. What the bytes mean (ledger events, images, manifests) is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seedream_assets.config.addresses import Bucket, read_store_address
from seedream_assets.errors import StoreError
from seedream_assets.storage.folder import FolderStore
from seedream_assets.storage.object_store import check_key

if TYPE_CHECKING:
    from seedream_assets.storage.object_store import ObjectStore
    from seedream_assets.storage.s3_client import S3Options


def open_store(url: str, *, options: S3Options | None = None) -> ObjectStore:
    """The store at an address. Sends nothing and writes nothing.

    Args:
        url: `s3://bucket/prefix`, `file:///absolute/path`, or an absolute path.
        options: For `s3://`; ignored for a folder.

    Raises:
        ConfigError: The address is none of these; says what was probably meant.
    """
    place = read_store_address(url)
    if isinstance(place, Bucket):
        # boto3 takes 0.2 s to import, and nobody with a folder needs it.
        from seedream_assets.storage.s3 import S3Store

        return S3Store(place.name, check_key(place.prefix) if place.prefix else "", options=options)
    return FolderStore(place)


def refuse_missing(store: ObjectStore) -> None:
    """Refuse to read from where no store is. One begins with its first object; an empty folder that is there is one, too.

    Raises:
        StoreError: Nothing was ever written there, or it cannot be reached.
    """
    if isinstance(store, FolderStore) and store.is_there:
        return
    if next(store.list_folders(""), None) is None:
        raise StoreError(f"there is no store at {store.url}: nothing was ever written there; look at the address")
