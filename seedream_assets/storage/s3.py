"""A bucket, or a folder of one, as an object store: how S3 keeps the promises of `ObjectStore`, above all of `create`.

What S3's errors mean for a caller, and large files in parts, are here too. Client settings are in `s3_client`.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    ResponseStreamingError,
    SSLError,
)
from botocore.exceptions import ConnectionError as NoConnectionError
from botocore.session import get_session

from seedream_assets.config.addresses import HIDDEN, shown
from seedream_assets.config.retry import repeat_blocking
from seedream_assets.errors import ObjectNotFound, StoreError, StoreRefused, StoreUnavailable
from seedream_assets.storage.object_store import (
    NO_METADATA,
    OWN_FOLDERS,
    PROBE_FOLDER,
    SHA256_ENTRY,
    ObjectHead,
    ObjectInfo,
    ObjectStore,
    as_folder,
    check_key,
    check_metadata,
    check_prefix,
    copy_through,
    digest_of,
    prove_create_only,
)
from seedream_assets.storage.s3_client import S3Options, make_s3_client
from seedream_assets.storage.s3_obstore import ObstoreCreates

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


_CREDENTIALS = "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_PROFILE"
_ADVICE = {
    "NoSuchBucket": "Create the bucket, or correct its name in the store's address",
    "AccessDenied": "Give these credentials s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket there",
    "403": "Give these credentials s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket there",
    "AllAccessDisabled": "The bucket is shut by its provider; ask its support",
    "InvalidAccessKeyId": f"This endpoint does not know the access key. {_CREDENTIALS}",
    "SignatureDoesNotMatch": f"The secret key does not belong to the access key. {_CREDENTIALS}",
    "ExpiredToken": "The session token has run out; renew the credentials",
    "InvalidToken": "The session token is not valid here; renew the credentials",
    "RequestTimeTooSkewed": "This machine's clock is wrong; set it",
    "PermanentRedirect": "The bucket is in another region; set AWS_DEFAULT_REGION to the bucket's",
    "301": "The bucket is in another region; set AWS_DEFAULT_REGION to the bucket's",
    "AuthorizationHeaderMalformed": "The bucket is in another region; set AWS_DEFAULT_REGION to the bucket's",
    "InvalidObjectState": "The object is archived; restore it first",
    "QuotaExceeded": "The bucket or account is full; make room",
    "NotImplemented": "The server lacks something this needs; with S3Options(checksums=False) it may do",
}
_PASSING_STATUSES = (408, 409, 429, 500, 502, 503, 504)
_PASSING_CODES = {
    "SlowDown",
    "InternalError",
    "ServiceUnavailable",
    "RequestTimeout",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "BadDigest",  # damaged on the way; the same bytes may arrive whole
}
_UNCONFIGURED = (NoCredentialsError, PartialCredentialsError, NoRegionError, InvalidRegionError, ProfileNotFound)
_NO_ANSWER = (NoConnectionError, HTTPClientError, IncompleteReadError, ResponseStreamingError, CredentialRetrievalError)
# A session token that a server repeats: no word is as long, and a key of an object stands in our own words.
_LONG_TOKEN = re.compile(r"[A-Za-z0-9+/=_%-]{80,}")


def status_of(error: ClientError) -> int:
    """The HTTP status of an error answer; 0 when the answer had none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code_of(error: ClientError) -> str:
    """The server's error code; for an answer without a body boto3 puts the status there."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_missing_object(error: ClientError) -> bool:
    """Whether the answer says that the bucket is there and the object is not."""
    return status_of(error) == 404 and code_of(error) in ("NoSuchKey", "404", "NotFound", "")


def s3_error(error: BotoCoreError | ClientError, *, doing: str, uri: str) -> StoreError:
    """The error to raise for `error`, chained with `from` at the call site.

    Args:
        error: What boto3 raised.
        doing: The verb: "create", "read" and so on.
        uri: Of the object or of the store.
    """
    if isinstance(error, ClientError):
        return _answered(error, f"cannot {doing} {uri}")
    message = f"cannot {doing} {uri}: {_shown(str(error)).rstrip('.')}"
    if isinstance(error, _UNCONFIGURED):
        return StoreRefused(f"{message}. {_CREDENTIALS}, and AWS_DEFAULT_REGION")
    if isinstance(error, SSLError):
        return StoreUnavailable(f"{message}. If this stays, check the endpoint's certificate and AWS_CA_BUNDLE")
    if isinstance(error, _NO_ANSWER):
        return StoreUnavailable(f"{message}. If this stays, check AWS_ENDPOINT_URL_S3 and the network")
    return StoreRefused(message)


def _answered(error: ClientError, message: str) -> StoreError:
    status, code = status_of(error), code_of(error)
    request_id = error.response.get("ResponseMetadata", {}).get("RequestId")
    facts = f"HTTP {status} {_shown(code)}" + (f", request id {_shown(str(request_id))}" if request_id else "")
    if status in _PASSING_STATUSES or code in _PASSING_CODES:
        return StoreUnavailable(f"{message}: {facts}. The server asks to try again later")
    # The server's own text only where we have nothing better: some servers repeat the request in it.
    advice = _ADVICE.get(code) or _shown(str(error.response.get("Error", {}).get("Message", "")))
    return StoreRefused(f"{message}: {facts}. {advice or 'The server said no more'}")


def _shown(text: str) -> str:
    """What may be shown of a server's or a library's words."""
    return shown(_LONG_TOKEN.sub(HIDDEN, text))


def upload_file(client: S3Client, request: Mapping[str, Any], path: Path, *, part_bytes: int) -> None:
    """Write a file under a key, in parts where it is larger than one.

    boto3's own transfers send a checksum as a trailer, which many servers refuse or store inside the object. A process killed in between leaves parts that S3 bills and does not show; a lifecycle rule on the bucket
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


# "There is one already" and "someone is writing it just now". Matched by status: servers differ in the code.
_TAKEN_STATUSES = (409, 412)


class _Unsettled(StoreUnavailable):
    """A write and a look at what stands there have not shown what became of it."""


class LargerThanAsked(StoreError):
    """An object has more bytes than its reader has room for."""


class _BodyBroke(StoreUnavailable):
    """An answer began and did not end; boto3 repeats only those that did not begin."""


class S3Store:
    """An `ObjectStore` under `s3://bucket/prefix`.

    Args:
        bucket: Must exist.
        prefix: Folder inside the bucket without "/" at either end; empty for the whole bucket.
        options: Client settings.
        client: A ready client instead of one made from `options`.
        creates: With a ready client: who writes new objects before it is asked.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        options: S3Options | None = None,
        client: S3Client | None = None,
        creates: ObstoreCreates | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._options = options = options or S3Options()
        if client is None:
            session = get_session()
            client = make_s3_client(options, session)
            if options.creates == "obstore":
                creates = ObstoreCreates(bucket, session=session, options=options)
        self._client = client
        self._creates = creates
        self._bucket = bucket
        self._folder = as_folder(prefix)
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"S3Store({self.url})"

    @property
    def url(self) -> str:
        """The store as an s3:// address."""
        return f"s3://{self._bucket}/{self._folder}".removesuffix("/")

    def uri(self, key: str) -> str:
        """The object as an s3:// address."""
        return f"{self.url}/{check_key(key)}"

    def create(
        self,
        key: str,
        body: bytes,
        *,
        content_type: str,
        metadata: Mapping[str, str] = NO_METADATA,
        sha256: str | None = None,
    ) -> bool:
        """See `ObjectStore.create`.

        A 412 can be one's own write: it was stored, its answer was lost, and boto3 sent it again. So no answer but a
        success is believed: what stands there is looked at, and where nothing stands the write is sent again.
        """
        sha256 = digest_of(body, sha256)
        request = self._put_request(key, body, content_type=content_type, metadata=metadata, sha256=sha256)
        if self._creates and self._creates.has_created(
            request["Key"], body, content_type=content_type, metadata=request["Metadata"]
        ):
            return True
        return repeat_blocking(
            lambda: self._write_and_look(request, key, body, sha256),
            policy=self._options.rounds,
            sleep=self._sleep,
            repeated=_Unsettled,
        )

    def replace(self, key: str, body: bytes, *, content_type: str, metadata: Mapping[str, str] = NO_METADATA) -> None:
        """See `ObjectStore.replace`."""
        sha256 = digest_of(body, None)
        request = self._put_request(key, body, content_type=content_type, metadata=metadata, sha256=sha256)
        with self._translated("replace", key):
            self._client.put_object(**request)

    def replace_from_file(self, key: str, path: Path, *, content_type: str, sha256: str) -> None:
        """See `ObjectStore.replace_from_file`; in parts where the file is larger than one of them."""
        request = self._put_request(key, b"", content_type=content_type, metadata=NO_METADATA, sha256=sha256)
        with self._translated("replace", key):
            upload_file(self._client, request, path, part_bytes=self._options.part_bytes)

    def copy_from(self, source: ObjectStore, source_key: str, key: str) -> None:
        """See `ObjectStore.copy_from`. By the server where both are on one; of at most 5 GB, as S3 allows.

        A server that will not copy (other credentials for the other bucket, or no such call) may still hand out.
        """
        if isinstance(source, S3Store) and share_a_server(self._client, source._client):
            with suppress(StoreRefused), source._translated("copy", source_key):
                self._client.copy_object(
                    Bucket=self._bucket,
                    Key=self._full(key),
                    CopySource={"Bucket": source._bucket, "Key": source._full(source_key)},
                )
                return
        copy_through(source, source_key, self, key)

    def read(self, key: str, *, most_bytes: int | None = None) -> bytes:
        """See `ObjectStore.read`.

        Raises:
            LargerThanAsked: The object has more than `most_bytes`; none of them was read.
        """
        return self._read_whole(key, most_bytes)

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """See `ObjectStore.read_range`."""
        if stop <= start:
            return b""
        return self._read_whole(key, None, Range=f"bytes={start}-{stop - 1}")

    def head(self, key: str) -> ObjectHead | None:
        """See `ObjectStore.head`."""
        request: dict[str, Any] = {"Bucket": self._bucket, "Key": self._full(key)}
        if self._options.checksums:
            request["ChecksumMode"] = "ENABLED"
        try:
            with self._translated("look at", key):
                found = self._client.head_object(**request)
        except ObjectNotFound:
            return None
        metadata = found.get("Metadata", {})
        return ObjectHead(
            key=key,
            size_bytes=found["ContentLength"],
            last_modified=found["LastModified"].astimezone(UTC),
            etag=found["ETag"].strip('"') if "ETag" in found else None,
            content_type=found.get("ContentType", "application/octet-stream"),
            metadata=metadata,
            sha256=_hex(found) or metadata.get(SHA256_ENTRY),
        )

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`; a request for every thousand objects."""
        for page in self._pages(self._folder + check_prefix(prefix)):
            for found in page.get("Contents", []):
                key = found["Key"].removeprefix(self._folder)
                if key and not key.endswith("/") and not key.startswith(_OWN_PREFIXES):
                    yield ObjectInfo(
                        key=key,
                        size_bytes=found["Size"],
                        last_modified=found["LastModified"].astimezone(UTC),
                        etag=found["ETag"].strip('"') if "ETag" in found else None,
                    )

    def list_folders(self, prefix: str) -> Iterator[str]:
        """See `ObjectStore.list_folders`; a request for every thousand folders and objects beside them."""
        folder = self._folder + as_folder(prefix)
        for page in self._pages(folder, Delimiter="/"):
            for found in page.get("CommonPrefixes", []):
                name = found["Prefix"].removeprefix(folder).removesuffix("/")
                if prefix or name not in OWN_FOLDERS:
                    yield name

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`. In a versioned bucket older versions stay."""
        try:
            with self._translated("delete", key):
                self._client.delete_object(Bucket=self._bucket, Key=self._full(key))
        except ObjectNotFound:
            return

    def now(self) -> datetime:
        """See `ObjectStore.now`: the date of the server's answer to a question about an object that never exists."""
        key = f"{PROBE_FOLDER}/now"
        try:
            answer: Mapping[str, Any] = self._client.head_object(Bucket=self._bucket, Key=self._full(key))
        except ClientError as error:
            if not is_missing_object(error):
                raise s3_error(error, doing="read the clock of", uri=self.url) from error
            answer = error.response
        except BotoCoreError as error:
            raise s3_error(error, doing="read the clock of", uri=self.url) from error
        date = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date", "")
        try:
            return parsedate_to_datetime(date).astimezone(UTC)
        except (TypeError, ValueError) as error:
            raise StoreRefused(
                f"{self.url} answers with the date {date!r}; leases are judged by the server's clock, so a Date "
                "header as in RFC 9110 is needed. A proxy in between may drop it"
            ) from error

    def refuse_unless_create_only(self) -> None:
        """See `ObjectStore.refuse_unless_create_only`."""
        prove_create_only(self)

    def _full(self, key: str) -> str:
        return self._folder + check_key(key)

    def _read_whole(self, key: str, most_bytes: int | None, **more: Any) -> bytes:
        return repeat_blocking(
            lambda: self._read_once(key, most_bytes, **more),
            policy=self._options.rounds,
            sleep=self._sleep,
            repeated=_BodyBroke,
        )

    def _read_once(self, key: str, most_bytes: int | None, **more: Any) -> bytes:
        with self._translated("read", key):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._full(key), **more)
            if most_bytes is not None and answer["ContentLength"] > most_bytes:
                answer["Body"].close()
                raise LargerThanAsked(
                    f"{self.uri(key)} has {answer['ContentLength']} bytes; asked was for {most_bytes}"
                )
            try:
                return answer["Body"].read()
            except BotoCoreError as error:
                raise _BodyBroke(f"cannot read {self.uri(key)}: its body broke off: {shown(str(error))}") from error

    def _put_request(
        self, key: str, body: bytes, *, content_type: str, metadata: Mapping[str, str], sha256: str
    ) -> dict[str, Any]:
        request: dict[str, Any] = {
            "Bucket": self._bucket,
            "Key": self._full(key),
            "Body": body,
            "ContentType": content_type,
            "Metadata": check_metadata(metadata, content_type=content_type, sha256=sha256),
        }
        if self._options.checksums:
            # Both: the digest is what AWS keeps; some servers keep it only where the algorithm is named as well.
            request["ChecksumAlgorithm"] = "SHA256"
            request["ChecksumSHA256"] = base64.b64encode(bytes.fromhex(sha256)).decode()
        return request

    def _write_and_look(self, request: dict[str, Any], key: str, body: bytes, sha256: str) -> bool:
        """Write; where the answer, or its absence, leaves open what stands there now, look."""
        cause: Exception
        try:
            self._client.put_object(**request, IfNoneMatch="*")
            return True
        except (ClientError, BotoCoreError) as error:
            taken = isinstance(error, ClientError) and status_of(error) in _TAKEN_STATUSES
            raised = s3_error(error, doing="create", uri=self.uri(key))
            if not taken and not isinstance(raised, StoreUnavailable):
                raise raised from error
            cause = error
        try:
            same = self._same_content(key, body, sha256)
        except StoreUnavailable as error:
            same, cause = None, error
        if same is None:
            raise _Unsettled(
                f"cannot create {self.uri(key)}: writing and looking what stands there settled nothing. Whether a write "
                "is still under way is not known; the same write may be made again"
            ) from cause
        return same

    def _same_content(self, key: str, body: bytes, sha256: str) -> bool | None:
        """Whether the object under `key` is this one; None when there is none."""
        head = self.head(key)
        if head is None:
            return None
        if head.size_bytes != len(body):
            return False
        if head.sha256 is not None:
            return head.sha256 == sha256
        try:
            return hashlib.sha256(self.read(key)).hexdigest() == sha256
        except ObjectNotFound:
            return None

    def _pages(self, prefix: str, **more: Any) -> Iterator[Mapping[str, Any]]:
        paginator = self._client.get_paginator("list_objects_v2")
        pages = iter(paginator.paginate(Bucket=self._bucket, Prefix=prefix, **more))
        while True:
            with self._translated("list", ""):
                page = next(pages, None)
            if page is None:
                return
            yield page

    @contextmanager
    def _translated(self, doing: str, key: str) -> Iterator[None]:
        uri = self.uri(key) if key else self.url
        try:
            yield
        except ClientError as error:
            if key and is_missing_object(error):
                raise ObjectNotFound(f"no object at {uri}") from error
            raise s3_error(error, doing=doing, uri=uri) from error
        except BotoCoreError as error:
            raise s3_error(error, doing=doing, uri=uri) from error


_OWN_PREFIXES = tuple(f"{folder}/" for folder in OWN_FOLDERS)


def _hex(found: Mapping[str, Any]) -> str | None:
    """A stored checksum as hex digits; None for that of a multipart upload, which is not the content's.

    Servers mark those with "-2" at the end of the checksum, or (moto 5.2) at the end of the ETag alone.
    """
    checksum = found.get("ChecksumSHA256")
    if checksum is None or "-" in checksum or "-" in found.get("ETag", ""):
        return None
    return base64.b64decode(checksum).hex()
