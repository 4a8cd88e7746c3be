"""Images that came late: what a request lacks that has ended, and its end with what was fetched since. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields

from seedream_assets.ledger.events import Completed, FinalEvent, Intent, LedgerImage, Recollected
from seedream_assets.leonardo.generations import GeneratedImage, order_images
from seedream_assets.leonardo.identity import image_id_for
from seedream_assets.leonardo.requests import GenerationRequest, GenerationSpec, Reference

_OWN = ("event", "images")


def missing_positions(ending: FinalEvent) -> list[int]:
    """The positions of the images asked for that are not stored, in order."""
    images = ending.images if isinstance(ending, Completed) else ()
    stored = {image.position for image in images if image.object_key is not None}
    return [position for position in range(ending.count) if position not in stored]


def with_recollected(ending: FinalEvent, recollected: Collection[Recollected]) -> FinalEvent:
    """A request's end with the images that came late in their places; of two at one place the earlier event's.

    An image that was stored, was lost, and was fetched again under its key stands with its bytes as they are now. An end
    without images becomes one with some; the others are withheld for the reason that it tells. When it ended and what it
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
    without an id cannot be told from one that is stored, and takes its own place or none.
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
    for seed in (None, intent.seed - intent.start):
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


def _reference(told: Mapping[str, str]) -> Reference:
    if "sha256" in told:
        return Reference(sha256=told["sha256"], strength=told["strength"])
    return Reference(leonardo_id=told["id"], type=told["type"], strength=told["strength"])


def _images_of(ending: FinalEvent) -> tuple[LedgerImage, ...]:
    if isinstance(ending, Completed):
        return ending.images
    return tuple(
        LedgerImage(position=place, image_id=image_id_for(ending.request_id, place), reason=ending.reason)
        for place in range(ending.count)
    )
