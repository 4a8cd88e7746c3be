"""Servers in processes of their own, so that their work is not counted as the client's."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import httpx

from seedream_assets.emulator.server import serve
from seedream_assets.emulator.settings import EmulatorSettings


@contextmanager
def emulator_process(settings: EmulatorSettings) -> Iterator[str]:
    """Its base URL; the account is gone afterwards."""
    with server_process(_serve, settings) as base_url:
        yield base_url


@contextmanager
def server_process(serve_until_ended: Callable[..., None], *arguments: Any) -> Iterator[Any]:
    """What a server announces through the `Connection` that it gets after its arguments; it is ended with the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve_until_ended, args=(*arguments, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _serve(settings: EmulatorSettings, announced: Connection) -> None:
    serve(settings, announce=announced.send)


def read_bill(base_url: str) -> dict[str, Any]:
    """The emulator's books, with every generation."""
    answer = httpx.get(f"{base_url}/emulator/bill?details=1", trust_env=False, timeout=60)
    bill: dict[str, Any] = answer.json()
    return bill
