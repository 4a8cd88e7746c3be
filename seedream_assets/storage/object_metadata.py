"""What may ride along with an object as metadata, the same for every store.

Here belongs the rule and the one entry that stores add themselves. S3 enforces part of this rule, most servers that
speak its language enforce none of it, and a refused write after a paid image is the wrong moment to find out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from seedream_assets.errors import ConfigError

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
