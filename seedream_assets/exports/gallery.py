"""The gallery: a folder with a page for people, thumbnails, and links to the images.

    gallery/index.html                                     rows, search, filters, lineage: one file, asks nothing of anybody
    gallery/thumbnails/webp-256-60/<aa>/<image_id>.webp    one for each stored image, made once
    gallery/images/<aa>/<image_id>.<ext>                   only where the images are to be copied

Why single thumbnails and not sheets of them or packs in scripts: `docs/gallery.md`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

from PIL import Image

from seedream_assets.core.errors import ObjectNotFound
from seedream_assets.exports.gallery_page import HTML, render_page
from seedream_assets.exports.gallery_rows import pack_rows
from seedream_assets.exports.gallery_thumbnails import FOLDER, WEBP, make_webp_thumbnail, thumbnail_key
from seedream_assets.storage.object_store import ObjectStore

PAGE = "index.html"
# Reading waits for the network, decoding keeps a core busy outside of Python's lock.
WORKERS = 8
# Thumbnails that may wait for their turn to be written, of some 8 kB each; of images there are never more than `WORKERS`.
BATCH = 512
BROKEN = (ObjectNotFound, OSError, SyntaxError, ValueError, Image.DecompressionBombError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """What was written.

    Attributes:
        page: Key of the page.
        rows: Rows of the manifest that it shows.
        thumbnails: How many there are, and `made` of them now.
        unreadable: Ids of stored images of which no thumbnail could be made: gone or broken. The page says so.
    """

    page: str
    rows: int
    thumbnails: int
    made: int
    unreadable: tuple[str, ...]


def write_gallery(
    rows: Iterable[Mapping[str, Any]],
    *,
    dataset: str,
    source: ObjectStore,
    target: ObjectStore,
    folder: str,
    images_beside: bool = False,
) -> Gallery:
    """Write thumbnails that are missing, then the page, over an older one.

    Killed at any moment it leaves the older page and some thumbnails; the next call goes on from there. Thumbnails of
    images that are no longer wanted stay. Equal rows and images give equal bytes, by the same version of libwebp.

    Args:
        rows: Of the manifest, in the order they are to be shown.
        dataset: The page's title.
        source: The store with the images.
        target: Where the gallery goes; may be the same store.
        folder: Of the gallery in `target`; "" for the store itself.
        images_beside: The full images are in the gallery's folder too, under their own keys.
    """
    table = list(rows)
    keys = {str(row["image_id"]): str(row["object_key"]) for row in table if row.get("status") == "stored"}
    below = f"{folder}/" if folder else ""
    prefix = f"{below}{FOLDER}/"
    there = {PurePosixPath(info.key).stem for info in target.list(prefix) if info.size_bytes}
    made, unreadable = 0, []
    for image_id, thumbnail in _thumbnails(source, {k: v for k, v in keys.items() if k not in there}):
        if thumbnail is None:
            unreadable.append(image_id)
            continue
        target.create(f"{below}{thumbnail_key(image_id)}", thumbnail, content_type=WEBP)
        made += 1
    thumbnails = keys.keys() - set(unreadable)
    page = render_page(
        pack_rows(table, thumbnails=thumbnails),
        title=dataset,
        store=source.url,
        images="" if images_beside else link_to_store(source.url, target.url, folder),
        thumbnails=FOLDER,
        facts=tell_facts(table),
    )
    target.replace(f"{below}{PAGE}", page, content_type=HTML)
    return Gallery(
        page=f"{below}{PAGE}", rows=len(table), thumbnails=len(thumbnails), made=made, unreadable=tuple(unreadable)
    )


def _thumbnails(source: ObjectStore, keys: Mapping[str, str]) -> Iterator[tuple[str, bytes | None]]:
    """Each image's id and thumbnail, in order, None where the image is gone or broken; a few are in work at a time."""
    waiting = iter(keys.items())
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="thumbnails") as pool:
        while batch := list(islice(waiting, BATCH)):
            yield from zip(
                (image_id for image_id, _ in batch),
                pool.map(lambda key: _thumbnail(source, key), [key for _, key in batch]),
                strict=True,
            )


def _thumbnail(source: ObjectStore, key: str) -> bytes | None:
    try:
        return make_webp_thumbnail(source.read(key))
    except BROKEN:
        return None


def link_to_store(source: str, target: str, folder: str) -> str | None:
    """How a page in `folder` of the store `target` reaches the store `source` by a relative link, ending with "/".

    None where there is no such link: another bucket, or a bucket from a folder.

    Args:
        source, target: Addresses of stores, `s3://bucket/prefix` or `file:///…`.
        folder: "" for the store itself.
    """
    there, here = urlsplit(source), urlsplit(target)
    if (there.scheme, there.netloc) != (here.scheme, here.netloc):
        return None
    start = PurePosixPath("/", here.path.strip("/"), *([quote(folder)] if folder else []))
    way = os.path.relpath(PurePosixPath("/", there.path.strip("/")), start)
    return "" if way == "." else f"{way}/"


def tell_facts(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line for the page's foot: images by status, what they cost, and when the last was completed."""
    counts: dict[str, int] = {}
    costs: dict[str, float] = {}
    for row in rows:
        counts[str(row["status"])] = counts.get(str(row["status"]), 0) + 1
    for row in {str(row["image_id"]): row for row in reversed(rows)}.values():
        if row.get("cost_amount") and row.get("cost_unit"):
            unit = str(row["cost_unit"]).lower()
            costs[unit] = costs.get(unit, 0.0) + float(row["cost_amount"])
    parts = [f"{count:,} {status.replace('_', ' ')}" for status, count in counts.items()]
    parts += [f"{cost:,.10g} {unit}" for unit, cost in sorted(costs.items()) if cost == cost]
    return " · ".join(parts)
