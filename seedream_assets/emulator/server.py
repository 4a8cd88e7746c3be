"""The emulator as a server: in a thread for tests, in the foreground for the command line."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seedream_assets.emulator.account import Account
from seedream_assets.emulator.api import build_app
from seedream_assets.emulator.connection import CuttableProtocol
from seedream_assets.emulator.settings import DEMO_KEY, EmulatorSettings

LOOPBACK: Final = "127.0.0.1"

_START_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class RunningEmulator:
    """An emulator that is listening.

    Attributes:
        base_url: What paths such as `/v1/me` are appended to.
        account: The account behind it: `bill()`, `add_fault(...)`, `clear_faults()`.
        key: An API key that it accepts.
    """

    base_url: str
    account: Account
    key: str


@contextlib.contextmanager
def running_emulator(
    settings: EmulatorSettings | None = None,
    *,
    host: str = LOOPBACK,
    port: int = 0,
    clock: Callable[[], float] = time.time,
) -> Iterator[RunningEmulator]:
    """Run an emulator in a thread of this process; port 0 takes a free one. Requests in flight are cut off at the end.

    Args:
        settings: The account; all defaults when None.
        host: Address to listen on.
        port: Port to listen on.
        clock: Seconds since 1970; a test that passes its own decides when generations end.

    Raises:
        OSError: The port is taken.
    """
    settings = settings or EmulatorSettings()
    account = Account(settings, clock)
    listener = _listen(host, port)
    server = _Server(_configuration(account))
    thread = threading.Thread(target=server.run, args=([listener],), name="seedream-emulator", daemon=True)
    thread.start()
    try:
        if not server.ready.wait(_START_SECONDS):
            raise RuntimeError(f"the emulator did not start within {_START_SECONDS:.0f} s")
        key = settings.keys[0] if settings.keys else DEMO_KEY
        yield RunningEmulator(_base_url(host, listener), account, key)
    finally:
        server.stop()
        thread.join(_STOP_SECONDS)
        listener.close()


def serve(
    settings: EmulatorSettings, host: str = LOOPBACK, port: int = 0, announce: Callable[[str], None] | None = None
) -> None:
    """Run an emulator in the foreground until it is interrupted (SIGINT or SIGTERM).

    Args:
        settings: The account.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        announce: Called with the base URL as soon as connections are taken.

    Raises:
        OSError: The port is taken.
    """
    listener = _listen(host, port)
    if announce is not None:
        announce(_base_url(host, listener))
    try:
        # uvicorn raises an interrupt again after it has shut down in good order.
        with contextlib.suppress(KeyboardInterrupt):
            _Server(_configuration(Account(settings))).run([listener])
    finally:
        listener.close()


class _Server(uvicorn.Server):
    """uvicorn, which starts observably and stops at once, whoever is still waiting for an answer."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken: asyncio.Event | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._woken = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        woken = self._woken or asyncio.Event()
        while not await self.on_tick(0):
            # uvicorn's own loop sleeps between two looks; this one is woken, so a test does not wait for every stop.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), 0.25)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        # One turn in which every connection learns that it is closed, one in which the handlers notice.
        await asyncio.sleep(0.01)
        for task in list(self.server_state.tasks):
            task.cancel()
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)

    def stop(self) -> None:
        """Stop from another thread."""
        self.should_exit = True
        if self._loop is not None and self._woken is not None:
            with contextlib.suppress(RuntimeError):  # The loop is closed: it has stopped by itself.
                self._loop.call_soon_threadsafe(self._woken.set)


def _configuration(account: Account) -> uvicorn.Config:
    return uvicorn.Config(
        _without_stop_noise(_dated(build_app(account), account)),
        http=CuttableProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        # Longer than any client pools: an idle connection that closes by itself would be a fault nobody scripted.
        timeout_keep_alive=300,
    )


def _dated(app: ASGIApp, account: Account) -> ASGIApp:
    """Every answer carries a Date header by the API's own clock, which need not be this machine's."""

    async def with_date(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                now = account.clock() + account.settings.reporting.clock_ahead_seconds
                date = formatdate(now, usegmt=True).encode("ascii")
                message = {**message, "headers": [(b"date", date), *message["headers"]]}
            await send(message)

        await app(scope, receive, send_dated)

    return with_date


def _without_stop_noise(app: ASGIApp) -> ASGIApp:
    async def quiet(scope: Scope, receive: Receive, send: Send) -> None:
        # A handler is cancelled only when the emulator stops, and its connection is closed by then.
        with contextlib.suppress(asyncio.CancelledError):
            await app(scope, receive, send)

    return quiet


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


def _base_url(host: str, listener: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"
