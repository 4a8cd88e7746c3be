"""What the tests of this folder are built from: settings with a key that must never show, requests, odd servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx

from seedream_assets.config.account import LeonardoSettings
from seedream_assets.config.models import SEEDREAM_4_0
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.generations import Submission
from seedream_assets.leonardo.requests import GenerationRequest, GenerationSpec, Reference, make_request

Result = TypeVar("Result")
Act = Callable[[LeonardoClient], Awaitable[Result]]
Respond = Callable[[httpx.Request], httpx.Response]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

KEY = "5ec4e700-cafe-4bad-8bad-5ec4e75ec4e7"
API = "https://cloud.leonardo.ai/api/rest"
# Version 6, as jobs of v2 have.
GENERATION_ID = "1f0fb8d1-bad7-6b40-bbb4-933578065d27"
ACCEPTED = {"generate": {"generationId": GENERATION_ID, "cost": {"amount": "0.0838", "unit": "DOLLARS"}}}


def make_settings(base_url: str = API, **others: Any) -> LeonardoSettings:
    return LeonardoSettings(
        **{"api_key": KEY, "base_url": base_url, "connect_seconds": 2, "answer_seconds": 2, **others}
    )


def make_settings_for(base_url: str, fault: Mapping[str, Any], **others: Any) -> LeonardoSettings:
    """Settings that wait little where the fault is silence, and long enough for a busy machine everywhere else."""
    return make_settings(base_url, answer_seconds=0.3 if "hang" in fault["kind"] else 5, **others)


def make_paid_request(
    prompt: str = "a blue mug", *, count: int = 1, references: tuple[Reference, ...] = ()
) -> GenerationRequest:
    spec = GenerationSpec(
        model=SEEDREAM_4_0.name,
        prompt=prompt,
        width=64,
        height=48,
        style="None",
        prompt_enhance="OFF",
        references=references,
    )
    return make_request(spec, start=0, count=count, model=SEEDREAM_4_0)


async def create(client: LeonardoClient, request: GenerationRequest | None = None, **options: Any) -> Submission:
    options = {"model": SEEDREAM_4_0, "reference_ids": {}, **options}
    return await client.create(request or make_paid_request(), turn=await client.take_turn(), **options)


def run(act: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end; thirty seconds are far more than any of these tests needs."""

    async def bounded() -> Result:
        async with asyncio.timeout(30):
            return await act

    return asyncio.run(bounded())


def with_client(
    act: Act[Result], settings: LeonardoSettings, transport: httpx.AsyncBaseTransport | None = None
) -> Result:
    """Do something with a client that is closed afterwards."""

    async def open_and_act() -> Result:
        async with LeonardoClient(settings, transport=transport) as client:
            return await act(client)

    return run(open_and_act())


def answered(act: Act[Result], response: httpx.Response | Respond, **settings: Any) -> Result:
    """Do something with a client to which every request gets this answer."""
    respond = response if callable(response) else lambda _request: response
    return with_client(act, make_settings(**settings), httpx.MockTransport(respond))


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[str]:
    """A bare server on this machine that does to each connection whatever `serve` does; its base URL."""

    async def treat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(treat, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One whole request with a declared length, headers and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
