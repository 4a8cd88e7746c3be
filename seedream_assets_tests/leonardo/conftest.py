"""Emulators for the tests of the client: real HTTP; generations end at once unless set otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from seedream_assets.emulator.server import RunningEmulator, running_emulator
from seedream_assets.emulator.settings import EmulatorSettings
from seedream_assets_tests.leonardo.making import KEY

StartEmulator = Callable[..., RunningEmulator]


@pytest.fixture
def start() -> Iterator[StartEmulator]:
    """Start emulators by their settings; they know one key and stop with the test."""
    with contextlib.ExitStack() as stack:

        def start_one(**settings: Any) -> RunningEmulator:
            chosen = EmulatorSettings(**{"latency_seconds": 0, "keys": (KEY,), **settings})
            return stack.enter_context(running_emulator(chosen))

        yield start_one


@pytest.fixture
def emulator(start: StartEmulator) -> RunningEmulator:
    """One emulator whose generations end at once."""
    return start()
