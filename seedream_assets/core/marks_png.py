"""A PNG as its chunks: where XMP goes in and comes out. PNG, third edition, sections 5.3 and 11.3.3.4.

Nothing is copied until a file is put together.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from seedream_assets.core.errors import MarkError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp"
_CREDENTIALS = b"caBX"
# An upstream packet that is compressed and longer than this is not unpacked.
LONGEST_PACKET = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PngFile:
    """All chunks, whole, and what follows the last."""

    chunks: tuple[memoryview, ...]
    rest: memoryview

    @classmethod
    def parse(cls, body: bytes) -> PngFile:
        """Take a file apart.

        Raises:
            MarkError: Its chunks do not add up.
        """
        if body[:8] != _SIGNATURE:
            raise MarkError("the PNG does not begin as one")
        whole, chunks, at = memoryview(body), [], 8
        while True:
            end = at + 12 + int.from_bytes(body[at : at + 4], "big")
            if end > len(body):
                raise MarkError(f"the PNG's chunk at byte {at} is longer than the file")
            chunks.append(whole[at:end])
            if _kind(chunks[0]) != b"IHDR":
                raise MarkError("the PNG does not begin with its header")
            at = end
            if _kind(chunks[-1]) == b"IEND":
                return cls(tuple(chunks), whole[at:])

    @property
    def xmp(self) -> bytes | None:
        """The XMP packet; None where there is none.

        Raises:
            MarkError: It cannot be unpacked.
        """
        at = self._xmp_at()
        if at is None:
            return None
        _, compressed, text = _parts(self.chunks[at])
        return _unpacked(text) if compressed else text

    def with_xmp(self, packet: bytes) -> PngFile:
        """The same file with this packet, uncompressed: in the place of the one it has, else after the header."""
        at = self._xmp_at()
        if at is None:
            chunk = _chunk(b"iTXt", XMP_KEYWORD + b"\x00\x00\x00\x00\x00" + packet)
            return replace(self, chunks=(self.chunks[0], chunk, *self.chunks[1:]))
        languages, _, _ = _parts(self.chunks[at])
        chunk = _chunk(b"iTXt", XMP_KEYWORD + b"\x00\x00\x00" + languages + packet)
        return replace(self, chunks=(*self.chunks[:at], chunk, *self.chunks[at + 1 :]))

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
        return b"".join((_SIGNATURE, *self.chunks, self.rest))

    def candidates(self) -> Iterator[bytes]:
        """What the file may have been before a mark was put into it."""
        yield self.to_bytes()

    def _xmp_at(self) -> int | None:
        for at, chunk in enumerate(self.chunks):
            if _kind(chunk) == b"iTXt" and chunk[8:-4][: len(XMP_KEYWORD) + 1] == XMP_KEYWORD + b"\x00":
                return at
        return None


def _kind(chunk: memoryview) -> bytes:
    return bytes(chunk[4:8])


def _chunk(kind: bytes, content: bytes) -> memoryview:
    checksum = zlib.crc32(kind + content).to_bytes(4, "big")
    return memoryview(len(content).to_bytes(4, "big") + kind + content + checksum)


def _parts(chunk: memoryview) -> tuple[bytes, bool, bytes]:
    """Language and translated keyword with their zeros, whether the text is compressed, and the text."""
    content = bytes(chunk[8 + len(XMP_KEYWORD) + 1 : -4])
    words = content[2:].split(b"\x00", 2)
    # It is the one chunk that is written anew, and a wrong checksum would come back right.
    if len(content) < 4 or len(words) != 3 or chunk != _chunk(_kind(chunk), bytes(chunk[8:-4])):
        raise MarkError("the PNG's own XMP chunk is broken")
    return words[0] + b"\x00" + words[1] + b"\x00", content[0] == 1, words[2]


def _unpacked(text: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        packet = unpacking.decompress(text, LONGEST_PACKET)
    except zlib.error as error:
        raise MarkError("the PNG's own XMP cannot be unpacked") from error
    if not unpacking.eof:
        raise MarkError(f"the PNG's own XMP is cut, or longer than {LONGEST_PACKET} bytes")
    return packet
