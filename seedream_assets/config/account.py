"""What a deployment declares: the Leonardo account, the image store, and how a run of the engine behaves."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from seedream_assets.config.addresses import check_store_address
from seedream_assets.config.base import Config
from seedream_assets.config.models import ModelCatalog, TighterLimits
from seedream_assets.errors import ConfigError

PRODUCTION_URL = "https://cloud.leonardo.ai/api/rest"
# Where production serves images from (documented and seen); add a host here when Leonardo moves.
PRODUCTION_IMAGE_HOSTS = ("https://cdn.leonardo.ai",)
PRODUCTION_DOMAIN = ".leonardo.ai"
DEFAULT_PORTS = {"http": 80, "https": 443}
BalanceUnit = Literal["CREDITS", "DOLLARS"]
# Pillow decodes nothing larger, whatever is asked: twice its own warning limit of 89 478 485. The provider's largest
# picture has 16.8 million pixels.
LARGEST_DECODED_PIXELS = 178_956_970
MEBIBYTE = 1024 * 1024
AboveZero = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


def _check_base_url(address: str) -> str:
    _refuse_address(address, allowed="https://host[/path]")
    if address.rstrip("/").endswith(("/v1", "/v2")):
        raise ValueError(f"got {address!r}; leave the version out, both are used")
    return address


def _check_image_host(address: str) -> str:
    _refuse_address(address, allowed="https://host")
    if urlsplit(address).path.strip("/"):
        raise ValueError("allowed is https://host, without a path")
    return address


BaseUrl = Annotated[str, AfterValidator(_check_base_url)]
ImageHost = Annotated[str, AfterValidator(_check_image_host)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Pace(Config):
    """How many generations an account has at once, and how they are waited for."""

    slots: Count = Field(default=10, description="Generations at once. The account's own figure, where lower, wins.")
    queue_ahead: int = Field(
        default=4,
        ge=0,
        description="Generations kept waiting at Leonardo beyond the slots, so that no slot idles while this machine "
        "polls, downloads and stores.",
    )
    bulk_polling: bool = Field(
        default=True, description="Ask for many jobs at once with the account's history, instead of for each by itself."
    )
    give_up_after_seconds: AboveZero = Field(
        default=1800.0, description="A job that has not ended by then stays pending with its id; the next run goes on."
    )


class Recovery(Config):
    """What happens to a request whose process died between the intent and the answer, and to images that come late."""

    lease_seconds: AboveZero = Field(
        default=60.0,
        description="How long a silent process keeps others from taking over its open intents. Renewed three times as "
        "often; longer than a slow store, shorter than anybody wants to wait for a dead machine.",
    )
    # Not documented by Leonardo; two minutes is twice the longest time that an unanswered submit can be on its way.
    history_settle_seconds: NotNegative = Field(
        default=120.0, description="How long a generation may take to show in the account's history."
    )
    settle_images_seconds: NotNegative = Field(
        default=120.0,
        description="How long a finished job is asked again while images are missing, without a slot; one that failed "
        "without a reason for as long, but no longer than 30 s.",
    )
    history_pages: Count = Field(
        default=100, description="The most pages of 50 generations that one look into the history reads."
    )


class EngineSettings(Pace, Recovery):
    """One run's waiting and bounds."""

    drain_seconds: NotNegative = Field(
        default=30.0, description="How long an interrupted run finishes what is in flight."
    )
    image_bytes_in_memory: Count = Field(
        default=256 * MEBIBYTE,
        description="Images being downloaded, checked and stored at one time, in bytes together.",
    )
    store_threads: Count = Field(default=16, description="Calls to the store at one time.")
    progress_seconds: AboveZero = Field(default=5.0, description="Time between two reports.")


class AccountOptions(Pace):
    """How an account is treated, as far as no address and no key is needed to say it."""

    image_hosts: tuple[ImageHost, ...] = Field(
        default=PRODUCTION_IMAGE_HOSTS,
        description="Origins that images may be downloaded from; the key never goes there. Where base_url is not "
        "production, its own host is allowed too.",
    )
    connect_seconds: Seconds = Field(default=10.0, description="Longest wait for a connection, and for its encryption.")
    answer_seconds: Seconds = Field(
        default=60.0, description="Longest wait for a whole answer of the API, and for the next bytes of an image."
    )
    download_seconds: Seconds = Field(default=300.0, description="Longest time for one whole image.")
    creates_per_minute: Count = Field(default=100, description="Leonardo's published limit, 2026-07-01, is 100.")
    requests_per_minute: Count = Field(default=2000, description="Leonardo's published limit, 2026-07-01, is 2000.")
    balance_unit: BalanceUnit = Field(
        default="CREDITS",
        description="What the account's balance counts. It was credits on the one pay-as-you-go account that was seen; "
        "the documents do not say.",
    )
    largest_image_bytes: Count = Field(default=100 * MEBIBYTE, description="A larger image is refused.")
    largest_image_pixels: Count = Field(default=LARGEST_DECODED_PIXELS, description="A larger image is refused.")


class LeonardoOptions(AccountOptions, TighterLimits):
    """What a deployment or a dataset may say of the account: everything but the key, which stays in the environment."""

    base_url: BaseUrl | None = Field(
        default=None, description="Without /v1 or /v2. Default: LEONARDO_BASE_URL, else production."
    )

    @field_validator(*TighterLimits.model_fields)
    @classmethod
    def _only_tightens(cls, value: Any, field: ValidationInfo) -> Any:
        try:
            ModelCatalog(TighterLimits(**{str(field.field_name): value}))
        except ConfigError as error:
            raise ValueError(str(error).removeprefix(f"{field.field_name}: ")) from None
        return value


class S3Declared(Config):
    """How S3 is reached, where boto3's own variables and files do not say it. Credentials are never declared."""

    endpoint_url: str | None = Field(default=None, description="Default: boto3's AWS_ENDPOINT_URL_S3.")
    region: str | None = Field(default=None, description="Default: boto3's AWS_DEFAULT_REGION.")
    max_connections: Count = Field(default=32, description="Connections to S3 at one time.")
    checksums: bool = Field(default=True, description="Send SHA-256 checksums; off only for servers that refuse them.")
    creates: Literal["obstore", "boto3"] = Field(
        default="obstore", description="Who writes new objects: obstore, or boto3 alone."
    )


class ImageStoreOptions(S3Declared):
    """Where datasets that name no store of their own are kept, and how S3 is reached. Credentials: boto3's own way."""

    url: str | None = Field(
        default=None,
        description="s3://bucket/prefix, file:///… or an absolute path. Default: SEEDREAM_STORE when a run starts.",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, address: str) -> str:
        return check_store_address(address)


class ResourcesConfig(Config):
    """One Leonardo account and one image store for all image datasets of a deployment."""

    leonardo: LeonardoOptions = Field(
        default=LeonardoOptions(), description="Rates, time-outs and limits below the models' own."
    )
    image_store: ImageStoreOptions = Field(
        default=ImageStoreOptions(), description="Where datasets that name no store are kept."
    )


class LeonardoSettings(AccountOptions):
    """One account and how it is treated: what a client is made of."""

    api_key: str = Field(repr=False, description="Sent to base_url's host and to no other; never shown.")
    base_url: BaseUrl = Field(default=PRODUCTION_URL, description="Without /v1 or /v2.")
    base_url_from: str = Field(default="base_url", description="What names the address; said in errors.")

    @field_validator("api_key")
    @classmethod
    def _check_key(cls, key: str) -> str:
        if not key.strip():
            raise ValueError("no Leonardo key: set LEONARDO_API_KEY (an API key of app.leonardo.ai, a UUID)")
        if any(not 32 < ord(character) < 127 for character in key):
            raise ValueError("the Leonardo key holds a space or a character that no key has; copy it again")
        return key

    @property
    def is_production(self) -> bool:
        """True when images of this account cost real money, however the address is spelled."""
        return f".{urlsplit(self.base_url).hostname}".rstrip(".").endswith(PRODUCTION_DOMAIN)

    @property
    def described_address(self) -> str:
        """The address and what names it, for errors."""
        return f"{self.base_url} ({self.base_url_from})"

    def may_serve_images(self, url: str) -> bool:
        """True when an image may be downloaded from this URL; the key is sent there in no case."""
        origin = _origin(url)
        if origin is None:
            return False
        if origin in map(_origin, self.image_hosts):
            return True
        base = urlsplit(self.base_url)
        return not self.is_production and origin[1] == base.hostname and origin[0] in (base.scheme, "https")

    def may_take_uploads(self, url: str) -> bool:
        """True when a reference image may be sent to this URL, which the server names: encrypted, and elsewhere.

        This machine may be named, and unencrypted, only by a server that runs on it.
        """
        origin = _origin(url)
        if origin is None:
            return False
        if _is_loopback(origin[1]):
            return _is_loopback(str(urlsplit(self.base_url).hostname))
        return origin[0] == "https"


def host_of(address: str) -> str:
    """The host of an address, for people, with its port where it is not the usual one."""
    origin = _origin(address)
    if origin is None:
        return "an address that is none"
    scheme, host, port = origin
    return host if port == DEFAULT_PORTS[scheme] else f"{host}:{port}"


def _refuse_address(address: str, *, allowed: str) -> None:
    if "@" in address:
        # What stands before an @ is a password: it is not repeated here.
        raise ValueError(f"the address holds a user or password; allowed is {allowed}")
    origin = _origin(address)
    if origin is None or "?" in address or "#" in address:
        raise ValueError(f"allowed is {allowed}")
    if origin[0] == "http" and not _is_loopback(origin[1]):
        raise ValueError(f"{address!r} is not encrypted; use https (http is for this machine only)")


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None where the address is no plain address on the web."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc or "\\" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, DEFAULT_PORTS[parts.scheme] if port is None else port


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
