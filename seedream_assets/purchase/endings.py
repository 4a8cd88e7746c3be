"""How a run's requests ended, kept on this machine's disk between the paid stage and the manifest.

The manifest would otherwise read each event back from the store that has just been given it. Memory holds none of them:
a run of 20,000 requests writes about 30 MB here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from types import TracebackType

from seedream_assets.ledger.events import Blocked, Completed, Failed, FinalEvent, decode_event, encode_event

IN_MEMORY_BYTES = 1 << 15


class Endings:
    """Final events in the order they were written. Use as a context manager; the file goes with it."""

    def __init__(self) -> None:
        # Small ones stay in memory: a range of partitions may have a thousand of them open.
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115  # closed by __exit__
        self._sizes: list[int] = []

    def __enter__(self) -> Endings:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, event: FinalEvent) -> None:
        """Keep an event that stands in the ledger exactly so."""
        self._sizes.append(self._file.write(encode_event(event)))

    def __iter__(self) -> Iterator[FinalEvent]:
        self._file.seek(0)
        for size in self._sizes:
            event = decode_event(self._file.read(size), key="an ending of this run")
            if isinstance(event, Completed | Failed | Blocked):
                yield event
