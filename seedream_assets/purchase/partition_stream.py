"""Several partitions as one run of the engine: their requests follow each other in one stream, counted by partition.

One engine run after another would leave the account's slots empty at each end, and would open the budget anew. A
partition is reported as soon as its last request has ended, while the others go on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from uuid import uuid4

from seedream_assets.config.retry import Clock, running_seconds
from seedream_assets.ledger.events import Blocked, Completed, Failed, FinalEvent, decode_event, encode_event
from seedream_assets.purchase.report import RunReport, RunStats
from seedream_assets.purchase.shutdown import StopCause
from seedream_assets.purchase.task import Bought, Ended, Event

# Small ones stay in memory: a range of partitions may have a thousand of them open.
IN_MEMORY_BYTES = 1 << 15


class Endings:
    """How a run's requests ended, kept on this machine's disk between the paid stage and the manifest.

    The manifest would otherwise read each event back from the store that has just been given it. A run of 20,000
    requests writes about 30 MB here. Use as a context manager; the file goes with it.
    """

    def __init__(self) -> None:
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


# Called when a partition has come as far as this run brings it, from a thread of its own, one partition at a time.
OnPartition = Callable[[str, RunReport, Endings], None]


class Share:
    """One partition's share of a run.

    Args:
        partition: Whose.
        total: Requests of it that the run has to bring to an end.
    """

    def __init__(self, partition: str, total: int, clock: Clock) -> None:
        self.partition = partition
        self.stats = RunStats(total)
        self.endings = Endings()
        self.has_begun = False
        self._clock = clock
        self._began = clock()

    @property
    def has_all(self) -> bool:
        """True when every request of it has ended, and none was left unsent."""
        return not self.stats.left and not self.stats.requests["not_sent"]

    def begin(self) -> None:
        """Its first request is about to be admitted."""
        if not self.has_begun:
            self.has_begun, self._began = True, self._clock()

    def report(self, run_id: str, stopped: StopCause | None = None, stop_reason: str | None = None) -> RunReport:
        """What the run did for this partition; what it did not come to counts as not sent."""
        seconds = self._clock() - self._began
        return self.stats.report(run_id, seconds=seconds, stopped=stopped, stop_reason=stop_reason)


class PartitionStream:
    """The shares of all partitions while the engine runs. Use as a context manager.

    A request that several partitions want is bought for the first of them; the others wait for it.

    Args:
        wanted: By partition, the requests that are not final, in their order.
        on_partition: Called with each partition that has come to its end, its report and its final events.
    """

    def __init__(
        self, wanted: dict[str, list[str]], on_partition: OnPartition, *, clock: Clock = running_seconds
    ) -> None:
        self.run_id = uuid4().hex
        self.shares = {partition: Share(partition, len(ids), clock) for partition, ids in wanted.items()}
        self._shares_of: dict[str, tuple[Share, ...]] = {}
        for partition, ids in wanted.items():
            alone = (self.shares[partition],)
            for request_id in ids:
                earlier = self._shares_of.get(request_id)
                self._shares_of[request_id] = alone if earlier is None else earlier + alone
        self._on_partition = on_partition
        self._reporting = ThreadPoolExecutor(max_workers=1, thread_name_prefix="partition")
        self._reported: list[Future[None]] = []

    def __enter__(self) -> PartitionStream:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._reporting.shutdown(wait=True)
        with ExitStack() as stack:
            for share in self.shares.values():
                stack.enter_context(share.endings)

    @property
    def total(self) -> int:
        """Requests of all partitions, each once."""
        return len(self._shares_of)

    def buyer(self, request_id: str) -> str:
        """The partition that a request is bought for: the first that wants it."""
        return self._shares_of[request_id][0].partition

    def draws(self, request_id: str, partition: str) -> bool:
        """Whether a partition is the one that a request is drawn for; the others' wishes for it are passed over."""
        shares = self._shares_of.get(request_id)
        if shares is None or shares[0].partition != partition:
            return False
        shares[0].begin()
        return True

    def report_empty(self) -> None:
        """Report the partitions that have nothing to wait for."""
        for share in self.shares.values():
            if not share.stats.total:
                self._report(share, share.report(self.run_id))

    def on(self, event: Event, request_id: str) -> None:
        """Count what happened to a request for every partition that wants it; an `Observer`."""
        shares = self._shares_of.get(request_id, ())
        match event:
            case Completed() | Failed() | Blocked():
                for share in shares:
                    share.endings.add(event)
            case Bought():
                shares[0].stats.on(event, request_id)
            case Ended():
                for number, share in enumerate(shares):
                    others = replace(event, outcome="owned", images=0) if event.outcome == "completed" else event
                    share.stats.on(event if number == 0 else others, request_id)
                    # The rest is reported once it is known why the run stopped.
                    if share.has_all:
                        self._report(share, share.report(self.run_id))

    def finish(self, stopped: StopCause | None, stop_reason: str | None) -> list[str]:
        """Report the partitions that have not come to their end, and wait until all are reported.

        Returns:
            The partitions that were not reported, because the run was ended before it came to them.

        Raises:
            Exception: What `on_partition` raised first.
        """
        not_begun = []
        for share in self.shares.values():
            if share.has_all:
                continue
            if stopped in ("interrupted", "refused") and not share.has_begun:
                not_begun.append(share.partition)
            else:
                self._report(share, share.report(self.run_id, stopped, stop_reason))
        for reported in self._reported:
            reported.result()
        return not_begun

    def _report(self, share: Share, report: RunReport) -> None:
        self._reported.append(self._reporting.submit(self._on_partition, share.partition, report, share.endings))
