"""One image's bytes → the measures that the quality checks stand on. Decoded once for all of them.

A JPEG is decoded at an eighth to a half of its size where nothing needs more: decoding and measuring 2048 x 2048 takes
half the time of one whole decode (benchmarks/quality.py, 2026-11-24).
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageStat

from seedream_assets.images.inspect import decode_image

# What the perceptual hash and the contrast are taken from.
SIDE_PX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelMeasures:
    """What the built-in checks need to know of an image.

    Attributes:
        phash: 64 bits in 16 hexadecimal digits.
        contrast: Standard deviation of the liveliest colour channel, in levels of 0 to 255.
    """

    phash: str
    contrast: float


def open_reduced(body: bytes, *, longest_side_px: int) -> Image.Image:
    """The picture in RGB, at least `longest_side_px` long where it has as many pixels; 0: whole.

    Raises:
        DownloadError: It cannot be decoded.
    """
    return decode_image(body, longest_side_px=longest_side_px)


def measure_pixels(image: Image.Image) -> PixelMeasures:
    """The built-in measures. What is transparent counts as its colour."""
    # scipy, which it stands on, takes half a second to import.
    import imagehash

    small = image.copy()
    small.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    return PixelMeasures(phash=str(imagehash.phash(small)), contrast=max(ImageStat.Stat(small).stddev))
