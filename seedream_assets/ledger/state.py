"""The state of a request, folded from the events that the store shows. Pure, and defined for every set of events.

Two writers can meet at any point and a process can die between any two, so no set of events is impossible. The order
of the rules says what counts most: a result that is there, then a generation that is paid for, then an open intent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from seedream_assets.ledger.events import EventKey


class RequestState(StrEnum):
    """Where a request stands."""

    FREE = "free"  # nobody bought it: an attempt may begin
    OPEN = "open"  # an intent, and no word whether it was bought
    SUBMITTED = "submitted"  # paid for; its generation has an id and can be polled by anyone
    COMPLETED = "completed"
    FAILED = "failed"
    BLOCKED = "blocked"
    UNKNOWN = "unknown"  # holds an event that this version does not know: not to be touched

    @property
    def is_final(self) -> bool:
        """True when nothing more will become of the request."""
        return self in _FINAL


# Events that come after the others, and change what those say; most requests have none.
_LATER = frozenset({"retracted", "recollected", "unknown"})
_FINAL = frozenset({RequestState.COMPLETED, RequestState.FAILED, RequestState.BLOCKED})


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """The state of a request and the attempt that it rests on.

    Attributes:
        attempt: The attempt to go on with; for FREE, the one that may begin.
        generations: Ids as they stand in keys, of every generation known to be this request's, sorted. More than one
            means that it was bought more than once; all are kept, none is forgotten.
        retracted: The same of generations that were taken back from it; they are never its own again unasked.
        recollected: Numbers of the events that add late images to its end, in order.
        unknown: Names of the objects that this version does not know.
    """

    state: RequestState
    attempt: int
    generations: tuple[str, ...] = ()
    retracted: tuple[str, ...] = ()
    recollected: tuple[int, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """True when nothing more will become of the request."""
        return self.state.is_final

    @property
    def is_as_bought(self) -> bool:
        """True where no event has changed what an earlier manifest could tell of its end."""
        return not self.retracted and not self.recollected

    @property
    def why_untouched(self) -> str:
        """What to say of a request with events that this version does not know."""
        return (
            f"its ledger holds {', '.join(self.unknown)}, which this version of seedream-assets does not know; "
            "it is left as it is: update seedream-assets"
        )


FRESH = LedgerEntry(state=RequestState.FREE, attempt=0)


def fold(keys: Iterable[EventKey]) -> LedgerEntry:
    """The standing of one request from all its events, in any order.

    1. An event of an unknown kind: nothing can be said, whatever else is there.
    2. What was taken back does not count: a retracted submit, and every end of an attempt without another submit.
    3. A finished attempt decides; of several, completed before failed before blocked, and the earliest.
    4. Else a submitted attempt that has not ended, the earliest; a `released` beside it does not undo it, since the
       submit proves that it was bought after all.
    5. Else the latest attempt: released means that the next may begin; an intent without more is open.
    """
    known = list(keys)
    if not known:
        return FRESH
    if not any(key.event in _LATER for key in known):
        return _folded(known, known)
    counting = in_force(known)
    found = _folded(counting, known)
    unknown = {str(key.name) for key in counting if key.event == "unknown"}
    if unknown:
        begun = [key.attempt for key in counting if key.event == "intent"]
        found = replace(found, state=RequestState.UNKNOWN, attempt=max(begun, default=0))
    late = [int(str(key.name)) for key in counting if key.event == "recollected" and key.attempt == found.attempt]
    return replace(
        found,
        retracted=tuple(sorted({str(key.generation) for key in known if key.event == "retracted"})),
        recollected=tuple(sorted(late)) if found.is_final else (),
        unknown=tuple(sorted(unknown)),
    )


def _folded(counting: Sequence[EventKey], known: Sequence[EventKey]) -> LedgerEntry:
    """Rules 3 to 5, from the events that count; an attempt of which none does is one all the same."""
    attempts: dict[int, set[str]] = {}
    generations: set[str] = set()
    for key in counting:
        attempts.setdefault(key.attempt, set()).add(key.event)
        if key.event == "submitted" and key.generation:
            generations.add(key.generation)
    owned = tuple(sorted(generations))
    for state in (RequestState.COMPLETED, RequestState.FAILED, RequestState.BLOCKED, RequestState.SUBMITTED):
        holding = [attempt for attempt, events in attempts.items() if state.value in events]
        if holding:
            return LedgerEntry(state=state, attempt=min(holding), generations=owned)
    latest = max(attempts) if counting is known else max(key.attempt for key in known)
    if "released" in attempts.get(latest, ()):
        return LedgerEntry(state=RequestState.FREE, attempt=latest + 1, generations=owned)
    return LedgerEntry(state=RequestState.OPEN, attempt=latest, generations=owned)


def in_force(keys: Sequence[EventKey]) -> Sequence[EventKey]:
    """The events, of one request or of many, that still count once what was taken back is left out.

    A retracted submit does not count, nor does what became of an attempt all of whose submits were retracted: it ended
    as another request's generation did. Its intent stays.
    """
    retracted = {(key.request_id, key.attempt, key.generation) for key in keys if key.event == "retracted"}
    if not retracted:
        return keys
    kept = [key for key in keys if key.event != "retracted" and not _is_retracted(key, retracted)]
    bought = {(key.request_id, key.attempt) for key in kept if key.event == "submitted"}
    void = {(request_id, attempt) for request_id, attempt, _ in retracted} - bought
    ends = ("completed", "failed", "blocked", "recollected")
    return [key for key in kept if key.event not in ends or (key.request_id, key.attempt) not in void]


def _is_retracted(key: EventKey, retracted: set[tuple[str, int, str | None]]) -> bool:
    return key.event == "submitted" and (key.request_id, key.attempt, key.generation) in retracted


def owners_of(keys: Sequence[EventKey]) -> Mapping[str, str]:
    """The request that owns each generation, by the id as it stands in keys: adoptions and answers, less retractions."""
    return {key.generation: key.request_id for key in in_force(keys) if key.event == "submitted" and key.generation}


def fold_all(keys: Iterable[EventKey]) -> dict[str, LedgerEntry]:
    """The standing of every request that has an event among the keys, by request id."""
    by_request: dict[str, list[EventKey]] = {}
    for key in keys:
        by_request.setdefault(key.request_id, []).append(key)
    return {request_id: fold(events) for request_id, events in by_request.items()}
