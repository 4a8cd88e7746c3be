"""The state of a request, folded from the events that the store shows. Pure, and defined for every set of events.

Two writers can meet at any point and a process can die between any two, so no set of events is impossible. The order
of the rules says what counts most: a result that is there, then a generation that is paid for, then an open intent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from seedream_assets.core.ledger_events import EventKey


class RequestState(StrEnum):
    """Where a request stands."""

    FREE = "free"  # nobody bought it: an attempt may begin
    OPEN = "open"  # an intent, and no word whether it was bought
    SUBMITTED = "submitted"  # paid for; its generation has an id and can be polled by anyone
    COMPLETED = "completed"
    FAILED = "failed"
    BLOCKED = "blocked"

    @property
    def is_final(self) -> bool:
        """True when nothing more will become of the request."""
        return self in _FINAL


_FINAL = frozenset({RequestState.COMPLETED, RequestState.FAILED, RequestState.BLOCKED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The state of a request and the attempt that it rests on.

    Attributes:
        attempt: The attempt to go on with; for FREE, the one that may begin.
        generations: Ids as they stand in keys, of every generation known to be this request's, sorted. More than one
            means that it was bought more than once; all are kept, none is forgotten.
    """

    state: RequestState
    attempt: int
    generations: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """True when nothing more will become of the request."""
        return self.state.is_final


FRESH = Standing(state=RequestState.FREE, attempt=0)


def fold(keys: Iterable[EventKey]) -> Standing:
    """The standing of one request from all its events, in any order.

    1. A finished attempt decides; of several, completed before failed before blocked, and the earliest.
    2. Else a submitted attempt that has not ended, the earliest; a `released` beside it does not undo it, since the
       submit proves that it was bought after all.
    3. Else the latest attempt: released means that the next may begin; an intent without more is open.
    """
    attempts: dict[int, set[str]] = {}
    generations: set[str] = set()
    for key in keys:
        attempts.setdefault(key.attempt, set()).add(key.event)
        if key.event == "submitted" and key.generation:
            generations.add(key.generation)
    if not attempts:
        return FRESH
    owned = tuple(sorted(generations))
    for state in (RequestState.COMPLETED, RequestState.FAILED, RequestState.BLOCKED, RequestState.SUBMITTED):
        holding = [attempt for attempt, events in attempts.items() if state.value in events]
        if holding:
            return Standing(state=state, attempt=min(holding), generations=owned)
    latest = max(attempts)
    if "released" in attempts[latest]:
        return Standing(state=RequestState.FREE, attempt=latest + 1, generations=owned)
    return Standing(state=RequestState.OPEN, attempt=latest, generations=owned)


def fold_all(keys: Iterable[EventKey]) -> dict[str, Standing]:
    """The standing of every request that has an event among the keys, by request id."""
    by_request: dict[str, list[EventKey]] = {}
    for key in keys:
        by_request.setdefault(key.request_id, []).append(key)
    return {request_id: fold(events) for request_id, events in by_request.items()}
