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

from seedream_assets.errors import EmbedError
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
class EmbeddedMetadata:
    """What one image says about itself. Equal values give equal bytes: nothing depends on the moment of writing.

    Attributes:
        source_sha256: Of the bytes as the provider served them.
        created_at: Leonardo's own time; None where it gave none.
        from_references: True where reference images went into the picture.
        prompt: Only where the owner wants it in the file.
        prompt_writer: Only where a column names one.
    """

    image_id: str
    request_id: str
    spec_id: str
    sample: int
    seed: int | None
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
    """The ids in the embedded metadata, as read back; all but the image's may be missing where somebody took them out."""

    image_id: str
    request_id: str | None
    generation_id: str | None
    source_sha256: str | None


def build_packet(metadata: EmbeddedMetadata) -> bytes:
    """A whole packet with nothing but the metadata."""
    return (_HEAD + _description(metadata, about="", taken=frozenset()) + _TAIL).encode()


def join_packet(packet: bytes, metadata: EmbeddedMetadata) -> bytes:
    """An upstream packet with the metadata added. What upstream says stays as it is: a property it has is not repeated.

    Raises:
        EmbedError: The packet is not UTF-8, not XML, or holds our metadata already.
    """
    text = _text_of(packet)
    refuse_stated_length(packet)
    properties, about = _properties_in(text)
    if any(name.startswith(f"{{{OWN}}}") for name in properties):
        raise EmbedError("the image carries metadata of seedream-assets already")
    ends = list(_END_OF_RDF.finditer(text))
    if not ends:
        raise EmbedError("the image's own XMP has no place for more")
    at = ends[-1].start()
    joined = text[:at] + _description(metadata, about=about, taken=frozenset(properties)) + text[at:]
    if _ids_in(joined) is None:
        raise EmbedError("the image's own XMP cannot be added to")
    return joined.encode()


def refuse_stated_length(packet: bytes | None) -> None:
    """Look for a container of several pictures that says how long the main one is: our metadata would change that.

    The others' lengths, as gain maps have them, stay right wherever they begin.

    Raises:
        EmbedError: It says so. A packet that cannot be read says nothing.
    """
    try:
        items = list(_parsed(_text_of(packet or b"")).iter())
    except EmbedError:
        return
    for item in items:
        stated = {child.tag: child.text or "" for child in item} | dict(item.attrib)
        if stated.get(f"{{{CONTAINER_ITEM}}}Semantic", "").strip() == "Primary" and stated.get(
            f"{{{CONTAINER_ITEM}}}Length", ""
        ).strip() not in ("", "0"):
            raise EmbedError(
                "the image's own XMP says how long the main picture is, and our metadata would change that"
            )


def part_packet(packet: bytes) -> bytes | None:
    """The upstream packet without our metadata; None where there was none before.

    Raises:
        EmbedError: There is none in it, as this package writes it.
    """
    text = _text_of(packet)
    parted, found = _OURS.subn("", text)
    if not found:
        raise EmbedError(
            "the XMP does not hold our metadata as seedream-assets writes it; another program has written it anew"
        )
    return None if parted == _HEAD + _TAIL else parted.encode()


def read_packet(packet: bytes) -> EmbeddedIds | None:
    """The ids in a packet, whoever wrote it last; None where it holds none or cannot be read."""
    try:
        return _ids_in(_text_of(packet))
    except EmbedError:
        return None


def _description(metadata: EmbeddedMetadata, *, about: str, taken: frozenset[str]) -> str:
    lines = [f'{_OPENING} xmlns:Iptc4xmpExt="{IPTC_EXTENSION}" xmlns:xmp="{XMP}" rdf:about={_quoted(about)}>']
    for prefix, namespace, name, value in _properties_of(metadata):
        if f"{{{namespace}}}{name}" not in taken:
            lines.append(f" <{prefix}:{name}>{_escaped(value)}</{prefix}:{name}>")
    return "\n".join(lines) + "\n" + _CLOSING


def _properties_of(metadata: EmbeddedMetadata) -> Iterator[tuple[str, str, str, str]]:
    family, _, version = metadata.model.rpartition("-")
    system = f"{(family or metadata.model).capitalize()} via Leonardo.ai"
    iptc = {
        "DigitalSourceType": GENERATED_FROM_REFERENCES if metadata.from_references else GENERATED,
        "AISystemUsed": system,
        "AISystemVersionUsed": version if family else None,
        "AIPromptInformation": metadata.prompt,
        "AIPromptWriterName": metadata.prompt_writer,
    }
    xmp = {"CreatorTool": system, "CreateDate": _time(metadata.created_at)}
    own = {
        "ImageId": metadata.image_id,
        "RequestId": metadata.request_id,
        "SpecId": metadata.spec_id,
        "Sample": str(metadata.sample),
        "Seed": None if metadata.seed is None else str(metadata.seed),
        "Model": metadata.model,
        "GenerationId": metadata.generation_id,
        "ProviderImageId": metadata.provider_image_id,
        "PromptSHA256": metadata.prompt_sha256,
        "SourceSHA256": metadata.source_sha256,
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
        raise EmbedError("the image's own XMP is not in UTF-8") from error


def _parsed(text: str) -> ElementTree.Element:
    # Without a document type there are no entities of its own, so nothing can grow or reach out while it is parsed.
    if "<!" in re.sub(r"<!--.*?-->|<!\[CDATA\[.*?\]\]>", "", text, flags=re.DOTALL):
        raise EmbedError("the image's own XMP declares a document type")
    try:
        return ElementTree.fromstring(text.strip("\ufeff\x00 \t\r\n").encode())  # noqa: S314  # see above
    except (ElementTree.ParseError, ValueError) as error:
        raise EmbedError(f"the image's own XMP is not XML: {error}") from error


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
        """What the file may have been before metadata was put into it, the likeliest first."""
        ...


def parse_image(body: bytes) -> ImageFile:
    """Take an image apart by what its first bytes say it is.

    Raises:
        EmbedError: No JPEG, PNG or WebP, or one whose lengths do not add up.
    """
    if body.startswith(b"\xff\xd8"):
        return JpegFile.parse(body)
    if body.startswith(b"\x89PNG"):
        return PngFile.parse(body)
    if body.startswith(b"RIFF"):
        return WebpFile.parse(body)
    raise EmbedError(f"only JPEG, PNG and WebP carry embedded metadata; it begins with {body[:8]!r}")


def embed_metadata(body: bytes, metadata: EmbeddedMetadata) -> bytes:
    """The same picture with the metadata in it. An upstream XMP packet is joined, never doubled. Repeatable to the byte.

    Raises:
        EmbedError: The image cannot carry it, or carries one already; keep it as it is.
    """
    image = parse_image(body)
    upstream = image.xmp
    return image.with_xmp(build_packet(metadata) if upstream is None else join_packet(upstream, metadata)).to_bytes()


def read_metadata(body: bytes) -> EmbeddedIds | None:
    """The ids that an image carries, also after another program has written its metadata anew; None where it has none."""
    try:
        packet = parse_image(body).xmp
    except EmbedError:
        return None
    return None if packet is None else read_packet(packet)


def has_credentials(body: bytes) -> bool:
    """True where an image carries a C2PA manifest, whoever signed it. It is not verified here."""
    try:
        return parse_image(body).has_credentials
    except EmbedError:
        return False


def remove_metadata(body: bytes) -> bytes:
    """The provider's own bytes, from an image with our metadata; proven by their hash, which is in the metadata.

    Raises:
        EmbedError: There is none of our metadata, or the bytes cannot be had back: another program has written the file
            anew since, or the provider signed it, or it held its own XMP compressed. The metadata still has their hash.
    """
    ids = read_metadata(body)
    if ids is None:
        raise EmbedError("the image carries no metadata of seedream-assets")
    image = parse_image(body).without_credentials()
    packet = part_packet(image.xmp or b"")
    before = image.without_xmp() if packet is None else image.with_xmp(packet)
    for candidate in before.candidates():
        if sha256(candidate).hexdigest() == ids.source_sha256:
            return candidate
    raise EmbedError(f"the provider's bytes cannot be had back; their SHA-256 was {ids.source_sha256}")
