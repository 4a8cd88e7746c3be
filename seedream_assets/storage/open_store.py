"""From an address to an object store.

Here belongs which addresses are allowed. Opening sends nothing and writes nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from seedream_assets.core.errors import DeclarationError
from seedream_assets.storage.folder import FolderStore
from seedream_assets.storage.keys import check_key

if TYPE_CHECKING:
    from seedream_assets.storage.object_store import ObjectStore
    from seedream_assets.storage.s3_client import S3Options

_ALLOWED = "allowed are s3://bucket/prefix, file:///absolute/path and a path on this machine"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}\Z")


def open_store(url: str, *, options: S3Options | None = None) -> ObjectStore:
    """The store at an address.

    Args:
        url: `s3://bucket/prefix`, `file:///absolute/path`, or a local path, which is taken from the working directory.
        options: For `s3://`; ignored for a folder.

    Raises:
        DeclarationError: The address is none of these.
    """
    scheme = _SCHEME.match(url)
    if not url.strip() or any(ord(letter) < 32 for letter in url):
        raise DeclarationError(f"store address {url!r} is empty or holds control characters; {_ALLOWED}")
    if scheme is None:
        return FolderStore(Path(url).expanduser().absolute())
    if url.startswith("s3://"):
        return _open_s3(url, options)
    if url.startswith("file://"):
        return _open_folder(url)
    # Only the scheme is shown: an address of another kind may carry a password.
    raise DeclarationError(f"store address begins with {scheme[1]}:/; {_ALLOWED}")


def _open_s3(url: str, options: S3Options | None) -> ObjectStore:
    # boto3 takes 0.2 s to import, and nobody with a folder needs it.
    from seedream_assets.storage.s3 import S3Store

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not _BUCKET.match(bucket):
        raise DeclarationError(
            "store address s3://… names no bucket that S3 would allow (letters, digits, hyphens, dots); "
            f"{_ALLOWED}, without user, port or query"
        )
    prefix = prefix.strip("/")
    return S3Store(bucket, check_key(prefix) if prefix else "", options=options)


def _open_folder(url: str) -> ObjectStore:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment or not parts.path.startswith("/"):
        raise DeclarationError(f"store address {url!r} is not a folder on this machine; {_ALLOWED}")
    return FolderStore(Path(unquote(parts.path)))
