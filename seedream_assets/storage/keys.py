"""What a key may look like, the same for every store.

Here belongs the rule for keys and prefixes. Where a key leads on disk or in a bucket is each store's affair.
"""

from __future__ import annotations

import re

from seedream_assets.errors import ConfigError

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
    if fault := _fault_of(key):
        raise ConfigError(f"object key {key!r} {fault}; {_RULE}")
    if key.split("/", 1)[0] in (TEMPORARY_FOLDER, DESCRIPTION_FOLDER):
        raise ConfigError(f"object key {key!r} is in a folder that the store keeps for itself; choose another")
    return key


def check_prefix(prefix: str) -> str:
    """Return `prefix` unchanged if it can be the beginning of a key; the empty one is the beginning of all.

    Raises:
        ConfigError: No key could ever begin like this.
    """
    if prefix and (fault := _fault_of(prefix.removesuffix("/"))):
        raise ConfigError(f"prefix {prefix!r} {fault}; {_RULE}")
    return prefix


def as_folder(prefix: str) -> str:
    """The prefix with the "/" that makes it a folder; the whole store for an empty one."""
    check_prefix(prefix)
    return prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


def _fault_of(key: str) -> str | None:
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
