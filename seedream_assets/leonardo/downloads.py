"""Fetching an image: from allowed hosts only, without the key, bounded in bytes and time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable
from functools import cache
from types import TracebackType
from typing import Self

import httpx

from seedream_assets.core.errors import DownloadError
from seedream_assets.leonardo.answers import shown
from seedream_assets.leonardo.settings import LeonardoSettings


class ImageDownloads:
    """Downloads of one process, over one pool of connections. Use as an async context manager."""

    def __init__(self, settings: LeonardoSettings, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(settings.answer_seconds, connect=settings.connect_seconds),
            follow_redirects=False,
            transport=transport,
            trust_env=False,
            verify=tls_context(),
            # Images are packed already, and a packed answer could unpack to any size.
            headers={"Accept": "image/*", "Accept-Encoding": "identity"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def fetch(self, url: str) -> bytes:
        """The image's bytes, whole.

        Raises:
            DownloadError: With `may_retry` where the same address may answer better later: time-outs, dropped
                connections, 5xx, 404 and 429 (a fresh image can take a moment to appear), a body that was cut. Not for
                a host that is not allowed, a redirect, or a body larger than the cap.
        """
        address = self._allowed(url)
        try:
            async with asyncio.timeout(self._settings.download_seconds):
                return await self._fetch_whole(address)
        except TimeoutError as error:
            raise DownloadError(
                f"the image did not arrive within {self._settings.download_seconds:g} s", may_retry=True
            ) from error
        except httpx.HTTPError as error:
            words = shown(str(error), secret=self._settings.api_key)
            raise DownloadError(f"the image did not arrive: {type(error).__name__}: {words}", may_retry=True) from error

    def _allowed(self, url: str) -> httpx.URL:
        """The address as it will be connected to, where images may come from there."""
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise DownloadError("the image's address cannot be read", may_retry=False) from error
        # Asked of both readings: two parsers can see two hosts in one address.
        origin = f"{address.scheme}://{address.netloc.decode('ascii')}"
        if not (self._settings.may_serve_images(url) and self._settings.may_serve_images(origin)):
            allowed = ", ".join(self._settings.image_hosts)
            raise DownloadError(
                f"the image's address is on {shown(origin, secret=self._settings.api_key)}; images may come from "
                f"{allowed}: add the host to image_hosts if Leonardo has moved",
                may_retry=False,
            )
        return address

    async def _fetch_whole(self, address: httpx.URL) -> bytes:
        largest = self._settings.largest_image_bytes
        async with self._client.stream("GET", address) as answer:
            if answer.status_code != httpx.codes.OK:
                temporary = answer.status_code >= 500 or answer.status_code in (404, 408, 425, 429)
                raise DownloadError(f"the image host answered HTTP {answer.status_code}", may_retry=temporary)
            declared = answer.headers.get("content-length", "")
            too_large = declared.isdecimal() and len(declared) < 20 and int(declared) > largest
            body = None if too_large else await read_at_most(answer.aiter_bytes(), largest)
        if body is None:
            raise DownloadError(
                f"the image has more than {largest} bytes, the most that is accepted; raise largest_image_bytes if "
                "such images are wanted",
                may_retry=False,
            )
        return body


async def read_at_most(parts: AsyncIterable[bytes], largest_bytes: int) -> bytes | None:
    """The parts as one; None as soon as they are more than `largest_bytes` together."""
    received = bytearray()
    async for part in parts:
        if len(received) + len(part) > largest_bytes:
            return None
        received += part
    return bytes(received)


@cache
def tls_context() -> ssl.SSLContext:
    """The certificates that are trusted; reading them takes longer than a hundred requests, so it is done once."""
    return httpx.create_ssl_context(trust_env=False)
