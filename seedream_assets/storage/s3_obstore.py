"""New objects through obstore, which needs a third of boto3's processor time for them.

obstore is believed when it says that an object was written, and about nothing else: whatever went wrong, boto3 writes
and looks what stands there, and its error is reported. So a lost answer, a server that obstore does not get on with, or
credentials that it cannot use cost one more request and change no result.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from seedream_assets.storage.s3_client import S3Options, make_s3_client

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest
    from botocore.session import Session
    from obstore.store import ClientConfig
    from obstore.store import S3Store as Bucket
    from types_boto3_s3 import S3Client

# boto3 renews passing credentials ten minutes before they end at the latest; what it hands out is used half that long.
_CREDENTIALS_LIFE = timedelta(minutes=5)
# What failed once will mostly fail again: a proxy, a certificate, a server that is down.
_CREATES_LEFT_TO_BOTO3 = 100
_LOG = logging.getLogger(__name__)


class ObstoreCreates:
    """Create-only writes to one bucket. Opening sends nothing; usable by several threads.

    Args:
        bucket: Its name.
        session: Whose credentials and settings boto3 uses too.
        options: As for boto3.
    """

    def __init__(self, bucket: str, *, session: Session, options: S3Options) -> None:
        self._name = bucket
        self._session = session
        self._options = options
        self._lock = threading.Lock()
        self._opened: Bucket | None = None
        self._left_to_boto3 = 0

    def has_created(self, key: str, body: bytes, *, content_type: str, metadata: Mapping[str, str]) -> bool:
        """Write an object where none is.

        Args:
            key: Whole, with the store's folder.
            body, content_type: As for `ObjectStore.create`.
            metadata: Complete.

        Returns:
            True: it stands as given. False: nothing is known, neither whether it was written nor whether one is there.
        """
        with self._lock:
            if self._left_to_boto3:
                self._left_to_boto3 -= 1
                return False
        try:
            self._put(key, body, {"Content-Type": content_type, **metadata})
        except Exception as error:  # noqa: BLE001 - whatever it is, boto3 is asked, and its error is the one that is reported
            self._note(error)
            return False
        return True

    def _put(self, key: str, body: bytes, attributes: dict[str, str]) -> None:
        import obstore

        with self._lock:
            self._opened = bucket = self._opened or self._open()
        obstore.put(bucket, key, body, mode="create", attributes=attributes, use_multipart=False)

    def _note(self, error: Exception) -> None:
        from obstore.exceptions import AlreadyExistsError

        if isinstance(error, AlreadyExistsError):
            return
        with self._lock:
            self._left_to_boto3 = _CREATES_LEFT_TO_BOTO3
        # Without its text: a server's answer may repeat what was sent.
        _LOG.info("obstore could not write to s3://%s (%s); boto3 writes instead", self._name, type(error).__name__)

    def _open(self) -> Bucket:
        """The bucket where boto3 would look for it, with boto3's credentials.

        Raises:
            BotoCoreError, ValueError, OSError: boto3 has no credentials, no address or no certificates.
        """
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store as Bucket

        options = self._options
        client = make_s3_client(options, self._session)
        address, is_virtual = bucket_address(client, self._name)
        more: dict[str, Any] = {"checksum_algorithm": "SHA256"} if options.checksums else {}
        return Bucket(
            self._name,
            region=client.meta.region_name,
            # Both names: the environment's own value for the second would win over the first.
            endpoint=address,
            aws_endpoint_url_s3=address,
            virtual_hosted_style_request=is_virtual,
            credential_provider=Boto3CredentialProvider(self._session, ttl=_CREDENTIALS_LIFE),
            client_options=self._connections(address),
            retry_config={"max_retries": 0},
            **more,
        )

    def _connections(self, address: str) -> ClientConfig:
        options = self._options
        config: ClientConfig = {
            "connect_timeout": timedelta(seconds=options.connect_timeout_seconds),
            "timeout": timedelta(seconds=options.connect_timeout_seconds + options.read_timeout_seconds),
        }
        if address.startswith("http://"):
            return {**config, "allow_http": True}
        certificates = self._session.get_config_variable("ca_bundle")  # AWS_CA_BUNDLE, or the profile's
        return {**config, "root_certificate": Path(certificates).read_bytes()} if certificates else config


class _NotSent(Exception):
    """A request as it would have been sent."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


def bucket_address(client: S3Client, bucket: str) -> tuple[str, bool]:
    """Where boto3 sends a bucket's requests, and whether the bucket is part of the host's name.

    A dozen settings lead there, so boto3 makes a request, which is not sent. A presigned address would not do: it may
    lead to the global endpoint.

    Args:
        client: Not to be used for anything else any more.
        bucket: Its name.

    Raises:
        BotoCoreError: No credentials, or no region.
    """

    def stop(request: AWSRequest, **_: Any) -> None:
        raise _NotSent(str(request.url))

    client.meta.events.register_last("request-created.s3.HeadObject", stop)
    try:
        client.head_object(Bucket=bucket, Key="key")
    except _NotSent as made:
        url = urlsplit(made.url)
        return f"{url.scheme}://{url.netloc}", not url.path.startswith(f"/{bucket}/")
    raise ValueError("boto3 sent a request that was to show where it sends requests")
