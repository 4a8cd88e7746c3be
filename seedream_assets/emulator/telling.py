"""How the account tells of one generation, where that is not what was ordered: size, seed, time, prompt, model.

What belongs here: the spelling of each field of a poll's and of the history's body, and the API's own clock. What does
not: which generations the history lists (`listing.py`), and how a generation ends (`outcomes.py`).
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any, Final, Literal, get_args

SeedTold = Literal["used", "other", "zero", "null", "absent", "text"]
TimeTold = Literal["plain", "local", "zone", "seconds", "milliseconds", "http", "null", "absent"]
PromptTold = Literal["sent", "spaced", "cut", "shortened", "escaped", "upper", "nfd", "empty", "rewritten"]
ModelTold = Literal["id", "slug", "name", "other", "null", "absent"]

MODEL_NAMES: Final = {
    "seedream-4.0": ("40a7c0de-0000-4000-8000-000000000040", "Seedream 4.0"),
    "seedream-4.5": ("40a7c0de-0000-4000-8000-000000000045", "Seedream 4.5"),
}
"""Id and display name. The vendor's list has both, but not the slug that a create request needs."""

_SEEDS: Final = 2147483638
_MOST_HOURS: Final = 14
_MOST_SECONDS: Final = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What polls and the history say. The defaults are what published live bodies show.

    Raises:
        ValueError: A field is out of range; the message names it and what is allowed.
    """

    size_multiple: int = 1
    """Width and height are rounded to the nearest multiple of this."""
    seed: SeedTold = "used"
    """`other` is another number for each generation, `text` the number in quotes."""
    time: TimeTold = "plain"
    """`createdAt`. `plain` is UTC without a zone, `local` another zone's time without a word of it, `zone` the same with
    its zone, `seconds` and `milliseconds` count since 1970, `http` is written as in a Date header."""
    utc_offset_hours: float = 0.0
    """Of `local` and `zone`."""
    clock_ahead_seconds: float = 0.0
    """How far the API's own clock is ahead of this machine's: its Date header, `createdAt`, and the time in its ids."""
    created_at_ahead_seconds: float = 0.0
    """How far `createdAt` alone is ahead of the API's own clock."""
    prompt: PromptTold = "sent"
    """`cut` is its first `prompt_characters`, `shortened` the same with three dots, `escaped` as in HTML, `nfd` with
    accents taken apart, `rewritten` other words in another order."""
    prompt_characters: int = 40
    model: ModelTold = "id"
    """`modelId`. `other` is an id that stands in no list, one for each generation."""
    only_history: bool = False
    """Polls say what is so; only the history says it otherwise."""

    def __post_init__(self) -> None:
        """Refuse what cannot be told."""
        refuse_other_flags(self)
        refuse_other_choices(self, {"seed": SeedTold, "time": TimeTold, "prompt": PromptTold, "model": ModelTold})
        refuse_other_numbers(
            self,
            {
                "size_multiple": (1, _MOST_SECONDS),
                "prompt_characters": (0, _MOST_SECONDS),
                "utc_offset_hours": (-_MOST_HOURS, _MOST_HOURS),
                "clock_ahead_seconds": (-_MOST_SECONDS, _MOST_SECONDS),
                "created_at_ahead_seconds": (-_MOST_SECONDS, _MOST_SECONDS),
            },
        )

    def told(self, *, prompt: str, width: int, height: int, seed: int, model: str, created_at: float) -> dict[str, Any]:
        """Write the fields that may be told otherwise; those that are absent are left out.

        Args:
            prompt: As it was sent.
            width: Pixels, as ordered.
            height: Pixels, as ordered.
            seed: The one that was used.
            model: The slug of the create request.
            created_at: Seconds since 1970, by a clock that is right.
        """
        told = {
            "createdAt": self._time(created_at),
            "prompt": self._prompt(prompt),
            "imageWidth": self._side(width),
            "imageHeight": self._side(height),
            "seed": self._seed(seed),
            "modelId": self._model(model, seed),
        }
        left_out = {
            name
            for name, how in (("createdAt", self.time), ("seed", self.seed), ("modelId", self.model))
            if how == "absent"
        }
        return {name: value for name, value in told.items() if name not in left_out}

    def truly(self) -> Telling:
        """What is told where nothing is told otherwise; the API has only one clock, so that stays."""
        return Telling(clock_ahead_seconds=self.clock_ahead_seconds)

    def _side(self, pixels: int) -> int:
        return max(1, round(pixels / self.size_multiple)) * self.size_multiple

    def _seed(self, seed: int) -> int | str | None:
        if self.seed == "other":
            return (seed * 48271 + 11) % _SEEDS
        if self.seed == "text":
            return str(seed)
        return {"zero": 0, "null": None}.get(self.seed, seed)

    def _time(self, created_at: float) -> str | int | None:
        seconds = created_at + self.clock_ahead_seconds + self.created_at_ahead_seconds
        if self.time in ("null", "absent"):
            return None
        if self.time in ("seconds", "milliseconds"):
            return int(seconds * (1 if self.time == "seconds" else 1000))
        moment = datetime.fromtimestamp(seconds, UTC)
        if self.time == "http":
            return format_datetime(moment, usegmt=True)
        if self.time != "plain":
            moment = moment.astimezone(timezone(timedelta(hours=self.utc_offset_hours)))
        written = moment.isoformat(timespec="milliseconds")
        return written if self.time == "zone" else moment.replace(tzinfo=None).isoformat(timespec="milliseconds")

    def _prompt(self, prompt: str) -> str:
        if self.prompt in ("cut", "shortened"):
            kept = prompt[: self.prompt_characters]
            return kept + ("..." if self.prompt == "shortened" and kept != prompt else "")
        return _PROMPTS[self.prompt](prompt)

    def _model(self, model: str, seed: int) -> str | None:
        identity, name = MODEL_NAMES[model]
        told: dict[ModelTold, str | None] = {
            "slug": model,
            "name": name,
            "other": f"{identity[:-12]}{seed:012x}",
            "null": None,
        }
        return told.get(self.model, identity)


_PROMPTS: Final[dict[PromptTold, Callable[[str], str]]] = {
    "sent": lambda prompt: prompt,
    "spaced": lambda prompt: " " + "  ".join(prompt.split(" ")) + "\n",
    "escaped": html.escape,
    "upper": str.upper,
    "nfd": lambda prompt: unicodedata.normalize("NFD", prompt),
    "empty": lambda _: "",
    "rewritten": lambda prompt: "Professional photograph, " + " ".join(reversed(prompt.split())),
}


def refuse_other_choices(value: object, choices: dict[str, Any]) -> None:
    """Check fields that have a few words to choose from.

    Raises:
        ValueError: One has another; the message names it and them.
    """
    for name, allowed in choices.items():
        if getattr(value, name) not in get_args(allowed):
            raise ValueError(f"{name} must be one of {', '.join(get_args(allowed))}, got {getattr(value, name)!r}")


def refuse_other_numbers(value: object, ranges: dict[str, tuple[float, float]]) -> None:
    """Check fields that are numbers.

    Raises:
        ValueError: One is not, or is out of range; the message names it and what is allowed.
    """
    for name, (least, most) in ranges.items():
        number = getattr(value, name)
        if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number <= most:
            raise ValueError(f"{name} must be a number from {least} to {most}, got {number!r}")


def refuse_other_flags(value: Any) -> None:
    """Check fields that are true or false.

    Raises:
        ValueError: One is neither; the message names it.
    """
    for field in fields(value):
        if isinstance(field.default, bool) and not isinstance(getattr(value, field.name), bool):
            raise ValueError(f"{field.name} must be true or false, got {getattr(value, field.name)!r}")


LIVE_TELLING: Final = Telling()
"""What published live answers show."""
