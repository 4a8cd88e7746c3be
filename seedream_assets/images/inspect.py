"""What the bytes of an image say: whether it is whole, its format and size, and its pixels in 8 bits.

All that calls Pillow's readers is here. Whatever they raise comes out as `DownloadError`.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from PIL import Image, ImageCms, ImageFile, TiffImagePlugin, UnidentifiedImageError

from seedream_assets.config.account import LARGEST_DECODED_PIXELS
from seedream_assets.config.images import ALIASES, CONTENT_TYPES, EXTENSIONS
from seedream_assets.errors import DownloadError, EmbedError
from seedream_assets.images.jpeg import JpegFile
from seedream_assets.images.png import PNG_SIGNATURE, PngFile
from seedream_assets.images.webp import WebpFile

PNG_END = b"IEND\xaeB`\x82"
JPEG_END = b"\xff\xd9"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """Measured on the bytes, never taken from what a server says.

    Attributes:
        format: `JPEG`, `PNG`, `WEBP`, or another of `config/images`.
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
    """Whether a picture that decodes is all there, by the end marker behind it, where the decoder does not need one.

    In a JPEG's scan a byte FF is followed by 00, and in JPEG 2000 by no more than 8F, so that FFD9 is the end. Looked for
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
    except EmbedError:
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


# TIFF's tags.
_BITS_PER_SAMPLE = 258
_TILE_SIDES = (322, 323)


@contextmanager
def opened_image(body: bytes, *, largest_pixels: int = LARGEST_DECODED_PIXELS) -> Iterator[ImageFile.ImageFile]:
    """An image whose header was read; its first picture where it holds several. What fails inside is raised the same way.

    Args:
        body: The bytes as they came.
        largest_pixels: Width times height above which nothing is decoded.

    Raises:
        DownloadError: Empty, no image, broken, or larger than `largest_pixels`. Only the last is not worth fetching again.
    """
    if not body:
        raise DownloadError("the image is empty", may_retry=True)
    try:
        with warnings.catch_warnings():
            # Pillow warns of what it makes the best of, and from 90 million pixels on; the cap here is the caller's own.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with _open(body) as image:
                refuse_larger(image, largest_pixels)
                _refuse_larger_tiles(image, largest_pixels)
                yield image
    except DownloadError:
        raise
    except Image.DecompressionBombError as error:
        raise DownloadError(f"the image is larger than any that is accepted: {error}", may_retry=False) from error
    except UnidentifiedImageError as error:
        raise DownloadError(f"what came is no image: it begins with {body[:16]!r}", may_retry=True) from error
    except Exception as error:  # Pillow's readers raise whatever their parsing runs into
        raise DownloadError(f"the image is broken: {str(error) or type(error).__name__}", may_retry=True) from error


def refuse_larger(image: Image.Image, largest_pixels: int) -> None:
    """Say that an image is too large.

    Raises:
        DownloadError: It is; another download would be as large.
    """
    if image.width * image.height > largest_pixels:
        raise DownloadError(
            f"the image has {image.width}x{image.height} pixels; the most that is accepted is {largest_pixels}",
            may_retry=False,
        )


def _refuse_larger_tiles(image: Image.Image, largest_pixels: int) -> None:
    """A TIFF names the size of its tiles beside its own, and whole tiles are unpacked."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        width, height = (int(image.tag_v2.get(tag, 0)) for tag in _TILE_SIDES)
        if width * height > largest_pixels:
            raise DownloadError(
                f"the image has tiles of {width}x{height} pixels; the most that is accepted is {largest_pixels}",
                may_retry=False,
            )


def decode_image(body: bytes, *, longest_side_px: int = 0, keep_alpha: bool = False) -> Image.Image:
    """The picture in 8 bits: RGB, or RGBA where it has something transparent and `keep_alpha` asks for that.

    Args:
        body: A whole image.
        longest_side_px: As many pixels are enough, which makes a JPEG cost a fraction; it may still come larger. 0: whole.
        keep_alpha: Without it, what is transparent counts as its colour.

    Raises:
        DownloadError: It cannot be decoded.
    """
    with opened_image(body) as image:
        if longest_side_px:
            image.draft("RGB", (longest_side_px, longest_side_px))
        return to_eight_bits(image, keep_alpha=keep_alpha)


def to_eight_bits(image: Image.Image, *, keep_alpha: bool = False) -> Image.Image:
    """A picture of any mode in RGB or RGBA, 8 bits a channel. Pillow's own conversion cuts what is above 255.

    Of 16 bits the upper 8 count, as Pillow takes them of 16-bit colour. Whole numbers of 32 bits and floats name no range:
    the smallest of 0 to 1 (floats alone), 0 to 255 and 0 to 65535 that holds all values, else from the smallest value to
    the largest.
    """
    image.load()  # which may change the mode: of what is inside an icon, its header says nothing
    if image.mode.startswith("I;16"):
        image = Image.fromarray(_upper_bits(image))
    elif image.mode in ("I", "F"):
        image = Image.fromarray(_ranged(np.asarray(image)))
    elif image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        found = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert found is not None  # noqa: S101  # None is for a conversion in place
        return found
    elif image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    # Inside an icon Pillow has a palette at work and not at hand, where it looks for what is transparent.
    is_asked = keep_alpha and not (image.mode in ("P", "PA") and image.palette is None)
    return image.convert("RGBA" if is_asked and image.has_transparency_data else "RGB")


def _upper_bits(image: Image.Image) -> np.ndarray:
    bits = 16
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # 12 bits stay 12 when they are unpacked.
        bits = max(image.tag_v2.get(_BITS_PER_SAMPLE, (16,)))
    return (np.asarray(image) >> (bits - 8)).astype(np.uint8)


def _ranged(values: np.ndarray) -> np.ndarray:
    numbers = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(numbers.min()), float(numbers.max())
    ranges = [255.0, 65535.0]
    if values.dtype.kind == "f":
        ranges.insert(0, 1.0)
    top = next((top for top in ranges if low >= 0.0 and high <= top), None)
    if top is None:
        numbers, top = numbers - low, high - low
    numbers *= 255.0 / top
    return numbers.round().astype(np.uint8)


def _open(body: bytes) -> ImageFile.ImageFile:
    # Browsers show a picture whose notes are broken, or whose lengths are off by the padding. Pillow refuses it, and it is
    # paid for. A PNG's notes it meets while it decodes, so that none are shown to it.
    if body.startswith(PNG_SIGNATURE):
        return _open_as_it_is(PngFile.picture_alone(body))
    try:
        return _open_as_it_is(body)
    except Image.DecompressionBombError:
        raise
    except Exception:  # as above: whatever a broken note makes a reader raise
        alone = _picture_alone(body)
        if alone is None:
            raise
        return _open_as_it_is(alone)


def _open_as_it_is(body: bytes) -> ImageFile.ImageFile:
    return Image.open(io.BytesIO(body), formats=tuple(EXTENSIONS))


def _picture_alone(body: bytes) -> bytes | None:
    """A JPEG or a WebP without all that is not the picture; None where it cannot be taken apart, and for others."""
    try:
        if body.startswith(b"\xff\xd8"):
            return JpegFile.parse(body).picture_alone()
        if body.startswith(b"RIFF") and body[8:12] == b"WEBP":
            return WebpFile.picture_alone(body)
    except EmbedError:
        pass
    return None
