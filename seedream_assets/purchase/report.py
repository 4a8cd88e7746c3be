"""What a run did, in numbers: for the log, for Dagster's metadata, and kept in the store beside the manifest."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from seedream_assets.budget.costs import add_costs
from seedream_assets.config.retry import format_seconds
from seedream_assets.purchase.shutdown import StopCause
from seedream_assets.purchase.task import Bought, Ended, Event
from seedream_assets.wording import count_of

# Rates are those over so many reports: five minutes, where one comes every 5 s.
RECENT_REPORTS = 60
MOST_REASONS = 20
MOST_SHOWN_REASONS = 3
LONGEST_REASON_CHARACTERS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """One run of the engine over one plan.

    Attributes:
        run_id: Of the engine's run; stands in every intent it wrote.
        requests: Requests by what became of them: completed, failed, blocked, uncertain, pending, not_sent.
        images_stored: Images that this run stored.
        credits_booked: What this run bought, in credits; dollars are turned into credits at the known rate.
        credits_quoted: The same by the price list; the difference shows how good the quote was.
        costs: What this run bought, by unit, as the API reported it.
        reasons: Reasons of failures, with how often each occurred; the commonest first, at most 20.
        stopped: Why the run stopped before the end of its plan.
        stop_reason: The same in words, with the numbers.
        seconds: Duration.
        notes: Reasons of requests that stay uncertain or pending, by request id.
        doubted_costs: Requests of which the API reported less than half of the price list: they count as they were quoted.
    """

    run_id: str
    requests: Mapping[str, int]
    images_stored: int
    credits_booked: int
    costs: Mapping[str, Decimal]
    reasons: Mapping[str, int]
    stopped: StopCause | None
    stop_reason: str | None
    seconds: float
    notes: Mapping[str, str] = field(default_factory=dict)
    credits_quoted: int = 0
    doubted_costs: int = 0

    @property
    def warnings(self) -> list[str]:
        """What a person should know of the prices, in words; nothing where they were as quoted."""
        warnings = []
        if self.credits_booked != self.credits_quoted:
            warnings.append(
                f"{self.credits_booked} credits were booked where {self.credits_quoted} were quoted: the price on file may "
                "be out of date"
            )
        if self.doubted_costs:
            warnings.append(
                f"{count_of(self.doubted_costs, 'answer')} with less than half of the price on file; what was bought so counts as "
                "quoted, and the ledger keeps what was reported: look at the account's balance"
            )
        return warnings


def join_reports(first: RunReport, second: RunReport) -> RunReport:
    """Two runs, one right after the other, as one; the id is the second's."""
    return RunReport(
        run_id=second.run_id,
        requests=dict(Counter(first.requests) + Counter(second.requests)),
        images_stored=first.images_stored + second.images_stored,
        credits_booked=first.credits_booked + second.credits_booked,
        credits_quoted=first.credits_quoted + second.credits_quoted,
        costs=add_costs([first.costs, second.costs]),
        reasons=dict(Counter(first.reasons) + Counter(second.reasons)),
        stopped=second.stopped,
        stop_reason=second.stop_reason,
        seconds=first.seconds + second.seconds,
        notes={**first.notes, **second.notes},
        doubted_costs=first.doubted_costs + second.doubted_costs,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run stands.

    Attributes:
        done, total: Requests.
        in_flight: At Leonardo, or on the way to the store.
        failed: Requests that ended without images, by kind.
        reasons: Why, with how often; the commonest first, at most 3.
        images_per_minute: Over the latest minutes.
        credits_spent, credits_projected: Booked so far; and with the price of what is still to be bought.
        seconds_left: At the rate of the latest minutes; None before a request is done, and while none is.
        outage: Since when Leonardo cannot be reached, and why; None while it can.
        waiting: Which open requests are looked up, and for how long at the most; None where none is.
        stopping: Why nothing more is begun, once that is so.
    """

    done: int
    total: int
    in_flight: int
    failed: Mapping[str, int]
    images_stored: int
    images_per_minute: float
    credits_spent: int
    credits_projected: int
    seconds_left: float | None
    reasons: Mapping[str, int] = field(default_factory=dict)
    outage: str | None = None
    waiting: str | None = None
    stopping: str | None = None

    @property
    def queued(self) -> int:
        """Requests that wait for their turn."""
        return max(0, self.total - self.done - self.in_flight)

    def __str__(self) -> str:
        failed = ", ".join(f"{count} {kind}" for kind, count in sorted(self.failed.items()) if count)
        why = "; ".join(f"{_shortened(reason)} x {count}" for reason, count in self.reasons.items())
        parts = [
            f"{self.done} of {count_of(self.total, 'request')} done",
            f"{self.in_flight} in flight",
            f"{self.queued} queued",
            *([f"{failed} ({why})" if why else failed] if failed else []),
            f"{count_of(self.images_stored, 'image')} stored ({self.images_per_minute:.0f}/min)",
            f"{self.credits_spent} of about {count_of(self.credits_projected, 'credit')}",
            *([f"about {format_seconds(self.seconds_left)} left"] if self.seconds_left is not None else []),
            *([self.outage] if self.outage else []),
            *([self.waiting] if self.waiting else []),
            *([f"stopping: {self.stopping}"] if self.stopping else []),
        ]
        return ", ".join(parts)


def _shortened(reason: str) -> str:
    return reason if len(reason) <= LONGEST_REASON_CHARACTERS else reason[: LONGEST_REASON_CHARACTERS - 1] + "…"


class RunStats:
    """Counts a run, or one partition's share of it, while it goes on.

    Args:
        total: Requests.
        credits_to_buy: The price of those that nobody has bought; whoever books or drops one takes its price off.
    """

    def __init__(self, total: int, *, credits_to_buy: int = 0) -> None:
        self.total = total
        self.credits_to_buy = credits_to_buy
        self.requests: Counter[str] = Counter()
        self.images_stored = 0
        self.reasons: Counter[str] = Counter()
        self.notes: dict[str, str] = {}
        self.in_flight = 0
        self.credits_booked = 0
        self.credits_quoted = 0
        self.costs: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.doubted_costs = 0
        # (seconds, requests done, images stored) at the latest reports.
        self._reports: deque[tuple[float, int, int]] = deque([(0.0, 0, 0)], maxlen=RECENT_REPORTS)

    @property
    def left(self) -> int:
        """Requests that have not ended yet."""
        return max(0, self.total - self.requests.total())

    def on(self, event: Event, request_id: str) -> None:
        """Count what happened to a request; an `Observer`."""
        match event:
            case Bought():
                self.credits_booked += event.booked.credits
                self.credits_quoted += event.quoted
                self.costs[event.booked.cost.unit] += event.booked.cost.amount
                self.doubted_costs += event.booked.is_doubted
            case Ended():
                self.requests[event.outcome] += 1
                self.images_stored += event.images
                if event.reason:
                    self.reasons[event.reason] += 1
                if event.note:
                    self.notes[request_id] = event.note

    def count_rest(self) -> None:
        """Count as not sent what the run did not come to."""
        self.requests["not_sent"] += self.left

    def report(
        self, run_id: str, *, seconds: float, stopped: StopCause | None = None, stop_reason: str | None = None
    ) -> RunReport:
        """What was done so far, as a report; what has not ended counts as not sent."""
        return RunReport(
            run_id=run_id,
            requests=dict(+(self.requests + Counter({"not_sent": self.left}))),
            images_stored=self.images_stored,
            credits_booked=self.credits_booked,
            credits_quoted=self.credits_quoted,
            costs=dict(self.costs),
            doubted_costs=self.doubted_costs,
            reasons=dict(self.reasons.most_common(MOST_REASONS)),
            stopped=stopped,
            stop_reason=stop_reason,
            seconds=seconds,
            notes=dict(self.notes),
        )

    def progress(
        self,
        *,
        seconds: float,
        outage: str | None = None,
        waiting: str | None = None,
        stopping: str | None = None,
    ) -> Progress:
        """Where the run stands after `seconds`. Rates are those since some of the latest calls."""
        done = sum(self.requests.values())
        before, done_before, images_before = self._reports[0]
        took = seconds - before
        self._reports.append((seconds, done, self.images_stored))
        failed = {kind: self.requests[kind] for kind in ("failed", "blocked", "uncertain", "pending")}
        return Progress(
            done=done,
            total=self.total,
            in_flight=self.in_flight,
            failed=failed,
            reasons=dict(self.reasons.most_common(MOST_SHOWN_REASONS)),
            images_stored=self.images_stored,
            images_per_minute=(self.images_stored - images_before) * 60 / took if took > 0 else 0.0,
            credits_spent=self.credits_booked,
            credits_projected=self.credits_booked + max(0, self.credits_to_buy),
            seconds_left=(self.total - done) * took / (done - done_before) if done > done_before else None,
            outage=outage,
            waiting=waiting,
            stopping=stopping,
        )
