"""Finding an image in a store: by the id in its bytes, by their hash, by any of its ids, or by its prompt row. Reads only.

Ids lead to the ledger directly. A hash is looked for in the manifests, all of which are read: an image that no manifest
holds any more is found by its ids alone.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import sha256

import pandas as pd

from seedream_assets.errors import ObjectUnreadable, SeedreamError
from seedream_assets.images.xmp import read_metadata
from seedream_assets.ledger.events import REQUESTS_FOLDER, EventKey, id_in_key, request_folder
from seedream_assets.ledger.state import fold, owners_of
from seedream_assets.ledger.store import read_events
from seedream_assets.manifest.build import read_manifest
from seedream_assets.manifest.trace import ManifestFile, Trace, TracedImage, TracedRow, compare, rows_in, trace_request
from seedream_assets.storage.object_store import ObjectInfo, ObjectStore

_IMAGE_ID, _SHA256 = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{64}")
READERS = 8
_LOG = logging.getLogger(__name__)


class NotTraced(SeedreamError):
    """The store knows nothing of what was asked about."""


class AmbiguousRow(SeedreamError):
    """Several datasets have a row of this id; one has to be named."""


@dataclass(slots=True)
class _Hits:
    """Rows of manifests, by image; and the request of each image."""

    rows: dict[str, list[TracedRow]] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)


def trace_bytes(store: ObjectStore, body: bytes, *, asked: str) -> Trace:
    """The image that these bytes are, wherever they lie and whatever the file is called.

    Raises:
        NotTraced: They carry no id that the store knows, and their hash is not that of an image in a manifest.
    """
    ids, digest = read_metadata(body), sha256(body).hexdigest()
    if ids is not None and _IMAGE_ID.fullmatch(ids.image_id):
        image_id = ids.image_id
        image = _image(store, image_id, ids.request_id)
        if image is not None:
            hits = _look(store, lambda manifest: manifest["image_id"] == image_id)
            return _told(store, asked, "embedded id", [image], hits, digest)
    found = _trace_hash(store, digest, asked)
    if found is not None:
        return found
    carried = (
        f"it carries the image id {ids.image_id}, which is of another store"
        if ids is not None
        else "it carries no image id; it was not bought with seedream-assets, or its metadata were taken out"
    )
    raise NotTraced(f"{asked} is not known in {store.url}: {carried}, and no manifest has its SHA-256, {digest}")


def trace_id(store: ObjectStore, asked: str) -> Trace:
    """The images of an image id, a request id, a generation id, or a SHA-256 of an image's bytes.

    Raises:
        NotTraced: It is none of these in this store.
    """
    if _IMAGE_ID.fullmatch(asked) and (image := _image(store, asked, None)) is not None:
        hits = _look(store, lambda manifest: manifest["image_id"] == asked)
        return _told(store, asked, "image id", [image], hits)
    if _SHA256.fullmatch(asked):
        if images := _images_of(store, asked):
            return _told(store, asked, "request id", images, _look_for_request(store, asked))
        if found := _trace_hash(store, asked, asked):
            return found
    if request_id := _request_of_generation(store, asked):
        return _told(store, asked, "generation id", _images_of(store, request_id), _look_for_request(store, request_id))
    raise NotTraced(
        f"{asked} is no file here, and no image id, request id, generation id or SHA-256 that {store.url} knows"
    )


def trace_row(store: ObjectStore, prompt_id: str, *, dataset: str | None = None, partition: str | None = None) -> Trace:
    """Forward: the images of a prompt row.

    Raises:
        NotTraced: No manifest has a row of this id.
        AmbiguousRow: Several datasets have one, and none is named.
    """
    hits = _look(store, lambda manifest: manifest["prompt_id"] == prompt_id, dataset=dataset, partition=partition)
    datasets = sorted({row.dataset for rows in hits.rows.values() for row in rows})
    if not datasets:
        where = f"dataset {dataset}" if dataset else "any dataset"
        raise NotTraced(f"no row of {where} in {store.url} has the prompt_id {prompt_id!r}")
    if len(datasets) > 1:
        raise AmbiguousRow(f"{', '.join(datasets)} all have a row {prompt_id!r}; add --dataset")
    by_request = {request_id: _images_of(store, request_id) for request_id in dict.fromkeys(hits.requests.values())}
    images = [image for found in by_request.values() for image in found if image.image_id in hits.rows]
    if not images:
        told = {row.status for rows in hits.rows.values() for row in rows}
        raise NotTraced(
            f"row {prompt_id!r} of {datasets[0]} has no image: nothing was bought ({', '.join(sorted(told))})"
        )
    return _told(store, prompt_id, "prompt id", images, hits)


def _trace_hash(store: ObjectStore, digest: str, asked: str) -> Trace | None:
    hits = _look(store, lambda manifest: (manifest["sha256"] == digest) | (manifest["source_sha256"] == digest))
    images = [image for image_id, request_id in hits.requests.items() if (image := _image(store, image_id, request_id))]
    if not images:
        return None
    by = "sha256" if any(image.sha256 == digest for image in images) else "source sha256"
    return _told(store, asked, by, images, hits, digest)


def _told(
    store: ObjectStore, asked: str, found_by: str, images: list[TracedImage], hits: _Hits, digest: str | None = None
) -> Trace:
    return Trace(
        asked=asked,
        found_by=found_by,
        comparison=compare(images[0], digest) if digest else None,
        store=store.url,
        images=tuple(replace(image, rows=tuple(hits.rows.get(image.image_id, ()))) for image in images),
    )


def _image(store: ObjectStore, image_id: str, request_id: str | None) -> TracedImage | None:
    """One image of the ledger; its request is looked up where it is not told."""
    request_id = request_id or _request_of_image(store, image_id)
    if request_id is None or not _SHA256.fullmatch(request_id):
        return None
    return next((image for image in _images_of(store, request_id) if image.image_id == image_id), None)


def _images_of(store: ObjectStore, request_id: str) -> list[TracedImage]:
    keys = [(info.key, EventKey.parse(info.key)) for info in store.list(request_folder(request_id))]
    if (entry := fold(key for _, key in keys if key)).unknown:
        raise NotTraced(f"request {request_id}: {entry.why_untouched}")
    return list(trace_request(read_events(store, [name for name, key in keys if key])))


def _request_of_image(store: ObjectStore, image_id: str) -> str | None:
    """As the stored object's own metadata tell it; else from the manifests."""
    for info in store.list(f"images/{image_id[:2]}/{image_id}."):
        head = store.head(info.key)
        if head is not None and (told := head.metadata.get("request-id")):
            return told
    return _look(store, lambda manifest: manifest["image_id"] == image_id).requests.get(image_id)


def _request_of_generation(store: ObjectStore, generation_id: str) -> str | None:
    """One listing of the whole ledger: a generation's id is part of a key."""
    keys = (EventKey.parse(info.key) for info in store.list(REQUESTS_FOLDER + "/"))
    return owners_of([key for key in keys if key]).get(id_in_key(generation_id))


def _look_for_request(store: ObjectStore, request_id: str) -> _Hits:
    return _look(store, lambda manifest: manifest["request_id"] == request_id)


def _look(
    store: ObjectStore,
    wanted: Callable[[pd.DataFrame], pd.Series[bool]],
    *,
    dataset: str | None = None,
    partition: str | None = None,
) -> _Hits:
    """The rows of all manifests that are wanted."""
    hits = _Hits()

    def read(info: ObjectInfo) -> tuple[pd.DataFrame, ManifestFile] | None:
        body = store.read(info.key)
        try:
            manifest = read_manifest(body, key=info.key)
        except ObjectUnreadable as error:
            _LOG.warning("left out: %s", error)
            return None
        file = ManifestFile(key=info.key, sha256=sha256(body).hexdigest(), written_at=info.last_modified)
        return manifest[wanted(manifest).fillna(value=False).astype(bool)], file

    with ThreadPoolExecutor(max_workers=READERS) as threads:
        for found, file in filter(None, threads.map(read, _manifests(store, dataset))):
            chosen = found if partition is None else found[found["partition"] == partition]
            hits.requests |= dict(zip(chosen["image_id"], chosen["request_id"], strict=True))
            for image_id, rows in rows_in(chosen, file).items():
                hits.rows.setdefault(image_id, []).extend(rows)
    return hits


def _manifests(store: ObjectStore, dataset: str | None) -> Iterator[ObjectInfo]:
    for name in [dataset] if dataset else store.list_folders("datasets/"):
        for info in store.list(f"datasets/{name}/manifest/"):
            if info.key.endswith(".parquet"):
                yield info
