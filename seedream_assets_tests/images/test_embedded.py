"""Claims about metadata: pixels untouched, the provider's bytes recoverable, upstream metadata kept, broken files refused.

The readers here are others' code: Pillow finds the packet, Python's XML parser reads it, exiftool where it is installed.
"""

import io
import json
import random
import shutil
import subprocess
import zlib
from dataclasses import replace
from hashlib import sha256
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seedream_assets.errors import EmbedError
from seedream_assets.images.xmp import (
    EmbeddedMetadata,
    embed_metadata,
    has_credentials,
    parse_image,
    read_metadata,
    remove_metadata,
)
from seedream_assets_tests.support.builders import NOON
from seedream_assets_tests.support.pictures import PICTURES, UPSTREAM_PACKET, chunk, make_picture, png_with_packet

NAMESPACES = {
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "seedream": "urn:seedream-assets:xmp:1:",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
}
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
every_picture = pytest.mark.parametrize("name", PICTURES)


def make_metadata(body, **changes):
    metadata = EmbeddedMetadata(
        image_id="0f" * 16,
        request_id="ab" * 32,
        spec_id="cd" * 32,
        sample=5,
        seed=1234,
        model="seedream-4.0",
        generation_id="generation-1",
        provider_image_id="image-1",
        prompt_sha256=sha256(b"a red chair").hexdigest(),
        source_sha256=sha256(body).hexdigest(),
        created_at=NOON,
    )
    return replace(metadata, **changes)


def pixels(body):
    with Image.open(io.BytesIO(body)) as image:
        image.load()
        return image.format, image.mode, image.size, image.tobytes()


def packet_of(body):
    """As Pillow finds it; of a PNG, as it stands among the texts."""
    with Image.open(io.BytesIO(body)) as image:
        image.load()
        found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
        return found.encode() if isinstance(found, str) else found


def properties(body):
    found = {}
    for description in ElementTree.fromstring(packet_of(body)).iter(f"{{{NAMESPACES['rdf']}}}Description"):
        for one in [*((child.tag, child.text) for child in description), *description.attrib.items()]:
            assert one[0] not in found or one[0].endswith("}about"), f"{one[0]} stands twice"
            found[one[0]] = one[1]
    names = {uri: prefix for prefix, uri in NAMESPACES.items()}
    return {f"{names[tag[1:].split('}')[0]]}:{tag.split('}')[1]}": value for tag, value in found.items()}


@every_picture
def test_a_mark_leaves_every_pixel_and_comes_out_to_the_last_byte(name):
    body = PICTURES[name]()
    embedded = embed_metadata(body, make_metadata(body))
    assert pixels(embedded) == pixels(body)
    assert remove_metadata(embedded) == body
    assert parse_image(body).to_bytes() == body


@every_picture
def test_everything_that_was_there_is_still_there(name):
    body = PICTURES[name]()
    with (
        Image.open(io.BytesIO(body)) as before,
        Image.open(io.BytesIO(embed_metadata(body, make_metadata(body)))) as after,
    ):
        before.load(), after.load()
        assert dict(after.getexif()) == dict(before.getexif())
        assert after.info.get("comment") == before.info.get("comment")
    if "xmp" in name:
        assert properties(embed_metadata(body, make_metadata(body)))["xmp:CreatorTool"] == "Upstream 1"


def test_the_mark_tells_what_iptc_asks_of_generated_images():
    body = PICTURES["jpeg"]()
    assert properties(embed_metadata(body, make_metadata(body))) == {
        "rdf:about": "",
        "Iptc4xmpExt:DigitalSourceType": f"{SOURCE_TYPE}trainedAlgorithmicMedia",
        "Iptc4xmpExt:AISystemUsed": "Seedream via Leonardo.ai",
        "Iptc4xmpExt:AISystemVersionUsed": "4.0",
        "xmp:CreatorTool": "Seedream via Leonardo.ai",
        "xmp:CreateDate": "2026-11-22T12:00:00.000Z",
        "seedream:ImageId": "0f" * 16,
        "seedream:RequestId": "ab" * 32,
        "seedream:SpecId": "cd" * 32,
        "seedream:Sample": "5",
        "seedream:Seed": "1234",
        "seedream:Model": "seedream-4.0",
        "seedream:GenerationId": "generation-1",
        "seedream:ProviderImageId": "image-1",
        "seedream:PromptSHA256": sha256(b"a red chair").hexdigest(),
        "seedream:SourceSHA256": sha256(body).hexdigest(),
    }


def test_a_picture_made_from_references_is_a_composite():
    body = PICTURES["png"]()
    found = properties(embed_metadata(body, make_metadata(body, from_references=True)))
    assert found["Iptc4xmpExt:DigitalSourceType"] == f"{SOURCE_TYPE}compositeWithTrainedAlgorithmicMedia"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200), st.sampled_from(["jpeg", "png", "webp"]))
def test_any_prompt_is_written_so_that_it_reads_back(prompt, name):
    body = SMALL[name]
    embedded = embed_metadata(body, make_metadata(body, prompt=prompt))
    readable = "".join("\ufffd" if not _is_xml(letter) else letter for letter in prompt)
    assert properties(embedded).get("Iptc4xmpExt:AIPromptInformation", "") == readable
    assert remove_metadata(embedded) == body


SMALL = {name: PICTURES[name]() for name in ("jpeg", "png", "webp")}


def _is_xml(letter):
    return (
        letter in "\t\n\r" or "\x20" <= letter <= "\ud7ff" or "\ue000" <= letter <= "\ufffd" or letter >= "\U00010000"
    )


def test_the_same_mark_gives_the_same_bytes():
    body = PICTURES["webp"]()
    assert embed_metadata(body, make_metadata(body)) == embed_metadata(body, make_metadata(body))


@every_picture
def test_the_ids_are_read_back(name):
    body = PICTURES[name]()
    assert read_metadata(body) is None
    found = read_metadata(embed_metadata(body, make_metadata(body)))
    assert (found.image_id, found.request_id, found.generation_id) == ("0f" * 16, "ab" * 32, "generation-1")
    assert found.source_sha256 == sha256(body).hexdigest()


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP"])
def test_the_ids_outlive_a_program_that_encodes_the_picture_anew_and_keeps_the_packet(image_format):
    body = PICTURES["jpeg"]()
    embedded = embed_metadata(body, make_metadata(body))
    again = io.BytesIO()
    with Image.open(io.BytesIO(embedded)) as image:
        image.save(again, image_format, quality=40, xmp=image.info["xmp"])
    assert read_metadata(again.getvalue()).image_id == "0f" * 16
    with pytest.raises(EmbedError, match="cannot be had back; their SHA-256 was " + sha256(body).hexdigest()):
        remove_metadata(again.getvalue())


def test_ids_written_as_attributes_are_read_too():
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:s="urn:seedream-assets:xmp:1:" s:ImageId="{"0f" * 16}"/></rdf:RDF></x:xmpmeta>'
    )
    found = read_metadata(make_picture("JPEG", xmp=packet.encode()))
    assert (found.image_id, found.request_id) == ("0f" * 16, None)


def test_what_upstream_says_of_the_source_is_not_said_twice():
    source = b'<r:Description xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"><i:DigitalSourceType>upstream</i:DigitalSourceType></r:Description>'
    body = make_picture("JPEG", xmp=UPSTREAM_PACKET.replace(b"</rdf:RDF>", source + b"</rdf:RDF>"))
    embedded = embed_metadata(body, make_metadata(body))
    assert properties(embedded)["Iptc4xmpExt:DigitalSourceType"] == "upstream"
    assert properties(embedded)["seedream:ImageId"] == "0f" * 16
    assert remove_metadata(embedded) == body


def test_a_compressed_packet_of_a_png_is_joined_and_its_hash_kept():
    body = png_with_packet(UPSTREAM_PACKET, compressed=True)
    embedded = embed_metadata(body, make_metadata(body))
    assert pixels(embedded) == pixels(body)
    assert properties(embedded)["xmp:CreatorTool"] == "Upstream 1"
    with pytest.raises(EmbedError, match=sha256(body).hexdigest()):
        remove_metadata(embedded)


def test_a_picture_is_marked_once():
    body = PICTURES["png"]()
    embedded = embed_metadata(body, make_metadata(body))
    with pytest.raises(EmbedError, match="metadata of seedream-assets already"):
        embed_metadata(embedded, make_metadata(embedded))


def test_xmp_of_a_jpeg_stands_behind_jfif_and_exif():
    body = PICTURES["jpeg with exif"]()
    embedded = embed_metadata(body, make_metadata(body))
    assert embedded.index(b"JFIF") < embedded.index(b"Exif\x00") < embedded.index(b"http://ns.adobe.com/xap/1.0/\x00")


def test_xmp_of_a_png_stands_right_behind_its_header():
    body = PICTURES["png"]()
    assert embed_metadata(body, make_metadata(body))[33 + 4 : 33 + 8] == b"iTXt"


@pytest.mark.parametrize(
    ("name", "has_alpha"), [("webp", False), ("webp, lossless", False), ("webp, lossless with alpha", True)]
)
def test_a_simple_webp_becomes_an_extended_one_of_its_own_size(name, has_alpha):
    body = PICTURES[name]()
    embedded = embed_metadata(body, make_metadata(body))
    assert embedded[12:16] == b"VP8X"
    assert bool(embedded[20] & 0x10) is has_alpha
    assert embedded[20] & 0x04
    assert (int.from_bytes(embedded[24:27], "little") + 1, int.from_bytes(embedded[27:30], "little") + 1) == (33, 21)
    assert int.from_bytes(embedded[4:8], "little") == len(embedded) - 8


def test_a_packet_that_fits_no_jpeg_segment_is_refused():
    with pytest.raises(EmbedError, match="a JPEG segment holds 65533"):
        embed_metadata(SMALL["jpeg"], make_metadata(SMALL["jpeg"], prompt="猫" * 30_000))
    padded = make_picture("JPEG", xmp=UPSTREAM_PACKET.replace(b"    ", b" " * 64_500))
    with pytest.raises(EmbedError, match="65533"):
        embed_metadata(padded, make_metadata(padded))
    assert read_metadata(embed_metadata(SMALL["png"], make_metadata(SMALL["png"], prompt="猫" * 30_000))) is not None


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (b"<x:xmpmeta", "not XML"),
        ("<a/>".encode("utf-16"), "not in UTF-8"),
        (b'<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>', "document type"),
        (b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>', "no place for more"),
    ],
)
def test_an_upstream_packet_that_cannot_be_joined_is_left_alone(packet, why):
    body = make_picture("JPEG", xmp=packet)
    with pytest.raises(EmbedError, match=why):
        embed_metadata(body, make_metadata(body))
    assert read_metadata(body) is None


def test_a_packet_that_unpacks_to_more_than_it_may_is_refused():
    bomb = zlib.compress(bytes(50_000_000))
    png = SMALL["png"]
    body = png[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\x00\x01\x00\x00\x00" + bomb) + png[33:]
    with pytest.raises(EmbedError, match="longer than"):
        embed_metadata(body, make_metadata(body))


@pytest.mark.parametrize("kind", [b"tIME", b"tEXt", b"tRNS", b"iTXt", b"abCd"])
@pytest.mark.parametrize("ahead", [True, False])
def test_a_broken_note_of_a_png_goes_along_where_readers_pass_over_it(kind, ahead):
    plain = PICTURES["png"]()
    note = chunk(kind, b"1234567")
    note = note[:-1] + bytes([note[-1] ^ 1])
    body = plain[:33] + note + plain[33:] if ahead else plain[:-12] + note + plain[-12:]
    embedded = embed_metadata(body, make_metadata(body))
    assert pixels(embedded) == pixels(plain)  # which Pillow does not give of the file as it came
    assert read_metadata(embedded).image_id == "0f" * 16
    assert note in embedded
    assert remove_metadata(embedded) == body


def test_a_png_without_its_end_gets_one_and_comes_out_as_it_was():
    plain = PICTURES["png"]()
    noted = plain[:-12] + chunk(b"tEXt", b"a\0" + b"b" * 40) + plain[-12:]
    for body in (*(plain[:-missing] for missing in range(1, 13)), *(noted[:-missing] for missing in range(13, 60))):
        embedded = embed_metadata(body, make_metadata(body))
        assert pixels(embedded) == pixels(plain)
        assert read_metadata(embedded).image_id == "0f" * 16
        assert remove_metadata(embedded) == body
    for missing in range(13, 60):
        with pytest.raises(EmbedError, match="longer than the file"):
            embed_metadata(plain[:-missing], make_metadata(plain))


def test_a_chunk_of_the_same_name_as_the_wrapper_stays_what_it_is():
    plain = PICTURES["png"]()
    body = plain[:33] + chunk(b"seEd", b"somebody else's") + plain[33:]
    embedded = embed_metadata(body, make_metadata(body))
    assert pixels(embedded) == pixels(plain)
    assert remove_metadata(embedded) == body


@every_picture
def test_a_file_cut_or_changed_anywhere_is_refused_or_marked_without_harm(name):
    """Nothing but EmbedError, and what is embedded comes out as it went in."""
    body, dice = PICTURES[name](), random.Random(name)
    for _ in range(150):
        broken = bytearray(body[: dice.randrange(2, len(body))] if dice.random() < 0.4 else body)
        for _ in range(dice.randrange(3)):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        try:
            embedded = embed_metadata(bytes(broken), make_metadata(broken))
        except EmbedError:
            continue
        assert remove_metadata(embedded) == bytes(broken)


@pytest.mark.parametrize("body", [b"", b"GIF89a", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF\x04\x00\x00\x00WEBP"])
def test_what_is_no_whole_image_is_refused(body):
    with pytest.raises(EmbedError):
        embed_metadata(body, make_metadata(body))
    assert read_metadata(body) is None
    assert not has_credentials(body)
    with pytest.raises(EmbedError, match="no metadata"):
        remove_metadata(body)


def exiftool(file):
    command = ["exiftool", "-json", "-G1", "-XMP:all", "-Validate", "-Warning", "-a", str(file)]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)[0]


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool (libimage-exiftool-perl) is not installed")
@pytest.mark.parametrize("name", ["jpeg with exif", "png", "webp, lossless with alpha"])
def test_exiftool_reads_the_mark_and_finds_no_fault_that_was_not_there_before(name, tmp_path):
    body, file = PICTURES[name](), tmp_path / "image"
    file.write_bytes(body)
    before = exiftool(file)["ExifTool:Validate"]
    file.write_bytes(embed_metadata(body, make_metadata(body, prompt="a <red> chair & ♥", prompt_writer="Ann")))
    found = exiftool(file)
    assert found["XMP-iptcExt:DigitalSourceType"] == f"{SOURCE_TYPE}trainedAlgorithmicMedia"
    assert found["XMP-iptcExt:AISystemUsed"] == "Seedream via Leonardo.ai"
    assert found["XMP-iptcExt:AIPromptInformation"] == "a <red> chair & ♥"
    assert found["XMP-iptcExt:AIPromptWriterName"] == "Ann"
    assert found["XMP-seedream:ImageId"] == "0f" * 16
    assert found["ExifTool:Validate"] == before
