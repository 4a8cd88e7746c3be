"""What the bytes of an image say: is it whole, which format, how large. Bytes in, facts out."""

from __future__ import annotations

import io
from dataclasses import dataclass
from hashlib import sha256

from seedream_assets.config.image_formats import ALIASES, CONTENT_TYPES, EXTENSIONS
from seedream_assets.errors import DownloadError, MarkError
from seedream_assets.images.jpeg import JpegFile
from seedream_assets.images.pixels import decode_image, opened_image, refuse_larger

PNG_END = b"IEND\xaeB`\x82"
JPEG_END = b"\xff\xd9"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """Measured on the bytes, never taken from what a server says.

    Attributes:
        format: `JPEG`, `PNG`, `WEBP`, or another of `image_formats`.
        sha256: Hex digest of all bytes.
    """

    format: str
    width_px: int
    height_px: int
    size_bytes: int
    sha256: str

    @property
    def extension(self) -> str:
        """Without a dot."""
        return EXTENSIONS[self.format]

    @property
    def content_type(self) -> str:
        """MIME type."""
        return CONTENT_TYPES[self.format]


def inspect_image(body: bytes, *, largest_pixels: int, end_may_lack: bool = False) -> ImageFacts:
    """Read an image wholly and measure it. Of a file with several pictures the first is decoded.

    Args:
        body: The bytes as they came.
        largest_pixels: Width times height above which nothing is decoded.
        end_may_lack: Take a picture that decodes to its last pixel although the file's end is missing: what to do with
            one that comes no better however often it is fetched.

    Raises:
        DownloadError: Empty, of a format that is not kept, cut, or larger than `largest_pixels`. Only the last is not
            worth fetching again.
    """
    with opened_image(body, largest_pixels=largest_pixels) as image:
        size = image.size
        # Pillow has read the headers now, up to where the picture itself begins.
        picture_at = image.fp.tell() if image.fp else 0
        image_format = ALIASES.get(str(image.format), str(image.format))
        # At an eighth of the size libjpeg still reads every byte of the picture, and leaves out what makes pixels of it:
        # half the time, the same files found broken.
        is_drafted = image.draft("L", (max(1, size[0] // 8), max(1, size[1] // 8))) is not None
        image.load()
        if not is_drafted:
            # What a header of its own says inside an icon, or a TIFF that is turned, is known only now.
            size = image.size
            refuse_larger(image, largest_pixels)
        # Decoders take some cut files for whole: of a hundred JPEGs one decodes without its last bytes.
        if not _has_whole_picture(body, image_format, picture_at) or not (end_may_lack or _has_end(body, image_format)):
            raise DownloadError("the image is broken: its end is missing", may_retry=True)
    return ImageFacts(
        format=image_format,
        width_px=size[0],
        height_px=size[1],
        size_bytes=len(body),
        sha256=sha256(body).hexdigest(),
    )


def _has_whole_picture(body: bytes, image_format: str, picture_at: int) -> bool:
    """Whether a picture that decodes is all there, by the mark behind it, where the decoder does not need one.

    In a JPEG's scan a byte FF is followed by 00, and in JPEG 2000 by no more than 8F, so that FFD9 is the mark. Looked for
    from the end, where it is in a whole file. What follows it is nobody's business.
    """
    if image_format == "JPEG":
        file = _taken_apart(body)
        return body.rfind(JPEG_END, file.picture_at if file else picture_at) >= 0
    if image_format == "JPEG2000":
        return body.rfind(JPEG_END, picture_at) >= 0
    if image_format == "PCX":
        # Version 5 has 256 colours behind a picture of one plane of bytes; without them Pillow takes it for grey.
        return body[1:2] + body[3:4] + body[65:66] != b"\x05\x08\x01" or body[-769:-768] == b"\x0c"
    return True


def _has_end(body: bytes, image_format: str) -> bool:
    """Whether a file whose picture is whole is whole too. Other formats have nothing behind their picture."""
    if image_format == "PNG":
        return body.rfind(PNG_END) >= 0
    if image_format == "WEBP":
        return 8 + int.from_bytes(body[4:8], "little") <= len(body)
    if image_format == "GIF":
        return body.rstrip(b"\x00").endswith(b";")
    file = _taken_apart(body) if image_format == "JPEG" else None
    if file is None or file.index is None:
        return True
    # Each of several pictures has an end of its own.
    others = file.index.pictures[1:]
    first_end = min((one.start for one in others), default=len(body))
    return body.rfind(JPEG_END, file.picture_at, first_end) >= 0 and all(
        body.rfind(JPEG_END, one.start, one.end) >= 0 for one in others
    )


def _taken_apart(body: bytes) -> JpegFile | None:
    try:
        return JpegFile.parse(body)
    except MarkError:
        return None


def make_thumbnail(body: bytes, *, longest_side_px: int, largest_bytes: int) -> bytes:
    """A small JPEG of an image, for a contact sheet. A JPEG is decoded at reduced size, which costs little.

    Args:
        body: A whole image.
        longest_side_px: Of the thumbnail.
        largest_bytes: Quality is lowered until it fits; the lowest quality is kept even where it does not.

    Raises:
        DownloadError: It cannot be decoded.
    """
    small = decode_image(body, longest_side_px=longest_side_px)
    small.thumbnail((longest_side_px, longest_side_px))
    thumbnail = b""
    for quality in (70, 55, 40, 25):
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=quality, optimize=True)
        thumbnail = buffer.getvalue()
        if len(thumbnail) <= largest_bytes:
            break
    return thumbnail


def image_key(image_id: str, extension: str) -> str:
    """Where an image's bytes are in the store."""
    return f"images/{image_id[:2]}/{image_id}.{extension}"
