"""How a generation will end, decided when it is ordered: by words in its prompt, then by the fault that strikes it.

What belongs here: moderation and the other endings. What does not: when it ends (`rates.py`) and what it costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from seedream_assets.emulator.faults import Fault
from seedream_assets.emulator.jobs import Order, Outcome
from seedream_assets.emulator.pictures import Looks
from seedream_assets.emulator.settings import EmulatorSettings


class ModeratedError(Exception):
    """A prompt is blocked before it becomes a generation; nothing is billed."""

    def __init__(self, word: str, shape: str = "object") -> None:
        """Keep the word that was found and the envelope to answer in."""
        super().__init__(f"content moderation filter: {word}")
        self.shape = shape


def decide(order: Order, settings: EmulatorSettings, fault: Fault | None) -> Outcome:
    """Decide how a generation ends.

    Raises:
        ModeratedError: It does not even begin.
    """
    prompt = order.prompt.lower()
    for word in settings.blocked_words:
        if word.lower() in prompt:
            raise ModeratedError(word)
    outcome = Outcome(
        images=order.quantity + settings.extra_images if settings.extra_images else None,
        late_seconds=settings.images_late_seconds,
        late_images=settings.late_images,
        failed_first_seconds=settings.failed_first_seconds,
    )
    if _any_in(settings.failed_words, prompt):
        outcome = replace(outcome, failed=True, moderation=("NSFW",))
    if _any_in(settings.nsfw_words, prompt):
        outcome = replace(outcome, nsfw=True, moderation=("NSFW",))
    if _any_in(settings.withheld_words, prompt):
        outcome = replace(outcome, images=order.quantity - 1, moderation=("NSFW",))
    words: tuple[tuple[Looks, Sequence[str]], ...] = (
        ("blank", settings.blank_words),
        ("same", settings.same_words),
        ("similar", settings.similar_words),
    )
    for looks, marked in words:
        if _any_in(marked, prompt):
            outcome = replace(outcome, looks=looks)
    if _any_in(settings.stuck_words, prompt):
        outcome = replace(outcome, never_ends=True)
    return _struck(outcome, order, fault) if fault else outcome


def _any_in(words: Sequence[str], prompt: str) -> bool:
    return any(word.lower() in prompt for word in words)


def _struck(outcome: Outcome, order: Order, fault: Fault) -> Outcome:
    given = fault.parameters
    if fault.kind == "blocked":
        raise ModeratedError(given["word"], given["shape"])
    if fault.kind == "failed":
        return replace(outcome, failed=True, moderation=tuple(given["moderation"]))
    if fault.kind == "nsfw":
        return replace(outcome, nsfw=True, moderation=tuple(given["moderation"]))
    if fault.kind == "fewer_images":
        return replace(outcome, images=order.quantity - 1 if given["images"] is None else int(given["images"]))
    if fault.kind == "more_images":
        return replace(outcome, images=order.quantity + int(given["more"]))
    if fault.kind == "late_images":
        return replace(outcome, late_seconds=given["seconds"], late_images=given["shown"])
    if fault.kind == "failed_first":
        return replace(outcome, failed_first_seconds=given["seconds"])
    if fault.kind == "poor_images":
        poor = given["images"]
        return replace(outcome, looks=given["looks"], poor_images=None if poor is None else int(poor))
    if fault.kind == "never_ends":
        return replace(outcome, never_ends=True)
    return outcome  # The other kinds spoil the connection, not the generation.
