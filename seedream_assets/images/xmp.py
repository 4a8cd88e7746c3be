"""XMP metadata embedded in an image: put in without touching a pixel, read, and taken out to the last byte.

The IPTC properties are those of the Photo Metadata Standard 2025.1 (November 2025), namespace `Iptc4xmpExt`; the terms
of DigitalSourceType are IPTC's NewsCodes. The ids stand in a namespace of this project's own. How a file format carries
XMP is in `jpeg`, `png` and `webp`. Signing needs a key and a library, and is in `c2pa`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Protocol
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from seedream_assets.errors import MarkError
from seedream_assets.images.jpeg import JpegFile
from seedream_assets.images.png import PngFile
from seedream_assets.images.webp import WebpFile

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
IPTC_EXTENSION = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
XMP = "http://ns.adobe.com/xap/1.0/"
# Google's GContainer: which pictures a file holds one behind the other, and how long each is.
CONTAINER_ITEM = "http://ns.google.com/photos/1.0/container/item/"
OWN = "urn:seedream-assets:xmp:1:"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED = f"{SOURCE_TYPE}trainedAlgorithmicMedia"
GENERATED_FROM_REFERENCES = f"{SOURCE_TYPE}compositeWithTrainedAlgorithmicMedia"

_HEAD = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}">\n'
)
_TAIL = '</rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>'
_OPENING = f'<rdf:Description xmlns:rdf="{RDF}" xmlns:seedream="{OWN}"'
_CLOSING = "</rdf:Description>\n"
_OURS = re.compile(re.escape(_OPENING) + ".*?" + re.escape(_CLOSING), re.DOTALL)
_END_OF_RDF = re.compile(r"</(?:[\w.-]+:)?RDF\s*>")
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What one image tells about itself. Equal marks are equal bytes: nothing here is of the moment of writing.

    Attributes:
        source_sha256: Of the bytes as the provider served them.
        created_at: Leonardo's own time; None where it told none.
        from_references: True where reference images went into the picture.
        prompt: Only where the owner wants it in the file.
        prompt_writer: Only where a column names one.
    """

    image_id: str
    request_id: str
    spec_id: str
    sample: int
    seed: int
    model: str
    generation_id: str
    prompt_sha256: str
    source_sha256: str
    provider_image_id: str | None = None
    created_at: datetime | None = None
    from_references: bool = False
    prompt: str | None = None
    prompt_writer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedIds:
    """The ids that a mark carries, as read back; all but the image's may be missing where somebody took them out."""

    image_id: str
    request_id: str | None
    generation_id: str | None
    source_sha256: str | None


def build_packet(mark: Mark) -> bytes:
    """A whole packet with nothing but the mark."""
    return (_HEAD + _description(mark, about="", taken=frozenset()) + _TAIL).encode()


def join_packet(packet: bytes, mark: Mark) -> bytes:
    """An upstream packet with the mark added. What upstream says stays as it is: a property it has is not repeated.

    Raises:
        MarkError: The packet is not UTF-8, not XML, or carries a mark already.
    """
    text = _text_of(packet)
    refuse_stated_length(packet)
    properties, about = _properties_in(text)
    if any(name.startswith(f"{{{OWN}}}") for name in properties):
        raise MarkError("the image carries a mark already")
    ends = list(_END_OF_RDF.finditer(text))
    if not ends:
        raise MarkError("the image's own XMP has no place for more")
    at = ends[-1].start()
    joined = text[:at] + _description(mark, about=about, taken=frozenset(properties)) + text[at:]
    if _ids_in(joined) is None:
        raise MarkError("the image's own XMP cannot be added to")
    return joined.encode()


def refuse_stated_length(packet: bytes | None) -> None:
    """Look for a container of several pictures that says how long the main one is: that, a mark would change.

    The others' lengths, as gain maps have them, stay right wherever they begin.

    Raises:
        MarkError: It says so. A packet that cannot be read says nothing.
    """
    try:
        items = list(_parsed(_text_of(packet or b"")).iter())
    except MarkError:
        return
    for item in items:
        told = {child.tag: child.text or "" for child in item} | dict(item.attrib)
        if told.get(f"{{{CONTAINER_ITEM}}}Semantic", "").strip() == "Primary" and told.get(
            f"{{{CONTAINER_ITEM}}}Length", ""
        ).strip() not in ("", "0"):
            raise MarkError("the image's own XMP says how long the main picture is, and a mark would change that")


def part_packet(packet: bytes) -> bytes | None:
    """The upstream packet without the mark; None where there was none before.

    Raises:
        MarkError: There is no mark in it, as this package writes one.
    """
    text = _text_of(packet)
    parted, found = _OURS.subn("", text)
    if not found:
        raise MarkError("the XMP holds no mark as seedream-assets writes one; another program has written it anew")
    return None if parted == _HEAD + _TAIL else parted.encode()


def read_packet(packet: bytes) -> EmbeddedIds | None:
    """The ids in a packet, whoever wrote it last; None where it holds none or cannot be read."""
    try:
        return _ids_in(_text_of(packet))
    except MarkError:
        return None


def _description(mark: Mark, *, about: str, taken: frozenset[str]) -> str:
    lines = [f'{_OPENING} xmlns:Iptc4xmpExt="{IPTC_EXTENSION}" xmlns:xmp="{XMP}" rdf:about={_quoted(about)}>']
    for prefix, namespace, name, value in _properties_of(mark):
        if f"{{{namespace}}}{name}" not in taken:
            lines.append(f" <{prefix}:{name}>{_escaped(value)}</{prefix}:{name}>")
    return "\n".join(lines) + "\n" + _CLOSING


def _properties_of(mark: Mark) -> Iterator[tuple[str, str, str, str]]:
    family, _, version = mark.model.rpartition("-")
    system = f"{(family or mark.model).capitalize()} via Leonardo.ai"
    iptc = {
        "DigitalSourceType": GENERATED_FROM_REFERENCES if mark.from_references else GENERATED,
        "AISystemUsed": system,
        "AISystemVersionUsed": version if family else None,
        "AIPromptInformation": mark.prompt,
        "AIPromptWriterName": mark.prompt_writer,
    }
    xmp = {"CreatorTool": system, "CreateDate": _time(mark.created_at)}
    own = {
        "ImageId": mark.image_id,
        "RequestId": mark.request_id,
        "SpecId": mark.spec_id,
        "Sample": str(mark.sample),
        "Seed": str(mark.seed),
        "Model": mark.model,
        "GenerationId": mark.generation_id,
        "ProviderImageId": mark.provider_image_id,
        "PromptSHA256": mark.prompt_sha256,
        "SourceSHA256": mark.source_sha256,
    }
    for prefix, namespace, values in (
        ("Iptc4xmpExt", IPTC_EXTENSION, iptc),
        ("xmp", XMP, xmp),
        ("seedream", OWN, own),
    ):
        for name, value in values.items():
            if value:
                yield prefix, namespace, name, value


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _escaped(value: str) -> str:
    # A character that XML does not know, such as a control character in a prompt, becomes the sign for that.
    return escape(_NOT_IN_XML.sub("\ufffd", value), {"\r": "&#13;"})


def _quoted(value: str) -> str:
    return '"' + escape(value, {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}) + '"'


def _text_of(packet: bytes) -> str:
    try:
        return packet.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MarkError("the image's own XMP is not in UTF-8") from error


def _parsed(text: str) -> ElementTree.Element:
    # Without a document type there are no entities of its own, so nothing can grow or reach out while it is parsed.
    if "<!" in re.sub(r"<!--.*?-->|<!\[CDATA\[.*?\]\]>", "", text, flags=re.DOTALL):
        raise MarkError("the image's own XMP declares a document type")
    try:
        return ElementTree.fromstring(text.strip("\ufeff\x00 \t\r\n").encode())  # noqa: S314  # see above
    except (ElementTree.ParseError, ValueError) as error:
        raise MarkError(f"the image's own XMP is not XML: {error}") from error


def _properties_in(text: str) -> tuple[set[str], str]:
    """The qualified names of all properties, and what they are about."""
    properties: set[str] = set()
    about = ""
    for description in _parsed(text).iter(f"{{{RDF}}}Description"):
        about = about or description.get(f"{{{RDF}}}about", "")
        properties |= {child.tag for child in description} | set(description.attrib)
    return properties, about


def _ids_in(text: str) -> EmbeddedIds | None:
    found: dict[str, str] = {}
    for description in _parsed(text).iter(f"{{{RDF}}}Description"):
        for child in description:
            found.setdefault(child.tag, (child.text or "").strip())
        for name, value in description.attrib.items():
            found.setdefault(name, value.strip())
    image_id = found.get(f"{{{OWN}}}ImageId")
    if not image_id:
        return None
    return EmbeddedIds(
        image_id=image_id,
        request_id=found.get(f"{{{OWN}}}RequestId"),
        generation_id=found.get(f"{{{OWN}}}GenerationId"),
        source_sha256=found.get(f"{{{OWN}}}SourceSHA256"),
    )


class ImageFile(Protocol):
    """An image taken apart into what its container holds. Values; every change gives a new one."""

    @property
    def xmp(self) -> bytes | None:
        """The XMP packet; None where there is none."""
        ...

    @property
    def has_credentials(self) -> bool:
        """True where the file carries a C2PA manifest."""
        ...

    def with_xmp(self, packet: bytes) -> ImageFile:
        """The same file with this packet, in the place of the one it has."""
        ...

    def without_xmp(self) -> ImageFile:
        """The same file without its XMP packet."""
        ...

    def without_credentials(self) -> ImageFile:
        """The same file without its C2PA manifest."""
        ...

    def to_bytes(self) -> bytes:
        """The file, byte for byte as it was taken apart where nothing was changed."""
        ...

    def candidates(self) -> Iterator[bytes]:
        """What the file may have been before a mark was put into it, the likeliest first."""
        ...


def parse_image(body: bytes) -> ImageFile:
    """Take an image apart by what its first bytes say it is.

    Raises:
        MarkError: No JPEG, PNG or WebP, or one whose lengths do not add up.
    """
    if body.startswith(b"\xff\xd8"):
        return JpegFile.parse(body)
    if body.startswith(b"\x89PNG"):
        return PngFile.parse(body)
    if body.startswith(b"RIFF"):
        return WebpFile.parse(body)
    raise MarkError(f"only JPEG, PNG and WebP carry marks; it begins with {body[:8]!r}")


def mark_image(body: bytes, mark: Mark) -> bytes:
    """The same picture with the mark in it. An upstream XMP packet is joined, never doubled. Repeatable to the byte.

    Raises:
        MarkError: The image cannot carry it, or carries one already; keep it as it is.
    """
    image = parse_image(body)
    upstream = image.xmp
    return image.with_xmp(build_packet(mark) if upstream is None else join_packet(upstream, mark)).to_bytes()


def read_mark(body: bytes) -> EmbeddedIds | None:
    """The ids that an image carries, also after another program has written its metadata anew; None where it has none."""
    try:
        packet = parse_image(body).xmp
    except MarkError:
        return None
    return None if packet is None else read_packet(packet)


def has_credentials(body: bytes) -> bool:
    """True where an image carries a C2PA manifest, whoever signed it. It is not verified here."""
    try:
        return parse_image(body).has_credentials
    except MarkError:
        return False


def unmark_image(body: bytes) -> bytes:
    """The provider's own bytes, from a marked and perhaps signed image; proven by their hash, which is in the mark.

    Raises:
        MarkError: There is no mark, or the bytes cannot be had back: the file was written anew since it was marked, or
            was signed by the provider, or held its own XMP compressed. The mark then still tells their hash.
    """
    ids = read_mark(body)
    if ids is None:
        raise MarkError("the image carries no mark of seedream-assets")
    image = parse_image(body).without_credentials()
    packet = part_packet(image.xmp or b"")
    before = image.without_xmp() if packet is None else image.with_xmp(packet)
    for candidate in before.candidates():
        if sha256(candidate).hexdigest() == ids.source_sha256:
            return candidate
    raise MarkError(f"the provider's bytes cannot be had back; their SHA-256 was {ids.source_sha256}")
