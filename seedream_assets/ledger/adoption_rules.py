"""A request beside a generation of the account: are they the same, by all that can be compared? Pure; a person decides."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from seedream_assets.config.redaction import shown
from seedream_assets.ledger.events import Intent
from seedream_assets.leonardo.generations import Generation

Likeness = Literal["same", "differs", "not told"]
# A generation begins after its intent; its clock need not be the writer's. A submit is tried again for minutes.
EARLIEST = timedelta(minutes=-5)
LATEST = timedelta(hours=1)
# A prompt that was cut still says whose it is when so much is left of it.
SHORTEST_BEGINNING_CHARACTERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedField:
    """One thing that a request and a generation can be compared by, as texts that may be shown."""

    name: str
    request: str
    generation: str
    likeness: Likeness


def compare_with_generation(intent: Intent, generation: Generation) -> tuple[ComparedField, ...]:
    """Prompt, seed, size, time and images of a request and of a generation, side by side."""
    size = None if None in (generation.width, generation.height) else (generation.width, generation.height)
    return (
        _field(
            "prompt",
            shown(intent.prompt),
            shown(generation.prompt) if generation.prompt else None,
            is_same=_prompts_are_alike(intent.prompt, generation.prompt),
        ),
        _field("seed", str(intent.seed), _text(generation.seed), is_same=intent.seed == generation.seed),
        _field(
            "size",
            f"{intent.width}x{intent.height}",
            None if size is None else f"{size[0]}x{size[1]}",
            is_same=size == (intent.width, intent.height),
        ),
        _field(
            "time",
            _moment(intent.at),
            _moment(generation.created_at) if generation.created_at else None,
            is_same=generation.created_at is not None and EARLIEST <= generation.created_at - intent.at <= LATEST,
        ),
        # Fewer are no difference: they may be late, or moderated.
        _field(
            "images",
            str(intent.count),
            str(len(generation.images)) if generation.images else None,
            is_same=len(generation.images) <= intent.count,
        ),
    )


def why_not_the_same(fields: Sequence[ComparedField]) -> str | None:
    """What speaks against it; None where nothing does, and prompt or seed speaks for it."""
    different = [field.name for field in fields if field.likeness == "differs"]
    if different:
        return f"{' and '.join(different)} differ" if len(different) > 1 else f"the {different[0]} differs"
    if not any(field.name in ("prompt", "seed") and field.likeness == "same" for field in fields):
        return "Leonardo tells neither its prompt nor its seed"
    return None


def _field(name: str, request: str, generation: str | None, *, is_same: bool) -> ComparedField:
    likeness: Likeness = "not told" if generation is None else "same" if is_same else "differs"
    return ComparedField(name=name, request=request, generation=generation or "not told", likeness=likeness)


def _prompts_are_alike(sent: str, told: str) -> bool:
    one, other = (
        " ".join(unicodedata.normalize("NFKC", html.unescape(text)).casefold().split()) for text in (sent, told)
    )
    shorter, longer = sorted((one, other), key=len)
    return one == other or (len(shorter) >= SHORTEST_BEGINNING_CHARACTERS and longer.startswith(shorter))


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
