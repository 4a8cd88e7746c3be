"""Prompt tables and reference images on the web.

Here belongs fetching one file over HTTP: whole, bounded in size and time, and without showing anyone the secrets that a
signed address carries. No credentials are ever sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Literal, TypeVar

import httpx

from seedream_assets.config.addresses import without_credentials
from seedream_assets.config.retry import SOURCES, repeat_blocking
from seedream_assets.errors import DownloadError, PromptTableError
from seedream_assets.prompts.sources import SourceAccess, SourceFile, most_unpacked, too_large, too_packed

MAX_REDIRECTS = 5
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
WHOLE_SECONDS = 1800.0

# Of a file whose server gives no version.
LARGEST_HASHED_BYTES = 2 * 1024**3

Taken = TypeVar("Taken")
_PASSING_STATUS = (408, 429, 500, 502, 503, 504)


class WebSource:
    """One file for each http(s) address; see `Source`. Nothing is sent before it is fetched."""

    def __init__(self, access: SourceAccess) -> None:
        self._access = access

    def find(self, location: str) -> Iterator[SourceFile]:
        """The file. An address that is none, or that carries a user and password, is refused."""
        try:
            url = httpx.URL(location)
        except httpx.InvalidURL as error:
            raise PromptTableError(f"an address beginning with {location[:8]} is not a URL") from error
        if not url.host:
            raise PromptTableError(f"{_shown(url)} names no host; give https://host/path")
        if url.userinfo:
            raise PromptTableError(
                f"{_shown(url)} carries a user or password; give a signed URL, or copy the file to S3"
            )
        yield SourceFile(
            uri=_shown(url),
            name=PurePosixPath(url.path).name or url.host,
            size_bytes=None,
            find_version=partial(self._version, url),
            read_up_to=partial(self._read, url),
            key=location,  # two addresses may differ in the query alone
        )

    def _version(self, url: httpx.URL) -> str:
        """The server's ETag and Last-Modified; the content's hash where it gives neither, or does not answer HEAD."""
        try:
            headers = self._ask("HEAD", url, lambda answer: dict(answer.headers))
        except PromptTableError:
            headers = {}
        given = [headers[name] for name in ("etag", "last-modified") if headers.get(name)]
        return " ".join(given) if given else sha256(self._read(url, LARGEST_HASHED_BYTES)).hexdigest()

    def _read(self, url: httpx.URL, max_bytes: int) -> bytes:
        clock = self._access.clock
        give_up_at = clock() + WHOLE_SECONDS
        return self._ask("GET", url, lambda answer: _body(answer, url, max_bytes, lambda: clock() < give_up_at))

    def _ask(self, method: Literal["GET", "HEAD"], url: httpx.URL, take: Callable[[httpx.Response], Taken]) -> Taken:
        """What `take` makes of the answer, after redirects and after a few attempts."""
        _hide_queries_from_logs()
        timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        with httpx.Client(transport=self._access.transport, timeout=timeout, follow_redirects=False) as client:
            try:
                return repeat_blocking(
                    lambda: _follow(client, method, url, take), policy=SOURCES, sleep=self._access.sleep
                )
            except DownloadError as failure:
                raise PromptTableError(
                    f"cannot fetch {_shown(url)} in {SOURCES.attempts} attempts: {failure}"
                ) from failure


def _follow(client: httpx.Client, method: str, url: httpx.URL, take: Callable[[httpx.Response], Taken]) -> Taken:
    """The answer after redirects.

    Raises:
        DownloadError: It failed in a way that the next attempt may not.
        PromptTableError: It failed for good.
    """
    asked = url
    for _ in range(MAX_REDIRECTS + 1):
        try:
            # Identity: a compressed answer may unpack to far more than its length says.
            with client.stream(method, asked, headers={"Accept-Encoding": "identity"}) as answer:
                if answer.is_success:
                    return take(answer)
                status = answer.status_code
                target = answer.headers.get("Location") if answer.has_redirect_location else None
        except httpx.TransportError as error:
            reason = f"{type(error).__name__} at {asked.host}: {without_credentials(str(error))}"
            raise DownloadError(reason, may_retry=True) from error
        if status in _PASSING_STATUS:
            raise DownloadError(f"{asked.host} answers HTTP {status}", may_retry=True)
        if target is None:
            raise PromptTableError(f"cannot fetch {_shown(url)}: {asked.host} answers HTTP {status}{_advice(status)}")
        asked = _next(asked, target, url)
    raise PromptTableError(f"cannot fetch {_shown(url)}: more than {MAX_REDIRECTS} redirects; give the final address")


def _next(asked: httpx.URL, target: str, url: httpx.URL) -> httpx.URL:
    try:
        following = asked.join(target)
    except httpx.InvalidURL as error:
        raise PromptTableError(f"cannot fetch {_shown(url)}: {asked.host} redirects to something not a URL") from error
    if asked.scheme != "https" or following.scheme != "https" or following.userinfo or not following.host:
        raise PromptTableError(
            f"cannot fetch {_shown(url)}: it redirects to {_shown(following)}. Only redirects from https to https "
            "without user and password are followed; give the final address"
        )
    return following


def _body(answer: httpx.Response, url: httpx.URL, max_bytes: int, in_time: Callable[[], bool]) -> bytes:
    announced = answer.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise too_large(_shown(url), max_bytes)
    packed = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if packed not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise PromptTableError(
            f"cannot fetch {_shown(url)}: {url.host} packs it as {packed[:40]!r}, which was not asked for; give the "
            "address of a file that is served as it is, or copy it to S3"
        )
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > max_bytes:
            raise too_large(_shown(url), max_bytes)
        if len(body) > most_unpacked(answer.num_bytes_downloaded):
            raise too_packed(_shown(url), answer.num_bytes_downloaded, "as the server packs it unpacks")
        if not in_time():
            raise PromptTableError(
                f"cannot fetch {_shown(url)}: only {len(body)} bytes came in {WHOLE_SECONDS:.0f} s; copy it to S3"
            )
    return bytes(body)


def _shown(url: httpx.URL) -> str:
    """The address without what may be secret."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))


def _advice(status: int) -> str:
    if status in (401, 403):
        return "; no credentials are sent: give a public or freshly signed URL, or copy the file to S3"
    return "; correct the address" if status in (404, 410) else ""


def _hide_queries_from_logs() -> None:
    """The library httpx logs every address with its query at INFO, and a signed URL's query is a key to the file."""
    logger = logging.getLogger("httpx")
    if _without_query not in logger.filters:
        logger.addFilter(_without_query)


def _without_query(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(_shown(value) if isinstance(value, httpx.URL) else value for value in record.args)
    return True
