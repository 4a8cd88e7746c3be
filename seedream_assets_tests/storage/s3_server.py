"""A real S3 server on loopback, inside this process: moto over HTTP, made atomic.

Here belongs only starting it. moto checks `If-None-Match` and stores the object in two steps, so two racing writers
can both win; S3 cannot. One lock around moto's request handlers repairs that.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, wraps
from typing import TYPE_CHECKING, Any
from unittest import mock

import boto3
import httpx
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

ACCESS_KEY_ID = "test-access-key"
SECRET_ACCESS_KEY = "test-secret-key"
REGION = "us-east-1"

_ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Server:
    """A running server.

    Attributes:
        endpoint_url: For boto3.
        environment: The AWS_* variables with which any boto3 client, here or in a child process, finds the server.
        checks_signatures: False for moto, which asks for a signature's form only.
    """

    endpoint_url: str
    environment: Mapping[str, str] = field(repr=False)
    checks_signatures: bool = False

    def client(self) -> S3Client:
        """A plain boto3 S3 client, for looking behind the product's back."""
        return _plain_client(self.endpoint_url)

    def make_bucket(self, name: str) -> str:
        """Make an empty bucket; returns its s3:// address."""
        if self.checks_signatures:
            self.client().create_bucket(Bucket=name)
            return f"s3://{name}"
        answer = httpx.put(f"{self.endpoint_url}/{name}", headers=_UNCHECKED_SIGNATURE, trust_env=False)
        answer.raise_for_status()
        return f"s3://{name}"

    def reset(self) -> None:
        """Forget all buckets and objects."""
        httpx.post(f"{self.endpoint_url}/moto-api/reset", trust_env=False).raise_for_status()


@contextmanager
def running_s3_server() -> Iterator[S3Server]:
    """Start a server on a free port and stop it afterwards. Everything is forgotten then."""
    requests_log = logging.getLogger("werkzeug")
    with (
        mock.patch.object(requests_log, "level", logging.WARNING),
        mock.patch.object(S3Response, "key_response", _locked(S3Response.key_response)),
        mock.patch.object(S3Response, "bucket_response", _locked(S3Response.bucket_response)),
    ):
        moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        moto.start()
        host, port = moto.get_host_and_port()
        server = S3Server(endpoint_url=f"http://{host}:{port}", environment=s3_environment(f"http://{host}:{port}"))
        try:
            server.reset()
            yield server
        finally:
            server.reset()
            moto.stop()


def s3_environment(endpoint_url: str) -> dict[str, str]:
    """The variables that lead boto3 to `endpoint_url` and to nothing of this machine's own configuration."""
    return {
        "AWS_ENDPOINT_URL_S3": endpoint_url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


@cache
def _plain_client(endpoint_url: str) -> S3Client:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
    )


# moto asks for a signature's form, not for its truth.
_UNCHECKED_SIGNATURE = {
    "Authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/20260101/{REGION}/s3/aws4_request, "
    "SignedHeaders=host, Signature=00"
}


def _locked(handler: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(handler)
    def one_at_a_time(*args: Any, **kwargs: Any) -> Any:
        with _ONE_AT_A_TIME:
            return handler(*args, **kwargs)

    return one_at_a_time
