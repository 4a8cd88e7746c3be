"""What may go wrong, as data; the script of what goes wrong next; and how a generation ends because of it.

How a fault spoils a connection is in `connection`.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, get_args

from pydantic import ConfigDict, Field, model_validator

from seedream_assets.emulator.jobs import Order, Outcome
from seedream_assets.emulator.pictures import Looks
from seedream_assets.emulator.settings import (
    BLANK_MARKER,
    BLOCKED_MARKER,
    FAILED_MARKER,
    NSFW_MARKER,
    SAME_MARKER,
    SIMILAR_MARKER,
    STUCK_MARKER,
    WITHHELD_MARKER,
    Checked,
    Count,
    EmulatorSettings,
    LateImages,
    Positive,
    Seconds,
)

Operation = Literal["create", "poll", "history", "me", "init_image", "upload", "download"]
"""What a fault can strike. `init_image` is the request for an upload address, `upload` the upload itself."""

Envelope = Literal["flat", "array", "object"]

OPERATIONS: Final[tuple[Operation, ...]] = get_args(Operation)


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to go wrong: where it makes sense, and its parameters with their defaults."""

    meaning: str
    operations: tuple[Operation, ...] = OPERATIONS
    parameters: Mapping[str, Any] = field(default_factory=dict)


_CREATE: Final[tuple[Operation, ...]] = ("create",)
_DOWNLOAD: Final[tuple[Operation, ...]] = ("download",)
_ERROR: Final = {
    "status": 500,
    "message": "internal error",
    "envelope": "flat",
    "code": "unexpected",
    "retry_after": None,
}

KINDS: Final[Mapping[str, Kind]] = {
    # Before: the request is never handled, so nothing is accepted or billed.
    "drop_before": Kind("connection closed, request not handled"),
    "error_before": Kind("HTTP error, request not handled", parameters=_ERROR),
    "rate_limit": Kind("HTTP 429, request not handled", parameters={"retry_after": None}),
    "html": Kind("HTML instead of JSON, request not handled", parameters={"status": 502}),
    "redirect": Kind("HTTP redirect, request not handled", parameters={"location": None, "status": 302}),
    "hang_before": Kind("silence, request not handled", parameters={"seconds": 300.0}),
    # Late: the request is handled after a while, whether or not the caller still waits.
    "slow_before": Kind("handled only after a delay, even when the caller has gone", parameters={"seconds": 1.0}),
    # After: the request is handled (a create is accepted and billed), the answer is spoilt.
    "drop_after": Kind("handled, then connection closed without an answer"),
    "error_after": Kind("handled, then HTTP error", parameters=_ERROR),
    "html_after": Kind("handled, then HTML instead of JSON", parameters={"status": 502}),
    "redirect_after": Kind("handled, then HTTP redirect", parameters={"location": None, "status": 302}),
    "empty": Kind("handled, then an empty body with status 200"),
    "not_object": Kind("handled, then JSON that says nothing", parameters={"json": "OK", "status": 200}),
    "hang": Kind("handled, then silence", parameters={"seconds": 300.0}),
    "slow": Kind("handled at once, answered after a delay", parameters={"seconds": 1.0}),
    "cut": Kind("handled, then connection closed in the middle of the body"),
    # Outcomes of a generation.
    "blocked": Kind("refused by content moderation", _CREATE, {"shape": "object"}),
    "failed": Kind("ends FAILED", _CREATE, {"moderation": []}),
    "nsfw": Kind("ends COMPLETE, images flagged nsfw", _CREATE, {"moderation": []}),
    "fewer_images": Kind("ends COMPLETE with fewer images", _CREATE, {"images": None}),
    "more_images": Kind("ends COMPLETE with more images", _CREATE, {"more": 1}),
    "late_images": Kind("COMPLETE before its images are listed", _CREATE, {"seconds": 3.0, "shown": "empty"}),
    "failed_first": Kind("FAILED before it is COMPLETE", _CREATE, {"seconds": 3.0}),
    "poor_images": Kind("ends COMPLETE with pictures not worth having", _CREATE, {"looks": "blank", "images": None}),
    "never_ends": Kind("PENDING for ever", _CREATE),
    # What it costs, and what the answer says of that.
    "price": Kind("charged at another price", _CREATE, {"credits_per_image": 280}),
    "cost": Kind("charged as ever, answered with this as its cost", _CREATE, {"json": None}),
    # Images that are not what they should be.
    "truncated_image": Kind("a correct answer whose image is cut short", _DOWNLOAD),
    "wrong_type": Kind("something else with status 200", _DOWNLOAD, {"content": "html"}),
    "oversize": Kind("a body of very many bytes", _DOWNLOAD, {"body_bytes": 64 * 1024 * 1024, "declared": True}),
    "not_found": Kind("as if it did not exist", ("poll", "download")),
}


class Fault(Checked):
    """One line of the script. Parameters stand beside the other fields; each kind has some, with defaults of its own."""

    model_config = ConfigDict(frozen=False)

    operation: Operation
    kind: str
    """One of `KINDS`."""
    probability: float = Field(default=1.0, ge=0, le=1)
    """Chance that a call is struck."""
    times: Positive | None = None
    """How many calls are struck at most; None has no end."""
    skip: Count = 0
    """How many calls are let through first."""
    prompt_contains: str | None = None
    """Strike only calls about a generation whose prompt contains this."""
    fired: Count = 0
    """How often it has struck."""

    seconds: Seconds = 0.0
    status: Count = 0
    message: str = ""
    envelope: Envelope = "flat"
    code: str = ""
    retry_after: Seconds | None = None
    location: str | None = None
    content_json: Any = Field(default=None, alias="json")
    shape: Envelope = "object"
    moderation: list[str] = Field(default_factory=list)
    images: Count | None = None
    more: Count = 0
    shown: LateImages = "empty"
    looks: Literal["blank", "same", "similar"] = "blank"
    credits_per_image: Count = 0
    content: Literal["html", "png", "text"] = "html"
    body_bytes: Count = 0
    declared: bool = True

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """Add the kind's defaults, and refuse what it has no use for."""
        if not isinstance(given, dict):
            raise ValueError("a fault is a JSON object with operation, kind and parameters")
        if given.get("kind") not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {given.get('kind')!r}")
        kind = KINDS[given["kind"]]
        if unknown := sorted(set(given) - {*_OWN_FIELDS, *kind.parameters}):
            allowed = ", ".join(kind.parameters) or "none"
            raise ValueError(f"{given['kind']} has no parameter {', '.join(unknown)}; it has {allowed}")
        return {**kind.parameters, **given}

    @model_validator(mode="after")
    def _check_operation(self) -> Fault:
        allowed = KINDS[self.kind].operations
        if self.operation not in allowed:
            raise ValueError(f"{self.kind} strikes {', '.join(allowed)} only, not {self.operation}")
        return self

    def to_json(self) -> dict[str, Any]:
        """Write the fault as it is read, with its parameters and how often it has struck."""
        written = self.model_dump(mode="json", by_alias=True)
        return {name: written[name] for name in (*_OWN_FIELDS, *KINDS[self.kind].parameters, "fired")}


_OWN_FIELDS: Final = ("operation", "kind", "probability", "times", "skip", "prompt_contains")


class FaultScript:
    """The faults in force, asked in the order they were added; the first that strikes is the only one. Thread-safe."""

    def __init__(self, random_seed: int) -> None:
        """Start with nothing going wrong."""
        self._random = random.Random(random_seed)
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.played: Counter[str] = Counter()

    def add(self, fault: Fault) -> None:
        """Put a fault at the end of the script."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Let nothing go wrong any more; what has been played stays counted."""
        with self._lock:
            self._faults.clear()

    def faults(self) -> list[Fault]:
        """List the script, spent faults included."""
        with self._lock:
            return list(self._faults)

    def needs_prompt(self) -> bool:
        """Whether any fault looks at prompts."""
        return any(fault.prompt_contains is not None for fault in self._faults)

    def strike(self, operation: str, prompt: str) -> Fault | None:
        """Choose the fault that strikes this call, and count it."""
        with self._lock:
            for fault in self._faults:
                if fault.operation != operation or (fault.times is not None and fault.fired >= fault.times):
                    continue
                if fault.prompt_contains is not None and fault.prompt_contains not in prompt:
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if self._random.random() >= fault.probability:
                    continue
                fault.fired += 1
                self.played[f"{operation}.{fault.kind}"] += 1
                return fault
        return None


class ModeratedError(Exception):
    """A prompt is blocked before it becomes a generation; nothing is billed."""

    def __init__(self, word: str, shape: Envelope = "object") -> None:
        """Keep the word that was found and the envelope to answer in."""
        super().__init__(f"content moderation filter: {word}")
        self.shape = shape


_LOOKS: Final[Mapping[str, Looks]] = {BLANK_MARKER: "blank", SAME_MARKER: "same", SIMILAR_MARKER: "similar"}


def decide(order: Order, settings: EmulatorSettings, fault: Fault | None) -> Outcome:
    """Decide how a generation ends.

    Raises:
        ModeratedError: It does not even begin.
    """
    prompt = order.prompt.lower()
    if BLOCKED_MARKER in prompt:
        raise ModeratedError(BLOCKED_MARKER)
    outcome = Outcome(
        images=order.quantity + settings.extra_images if settings.extra_images else None,
        late_seconds=settings.images_late_seconds,
        late_images=settings.late_images,
        failed_first_seconds=settings.failed_first_seconds,
    )
    if FAILED_MARKER in prompt:
        outcome = replace(outcome, failed=True, moderation=("NSFW",))
    if NSFW_MARKER in prompt:
        outcome = replace(outcome, nsfw=True, moderation=("NSFW",))
    if WITHHELD_MARKER in prompt:
        outcome = replace(outcome, images=order.quantity - 1, moderation=("NSFW",))
    if STUCK_MARKER in prompt:
        outcome = replace(outcome, never_ends=True)
    for marker, looks in _LOOKS.items():
        if marker in prompt:
            outcome = replace(outcome, looks=looks)
    return _struck(outcome, order, fault) if fault else outcome


def _struck(outcome: Outcome, order: Order, fault: Fault) -> Outcome:
    match fault.kind:
        case "blocked":
            raise ModeratedError("blocked by the fault script", fault.shape)
        case "failed":
            return replace(outcome, failed=True, moderation=tuple(fault.moderation))
        case "nsfw":
            return replace(outcome, nsfw=True, moderation=tuple(fault.moderation))
        case "fewer_images":
            return replace(outcome, images=order.quantity - 1 if fault.images is None else fault.images)
        case "more_images":
            return replace(outcome, images=order.quantity + fault.more)
        case "late_images":
            return replace(outcome, late_seconds=fault.seconds, late_images=fault.shown)
        case "failed_first":
            return replace(outcome, failed_first_seconds=fault.seconds)
        case "poor_images":
            return replace(outcome, looks=fault.looks, poor_images=fault.images)
        case "never_ends":
            return replace(outcome, never_ends=True)
    return outcome  # The other kinds spoil the connection, not the generation.
