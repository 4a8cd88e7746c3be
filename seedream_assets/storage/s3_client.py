"""How the project talks to S3: which settings, and the one place where a boto3 client is made.

Here belongs configuration. Addresses, regions and credentials come from boto3's own variables and files unless an
option says otherwise; credentials are never an option.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from seedream_assets.config.addresses import shown
from seedream_assets.config.retry import STORE_ROUNDS, RetryPolicy
from seedream_assets.errors import ConfigError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Options:
    """Settings of one S3 client; the defaults fit AWS and most servers that speak its language.

    Attributes:
        endpoint_url: Only where AWS_ENDPOINT_URL_S3 cannot be used.
        region: Only where AWS_DEFAULT_REGION or the profile cannot be used.
        addressing_style: `path` for servers without wildcard DNS; None leaves it to boto3 and its profile.
        max_connections: Connections kept open; the number of threads that use the store.
        attempts: Sends of one request by boto3 itself, on transport errors, 5xx and 429.
        rounds: Of write, look and wait that one create may take on top of that, or of reading a body that breaks off.
        connect_timeout_seconds: Per connection.
        read_timeout_seconds: Between two bytes of an answer.
        part_bytes: A larger file is sent in parts of this size, one at a time in memory; S3 wants 5 MiB at least.
        checksums: Send SHA-256 with every object. Off only for servers that refuse such a request.
        creates: Who writes new objects. `obstore` takes a third of the processor time, and what it cannot write or say
            for sure is left to boto3; `boto3` does everything itself.

    Raises:
        ConfigError: A value is out of range.
    """

    endpoint_url: str | None = None
    region: str | None = None
    addressing_style: Literal["auto", "path", "virtual"] | None = None
    max_connections: int = 32
    attempts: int = 4
    rounds: RetryPolicy = STORE_ROUNDS
    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 60.0
    # S3 allows 10,000 parts, so 640 GB in one file.
    part_bytes: int = 64_000_000
    checksums: bool = True
    creates: Literal["obstore", "boto3"] = "obstore"

    def __post_init__(self) -> None:
        for name in ("max_connections", "attempts", "part_bytes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"S3 option {name}: got {getattr(self, name)}, allowed is 1 or more")
        for name in ("connect_timeout_seconds", "read_timeout_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"S3 option {name}: got {getattr(self, name)}, allowed is more than 0")
        if self.addressing_style not in (None, "auto", "path", "virtual"):
            raise ConfigError(
                f"S3 option addressing_style: got {self.addressing_style!r}, allowed are auto, path and virtual"
            )
        if self.creates not in ("obstore", "boto3"):
            raise ConfigError(f"S3 option creates: got {self.creates!r}, allowed are obstore and boto3")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Session:
    """What clients are made from. A session is no affair of several threads, so everyone who makes clients has one.

    Attributes:
        boto3: Makes clients.
        core: Under it; knows its credentials and settings.
    """

    boto3: boto3.session.Session
    core: botocore.session.Session

    @classmethod
    def open(cls) -> S3Session:
        """A new session; nothing is looked up before it is needed."""
        core = botocore.session.get_session()
        return cls(boto3=boto3.session.Session(botocore_session=core), core=core)


def make_s3_client(options: S3Options, session: S3Session | None = None) -> S3Client:
    """A client that may be used by all threads; of a session of its own where none is given.

    Raises:
        ConfigError: boto3 refuses the configuration, for example an endpoint that is not a URL.
    """
    style: Any = {"addressing_style": options.addressing_style} if options.addressing_style else {}
    if options.checksums:
        # The SHA-256 that goes with every object is signed as a header; over https boto3 does not hash a body again
        # for its signature either.
        style["payload_signing_enabled"] = False
    config = Config(
        max_pool_connections=options.max_connections,
        connect_timeout=options.connect_timeout_seconds,
        read_timeout=options.read_timeout_seconds,
        retries={"mode": "standard", "total_max_attempts": options.attempts},
        tcp_keepalive=True,
        # boto3's default CRC32 trailer is refused, or stored inside the object, by many servers that are not AWS.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3=style or None,
    )
    try:
        return (session or S3Session.open()).boto3.client(
            "s3", region_name=options.region, endpoint_url=options.endpoint_url, config=config
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(
            f"boto3 refuses the S3 configuration: {shown(str(error))}. Look at AWS_ENDPOINT_URL_S3, AWS_DEFAULT_REGION, AWS_PROFILE and "
            "the files they name"
        ) from error
