"""Keeping what stood under a key before it is written anew or removed.

broken/<key>[.<beginning of its hash>]    the bytes as they were found
"""

from __future__ import annotations

from hashlib import sha256

from seedream_assets.errors import ObjectNotFound
from seedream_assets.storage.object_store import ObjectStore

BROKEN_FOLDER = "broken"


def set_aside(store: ObjectStore, key: str) -> None:
    """Copy an object under `broken/`, create-only; nothing where there is none.

    Raises:
        StoreError: The copy could not be written; the object must stay as it is then.
    """
    try:
        body = store.read(key)
    except ObjectNotFound:
        return
    copy = f"{BROKEN_FOLDER}/{key}"
    if not store.create(copy, body, content_type="application/octet-stream"):
        store.create(f"{copy}.{sha256(body).hexdigest()[:12]}", body, content_type="application/octet-stream")
