"""A JPEG as its segments: where XMP goes in and comes out. ISO/IEC 10918-1 annex B; XMP part 3, section 1.1.3.

The compressed picture, from the start of scan on, is never looked at. Nothing is copied until a file is put together.

Phones put a second view, a gain map or a depth map behind the first picture's end. Their index (MPF, CIPA DC-007,
sections 5.1 and 5.2) stands in a segment of the first picture and counts from its own TIFF header on, so it is written
anew wherever bytes are put in before a picture or taken out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from seedream_assets.errors import EmbedError

XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\x00"
_EXIF_HEADER = b"Exif\x00"
_APP0, _APP1, _APP2, _APP11 = 0xE0, 0xE1, 0xE2, 0xEB
_APP14, _ADOBE_BYTES = 0xEE, 12
_NOTES = frozenset({*range(0xE0, 0xF0), 0xFE})  # APP0 to APP15, and comments
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
# A segment's two length bytes count themselves.
LONGEST_PAYLOAD = 0xFFFF - 2
# ISO/IEC 19566-5: a JUMBF box in APP11 begins "JP", box instance, packet number, box length, "jumb"; its description
# box says by a UUID whose it is. This one is C2PA's.
_C2PA_UUID = b"c2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71"


@dataclass(frozen=True, slots=True)
class _Segment:
    marker: int
    raw: memoryview  # with its marker, and with fill bytes before it
    payload_at: int

    @property
    def payload(self) -> memoryview:
        return self.raw[self.payload_at :]

    def begins(self, header: bytes) -> bool:
        return self.payload[: len(header)] == header


@dataclass(frozen=True, slots=True)
class JpegFile:
    """The segments before the picture, and the rest.

    Attributes:
        picture_at: Where `rest` began in the file that was taken apart.
        index: Of the pictures in that file; None where it has none, or one that cannot be read.
        index_problem: Why nothing can be put in or taken out without losing a picture; None where everything can.
    """

    segments: tuple[_Segment, ...]
    rest: memoryview
    picture_at: int
    index: PictureIndex | None
    index_problem: str | None

    @classmethod
    def parse(cls, body: bytes) -> JpegFile:
        """Take a file apart.

        Raises:
            EmbedError: Its segments do not add up.
        """
        if body[:2] != b"\xff\xd8":
            raise EmbedError("the JPEG does not begin as one")
        segments: list[_Segment] = []
        whole = memoryview(body)
        at = 2
        while True:
            start = at
            while body[at : at + 1] == b"\xff":
                at += 1
            if at == start or body[at : at + 1] in (b"", b"\x00"):
                raise EmbedError(f"the JPEG has no marker at byte {start}")
            marker = body[at]
            at += 1
            if marker in (_START_OF_SCAN, _END_OF_IMAGE):
                return cls(tuple(segments), whole[start:], start, *_read_index(segments, body, picture_at=start))
            if marker in _WITHOUT_LENGTH:
                segments.append(_Segment(marker, whole[start:at], at - start))
                continue
            length = int.from_bytes(body[at : at + 2], "big")
            if length < 2 or at + length > len(body):
                raise EmbedError(f"the JPEG's segment at byte {start} is longer than the file")
            segments.append(_Segment(marker, whole[start : at + length], at + 2 - start))
            at += length

    @property
    def xmp(self) -> bytes | None:
        """The main XMP packet; None where there is none. Extended XMP is left where it is."""
        at = self._xmp_at()
        return None if at is None else bytes(self.segments[at].payload[len(XMP_HEADER) :])

    def with_xmp(self, packet: bytes) -> JpegFile:
        """The same file with this packet: in the place of the one it has, else after JFIF's and Exif's segments.

        Raises:
            EmbedError: The packet does not fit into a segment.
        """
        payload = XMP_HEADER + packet
        if len(payload) > LONGEST_PAYLOAD:
            raise EmbedError(f"the XMP takes {len(payload)} bytes, and a JPEG segment holds {LONGEST_PAYLOAD}")
        length = (len(payload) + 2).to_bytes(2, "big")
        segment = _Segment(_APP1, memoryview(b"\xff\xe1" + length + payload), 4)
        at = self._xmp_at()
        if at is not None:
            return replace(self, segments=(*self.segments[:at], segment, *self.segments[at + 1 :]))
        at = 0
        while at < len(self.segments) and _comes_first(self.segments[at]):
            at += 1
        return replace(self, segments=(*self.segments[:at], segment, *self.segments[at:]))

    def without_xmp(self) -> JpegFile:
        """The same file without its main XMP packet."""
        at = self._xmp_at()
        return self if at is None else replace(self, segments=self.segments[:at] + self.segments[at + 1 :])

    @property
    def has_credentials(self) -> bool:
        """True where the file carries a C2PA manifest."""
        return any(_begins_credentials(segment) for segment in self.segments)

    def without_credentials(self) -> JpegFile:
        """The same file without its C2PA manifest, over however many segments it goes."""
        boxes = {bytes(segment.payload[2:4]) for segment in self.segments if _begins_credentials(segment)}
        return replace(
            self,
            segments=tuple(
                segment
                for segment in self.segments
                if not (_is_jumbf(segment) and bytes(segment.payload[2:4]) in boxes)
            ),
        )

    def to_bytes(self) -> bytes:
        """The file, byte for byte as it was taken apart where nothing was changed.

        Raises:
            EmbedError: It was changed, and holds several pictures of which not all are where its index says.
        """
        return b"".join((b"\xff\xd8", *(segment.raw for segment in self._reindexed()), self.rest))

    def picture_alone(self) -> bytes:
        """The file without what is not its picture: no note of any program, and nothing that leads to other pictures."""
        return b"".join((b"\xff\xd8", *(segment.raw for segment in self.segments if not _is_note(segment)), self.rest))

    @property
    def holds_several(self) -> bool:
        """True where an index of pictures is in it, be it right or wrong."""
        return _index_at(self.segments) is not None

    def holds_the_pictures_of(self, other: JpegFile) -> bool:
        """True where all pictures of `other` are where the index says, and nothing was put behind the first one's head."""
        if self.index is None or other.index is None or self.index_problem or other.index_problem:
            return False
        return self.rest == other.rest and self.index == other.index.moved(self.picture_at - other.picture_at)

    def index_for(self, other: JpegFile) -> JpegFile:
        """The same file with the index that is right in `other`: this file with more put before its picture.

        Raises:
            EmbedError: As `to_bytes`.
        """
        self._refuse_problem()
        if self.index is None:
            return self
        at, theirs = _index_at(self.segments), _index_at(other.segments)
        if at is None or theirs is None:
            raise EmbedError("the JPEG's index of pictures was lost")
        moved = self.index.moved(other.picture_at - self.picture_at)
        segment = _with_index(self.segments[at], moved, start=_start_of(other.segments, theirs))
        return replace(self, segments=(*self.segments[:at], segment, *self.segments[at + 1 :]), index=None)

    def _reindexed(self) -> tuple[_Segment, ...]:
        grown = _start_of(self.segments, len(self.segments)) - self.picture_at
        at = _index_at(self.segments)
        if not grown:
            return self.segments
        self._refuse_problem()
        if self.index is None or at is None:
            return self.segments
        segment = _with_index(self.segments[at], self.index.moved(grown), start=_start_of(self.segments, at))
        return (*self.segments[:at], segment, *self.segments[at + 1 :])

    def _refuse_problem(self) -> None:
        if self.index_problem is not None:
            raise EmbedError(self.index_problem)

    def candidates(self) -> Iterator[bytes]:
        """What the file may have been before metadata was put into it."""
        yield self.to_bytes()

    def _xmp_at(self) -> int | None:
        for at, segment in enumerate(self.segments):
            if segment.marker == _APP1 and segment.begins(XMP_HEADER):
                return at
        return None


def _index_at(segments: Sequence[_Segment]) -> int | None:
    for at, segment in enumerate(segments):
        if segment.marker == _APP2 and segment.begins(MPF_HEADER):
            return at
    return None


def _start_of(segments: Sequence[_Segment], at: int) -> int:
    """Where in a file of these segments this one begins."""
    return 2 + sum(len(segment.raw) for segment in segments[:at])


def _tiff_at(segment: _Segment) -> int:
    """Where in an index's segment its TIFF begins."""
    return segment.payload_at + len(MPF_HEADER)


def _read_index(
    segments: Sequence[_Segment], body: bytes, *, picture_at: int
) -> tuple[PictureIndex | None, str | None]:
    at = _index_at(segments)
    if at is None:
        return None, None
    begins = _tiff_at(segments[at])
    index = None
    try:
        index = PictureIndex.parse(bytes(segments[at].raw[begins:]), tiff_at=_start_of(segments, at) + begins)
        index.refuse_unless_fits(body, behind=picture_at)
    except EmbedError as error:
        return index, str(error)
    return index, None


def _with_index(segment: _Segment, index: PictureIndex, *, start: int) -> _Segment:
    """An index's segment, which begins at `start`, with this index."""
    begins = _tiff_at(segment)
    tiff = index.written(bytes(segment.raw[begins:]), tiff_at=start + begins)
    return replace(segment, raw=memoryview(bytes(segment.raw[:begins]) + tiff))


def _comes_first(segment: _Segment) -> bool:
    return segment.marker == _APP0 or (segment.marker == _APP1 and segment.begins(_EXIF_HEADER))


def _is_note(segment: _Segment) -> bool:
    # Adobe's segment says how colours are to be read, and is part of the picture.
    is_adobe = segment.marker == _APP14 and segment.begins(b"Adobe") and len(segment.payload) >= _ADOBE_BYTES
    return segment.marker in _NOTES and not is_adobe


def _is_jumbf(segment: _Segment) -> bool:
    return segment.marker == _APP11 and segment.begins(b"JP")


def _begins_credentials(segment: _Segment) -> bool:
    head = bytes(segment.payload[:40])
    return _is_jumbf(segment) and head[12:16] == b"jumb" and head[20:] == b"jumd" + _C2PA_UUID


MPF_HEADER = b"MPF\x00"
_ENTRIES, _UNDEFINED = 0xB002, 7
_ENTRY_BYTES = 16
_LARGEST_NUMBER = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as the index has it: where in the file it begins, and how many bytes it has."""

    start: int
    size_bytes: int

    @property
    def end(self) -> int:
        """The byte behind its last."""
        return self.start + self.size_bytes


@dataclass(frozen=True, slots=True)
class PictureIndex:
    """The index of a file, with positions in that file.

    Attributes:
        order: As `struct` names the byte order.
        entries_at: Where in the TIFF the entries begin.
        pictures: The first one begins the file.
    """

    order: str
    entries_at: int
    pictures: tuple[Picture, ...]

    @classmethod
    def parse(cls, tiff: bytes, *, tiff_at: int) -> PictureIndex:
        """Read an index.

        Args:
            tiff: What follows `MPF_HEADER`.
            tiff_at: Where in the file it begins.

        Raises:
            EmbedError: It cannot be read.
        """
        order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
        if order is None:
            raise EmbedError("the JPEG's index of pictures does not begin as one")
        try:
            entries_at, size = _find_entries(tiff, order)
            entries = list(struct.iter_unpack(f"{order}LLLHH", tiff[entries_at : entries_at + size]))
        except struct.error as error:
            raise EmbedError("the JPEG's index of pictures is cut") from error
        if not entries or entries[0][2]:
            raise EmbedError("the JPEG's index of pictures does not begin with the first")
        starts = [0, *(tiff_at + offset for _, _, offset, _, _ in entries[1:])]
        pictures = tuple(Picture(start, entry[1]) for start, entry in zip(starts, entries, strict=True))
        return cls(order, entries_at, pictures)

    def refuse_unless_fits(self, body: bytes, *, behind: int) -> None:
        """Hold it against the file.

        Args:
            body: The file.
            behind: Where the first picture's own data begin: the others stand behind that.

        Raises:
            EmbedError: A picture that it names is not there.
        """
        if self.pictures[0].end > len(body):
            raise EmbedError("the JPEG's index of pictures names more than the file holds")
        for picture in self.pictures[1:]:
            if picture.start < behind or picture.end > len(body) or body[picture.start :][:2] != b"\xff\xd8":
                raise EmbedError(f"the JPEG's index names a picture at byte {picture.start} that is not there")

    def moved(self, grown: int) -> PictureIndex:
        """The index once the first picture has grown by this many bytes before its data."""
        first, *others = self.pictures
        # A writer that left the first size out leaves it to the reader.
        own = Picture(0, first.size_bytes + grown if first.size_bytes else 0)
        return PictureIndex(
            self.order, self.entries_at, (own, *(Picture(one.start + grown, one.size_bytes) for one in others))
        )

    def written(self, tiff: bytes, *, tiff_at: int) -> bytes:
        """The TIFF with these pictures, in a file where it begins at `tiff_at`; nothing else in it changes.

        Raises:
            EmbedError: A number does not fit.
        """
        changed = bytearray(tiff)
        for number, picture in enumerate(self.pictures):
            offset = picture.start - tiff_at if number else 0
            if not 0 <= offset <= _LARGEST_NUMBER or not 0 <= picture.size_bytes <= _LARGEST_NUMBER:
                raise EmbedError("the JPEG's index of pictures cannot name where they would be")
            at = self.entries_at + number * _ENTRY_BYTES
            struct.pack_into(f"{self.order}LL", changed, at + 4, picture.size_bytes, offset)
        return bytes(changed)


def _find_entries(tiff: bytes, order: str) -> tuple[int, int]:
    """Where the entries are and how many bytes they have."""
    (directory,) = struct.unpack_from(f"{order}L", tiff, 4)
    (fields,) = struct.unpack_from(f"{order}H", tiff, directory)
    for number in range(fields):
        tag, kind, size, at = struct.unpack_from(f"{order}HHLL", tiff, directory + 2 + 12 * number)
        if tag == _ENTRIES:
            if kind != _UNDEFINED or size % _ENTRY_BYTES or at + size > len(tiff):
                raise EmbedError("the JPEG's index of pictures is cut")
            return at, size
    raise EmbedError("the JPEG's index of pictures names none")
