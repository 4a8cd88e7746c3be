"""Fixtures of the engine's tests: an emulated account over HTTP, a folder store, and runs over both."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seedream_assets.emulator.server import running_emulator
from seedream_assets.emulator.settings import EmulatorSettings
from seedream_assets.storage.folder import FolderStore
from seedream_assets_tests.purchase.desk import Desk, StartDesk
from seedream_assets_tests.storage.conftest import (
    bucket,
    folder_store,
    s3_client,
    s3_connection,
    s3_environment,
    s3_server,
    s3_store,
)

__all__ = ["bucket", "folder_store", "s3_client", "s3_connection", "s3_environment", "s3_server", "s3_store"]


@pytest.fixture
def start_desk(tmp_path: Path) -> Iterator[StartDesk]:
    """Start an account by its settings, over a folder store; its generations end at once unless told otherwise."""
    with contextlib.ExitStack() as stack:

        def start(**settings: Any) -> Desk:
            quick = {"latency_seconds": 0, "creates_per_minute": 0, "requests_per_minute": 0}
            emulator = stack.enter_context(running_emulator(EmulatorSettings(**(quick | settings))))
            return Desk(store=FolderStore(tmp_path / "store"), emulator=emulator)

        yield start


@pytest.fixture
def desk(start_desk: StartDesk) -> Desk:
    """One account whose generations end at once."""
    return start_desk()
