"""Claims about metadata in a JPEG that holds several pictures: every one of them is still found, and whole.

Pillow's own reader of such files finds them; the files are written by hand, and some by Pillow.
"""

import io
import struct

import pytest
from PIL import Image, MpoImagePlugin

from seedream_assets.errors import DownloadError, EmbedError
from seedream_assets.images.inspect import inspect_image
from seedream_assets.images.xmp import embed_metadata, read_metadata, remove_metadata
from seedream_assets_tests.images.test_embedded import make_metadata
from seedream_assets_tests.support.pictures import (
    PICTURES,
    UPSTREAM_PACKET,
    gain_map_packet,
    make_picture,
    several_in_one,
    some_exif,
    with_gain_map,
)


def pictures_in(body):
    """The pixels of each, and the bytes that the index gives each."""
    found = []
    with MpoImagePlugin.MpoImageFile(io.BytesIO(body)) as file:
        entries = [(entry["DataOffset"], entry["Size"]) for entry in file.mpinfo[0xB002]]
        tiff_at = body.index(b"MPF\x00") + 4
        for number, (offset, size) in enumerate(entries):
            file.seek(number)
            start = tiff_at + offset if number else 0
            found.append((file.convert("RGB").tobytes(), body[start : start + size]))
    return found


def by_pillow(*, exif=b""):
    first = Image.open(io.BytesIO(make_picture("JPEG")))
    second = Image.open(io.BytesIO(make_picture("JPEG", size=(40, 30))))
    written = io.BytesIO()
    first.save(written, "MPO", save_all=True, append_images=[second], **({"exif": exif} if exif else {}))
    return written.getvalue()


SEVERAL = {
    **{name: make for name, make in PICTURES.items() if "picture" in name or "gain map" in name},
    "by Pillow": by_pillow,
    "by Pillow, with Exif": lambda: by_pillow(exif=some_exif()),
    "with XMP ahead of the index": lambda: several_in_one(
        make_picture("JPEG"), make_picture("JPEG", size=(20, 30)), packet=UPSTREAM_PACKET
    ),
    "with XMP behind the index": lambda: several_in_one(
        make_picture("JPEG", xmp=UPSTREAM_PACKET), make_picture("JPEG", size=(20, 30))
    ),
    "with a trailer": lambda: several_in_one(make_picture("JPEG"), make_picture("JPEG", size=(20, 30))) + b"trailer",
}


@pytest.mark.parametrize("name", SEVERAL)
def test_every_picture_is_found_after_the_mark_and_the_file_comes_out_to_the_last_byte(name):
    body = SEVERAL[name]()
    before = pictures_in(body)
    assert len(before) > 1
    embedded = embed_metadata(body, make_metadata(body))
    after = pictures_in(embedded)
    assert [pixels for pixels, _ in after] == [pixels for pixels, _ in before]
    assert [found for _, found in after[1:]] == [found for _, found in before[1:]]
    # The first one is as long as it was and the metadata together, and ends as it ended.
    assert len(after[0][1]) - len(before[0][1]) == len(embedded) - len(body)
    assert after[0][1].endswith(b"\xff\xd9")
    assert read_metadata(embedded).image_id == make_metadata(body).image_id
    assert remove_metadata(embedded) == body


@pytest.mark.parametrize("name", SEVERAL)
def test_a_file_of_several_pictures_is_a_jpeg_and_one_that_lacks_the_last_is_cut(name):
    body = SEVERAL[name]()
    facts = inspect_image(body, largest_pixels=10_000)
    assert (facts.format, facts.extension, facts.content_type) == ("JPEG", "jpg", "image/jpeg")
    whole = body.removesuffix(b"trailer")
    for missing in (1, 2, 50, len(pictures_in(body)[-1][1])):
        with pytest.raises(DownloadError, match="its end is missing") as refused:
            inspect_image(whole[:-missing], largest_pixels=10_000)
        assert refused.value.may_retry
        # The main picture is all there: kept where it comes no better.
        assert inspect_image(whole[:-missing], largest_pixels=10_000, end_may_lack=True).format == "JPEG"


def test_a_file_whose_main_picture_is_cut_is_never_whole():
    first, second = make_picture("JPEG"), make_picture("JPEG", size=(20, 30))
    body = several_in_one(first, second)
    main = len(body) - len(second)
    for length in (main - 1, main - 2, main - 40, main // 2 + 200):
        for end_may_lack in (False, True):
            with pytest.raises(DownloadError, match="broken"):
                inspect_image(body[:length], largest_pixels=10_000, end_may_lack=end_may_lack)


def test_lengths_of_a_gain_map_stay_right_and_a_stated_length_of_the_picture_is_not_made_wrong():
    body = with_gain_map()
    gain_map = pictures_in(body)[1][1]
    embedded = embed_metadata(body, make_metadata(body))
    assert f'Item:Length="{len(gain_map)}"'.encode() in embedded
    assert embedded.endswith(gain_map)
    packet = gain_map_packet(gain_map_bytes=len(gain_map), main_bytes="1234")
    stated = several_in_one(make_picture("JPEG"), gain_map, packet=packet)
    with pytest.raises(EmbedError, match="how long the main picture is"):
        embed_metadata(stated, make_metadata(stated))
    zero = several_in_one(make_picture("JPEG"), gain_map, packet=gain_map_packet(gain_map_bytes=9, main_bytes="0"))
    assert remove_metadata(embed_metadata(zero, make_metadata(zero))) == zero


def with_index(change):
    body = several_in_one(make_picture("JPEG"), make_picture("JPEG", size=(20, 30)))
    at = body.index(b"MPF\x00") + 4
    return body[:at] + change(body[at : at + 82]) + body[at + 82 :]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda tiff: b"XX" + tiff[2:], "does not begin as one"),
        (lambda tiff: tiff[:4] + b"\xff\xff\xff\x7f" + tiff[8:], "is cut"),
        (lambda tiff: tiff[:34] + struct.pack("<H", 0xB009) + tiff[36:], "names none"),
        (lambda tiff: tiff[:38] + struct.pack("<L", 1600) + tiff[42:], "is cut"),
        (lambda tiff: tiff[:58] + struct.pack("<L", 9) + tiff[62:], "does not begin with the first"),
        (lambda tiff: tiff[:54] + struct.pack("<L", 10**6) + tiff[58:], "names more than the file holds"),
        (lambda tiff: tiff[:74] + struct.pack("<L", 7) + tiff[78:], "that is not there"),
        (lambda tiff: tiff[:74] + struct.pack("<L", 10**6) + tiff[78:], "that is not there"),
        (lambda tiff: tiff[:70] + struct.pack("<L", 10**6) + tiff[74:], "that is not there"),
    ],
)
def test_a_file_whose_index_is_wrong_is_kept_as_it_came(change, why):
    body = with_index(change)
    with pytest.raises(EmbedError, match=why):
        embed_metadata(body, make_metadata(body))
    assert inspect_image(body, largest_pixels=10_000, end_may_lack=True).format == "JPEG"


def test_a_first_picture_of_no_stated_length_gets_none():
    body = with_index(lambda tiff: tiff[:54] + bytes(4) + tiff[58:])
    embedded = embed_metadata(body, make_metadata(body))
    assert [pixels for pixels, _ in pictures_in(embedded)] == [pixels for pixels, _ in pictures_in(body)]
    assert remove_metadata(embedded) == body
