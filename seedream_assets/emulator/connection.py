"""The connection itself: sending an answer, closing without one, and spoiling one as a fault says.

What belongs here: ASGI messages and the transport below them. Which fault strikes is chosen in `faults.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import Callable, Mapping
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


Parameters = Mapping[str, Any]


def answer_instead(fault: Fault, scope: Scope) -> Answer | None:
    """Return the answer that is given without handling the request, if this kind of fault gives one."""
    given = fault.parameters
    if fault.kind == "error_before":
        return _error(given)
    if fault.kind == "rate_limit":
        return flat_error(429, "Too many requests", retry_after=given["retry_after"])
    if fault.kind == "html":
        return html_page(int(given["status"]), "Bad gateway")
    if fault.kind == "redirect":
        return _redirect(given, scope)
    if fault.kind == "not_found" and fault.operation == "download":
        return s3_error(404, "NoSuchKey", "The specified key does not exist.")
    return None


async def play_before(fault: Fault, scope: Scope, receive: Receive, send: Send) -> bool:
    """Play a fault that comes before the request is handled; say whether that was the end of it."""
    if fault.kind == "drop_before":
        await drop(scope, receive)
        return True
    if fault.kind == "hang_before":
        await hang(fault.parameters["seconds"], scope, receive)
        return True
    if fault.kind == "slow_before":
        await asyncio.sleep(fault.parameters["seconds"])
        return False
    answer = answer_instead(fault, scope)
    if answer is not None:
        await send_answer(answer, scope, send)
    return answer is not None


async def play_after(fault: Fault, answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the answer of a handled request, spoilt as the fault says."""
    given = fault.parameters
    if fault.kind == "drop_after":
        await drop(scope, receive)
    elif fault.kind == "hang":
        await hang(given["seconds"], scope, receive)
    elif fault.kind == "cut":
        await send_half(answer, scope, receive, send)
    elif fault.kind == "redirect_after":
        await send_answer(_redirect(given, scope), scope, send)
    elif fault.kind == "slow":
        await asyncio.sleep(given["seconds"])
        await send_answer(answer, scope, send)
    elif fault.kind in _SPOILT:
        await send_answer(_SPOILT[fault.kind](answer, given), scope, send, declared=given.get("declared", True))
    else:
        await send_answer(answer, scope, send)


def _error(given: Parameters) -> Answer:
    retry_after = given["retry_after"]
    return any_error(given["envelope"], int(given["status"]), given["message"], given["code"], retry_after)


def _redirect(given: Parameters, scope: Scope) -> Answer:
    # By default to another host name of this same emulator, whose CDN counts a key that is carried along.
    location = given["location"] or f"http://localhost:{scope['server'][1]}/cdn/elsewhere"
    return Answer(int(given["status"]), headers=(("Location", location),))


def _wrong_type(answer: Answer, given: Parameters) -> Answer:
    if given["content"] == "png":
        return Answer(answer.status, _small_png(), "image/png")
    if given["content"] == "text":
        return Answer(answer.status, b"The image is being prepared.", "text/plain; charset=utf-8")
    return html_page(answer.status, "Just a moment...")


def _oversize(answer: Answer, given: Parameters) -> Answer:
    size_bytes = int(given["body_bytes"])
    return Answer(answer.status, answer.body.ljust(size_bytes, b"\0"), answer.content_type)


_SPOILT: Final[Mapping[str, Callable[[Answer, Parameters], Answer]]] = {
    "error_after": lambda _, given: _error(given),
    "html_after": lambda _, given: html_page(int(given["status"]), "Bad gateway"),
    "empty": lambda *_: Answer(200),
    "not_object": lambda _, given: Answer(int(given["status"]), json.dumps(given["json"]).encode()),
    "truncated_image": lambda answer, _: Answer(answer.status, answer.body[: len(answer.body) * 2 // 3], "image/jpeg"),
    "wrong_type": _wrong_type,
    "oversize": _oversize,
}


@lru_cache(maxsize=1)
def _small_png() -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (8, 8), "grey").save(written, "PNG")
    return written.getvalue()
