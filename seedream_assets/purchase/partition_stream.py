"""Several partitions as one run of the engine: their demands follow each other in one stream, tallied by partition.

One engine run after another would leave the account's slots empty at each end, and would open the budget anew. What a
partition comes to is told as soon as its last request has ended, while the others go on.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from decimal import Decimal
from types import TracebackType
from uuid import uuid4

from seedream_assets.budget.rules import Booked
from seedream_assets.config.waiting import Clock, running_seconds
from seedream_assets.ledger.events import Blocked, Completed, Failed, FinalEvent, decode_event, encode_event
from seedream_assets.purchase.report import RunReport, StopCause

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


# Told when a partition has come as far as this run brings it; from a thread of its own, one partition at a time.
OnPartition = Callable[[str, RunReport, Endings], None]
MOST_REASONS = 20


class Share:
    """One partition's share of a run.

    Args:
        partition: Whose.
        waiting: Requests of it that the run has to bring to an end.
    """

    def __init__(self, partition: str, waiting: int, clock: Clock) -> None:
        self.partition = partition
        self.waiting = waiting
        self.has_begun = False
        self.requests: Counter[str] = Counter()
        self.images_stored = 0
        self.reasons: Counter[str] = Counter()
        self.notes: dict[str, str] = {}
        self.credits_booked = 0
        self.credits_quoted = 0
        self.costs: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.doubted_costs = 0
        self.endings = Endings()
        self._clock = clock
        self._began = clock()

    def begin(self) -> None:
        """Its first request is about to be admitted."""
        self.has_begun = True
        self._began = self._clock()

    def report(self, run_id: str, stopped: StopCause | None = None, stop_reason: str | None = None) -> RunReport:
        """What the run did for this partition; what it did not come to counts as not sent."""
        left = Counter({"not_sent": self.waiting})
        return RunReport(
            run_id=run_id,
            requests=dict(+(self.requests + left)),
            images_stored=self.images_stored,
            credits_booked=self.credits_booked,
            credits_quoted=self.credits_quoted,
            costs=dict(self.costs),
            doubted_costs=self.doubted_costs,
            reasons=dict(self.reasons.most_common(MOST_REASONS)),
            stopped=stopped,
            stop_reason=stop_reason,
            seconds=self._clock() - self._began,
            notes=dict(self.notes),
        )


class PartitionStream:
    """The shares of all partitions while the engine runs; a `RunListener`. Use as a context manager.

    A request that several partitions want is bought for the first of them; the others wait for it.

    Args:
        wanted: By partition, the requests that are not final, in their order.
        on_partition: Told of each partition that has come to its end, with its final events.
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
        self._telling = ThreadPoolExecutor(max_workers=1, thread_name_prefix="partition")
        self._told: list[Future[None]] = []

    def __enter__(self) -> PartitionStream:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._telling.shutdown(wait=True)
        with ExitStack() as stack:
            for share in self.shares.values():
                stack.enter_context(share.endings)

    @property
    def total(self) -> int:
        """Requests of all partitions, each once."""
        return len(self._shares_of)

    def wants(self, request_id: str) -> bool:
        """Whether any partition's share of the run holds this request."""
        return request_id in self._shares_of

    def buyer(self, request_id: str) -> str:
        """The partition that a request is bought for: the first that wants it."""
        return self._shares_of[request_id][0].partition

    def tell_whole(self) -> None:
        """Tell of the partitions that have nothing to wait for."""
        for share in self.shares.values():
            if not share.waiting:
                self._tell(share, share.report(self.run_id))

    def ended(self, event: FinalEvent) -> None:
        """A final event stands in the ledger; it is every partition's that wants the request."""
        for share in self._shares_of.get(event.request_id, ()):
            share.endings.add(event)

    def noted(self, request_id: str, reason: str) -> None:
        """See `RunListener`."""
        for share in self._shares_of[request_id]:
            share.notes[request_id] = reason

    def booked(self, request_id: str, booked: Booked, *, quoted: int) -> None:
        """See `RunListener`."""
        share = self._shares_of[request_id][0]
        share.credits_booked += booked.credits
        share.credits_quoted += quoted
        share.costs[booked.cost.unit] += booked.cost.amount
        share.doubted_costs += booked.is_doubted

    def counted(self, request_id: str, outcome: str, *, images: int, reason: str | None) -> None:
        """See `RunListener`."""
        for number, share in enumerate(self._shares_of[request_id]):
            share.requests[outcome if number == 0 or outcome != "completed" else "owned"] += 1
            share.images_stored += 0 if number else images
            share.reasons.update([reason] if reason else [])
            share.waiting -= 1
            # Told with the rest once it is known why the run stopped, where something of it was not sent.
            if not share.waiting and not share.requests["not_sent"]:
                self._tell(share, share.report(self.run_id))

    def finish(self, stopped: StopCause | None, stop_reason: str | None) -> list[str]:
        """Tell of the partitions that have not come to their end, and wait until all are told.

        Returns:
            The partitions of which nothing was told, because the run was ended before it came to them.

        Raises:
            Exception: What `on_partition` raised first.
        """
        not_begun = []
        for share in self.shares.values():
            if share.waiting or share.requests["not_sent"]:
                if stopped in ("interrupted", "refused") and not share.has_begun:
                    not_begun.append(share.partition)
                else:
                    self._tell(share, share.report(self.run_id, stopped, stop_reason))
        for told in self._told:
            told.result()
        return not_begun

    def _tell(self, share: Share, report: RunReport) -> None:
        self._told.append(self._telling.submit(self._on_partition, share.partition, report, share.endings))

    def draws(self, request_id: str, partition: str) -> bool:
        """Whether a partition is the one that a request is drawn for; the others' wishes for it are passed over."""
        if not self.wants(request_id):
            return False
        share = self._shares_of[request_id][0]
        if share.partition != partition:
            return False
        if not share.has_begun:
            share.begin()
        return True
