"""How the stand-in account behaves: one frozen value, checked where it is built.

What belongs here: limits, prices, latencies, marker words, each with its default. What does not: faults, which are
scripted while the emulator runs (`faults.py`), and addresses, which the server is told (`server.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal

from seedream_assets.emulator.jobs import LateImages
from seedream_assets.emulator.listing import LIVE_LISTING, Listing
from seedream_assets.emulator.telling import LIVE_TELLING, Telling, refuse_other_choices, refuse_other_flags

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
CostTold = Literal["charged", "number", "zero", "tenth", "tiny", "none", "negative", "words", "changing"]
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
    """Fixed unless told otherwise: two emulators are one account, at two addresses."""
    username: str = "emulated-studio"

    balance_credits: int = 100_000
    credits_per_image: int = 28
    cost_unit: CostUnit = "CREDITS"
    price_cycle: tuple[int, ...] = ()
    """Credits per image of one generation after the other, over and over; empty: always `credits_per_image`."""
    cost_told: CostTold = "charged"
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
    telling: Telling = LIVE_TELLING
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

    blocked_words: tuple[str, ...] = (BLOCKED_MARKER,)
    failed_words: tuple[str, ...] = (FAILED_MARKER,)
    nsfw_words: tuple[str, ...] = (NSFW_MARKER,)
    withheld_words: tuple[str, ...] = (WITHHELD_MARKER,)
    blank_words: tuple[str, ...] = (BLANK_MARKER,)
    same_words: tuple[str, ...] = (SAME_MARKER,)
    similar_words: tuple[str, ...] = (SIMILAR_MARKER,)
    stuck_words: tuple[str, ...] = (STUCK_MARKER,)

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
        if not isinstance(self.telling, Telling) or not isinstance(self.listing, Listing):
            raise ValueError("telling and listing must be objects with the fields that they have")
        if self.web_app_share > 1:
            raise ValueError(f"web_app_share must be 0..1, got {self.web_app_share}")
        refuse_other_choices(
            self,
            {
                "answer_shape": AnswerShape,
                "cost_unit": CostUnit,
                "cost_told": CostTold,
                "late_images": LateImages,
                "web_app_prompt": WebAppPrompt,
            },
        )

    def changed(self, changes: Mapping[str, Any]) -> EmulatorSettings:
        """What the account is like from now on; `telling` and `listing` may be given in part, as a mapping.

        Raises:
            ValueError: There is no such setting, it has no such value, or it is fixed when the account is opened.
        """
        if fixed := sorted(set(changes) & _FIXED):
            raise ValueError(f"{', '.join(fixed)} cannot change while the emulator runs; start another")
        changed: EmulatorSettings = _replaced(self, changes)
        return changed

    def to_json(self) -> dict[str, Any]:
        """Write every setting but the keys."""
        told = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "keys"}
        return {name: _as_json(value) for name, value in told.items()}


def _replaced(value: Any, changes: Mapping[str, Any]) -> Any:
    known = {field.name for field in fields(value)}
    if unknown := sorted(set(changes) - known):
        raise ValueError(f"there is no setting {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    given: dict[str, Any] = {}
    for name, new in changes.items():
        old = getattr(value, name)
        if isinstance(old, Telling | Listing) and isinstance(new, Mapping):
            given[name] = _replaced(old, new)
        else:
            given[name] = tuple(new) if isinstance(old, tuple) and isinstance(new, list) else new
    return replace(value, **given)


def _as_json(value: Any) -> Any:
    if isinstance(value, Telling | Listing):
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
