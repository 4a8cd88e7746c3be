"""The connection itself: sending an answer, and closing without one.

What belongs here: ASGI messages and the transport below them. What does not: why something is sent or dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from seedream_assets.emulator.answers import Answer

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
    """Send an answer whole, with Content-Length unless not `declared`; tell it when it went out."""
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
