"""The proof that a store's `create` never overwrites, made with the store's own public methods.

Here belongs only the proof. When to ask for it is decided by whoever is about to spend money.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from seedream_assets.errors import StoreRefused
from seedream_assets.storage.keys import PROBE_FOLDER

if TYPE_CHECKING:
    from seedream_assets.storage.object_store import ObjectStore


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
