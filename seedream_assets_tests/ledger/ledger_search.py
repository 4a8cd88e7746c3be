"""Every state that the purchase protocol can reach, one after the other, held against what must never happen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from functools import cache
from typing import NamedTuple, TypeVar

from seedream_assets.ledger.state import RequestState
from seedream_assets_tests.ledger.disbelief_protocol import DisbeliefProtocol
from seedream_assets_tests.ledger.disbelief_protocol import Rules as DisbeliefRules
from seedream_assets_tests.ledger.disbelief_protocol import World as DisbeliefWorld
from seedream_assets_tests.ledger.ledger_protocol import Keys, Protocol, Rules, World, generation_name, key, verdict_of

MOST_STATES = 400_000
State = TypeVar("State", bound=Hashable)
INVARIANTS = ("billed twice", "billed and lost")


class Search(NamedTuple):
    """What came of looking at every state.

    Attributes:
        states: How many there are.
        broken: The invariant that the first state breaks which breaks one; empty where none does.
        path: The moves that lead there.
        moves: Every kind of move that was possible somewhere.
    """

    states: int
    broken: str
    path: tuple[str, ...]
    moves: frozenset[str]


def search(rules: Rules, *, invariants: Collection[str] = INVARIANTS) -> Search:
    """Look at every state, breadth first, up to the first that breaks one of these invariants."""
    judged = _Invariants(rules)

    def broken_in(world: World) -> str:
        broken = judged.broken_in(world)
        return broken if broken in invariants else ""

    return search_states(World(), Protocol(rules).moves, broken_in)


def search_disbelief(rules: DisbeliefRules) -> Search:
    """Look at every state of the other model, up to the first in which the request was billed twice."""

    def broken_in(world: DisbeliefWorld) -> str:
        return "billed twice" if sum(job.is_ours for job in world.jobs) > 1 else ""

    return search_states(DisbeliefWorld(), DisbeliefProtocol(rules).moves, broken_in)


def search_states(
    first: State, moves: Callable[[State], Iterable[tuple[str, State]]], broken_in: Callable[[State], str]
) -> Search:
    """Every state that can be reached from the first, up to the first that is broken."""
    came_from: dict[State, tuple[State, str] | None] = {first: None}
    kinds: set[str] = set()
    frontier = [first]
    while frontier:
        reached: list[State] = []
        for world in frontier:
            if broken := broken_in(world):
                return Search(len(came_from), broken, _path(came_from, world), frozenset(kinds))
            for name, after in moves(world):
                kinds.add(name.split(": ")[-1])
                if after not in came_from:
                    came_from[after] = (world, name)
                    reached.append(after)
        assert len(came_from) < MOST_STATES, "the model has grown too large to be searched"
        frontier = reached
    return Search(len(came_from), "", (), frozenset(kinds))


def _path(came_from: dict[State, tuple[State, str] | None], world: State) -> tuple[str, ...]:
    names: list[str] = []
    step = came_from[world]
    while step is not None:
        names.append(step[1])
        step = came_from[step[0]]
    return tuple(reversed(names))


class _Invariants:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._is_lost = cache(self._would_be_lost)

    def broken_in(self, world: World) -> str:
        if len(world.generations) > 1:
            return "billed twice"
        return "billed and lost" if self._is_lost(world.ledger, len(world.generations)) else ""

    def _would_be_lost(self, ledger: Keys, billed: int) -> bool:
        """Whether a last process, alone and with a settled history, would not find just what was billed."""
        everything = tuple(range(billed))
        entry = self._rules.entry_of(ledger)
        if entry.state is RequestState.OPEN:
            adopted = verdict_of(everything, ledger)
            found = {key(entry.attempt, "submitted", name) for name in adopted or ()}
            entry = self._rules.entry_of(ledger | (found or {key(entry.attempt, "released")}))
        if not billed:
            return entry.state is not RequestState.FREE
        owned = entry.state in (RequestState.SUBMITTED, RequestState.COMPLETED)
        return not owned or set(entry.generations) != {generation_name(number) for number in everything}
