"""A WebP as its chunks: where XMP goes in and comes out. WebP container specification, RFC 9649.

A simple file, with one `VP8 ` or `VP8L` chunk and nothing else, has no place for XMP: it becomes an extended one, with
a `VP8X` chunk before the picture that holds the canvas and whether there is alpha. Nothing is copied until a file is
put together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from seedream_assets.errors import EmbedError

_HAS_XMP, _HAS_ALPHA = 0x04, 0x10
_PICTURES = (b"VP8 ", b"VP8L")
# XMP stands after these, as the specification orders them; unknown chunks may stand behind it.
_BEFORE_XMP = (b"VP8X", b"ICCP", b"ANIM", b"ANMF", b"ALPH", *_PICTURES, b"EXIF")
_XMP = b"XMP "
_CREDENTIALS = b"C2PA"
_LARGEST_RIFF = 0xFFFFFFFE


@dataclass(frozen=True, slots=True)
class WebpFile:
    """All chunks, whole and padded, and what follows the container."""

    chunks: tuple[memoryview, ...]
    rest: memoryview

    @classmethod
    def parse(cls, body: bytes) -> WebpFile:
        """Take a file apart.

        Raises:
            EmbedError: Its chunks do not add up.
        """
        end = 8 + int.from_bytes(body[4:8], "little")
        if body[:4] != b"RIFF" or body[8:12] != b"WEBP":
            raise EmbedError("the WebP does not begin as one")
        if end > len(body) or end % 2:
            raise EmbedError("the WebP's length is not that of the file")
        whole, chunks, at = memoryview(body), [], 12
        while at < end:
            size = int.from_bytes(body[at + 4 : at + 8], "little")
            following = at + 8 + size + size % 2
            if at + 8 > end or following > end:
                raise EmbedError(f"the WebP's chunk at byte {at} is longer than the file")
            chunks.append(whole[at:following])
            at = following
        if not chunks:
            raise EmbedError("the WebP holds no picture")
        return cls(tuple(chunks), whole[end:])

    @staticmethod
    def picture_alone(body: bytes) -> bytes:
        """What makes the picture, also of a file whose lengths are wrong: its chunks, padded, in a new container.

        Of what is cut nothing is taken.
        """
        kept, at = [], 12
        while at + 8 <= len(body):
            size = int.from_bytes(body[at + 4 : at + 8], "little")
            if at + 8 + size > len(body):
                break
            if body[at : at + 4] in (b"VP8X", b"ANIM", b"ANMF", b"ALPH", *_PICTURES):
                kept.append(_chunk(body[at : at + 4], body[at + 8 : at + 8 + size]))
            at += 8 + size + size % 2
        return WebpFile(tuple(kept), memoryview(b"")).to_bytes()

    @property
    def xmp(self) -> bytes | None:
        """The XMP packet; None where there is none."""
        for chunk in self.chunks:
            if _kind(chunk) == _XMP:
                return bytes(chunk[8 : 8 + int.from_bytes(chunk[4:8], "little")])
        return None

    def with_xmp(self, packet: bytes) -> WebpFile:
        """The same file, extended, with this packet: in the place of the one it has, else after picture and Exif.

        Raises:
            EmbedError: The picture's header cannot be read.
        """
        chunk = _chunk(_XMP, packet)
        extended = self._extended().chunks
        kinds = [_kind(one) for one in extended]
        if _XMP in kinds:
            at = kinds.index(_XMP)
            return replace(self, chunks=(*extended[:at], chunk, *extended[at + 1 :]))
        at = max(place for place, kind in enumerate(kinds) if kind in _BEFORE_XMP) + 1
        return replace(self, chunks=(_with_flag(extended[0], _HAS_XMP), *extended[1:at], chunk, *extended[at:]))

    def without_xmp(self) -> WebpFile:
        """The same file without its XMP packet and its flag."""
        chunks = [chunk for chunk in self.chunks if _kind(chunk) != _XMP]
        if _kind(chunks[0]) == b"VP8X":
            chunks[0] = _with_flag(chunks[0], _HAS_XMP, raised=False)
        return replace(self, chunks=tuple(chunks))

    @property
    def has_credentials(self) -> bool:
        """True where the file carries a C2PA manifest."""
        return any(_kind(chunk) == _CREDENTIALS for chunk in self.chunks)

    def without_credentials(self) -> WebpFile:
        """The same file without its C2PA manifest."""
        return replace(self, chunks=tuple(chunk for chunk in self.chunks if _kind(chunk) != _CREDENTIALS))

    def to_bytes(self) -> bytes:
        """The file, byte for byte as it was taken apart where nothing was changed."""
        size = len(b"WEBP") + sum(map(len, self.chunks))
        if size > _LARGEST_RIFF:
            raise EmbedError("the WebP would become larger than one can be")
        return b"".join((b"RIFF", size.to_bytes(4, "little"), b"WEBP", *self.chunks, self.rest))

    def candidates(self) -> Iterator[bytes]:
        """What the file may have been before metadata was put into it: extended already, or simple."""
        yield self.to_bytes()
        if _kind(self.chunks[0]) == b"VP8X":
            yield replace(self, chunks=self.chunks[1:]).to_bytes()
            # A file may raise the flag of a packet that it does not have.
            yield replace(self, chunks=(_with_flag(self.chunks[0], _HAS_XMP), *self.chunks[1:])).to_bytes()

    def _extended(self) -> WebpFile:
        first = self.chunks[0]
        if _kind(first) == b"VP8X":
            if len(first) < 18:
                raise EmbedError("the WebP's extended header is cut")
            return self
        width, height, has_alpha = _canvas(first)
        flags = bytes([_HAS_ALPHA if has_alpha else 0, 0, 0, 0])
        sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        return replace(self, chunks=(_chunk(b"VP8X", flags + sides), *self.chunks))


def _kind(chunk: memoryview) -> bytes:
    return bytes(chunk[:4])


def _chunk(kind: bytes, content: bytes) -> memoryview:
    return memoryview(kind + len(content).to_bytes(4, "little") + content + bytes(len(content) % 2))


def _with_flag(header: memoryview, flag: int, *, raised: bool = True) -> memoryview:
    flags = header[8] | flag if raised else header[8] & ~flag
    return memoryview(b"".join((header[:8], bytes([flags]), header[9:])))


def _canvas(picture: memoryview) -> tuple[int, int, bool]:
    """Width, height and whether there is alpha, from a picture's own header."""
    head = bytes(picture[8:18])
    # RFC 6386, 9.1: a key frame's start code, then 14 bits of width and of height, each with two bits of scale.
    if _kind(picture) == b"VP8 " and len(head) == 10 and head[3:6] == b"\x9d\x01\x2a":
        width = int.from_bytes(head[6:8], "little") & 0x3FFF
        height = int.from_bytes(head[8:10], "little") & 0x3FFF
        has_alpha = False
    elif _kind(picture) == b"VP8L" and len(head) >= 5 and head[0] == 0x2F:
        bits = int.from_bytes(head[1:5], "little")
        width, height, has_alpha = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    else:
        raise EmbedError("the WebP's picture has no header that is known")
    if not width or not height:
        raise EmbedError("the WebP's picture has no size")
    return width, height, has_alpha
