"""Reference images: the presigned form that is issued, and the upload that follows.

What was issued, what arrived, and when the form expires. Whether a generation may use an image is in `account`.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

CONTENT_TYPES: Final = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp"}
LARGEST_UPLOAD_BYTES: Final = 25 * 1024 * 1024
FORM_SECONDS: Final = 120.0
"""How long a form can be used."""

_BUCKET: Final = "emulated-init-images"
_SIGNATURES: Final = {"image/png": (0, b"\x89PNG"), "image/jpeg": (0, b"\xff\xd8\xff"), "image/webp": (8, b"WEBP")}


class UploadRefusedError(Exception):
    """What the object store answers to a form it does not take: an HTTP status and an S3 error code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Keep what the answer needs."""
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(slots=True)
class InitImage:
    """A reference image. Its id exists before its bytes do: `sha256` is None until they arrive."""

    id: str
    key: str
    content_type: str
    expires_at: float
    signature: str
    sha256: str | None = None
    matches_extension: bool = True

    def form(self) -> dict[str, str]:
        """Write the fields that the upload has to carry, in the vendor's order."""
        return {
            "Content-Type": self.content_type,
            "bucket": _BUCKET,
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": "EMULATED/us-east-1/s3/aws4_request",
            "X-Amz-Date": "20261122T000000Z",
            "key": self.key,
            "Policy": "ZW11bGF0ZWQ=",
            "X-Amz-Signature": self.signature,
        }


class InitImages:
    """The account's reference images. Not thread-safe: the account holds the lock."""

    def __init__(self, user_id: str) -> None:
        """Start with none."""
        self._user_id = user_id
        self._by_id: dict[str, InitImage] = {}
        self._by_key: dict[str, InitImage] = {}

    def issue(self, extension: str, now: float) -> InitImage:
        """Promise a place for an image whose bytes are still to come."""
        identity = str(uuid.uuid4())
        image = InitImage(
            id=identity,
            key=f"users/{self._user_id}/initImages/{identity}.{extension}",
            content_type=CONTENT_TYPES[extension],
            expires_at=now + FORM_SECONDS,
            signature=secrets.token_hex(32),
        )
        self._by_id[image.id] = self._by_key[image.key] = image
        return image

    def receive(self, parts: Sequence[tuple[str, bytes]], now: float) -> InitImage:
        """Take an upload: the fields of the form in any order, then the file.

        Raises:
            UploadRefusedError: With the answer that S3 gives.
        """
        if not parts or parts[-1][0] != "file":
            raise UploadRefusedError(
                400, "InvalidArgument", "POST requires exactly one file upload, as the last field."
            )
        fields: Mapping[str, str] = {name: content.decode("utf-8", "replace") for name, content in parts[:-1]}
        content = parts[-1][1]
        image = self._by_key.get(fields.get("key", ""))
        if image is None or fields != image.form():
            raise UploadRefusedError(403, "SignatureDoesNotMatch", "The form is not the one that was issued.")
        if now > image.expires_at:
            raise UploadRefusedError(403, "AccessDenied", "Invalid according to Policy: Policy expired.")
        if not content or len(content) > LARGEST_UPLOAD_BYTES:
            raise UploadRefusedError(
                400, "EntityTooLarge" if content else "EntityTooSmall", "Your proposed upload size."
            )
        image.sha256 = hashlib.sha256(content).hexdigest()
        at, mark = _SIGNATURES[image.content_type]
        image.matches_extension = content[at : at + len(mark)] == mark
        return image

    def get(self, identity: str) -> InitImage | None:
        """Find an issued image, uploaded or not."""
        return self._by_id.get(identity)


def read_form(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """Split a multipart/form-data body into (name, content) pairs, in the order they came; empty if it is none."""
    _, _, boundary = content_type.partition("boundary=")
    if not content_type.startswith("multipart/form-data") or not boundary:
        return []
    mark = b"--" + boundary.strip().strip('"').encode()
    parts = []
    for piece in (b"\r\n" + body).split(b"\r\n" + mark)[1:]:
        head, blank, content = piece.partition(b"\r\n\r\n")
        if not blank:
            continue
        _, named, rest = head.partition(b'name="')
        if named:
            parts.append((rest.split(b'"')[0].decode("utf-8", "replace"), content))
    return parts
