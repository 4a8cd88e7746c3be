"""Pictures of every carrier for the tests of marks: small, noisy, with and without metadata of their own."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

UPSTREAM_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="uuid:1" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="Upstream 1"/>'
    '</rdf:RDF></x:xmpmeta>    <?xpacket end="w"?>'
).encode()


def make_picture(image_format: str, *, mode: str = "RGB", size: tuple[int, int] = (33, 21), **options: Any) -> bytes:
    noise = random.Random(str(size)).randbytes(size[0] * size[1] * len(mode))
    image = Image.frombytes(mode, size, noise)
    written = io.BytesIO()
    image.save(written, image_format, **options)
    return written.getvalue()


def some_exif() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = "a camera"
    return exif.tobytes()


def png_with_packet(packet: bytes, *, compressed: bool) -> bytes:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet.decode(), zip=compressed)
    return make_picture("PNG", pnginfo=info)


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def several_in_one(*pictures: bytes, order: str = "<", packet: bytes | None = None, behind_index: bytes = b"") -> bytes:
    """JPEGs one behind the other, with an index of them in the first; written from CIPA DC-007, not by Pillow.

    Args:
        pictures: The first one ends up as the main picture.
        order: Of the index's bytes, as `struct` names it.
        packet: XMP that is put before the index.
        behind_index: Whole segments.
    """
    first, *others = pictures
    ahead = first[:20]  # SOI and JFIF
    if packet is not None:
        body = b"http://ns.adobe.com/xap/1.0/\x00" + packet
        ahead += b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    index_bytes = 8 + 2 + 3 * 12 + 4 + 16 * len(pictures)
    tiff_at = len(ahead) + 4 + 4
    main = len(first) + (tiff_at + index_bytes - 20) + len(behind_index)
    mark = {"<": b"II*\x00", ">": b"MM\x00*"}[order]
    index = mark + struct.pack(f"{order}LH", 8, 3)
    index += struct.pack(f"{order}HHL4s", 0xB000, 7, 4, b"0100")
    index += struct.pack(f"{order}HHLL", 0xB001, 4, 1, len(pictures))
    index += struct.pack(f"{order}HHLLL", 0xB002, 7, 16 * len(pictures), 50, 0)
    at = main
    index += struct.pack(f"{order}LLLHH", 0x20030000, main, 0, 0, 0)
    for other in others:
        index += struct.pack(f"{order}LLLHH", 0, len(other), at - tiff_at, 0, 0)
        at += len(other)
    segment = b"\xff\xe2" + struct.pack(">H", len(index) + 6) + b"MPF\x00" + index
    return ahead + segment + behind_index + first[20:] + b"".join(others)


def gain_map_packet(*, gain_map_bytes: int, main_bytes: str = "") -> bytes:
    """XMP of an Ultra HDR picture: how long the gain map behind it is, and by some writers the picture itself."""
    length = f' Item:Length="{main_bytes}"' if main_bytes else ""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Container="http://ns.google.com/photos/1.0/container/"'
        ' xmlns:Item="http://ns.google.com/photos/1.0/container/item/"'
        ' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"><Container:Directory><rdf:Seq>'
        f'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"{length}/></rdf:li>'
        '<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg"'
        f' Item:Length="{gain_map_bytes}"/></rdf:li></rdf:Seq></Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta>'
    ).encode()


def with_gain_map() -> bytes:
    """An Ultra HDR picture, as phones make them."""
    gain_map = make_picture("JPEG", mode="L", size=(9, 6))
    packet = gain_map_packet(gain_map_bytes=len(gain_map))
    return several_in_one(make_picture("JPEG"), gain_map, order=">", packet=packet)


def with_broken_note(kind: bytes = b"tIME", content: bytes = b"\x07\xea\x01\x01\x01\x01\x01") -> bytes:
    """A PNG with a chunk whose checksum is wrong and that nobody needs to show the picture."""
    body, note = make_picture("PNG"), chunk(kind, content)
    return body[:33] + note[:-1] + bytes([note[-1] ^ 1]) + body[33:]


PICTURES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: make_picture("JPEG"),
    "jpeg, progressive": lambda: make_picture("JPEG", progressive=True),
    "jpeg with exif": lambda: make_picture("JPEG", exif=some_exif(), comment=b"a comment"),
    "jpeg with xmp": lambda: make_picture("JPEG", exif=some_exif(), xmp=UPSTREAM_PACKET),
    "jpeg in grey with more behind its end": lambda: make_picture("JPEG", mode="L") + b"trailer",
    "jpeg with another picture": lambda: several_in_one(make_picture("JPEG"), make_picture("JPEG", size=(20, 30))),
    "jpeg with two more pictures": lambda: several_in_one(
        make_picture("JPEG", progressive=True),
        make_picture("JPEG", size=(20, 30)),
        make_picture("JPEG", mode="L"),
        order=">",
        behind_index=b"\xff\xfe\x00\x09comment",
    ),
    "jpeg with a gain map": with_gain_map,
    "png": lambda: make_picture("PNG"),
    "png with alpha": lambda: make_picture("PNG", mode="RGBA"),
    "png with exif": lambda: make_picture("PNG", exif=some_exif()),
    "png with xmp": lambda: png_with_packet(UPSTREAM_PACKET, compressed=False),
    "webp": lambda: make_picture("WEBP"),
    "webp, lossless": lambda: make_picture("WEBP", lossless=True),
    "webp, lossless with alpha": lambda: make_picture("WEBP", mode="RGBA", lossless=True),
    "webp with alpha": lambda: make_picture("WEBP", mode="RGBA"),
    "webp with exif": lambda: make_picture("WEBP", exif=some_exif()),
    "webp with xmp": lambda: make_picture("WEBP", xmp=UPSTREAM_PACKET),
}
