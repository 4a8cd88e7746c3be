"""A headless Chromium, driven over its DevTools protocol: what a person with this browser would see and do.

    async with running_chromium() as page:
        await page.open(path.as_uri())
        await page.press("/")

Needs an installed Chromium; `find_chromium` says where one is.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio"),
    *("--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-port=0"),
]
PATIENCE_SECONDS = 30
# Key, the code of the physical key, the number that old listeners read, and the text that is typed.
KEYS = {"Enter": ("Enter", 13, "\r"), "/": ("Slash", 191, "/")} | {
    name: (name, number, "")
    for name, number in {
        "Escape": 27,
        "Tab": 9,
        "Home": 36,
        "End": 35,
        "PageUp": 33,
        "PageDown": 34,
        "ArrowLeft": 37,
        "ArrowUp": 38,
        "ArrowRight": 39,
        "ArrowDown": 40,
    }.items()
}


@cache
def find_chromium() -> str | None:
    """The path of an installed Chromium that starts, or None. Ubuntu's package is a script that asks for a snap."""
    return next((path for name in NAMES if (path := shutil.which(name)) and _starts(path)), None)


def _starts(path: str) -> bool:
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=PATIENCE_SECONDS).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


class Page:
    """One tab. `requests` and `messages` grow with what the page asks for and what it complains about."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.requests: list[str] = []
        self.messages: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def start(self) -> None:
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.send(f"{domain}.enable")

    async def stop(self) -> None:
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        answer = await asyncio.wait_for(self._answers[number], PATIENCE_SECONDS)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return dict(answer["result"])

    async def open(self, url: str) -> None:
        """Load an address anew, and wait until it and its pictures are there."""
        self.requests.clear()
        self.messages.clear()
        await self.send("Page.navigate", url="about:blank")
        self._loaded.clear()
        await self.send("Page.navigate", url=url)
        await asyncio.wait_for(self._loaded.wait(), PATIENCE_SECONDS)
        await self.settle()

    async def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        answer = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description", str(answer)))
        return answer["result"].get("value")

    async def settle(self) -> None:
        """Until two frames are drawn and no picture in the document is still loading."""
        await self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        await self.until("[...document.images].every(image => image.complete)")

    async def until(self, condition: str) -> None:
        """Until an expression in the page is true.

        Raises:
            TimeoutError: It did not become so.
        """
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self.run(condition):
                await asyncio.sleep(0.02)

    async def press(self, key: str) -> None:
        code, number, text = KEYS[key]
        common = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        typed = {"text": text} if text else {}
        await self.send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **common, **typed)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **common)
        await self.settle()

    async def type(self, text: str) -> None:
        await self.send("Input.insertText", text=text)
        await self.settle()

    async def click(self, selector: str) -> None:
        """Press the mouse in the middle of an element, wherever it is on the screen."""
        x, y = await self._middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        await self.settle()

    async def swipe(self, selector: str, across: int) -> None:
        """Draw a finger over an element, so many pixels to the right, or to the left where negative."""
        x, y = await self._middle(selector)
        for kind, points in (
            ("touchStart", [{"x": x, "y": y}]),
            ("touchMove", [{"x": x + across, "y": y}]),
            ("touchEnd", []),
        ):
            await self.send("Input.dispatchTouchEvent", type=kind, touchPoints=points)
        await self.settle()

    async def _middle(self, selector: str) -> tuple[float, float]:
        x, y = await self.run(
            f"(() => {{ const box = document.querySelector({selector!r}).getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        return x, y

    async def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        await self.send("Emulation.setTouchEmulationEnabled", enabled=phone)

    async def prefer(self, scheme: str) -> None:
        """`light` or `dark`."""
        await self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def screenshot(self, path: Path) -> None:
        answer = await self.send("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))

    async def _read(self) -> None:
        async for message in self._socket:
            event = message.json()
            if "id" in event:
                self._answers.pop(event["id"]).set_result(event)
                continue
            params = event["params"]
            match event["method"]:
                case "Page.loadEventFired":
                    self._loaded.set()
                case "Network.requestWillBeSent":
                    self.requests.append(params["request"]["url"])
                case "Runtime.exceptionThrown":
                    self.messages.append(str(params["exceptionDetails"]))
                case "Runtime.consoleAPICalled":
                    self.messages.append(str(params["args"]))
                case "Log.entryAdded":
                    self.messages.append(params["entry"]["text"])


@asynccontextmanager
async def running_chromium() -> AsyncIterator[Page]:
    """A browser with a profile of its own and one empty tab; both are gone afterwards.

    Raises:
        FileNotFoundError: No Chromium is installed.
        TimeoutError: It did not start.
    """
    binary = find_chromium()
    if binary is None:
        raise FileNotFoundError(f"no Chromium is installed; looked for {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            *(binary, *FLAGS, f"--user-data-dir={profile}", "about:blank"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            port = await _port(Path(profile) / "DevToolsActivePort")
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    tab = next(target for target in await answer.json() if target["type"] == "page")
                async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    page = Page(socket)
                    await page.start()
                    try:
                        yield page
                    finally:
                        await page.stop()
        finally:
            # The browser's own processes are in its group, which nobody else is in.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _port(port_file: Path) -> int:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(FileNotFoundError, IndexError, ValueError):
                return int(port_file.read_text().splitlines()[0])
            await asyncio.sleep(0.05)
