"""Claims about image bytes: only a whole JPEG, PNG or WEBP is an image, and what is told of it was measured."""

import io
import random
import struct
import zlib
from hashlib import sha256

import pytest
from PIL import Image

from seedream_assets.core.errors import DownloadError
from seedream_assets.core.images import ImageFacts, image_key, inspect_image, make_thumbnail

FORMATS = {"JPEG": ("jpg", "image/jpeg"), "PNG": ("png", "image/png"), "WEBP": ("webp", "image/webp")}
ENOUGH_PIXELS = 10_000


def make_image(
    image_format: str = "JPEG",
    *,
    width: int = 40,
    height: int = 30,
    mode: str = "RGB",
    seed: int = 0,
    **options: object,
) -> bytes:
    noise = Image.frombytes("L", (width, height), random.Random(seed).randbytes(width * height)).convert(mode)
    buffer = io.BytesIO()
    noise.save(buffer, image_format, **options)
    return buffer.getvalue()


def make_png_beginning(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims to be this large."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    first = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + first + struct.pack(">I", 100) + b"IDAT" + zlib.compress(bytes(100))


def refusal(body: bytes, *, largest_pixels: int = ENOUGH_PIXELS) -> DownloadError:
    with pytest.raises(DownloadError) as refused:
        inspect_image(body, largest_pixels=largest_pixels)
    return refused.value


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_whole_image_is_measured(image_format, mode):
    body = make_image(image_format, mode=mode)
    facts = inspect_image(body, largest_pixels=ENOUGH_PIXELS)
    assert facts == ImageFacts(
        format=image_format, width_px=40, height_px=30, size_bytes=len(body), sha256=sha256(body).hexdigest()
    )
    assert (facts.extension, facts.content_type) == FORMATS[image_format]


@pytest.mark.parametrize("image_format", FORMATS)
def test_an_image_that_is_cut_anywhere_is_refused_and_may_be_fetched_again(image_format):
    body = make_image(image_format)
    for length in (*range(1, 100), *range(100, len(body) - 100, 37), *range(len(body) - 100, len(body))):
        assert refusal(body[:length]).may_retry, length


def test_a_jpeg_without_its_end_is_refused_also_where_it_decodes():
    for seed in range(300):
        body = make_image(width=16, height=16, seed=seed)
        assert refusal(body[:-1]).may_retry, seed
        assert refusal(body[:-2]).may_retry, seed


@pytest.mark.parametrize("image_format", FORMATS)
def test_an_image_with_a_broken_byte_is_measured_or_refused_and_breaks_nothing(image_format):
    body = make_image(image_format)
    for place in range(min(len(body), 400)):
        broken = body[:place] + bytes([body[place] ^ 0xFF]) + body[place + 1 :]
        try:
            inspect_image(broken, largest_pixels=ENOUGH_PIXELS)
        except DownloadError:
            continue


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the image is empty"),
        (b"<!DOCTYPE html><html>", "what came is no image: it begins with b'<!DOCTYPE html><'"),
        (b'{"error": "expired"}', "what came is no image"),
        (make_image("GIF", mode="L"), "what came is no image: it begins with b'GIF8"),
        (make_image("BMP"), "what came is no image"),
        (make_image("TIFF"), "what came is no image"),
    ],
)
def test_what_is_no_jpeg_png_or_webp_is_refused_and_may_be_fetched_again(body, message):
    error = refusal(body)
    assert str(error).startswith(message)
    assert error.may_retry


def test_an_image_of_just_the_largest_size_passes_and_a_larger_one_is_not_fetched_again():
    body = make_image(width=40, height=30)
    assert inspect_image(body, largest_pixels=1200).width_px == 40
    error = refusal(body, largest_pixels=1199)
    assert str(error) == "the image has 40x30 pixels; the most that is accepted is 1199"
    assert not error.may_retry


@pytest.mark.parametrize(("width", "height"), [(12_000, 12_000), (14_142, 14_142), (60_000, 60_000)])
def test_an_image_that_claims_to_be_enormous_is_refused_before_it_is_decoded(width, height):
    error = refusal(make_png_beginning(width, height))
    assert not error.may_retry
    assert "accepted" in str(error)


def test_below_the_library_s_own_limit_the_deployment_alone_says_what_is_too_large():
    # The library warns from 90 million pixels on and refuses from 179 million on.
    error = refusal(make_png_beginning(12_000, 12_000), largest_pixels=12_000 * 12_000)
    assert str(error).startswith("the image is broken")
    assert error.may_retry


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize(("width", "height", "size"), [(400, 300, (64, 48)), (300, 400, (48, 64)), (40, 30, (40, 30))])
def test_a_thumbnail_is_a_small_jpeg_of_the_same_shape(image_format, width, height, size):
    thumbnail = make_thumbnail(
        make_image(image_format, width=width, height=height), longest_side_px=64, largest_bytes=100_000
    )
    with Image.open(io.BytesIO(thumbnail)) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", size, "RGB")


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA", "L"])
def test_a_thumbnail_can_be_made_of_any_mode(mode):
    with Image.open(
        io.BytesIO(make_thumbnail(make_image("PNG", mode=mode), longest_side_px=16, largest_bytes=9000))
    ) as image:
        assert (image.size, image.mode) == ((16, 12), "RGB")


def test_a_thumbnail_gives_up_quality_until_it_fits_and_stays_an_image_where_it_cannot():
    body = make_image("PNG", width=200, height=200)
    finest = make_thumbnail(body, longest_side_px=200, largest_bytes=1_000_000)
    fitting = make_thumbnail(body, longest_side_px=200, largest_bytes=len(finest) - 1)
    coarsest = make_thumbnail(body, longest_side_px=200, largest_bytes=1)
    assert len(coarsest) < len(fitting) < len(finest)
    with Image.open(io.BytesIO(coarsest)) as image:
        assert image.size == (200, 200)


def test_an_image_s_key_spreads_images_over_folders_by_their_id():
    assert image_key("0f" * 16, "jpg") == f"images/0f/{'0f' * 16}.jpg"


def test_the_end_of_a_thumbnail_inside_is_not_the_end_of_the_image():
    thumbnail, body = make_image(width=8, height=8), make_image()
    note = b"\xff\xe5" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = body[:2] + note + body[2:]
    assert inspect_image(whole, largest_pixels=ENOUGH_PIXELS).width_px == 40
    # Without its last bytes the decoder itself may find nothing missing.
    for cut in range(1, 20):
        assert refusal(whole[:-cut]).may_retry
