"""The emulator as a server: it starts, stops, and depends on nothing it should not."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

import seedream_assets.emulator as room
from seedream_assets.emulator.server import running_emulator
from seedream_assets.emulator.settings import DEMO_KEY, EmulatorSettings

KEY = {"Authorization": f"Bearer {DEMO_KEY}"}
BODY = {"model": "seedream-4.0", "public": False, "parameters": {"prompt": "A mug", "width": 64, "height": 64}}


def test_it_listens_on_loopback_on_a_free_port_of_its_own() -> None:
    with running_emulator() as one, running_emulator() as other:
        assert one.base_url.startswith("http://127.0.0.1:")
        assert one.base_url != other.base_url
        assert httpx.get(f"{one.base_url}/v1/me", headers=KEY).status_code == 200


def test_it_listens_on_the_port_it_is_given() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    with running_emulator(port=port) as emulator:
        assert emulator.base_url == f"http://127.0.0.1:{port}"


def test_a_taken_port_is_an_error_at_once() -> None:
    with running_emulator() as emulator:
        taken = running_emulator(port=httpx.URL(emulator.base_url).port or 0)
        with pytest.raises(OSError, match="in use"):
            taken.__enter__()


def test_it_stops_at_once_and_quietly_though_requests_are_hanging(caplog: pytest.LogCaptureFixture) -> None:
    hanging: list[BaseException] = []

    def hang(url: str) -> None:
        try:
            httpx.get(url, headers=KEY, timeout=30)
        except httpx.TransportError as gone:
            hanging.append(gone)

    with running_emulator() as emulator:
        for kind in ("hang", "slow"):
            emulator.account.add_fault("me", kind, times=1, seconds=30)
        threads = [threading.Thread(target=hang, args=(f"{emulator.base_url}/v1/me",)) for _ in range(2)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 5
        while len(emulator.account.script.played) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        began = time.perf_counter()
    took_seconds = time.perf_counter() - began
    for thread in threads:
        thread.join(5)

    assert took_seconds < 0.5
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert len(hanging) == 2
    assert not [thread for thread in threading.enumerate() if thread.name == "seedream-emulator"]


def test_it_refuses_connections_after_it_has_stopped() -> None:
    with running_emulator() as emulator:
        pass

    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{emulator.base_url}/v1/me")


def test_one_account_is_served_to_many_connections_without_losing_count() -> None:
    settings = EmulatorSettings(latency_seconds=0, requests_per_minute=0, creates_per_minute=0)

    async def buy(base_url: str) -> None:
        async with httpx.AsyncClient(base_url=base_url, headers=KEY, timeout=30) as client:
            answers = await asyncio.gather(*(client.post("/v2/generations", json=BODY) for _ in range(100)))
            assert {answer.status_code for answer in answers} == {200}

    with running_emulator(settings) as emulator:
        asyncio.run(buy(emulator.base_url))
        bill = emulator.account.bill()

    assert (bill["generations"], bill["duplicates"], bill["credits"], bill["unanswered"]) == (100, 99, 2800, 0)


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM])
def test_serve_says_its_address_and_stops_when_interrupted(stop_signal: signal.Signals) -> None:
    program = (
        "from seedream_assets.emulator.server import serve\n"
        "from seedream_assets.emulator.settings import EmulatorSettings\n"
        "serve(EmulatorSettings(), announce=lambda url: print(url, flush=True))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().decode().strip()
            assert httpx.get(f"{url}/v1/me", headers=KEY, timeout=10).status_code == 200
            process.send_signal(stop_signal)
            _, errors = process.communicate(timeout=10)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    assert b"Traceback" not in errors
    assert process.returncode in (0, -stop_signal)


def test_it_shares_no_code_with_what_is_tested_against_it() -> None:
    allowed = {"starlette", "uvicorn", "PIL", "pydantic", *sys.stdlib_module_names}
    for path in Path(room.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path.name}: imports are absolute"
                names = [node.module or ""]
            for name in names:
                assert name.startswith("seedream_assets.emulator") or name.split(".")[0] in allowed, path.name
