"""Pictures of every carrier for the tests of marks: small, noisy, with and without metadata of their own."""

from __future__ import annotations

import io
import random
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


PICTURES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: make_picture("JPEG"),
    "jpeg, progressive": lambda: make_picture("JPEG", progressive=True),
    "jpeg with exif": lambda: make_picture("JPEG", exif=some_exif(), comment=b"a comment"),
    "jpeg with xmp": lambda: make_picture("JPEG", exif=some_exif(), xmp=UPSTREAM_PACKET),
    "jpeg in grey with more behind its end": lambda: make_picture("JPEG", mode="L") + b"trailer",
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
