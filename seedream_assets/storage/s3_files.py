"""Large files to S3 in parts, and which stores are on one server. The store's promises are in `s3`."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


def upload_file(client: S3Client, request: Mapping[str, Any], path: Path, *, part_bytes: int) -> None:
    """Write a file under a key, in parts where it is larger than one.

    A process killed in between leaves parts that S3 bills and does not show; a lifecycle rule on the bucket
    (AbortIncompleteMultipartUpload) removes them.

    Args:
        client: Of the bucket.
        request: As for `put_object`; its body is ignored. A checksum in it is that of the whole file.
        path: The file.
        part_bytes: Size of a part; S3 wants at least 5 MiB of all but the last.

    Raises:
        ClientError, BotoCoreError: It was not written; the parts that were are given up.
    """
    if path.stat().st_size <= part_bytes:
        client.put_object(**{**request, "Body": path.read_bytes()})
        return
    place = {"Bucket": request["Bucket"], "Key": request["Key"]}
    with_checksums = "ChecksumSHA256" in request
    begun = {name: value for name, value in request.items() if name not in ("Body", "ChecksumSHA256")}
    upload: dict[str, Any] = {**place, "UploadId": client.create_multipart_upload(**begun)["UploadId"]}
    parts: list[dict[str, Any]] = []
    try:
        with path.open("rb") as file:
            while body := file.read(part_bytes):
                part: dict[str, Any] = {"PartNumber": len(parts) + 1}
                if with_checksums:
                    part["ChecksumSHA256"] = base64.b64encode(hashlib.sha256(body).digest()).decode()
                parts.append({**part, "ETag": client.upload_part(**upload, **part, Body=body)["ETag"]})
        done: Any = {"Parts": parts}
        client.complete_multipart_upload(**upload, MultipartUpload=done)
    except BaseException:
        with suppress(ClientError, BotoCoreError):
            client.abort_multipart_upload(**upload)
        raise


def share_a_server(one: S3Client, other: S3Client) -> bool:
    """Whether a copy between buckets of the two can be left to the server: all of AWS counts as one."""
    first, second = (urlsplit(client.meta.endpoint_url) for client in (one, other))
    amazon = all((parts.hostname or "").endswith(".amazonaws.com") for parts in (first, second))
    return amazon or first == second
