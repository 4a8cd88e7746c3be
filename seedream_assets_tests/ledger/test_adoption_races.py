"""Claims about adoptions and a retraction at once, in every order of their single steps: one generation, one owner.

Whoever stops after any step is a process that died there, so every beginning of every order is looked at too.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any

import pytest

from seedream_assets.errors import ObjectNotFound
from seedream_assets.ledger.events import EventKey
from seedream_assets.ledger.state import in_force, owners_of
from seedream_assets.ledger.store import claim_generation, free_generation

WRONG, RIGHT = "a" * 64, "b" * 64
GENERATION = "g-1"


@types.coroutine
def a_step() -> Generator[None, None, None]:
    yield


@dataclass
class SteppedStore:
    """Objects in memory; every call is one step, after which somebody else may come first."""

    objects: dict[str, bytes] = field(default_factory=dict)

    async def create(self, key: str, body: bytes, **_options: Any) -> bool:
        await a_step()
        return self.objects.setdefault(key, body) == body

    async def read(self, key: str) -> bytes:
        await a_step()
        if key not in self.objects:
            raise ObjectNotFound(key)
        return self.objects[key]

    async def list(self, prefix: str) -> list[Any]:
        await a_step()
        return [types.SimpleNamespace(key=key) for key in sorted(self.objects) if key.startswith(prefix)]


def keys_in(store: SteppedStore) -> list[EventKey]:
    return [key for name in store.objects if (key := EventKey.parse(name))]


Program = Callable[[SteppedStore], Coroutine[Any, Any, None]]


def adopts(request: str, attempt: int) -> Program:
    """As a person does, and as a run does that has found the generation in the history."""

    async def act(store: Any) -> None:
        keys = [EventKey.parse(info.key) for info in await store.list("requests/")]
        if owners_of([key for key in keys if key]).get(GENERATION) in (None, request) and await claim_generation(
            store, GENERATION, request
        ):
            await store.create(f"requests/{request}/{attempt:02d}-submitted-{GENERATION}.json", b"submitted")

    return act


async def adopts_blindly(store: Any) -> None:
    """Whoever looked at the ledger long ago: the adoption object alone has to hold."""
    if await claim_generation(store, GENERATION, RIGHT):
        await store.create(f"requests/{RIGHT}/00-submitted-{GENERATION}.json", b"submitted")


async def retracts(store: Any) -> None:
    await store.create(f"requests/{WRONG}/01-intent.json", b"intent")
    await store.create(f"requests/{WRONG}/00-retracted-{GENERATION}.json", b"retracted")
    await free_generation(store, GENERATION, WRONG)


async def retracts_again(store: Any) -> None:
    """Whoever repeats a retraction that was cut off."""
    if f"requests/{WRONG}/00-retracted-{GENERATION}.json" in store.objects:
        await free_generation(store, GENERATION, WRONG)


async def frees_too_early(store: Any) -> None:
    """A mistake: what the claims below have to find."""
    await free_generation(store, GENERATION, WRONG)
    await store.create(f"requests/{WRONG}/00-retracted-{GENERATION}.json", b"retracted")


def adopted_wrongly() -> SteppedStore:
    store = SteppedStore()
    running = adopts(WRONG, 0)(store)
    while step(running):
        pass
    assert owners_of(keys_in(store)) == {GENERATION: WRONG}
    return store


def step(running: Coroutine[Any, Any, None]) -> bool:
    """Take one step; False once it has ended."""
    try:
        running.send(None)
    except StopIteration:
        return False
    return True


def most_owners(*programs: Program) -> tuple[int, set[str]]:
    """The most requests that own the generation at once, in any order; and who owns it when all have ended."""
    worst, in_the_end = 0, set()
    orders: list[tuple[int, ...]] = [()]
    while orders:
        order = orders.pop()
        store = adopted_wrongly()
        running = [program(store) for program in programs]
        left = set(range(len(programs)))
        for number in order:
            if not step(running[number]):
                left.discard(number)
        for one in running:
            one.close()
        owning = {key.request_id for key in in_force(keys_in(store)) if key.event == "submitted"}
        worst = max(worst, len(owning))
        if not left:
            in_the_end |= owning or {"nobody"}
        orders.extend((*order, number) for number in left)
    return worst, in_the_end


@pytest.mark.parametrize(
    ("programs", "owners"),
    [
        ((retracts, adopts(RIGHT, 0)), {"nobody", RIGHT}),
        ((retracts, adopts_blindly), {"nobody", RIGHT}),
        # A process that had adopted it for the same attempt, and comes late with its word.
        ((retracts, adopts(WRONG, 0)), {"nobody"}),
        ((retracts, adopts(WRONG, 1)), {"nobody", WRONG}),
        ((retracts, retracts_again), {"nobody"}),
    ],
)
def test_no_generation_has_two_owners_in_any_order(programs: tuple[Program, ...], owners: set[str]) -> None:
    worst, in_the_end = most_owners(*programs)
    assert worst == 1
    assert in_the_end <= owners


def test_a_mistake_in_the_order_is_found() -> None:
    assert most_owners(frees_too_early, adopts_blindly)[0] == 2
