"""The images of an export as bytes, each held against the manifest's hash."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from seedream_assets.core.errors import ExportError
from seedream_assets.exports.folder import THREADS
from seedream_assets.exports.rows import ExportRow, StoredImage
from seedream_assets.storage.object_store import ObjectStore


def read_images(store: ObjectStore, rows: Iterable[ExportRow]) -> Iterator[tuple[ExportRow, bytes]]:
    """The rows with their images' bytes, in order, a few read ahead.

    Raises:
        ExportError: An image does not have the hash of the manifest.
    """

    def read(image: StoredImage) -> bytes:
        body = store.read(image.object_key)
        if hashlib.sha256(body).hexdigest() != image.sha256:
            raise ExportError(
                f"{store.uri(image.object_key)} does not have the hash of the manifest, {image.sha256}; "
                "`seedream verify --deep` lists every such image. Nothing was exported from it"
            )
        return body

    with ThreadPoolExecutor(THREADS) as threads:
        ahead: deque[tuple[ExportRow, Future[bytes]]] = deque()
        for row in rows:
            ahead.append((row, threads.submit(read, row.image)))
            if len(ahead) >= THREADS:
                first, body = ahead.popleft()
                yield first, body.result()
        while ahead:
            first, body = ahead.popleft()
            yield first, body.result()
