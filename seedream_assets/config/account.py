"""How this deployment talks to Leonardo: address, time-outs, rates, allowed hosts. Values only, checked where built."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal, get_args
from urllib.parse import urlsplit

from seedream_assets.errors import ConfigError
from seedream_assets.images.inspect import LARGEST_DECODED_PIXELS

PRODUCTION_URL = "https://cloud.leonardo.ai/api/rest"
# Where production serves images from (documented and seen); add a host here when Leonardo moves.
PRODUCTION_IMAGE_HOSTS = ("https://cdn.leonardo.ai",)
PRODUCTION_DOMAIN = ".leonardo.ai"
DEFAULT_PORTS = {"http": 80, "https": 443}
MEBIBYTE = 1024 * 1024
BalanceUnit = Literal["CREDITS", "DOLLARS"]
_ABOVE_ZERO = (
    "connect_seconds",
    "answer_seconds",
    "download_seconds",
    "slots",
    "creates_per_minute",
    "requests_per_minute",
    "largest_image_bytes",
    "largest_image_pixels",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeonardoSettings:
    """One account and how it is treated.

    Attributes:
        api_key: Sent to `base_url`'s host and to no other; never shown.
        base_url: Without `/v1` or `/v2`.
        image_hosts: Origins that images may come from. Where `base_url` is not production, its own host is allowed too.
        connect_seconds: Longest wait for a connection, and for its encryption.
        answer_seconds: Longest wait for a whole answer of the API, and for the next bytes of an image.
        download_seconds: Longest time for one whole image.
        slots: Generations that the account runs at once (default of Leonardo's accounts, 2026-07-01).
        queue_ahead: Generations kept waiting at Leonardo beyond the slots, so that no slot is ever empty.
        creates_per_minute, requests_per_minute: Leonardo's published limits, 2026-07-01.
        balance_unit: What the account's balance counts, CREDITS or DOLLARS. It was credits on the one pay-as-you-go
            account that was seen; the documents do not say.
        largest_image_bytes, largest_image_pixels: A larger image is refused (image bombs).
    """

    api_key: str = field(repr=False)
    base_url: str = PRODUCTION_URL
    image_hosts: tuple[str, ...] = PRODUCTION_IMAGE_HOSTS
    connect_seconds: float = 10.0
    answer_seconds: float = 60.0
    download_seconds: float = 300.0
    slots: int = 10
    queue_ahead: int = 4
    creates_per_minute: int = 100
    requests_per_minute: int = 2000
    balance_unit: BalanceUnit = "CREDITS"
    largest_image_bytes: int = 100 * MEBIBYTE
    largest_image_pixels: int = LARGEST_DECODED_PIXELS

    def __post_init__(self) -> None:
        if not self.api_key.strip():
            raise ConfigError("no Leonardo key: set LEONARDO_API_KEY (an API key of app.leonardo.ai, a UUID)")
        if any(not 32 < ord(character) < 127 for character in self.api_key):
            raise ConfigError("the Leonardo key holds a space or a character that no key has; copy it again")
        for name in _ABOVE_ZERO:
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"leonardo.{name}: got {getattr(self, name)}, allowed is above 0, and an end")
        if self.queue_ahead < 0:
            raise ConfigError(f"leonardo.queue_ahead: got {self.queue_ahead}, allowed is 0 or more")
        if self.balance_unit not in get_args(BalanceUnit):
            allowed = " or ".join(get_args(BalanceUnit))
            raise ConfigError(f"leonardo.balance_unit: got {self.balance_unit!r}, allowed is {allowed}")
        _refuse_address("base_url", self.base_url, allowed="https://host[/path]")
        if self.base_url.rstrip("/").endswith(("/v1", "/v2")):
            raise ConfigError(f"leonardo.base_url: got {self.base_url!r}; leave the version out, both are used")
        for host in self.image_hosts:
            _refuse_address("image_hosts", host, allowed="https://host")
            if urlsplit(host).path.strip("/"):
                raise ConfigError(f"leonardo.image_hosts: got {host!r}, allowed is https://host, without a path")

    @property
    def is_production(self) -> bool:
        """True when images of this account cost real money, however the address is spelled."""
        return f".{urlsplit(self.base_url).hostname}".rstrip(".").endswith(PRODUCTION_DOMAIN)

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


def _refuse_address(name: str, address: str, *, allowed: str) -> None:
    if "@" in address:
        # What stands before an @ is a password: it is not repeated here.
        raise ConfigError(f"leonardo.{name}: the address holds a user or password; allowed is {allowed}")
    origin = _origin(address)
    if origin is None or "?" in address or "#" in address:
        raise ConfigError(f"leonardo.{name}: got {address!r}, allowed is {allowed}")
    if origin[0] == "http" and not _is_loopback(origin[1]):
        raise ConfigError(f"leonardo.{name}: {address!r} is not encrypted; use https (http is for this machine only)")


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
