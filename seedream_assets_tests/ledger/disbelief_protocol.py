"""A model of a purchase in a world that differs from what was expected, small enough to look at every state of it.

Two processes, of one account or of two, buy one request through the real `fold` and the real `judge`. Other requests are
bought beside it and acknowledged. Answers are lost; the history has two replicas, each as far behind as it likes, and may
never show anything; a process can stand still, with or without its own clock.

What is assumed, and nothing else:

    1. A replica shows generations in the order in which they were made. One may come late on its own, by less than
       `SETTLE`; a replica that shows one of ours shows everything a day after it was made.
    2. Between the store's answer to a claim and the first byte of the request less than a lease passes.
    3. An object written create-only is seen by everyone at once.

`ledger_protocol` has the rest: processes that die anywhere, stop in good order, or are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple

from seedream_assets.ledger.events import EventKey
from seedream_assets.ledger.recovery_rules import (
    Acknowledged,
    Adopt,
    Known,
    NotBought,
    Reading,
    Verdict,
    Window,
    judge,
)
from seedream_assets.ledger.state import LedgerEntry, RequestState, fold
from seedream_assets.leonardo.generations import Generation
from seedream_assets_tests.support.builders import NOON, make_generation, make_intent, make_paid_request

TICK = timedelta(hours=8)
LEASE = 1
SETTLE = 2
DAY = 3
LAST_TICK = 4
MOST_ATTEMPTS = 2
INTENT = make_intent()
OTHER = make_intent(make_paid_request(prompt="a red chair, seen from above"))
Keys = frozenset[EventKey]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The protocol as designed; every other value is a mistake that somebody could make.

    Attributes:
        needs_a_witness: Believes a history only where it shows what is known to have been bought.
        one_reading: The witness stands in the same reading; what earlier ones showed proves nothing.
        knows_its_account: A store is bought from one account, and another is refused.
        claims_after_its_turn: The intent is put down when nothing is waited for any more.
        asks_the_store: The store's own time, told by the claim, says whether the lease still holds.
        lets_it_settle: Believes only a reading that began `SETTLE` after the last possible submit.
        second_loss_waits: A request whose answer was lost twice is released again a day later at the soonest.
        accounts: Of the two processes.
    """

    needs_a_witness: bool = True
    one_reading: bool = True
    knows_its_account: bool = True
    claims_after_its_turn: bool = True
    asks_the_store: bool = True
    lets_it_settle: bool = True
    accounts: str = "AA"


class Job(NamedTuple):
    """A generation that was billed."""

    account: str
    is_ours: bool
    made: int
    is_late: bool = False


class Process(NamedTuple):
    """One engine process. Its lease was renewed at tick `renewed` by the store; `own` ticks ago by its own clock."""

    step: str = "read"
    attempt: int = 0
    renewed: int = 0
    own: int = 0
    lost_at: int = -1
    remembered: frozenset[int] = frozenset()


class World(NamedTuple):
    """Everything there is."""

    now: int = 0
    ledger: Keys = frozenset()
    jobs: tuple[Job, ...] = ()
    claims: tuple[tuple[int, int], ...] = ()
    processes: tuple[Process, Process] = (Process(), Process())


def key(attempt: int, event: str, generation: str | None = None) -> EventKey:
    return EventKey(INTENT.request_id, attempt, event, generation)  # type: ignore[arg-type]


def moment(tick: int) -> datetime:
    return NOON + tick * TICK


def entry_of(number: int, job: Job) -> Generation:
    return make_generation(INTENT if job.is_ours else OTHER, id=f"g{number}", created_at=moment(job.made))


@cache
def verdict_of(
    rules: Rules, jobs: tuple[Job, ...], seen: frozenset[int], ledger: Keys, claimed: int, closed: int, began: int
) -> Verdict:
    """What `judge` says of a reading that shows these jobs."""
    others = {f"g{number}": job for number, job in enumerate(jobs) if not job.is_ours}
    reading = [entry_of(number, jobs[number]) for number in sorted(seen, reverse=True)]
    if not rules.needs_a_witness:
        reading.append(make_generation(OTHER, id="made-up", created_at=moment(began)))
        others = {"made-up": Job("A", False, began)}
    return judge(
        INTENT,
        window=Window(opened=moment(claimed), closed=moment(closed)),
        reading=Reading(generations=tuple(reading), reaches_end=True, store_now=moment(began), api_now=moment(began)),
        known=Known(
            owners={event.generation: event.request_id for event in ledger if event.generation}
            | dict.fromkeys(others, OTHER.request_id),
            acknowledged={
                name: Acknowledged(intended_at=moment(job.made), known_at=moment(job.made))
                for name, job in others.items()
            },
            witnesses=dict.fromkeys(others, OTHER),
        ),
        quiet_seconds=(began - closed) * TICK.total_seconds(),
        needed_seconds=SETTLE * TICK.total_seconds() if rules.lets_it_settle else 0.0,
        is_second_loss=key(0, "released") in ledger,
    )


class DisbeliefProtocol:
    """The moves that are possible in a world."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.entry_of = cache(fold)

    def moves(self, world: World) -> Iterator[tuple[str, World]]:
        if self._is_over(world):
            return
        for number, process in enumerate(world.processes):
            if process.step != "done":
                for name, after in getattr(self, f"_{process.step}")(world, number, process):
                    yield f"process {number}: {name}", after
        yield from self._others(world)
        if world.now < LAST_TICK and all(process.step != "send" for process in world.processes):
            yield from self._tick(world)

    def _is_over(self, world: World) -> bool:
        """True when what was bought is known, and nobody is on the way to buy more."""
        on_the_way = any(process.step in ("turn", "claim", "send") for process in world.processes)
        return not on_the_way and self.entry_of(world.ledger).state is RequestState.SUBMITTED

    def _others(self, world: World) -> Iterator[tuple[str, World]]:
        """Requests beside this one are bought and acknowledged."""
        for account in sorted(set(self.rules.accounts)):
            if not any(job.account == account and not job.is_ours for job in world.jobs):
                yield (
                    f"account {account} is seen to buy another",
                    world._replace(jobs=(*world.jobs, Job(account, False, world.now))),
                )

    def _tick(self, world: World) -> Iterator[tuple[str, World]]:
        """Time passes. A process renews its lease, or stands still with its clock going on, or with its clock.

        Only the first may stand still: the other goes on meanwhile. Of one that holds nothing and waits for nothing it
        makes no difference.
        """
        first, second = world.processes
        stands_still = first.step == "turn" or any(owner == 0 for owner, _claimed in world.claims)
        for how in ("renews", "stops", "freezes") if stands_still else ("renews",):
            processes = (_aged(first, world.now + 1, how), _aged(second, world.now + 1, "renews"))
            yield f"time passes, process 0 {how}", world._replace(now=world.now + 1, processes=processes)

    def _read(self, world: World, number: int, process: Process) -> Iterator[tuple[str, World]]:
        entry: LedgerEntry = self.entry_of(world.ledger)
        account = self.rules.accounts[number]
        if self.rules.knows_its_account and account != "A":
            yield "is refused: another account", _with(world, number, process._replace(step="done"))
        elif entry.is_final or entry.state is RequestState.SUBMITTED or entry.attempt >= MOST_ATTEMPTS:
            yield "ends", _with(world, number, process._replace(step="done"))
        elif entry.state is RequestState.FREE:
            step = "turn" if self.rules.claims_after_its_turn else "claim"
            yield "wants it", _with(world, number, process._replace(step=step, attempt=entry.attempt))
        elif self._is_gone(world, number, entry.attempt):
            yield "takes over", _with(world, number, process._replace(step="look", attempt=entry.attempt))

    @staticmethod
    def _is_gone(world: World, number: int, attempt: int) -> bool:
        owner, _claimed = world.claims[attempt]
        process = world.processes[owner]
        return owner == number or process.step == "done" or world.now - process.renewed > LEASE

    def _turn(self, world: World, number: int, process: Process) -> Iterator[tuple[str, World]]:
        """The rate's turn has come. Whatever time the wait took has passed."""
        if self.rules.claims_after_its_turn:
            yield "has its turn", _with(world, number, process._replace(step="claim"))
        else:
            yield from self._last_look(world, number, process)

    def _claim(self, world: World, number: int, process: Process) -> Iterator[tuple[str, World]]:
        intent = key(process.attempt, "intent")
        if intent in world.ledger:
            yield "loses the intent", _with(world, number, process._replace(step="read"))
            return
        if process.own >= LEASE:
            process = process._replace(own=0, renewed=world.now)
        claimed = world._replace(ledger=world.ledger | {intent}, claims=(*world.claims, (number, world.now)))
        if self.rules.claims_after_its_turn:
            yield from self._last_look(claimed, number, process)
        else:
            yield f"claims attempt {process.attempt}", _with(claimed, number, process._replace(step="turn"))

    def _last_look(self, world: World, number: int, process: Process) -> Iterator[tuple[str, World]]:
        """What its own clock says, and what the store's says where it is asked."""
        _owner, claimed = world.claims[process.attempt]
        lapsed = process.own >= LEASE or (self.rules.asks_the_store and claimed - process.renewed >= LEASE)
        if lapsed:
            after = _with(world, number, process._replace(step="read"))
            yield "does not send", after._replace(ledger=world.ledger | {key(process.attempt, "released")})
        else:
            yield f"sends attempt {process.attempt}", _with(world, number, process._replace(step="send"))

    def _send(self, world: World, number: int, process: Process) -> Iterator[tuple[str, World]]:
        lost = process._replace(step="look", lost_at=world.now)
        yield "is not accepted, the answer is lost", _with(world, number, lost)
        for is_late in (False, True):
            job = Job(self.rules.accounts[number], True, world.now, is_late)
            billed = world._replace(jobs=(*world.jobs, job))
            yield "is accepted, the answer is lost", _with(billed, number, lost)
        submitted = key(process.attempt, "submitted", f"g{len(world.jobs)}")
        acknowledged = world._replace(
            jobs=(*world.jobs, Job(self.rules.accounts[number], True, world.now)), ledger=world.ledger | {submitted}
        )
        yield "is accepted", _with(acknowledged, number, process._replace(step="done"))

    def _look(self, world: World, number: int, process: Process) -> Iterator[tuple[str, World]]:
        """One reading of the history, by a replica that is as far behind as it likes, and what is made of it."""
        account = self.rules.accounts[number]
        for behind in range(len(world.jobs) + 1):
            seen = self._seen(world, len(world.jobs) - behind, account)
            others = frozenset(job for job in seen if not world.jobs[job].is_ours)
            after = process if self.rules.one_reading else process._replace(remembered=process.remembered | others)
            yield from self._judge(world, number, after, seen | after.remembered)

    @staticmethod
    def _seen(world: World, replica: int, account: str) -> frozenset[int]:
        whole = any(world.jobs[shown].account == account for shown in range(replica))
        return frozenset(
            number
            for number, job in enumerate(world.jobs)
            if job.account == account
            and (number < replica or (whole and world.now - job.made >= DAY))
            and not (job.is_late and world.now - job.made < SETTLE)
        )

    def _judge(self, world: World, number: int, process: Process, seen: frozenset[int]) -> Iterator[tuple[str, World]]:
        entry = self.entry_of(world.ledger)
        again = _with(world, number, process._replace(step="read"))
        if (entry.state, entry.attempt) != (RequestState.OPEN, process.attempt):
            yield "finds more", again
            return
        owner, claimed = world.claims[process.attempt]
        # Whoever takes over counts from the end of the owner's lease; one that ended in good order sent nothing later.
        closed = process.lost_at if owner == number else world.processes[owner].renewed + LEASE
        verdict = verdict_of(self.rules, world.jobs, seen, world.ledger, claimed, closed, world.now)
        if isinstance(verdict, Adopt):
            found = {key(process.attempt, "submitted", entry.id) for entry in verdict.generations}
            yield f"sees {len(seen)}, adopts", again._replace(ledger=world.ledger | found)
        elif isinstance(verdict, NotBought):
            yield (
                f"sees {len(seen)}, releases",
                again._replace(ledger=world.ledger | {key(process.attempt, "released")}),
            )
        else:
            yield f"sees {len(seen)}, leaves it uncertain", again


def _aged(process: Process, now: int, how: str) -> Process:
    can_renew = process.own < LEASE
    if how == "renews" and can_renew:
        return process._replace(own=0, renewed=now)
    return process if how == "freezes" else process._replace(own=min(process.own + 1, LEASE))


def _with(world: World, number: int, process: Process) -> World:
    """The world with one process changed; what makes no difference any more is forgotten."""
    if process.step in ("read", "done") and number not in {owner for owner, _claimed in world.claims}:
        process = Process(step=process.step, renewed=world.now, remembered=process.remembered)
    elif process.step in ("read", "done"):
        process = process._replace(attempt=0)
    processes = [*world.processes]
    processes[number] = process
    return world._replace(processes=(processes[0], processes[1]))
