"""A model of the purchase protocol, small enough to look at every state it can reach.

Two processes buy one request through the real `fold` and the real `judge`, in single steps and in every order; each
can die, be stopped and go on, or be asked to stop, between any two. Leonardo can refuse, accept, and lose any answer;
its history shows a generation late.

What is assumed, and nothing else:

    1. The history shows every generation within `SETTLE` ticks of its submit.
    2. A process sends only while its lease lasts (`LEASE` ticks after it was renewed), and is taken for gone only after.
    3. An object written create-only is seen by everyone at once.

`Rules` are the protocol's own; each can be broken, so that the model is seen to find what that leads to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import product
from typing import NamedTuple

from seedream_assets.ledger.events import EventKey
from seedream_assets.ledger.recovery_rules import Acknowledged, Adopt, Known, Reading, Uncertain, Window, judge
from seedream_assets.ledger.state import LedgerEntry, RequestState, fold
from seedream_assets_tests.support.builders import NOON, make_generation, make_intent, make_paid_request

LEASE = 2
SETTLE = 2
MOST_ATTEMPTS = 3
INTENT = make_intent()
OTHER = make_intent(make_paid_request(prompt="a red chair, seen from above"))
Keys = frozenset[EventKey]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The protocol as designed; every other value is a mistake that somebody could make.

    Attributes:
        settle_before_release: Releases only what a look shows that began `SETTLE` ticks after the last possible submit.
        wait_for_the_owner: Looks up only intents whose owner's lease has run out, or has been given back.
        send_within_the_lease: Sends nothing once its own lease has run out.
        send_once: Never repeats a request of which it is uncertain whether it was accepted.
        count_from_the_takeover: Where an owner gave its lease back with its intent open, the last possible submit is
            any time before that, not the time of the intent.
        history_lag: Ticks after which the history shows a generation at the latest.
        entry_of: Folds the ledger.
    """

    settle_before_release: bool = True
    wait_for_the_owner: bool = True
    send_within_the_lease: bool = True
    send_once: bool = True
    count_from_the_takeover: bool = True
    history_lag: int = SETTLE
    entry_of: Callable[[Keys], LedgerEntry] = fold


class Process(NamedTuple):
    """One engine process.

    Attributes:
        step: What it does next.
        attempt: On which attempt.
        lease: Ticks since its lease was renewed.
        silent: Ticks since it began to look this attempt up.
        seen: How many generations its latest look showed.
        settled: Whether that look began late enough to release upon.
    """

    step: str = "read"
    attempt: int = 0
    lease: int = 0
    silent: int = 0
    seen: tuple[int, ...] = ()
    settled: bool = False


class World(NamedTuple):
    """Everything there is.

    Attributes:
        ledger: The keys in the store.
        generations: What was billed: ticks since, up to the history's lag; then it shows.
        owners: The process that wrote the intent of each attempt.
        intent_ages: Ticks since each intent was written.
    """

    ledger: Keys = frozenset()
    generations: tuple[int, ...] = ()
    owners: tuple[int, ...] = ()
    intent_ages: tuple[int, ...] = ()
    processes: tuple[Process, ...] = (Process(), Process())
    deaths_left: int = 2


def key(attempt: int, event: str, generation: str | None = None) -> EventKey:
    return EventKey(INTENT.request_id, attempt, event, generation)  # type: ignore[arg-type]


def generation_name(number: int) -> str:
    return f"g{number}"


@cache
def verdict_of(seen: tuple[int, ...], ledger: Keys) -> tuple[str, ...] | None:
    """What `judge` says of a history that shows these generations: those to adopt; None for not bought.

    The history proves itself here: what is bought later shows in it. `disbelief_protocol` has the others.
    """
    later = NOON + timedelta(hours=1)
    verdict = judge(
        INTENT,
        window=Window(opened=NOON, closed=NOON),
        reading=Reading(
            generations=(
                make_generation(OTHER, id="witness", created_at=later),
                *(make_generation(INTENT, id=generation_name(number)) for number in seen),
            ),
            reaches_end=True,
            store_now=later,
        ),
        known=Known(
            owners={event.generation: event.request_id for event in ledger if event.generation}
            | {"witness": OTHER.request_id},
            acknowledged={"witness": Acknowledged(intended_at=later, known_at=later)},
            witnesses={"witness": OTHER},
            rivals=(INTENT,),
        ),
        quiet_seconds=1.0,
        needed_seconds=1.0,
    )
    assert not isinstance(verdict, Uncertain), verdict
    return tuple(found.id for found in verdict.generations) if isinstance(verdict, Adopt) else None


class Protocol:
    """The moves that are possible in a world."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.entry_of = cache(rules.entry_of)

    def moves(self, world: World) -> Iterator[tuple[str, World]]:
        for number, process in enumerate(world.processes):
            if process.step in ("done", "dead"):
                continue
            for name, after in getattr(self, f"_{process.step}")(world, number, process):
                yield f"process {number}: {name}", after
            if world.deaths_left:
                dead = _with(world, number, process._replace(step="dead", seen=(), settled=False))
                yield f"process {number} dies", dead._replace(deaths_left=world.deaths_left - 1)
        for number, age in enumerate(world.generations):
            if age < self.rules.history_lag:
                shown = (*world.generations[:number], self.rules.history_lag, *world.generations[number + 1 :])
                yield f"the history shows {generation_name(number)}", world._replace(generations=shown)
        yield from self._tick(world)

    def _tick(self, world: World) -> Iterator[tuple[str, World]]:
        """Time passes. A process that lives renews its lease, or is stopped and does not."""
        for renewing in product((True, False), repeat=len(world.processes)):
            processes = tuple(
                self._aged(world, number, process, renews=renews)
                for number, (process, renews) in enumerate(zip(world.processes, renewing, strict=True))
            )
            generations = tuple(min(age + 1, self.rules.history_lag) for age in world.generations)
            ages = world.intent_ages
            if not self.rules.count_from_the_takeover:
                ages = tuple(min(age + 1, SETTLE) for age in ages)
            yield "time passes", world._replace(processes=processes, generations=generations, intent_ages=ages)

    def _aged(self, world: World, number: int, process: Process, *, renews: bool) -> Process:
        owns_nothing = number not in world.owners
        can_renew = process.step != "dead" and process.lease < LEASE
        lease = 0 if owns_nothing or process.step == "done" or (can_renew and renews) else process.lease + 1
        silent = process.silent + 1 if process.step in ("look", "judge", "release") else 0
        return process._replace(lease=min(lease, LEASE + SETTLE), silent=min(silent, SETTLE))

    def _read(self, world: World, number: int, _process: Process) -> Iterator[tuple[str, World]]:
        entry = self.entry_of(world.ledger)
        fresh = Process(attempt=entry.attempt, lease=world.processes[number].lease)
        if entry.is_final or entry.attempt >= MOST_ATTEMPTS:
            yield "ends", _with(world, number, Process(step="done"))
        elif entry.state is RequestState.FREE:
            yield f"finds attempt {entry.attempt} free", _with(world, number, fresh._replace(step="claim"))
        elif entry.state is RequestState.OPEN:
            yield f"finds attempt {entry.attempt} open", _with(world, number, fresh._replace(step="wait"))
        else:
            yield "finds it submitted", _with(world, number, fresh._replace(step="collect"))

    def _claim(self, world: World, number: int, process: Process) -> Iterator[tuple[str, World]]:
        intent = key(process.attempt, "intent")
        if intent in world.ledger:
            yield "loses the intent", _with(world, number, Process(lease=process.lease))
            return
        lease = process.lease if process.lease < LEASE else 0  # a lease that has run out is taken anew
        claimed = _with(world, number, process._replace(step="send", lease=lease))
        yield (
            f"writes intent {process.attempt}",
            claimed._replace(
                ledger=world.ledger | {intent},
                owners=(*world.owners, number),
                intent_ages=(*world.intent_ages, 0),
            ),
        )

    def _send(self, world: World, number: int, process: Process) -> Iterator[tuple[str, World]]:
        if process.lease >= LEASE and self.rules.send_within_the_lease:
            yield "does not send after its lease", _with(world, number, process._replace(step="take_back"))
            return
        billed = world._replace(generations=(*world.generations, 0))
        new = len(world.generations)
        uncertain = process._replace(step="look" if self.rules.send_once else "send", silent=0)
        yield "is accepted", _with(billed, number, process._replace(step="write_down", seen=(new,)))
        yield "is accepted, the answer is lost", _with(billed, number, uncertain)
        yield "is not accepted, the answer is lost", _with(world, number, uncertain)
        yield "is refused", _with(world, number, process._replace(step="take_back"))

    def _write_down(self, world: World, number: int, process: Process) -> Iterator[tuple[str, World]]:
        submitted = {key(process.attempt, "submitted", generation_name(process.seen[0]))}
        after = _with(world, number, process._replace(step="collect", seen=()))
        yield "writes submitted", after._replace(ledger=world.ledger | submitted)

    def _take_back(self, world: World, number: int, process: Process) -> Iterator[tuple[str, World]]:
        after = _with(world, number, Process(step="done"))
        yield "writes released", after._replace(ledger=world.ledger | {key(process.attempt, "released")})

    def _wait(self, world: World, number: int, process: Process) -> Iterator[tuple[str, World]]:
        entry = self.entry_of(world.ledger)
        if (entry.state, entry.attempt) != (RequestState.OPEN, process.attempt):
            yield "finds more", _with(world, number, Process(lease=process.lease))
            return
        owner = world.processes[world.owners[process.attempt]]
        if owner.step == "done" or owner.lease > LEASE or not self.rules.wait_for_the_owner:
            yield "takes over", _with(world, number, process._replace(step="look", silent=0))

    def _look(self, world: World, number: int, process: Process) -> Iterator[tuple[str, World]]:
        shown = tuple(number for number, age in enumerate(world.generations) if age == self.rules.history_lag)
        settled = self._has_settled(world, number, process) or not self.rules.settle_before_release
        yield (
            f"sees {len(shown)} generations in the history{', settled' if settled else ''}",
            _with(world, number, process._replace(step="judge", seen=shown, settled=settled)),
        )
        yield "is asked to stop", _with(world, number, Process(step="done"))

    def _has_settled(self, world: World, number: int, process: Process) -> bool:
        owner_number = world.owners[process.attempt]
        owner = world.processes[owner_number]
        if owner_number == number:
            return process.silent >= SETTLE
        if owner.step == "done":
            since = process.silent if self.rules.count_from_the_takeover else world.intent_ages[process.attempt]
            return since >= SETTLE
        return owner.lease >= LEASE + SETTLE

    def _judge(self, world: World, number: int, process: Process) -> Iterator[tuple[str, World]]:
        adopted = verdict_of(process.seen, world.ledger)
        entry = self.entry_of(world.ledger)
        again = Process(lease=process.lease)
        if adopted:
            found = {key(process.attempt, "submitted", name) for name in adopted}
            yield f"adopts {adopted}", _with(world, number, again)._replace(ledger=world.ledger | found)
        elif (entry.state, entry.attempt) != (RequestState.OPEN, process.attempt):
            yield "finds more", _with(world, number, again)
        else:
            step = "release" if process.settled else "look"
            yield f"goes on to {step}", _with(world, number, process._replace(step=step, seen=(), settled=False))

    def _release(self, world: World, number: int, process: Process) -> Iterator[tuple[str, World]]:
        after = _with(world, number, Process(lease=process.lease))
        yield "writes released", after._replace(ledger=world.ledger | {key(process.attempt, "released")})

    def _collect(self, world: World, number: int, process: Process) -> Iterator[tuple[str, World]]:
        after = _with(world, number, Process(step="done"))
        yield "writes completed", after._replace(ledger=world.ledger | {key(process.attempt, "completed")})


def _with(world: World, number: int, process: Process) -> World:
    processes = (*world.processes[:number], process, *world.processes[number + 1 :])
    return world._replace(processes=processes)
