"""The index of a JPEG that holds several pictures: where each of them is. CIPA DC-007, sections 5.1 and 5.2.

Phones put a second view, a gain map or a depth map behind the first picture's end. The index stands in a segment of the
first picture and counts from its own TIFF header on, so it has to be written anew where anything is put before a picture.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from seedream_assets.errors import MarkError

MPF_HEADER = b"MPF\x00"
_ENTRIES, _UNDEFINED = 0xB002, 7
_ENTRY_BYTES = 16
_LARGEST_NUMBER = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as the index tells it: where in the file it begins, and how many bytes it has."""

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
            MarkError: It cannot be read.
        """
        order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
        if order is None:
            raise MarkError("the JPEG's index of pictures does not begin as one")
        try:
            entries_at, size = _find_entries(tiff, order)
            entries = list(struct.iter_unpack(f"{order}LLLHH", tiff[entries_at : entries_at + size]))
        except struct.error as error:
            raise MarkError("the JPEG's index of pictures is cut") from error
        if not entries or entries[0][2]:
            raise MarkError("the JPEG's index of pictures does not begin with the first")
        starts = [0, *(tiff_at + offset for _, _, offset, _, _ in entries[1:])]
        pictures = tuple(Picture(start, entry[1]) for start, entry in zip(starts, entries, strict=True))
        return cls(order, entries_at, pictures)

    def refuse_unless_fits(self, body: bytes, *, behind: int) -> None:
        """Hold it against the file.

        Args:
            body: The file.
            behind: Where the first picture's own data begin: the others stand behind that.

        Raises:
            MarkError: A picture that it names is not there.
        """
        if self.pictures[0].end > len(body):
            raise MarkError("the JPEG's index of pictures names more than the file holds")
        for picture in self.pictures[1:]:
            if picture.start < behind or picture.end > len(body) or body[picture.start :][:2] != b"\xff\xd8":
                raise MarkError(f"the JPEG's index names a picture at byte {picture.start} that is not there")

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
            MarkError: A number does not fit.
        """
        changed = bytearray(tiff)
        for number, picture in enumerate(self.pictures):
            offset = picture.start - tiff_at if number else 0
            if not 0 <= offset <= _LARGEST_NUMBER or not 0 <= picture.size_bytes <= _LARGEST_NUMBER:
                raise MarkError("the JPEG's index of pictures cannot name where they would be")
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
                raise MarkError("the JPEG's index of pictures is cut")
            return at, size
    raise MarkError("the JPEG's index of pictures names none")
