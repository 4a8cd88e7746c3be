"""Claims about image bytes: only a whole picture is an image, and what is reported of it was measured."""

import io
import random
import struct
import zlib
from hashlib import sha256

import pytest
from PIL import Image

from seedream_assets.errors import DownloadError
from seedream_assets.images.inspect import ImageFacts, decode_image, image_key, inspect_image, make_thumbnail

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
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "what came is no image"),
        (b"%PDF-1.7", "what came is no image"),
        (make_image("EPS"), "what came is no image: it begins with b'%!PS-Adobe"),
    ],
)
def test_what_is_no_picture_is_refused_and_may_be_fetched_again(body, message):
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


def with_note(body: bytes, kind: bytes, content: bytes, *, ahead: bool = True, checksum: int = 0) -> bytes:
    """A PNG with one more chunk before or behind its data; its checksum is off by so much."""
    right = zlib.crc32(kind + content)
    note = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", (right + checksum) % 2**32)
    return body[:33] + note + body[33:] if ahead else body[:-12] + note + body[-12:]


NOTES = {
    "a moment": (b"tIME", b"\x07\xea\x01\x01\x01\x01\x01"),
    "a text": (b"tEXt", b"a\0b"),
    "packed text": (b"zTXt", b"a\0\0" + zlib.compress(b"b")),
    "a profile": (b"iCCP", b"a\0\0" + zlib.compress(b"b")),
    "an animation": (b"acTL", bytes(8)),
    "a kind that nobody knows": (b"abCd", b"x"),
}
PNG_PIXELS = Image.open(io.BytesIO(make_image("PNG"))).tobytes()


@pytest.mark.parametrize("name", NOTES)
@pytest.mark.parametrize("ahead", [True, False])
def test_a_png_with_a_wrong_checksum_on_a_note_is_whole(name, ahead):
    body = with_note(make_image("PNG"), *NOTES[name], ahead=ahead, checksum=1)
    facts = inspect_image(body, largest_pixels=ENOUGH_PIXELS)
    assert (facts.format, facts.width_px, facts.size_bytes) == ("PNG", 40, len(body))
    assert facts.sha256 == sha256(body).hexdigest()
    assert decode_image(body).tobytes() == PNG_PIXELS
    assert make_thumbnail(body, longest_side_px=16, largest_bytes=9000)


@pytest.mark.parametrize(
    "kind", [b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"tRNS", b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"fcTL"]
)
@pytest.mark.parametrize("content", [b"", b"x", b"a\0\0nonsense", b"a\0\0" + zlib.compress(bytes(80_000_000))])
@pytest.mark.parametrize("ahead", [True, False])
def test_a_png_whose_note_makes_no_sense_is_whole(kind, content, ahead):
    body = with_note(make_image("PNG"), kind, content, ahead=ahead)
    assert inspect_image(body, largest_pixels=ENOUGH_PIXELS).format == "PNG"
    assert decode_image(body).tobytes() == PNG_PIXELS


def test_a_note_that_claims_to_be_longer_than_the_file_costs_no_picture_that_came_with_its_end():
    body = make_image("PNG")
    overlong = body[:-12] + struct.pack(">I", 5000) + b"tEXta\0b" + body[-12:]
    assert inspect_image(overlong, largest_pixels=ENOUGH_PIXELS).format == "PNG"
    assert decode_image(overlong).tobytes() == PNG_PIXELS


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE"])
def test_a_wrong_checksum_on_what_makes_the_picture_is_broken(kind):
    body = make_image("PNG", mode="P")
    at = body.index(kind)
    size = int.from_bytes(body[at - 4 : at], "big")
    end = at + 4 + size
    assert refusal(body[:end] + bytes([body[end] ^ 1]) + body[end + 1 :]).may_retry


def test_transparency_with_a_wrong_checksum_is_left_out_and_a_right_one_counts():
    body = make_image("PNG", mode="P", transparency=0)
    assert decode_image(body, keep_alpha=True).mode == "RGBA"
    at = body.index(b"tRNS") + 4 + int.from_bytes(body[body.index(b"tRNS") - 4 : body.index(b"tRNS")], "big")
    broken = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
    assert decode_image(broken, keep_alpha=True).mode == "RGB"
    beside = with_note(body, b"tEXt", b"a\0b", checksum=1)
    assert decode_image(beside, keep_alpha=True).mode == "RGBA"


@pytest.mark.parametrize("image_format", FORMATS)
def test_what_follows_a_whole_file_is_nobody_s_business(image_format):
    body = make_image(image_format)
    for trailer in (b"\x00", b"garbage" * 100, make_image("PNG"), make_image("JPEG")):
        facts = inspect_image(body + trailer, largest_pixels=ENOUGH_PIXELS)
        assert (facts.format, facts.size_bytes) == (image_format, len(body) + len(trailer))


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("width", range(37, 47))
def test_a_webp_that_counts_its_padding_wrongly_is_whole(lossless, width):
    body = make_image("WEBP", width=width, lossless=lossless)
    expected = decode_image(body).tobytes()
    size_bytes = int.from_bytes(body[4:8], "little")
    is_padded = int.from_bytes(body[16:20], "little") % 2 == 1
    uncounted = body[:4] + (size_bytes - 1).to_bytes(4, "little") + body[8:]
    whole = [uncounted, uncounted[:-1]] if is_padded else [uncounted]
    for one in whole:
        assert inspect_image(one, largest_pixels=ENOUGH_PIXELS).format == "WEBP"
        assert decode_image(one).tobytes() == expected
    # Told longer than it is, it may have been cut.
    longer = body[:4] + (size_bytes + 1).to_bytes(4, "little") + body[8:]
    for one in [longer, body[:-1]] if is_padded else [longer]:
        assert refusal(one).may_retry
        assert inspect_image(one, largest_pixels=ENOUGH_PIXELS, end_may_lack=True).format == "WEBP"
    with pytest.raises(DownloadError):
        inspect_image(body[:-2], largest_pixels=ENOUGH_PIXELS, end_may_lack=True)


def test_a_png_cut_behind_its_data_is_whole_only_where_it_comes_no_better_and_one_cut_in_them_never_is():
    body = make_image("PNG")
    data_end = len(body) - 12
    for length in range(data_end, len(body)):
        assert refusal(body[:length]).may_retry
        assert inspect_image(body[:length], largest_pixels=ENOUGH_PIXELS, end_may_lack=True).format == "PNG"
        assert decode_image(body[:length]).tobytes() == PNG_PIXELS
    for length in range(data_end - 60, data_end):
        with pytest.raises(DownloadError):
            inspect_image(body[:length], largest_pixels=ENOUGH_PIXELS, end_may_lack=True)


@pytest.mark.parametrize("marker", range(0xE0, 0xF0))
def test_a_jpeg_whose_notes_make_no_sense_is_whole(marker):
    body = make_image("JPEG")
    heads = (b"", b"Exif\0\0", b"JFIF\0", b"ICC_PROFILE\0", b"MPF\0", b"Photoshop 3.0\0", b"Adobe", b"FPXR\0")
    for head in heads:
        for tail in (b"", b"x", b"\xff" * 20, b"8BIM\x03\xed\0\0\0\0\0\x01x", b"MM\0*", b"II*\0\x08\0\0\0\x01\0"):
            content = head + tail
            note = bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
            noted = body[:2] + note + body[2:]
            assert inspect_image(noted, largest_pixels=ENOUGH_PIXELS).format == "JPEG", content
