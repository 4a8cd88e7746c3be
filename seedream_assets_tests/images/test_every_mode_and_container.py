"""The table: every container that Pillow writes and reads, every mode that fits into it, against numpy.

Of each: it is stored under its own format, its pixels come out as numpy makes them of the decoded bytes, thumbnails and
measures are those of that picture, and embedding touches no pixel.
"""

import colorsys
import io
import re
import struct
import warnings
import zlib
from functools import cache

import numpy as np
import pytest
from PIL import Image, features

from seedream_assets.config.images import CONTENT_TYPES, EXTENSIONS, OWN_FORMATS
from seedream_assets.config.quality import Blank
from seedream_assets.errors import DownloadError, EmbedError
from seedream_assets.exports.gallery import make_webp_thumbnail
from seedream_assets.images.inspect import decode_image, inspect_image, make_thumbnail, to_eight_bits
from seedream_assets.images.xmp import embed_metadata, remove_metadata
from seedream_assets.quality.stage import measure_pixels, perceptual_hash
from seedream_assets_tests.images.test_embedded import make_metadata

Image.init()
SIDE = 32  # which icons have too
ENOUGH_PIXELS = SIDE * SIDE
# Whatever Pillow's registry says of them: see `config/images`. The last two come and go with another library.
NOT_KEPT = {"EPS", "IPTC", "BUFR", "GRIB", "HDF5", "MPEG", "WMF", "FITS"}
SOMETIMES_THERE = {"FPX", "MIC"}
VARIANTS = {
    "JPEG": ({}, {"progressive": True}, {"quality": 40, "optimize": True}),
    "PNG": ({}, {"optimize": True}),
    "WEBP": ({}, {"lossless": True}),
    "JPEG2000": ({}, {"no_jp2": True}),
    "TIFF": ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}, {"big_tiff": True}),
    "MPO": ({}, {"save_all": True}),
}
CONTAINERS = sorted((set(Image.SAVE) & set(Image.OPEN) - NOT_KEPT) | {"MPO"})


def raw_picture(mode, *, dice=None):
    """A picture of any mode, with all values that its bytes can have; by numpy, not converted by Pillow."""
    dice = dice or np.random.default_rng(7)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64) / (SIDE - 1)
    wave = (np.sin(5 * x) + np.cos(3 * y) + 2) / 4
    if mode.startswith("I;16"):
        values = (wave * 65535).astype("<u2") ^ dice.integers(0, 256, (SIDE, SIDE)).astype("<u2")
        return Image.frombytes(mode, (SIDE, SIDE), values.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    if mode == "I":
        return Image.frombytes(mode, (SIDE, SIDE), (wave * 65535).astype("<i4").tobytes())
    if mode == "F":
        return Image.frombytes(mode, (SIDE, SIDE), wave.astype("<f4").tobytes())
    if mode == "1":
        return Image.fromarray(wave > dice.random((SIDE, SIDE)))
    bands = len(Image.new(mode, (1, 1)).getbands())
    layers = [np.roll(wave, 5 * number, axis=number % 2) for number in range(bands)]
    values = (np.stack(layers, axis=-1) * 255).astype(np.uint8)
    if mode == "LAB":
        # Colours that a screen has too.
        values = np.stack([80 + values[..., 0] // 2, values[..., 1] // 8, values[..., 2] // 8], -1).astype(np.uint8)
    if mode in ("La", "RGBa"):
        values[..., :-1] = values[..., :-1] * (values[..., -1:] / 255.0)
    picture = Image.frombytes(mode, (SIDE, SIDE), values.tobytes())
    if mode in ("P", "PA"):
        picture.putpalette(dice.integers(0, 256, 768).astype(np.uint8).tobytes())
    return picture


@cache
def bodies():
    """Every (container, mode, variant) that Pillow writes, with the bytes."""
    written = {}
    for container in CONTAINERS:
        for mode in Image.MODES:
            for variant, options in enumerate(VARIANTS.get(container, ({},))):
                picture = raw_picture(mode)
                more = {"append_images": [raw_picture(mode)]} if "save_all" in options else {}
                buffer = io.BytesIO()
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # of formats that Pillow will not write much longer
                        picture.save(buffer, container, **options, **more)
                        as_pillow_decodes(buffer.getvalue())
                except (OSError, ValueError, KeyError, SystemError, TypeError):
                    continue  # Pillow has no such file, or cannot read its own
                written[container, mode, variant] = buffer.getvalue()
    return written


def by_numpy(picture):
    """RGB as a matrix of floats, of what Pillow decoded: the formulas of the modes' own definitions."""
    size = (picture.height, picture.width)
    raw, mode = picture.tobytes(), picture.mode
    if mode == "1":
        bits = np.unpackbits(np.frombuffer(raw, np.uint8).reshape(size[0], -1), axis=1)[:, : size[1]]
        return np.repeat(bits[..., None] * 255.0, 3, axis=2)
    if mode in ("I", "F") or mode.startswith("I;16"):
        kind = {"I": "<i4", "F": "<f4", "I;16B": ">u2"}.get(mode, "<u2")
        values = np.frombuffer(raw, kind).reshape(size).astype(np.float64)
        if mode.startswith("I;16"):
            grey = np.floor(values / 256)
        else:
            tops = [1, 255, 65535] if mode == "F" else [255, 65535]
            top = next((top for top in tops if values.min() >= 0 and values.max() <= top), None)
            grey = values * 255 / top if top else (values - values.min()) * 255 / np.ptp(values)
        return np.repeat(grey[..., None], 3, axis=2)
    values = np.frombuffer(raw, np.uint8).reshape(*size, -1).astype(np.float64)
    if mode in ("P", "PA"):
        colours = np.array(picture.getpalette("RGB") + [0] * 768)[:768].reshape(256, 3)
        return colours[values[..., 0].astype(int)].astype(np.float64)
    if mode in ("La", "RGBa"):
        alpha = values[..., -1:]
        values = np.where(alpha > 0, np.minimum(values[..., :-1] * 255 / np.maximum(alpha, 1), 255), values[..., :-1])
    if mode in ("L", "LA", "La"):
        return np.repeat(values[..., :1], 3, axis=2)
    if mode == "CMYK":
        return (255 - values[..., :3]) * (255 - values[..., 3:]) / 255
    if mode == "YCbCr":
        y, b, r = values[..., 0], values[..., 1] - 128, values[..., 2] - 128
        return np.clip(np.stack([y + 1.402 * r, y - 0.344136 * b - 0.714136 * r, y + 1.772 * b], -1), 0, 255)
    if mode == "HSV":
        flat = [colorsys.hsv_to_rgb(h, s, v) for h, s, v in values.reshape(-1, 3) / 255]
        return np.array(flat).reshape(*size, 3) * 255
    if mode == "LAB":
        return lab_by_numpy(values)
    return values[..., :3]


def lab_by_numpy(values):
    """CIE L*a*b*, white point D50, to sRGB: IEC 61966-2-1 with Bradford's matrix."""
    light = values[..., 0] * 100 / 255
    # Pillow keeps a* and b* with 128 for nothing; what leaves it has signs.
    a, b = (((values[..., band] + 128) % 256) - 128 for band in (1, 2))
    fy = (light + 16) / 116
    f = np.stack([fy + a / 500, fy, fy - b / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1.0, 0.8249]
    to_linear = np.array(
        [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
    )
    linear = np.clip(xyz @ to_linear.T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


# Levels that rounding may differ by: Pillow's tables of fixed point, and lcms's.
TOLERANCE = {"YCbCr": 2, "HSV": 3, "LAB": 6, "La": 2, "RGBa": 2, "CMYK": 1, "I": 1, "F": 1}


def assert_equal(found, expected, mode):
    assert found.mode == "RGB"
    differences = np.abs(np.asarray(found).astype(np.float64) - expected)
    assert differences.max() <= TOLERANCE.get(mode, 0), (mode, differences.max())


def as_pillow_decodes(body):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture = Image.open(io.BytesIO(body))
        picture.load()
    return picture


def test_what_is_kept_is_all_that_pillow_reads_but_what_is_left_out_for_a_reason():
    assert set(Image.OPEN) - NOT_KEPT - SOMETIMES_THERE <= set(EXTENSIONS)
    assert not NOT_KEPT & set(EXTENSIONS)
    assert features.check("avif")
    assert len(set(EXTENSIONS.values())) == len(EXTENSIONS)
    assert all(re.fullmatch(r"[a-z0-9]{2,6}", extension) for extension in EXTENSIONS.values())
    assert all(re.fullmatch(r"(image|video)/[a-z0-9.+-]+", content_type) for content_type in CONTENT_TYPES.values())


def test_the_table_has_every_mode_and_every_container():
    assert {container for container, _, _ in bodies()} == set(CONTAINERS)
    modes = {as_pillow_decodes(body).mode for body in bodies().values()}
    # The others exist in memory alone; they stand in the test below.
    assert modes == set(Image.MODES) - {"HSV", "La", "RGBa", "RGBX", "I;16N"}


@pytest.mark.parametrize("mode", Image.MODES)
def test_a_picture_of_any_mode_becomes_eight_bits_as_numpy_makes_it(mode):
    picture = raw_picture(mode)
    assert_equal(to_eight_bits(picture), by_numpy(picture), mode)


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_file_is_stored_as_what_it_is(container):
    for key, body in bodies().items():
        if key[0] == container:
            decoded = as_pillow_decodes(body)
            pixels = decoded.width * decoded.height  # an icon comes in larger sizes too
            facts = inspect_image(body, largest_pixels=pixels)
            expected = "JPEG" if container == "MPO" else container
            assert (facts.format, facts.width_px, facts.height_px) == (expected, *decoded.size), key
            assert (facts.extension, facts.content_type) == (EXTENSIONS[expected], CONTENT_TYPES[expected])
            with pytest.raises(DownloadError, match="the most that is accepted is") as refused:
                inspect_image(body, largest_pixels=pixels - 1)
            assert not refused.value.may_retry


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_file_is_decoded_thumbnailed_and_measured_as_numpy_makes_it(container):
    for key, body in bodies().items():
        if key[0] == container:
            decoded = as_pillow_decodes(body)
            expected = by_numpy(decoded)
            shrunk = Image.fromarray(expected.round().astype(np.uint8))
            shrunk.thumbnail((256, 256), Image.Resampling.BOX)
            assert_equal(decode_image(body), expected, decoded.mode)
            for side, thumbnail in (
                (SIDE, make_thumbnail(body, longest_side_px=SIDE, largest_bytes=10**6)),
                (256, make_webp_thumbnail(body)),
            ):
                found = np.asarray(as_pillow_decodes(thumbnail).convert("RGB")).astype(np.float64)
                small = Image.fromarray(expected.round().astype(np.uint8))
                small.thumbnail((side, side))
                # Of what is transparent a lossy thumbnail keeps no colour, and of one colour there is no correlation.
                is_icon = decoded.mode == "P" and decoded.palette is None
                if (is_icon or not decoded.has_transparency_data) and expected.std() > 5:
                    wanted = np.asarray(small).astype(np.float64)
                    assert found.shape == wanted.shape
                    assert np.abs(found.mean(axis=(0, 1)) - wanted.mean(axis=(0, 1))).max() < 8, key
                    assert np.corrcoef(found.mean(axis=2).ravel(), wanted.mean(axis=2).ravel())[0, 1] > 0.7, key
            measures = measure_pixels(decode_image(body, longest_side_px=256))
            assert measures.contrast == pytest.approx(np.asarray(shrunk).std(axis=(0, 1)).max(), abs=1), key
            # A level of difference can turn a bit of the hash of a picture that is as smooth as this one.
            if not TOLERANCE.get(decoded.mode):
                assert measures.phash == perceptual_hash(shrunk), key


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_mark_touches_no_pixel_and_other_formats_carry_none(container):
    for key, body in bodies().items():
        if key[0] == container and container in (*OWN_FORMATS, "MPO"):
            if key == ("MPO", "CMYK", 1):
                # Pillow writes its index two bytes too far.
                with pytest.raises(EmbedError, match="does not begin as one"):
                    embed_metadata(body, make_metadata(body))
                continue
            embedded = embed_metadata(body, make_metadata(body))
            before, after = as_pillow_decodes(body), as_pillow_decodes(embedded)
            assert getattr(after, "n_frames", 1) == getattr(before, "n_frames", 1)
            for frame in range(getattr(before, "n_frames", 1)):
                before.seek(frame), after.seek(frame)
                assert (after.mode, after.size, after.tobytes()) == (before.mode, before.size, before.tobytes()), key
            assert remove_metadata(embedded) == body, key
        elif key[0] == container:
            with pytest.raises(EmbedError, match="only JPEG, PNG and WebP"):
                embed_metadata(body, make_metadata(body))


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_cut_file_is_refused_or_has_every_pixel(container):
    whole = [(key, body) for key, body in bodies().items() if key[0] == container]
    if container == "ICNS":
        whole = whole[::4]  # of a million pixels each
    for key, body in whole:
        pixels = np.asarray(decode_image(body))
        lengths = {*range(0, len(body), max(1, len(body) // 12)), *range(max(0, len(body) - 26), len(body), 3)}
        for length in sorted(lengths):
            cut = body[:length]
            for end_may_lack in (False, True):
                try:
                    inspect_image(cut, largest_pixels=10**7, end_may_lack=end_may_lack)
                except DownloadError as error:
                    assert error.may_retry, key
                    continue
                assert np.array_equal(np.asarray(decode_image(cut)), pixels), (key, length, len(body))


@pytest.mark.parametrize("mode", ["I", "F"])
@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 65535), (-1000, 1000), (0, 2**31 - 128), (7, 7)])
def test_numbers_without_a_range_of_their_own_are_read_in_the_smallest_that_holds_them(mode, low, high):
    values = np.linspace(low, high, SIDE * SIDE).reshape(SIDE, SIDE).astype("<i4" if mode == "I" else "<f4")
    found = np.asarray(to_eight_bits(Image.fromarray(values)))[..., 0]
    if low == high:
        assert np.all(found == low)
        return
    start, top = (low, high - low) if low < 0 or high > 65535 else (0, 255 if high == 255 else 65535)
    assert np.abs(found - (values.astype(np.float64) - start) * 255 / top).max() <= 0.6


def test_what_is_no_number_is_black():
    values = np.array([[np.nan, 0.0], [np.inf, 1.0]], dtype="<f4")
    assert np.asarray(to_eight_bits(Image.fromarray(values)))[..., 0].tolist() == [[0, 0], [0, 255]]


def test_twelve_bits_in_a_tiff_are_twelve():
    values = np.arange(0, 4096, 4096 // 64).astype(np.uint16)[:64].reshape(8, 8)
    pairs = values.reshape(-1, 2).astype(np.uint32)
    packed = ((pairs[:, 0] << 12) | pairs[:, 1]).astype(">u4").tobytes()
    strip = b"".join(packed[at + 1 : at + 4] for at in range(0, len(packed), 4))
    tags = [(256, 8), (257, 8), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8), (279, len(strip))]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags)
    body = b"II*\x00" + struct.pack("<L", 8 + len(strip)) + strip + directory + bytes(4)
    assert np.asarray(decode_image(body))[..., 0].tolist() == (values >> 4).tolist()


def test_a_cmyk_of_adobe_is_not_seen_in_its_negative():
    light = Image.frombytes("CMYK", (SIDE, SIDE), bytes([10, 10, 10, 5]) * SIDE * SIDE)
    written = io.BytesIO()
    light.save(written, "JPEG", quality=95)
    body = written.getvalue()
    assert b"Adobe" in body
    assert np.asarray(decode_image(body)).min() > 220
    # The same as YCCK, which is what most printers' programs write.
    at = body.index(b"Adobe") + 11
    ycck = body[:at] + b"\x02" + body[at + 1 :]
    decoded = as_pillow_decodes(ycck)
    assert decoded.mode == "CMYK"
    assert_equal(decode_image(ycck), by_numpy(decoded), "CMYK")
    assert inspect_image(ycck, largest_pixels=ENOUGH_PIXELS).format == "JPEG"


def png_claiming(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    data = b"IDAT" + rows
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)),
            struct.pack(">I", len(rows)) + data + struct.pack(">I", zlib.crc32(data)),
            b"\x00\x00\x00\x00IEND\xaeB`\x82",
        )
    )


def bombs():
    inside = png_claiming(60_000, 60_000)
    yield (
        "ICO",
        b"\x00\x00\x01\x00\x01\x00\x20\x20\x00\x00\x01\x00\x20\x00" + struct.pack("<LL", len(inside), 22) + inside,
    )
    yield "ICNS", b"icns" + struct.pack(">L", len(inside) + 16) + b"ic08" + struct.pack(">L", len(inside) + 8) + inside
    yield "PNG", inside
    yield (
        "GIF",
        b"GIF89a"
        + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0)
        + b","
        + bytes(4)
        + struct.pack("<HHB", 60_000, 60_000, 0)
        + b"\x02\x00;",
    )
    yield (
        "BMP",
        b"BM" + struct.pack("<LLL", 54, 0, 54) + struct.pack("<LllHHLLllLL", 40, 60_000, 60_000, 1, 24, *[0] * 6),
    )
    yield "PPM", b"P6 60000 60000 255\n"
    yield "QOI", b"qoif" + struct.pack(">LLBB", 60_000, 60_000, 3, 0)
    tags = [
        (256, 8),
        (257, 8),
        (258, 8),
        (259, 8),
        (262, 1),
        (277, 1),
        (322, 60_000),
        (323, 60_000),
        (324, 8),
        (325, 8),
    ]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags)
    yield "TIFF, by its tiles", b"II*\x00" + struct.pack("<L", 8) + directory + bytes(4)


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in bombs()])
def test_a_small_file_that_unpacks_to_an_enormous_picture_is_refused_for_good(body):
    with pytest.raises(DownloadError, match="accepted") as refused:
        inspect_image(body, largest_pixels=10**6)
    assert not refused.value.may_retry


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>" + b"wait " * 400,
        b'{"error": "expired", "code": 403}',
        b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        b"The image is being prepared.",
        b"id,prompt\n1,a cat\n",
        b"%PDF-1.7\n" + bytes(range(256)) * 8,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        b"PK\x03\x04" + bytes(200),
        b"\x1f\x8b\x08\x00" + bytes(200),
        bytes(4000),
        b"\xff" * 4000,
        b"\n" * 4000,
    ],
)
def test_what_is_no_picture_is_none_of_any_container(body):
    for end_may_lack in (False, True):
        with pytest.raises(DownloadError, match="what came is no image|broken") as refused:
            inspect_image(body, largest_pixels=10**6, end_may_lack=end_may_lack)
        assert refused.value.may_retry


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_file_with_broken_bytes_raises_nothing_but_our_own_errors(container):
    dice = np.random.default_rng(3)
    some = [body for key, body in bodies().items() if key[0] == container][::3]
    for body in some:
        for _ in range(15):
            broken = bytearray(body)
            for _ in range(int(dice.integers(1, 4))):
                broken[int(dice.integers(0, min(len(broken), 400)))] = int(dice.integers(0, 256))
            for look in (
                lambda bytes_: inspect_image(bytes_, largest_pixels=10**6),
                lambda bytes_: make_thumbnail(bytes_, longest_side_px=16, largest_bytes=9000),
                make_webp_thumbnail,
            ):
                try:
                    look(bytes(broken))
                except DownloadError:
                    continue


@pytest.mark.parametrize(
    ("container", "mode"), [("PNG", "I;16"), ("TIFF", "I;16B"), ("TIFF", "I"), ("TIFF", "F"), ("PPM", "I")]
)
def test_grey_of_many_bits_is_a_blank_frame_only_where_it_is_one(container, mode):
    lively, blank = raw_picture(mode), Image.new(mode, (SIDE, SIDE), 1 if mode == "F" else 30_000)
    for picture, is_blank in ((lively, False), (blank, True)):
        written = io.BytesIO()
        picture.save(written, container)
        contrast = measure_pixels(decode_image(written.getvalue(), longest_side_px=256)).contrast
        assert (contrast < Blank().min_contrast) is is_blank
