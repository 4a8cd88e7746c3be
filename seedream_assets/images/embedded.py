"""An image's mark: put into its bytes without touching a pixel, read from them, and taken out to the last byte.

Bytes in, bytes out. What a mark says is in `images.xmp`; how a format carries it in `images.jpeg`, `images.png` and
`images.webp`. Signing is not here: it needs a key and a library (`images/c2pa`).
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Protocol

from seedream_assets.errors import MarkError
from seedream_assets.images.jpeg import JpegFile
from seedream_assets.images.png import PngFile
from seedream_assets.images.webp import WebpFile
from seedream_assets.images.xmp import EmbeddedIds, Mark, build_packet, join_packet, part_packet, read_packet


class ImageFile(Protocol):
    """An image taken apart into what its container holds. Values; every change gives a new one."""

    @property
    def xmp(self) -> bytes | None:
        """The XMP packet; None where there is none."""
        ...

    @property
    def has_credentials(self) -> bool:
        """True where the file carries a C2PA manifest."""
        ...

    def with_xmp(self, packet: bytes) -> ImageFile:
        """The same file with this packet, in the place of the one it has."""
        ...

    def without_xmp(self) -> ImageFile:
        """The same file without its XMP packet."""
        ...

    def without_credentials(self) -> ImageFile:
        """The same file without its C2PA manifest."""
        ...

    def to_bytes(self) -> bytes:
        """The file, byte for byte as it was taken apart where nothing was changed."""
        ...

    def candidates(self) -> Iterator[bytes]:
        """What the file may have been before a mark was put into it, the likeliest first."""
        ...


def parse_image(body: bytes) -> ImageFile:
    """Take an image apart by what its first bytes say it is.

    Raises:
        MarkError: No JPEG, PNG or WebP, or one whose lengths do not add up.
    """
    if body.startswith(b"\xff\xd8"):
        return JpegFile.parse(body)
    if body.startswith(b"\x89PNG"):
        return PngFile.parse(body)
    if body.startswith(b"RIFF"):
        return WebpFile.parse(body)
    raise MarkError(f"only JPEG, PNG and WebP carry marks; it begins with {body[:8]!r}")


def mark_image(body: bytes, mark: Mark) -> bytes:
    """The same picture with the mark in it. An upstream XMP packet is joined, never doubled. Repeatable to the byte.

    Raises:
        MarkError: The image cannot carry it, or carries one already; keep it as it is.
    """
    image = parse_image(body)
    upstream = image.xmp
    return image.with_xmp(build_packet(mark) if upstream is None else join_packet(upstream, mark)).to_bytes()


def read_mark(body: bytes) -> EmbeddedIds | None:
    """The ids that an image carries, also after another program has written its metadata anew; None where it has none."""
    try:
        packet = parse_image(body).xmp
    except MarkError:
        return None
    return None if packet is None else read_packet(packet)


def has_credentials(body: bytes) -> bool:
    """True where an image carries a C2PA manifest, whoever signed it. It is not verified here."""
    try:
        return parse_image(body).has_credentials
    except MarkError:
        return False


def unmark_image(body: bytes) -> bytes:
    """The provider's own bytes, from a marked and perhaps signed image; proven by their hash, which is in the mark.

    Raises:
        MarkError: There is no mark, or the bytes cannot be had back: the file was written anew since it was marked, or
            was signed by the provider, or held its own XMP compressed. The mark then still tells their hash.
    """
    ids = read_mark(body)
    if ids is None:
        raise MarkError("the image carries no mark of seedream-assets")
    image = parse_image(body).without_credentials()
    packet = part_packet(image.xmp or b"")
    before = image.without_xmp() if packet is None else image.with_xmp(packet)
    for candidate in before.candidates():
        if sha256(candidate).hexdigest() == ids.source_sha256:
            return candidate
    raise MarkError(f"the provider's bytes cannot be had back; their SHA-256 was {ids.source_sha256}")
