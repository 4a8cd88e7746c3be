"""How the project talks to S3: which settings, and the one place where a boto3 client is made.

Addresses, regions and credentials come from boto3's own variables and files unless an option says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.session import get_session
from pydantic import Field

from seedream_assets.config.account import Count, S3Declared, Seconds
from seedream_assets.config.addresses import shown
from seedream_assets.config.retry import STORE_ROUNDS, RetryPolicy
from seedream_assets.errors import ConfigError

if TYPE_CHECKING:
    from botocore.session import Session
    from types_boto3_s3 import S3Client


class S3Options(S3Declared):
    """Settings of one S3 client; the defaults fit AWS and most servers that speak its language."""

    attempts: Count = Field(default=4, description="Sends of one request by boto3, on transport errors, 5xx and 429.")
    rounds: RetryPolicy = Field(
        default=STORE_ROUNDS,
        description="Of writing and looking that one create may take on top, or of reading a body that breaks off.",
    )
    connect_timeout_seconds: Seconds = Field(default=10.0, description="Per connection.")
    read_timeout_seconds: Seconds = Field(default=60.0, description="Between two bytes of an answer.")
    # S3 wants at least 5 MiB, and allows 10,000 parts, so 640 GB in one file.
    part_bytes: Count = Field(default=64_000_000, description="A larger file is sent in parts of this size.")


def make_s3_client(options: S3Options, session: Session | None = None) -> S3Client:
    """A client that may be used by all threads.

    Args:
        options: Its settings.
        session: Whose credentials it uses; by default one of its own. Sessions are not shared between threads.

    Raises:
        ConfigError: boto3 refuses the configuration, for example an endpoint that is not a URL.
    """
    config = Config(
        max_pool_connections=options.max_connections,
        connect_timeout=options.connect_timeout_seconds,
        read_timeout=options.read_timeout_seconds,
        retries={"mode": "standard", "total_max_attempts": options.attempts},
        tcp_keepalive=True,
        # boto3's default CRC32 trailer is refused, or stored inside the object, by many servers that are not AWS.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # The SHA-256 that goes with every object is signed as a header; over https boto3 does not hash a body again
        # for its signature either.
        s3={"payload_signing_enabled": False} if options.checksums else None,
    )
    try:
        client = (session or get_session()).create_client(
            "s3", region_name=options.region, endpoint_url=options.endpoint_url, config=config
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(
            f"boto3 refuses the S3 configuration: {shown(str(error))}. Look at AWS_ENDPOINT_URL_S3, AWS_DEFAULT_REGION, "
            "AWS_PROFILE and the files they name"
        ) from error
    return cast("S3Client", client)
