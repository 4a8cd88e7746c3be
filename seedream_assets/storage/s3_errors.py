"""S3's errors, as the store's errors.

Here belongs what an answer or a missing answer means for a caller, and what a person can do about it. What a 412 or
409 means for a create-only write is decided in `s3`, by looking at what is there.
"""

from __future__ import annotations

import re

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

from seedream_assets.config.redaction import HIDDEN, shown
from seedream_assets.errors import StoreError, StoreRefused, StoreUnavailable

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
    said = f"cannot {doing} {uri}: {_shown(str(error)).rstrip('.')}"
    if isinstance(error, _UNCONFIGURED):
        return StoreRefused(f"{said}. {_CREDENTIALS}, and AWS_DEFAULT_REGION")
    if isinstance(error, SSLError):
        return StoreUnavailable(f"{said}. If this stays, check the endpoint's certificate and AWS_CA_BUNDLE")
    if isinstance(error, _NO_ANSWER):
        return StoreUnavailable(f"{said}. If this stays, check AWS_ENDPOINT_URL_S3 and the network")
    return StoreRefused(said)


def _answered(error: ClientError, said: str) -> StoreError:
    status, code = status_of(error), code_of(error)
    request_id = error.response.get("ResponseMetadata", {}).get("RequestId")
    facts = f"HTTP {status} {_shown(code)}" + (f", request id {_shown(str(request_id))}" if request_id else "")
    if status in _PASSING_STATUSES or code in _PASSING_CODES:
        return StoreUnavailable(f"{said}: {facts}. The server asks to try again later")
    # The server's own text only where we have nothing better: some servers repeat the request in it.
    advice = _ADVICE.get(code) or _shown(str(error.response.get("Error", {}).get("Message", "")))
    return StoreRefused(f"{said}: {facts}. {advice or 'The server said no more'}")


def _shown(text: str) -> str:
    """What may be shown of a server's or a library's words."""
    return shown(_LONG_TOKEN.sub(HIDDEN, text))
