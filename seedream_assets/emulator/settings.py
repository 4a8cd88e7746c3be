"""How the stand-in account behaves: one frozen value, checked where it is built.

What belongs here: limits, prices, latencies, marker words, what the history lists, and how the account reports a
generation where that differs from what was ordered; each with its default. Faults, which are scripted while the emulator
runs, are in `faults.py`; addresses are `server.py`'s.
"""

from __future__ import annotations

import hashlib
import html
import itertools
import random
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any, Final, Literal, get_args

from seedream_assets.emulator.jobs import Job, LateImages

SeedReported = Literal["used", "other", "zero", "null", "absent", "text"]
TimeReported = Literal["plain", "local", "zone", "seconds", "milliseconds", "http", "null", "absent"]
PromptReported = Literal["sent", "spaced", "cut", "shortened", "escaped", "upper", "nfd", "empty", "rewritten"]
ModelReported = Literal["id", "slug", "name", "other", "null", "absent"]

MODEL_NAMES: Final = {
    "seedream-4.0": ("40a7c0de-0000-4000-8000-000000000040", "Seedream 4.0"),
    "seedream-4.5": ("40a7c0de-0000-4000-8000-000000000045", "Seedream 4.5"),
}
"""Id and display name. The vendor's list has both, but not the slug that a create request needs."""

_SEEDS: Final = 2147483638
_MOST_HOURS: Final = 14
_MOST: Final = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """How polls and the history report a generation. The defaults are what published live bodies show.

    Raises:
        ValueError: A field is out of range; the message names it and what is allowed.
    """

    size_multiple: int = 1
    """Width and height are rounded to the nearest multiple of this."""
    seed: SeedReported = "used"
    """`other` is another number for each generation, `text` the number in quotes."""
    time: TimeReported = "plain"
    """`createdAt`. `plain` is UTC without a zone, `local` another zone's time without a word of it, `zone` the same with
    its zone, `seconds` and `milliseconds` count since 1970, `http` is written as in a Date header."""
    utc_offset_hours: float = 0.0
    """Of `local` and `zone`."""
    clock_ahead_seconds: float = 0.0
    """How far the API's own clock is ahead of this machine's: its Date header, `createdAt`, and the time in its ids."""
    created_at_ahead_seconds: float = 0.0
    """How far `createdAt` alone is ahead of the API's own clock."""
    prompt: PromptReported = "sent"
    """`cut` is its first `prompt_characters`, `shortened` the same with three dots, `escaped` as in HTML, `nfd` with
    accents taken apart, `rewritten` other words in another order."""
    prompt_characters: int = 40
    model: ModelReported = "id"
    """`modelId`. `other` is an id that stands in no list, one for each generation."""
    only_history: bool = False
    """Polls say what was ordered; only the history differs."""

    def __post_init__(self) -> None:
        """Refuse what no answer could say."""
        refuse_other_flags(self)
        refuse_other_choices(
            self, {"seed": SeedReported, "time": TimeReported, "prompt": PromptReported, "model": ModelReported}
        )
        refuse_other_numbers(
            self,
            {
                "size_multiple": (1, _MOST),
                "prompt_characters": (0, _MOST),
                "utc_offset_hours": (-_MOST_HOURS, _MOST_HOURS),
                "clock_ahead_seconds": (-_MOST, _MOST),
                "created_at_ahead_seconds": (-_MOST, _MOST),
            },
        )

    def describe(
        self, *, prompt: str, width: int, height: int, seed: int, model: str, created_at: float
    ) -> dict[str, Any]:
        """Write the fields that may differ from what was ordered; those that are absent are left out.

        Args:
            prompt: As it was sent.
            width: Pixels, as ordered.
            height: Pixels, as ordered.
            seed: The one that was used.
            model: The slug of the create request.
            created_at: Seconds since 1970, by a clock that is right.
        """
        described = {
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
        return {name: value for name, value in described.items() if name not in left_out}

    def truly(self) -> Reporting:
        """Without any difference from what was ordered; the API has only one clock, so that stays."""
        return Reporting(clock_ahead_seconds=self.clock_ahead_seconds)

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
        names: dict[ModelReported, str | None] = {
            "slug": model,
            "name": name,
            "other": f"{identity[:-12]}{seed:012x}",
            "null": None,
        }
        return names.get(self.model, identity)


_PROMPTS: Final[dict[PromptReported, Callable[[str], str]]] = {
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


LIVE_REPORTING: Final = Reporting()
"""What published live answers show."""


ListOrder = Literal["newest_first", "oldest_first", "scattered", "shuffled"]
Listed = Literal["all", "web_app", "complete", "nothing"]

_NUMBERS: Final = (
    "lag_spread_seconds",
    "depth",
    "stale_every",
    "stale_seconds",
    "vanish_after_seconds",
    "vanish_seconds",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """How the history lists. Lag and longest page are `EmulatorSettings.history_lag_seconds` and `history_limit`.

    Raises:
        ValueError: A field is out of range; the message names it and what is allowed.
    """

    order: ListOrder = "newest_first"
    """`scattered` is an order of its own that stays; `shuffled` is another for every page."""
    lists: Listed = "all"
    """`web_app` leaves out everything that was made through the API, `complete` what is pending or failed."""
    lag_spread_seconds: float = 0.0
    """A generation's lag is the account's and up to this much more, another for each."""
    depth: int = 0
    """Only so many of the newest are kept; 0 keeps all."""
    ignores_offset: bool = False
    """Every page is the first."""
    repeats: bool = False
    """Every entry comes twice."""
    stale_every: int = 0
    """Every so-manieth read is answered by a replica that is `stale_seconds` behind; 0: none is."""
    stale_seconds: float = 0.0
    vanish_after_seconds: float = 0.0
    """Age at which an entry vanishes, to come back `vanish_seconds` later."""
    vanish_seconds: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no list could be."""
        refuse_other_choices(self, {"order": ListOrder, "lists": Listed})
        refuse_other_flags(self)
        refuse_other_numbers(self, dict.fromkeys(_NUMBERS, (0, _MOST)))

    def page(
        self, jobs: Sequence[Job], *, now: float, lag_seconds: float, offset: int, limit: int, read: int
    ) -> list[Job]:
        """One page.

        Args:
            jobs: Everything that the account has made, oldest first.
            now: The emulator's clock.
            lag_seconds: Age at which a generation shows at the earliest.
            offset: Entries to pass over.
            limit: The longest page.
            read: The number of this read of the history, from 1.
        """
        is_stale = self.stale_every > 0 and read % self.stale_every == 0
        seen_at = now - self.stale_seconds if is_stale else now
        listed: Iterator[Job] = (job for job in reversed(jobs) if self._shows(job, now, seen_at, lag_seconds))
        if self.depth:
            listed = itertools.islice(listed, self.depth)
        if self.order != "newest_first":
            listed = iter(self._in_order(list(listed), read))
        if self.repeats:
            listed = (job for job in listed for _ in range(2))
        offset = 0 if self.ignores_offset else offset
        return list(itertools.islice(listed, offset, offset + limit))

    def _shows(self, job: Job, now: float, seen_at: float, lag_seconds: float) -> bool:
        lag = lag_seconds + (self.lag_spread_seconds * share_of(job) if self.lag_spread_seconds else 0.0)
        age = seen_at - job.created_at
        if job.deleted or age < lag or 0 <= age - self.vanish_after_seconds < self.vanish_seconds:
            return False
        if self.lists == "complete":
            return job.status(now) == "COMPLETE"
        return self.lists == "all" or (self.lists == "web_app" and not job.billed)

    def _in_order(self, listed: list[Job], read: int) -> list[Job]:
        if self.order == "oldest_first":
            listed.reverse()
        elif self.order == "scattered":
            listed.sort(key=share_of)
        else:
            random.Random(read).shuffle(listed)
        return listed


LIVE_LISTING: Final = Listing()
"""The list as published live answers show it."""


def share_of(job: Job) -> float:
    """A number from 0 to 1 that is a generation's own, the same whenever the same is ordered."""
    return int(hashlib.sha256(job.order.fingerprint().encode()).hexdigest()[:8], 16) / 0xFFFFFFFF


DEMO_KEY: Final = "d3300000-5eed-4ea0-8000-00000000c0de"
"""A key that every emulator accepts unless `EmulatorSettings.keys` says otherwise. Worthless anywhere else."""

DEMO_USER_ID: Final = "11111111-2222-4333-8444-555555555555"

BLOCKED_MARKER: Final = "emulate-blocked"
"""In a prompt: refused at create by content moderation; no generation, nothing billed."""
FAILED_MARKER: Final = "emulate-failed"
"""In a prompt: billed, ends FAILED with a moderation classification, then refunded."""
NSFW_MARKER: Final = "emulate-nsfw"
"""In a prompt: ends COMPLETE, every image flagged `nsfw` and still served."""
WITHHELD_MARKER: Final = "emulate-withheld"
"""In a prompt: ends COMPLETE with one image fewer than asked for; the lowest index is the one missing."""
BLANK_MARKER: Final = "emulate-blank"
"""In a prompt: every image is a frame of one colour."""
SAME_MARKER: Final = "emulate-same"
"""In a prompt: every image of a generation has the bytes of its first one."""
SIMILAR_MARKER: Final = "emulate-similar"
"""In a prompt: every image of a generation shows the same picture, compressed differently."""
STUCK_MARKER: Final = "emulate-stuck"
"""In a prompt: billed and PENDING for ever."""

USD_PER_CREDIT: Final = 0.001495

AnswerShape = Literal["nested", "flat", "legacy"]
CostUnit = Literal["CREDITS", "DOLLARS"]
CostReported = Literal["charged", "number", "zero", "tenth", "tiny", "none", "negative", "words", "changing"]
WebAppPrompt = Literal["own", "same"]

UUID_PATTERN: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorSettings:
    """One emulated account. A limit per minute of 0 means no limit.

    Raises:
        ValueError: A field is out of range; the message names it and what is allowed.
    """

    keys: tuple[str, ...] = ()
    """Accepted API keys; empty accepts every well-formed UUID."""
    user_id: str = DEMO_USER_ID
    """The same for all unless set: two emulators are one account, at two addresses."""
    username: str = "emulated-studio"

    balance_credits: int = 100_000
    credits_per_image: int = 28
    cost_unit: CostUnit = "CREDITS"
    price_cycle: tuple[int, ...] = ()
    """Credits per image of one generation after the other, over and over; empty: always `credits_per_image`."""
    cost_reported: CostReported = "charged"
    """What a create's answer gives as its cost. `number` is no text, `tenth` a tenth of it, `tiny` 0.0001 dollars, `none`
    null, `words` no number, `changing` one of these after the other."""
    refund_failed: bool = True
    """Give the credits back when a generation ends FAILED, as the legacy FAQ promises."""
    answer_shape: AnswerShape = "nested"
    """`nested` is what the live API sends, `flat` what its OpenAPI says, `legacy` what v1 sends."""

    slots: int = 10
    pending_limit: int = 200
    """Generations that may be queued or running together; one more is answered 429."""
    creates_per_minute: int = 100
    requests_per_minute: int = 2000
    retry_after_header: bool = False
    """Send Retry-After with a 429. The vendor has published neither its presence nor its absence."""

    latency_seconds: float = 2.0
    """Median time a generation occupies a slot; 0 finishes at once."""
    latency_sigma: float = 0.4
    """Spread of the log-normal latency; 0 makes every generation take the median."""
    random_seed: int = 0
    """Of latencies and fault probabilities. Identifiers are never seeded: they stay unique across restarts."""

    history_lag_seconds: float = 0.0
    """Age at which a new generation becomes visible in the account's history."""
    history_limit: int = 50
    """Longest history page; a larger `limit` is cut to it without a word."""
    shuffled_images: bool = False
    """List `generated_images` in an order unlike the index in their file names; the order is undocumented."""
    reporting: Reporting = LIVE_REPORTING
    """What polls and the history say of a generation."""
    listing: Listing = LIVE_LISTING
    """What the history lists, and how."""

    images_late_seconds: float = 0.0
    """How long every generation is COMPLETE before its images are there."""
    late_images: LateImages = "empty"
    """What it shows until then: no images, half of them, or all of them with `url` null."""
    failed_first_seconds: float = 0.0
    """How long every generation is FAILED before it is COMPLETE."""
    extra_images: int = 0
    """Images that every generation has beyond what was ordered."""

    web_app_share: float = 0.0
    """Chance that somebody makes a generation in the web app right after one that was accepted here."""
    web_app_prompt: WebAppPrompt = "own"
    """`same` has the prompt and the size of the one before it, and another seed."""
    deletes_downloaded: bool = False
    """Somebody deletes every generation once its images have been fetched, to keep the gallery clean."""

    upload_lifetime_seconds: float = 120.0
    picture_bytes: int | None = None
    """Serve pictures padded to this many bytes from one rendering per size, for throughput benchmarks."""

    def __post_init__(self) -> None:
        """Refuse what no account could be."""
        refuse_other_flags(self)
        for key in self.keys:
            if not UUID_PATTERN.fullmatch(key):
                raise ValueError("keys must be UUIDs, as the vendor's are")
        if not UUID_PATTERN.fullmatch(self.user_id):
            raise ValueError(f"user_id must be a UUID, got {self.user_id!r}")
        for field, least in _LEAST.items():
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least:
                raise ValueError(f"{field} must be a number, {least} or more, got {value!r}")
        if self.picture_bytes is not None and self.picture_bytes < 1024:
            raise ValueError(f"picture_bytes must be 1024 or more, got {self.picture_bytes}")
        for price in self.price_cycle:
            if isinstance(price, bool) or not isinstance(price, int) or price < 0:
                raise ValueError(f"price_cycle must hold whole credits, 0 or more, got {price!r}")
        if not isinstance(self.reporting, Reporting) or not isinstance(self.listing, Listing):
            raise ValueError("reporting and listing must be objects with the fields that they have")
        if self.web_app_share > 1:
            raise ValueError(f"web_app_share must be 0..1, got {self.web_app_share}")
        refuse_other_choices(
            self,
            {
                "answer_shape": AnswerShape,
                "cost_unit": CostUnit,
                "cost_reported": CostReported,
                "late_images": LateImages,
                "web_app_prompt": WebAppPrompt,
            },
        )

    def changed(self, changes: Mapping[str, Any]) -> EmulatorSettings:
        """What the account is like from now on; `reporting` and `listing` may be given in part, as a mapping.

        Raises:
            ValueError: There is no such setting, it has no such value, or it is fixed when the account is opened.
        """
        if fixed := sorted(set(changes) & _FIXED):
            raise ValueError(f"{', '.join(fixed)} cannot change while the emulator runs; start another")
        changed: EmulatorSettings = _replaced(self, changes)
        return changed

    def to_json(self) -> dict[str, Any]:
        """Write every setting but the keys."""
        shown = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "keys"}
        return {name: _as_json(value) for name, value in shown.items()}


def _replaced(value: Any, changes: Mapping[str, Any]) -> Any:
    known = {field.name for field in fields(value)}
    if unknown := sorted(set(changes) - known):
        raise ValueError(f"there is no setting {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    given: dict[str, Any] = {}
    for name, new in changes.items():
        old = getattr(value, name)
        if isinstance(old, Reporting | Listing) and isinstance(new, Mapping):
            given[name] = _replaced(old, new)
        else:
            given[name] = tuple(new) if isinstance(old, tuple) and isinstance(new, list) else new
    return replace(value, **given)


def _as_json(value: Any) -> Any:
    if isinstance(value, Reporting | Listing):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return list(value) if isinstance(value, tuple) else value


_LEAST: Final[dict[str, int]] = {
    "balance_credits": 0,
    "credits_per_image": 0,
    "slots": 1,
    "pending_limit": 1,
    "creates_per_minute": 0,
    "requests_per_minute": 0,
    "latency_seconds": 0,
    "latency_sigma": 0,
    "history_lag_seconds": 0,
    "history_limit": 1,
    "images_late_seconds": 0,
    "failed_first_seconds": 0,
    "extra_images": 0,
    "web_app_share": 0,
    "upload_lifetime_seconds": 0,
}

# What is built when the account is opened.
_FIXED: Final = frozenset(
    (
        "balance_credits",
        "creates_per_minute",
        "random_seed",
        "requests_per_minute",
        "slots",
        "upload_lifetime_seconds",
        "user_id",
    )
)
