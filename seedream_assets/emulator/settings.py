"""How the stand-in account behaves, as data: limits, prices, latencies, and where it differs from what was ordered.

Faults, which are scripted while the emulator runs, are in `faults`; addresses are `server`'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MODEL_NAMES: Final = {
    "seedream-4.0": ("40a7c0de-0000-4000-8000-000000000040", "Seedream 4.0"),
    "seedream-4.5": ("40a7c0de-0000-4000-8000-000000000045", "Seedream 4.5"),
}
"""Id and display name. The vendor's list has both, but not the slug that a create request needs."""

LARGEST_SEED: Final = 2147483638
UUID_PATTERN: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")

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
"""In a prompt: every image has one colour."""
SAME_MARKER: Final = "emulate-same"
"""In a prompt: every image of a generation has the bytes of its first one."""
SIMILAR_MARKER: Final = "emulate-similar"
"""In a prompt: every image of a generation shows the same picture, compressed differently."""
STUCK_MARKER: Final = "emulate-stuck"
"""In a prompt: billed and PENDING for ever."""

LateImages = Literal["empty", "partial", "no_url"]
"""What a COMPLETE generation shows before its images are there: none, half of them, all of them without an address."""

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]
Uuid = Annotated[str, Field(pattern=f"^{UUID_PATTERN.pattern}$")]


class Checked(BaseModel):
    """A frozen value whose fields are checked. A mistake is a ValueError that names the field and what is allowed."""

    # What was given is not repeated: it may be a key.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)


def describe_mistakes(error: ValidationError) -> str:
    """Write the mistakes as one line: where, and what is allowed there."""
    return "; ".join(
        f"{'.'.join(str(step) for step in mistake['loc'])}: {mistake['msg']}".removeprefix(": ")
        for mistake in error.errors(include_url=False, include_input=False)
    )


class Reporting(Checked):
    """How polls and the history report a generation. The defaults are what published live answers show."""

    size_multiple: Positive = 1
    """Width and height are rounded to the nearest multiple of this."""
    seed: Literal["used", "other", "zero", "null", "absent", "text"] = "used"
    """`other` is another number for each generation, `text` the number in quotes."""
    time: Literal["plain", "local", "zone", "seconds", "milliseconds", "http", "null", "absent"] = "plain"
    """`createdAt`. `plain` is UTC without a zone, `local` another zone's time without naming it, `zone` the same with
    its zone, `seconds` and `milliseconds` count since 1970, `http` is written as in a Date header."""
    utc_offset_hours: float = Field(default=0.0, ge=-14, le=14)
    """Of `local` and `zone`."""
    clock_ahead_seconds: float = 0.0
    """How far the API's own clock is ahead of this machine's: its Date header, `createdAt`, and the time in its ids."""
    created_at_ahead_seconds: float = 0.0
    """How far `createdAt` alone is ahead of the API's own clock."""
    prompt: Literal["sent", "spaced", "cut", "shortened", "escaped", "upper", "nfd", "empty", "rewritten"] = "sent"
    """`cut` is its first `prompt_characters`, `shortened` the same with three dots, `escaped` as in HTML, `nfd` with
    accents taken apart, `rewritten` other words in another order."""
    prompt_characters: Count = 40
    model: Literal["id", "slug", "name", "other", "null", "absent"] = "id"
    """`modelId`. `other` is an id that stands in no list, one for each generation."""
    only_history: bool = False
    """Polls say what was ordered; only the history differs."""


class Listing(Checked):
    """What the history lists, and how. Lag and longest page are fields of `EmulatorSettings`."""

    order: Literal["newest_first", "oldest_first", "scattered", "shuffled"] = "newest_first"
    """`scattered` is an order of its own that stays; `shuffled` is another for every page."""
    lists: Literal["all", "web_app", "complete", "nothing"] = "all"
    """`web_app` leaves out everything that was made through the API, `complete` what is pending or failed."""
    lag_spread_seconds: Seconds = 0.0
    """A generation's lag is the account's and up to this much more, another for each."""
    depth: Count = 0
    """Only so many of the newest are kept; 0 keeps all."""
    ignores_offset: bool = False
    """Every page is the first."""
    repeats: bool = False
    """Every entry comes twice."""
    stale_every: Count = 0
    """With 2, every second read is answered by a replica that is `stale_seconds` behind; 0: none is."""
    stale_seconds: Seconds = 0.0
    vanish_after_seconds: Seconds = 0.0
    """Age at which an entry vanishes, to come back `vanish_seconds` later."""
    vanish_seconds: Seconds = 0.0


class Accepts(Checked):
    """Which of the forms that the vendor's pages contradict each other about a create may have; others are refused."""

    prompt_enhance: Literal["word", "boolean", "either", "nothing"] = "word"
    """A word is what the schema says, a boolean what the vendor's recipe says. It may always be left out."""
    style: Literal["all", "presets", "nothing"] = "all"
    """`presets` are those of the model's page, which lacks None."""
    seed: bool = True


class EmulatorSettings(Checked):
    """One emulated account. A limit per minute of 0 means no limit."""

    keys: tuple[Uuid, ...] = ()
    """Accepted API keys; empty accepts every well-formed UUID."""
    user_id: Uuid = DEMO_USER_ID
    """The same for all unless set: two emulators are one account, at two addresses."""

    balance_credits: Count = 100_000
    credits_per_image: Count = 28
    price_cycle: Annotated[tuple[Count, ...], Field(strict=False)] = ()
    """Credits per image of one generation after the other, over and over; empty: always `credits_per_image`."""
    cost_unit: Literal["CREDITS", "DOLLARS"] = "CREDITS"
    cost_reported: Literal["charged", "number", "zero", "tenth", "tiny", "none", "negative", "words", "changing"] = (
        "charged"
    )
    """What a create's answer gives as its cost. `number` is no text, `tenth` a tenth of it, `tiny` 0.0001 dollars, `none`
    null, `words` no number, `changing` one of these after the other."""
    answer_shape: Literal["nested", "flat", "legacy"] = "nested"
    """`nested` is what the live API sends, `flat` what its OpenAPI says, `legacy` what v1 sends."""

    slots: Positive = 10
    pending_limit: Positive = 200
    """Generations that may be queued or running together; one more is answered 429."""
    creates_per_minute: Count = 100
    requests_per_minute: Count = 2000
    retry_after_header: bool = False
    """Send Retry-After with a 429. The vendor has published neither its presence nor its absence."""

    latency_seconds: Seconds = 2.0
    """Median time a generation occupies a slot; 0 finishes at once."""
    latency_sigma: Seconds = 0.4
    """Spread of the log-normal latency; 0 makes every generation take the median."""
    random_seed: int = 0
    """Of latencies and fault probabilities. Identifiers are never seeded: they stay unique across restarts."""

    history_lag_seconds: Seconds = 0.0
    """Age at which a new generation becomes visible in the account's history."""
    history_limit: Positive = 50
    """Longest history page; a larger `limit` is cut to it without a word."""
    shuffled_images: bool = False
    """List `generated_images` in an order unlike the index in their file names; the order is undocumented."""
    reporting: Reporting = Reporting()
    listing: Listing = Listing()
    accepts: Accepts = Accepts()

    images_late_seconds: Seconds = 0.0
    """How long every generation is COMPLETE before its images are there."""
    late_images: LateImages = "empty"
    failed_first_seconds: Seconds = 0.0
    """How long every generation is FAILED before it is COMPLETE."""
    extra_images: Count = 0
    """Images that every generation has beyond what was ordered."""

    web_app_share: float = Field(default=0.0, ge=0, le=1)
    """Chance that somebody makes a generation in the web app right after one that was accepted here."""
    web_app_prompt: Literal["own", "same"] = "own"
    """`same` has the prompt and the size of the one before it, and another seed."""
    deletes_downloaded: bool = False
    """Somebody deletes every generation once its images have been fetched, to keep the gallery clean."""

    picture_bytes: Annotated[int, Field(ge=1024)] | None = None
    """Serve pictures padded to this many bytes from one rendering per size, for throughput benchmarks."""

    def changed(self, changes: Mapping[str, Any]) -> EmulatorSettings:
        """What the account is like from now on; `reporting`, `listing` and `accepts` may be given in part, as a mapping.

        Raises:
            ValueError: There is no such setting, it has no such value, or it is fixed when the account is opened.
        """
        if fixed := sorted(set(changes) & _FIXED):
            raise ValueError(f"{', '.join(fixed)} cannot change while the emulator runs; start another")
        settings = self.model_dump()
        for name, value in changes.items():
            old = settings.get(name)
            settings[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, Mapping) else value
        return EmulatorSettings.model_validate(settings)

    def to_json(self) -> dict[str, Any]:
        """Write every setting but the keys."""
        return self.model_dump(mode="json", exclude={"keys"})


# What is built when the account is opened.
_FIXED: Final = frozenset(
    ("balance_credits", "creates_per_minute", "random_seed", "requests_per_minute", "slots", "user_id")
)
