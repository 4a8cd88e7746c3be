"""The connection itself: sending an answer, closing without one, and spoiling one as a fault says.

ASGI messages and the transport below them. Which fault strikes is chosen in `faults`.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from PIL import Image
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from seedream_assets.emulator.answers import Answer, any_error, flat_error, html_page, s3_error
from seedream_assets.emulator.faults import Fault

_TRANSPORT: Final = "transport"


class CuttableProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # chosen at run time by uvicorn
    """uvicorn's HTTP protocol, which shows each request its transport, so that a handler can really hang up.

    ASGI has no message for it. uvicorn copies `app_state` into every request's `scope["state"]`.
    """

    app_state: dict[str, Any]

    def connection_made(self, transport: Any) -> None:
        """Put the transport where requests of this connection find it."""
        self.app_state = {**self.app_state, _TRANSPORT: transport}
        super().connection_made(transport)


def is_open(scope: Scope) -> bool:
    """Say whether the caller is still there."""
    transport: asyncio.Transport = scope["state"][_TRANSPORT]
    return not transport.is_closing()


async def send_answer(answer: Answer, scope: Scope, send: Send, *, declared: bool = True) -> None:
    """Send an answer whole, with Content-Length unless not `declared`; call its `on_sent` when it went out."""
    await _start(answer, send, len(answer.body) if declared else None)
    await send({"type": "http.response.body", "body": answer.body})
    if answer.on_sent is not None and is_open(scope):
        answer.on_sent()


async def send_half(answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    """Promise the whole body, send half of it, and hang up."""
    await _start(answer, send, len(answer.body))
    await send({"type": "http.response.body", "body": answer.body[: len(answer.body) // 2], "more_body": True})
    scope["state"][_TRANSPORT].close()
    await until_gone(receive)


async def drop(scope: Scope, receive: Receive) -> None:
    """Hang up without a word."""
    scope["state"][_TRANSPORT].abort()
    await until_gone(receive)


async def hang(seconds: float, scope: Scope, receive: Receive) -> None:
    """Say nothing until the caller gives up; hang up after `seconds` at the latest."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(until_gone(receive), seconds)
    await drop(scope, receive)


async def until_gone(receive: Receive) -> None:
    """Wait until uvicorn knows that the connection is closed; it would answer 500 for us otherwise."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _start(answer: Answer, send: Send, length: int | None) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    if answer.status != 204:
        headers.append((b"content-type", answer.content_type.encode("latin-1")))
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})


def answer_instead(fault: Fault, scope: Scope) -> Answer | None:
    """Return the answer that is given without handling the request, if this kind of fault gives one."""
    if fault.kind == "error_before":
        return _error(fault)
    if fault.kind == "rate_limit":
        return flat_error(429, "Too many requests", retry_after=fault.retry_after)
    if fault.kind == "html":
        return html_page(fault.status, "Bad gateway")
    if fault.kind == "redirect":
        return _redirect(fault, scope)
    if fault.kind == "not_found" and fault.operation == "download":
        return s3_error(404, "NoSuchKey", "The specified key does not exist.")
    return None


async def play_before(fault: Fault, scope: Scope, receive: Receive, send: Send) -> bool:
    """Play a fault that comes before the request is handled; say whether that was the end of it."""
    if fault.kind == "drop_before":
        await drop(scope, receive)
        return True
    if fault.kind == "hang_before":
        await hang(fault.seconds, scope, receive)
        return True
    if fault.kind == "slow_before":
        await asyncio.sleep(fault.seconds)
        return False
    answer = answer_instead(fault, scope)
    if answer is not None:
        await send_answer(answer, scope, send)
    return answer is not None


async def play_after(fault: Fault, answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the answer of a handled request, spoilt as the fault says."""
    if fault.kind == "drop_after":
        await drop(scope, receive)
    elif fault.kind == "hang":
        await hang(fault.seconds, scope, receive)
    elif fault.kind == "cut":
        await send_half(answer, scope, receive, send)
    else:
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        await send_answer(_spoilt(answer, fault, scope), scope, send, declared=fault.declared)


def _spoilt(answer: Answer, fault: Fault, scope: Scope) -> Answer:
    match fault.kind:
        case "error_after":
            return _error(fault)
        case "html_after":
            return html_page(fault.status, "Bad gateway")
        case "redirect_after":
            return _redirect(fault, scope)
        case "empty":
            return Answer(200)
        case "not_object":
            return Answer(fault.status, json.dumps(fault.content_json).encode())
        case "truncated_image":
            return replace(answer, body=answer.body[: len(answer.body) * 2 // 3], on_sent=None)
        case "oversize":
            return replace(answer, body=answer.body.ljust(fault.body_bytes, b"\0"), on_sent=None)
        case "wrong_type":
            return _wrong_type(answer, fault)
    return answer


def _error(fault: Fault) -> Answer:
    return any_error(fault.envelope, fault.status, fault.message, fault.code, fault.retry_after)


def _redirect(fault: Fault, scope: Scope) -> Answer:
    # By default to another host name of this same emulator, whose CDN counts a key that is carried along.
    location = fault.location or f"http://localhost:{scope['server'][1]}/cdn/elsewhere"
    return Answer(fault.status, headers=(("Location", location),))


def _wrong_type(answer: Answer, fault: Fault) -> Answer:
    if fault.content == "png":
        return Answer(answer.status, _small_png(), "image/png")
    if fault.content == "text":
        return Answer(answer.status, b"The image is being prepared.", "text/plain; charset=utf-8")
    return html_page(answer.status, "Just a moment...")


@lru_cache(maxsize=1)
def _small_png() -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (8, 8), "grey").save(written, "PNG")
    return written.getvalue()
