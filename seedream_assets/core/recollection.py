"""Images that came late: what a request lacks that has ended, and its end with what was fetched since. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import fields

from seedream_assets.core.generation_requests import image_id_for
from seedream_assets.core.ledger_events import Completed, FinalEvent, LedgerImage, Recollected

_OWN = ("event", "images")


def missing_positions(ending: FinalEvent) -> list[int]:
    """The positions of the images asked for that are not stored, in order."""
    images = ending.images if isinstance(ending, Completed) else ()
    stored = {image.position for image in images if image.object_key is not None}
    return [position for position in range(ending.count) if position not in stored]


def with_recollected(ending: FinalEvent, recollected: Collection[Recollected]) -> FinalEvent:
    """A request's end with the images that came late in their places; of two at one place the earlier event's.

    An end without images becomes one with some; the others are withheld for the reason that it tells. When it ended and
    what it cost stay as they were.
    """
    late = {image.position: image for event in _latest_first(recollected) for image in event.images}
    found = [position for position in missing_positions(ending) if position in late]
    if not found:
        return ending
    images = {image.position: image for image in _images_of(ending)} | {position: late[position] for position in found}
    common = {field.name: getattr(ending, field.name) for field in fields(Completed) if field.name not in _OWN}
    return Completed(**common, images=tuple(images[place] for place in sorted(images)))


def _latest_first(events: Iterable[Recollected]) -> list[Recollected]:
    return sorted(events, key=lambda event: event.number, reverse=True)


def _images_of(ending: FinalEvent) -> tuple[LedgerImage, ...]:
    if isinstance(ending, Completed):
        return ending.images
    return tuple(
        LedgerImage(position=place, image_id=image_id_for(ending.request_id, place), reason=ending.reason)
        for place in range(ending.count)
    )
