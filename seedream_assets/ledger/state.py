"""The state of a request, computed from the events that the store shows. Pure, and defined for every set of events.

Two writers can meet at any point and a process can die between any two, so no set of events is impossible. The order
of the rules says what counts most: a result that is there, then a generation that is paid for, then an open intent.

Here too: how a request ended, with the images that were fetched after its end; and the sum of several open requests.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum

from seedream_assets.ledger.events import Completed, EventKey, FinalEvent, Intent, LedgerImage, Recollected
from seedream_assets.leonardo.generations import GeneratedImage, order_images
from seedream_assets.leonardo.identity import image_id_for
from seedream_assets.leonardo.requests import GenerationRequest, GenerationSpec, Reference
from seedream_assets.wording import count_of


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
        """True where no event has changed what an earlier manifest says of its end."""
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
    """The state of one request from all its events, in any order.

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
    """The state of every request that has an event among the keys, by request id."""
    by_request: dict[str, list[EventKey]] = {}
    for key in keys:
        by_request.setdefault(key.request_id, []).append(key)
    return {request_id: fold(events) for request_id, events in by_request.items()}


_OWN = ("event", "images")


def missing_positions(ending: FinalEvent) -> list[int]:
    """The positions of the images asked for that are not stored, in order."""
    images = ending.images if isinstance(ending, Completed) else ()
    stored = {image.position for image in images if image.object_key is not None}
    return [position for position in range(ending.count) if position not in stored]


def with_recollected(ending: FinalEvent, recollected: Collection[Recollected]) -> FinalEvent:
    """A request's end with the images that came late in their places; of two at one place the earlier event's.

    An image that was stored, was lost, and was fetched again under its key stands with its bytes as they are now. An end
    without images becomes one with some; the others are withheld for the reason that it gives. When it ended and what it
    cost stay as they were.
    """
    events = sorted(recollected, key=lambda event: event.number)
    late = {image.position: image for event in reversed(events) for image in event.images}
    found = {position: late[position] for position in missing_positions(ending) if position in late}
    stored = {image.position: image for image in _images_of(ending) if image.object_key is not None}
    again = {
        image.position: image
        for event in events
        for image in event.images
        if image.position in stored and image.object_key == stored[image.position].object_key
    }
    if not found and not again:
        return ending
    images = {image.position: image for image in _images_of(ending)} | found | again
    common = {field.name: getattr(ending, field.name) for field in fields(Completed) if field.name not in _OWN}
    return Completed(**common, images=tuple(images[place] for place in sorted(images)))


def late_images(ending: FinalEvent, images: Sequence[GeneratedImage]) -> dict[int, GeneratedImage]:
    """The images that are there now and were not stored then, by the position that each is to take.

    Each takes its own place where that lacks; one whose place is taken by another takes the first that lacks. An image
    without an id cannot be distinguished from one that is stored, and takes its own place or none.
    """
    stored = {image.provider_image_id for image in _images_of(ending) if image.object_key is not None}
    new = {place: image for place, image in order_images(tuple(images), ending.count).items() if image.id not in stored}
    missing = missing_positions(ending)
    placed = {place: new.pop(place) for place in missing if place in new}
    others = [image for image in new.values() if image.id]
    return placed | dict(zip((place for place in missing if place not in placed), others, strict=False))


def request_in_intent(intent: Intent) -> GenerationRequest:
    """The request that an intent was written for.

    Raises:
        ValueError: It is none that this version could make; its ids are another request's.
    """
    for seed in (None,) if intent.seed is None else (None, intent.seed - intent.start):
        spec = GenerationSpec(
            model=intent.model,
            prompt=intent.prompt,
            width=intent.width,
            height=intent.height,
            style=intent.style,
            prompt_enhance=intent.prompt_enhance,
            references=tuple(map(_reference, intent.references)),
            seed=seed,
        )
        if spec.spec_id == intent.spec_id:
            return GenerationRequest(
                spec=spec, start=intent.start, count=intent.count, seed=intent.seed, public=intent.public
            )
    raise ValueError(f"the intent of {intent.request_id} does not say what its spec_id says")


def _reference(facts: Mapping[str, str]) -> Reference:
    if "sha256" in facts:
        return Reference(sha256=facts["sha256"], strength=facts["strength"])
    return Reference(leonardo_id=facts["id"], type=facts["type"], strength=facts["strength"])


def _images_of(ending: FinalEvent) -> tuple[LedgerImage, ...]:
    if isinstance(ending, Completed):
        return ending.images
    return tuple(
        LedgerImage(position=place, image_id=image_id_for(ending.request_id, place), reason=ending.reason)
        for place in range(ending.count)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequests:
    """Some open requests together.

    As text: how many, since when, what they hold back, and what they may cost.

    Attributes:
        requests: How many.
        since: When the oldest was begun; None where there are none.
        credits_held: Reserved for them: held back from every cap until it is known.
        credits_again: What they cost more should none of them turn out to be bought.
    """

    requests: int = 0
    since: datetime | None = None
    credits_held: int = 0
    credits_again: int = 0

    @classmethod
    def together(cls, several: Iterable[OpenRequests]) -> OpenRequests:
        """All of them as one."""
        found = [one for one in several if one.requests]
        return cls(
            requests=sum(one.requests for one in found),
            since=min((one.since for one in found if one.since), default=None),
            credits_held=sum(one.credits_held for one in found),
            credits_again=sum(one.credits_again for one in found),
        )

    def __str__(self) -> str:
        since = f", {self.how_long}" if self.how_long else ""
        return f"{count_of(self.requests, 'open request')}{since}: {self.what_hangs_on_it}"

    @property
    def how_long(self) -> str:
        """Since when the oldest is open; empty where that is not known."""
        return f"the oldest since {self.since:%Y-%m-%d %H:%M} UTC" if self.since else ""

    @property
    def what_hangs_on_it(self) -> str:
        """What they hold back, and what they may cost."""
        many = self.requests != 1
        turns_out = f"{count_of(self.requests, 'open request')} turn out" if many else "the open request turns out"
        return (
            f"{count_of(self.credits_held, 'credit')} held back until it is known whether {'they were' if many else 'it was'} bought; "
            f"up to {count_of(self.credits_again, 'credit')} more if {turns_out} not to be bought"
        )


NONE_OPEN = OpenRequests()
