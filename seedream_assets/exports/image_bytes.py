"""The images of an export as bytes, each held against the manifest's hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from seedream_assets.errors import ExportError
from seedream_assets.exports.folder import THREADS
from seedream_assets.exports.rows import ExportRow
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.read_ahead import read_ahead


def read_images(store: ObjectStore, rows: Iterable[ExportRow]) -> Iterator[tuple[ExportRow, bytes]]:
    """The rows with their images' bytes, in order, a few read ahead.

    Raises:
        ExportError: An image does not have the hash of the manifest.
    """

    def read(row: ExportRow) -> bytes:
        image = row.image
        body = store.read(image.object_key)
        if hashlib.sha256(body).hexdigest() != image.sha256:
            raise ExportError(
                f"{store.uri(image.object_key)} does not have the hash of the manifest, {image.sha256}; "
                "`seedream verify --deep` lists every such image. Nothing was exported from it"
            )
        return body

    return read_ahead(rows, read, threads=THREADS, most=THREADS)
