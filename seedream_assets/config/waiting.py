"""Time as a dependency, and in words: how the engine sleeps and measures, and how a duration is written."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

Sleep = Callable[[float], Awaitable[None]]
# Seconds that never run backwards, and that go on while this process, or the whole machine, is stopped.
Clock = Callable[[], float]


def running_seconds() -> float:
    """The machine's seconds since boot, suspended time included where the system counts it (Linux)."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


def format_seconds(seconds: float) -> str:
    """A duration for people: 8 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
