"""Fetching an image: from allowed hosts only, without the key, bounded in bytes and time.

Over aiohttp's connections, which need a third of the CPU of httpx's own for a body of a megabyte, and without a client
around them: it would follow redirects and keep cookies, neither of which an image may have.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable
from contextlib import aclosing
from functools import cache
from types import TracebackType
from typing import Self, cast

import aiohttp
import httpx
import yarl
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream

from seedream_assets.config.account import LeonardoSettings
from seedream_assets.errors import DownloadError
from seedream_assets.leonardo.answers import shown


class ImageDownloads:
    """Downloads of one process, over one pool of connections. Use as an async context manager."""

    def __init__(self, settings: LeonardoSettings, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        self._transport = transport or _AiohttpTransport(verify=tls_context(), trust_env=False, limits=_CONNECTIONS)
        self._timeout = httpx.Timeout(settings.answer_seconds, connect=settings.connect_seconds).as_dict()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.aclose()

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
        except (httpx.HTTPError, aiohttp.ClientError) as error:
            words = shown(str(error), secret=self._settings.api_key)
            raise DownloadError(f"the image did not arrive: {type(error).__name__}: {words}", may_retry=True) from error

    def _allowed(self, url: str) -> httpx.URL:
        """The address as it will be connected to, where images may come from there."""
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise DownloadError("the image's address cannot be read", may_retry=False) from error
        # Asked of every reading, aiohttp's included: two parsers can see two hosts in one address.
        origin = f"{address.scheme}://{address.netloc.decode('ascii')}"
        if not all(map(self._settings.may_serve_images, (url, origin, _as_aiohttp_reads(address)))):
            allowed = ", ".join(self._settings.image_hosts)
            raise DownloadError(
                f"the image's address is on {shown(origin, secret=self._settings.api_key)}; images may come from "
                f"{allowed}: add the host to image_hosts if Leonardo has moved",
                may_retry=False,
            )
        return address

    async def _fetch_whole(self, address: httpx.URL) -> bytes:
        largest = self._settings.largest_image_bytes
        request = httpx.Request("GET", address, headers=_WANTED, extensions={"timeout": self._timeout})
        async with aclosing(await self._transport.handle_async_request(request)) as answer:
            if answer.status_code != httpx.codes.OK:
                temporary = answer.status_code >= 500 or answer.status_code in (404, 408, 425, 429)
                raise DownloadError(f"the image host answered HTTP {answer.status_code}", may_retry=temporary)
            declared = answer.headers.get("content-length", "")
            too_large = declared.isdecimal() and len(declared) < 20 and int(declared) > largest
            # A host may pack it all the same. What is not packed is read without the unpacking around it.
            is_packed = "content-encoding" in answer.headers
            parts = answer.aiter_bytes() if is_packed else cast(httpx.AsyncByteStream, answer.stream)
            body = None if too_large else await read_at_most(parts, largest)
        if body is None:
            raise DownloadError(
                f"the image has more than {largest} bytes, the most that is accepted; raise largest_image_bytes if "
                "such images are wanted",
                may_retry=False,
            )
        return body


# Images are packed already, and a packed answer could unpack to any size.
_WANTED = {"Accept": "image/*", "Accept-Encoding": "identity"}
# Idle connections are kept as long as httpx keeps its own.
_CONNECTIONS = httpx.Limits(max_connections=100, keepalive_expiry=5.0)
# What has arrived is handed on in one piece, not 16 kB at a time: that costs much less CPU.
_LARGEST_PIECE_BYTES = 2**20


class _AiohttpTransport(AiohttpTransport):
    """Without a memory: no cookie of one image's host goes along with the next request."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        if isinstance(answer.stream, AiohttpResponseStream):
            answer.stream.CHUNK_SIZE = _LARGEST_PIECE_BYTES
        return answer

    def get_client(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=self.limits.max_connections or 0,
            keepalive_timeout=self.limits.keepalive_expiry,
            ssl=self.ssl_context,
        )
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)


def _as_aiohttp_reads(address: httpx.URL) -> str:
    try:
        return str(yarl.URL(str(address)).origin())
    except ValueError:
        return ""


async def read_at_most(parts: AsyncIterable[bytes], largest_bytes: int) -> bytes | None:
    """The parts as one; None as soon as they are more than `largest_bytes` together."""
    received, size = [], 0
    async for part in parts:
        size += len(part)
        if size > largest_bytes:
            return None
        received.append(part)
    return b"".join(received)


@cache
def tls_context() -> ssl.SSLContext:
    """The certificates that are trusted; reading them takes longer than a hundred requests, so it is done once."""
    return httpx.create_ssl_context(trust_env=False)
