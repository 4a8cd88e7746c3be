"""The calls of Leonardo's API: create on v2, everything else on v1.

Each call is made once and raises one typed error; repeating is the caller's choice (`config.retry`), except that nobody may
repeat a `SubmitUncertain`. The key goes to the API's host only; uploads use a connection that knows none.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx

from seedream_assets.config.account import MEBIBYTE, LeonardoSettings
from seedream_assets.config.models import ModelSpec
from seedream_assets.errors import (
    LeonardoError,
    LeonardoRefused,
    LeonardoUnavailable,
    RateLimited,
    SubmitMisdirected,
    SubmitUncertain,
)
from seedream_assets.leonardo import answers, wire
from seedream_assets.leonardo.answers import PROVES_REFUSAL, read_answer, shown
from seedream_assets.leonardo.downloads import read_at_most, tls_context
from seedream_assets.leonardo.generations import Account, Generation, HistoryPage, Submission
from seedream_assets.leonardo.rates import Pace
from seedream_assets.leonardo.requests import GenerationRequest

Meaning = TypeVar("Meaning")
# These failed before a byte of the request left this machine: nothing can have been accepted.
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
# A page of history with the longest prompts is about 3 MB; a longer answer is not one of this API.
LARGEST_ANSWER_BYTES = 16 * MEBIBYTE
UPLOAD_SECONDS = 100.0  # the presigned address lives two minutes (documented)
BODY_IS_NEXT = "http11.send_request_body.started"
# One lost answer is no outage.
FAILURES_IN_A_ROW = 3
_S3_CODE = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")


class LeonardoClient:
    """One account. Use as an async context manager; closing it closes its connections.

    Args:
        settings: Address, key, time-outs, rates.
        transport: For tests: answers instead of the network.

    Attributes:
        reachability: Whether the API answers.
    """

    def __init__(self, settings: LeonardoSettings, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.settings = settings
        self.reachability = Reachability()
        self._api = f"Leonardo at {settings.described_address}"
        self._pace = Pace(
            creates_per_minute=settings.creates_per_minute,
            requests_per_minute=settings.requests_per_minute,
            creates_at_once=settings.slots + settings.queue_ahead,
        )
        base = settings.base_url.rstrip("/")
        common: dict[str, Any] = {
            "timeout": httpx.Timeout(settings.answer_seconds, connect=settings.connect_seconds),
            "follow_redirects": False,
            "transport": transport,
            "trust_env": False,
            "verify": tls_context(),
            "headers": {"Accept": "application/json"},
        }
        keyed: dict[str, Any] = {"base_url": base, "auth": _KeyForOneHost(base, settings.api_key)}
        self._reads = httpx.AsyncClient(**common, **keyed)
        # A create gets a connection of its own: on a kept one, a server that closes it for idleness just as the
        # request leaves leaves an answer that looks like a lost one.
        self._creates = httpx.AsyncClient(**common, **keyed, limits=httpx.Limits(max_keepalive_connections=0))
        self._keyless = httpx.AsyncClient(**common)
        # A server that drips its answer never runs into a time-out per read. TCP and TLS may each take their time.
        self._whole_call_seconds = 2 * settings.connect_seconds + settings.answer_seconds

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with AsyncExitStack() as stack:
            for client in (self._reads, self._creates, self._keyless):
                stack.push_async_callback(client.aclose)

    async def create(
        self,
        request: GenerationRequest,
        *,
        model: ModelSpec,
        reference_ids: Mapping[str, str],
        turn: float,
        may_send: Callable[[], None] = lambda: None,
    ) -> Submission:
        """Buy a request: the one call that spends. It is sent once.

        Args:
            request: Inside the model's limits.
            model: Its specification.
            reference_ids: Leonardo's ids of the spec's uploaded reference images, by content hash.
            turn: What `take_turn` gave.
            may_send: Called before connecting, and again just before the body leaves. What it raises stops the
                request unsent and comes out as it is.

        Raises:
            LeonardoUnavailable: The connection was never made; nothing was sent.
            LeonardoRefused: The answer proves that nothing was accepted.
            SubmitUncertain: Sent, and no answer says what became of it. Never to be repeated blindly.
            SubmitMisdirected: Of these, where what answered is not Leonardo's API: a redirect, or a page.
        """
        body = wire.create_body(request, model=model, reference_ids=reference_ids)
        may_send()

        async def last_look(event: str, _info: Mapping[str, Any]) -> None:
            if event == BODY_IS_NEXT:
                may_send()

        try:
            answer = await self._exchange(
                self._creates, "POST", "/v2/generations", json=body, extensions={"trace": last_look}
            )
        except NEVER_SENT as error:
            raise LeonardoUnavailable(f"no connection to {self._api}: {self._describe(error)}") from error
        except httpx.HTTPError as error:
            raise SubmitUncertain(
                f"the submit was sent to {self._api} and its answer is missing: {self._describe(error)}"
            ) from error
        try:
            return self._read_submission(answer)
        except RateLimited as error:
            self._pace.note_refused(sent_at=turn, retry_after_seconds=error.retry_after_seconds)
            raise

    async def take_turn(self, *, unless: Callable[[], Awaitable[None]] | None = None) -> float:
        """Wait until the account's rate allows one more create. Nothing is claimed ahead of it.

        Args:
            unless: Ends when nothing is to be sent any more; then this ends too.

        Returns:
            The moment, for `create`.
        """
        return await self._pace.before_create(unless=unless)

    async def read_generation(self, generation_id: str) -> Generation | None:
        """Poll a job; None where Leonardo knows none of this id.

        Raises:
            LeonardoError: As every read: `LeonardoUnavailable` and `RateLimited` may be repeated.
        """
        found = await self._read("GET", f"/v1/generations/{_in_path(generation_id)}", wire.read_generation)
        if found is not None and found.id and found.id.casefold() != generation_id.casefold():
            raise LeonardoUnavailable(
                f"asked for generation {generation_id}, Leonardo sent another: {self._shown(found.id)}"
            )
        return found

    async def read_history(self, user_id: str, *, offset: int, limit: int) -> HistoryPage:
        """One page of the account's generations, web-app ones included. Order and largest page are not documented."""
        path = f"/v1/generations/user/{_in_path(user_id)}"
        asked = {"offset": offset, "limit": limit}
        generations, headers = await self._read_with_headers("GET", path, wire.read_history, params=asked)
        return HistoryPage(generations=tuple(generations), api_now=answers.read_http_date(headers.get("date")))

    async def read_account(self) -> Account:
        """Whose key this is, its balance and its slots."""
        return await self._read("GET", "/v1/me", wire.read_account)

    async def upload_reference(self, body: bytes, *, extension: str) -> str:
        """Upload a reference image in two steps and return its id.

        Args:
            body: The file's bytes.
            extension: png, jpg, jpeg or webp; must be what the bytes are.

        Raises:
            LeonardoError: The id of a failed upload is worthless: it exists before the bytes do.
        """
        ticket = await self._read("POST", "/v1/init-image", wire.read_upload_ticket, json={"extension": extension})
        image_id, url, fields = ticket
        if not self.settings.may_take_uploads(url):
            raise LeonardoRefused(f"the upload address is not one that may be used: {self._shown(url)}")
        try:
            # The second step goes to a presigned address, without the key: an extra header there answers 403.
            answer = await self._exchange(
                self._keyless,
                "POST",
                url,
                seconds=UPLOAD_SECONDS,
                data=fields,
                files={"file": (f"reference.{extension}", body)},
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise LeonardoUnavailable(f"the reference image could not be uploaded: {self._describe(error)}") from error
        if not 200 <= answer.status < 300:
            code = _S3_CODE.search(answer.body)
            # A presigned form is good once and for two minutes: with a new one, everything but a refusal may pass.
            refused = answer.status in PROVES_REFUSAL and answer.status != httpx.codes.TOO_MANY_REQUESTS
            raise (LeonardoRefused if refused else LeonardoUnavailable)(
                "the upload address did not take the reference image",
                status=answer.status,
                code=self._shown(code[1].decode()) if code else None,
            )
        return image_id

    def _read_submission(self, answer: _Answer) -> Submission:
        """What an answer to a create proves: bought, or refused; else it is uncertain."""
        reply, failure = self._read_answer(answer)
        submission = wire.read_submission(reply)
        if submission is not None and 200 <= answer.status < 300:
            return submission
        is_documented = reply is not None and not 300 <= answer.status < 400
        if submission is None and is_documented and isinstance(failure, LeonardoRefused):
            raise failure
        is_page = reply is None and answer.body.strip() and answer.status < httpx.codes.INTERNAL_SERVER_ERROR
        kind = SubmitMisdirected if is_page or 300 <= answer.status < 400 else SubmitUncertain
        found = failure or LeonardoError("an answer without a generation id", status=answer.status)
        named = f"; it names {self._shown(submission.generation_id)}" if submission else ""
        raise kind(
            f"the submit was sent and the answer does not say whether it was accepted: {found.message}{named}",
            status=found.status,
            code=found.code,
            request_id=found.request_id,
        ) from failure

    async def _read(self, method: str, path: str, meaning: Callable[[Any], Meaning], **options: Any) -> Meaning:
        return (await self._read_with_headers(method, path, meaning, **options))[0]

    async def _read_with_headers(
        self, method: str, path: str, meaning: Callable[[Any], Meaning], **options: Any
    ) -> tuple[Meaning, Mapping[str, str]]:
        await self._pace.before_request()
        try:
            answer = await self._exchange(self._reads, method, path, **options)
        except httpx.HTTPError as error:
            raise LeonardoUnavailable(f"no answer from {self._api}: {self._describe(error)}") from error
        reply, failure = self._read_answer(answer)
        if failure is not None:
            raise failure
        try:
            return meaning(reply), answer.headers
        except ValueError as error:
            request_id = answer.headers.get("x-request-id")
            raise LeonardoUnavailable(
                f"the answer of {self._api} cannot be read: {self._shown(str(error))}",
                status=answer.status,
                request_id=self._shown(request_id) if request_id else None,
            ) from error

    async def _exchange(
        self, client: httpx.AsyncClient, method: str, url: str, *, seconds: float | None = None, **options: Any
    ) -> _Answer:
        """Send once and read the whole answer, bounded in time and bytes.

        Raises:
            httpx.HTTPError: No whole answer came.
        """
        try:
            answer = await self._exchange_once(client, method, url, seconds=seconds, **options)
        except httpx.HTTPError as error:
            if client is not self._keyless:
                self.reachability.failed(self._describe(error))
            raise
        if client is not self._keyless:
            if answer.status >= 500:
                self.reachability.failed(f"HTTP {answer.status}")
            else:
                self.reachability.answered()
        return answer

    async def _exchange_once(
        self, client: httpx.AsyncClient, method: str, url: str, *, seconds: float | None, **options: Any
    ) -> _Answer:
        seconds = self._whole_call_seconds if seconds is None else seconds
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline, client.stream(method, url, **options) as answer:
                body = await read_at_most(answer.aiter_bytes(), LARGEST_ANSWER_BYTES)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise httpx.ReadTimeout(f"no whole answer within {seconds:g} s") from error
        if body is None:
            raise httpx.RemoteProtocolError(f"the answer has more than {LARGEST_ANSWER_BYTES} bytes")
        return _Answer(status=answer.status_code, headers=answer.headers, body=body)

    def _read_answer(self, answer: _Answer) -> tuple[Any, LeonardoError | None]:
        return read_answer(
            answer.status,
            answer.headers,
            answer.body,
            secret=self.settings.api_key,
            api=self.settings.described_address,
        )

    def _shown(self, text: str) -> str:
        return shown(text, secret=self.settings.api_key)

    def _describe(self, error: Exception) -> str:
        words = self._shown(str(error))
        return f"{type(error).__name__}: {words}" if words else type(error).__name__


class Reachability:
    """Since when no call was answered. Any answer of the API counts, but for those of a server that failed."""

    def __init__(self) -> None:
        self._failures = 0
        self._since: datetime | None = None
        self._reason = ""

    def answered(self) -> None:
        """A call was answered."""
        self._failures, self._since = 0, None

    def failed(self, reason: str) -> None:
        """A call got no answer."""
        self._failures += 1
        self._since = self._since or datetime.now(UTC)
        self._reason = reason

    @property
    def outage(self) -> str | None:
        """In words, with the time it began; None while Leonardo answers."""
        if self._since is None or self._failures < FAILURES_IN_A_ROW:
            return None
        return f"Leonardo cannot be reached since {self._since:%H:%M:%S} UTC ({self._reason})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """A whole answer. Header names are in any case; looked up in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _KeyForOneHost(httpx.Auth):
    """Adds the key to requests to the API's own origin, and to no others. No request but in flight has it."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self._base = httpx.URL(base_url)
        self._value = f"Bearer {api_key}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if (request.url.scheme, request.url.netloc) == (self._base.scheme, self._base.netloc):
            request.headers["Authorization"] = self._value
        yield request


def _in_path(server_id: str) -> str:
    """An id as one segment of a path, whatever a server put into it; a dot would be folded away as a folder."""
    return quote(server_id, safe="", errors="replace").replace(".", "%2E")
