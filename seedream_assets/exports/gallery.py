"""The gallery: a folder with a page for people, thumbnails, and links to the images.

    gallery/index.html                                     rows, search, filters, lineage: one file that loads no other
    gallery/thumbnails/webp-256-60/<aa>/<image_id>.webp    one for each stored image, made once
    gallery/images/<aa>/<image_id>.<ext>                   where `images` is chosen; else the page links to the store's

The page's Content-Security-Policy allows its own script and style by their hashes, and pictures from where the page
itself is. Prompts are untrusted text: they stand in a data block in which no "<" is left, and the script puts them into
the document as text only. Why single thumbnails and not sheets of them or packs in scripts: `docs/gallery.md`.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

import jinja2

from seedream_assets.budget.costs import QUOTED
from seedream_assets.config.exports import ExportChoice
from seedream_assets.errors import DownloadError, ExportError, ObjectNotFound
from seedream_assets.exports.formats import ExportedFile, ExportReport, ExportSource, ExportTarget
from seedream_assets.exports.gallery_rows import PackedRows, Row, pack_rows, plain_value
from seedream_assets.images.inspect import decode_image
from seedream_assets.storage.async_store import read_ahead

PAGE = "index.html"
# Reading and writing wait for the network, decoding keeps a core busy outside of Python's lock. Each holds one image.
WORKERS = 16
BROKEN = (ObjectNotFound, DownloadError)


class GalleryExport:
    """The export `gallery`: every row of the manifests, whatever became of it, rejected images too."""

    name = "gallery"

    def write(self, source: ExportSource, target: ExportTarget, choice: ExportChoice) -> ExportReport:
        """Write thumbnails that are missing, then the page over an older one, then remove what nobody wants any more.

        Killed at any moment it leaves the older page and some thumbnails; the next call goes on from there. Equal rows
        and images give equal bytes, by the same version of libwebp. Of an image that is gone or broken there is no
        thumbnail; the page says so. Full images are copied where `choice.images` says so, without a byte passing through
        here where the stores allow it; no full image is ever removed. In the report, `files` is the page alone, and
        thumbnails and images are only counted.

        Raises:
            ExportError: There is no manifest, or at the target lies a page that is no gallery.
            StoreError: The source or the target failed; calling again goes on from there.
        """
        _refuse_other_page(target)
        rows = [*_rows(source)]
        keys = {str(row["image_id"]): str(row["object_key"]) for row in rows if row["status"] == "stored"}
        there = {PurePosixPath(info.key).stem: info for info in target.store.list(target.key(f"{FOLDER}/"))}
        sizes = {image_id: info.size_bytes for image_id, info in there.items() if image_id in keys and info.size_bytes}
        kept = len(sizes)
        missing = [(image_id, key) for image_id, key in keys.items() if image_id not in sizes]
        sizes |= dict(_write_thumbnails(source, target, missing))
        images = _copy_images(source, target, keys.values()) if choice.images else _Copied()
        page = render_page(
            pack_rows(rows, thumbnails=sizes),
            title=source.card.title or source.dataset,
            store=source.store.url,
            images="" if choice.images else link_to_store(source.store.url, target.store.url, target.prefix),
            thumbnails=FOLDER,
            facts=describe_facts(rows),
        )
        target.store.replace(target.key(PAGE), page, content_type=HTML)
        stale = [info.key for image_id, info in there.items() if image_id not in keys]
        for key in stale:
            target.store.delete(key)
        return ExportReport(
            name=self.name,
            uri=target.uri,
            files=(ExportedFile(path=PAGE, size_bytes=len(page), sha256=sha256(page).hexdigest(), rows=len(rows)),),
            rows=len(keys),
            rows_by_split={},
            size_bytes=len(page) + sum(sizes.values()) + images.size_bytes,
            written=len(sizes) - kept + 1 + images.written,
            kept=kept + images.kept,
            removed=len(stale),
            left_out=_left_out(rows, sizes),
        )


def _rows(source: ExportSource) -> Iterator[Row]:
    for manifest in source.manifests():
        names = [str(name) for name in manifest.columns]
        for cells in manifest.itertuples(index=False, name=None):
            yield dict(zip(names, cells, strict=True))


def _refuse_other_page(target: ExportTarget) -> None:
    try:
        page = target.store.read(target.key(PAGE))
    except ObjectNotFound:
        return
    if MARK not in page:
        raise ExportError(
            f"{target.store.uri(target.key(PAGE))} is a page that is no gallery; choose another folder, or remove it"
        )


def _left_out(rows: Sequence[Row], thumbnails: Collection[str]) -> dict[str, int]:
    """Rows without a picture on the page, by their status; `unreadable` are images that are gone or broken."""
    why = [
        "unreadable" if row["status"] == "stored" else str(row["status"])
        for row in rows
        if row["image_id"] not in thumbnails
    ]
    return dict(Counter(why))


def _write_thumbnails(
    source: ExportSource, target: ExportTarget, wanted: Iterable[tuple[str, str]]
) -> Iterator[tuple[str, int]]:
    """Id of each image and size of its thumbnail, of ids with object keys; not of images that are gone or broken."""

    def write(image: tuple[str, str]) -> int | None:
        image_id, key = image
        try:
            thumbnail = make_webp_thumbnail(source.store.read(key))
        except BROKEN:
            return None
        target.store.create(target.key(thumbnail_key(image_id)), thumbnail, content_type=WEBP)
        return len(thumbnail)

    for (image_id, _), size in read_ahead(wanted, write, threads=WORKERS, most=2 * WORKERS):
        if size is not None:
            yield image_id, size


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copied:
    """Full images in the gallery: copied now, found from an earlier export, and the size of all."""

    written: int = 0
    kept: int = 0
    size_bytes: int = 0


def _copy_images(source: ExportSource, target: ExportTarget, keys: Iterable[str]) -> _Copied:
    """Copy what is not there yet; what is gone from the store stays away, and the page says so."""
    if target.uri == source.store.url:
        return _Copied()  # the gallery lies at the top of the store: its images are the store's own
    stored = {info.key: info.size_bytes for info in source.store.list("images/")}
    below = len(target.key(""))
    there = {info.key[below:]: info.size_bytes for info in target.store.list(target.key("images/"))}
    wanted = [key for key in dict.fromkeys(keys) if key in stored]
    missing = [key for key in wanted if there.get(key) != stored[key]]

    def copy(key: str) -> None:
        target.store.copy_from(source.store, key, target.key(key))

    for _ in read_ahead(missing, copy, threads=WORKERS, most=2 * WORKERS):
        pass
    return _Copied(written=len(missing), kept=len(wanted) - len(missing), size_bytes=sum(stored[key] for key in wanted))


def link_to_store(source: str, target: str, prefix: str) -> str | None:
    """How a page reaches the store `source` by a relative link, ending with "/".

    None where there is no such link: from another bucket, or from a folder to a bucket.

    Args:
        source, target: Addresses of stores, `s3://bucket/prefix` or `file:///…`.
        prefix: The page's folder in the store `target`, with "/" at its end; "" for the store itself.
    """
    there, here = urlsplit(source), urlsplit(target)
    if (there.scheme, there.netloc) != (here.scheme, here.netloc):
        return None
    start = PurePosixPath("/", here.path.strip("/"), quote(prefix))
    way = os.path.relpath(PurePosixPath("/", there.path.strip("/")), start)
    return "" if way == "." else f"{way}/"


def describe_facts(rows: Sequence[Row]) -> str:
    """One line for the page's foot: images by status, and what they cost, each image once."""
    counts = Counter(str(row["status"]) for row in rows)
    costs: dict[str, float] = {}
    for row in {str(row["image_id"]): row for row in reversed(rows)}.values():
        unit, amount = plain_value(row.get("cost_unit")), plain_value(row.get("cost_amount"))
        if not unit and row["status"] == "stored" and not row.get("reused"):
            unit, amount = QUOTED, plain_value(row.get("credits_quoted"))  # no answer stated a cost
        if unit and amount:
            costs[unit.lower()] = costs.get(unit.lower(), 0.0) + amount
    parts = [f"{count:,} {status.replace('_', ' ')}" for status, count in counts.items()]
    return " · ".join([*parts, *(f"{cost:,.10g} {unit}" for unit, cost in sorted(costs.items()))])


LONGEST_SIDE_PX = 256
QUALITY = 60
WEBP = "image/webp"
# Thumbnails that were made in another way are in another folder, so that none is taken for one of these.
FOLDER = f"thumbnails/webp-{LONGEST_SIDE_PX}-{QUALITY}"


def thumbnail_key(image_id: str) -> str:
    """Where an image's thumbnail is, below the gallery's folder."""
    return f"{FOLDER}/{image_id[:2]}/{image_id}.webp"


def make_webp_thumbnail(body: bytes) -> bytes:
    """A WebP of at most `LONGEST_SIDE_PX` pixels a side, without metadata; equal bytes for equal bytes and libraries.

    A JPEG is decoded at reduced size, which takes a fifth of the time.

    Raises:
        DownloadError: It cannot be decoded.
    """
    small = decode_image(body, longest_side_px=LONGEST_SIDE_PX, keep_alpha=True)
    small.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX))
    buffer = io.BytesIO()
    # Method 4 is Pillow's own default; 6 takes twice as long for 2 % fewer bytes.
    small.save(buffer, "WEBP", quality=QUALITY, method=4, exif=b"", xmp=b"", icc_profile=None)
    return buffer.getvalue()


HTML = "text/html; charset=utf-8"
# What a page of ours is known by.
MARK = b'<meta name="generator" content="seedream_assets gallery">'
SCRIPTS = ("rows.js", "grid.js", "details.js", "gallery.js")
# In a block of JSON these are the same as characters, and mean nothing to HTML.
_ESCAPES = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})


def render_page(
    packed: PackedRows, *, title: str, store: str, images: str | None, thumbnails: str, facts: str = ""
) -> bytes:
    """The page, in UTF-8; equal arguments give equal bytes.

    Args:
        packed: The rows.
        title: The dataset's name.
        store: Address of the store that the images are in, shown where one cannot be opened.
        images: What an image's `object_key` is appended to for a link to it, relative to the page: "", "../" and so on;
            None where no link leads there.
        thumbnails: Folder of the thumbnails, relative to the page, without a "/" at its end.
        facts: One line for the page's foot.
    """
    about = {"rows": packed.rows, "store": store, "images": images, "thumbnails": thumbnails, "facts": facts}
    style, script = _part("page.css"), '"use strict";\n' + "\n".join(map(_part, SCRIPTS))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    page = environment.from_string(_part("page.html")).render(
        title=title,
        policy=_policy(script=script, style=style),
        style=style,
        script=script,
        rows=as_data_block({"about": about} | packed.drawn),
        lineage=as_data_block(packed.lineage),
    )
    return page.encode()


def as_data_block(value: Any) -> str:
    """JSON that can stand in a <script> element: nothing in it can end the element or begin a comment.

    Raises:
        ValueError: A number is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Half of a pair of surrogates is no character, and UTF-8 has no bytes for it.
    return text.translate(_ESCAPES).encode("utf-8", "replace").decode()


def _policy(*, script: str, style: str) -> str:
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash_source(script)}'",
            f"style-src '{_hash_source(style)}'",
            # A page that was opened from a folder has no origin of its own; browsers differ in what 'self' is there.
            "img-src 'self' file: data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hash_source(text: str) -> str:
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"


@cache
def _part(name: str) -> str:
    return (files("seedream_assets.exports") / "gallery_files" / name).read_text(encoding="utf-8")
