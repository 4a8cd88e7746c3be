"""How the stand-in account behaves: one frozen value, checked where it is built.

What belongs here: limits, prices, latencies, marker words, each with its default. What does not: faults, which are
scripted while the emulator runs (`faults.py`), and addresses, which the server is told (`server.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

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
    username: str = "emulated-studio"

    balance_credits: int = 100_000
    credits_per_image: int = 28
    cost_unit: CostUnit = "CREDITS"
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
        if self.answer_shape not in get_args(AnswerShape):
            raise ValueError(f"answer_shape must be one of {get_args(AnswerShape)}, got {self.answer_shape!r}")
        if self.cost_unit not in get_args(CostUnit):
            raise ValueError(f"cost_unit must be one of {get_args(CostUnit)}, got {self.cost_unit!r}")


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
    "upload_lifetime_seconds": 0,
}
