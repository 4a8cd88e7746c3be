"""C2PA content credentials: an image signed with the owner's certificate. Needs the extra `seedream-assets[c2pa]`.

Here belongs what is asserted and how the library is called. The private key is read when a run starts, stands in no
repr, log or error, and is handed to the library alone.

Thumbnails are left out: they would make a manifest of 4 kB ten to four hundred times larger.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

from PIL import Image

from seedream_assets.config.images import INSTALL_C2PA, C2paSigning
from seedream_assets.errors import ConfigError, EmbedError
from seedream_assets.images.jpeg import JpegFile
from seedream_assets.images.xmp import (
    GENERATED,
    GENERATED_FROM_REFERENCES,
    EmbeddedMetadata,
    has_credentials,
    parse_image,
    refuse_stated_length,
)

# Our own facts in the manifest; C2PA wants such labels in reverse-domain form.
OWN_ASSERTION = "org.seedream-assets.generation"
_FORMATS = {b"\xff\xd8": "image/jpeg", b"\x89PNG": "image/png", b"RIFF": "image/webp"}
_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"verify_after_sign": False, "verify_trust": False, "remote_manifest_fetch": False},
}


def refuse_without_library() -> None:
    """Say at once that signing needs an extra.

    Raises:
        ConfigError: c2pa-python is not installed.
    """
    if importlib.util.find_spec("c2pa") is None:
        raise ConfigError(f"provenance.c2pa: signing needs c2pa-python, which is not installed; {INSTALL_C2PA}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentCredentials:
    """Signs images.

    Attributes:
        certificates, private_key: PEM; the key is never shown.
        algorithm: As `C2paSigning`.
        timestamp_url: As `C2paSigning`.
        software: Name and version of this package, as the manifest has them.
    """

    certificates: bytes = field(repr=False)
    private_key: bytes = field(repr=False)
    algorithm: str
    timestamp_url: str | None
    software: Mapping[str, str]

    def sign(self, body: bytes, metadata: EmbeddedMetadata, *, provider_bytes: bytes) -> bytes:
        """The same image with a signed manifest. Every call gives other bytes: a manifest has a time and a new id.

        Args:
            body: With its XMP already; any later change would break the signature.
            metadata: What is asserted.
            provider_bytes: As they came. Where the provider signed them, its manifest becomes the parent of ours.

        Raises:
            EmbedError: It could not be signed; `body` stays as good as it was.
        """
        unsigned = parse_image(body).without_credentials() if has_credentials(provider_bytes) else parse_image(body)
        if isinstance(unsigned, JpegFile):
            refuse_stated_length(unsigned.xmp)
        signed = self._signed(unsigned.to_bytes(), metadata, provider_bytes)
        if not isinstance(unsigned, JpegFile) or not unsigned.holds_several:
            return signed
        # Of a JPEG that holds several pictures the manifest lengthens the first one, and their index would be wrong. How
        # much is known now: the index is put right before it is signed over, and looked at in what came out.
        as_signed = unsigned.index_for(JpegFile.parse(signed))
        signed_again = self._signed(as_signed.to_bytes(), metadata, provider_bytes)
        if not JpegFile.parse(signed_again).holds_the_pictures_of(unsigned):
            raise EmbedError("it could not be signed so that all of its pictures are found")
        return signed_again

    def _signed(self, unsigned: bytes, metadata: EmbeddedMetadata, provider_bytes: bytes) -> bytes:
        import c2pa

        signed = io.BytesIO()
        is_signed_already = has_credentials(provider_bytes)
        try:
            with (
                c2pa.Context.from_dict(_SETTINGS) as context,
                c2pa.Builder(self._manifest(metadata, is_signed_already), context=context) as builder,
                self._signer() as signer,
            ):
                if is_signed_already:
                    builder.set_intent(c2pa.C2paBuilderIntent.EDIT)  # says that the parent was opened
                    parent = {"title": "provider's image", "relationship": "parentOf"}
                    builder.add_ingredient(json.dumps(parent), _format_of(provider_bytes), io.BytesIO(provider_bytes))
                builder.sign(signer, _format_of(unsigned), io.BytesIO(unsigned), signed)
        except (c2pa.C2paError, ValueError) as error:
            raise EmbedError(f"it could not be signed: {error}") from error
        return signed.getvalue()

    def _signer(self) -> Any:
        import c2pa

        info = c2pa.C2paSignerInfo(
            alg=self.algorithm.encode(),
            sign_cert=self.certificates,
            private_key=self.private_key,
            ta_url=self.timestamp_url.encode() if self.timestamp_url else None,
        )
        return c2pa.Signer.from_info(info)

    def _manifest(self, metadata: EmbeddedMetadata, is_signed_already: bool) -> str:
        source_type = GENERATED_FROM_REFERENCES if metadata.from_references else GENERATED
        agent = {"name": f"{metadata.model} via Leonardo.ai"}
        when = {"when": metadata.created_at.astimezone(UTC).isoformat()} if metadata.created_at else {}
        created = {"action": "c2pa.created", "digitalSourceType": source_type, "softwareAgent": agent, **when}
        # What the provider signed was created there, and says so in its own manifest.
        edited = {"action": "c2pa.edited.metadata", "softwareAgent": dict(self.software)}
        facts = {
            "image_id": metadata.image_id,
            "request_id": metadata.request_id,
            "generation_id": metadata.generation_id,
            "spec_id": metadata.spec_id,
            "sample": metadata.sample,
            "prompt_sha256": metadata.prompt_sha256,
            "source_sha256": metadata.source_sha256,
        }
        actions = [edited] if is_signed_already else [created]
        manifest = {
            "claim_generator_info": [dict(self.software)],
            "title": metadata.image_id,
            "assertions": [
                {"label": "c2pa.actions.v2", "data": {"actions": actions}},
                {"label": OWN_ASSERTION, "data": facts},
            ],
        }
        return json.dumps(manifest)


def open_credentials(signing: C2paSigning, *, base: PurePath, version: str) -> ContentCredentials:
    """Read certificate and key, and sign a picture of one pixel to see that they fit, before anything is bought.

    Args:
        signing: As declared.
        base: Where relative paths start.
        version: Of this package.

    Raises:
        ConfigError: The library is missing, a file or the variable is, or the two do not sign.
    """
    refuse_without_library()
    credentials = ContentCredentials(
        certificates=_read(signing.certificate, base, "certificate"),
        private_key=_private_key(signing, base),
        algorithm=signing.algorithm,
        timestamp_url=signing.timestamp_url,
        software={"name": "seedream-assets", "version": version},
    )
    pixel = io.BytesIO()
    Image.new("RGB", (1, 1)).save(pixel, "PNG")
    try:
        _refuse_invalid(credentials.sign(pixel.getvalue(), _TRIAL, provider_bytes=pixel.getvalue()))
    except EmbedError as error:
        raise ConfigError(
            f"provenance.c2pa: a trial image was not signed; {error}. Certificate chain and private key are PEM, belong "
            f"together, and the key is one for {signing.algorithm}"
        ) from error
    return credentials


def _refuse_invalid(signed: bytes) -> None:
    """A signature can be made with a key that is not the certificate's, or with one that has run out."""
    import c2pa

    with (
        c2pa.Context.from_dict(_SETTINGS) as context,
        c2pa.Reader(_format_of(signed), io.BytesIO(signed), context=context) as reader,
    ):
        found = json.loads(reader.json())
    if found.get("validation_state") not in ("Valid", "Trusted"):
        reasons = [status.get("explanation") or status["code"] for status in found.get("validation_status", ())]
        raise EmbedError("its signature is not valid: " + "; ".join(reasons))


_TRIAL = EmbeddedMetadata(
    image_id="trial",
    request_id="trial",
    spec_id="trial",
    sample=0,
    seed=0,
    model="trial-0",
    generation_id="trial",
    prompt_sha256="trial",
    source_sha256="trial",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def _private_key(signing: C2paSigning, base: PurePath) -> bytes:
    if signing.private_key_file is not None:
        return _read(signing.private_key_file, base, "private_key_file")
    key = os.environ.get(str(signing.private_key_variable), "")
    if not key:
        raise ConfigError(
            f"provenance.c2pa.private_key_variable: {signing.private_key_variable} is not set where this runs; put the "
            "private key in PEM into it"
        )
    return key.encode()


def _read(path: str, base: PurePath, name: str) -> bytes:
    try:
        return (Path(base) / Path(path).expanduser()).read_bytes()
    except OSError as error:
        raise ConfigError(f"provenance.c2pa.{name}: {path} cannot be read: {error.strerror}") from error


def _format_of(body: bytes) -> str:
    found = next((content_type for begins, content_type in _FORMATS.items() if body.startswith(begins)), None)
    if found is None:
        raise EmbedError("only JPEG, PNG and WebP are signed")
    return found
