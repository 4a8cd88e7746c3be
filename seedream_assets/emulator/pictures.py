"""The emulated images: JPEGs that follow from prompt, seed and index, at exactly the size asked for."""

from __future__ import annotations

import hashlib
import io
import random
import textwrap
import threading
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

from PIL import ExifTags, Image, ImageDraw, ImageFont

EMULATED_MARK: Final = "EMULATED"
_COMMENT: Final = b"EMULATED image, not made by any model"
_SOFTWARE: Final = "seedream_assets emulator"

# Shapes are drawn on a canvas this long and scaled up: a 2048 x 2048 picture costs 60 ms instead of several hundred.
_CANVAS_SIDE_PX: Final = 384
_BIG_PICTURE_PX: Final = 4096 * 4096
_ONE_BIG_PICTURE_AT_A_TIME = threading.Lock()
_QUALITY: Final = 88
_LONGEST_SEGMENT: Final = 65_533


Looks = Literal["own", "blank", "same", "similar"]
"""How an image of a generation comes out: a picture of its own, one colour, the generation's first picture again with
equal bytes, or that picture compressed differently."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What an image shows; equal pictures have equal bytes."""

    prompt: str
    seed: int
    index: int
    width: int
    height: int
    looks: Looks = "own"

    def digest(self) -> bytes:
        """Name the picture, for its colours and for distinguishing it from others."""
        text = f"{self.seed}\0{self.index}\0{self.prompt}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


@lru_cache(maxsize=32)
def render(picture: Picture) -> bytes:
    """Draw a picture as JPEG: about 10 ms at 512 x 512."""
    if picture.looks == "same":
        return render(replace(picture, index=0, looks="own"))
    if picture.width * picture.height <= _BIG_PICTURE_PX:
        return _drawn(picture)
    with _ONE_BIG_PICTURE_AT_A_TIME:
        return _drawn(picture)


def render_padded(picture: Picture, size_bytes: int) -> bytes:
    """Serve one rendering per size, made unique and padded to `size_bytes` with JPEG comments.

    A rendering that is already longer is not shortened. Decoders see a valid JPEG of the size asked for.
    """
    base = render(Picture("throughput", 0, 0, picture.width, picture.height))
    unique = _comment_segment(b"EMULATED " + picture.digest().hex().encode())
    return base[:2] + unique + _padding(size_bytes - len(base) - len(unique)) + base[2:]


@lru_cache(maxsize=8)
def _padding(size_bytes: int) -> bytes:
    segments = []
    while size_bytes >= 4:
        length = min(size_bytes - 4, _LONGEST_SEGMENT)
        segments.append(_comment_segment(bytes(length)))
        size_bytes -= length + 4
    return b"".join(segments)


def _comment_segment(content: bytes) -> bytes:
    return b"\xff\xfe" + (len(content) + 2).to_bytes(2, "big") + content


def _drawn(picture: Picture) -> bytes:
    if picture.looks == "blank":
        return _written(Image.new("RGB", (picture.width, picture.height), _colour(random.Random(picture.digest()))))
    quality = _QUALITY
    if picture.looks == "similar":
        quality -= 5 * (1 + picture.index % 8)
        picture = replace(picture, index=0)
    dice = random.Random(picture.digest())
    scale = _CANVAS_SIDE_PX / max(picture.width, picture.height, _CANVAS_SIDE_PX)
    canvas_size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    image = _gradient(dice, canvas_size)
    _shapes(image, dice)
    size = (picture.width, picture.height)
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    _caption(image, picture)
    return _written(image, quality)


def _written(image: Image.Image, quality: int = _QUALITY) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = _COMMENT.decode()
    exif[ExifTags.Base.Software] = _SOFTWARE
    written = io.BytesIO()
    image.save(written, "JPEG", quality=quality, exif=exif, comment=_COMMENT)
    return written.getvalue()


def _colour(dice: random.Random, darkest: int = 30, brightest: int = 240) -> tuple[int, int, int]:
    return (dice.randint(darkest, brightest), dice.randint(darkest, brightest), dice.randint(darkest, brightest))


def _gradient(dice: random.Random, size: tuple[int, int]) -> Image.Image:
    corners = Image.new("RGB", (3, 3))
    corners.putdata([_colour(dice, 20, 200) for _ in range(9)])
    return corners.resize(size, Image.Resampling.BICUBIC)


def _shapes(image: Image.Image, dice: random.Random) -> None:
    draw = ImageDraw.Draw(image, "RGBA")
    width, height = image.size
    for number in range(7):
        x, y = dice.uniform(0, width), dice.uniform(0, height)
        reach = dice.uniform(0.06, 0.28) * max(width, height)
        fill = (*_colour(dice), dice.randint(60, 150))
        if number % 3 == 0:
            draw.regular_polygon((x, y, max(1.0, reach)), dice.randint(3, 6), dice.randint(0, 90), fill=fill)
        elif number % 3 == 1:
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=fill)
        else:
            draw.line((x, y, width - x, height - y), fill=fill, width=max(1, round(reach / 8)))


@lru_cache(maxsize=16)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


# FreeType faces are shared by the cache and are not safe to use from two threads.
_ONE_WRITER_AT_A_TIME = threading.Lock()


def _caption(image: Image.Image, picture: Picture) -> None:
    """Write the prompt at the bottom and the mark at the top, where there is room for letters."""
    width, height = image.size
    letter_px = max(9, min(width, height) // 22)
    if width < 4 * letter_px or height < 4 * letter_px:
        return
    margin = letter_px // 2
    prompt = picture.prompt.encode("utf-8", "replace").decode()
    lines = textwrap.wrap(prompt, max(8, int((width - 2 * margin) / (letter_px * 0.52))), max_lines=3, placeholder=" …")
    text = "\n".join([*lines, f"seed {picture.seed}  ·  image {picture.index}"])
    draw = ImageDraw.Draw(image, "RGBA")
    with _ONE_WRITER_AT_A_TIME:
        font = _font(letter_px)
        below = round((len(lines) + 1) * letter_px * 1.35 + 2 * margin)
        draw.rectangle((0, height - below, width, height), fill=(0, 0, 0, 130))
        draw.multiline_text((margin, height - below + margin), text, font=font, fill="white", spacing=letter_px // 4)
        draw.rectangle((0, 0, letter_px * 6.6, letter_px * 1.8), fill=(180, 20, 20, 200))
        draw.text((margin, margin // 2), EMULATED_MARK, font=font, fill="white")
