"""OpenLineage, where a deployment asks for it: one run per asset and partition, START and then COMPLETE, FAIL or ABORT.

Asked for means: configured as OpenLineage's own client is (OPENLINEAGE_URL, OPENLINEAGE_CONFIG, OPENLINEAGE__…, an
openlineage.yml), with the extra `seedream-assets[openlineage]` installed. Events leave from a thread of their own; a
lineage server that is away costs a step at most `FLUSH_SECONDS` in all, and never fails it.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from seedream_assets.assets.frame import AssetFrame
from seedream_assets.assets.partition_walk import Materialised, Work, materialise
from seedream_assets.config.deployment import Deployment
from seedream_assets.errors import SeedreamError

if TYPE_CHECKING:
    from seedream_assets.assets.lineage_events import LineageEvents

FLUSH_SECONDS = 2.0
# Beyond this many unsent, events are dropped: the server is away, and a backfill may have thousands of partitions.
MOST_WAITING = 1_000
_LOG = logging.getLogger(__name__)
Emit = Callable[[Any], None]


def is_asked_for(environment: Mapping[str, str], folders: tuple[Path, ...]) -> bool:
    """Whether OpenLineage's own client would find a configuration.

    Args:
        environment: Of this process.
        folders: Where an openlineage.yml may lie.
    """
    if environment.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return False
    if any(environment.get(name) for name in ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG")):
        return True
    if any(name.startswith("OPENLINEAGE__TRANSPORT") for name in environment):
        return True
    return any((folder / "openlineage.yml").is_file() for folder in folders)


class Outlet:
    """Sends events one after the other from a thread of its own; whoever adds one never waits, and never fails."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._waiting: queue.Queue[Any] = queue.Queue(MOST_WAITING)
        self._trouble = False
        # A daemon: a process that ends does not wait for a server that does not answer.
        self._thread = threading.Thread(target=self._send, name="openlineage", daemon=True)
        self._thread.start()

    def add(self, event: Any) -> None:
        """Send an event as soon as those before it are sent."""
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._tell("events are dropped: the server takes none")

    def close(self, *, seconds: float) -> None:
        """Give what is waiting so long, then leave it."""
        self.add(None)
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._tell(f"not every event was sent within {seconds:g} s")

    def _send(self) -> None:
        while (event := self._waiting.get()) is not None:
            try:
                self._emit(event)
            except Exception as error:  # noqa: BLE001 - lineage is told where it can be; the work goes on
                self._tell(f"{type(error).__name__}: {error}")

    def _tell(self, trouble: str) -> None:
        """The first trouble of a step is a warning, what follows is not worth a line each."""
        level, self._trouble = (logging.DEBUG if self._trouble else logging.WARNING), True
        _LOG.log(level, "OpenLineage: %s", trouble)


class Lineage:
    """Tells of one step; where nothing is configured, of nothing."""

    def __init__(self, events: LineageEvents | None = None, outlet: Outlet | None = None) -> None:
        self._events = events
        self._outlet = outlet

    def begin(self, partition: str) -> None:
        """A partition is begun."""
        if self._events is not None and self._outlet is not None:
            self._outlet.add(self._events.started(partition))

    def end(self, partition: str, done: Materialised) -> None:
        """What it came to."""
        if self._events is not None and self._outlet is not None:
            for event in self._events.ended(partition, done):
                self._outlet.add(event)

    def fail(self, partition: str, why: str) -> None:
        """It could not be worked on."""
        if self._events is not None and self._outlet is not None:
            self._outlet.add(self._events.failed(partition, why))

    def abort(self, partition: str, why: str) -> None:
        """It was cut off."""
        if self._events is not None and self._outlet is not None:
            self._outlet.add(self._events.aborted(partition, why))

    def following(self, work: Work) -> Work:
        """The same work, with its begin and its end told."""

        def followed(partition: str) -> Materialised:
            with self.of_several([partition]) as told:
                try:
                    done = work(partition)
                except SeedreamError as error:
                    told.fail(partition, str(error))
                    raise
                told.end(partition, done)
                return done

        return followed

    @contextmanager
    def of_several(self, partitions: Iterable[str]) -> Iterator[Lineage]:
        """Begin these partitions together; what has not ended when the block is cut off is told so."""
        waiting = _Waiting(self._events, self._outlet)
        for partition in partitions:
            waiting.begin(partition)
        try:
            yield waiting
        except SeedreamError:
            raise
        except BaseException as error:
            for partition in sorted(waiting.left):
                waiting.abort(partition, type(error).__name__)
            raise


class _Waiting(Lineage):
    """Remembers which partitions have begun and not ended."""

    def __init__(self, events: LineageEvents | None, outlet: Outlet | None) -> None:
        super().__init__(events, outlet)
        self.left: set[str] = set()

    def begin(self, partition: str) -> None:
        self.left.add(partition)
        super().begin(partition)

    def end(self, partition: str, done: Materialised) -> None:
        self.left.discard(partition)
        super().end(partition, done)

    def fail(self, partition: str, why: str) -> None:
        self.left.discard(partition)
        super().fail(partition, why)


def materialise_stage(
    context: dg.AssetExecutionContext, frame: AssetFrame, stage: str, deployment: Deployment, work: Work
) -> Iterator[Any]:
    """As `materialise`, with the lineage told.

    Raises:
        Failure: As `materialise`; nothing that concerns lineage.
    """
    with told_lineage(context, frame, stage, store_url=deployment.store.url) as lineage:
        yield from materialise(context, frame, stage, lineage.following(work))


@contextmanager
def told_lineage(
    context: dg.AssetExecutionContext, frame: AssetFrame, stage: str, *, store_url: str
) -> Iterator[Lineage]:
    """The lineage of a step that materialises one asset, over any number of partitions."""
    emit = _open_client()
    if emit is None:
        yield Lineage()
        return
    from seedream_assets.assets.lineage_events import LineageEvents

    outlet = Outlet(emit)
    try:
        yield Lineage(LineageEvents.of(context, frame, stage, store_url=store_url), outlet)
    finally:
        outlet.close(seconds=FLUSH_SECONDS)


def _open_client() -> Emit | None:
    if not is_asked_for(os.environ, (Path.cwd(), Path.home() / ".openlineage")):
        return None
    if importlib.util.find_spec("openlineage") is None:
        _LOG.warning("OpenLineage is configured and not installed; pip install 'seedream-assets[openlineage]'")
        return None
    from openlineage.client import OpenLineageClient

    try:
        return OpenLineageClient().emit
    except Exception as error:  # noqa: BLE001 - a wrong configuration of lineage must not stop a paid run
        _LOG.warning("OpenLineage: its configuration cannot be used: %s: %s", type(error).__name__, error)
        return None
