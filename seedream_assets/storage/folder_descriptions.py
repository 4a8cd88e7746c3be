"""Content type, metadata and digest of a folder store's objects: what a file system has no place for.

Here belongs the small JSON file beside an object that differs from what its key already tells. An object never
waits for it and is never read through it: it is lost without harm, and believed only for the bytes it was written for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from seedream_assets.storage.object_metadata import SHA256_ENTRY

# Not the mimetypes module: what it answers differs with the machine's files and with the version of Python.
_CONTENT_TYPES = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".tar": "application/x-tar",
    ".txt": "text/plain",
    ".webp": "image/webp",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is known of one object besides its bytes."""

    content_type: str
    metadata: Mapping[str, str]


def guess_content_type(key: str) -> str:
    """The MIME type that a key's suffix stands for, the same on every machine."""
    return _CONTENT_TYPES.get(PurePosixPath(key).suffix.lower(), "application/octet-stream")


def is_implied(description: Description, key: str) -> bool:
    """Whether the key and the bytes alone tell all of it, so that no file is needed."""
    return set(description.metadata) <= {SHA256_ENTRY} and description.content_type == guess_content_type(key)


def write_description(description: Description, *, path: Path, temporary: Path) -> None:
    """Put the description at `path`, whole or not at all; not flushed to the disk.

    Raises:
        OSError: It could not be written; no temporary file is left.
    """
    text = json.dumps({"content_type": description.content_type, "metadata": dict(description.metadata)})
    try:
        temporary.write_text(text, encoding="ascii")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_description(path: Path, *, key: str, body: bytes) -> Description:
    """The description of these bytes: the written one if it is theirs, else what the key and the bytes tell.

    Raises:
        OSError: The file is there and cannot be read.
    """
    sha256 = hashlib.sha256(body).hexdigest()
    implied = Description(content_type=guess_content_type(key), metadata={SHA256_ENTRY: sha256})
    try:
        written = json.loads(path.read_text(encoding="ascii"))
        description = Description(content_type=str(written["content_type"]), metadata=dict(written["metadata"]))
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return implied
    return description if description.metadata.get(SHA256_ENTRY) == sha256 else implied
