"""Emulators for the tests of this folder: every one is real HTTP, and generations end at once unless a test asks otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from seedream_assets.emulator.server import running_emulator
from seedream_assets.emulator.settings import EmulatorSettings
from seedream_assets_tests.emulator.caller import Caller, FakeClock

StartEmulator = Callable[..., Caller]


@pytest.fixture
def start() -> Iterator[StartEmulator]:
    """Start emulators by their settings; they stop with the test."""
    with contextlib.ExitStack() as stack:

        def start_one(**settings: Any) -> Caller:
            clock = FakeClock()
            chosen = EmulatorSettings(**{"latency_seconds": 0, **settings})
            caller = Caller(stack.enter_context(running_emulator(chosen, clock=clock)), clock)
            stack.callback(caller.close)
            return caller

        yield start_one


@pytest.fixture
def caller(start: StartEmulator) -> Caller:
    """One emulator whose generations end at once."""
    return start()
