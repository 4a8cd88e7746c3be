"""One file that a dataset is made from, wherever it lies.

Here belongs what is known of it before it is read. Finding and fetching are in `prompts.sources` and its two neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from seedream_assets.errors import PromptTableError


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file that can be fetched.

    Attributes:
        uri: For people and for provenance; without user, query or fragment, which may hold secrets.
        name: The file's own name.
        size_bytes: As found; None where only fetching tells.
        etag: S3's, as found; changes when the file does.
        find_version: What changes when the file does, asked for now: S3's ETag, a web server's ETag or Last-Modified,
            a local file's size and time. Raises PromptTableError where it cannot be told.
        read_up_to: Reads the whole file, or raises PromptTableError if it is longer than so many bytes.
        modified_at: Aware; of a local file, which may be seen half written. None for the others.
    """

    uri: str
    name: str
    size_bytes: int | None
    etag: str | None
    find_version: Callable[[], str] = field(repr=False, compare=False)
    read_up_to: Callable[[int], bytes] = field(repr=False, compare=False)
    modified_at: datetime | None = None


def too_large(uri: str, max_bytes: int) -> PromptTableError:
    """The error for a file that is longer than allowed."""
    return PromptTableError(
        f"{uri} is larger than the {max_bytes} bytes allowed for it; split it and name the parts as a list or a glob"
    )
