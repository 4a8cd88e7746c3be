"""What one process of the planning benchmark took, lap by lap."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any


def resident_mb() -> float:
    """Memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_mb() -> float:
    """The most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Laps:
    """Seconds by the wall and of processor time since the last lap, and resident memory at its end."""

    def __init__(self) -> None:
        self.laps: dict[str, tuple[float, float, float]] = {}
        self._last = time.perf_counter(), time.process_time()

    def lap(self, name: str) -> None:
        """What was done since the last lap, under a name."""
        wall, cpu = time.perf_counter() - self._last[0], time.process_time() - self._last[1]
        self.laps[name] = (wall, cpu, resident_mb())
        self._last = time.perf_counter(), time.process_time()

    def found(self, **more: Any) -> dict[str, Any]:
        """All laps and their sums, and what else was found."""
        wall, cpu = (sum(lap[at] for lap in self.laps.values()) for at in (0, 1))
        return {"wall": wall, "cpu": cpu, "laps": self.laps, **more}
