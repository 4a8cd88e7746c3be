"""What may go wrong, as data; the script of what goes wrong next; and how a generation ends because of it.

What belongs here: the kinds of fault, where each may strike, its parameters with their defaults, which call a scripted
fault strikes, and the endings that a prompt's words ask for. How a fault spoils a connection is in `connection.py`.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

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
    EmulatorSettings,
)

OPERATIONS: Final = ("create", "poll", "delete", "history", "me", "models", "init_image", "upload", "download")
"""What a fault can strike. `init_image` is the request for an upload address, `upload` the upload itself."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to go wrong: where it makes sense, and its parameters with their defaults."""

    meaning: str
    operations: tuple[str, ...] = OPERATIONS
    parameters: Mapping[str, Any] = field(default_factory=dict)


_CREATE: Final = ("create",)
_ERROR: Final = {
    "status": 500,
    "message": "internal error",
    "envelope": "flat",
    "code": "unexpected",
    "retry_after": None,
}
_DOWNLOAD: Final = ("download",)

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
    "blocked": Kind(
        "refused by content moderation", _CREATE, {"word": "blocked by the fault script", "shape": "object"}
    ),
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
    "wrong_size": Kind("a picture of another size", _DOWNLOAD, {"width": 64, "height": 64}),
    "not_found": Kind("as if it did not exist", ("poll", "download")),
}

_CHOICES: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("wrong_type", "content"): ("html", "png", "text"),
    ("poor_images", "looks"): ("blank", "same", "similar"),
    ("blocked", "shape"): ("object", "array", "flat"),
    ("late_images", "shown"): ("empty", "partial", "no_url"),
    ("error_before", "envelope"): ("flat", "array", "object"),
    ("error_after", "envelope"): ("flat", "array", "object"),
}

_NUMBERS: Final = (
    "seconds",
    "status",
    "retry_after",
    "images",
    "more",
    "credits_per_image",
    "body_bytes",
    "width",
    "height",
)


def _is_number(value: object, *, optional: bool) -> bool:
    if value is None:
        return optional
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


@dataclass(slots=True, kw_only=True)
class Fault:
    """One line of the script.

    Attributes:
        operation: One of `OPERATIONS`.
        kind: One of `KINDS`.
        probability: Chance that a call is struck.
        times: How many calls are struck at most; None has no end.
        skip: How many calls are let through first.
        prompt_contains: Strike only calls about a generation whose prompt contains this.
        parameters: Of the kind; those left out take the kind's defaults.
        fired: How often it has struck.
    """

    operation: str
    kind: str
    probability: float = 1.0
    times: int | None = None
    skip: int = 0
    prompt_contains: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    fired: int = 0

    def __post_init__(self) -> None:
        """Refuse a fault that could never strike, saying what is allowed."""
        if self.operation not in OPERATIONS:
            raise ValueError(f"operation must be one of {', '.join(OPERATIONS)}, got {self.operation!r}")
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        kind = KINDS[self.kind]
        if self.operation not in kind.operations:
            raise ValueError(f"{self.kind} strikes {', '.join(kind.operations)} only, not {self.operation}")
        if unknown := sorted(set(self.parameters) - set(kind.parameters)):
            allowed = ", ".join(kind.parameters) or "none"
            raise ValueError(f"{self.kind} has no parameter {', '.join(unknown)}; it has {allowed}")
        for name, value in self.parameters.items():
            choices = _CHOICES.get((self.kind, name))
            if choices and value not in choices:
                raise ValueError(f"{name} of {self.kind} must be one of {', '.join(choices)}, got {value!r}")
            if name in _NUMBERS and not _is_number(value, optional=kind.parameters[name] is None):
                raise ValueError(f"{name} of {self.kind} must be a number, 0 or more, got {value!r}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be 0..1, got {self.probability}")
        if (self.times is not None and self.times < 1) or self.skip < 0:
            raise ValueError(f"times must be 1 or more, skip 0 or more, got {self.times} and {self.skip}")
        self.parameters = {**kind.parameters, **self.parameters}

    @classmethod
    def from_json(cls, body: object) -> Fault:
        """Read a fault from its flat JSON form, in which parameters stand beside the other keys.

        Raises:
            ValueError: It is not an object, or not a fault that could strike.
        """
        if not isinstance(body, dict):
            raise ValueError("a fault is a JSON object with operation, kind and parameters")
        own = {"operation", "kind", "probability", "times", "skip", "prompt_contains"}
        fields = {name: value for name, value in body.items() if name in own}
        try:
            return cls(**fields, parameters={name: value for name, value in body.items() if name not in own})
        except TypeError as wrong:
            raise ValueError(f"not a fault: {wrong}") from wrong

    def to_json(self) -> dict[str, Any]:
        """Write the fault in the form `from_json` reads, and how often it has struck."""
        return {
            "operation": self.operation,
            "kind": self.kind,
            "probability": self.probability,
            "times": self.times,
            "skip": self.skip,
            "prompt_contains": self.prompt_contains,
            **self.parameters,
            "fired": self.fired,
        }


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
        """Say whether any fault looks at prompts."""
        return any(fault.prompt_contains is not None for fault in self._faults)

    def strike(self, operation: str, prompt: str) -> Fault | None:
        """Choose the fault that strikes this call, and count it."""
        if not self._faults:
            return None
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
    looks_by_marker: Mapping[str, Looks] = {BLANK_MARKER: "blank", SAME_MARKER: "same", SIMILAR_MARKER: "similar"}
    for marker, looks in looks_by_marker.items():
        if marker in prompt:
            outcome = replace(outcome, looks=looks)
    if STUCK_MARKER in prompt:
        outcome = replace(outcome, never_ends=True)
    return _struck(outcome, order, fault) if fault else outcome


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
