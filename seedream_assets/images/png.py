"""A PNG as its chunks: where XMP goes in and comes out. PNG, third edition, sections 5.3 and 11.3.3.4.

Nothing is copied until a file is put together.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from seedream_assets.errors import EmbedError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp"
_CREDENTIALS = b"caBX"
_PICTURE = (b"IHDR", b"PLTE", b"IDAT")
# Holds a broken chunk whole. By its letters: nobody needs it to show the picture, private, safe to copy.
_WRAPPER = b"seEd"
# Of grey and of RGB, by the header's colour type; a palette has one byte for each of its first colours.
_TRANSPARENCY_BYTES = {0: 2, 2: 6}
# An upstream packet that is compressed and longer than this is not unpacked.
LONGEST_PACKET = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PngFile:
    """All chunks, whole, and what follows the last; without an end where the file has none."""

    chunks: tuple[memoryview, ...]
    rest: memoryview

    @classmethod
    def parse(cls, body: bytes) -> PngFile:
        """Take a file apart.

        Behind the picture's data it may end anywhere: what is left of the last chunk is what follows.

        Raises:
            EmbedError: Its chunks do not add up.
        """
        if body[:8] != PNG_SIGNATURE:
            raise EmbedError("the PNG does not begin as one")
        whole, at = memoryview(body), 8
        chunks: list[memoryview] = []
        while True:
            end = at + 12 + int.from_bytes(body[at : at + 4], "big")
            if end > len(body):
                if body[at + 4 : at + 8] != b"IDAT" and any(_kind(chunk) == b"IDAT" for chunk in chunks):
                    return cls(tuple(chunks), whole[at:])
                raise EmbedError(f"the PNG's chunk at byte {at} is longer than the file")
            chunks.append(whole[at:end])
            if _kind(chunks[0]) != b"IHDR":
                raise EmbedError("the PNG does not begin with its header")
            at = end
            if _kind(chunks[-1]) == b"IEND":
                return cls(tuple(chunks), whole[at:])

    @staticmethod
    def picture_alone(body: bytes) -> bytes:
        """What makes the picture, also of a file that cannot be taken apart: header, colours, data, and an end.

        Of what is cut nothing is taken. Transparency that is broken is left out, as by browsers.
        """
        whole, at = memoryview(body), 8
        kept: list[memoryview] = []
        while at + 12 <= len(body):
            end = at + 12 + int.from_bytes(body[at : at + 4], "big")
            kind = body[at + 4 : at + 8]
            if end > len(body) or kind == b"IEND":
                break
            chunk = whole[at:end]
            if kind in _PICTURE or (kind == b"tRNS" and _is_transparency(chunk, of=kept)):
                kept.append(chunk)
            at = end
        return b"".join((PNG_SIGNATURE, *kept, _chunk(b"IEND", b"")))

    @property
    def xmp(self) -> bytes | None:
        """The XMP packet; None where there is none.

        Raises:
            EmbedError: It cannot be unpacked.
        """
        at = self._xmp_at()
        if at is None:
            return None
        _, compressed, text = _parts(self.chunks[at])
        return _unpacked(text) if compressed else text

    def with_xmp(self, packet: bytes) -> PngFile:
        """The same file with this packet, uncompressed: in the place of the one it has, else after the header.

        A note whose checksum is wrong, and a file that ends without its end, make some readers refuse the whole. What is
        broken goes, as it is, into a chunk that they pass over.
        """
        at = self._xmp_at()
        head, rest = self.chunks[:1], self.chunks[1:]
        languages = b"\x00\x00"
        if at is not None:
            languages, _, _ = _parts(self.chunks[at])
            head, rest = self.chunks[:at], self.chunks[at + 1 :]
        chunk = _chunk(b"iTXt", XMP_KEYWORD + b"\x00\x00\x00" + languages + packet)
        chunks = (*map(_wrapped, head), chunk, *map(_wrapped, rest))
        if _kind(self.chunks[-1]) == b"IEND":
            return replace(self, chunks=chunks)
        return PngFile((*chunks, _chunk(_WRAPPER, bytes(self.rest)), _chunk(b"IEND", b"")), memoryview(b""))

    def without_xmp(self) -> PngFile:
        """The same file without its XMP packet."""
        at = self._xmp_at()
        return self if at is None else replace(self, chunks=self.chunks[:at] + self.chunks[at + 1 :])

    @property
    def has_credentials(self) -> bool:
        """True where the file carries a C2PA manifest."""
        return any(_kind(chunk) == _CREDENTIALS for chunk in self.chunks)

    def without_credentials(self) -> PngFile:
        """The same file without its C2PA manifest."""
        return replace(self, chunks=tuple(chunk for chunk in self.chunks if _kind(chunk) != _CREDENTIALS))

    def to_bytes(self) -> bytes:
        """The file, byte for byte as it was taken apart where nothing was changed."""
        return b"".join((PNG_SIGNATURE, *self.chunks, self.rest))

    def candidates(self) -> Iterator[bytes]:
        """What the file may have been before metadata was put into it: sound, with broken notes, or without an end."""
        yield self.to_bytes()
        if any(_kind(chunk) == _WRAPPER for chunk in self.chunks):
            chunks = tuple(chunk[8:-4] if _kind(chunk) == _WRAPPER else chunk for chunk in self.chunks)
            yield replace(self, chunks=chunks).to_bytes()
            yield replace(self, chunks=chunks[:-1]).to_bytes()

    def _xmp_at(self) -> int | None:
        for at, chunk in enumerate(self.chunks):
            if _kind(chunk) == b"iTXt" and chunk[8:-4][: len(XMP_KEYWORD) + 1] == XMP_KEYWORD + b"\x00":
                return at
        return None


def _kind(chunk: memoryview) -> bytes:
    return bytes(chunk[4:8])


def _is_broken_note(chunk: memoryview) -> bool:
    """Whether it is a chunk that nobody needs to show the picture, with a wrong checksum."""
    return bool(chunk[4] & 0x20) and not _is_sound(chunk)


def _wrapped(chunk: memoryview) -> memoryview:
    return _chunk(_WRAPPER, bytes(chunk)) if _is_broken_note(chunk) else chunk


def _is_transparency(chunk: memoryview, *, of: list[memoryview]) -> bool:
    size = len(chunk) - 12
    return bool(of) and _is_sound(chunk) and size == _TRANSPARENCY_BYTES.get(of[0][17], size)


def _is_sound(chunk: memoryview) -> bool:
    """Whether its checksum is right."""
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _chunk(kind: bytes, content: bytes) -> memoryview:
    checksum = zlib.crc32(kind + content).to_bytes(4, "big")
    return memoryview(len(content).to_bytes(4, "big") + kind + content + checksum)


def _parts(chunk: memoryview) -> tuple[bytes, bool, bytes]:
    """Language and translated keyword with their zeros, whether the text is compressed, and the text."""
    content = bytes(chunk[8 + len(XMP_KEYWORD) + 1 : -4])
    words = content[2:].split(b"\x00", 2)
    # It is the one chunk that is written anew, and a wrong checksum would come back right.
    if len(content) < 4 or len(words) != 3 or chunk != _chunk(_kind(chunk), bytes(chunk[8:-4])):
        raise EmbedError("the PNG's own XMP chunk is broken")
    return words[0] + b"\x00" + words[1] + b"\x00", content[0] == 1, words[2]


def _unpacked(text: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        packet = unpacking.decompress(text, LONGEST_PACKET)
    except zlib.error as error:
        raise EmbedError("the PNG's own XMP cannot be unpacked") from error
    if not unpacking.eof:
        raise EmbedError(f"the PNG's own XMP is cut, or longer than {LONGEST_PACKET} bytes")
    return packet
