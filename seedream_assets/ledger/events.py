"""The events of one request, as they stand in the store: small, immutable, readable by a person, versioned.

Each event is an object of its own under `requests/<request_id>/`, written create-only. Its key says what happened:

    00-intent.json                     attempt 0 is about to be bought
    00-submitted-<generation_id>.json  Leonardo accepted it: it is paid for
    00-completed.json | 00-failed.json | 00-blocked.json
    00-released.json                   proven not bought; attempt 01 may begin
    00-retracted-<generation_id>.json  a person took an adoption back: that generation is another's
    00-recollected-1.json              images that came late to a request that had ended

The generation's id is part of a key so that a list call alone shows which generations are owned, and so that two
writers who know of two generations can both write what they know: nothing that was billed is ever dropped.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from seedream_assets.config.addresses import address_to_keep
from seedream_assets.config.base import problems_of
from seedream_assets.errors import ObjectUnreadable
from seedream_assets.leonardo.requests import GenerationRequest

LEDGER_VERSION = 1
REQUESTS_FOLDER = "requests"
RESTORE_EVENT = (
    "Put back what stood there from a backup or an older version of the object, or have it made anew with `seedream verify "
    "--repair`; nothing is bought for this request until then"
)
_KEY = re.compile(
    r"requests/(?P<request_id>[0-9a-f]{64})/(?P<attempt>[0-9]{2}|[1-9][0-9]{2,})-"
    r"(?:(?P<event>intent|completed|failed|blocked|released)"
    r"|(?P<named>submitted|retracted)-(?P<generation>[A-Za-z0-9-]+)"
    r"|(?P<numbered>recollected)-(?P<number>[1-9][0-9]*))\.json"
)
# What has the form of an event's key, and is none that this version knows: perhaps a later version's.
_UNKNOWN_KEY = re.compile(r"requests/(?P<request_id>[0-9a-f]{64})/(?P<name>(?P<attempt>[0-9]{2,})-[^/\n]+\.json)")
_SAFE_ID = re.compile(r"[A-Za-z0-9-]{1,64}")

EventName = Literal[
    "intent", "submitted", "completed", "failed", "blocked", "released", "retracted", "recollected", "unknown"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Which process wrote an event.

    Attributes:
        engine_id: Names the lease that the process holds; new for every process.
        nonce: New for every event, so that a writer recognises its own write whose answer was lost.
        host, boot_id, pid: So that on the same machine a dead process is known to be dead at once.
    """

    engine_id: str
    nonce: str
    host: str = ""
    boot_id: str = ""
    pid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    request_id: str
    attempt: int
    at: datetime
    writer: Writer
    version: int = LEDGER_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent(_Event):
    """Written before the POST: what is about to be bought, for whom, and what it may cost.

    Attributes:
        seed: None where none was sent.
        account: The Leonardo account that it is bought from; None in intents of earlier versions.
    """

    event: Literal["intent"] = "intent"
    spec_id: str
    start: int
    count: int
    model: str
    prompt: str
    width: int
    height: int
    style: str
    prompt_enhance: str
    seed: int | None
    public: bool
    references: tuple[dict[str, str], ...] = ()
    credits_reserved: int
    dataset: str
    partition: str
    run_id: str
    dagster_run_id: str | None = None
    account: str | None = None

    @classmethod
    def of_request(
        cls,
        request: GenerationRequest,
        *,
        attempt: int,
        writer: Writer,
        credits_reserved: int,
        dataset: str,
        partition: str,
        run_id: str,
        account: str | None,
        dagster_run_id: str | None = None,
        at: datetime | None = None,
    ) -> Intent:
        """The intent to buy a request, or to have bought it where it is written after the fact.

        Args:
            request: What is asked for.
            attempt, writer: As in every event.
            credits_reserved: What it may cost.
            dataset, partition, run_id, dagster_run_id: For whom it is bought.
            account: The Leonardo account that it is bought from.
            at: When it was sent; None for now.
        """
        spec = request.spec
        return cls(
            request_id=request.request_id,
            attempt=attempt,
            at=at or datetime.now(UTC),
            writer=writer,
            spec_id=spec.spec_id,
            start=request.start,
            count=request.count,
            model=spec.model,
            prompt=spec.prompt,
            width=spec.width,
            height=spec.height,
            style=spec.style,
            prompt_enhance=spec.prompt_enhance,
            seed=request.seed,
            public=request.public,
            references=tuple(reference.identity for reference in spec.references),
            credits_reserved=credits_reserved,
            dataset=dataset,
            partition=partition,
            run_id=run_id,
            dagster_run_id=dagster_run_id,
            account=account,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted(_Event):
    """Leonardo accepted the request; from here on it is paid for and has an id.

    Attributes:
        adopted: Found in the account's history, not named by the answer to the POST.
    """

    event: Literal["submitted"] = "submitted"
    generation_id: str
    cost_amount: Decimal | None = None
    cost_unit: str | None = None
    adopted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerImage:
    """One image of a completed request: stored, or withheld with the reason.

    The one record of an image's own fields. Each is annotated with what it means; manifest, trace and the columns shown
    in the UI are derived from here (`image_columns`).
    """

    position: Annotated[int, "Number of the image within its request, from 0."]
    image_id: Annotated[str, "Name of the image in the store; a hash, never a prompt's words."]
    nsfw: Annotated[bool, "Leonardo's own flag."] = False
    reason: Annotated[str | None, "Why the image is not stored."] = None
    provider_image_id: Annotated[str | None, "Leonardo's id of the image."] = None
    # Scheme, host and path; a signed query is never kept, whatever is given here.
    source_url: Annotated[str | None, "Where the bytes came from."] = None
    object_key: Annotated[str | None, "Where the bytes are in the store."] = None
    format: Annotated[str | None, "JPEG, PNG or WEBP, or what else came; measured on the bytes."] = None
    width_px: Annotated[int | None, "Width in pixels, measured on the bytes."] = None
    height_px: Annotated[int | None, "Height in pixels, measured on the bytes."] = None
    size_bytes: Annotated[int | None, "Size of the file, in bytes."] = None
    sha256: Annotated[str | None, "SHA-256 of the file."] = None
    source_sha256: Annotated[str | None, "SHA-256 of the bytes as they were served, without embedded metadata."] = None
    marks: Annotated[str | None, "Metadata embedded in the file: xmp, c2pa, or both joined by +."] = None
    unmarked: Annotated[str | None, "Why the file does not carry all the metadata that was asked for."] = None

    def __post_init__(self) -> None:
        if self.source_url is not None:
            object.__setattr__(self, "source_url", address_to_keep(self.source_url))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ending(_Event):
    """What every end of a request says, so that one read is enough for the manifest.

    Attributes:
        count: Images asked for.
        dataset, run_id, dagster_run_id: Who bought it, from its intent.
    """

    generation_id: str | None
    count: int
    credits_quoted: int
    dataset: str
    run_id: str
    dagster_run_id: str | None = None
    cost_amount: Decimal | None = None
    cost_unit: str | None = None
    submitted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed(_Ending):
    """The job is COMPLETE and every image it delivered is stored."""

    event: Literal["completed"] = "completed"
    images: tuple[LedgerImage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(_Ending):
    """The job ended FAILED. It is final, and never bought again unasked."""

    event: Literal["failed"] = "failed"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked(_Ending):
    """Moderation refused the prompt, before a job existed (no generation, no cost) or as its end. It is final."""

    event: Literal["blocked"] = "blocked"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Released(_Event):
    """Proven that this attempt bought nothing; the next attempt may begin.

    Attributes:
        why: `refused` by an answer, `never_sent`, or `not_in_history` once the history had settled.
    """

    event: Literal["released"] = "released"
    why: Literal["refused", "never_sent", "not_in_history", "by_hand"]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retracted(_Event):
    """A person took an adoption back: the generation is not what this attempt bought. For good.

    Only of a generation that was adopted, never of one that the answer to the POST named.

    Attributes:
        reason: How the person knows.
    """

    event: Literal["retracted"] = "retracted"
    generation_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recollected(_Event):
    """Images that came late: their request had ended without them. Fetched for nothing.

    Attributes:
        number: From 1; several may come.
        images: Those that are new, stored.
    """

    event: Literal["recollected"] = "recollected"
    number: int
    generation_id: str
    images: tuple[LedgerImage, ...]


FinalEvent = Completed | Failed | Blocked
LedgerEvent = Intent | Submitted | Completed | Failed | Blocked | Released | Retracted | Recollected
_CODEC: TypeAdapter[LedgerEvent] = TypeAdapter(Annotated[LedgerEvent, Field(discriminator="event")])


def encode_event(event: LedgerEvent) -> bytes:
    """The event as indented JSON. An intent that names no account keeps the bytes that it always had."""
    left_out = {"account"} if isinstance(event, Intent) and event.account is None else None
    return _CODEC.dump_json(event, indent=1, exclude=left_out) + b"\n"


def decode_event(body: bytes, *, key: str) -> LedgerEvent:
    """The event in an object.

    Raises:
        ObjectUnreadable: Not an event, or another than its key says, or of a newer version than this package knows.
    """
    try:
        event = _CODEC.validate_json(body)
    except ValidationError as error:
        _refuse_newer(_version_in(body), key)
        found = str(problems_of(error)[0]) if body.strip() else "it is empty"
        raise ObjectUnreadable(
            key, found=f"is not a ledger event: {found}", remedy=f"it was left as it is. {RESTORE_EVENT}"
        ) from error
    _refuse_newer(event.version, key)
    if EventKey.parse(key) is not None and event_key(event) != key:
        raise ObjectUnreadable(
            key,
            found=f"holds the event {event_key(event)}, which is another",
            remedy=f"it was left as it is. {RESTORE_EVENT}",
        )
    return event


def _version_in(body: bytes) -> int:
    """The version that an object claims which cannot be read as an event; a newer one may have other events."""
    try:
        version = json.loads(body)["version"]
    except (ValueError, TypeError, KeyError):
        return LEDGER_VERSION
    return version if isinstance(version, int) else LEDGER_VERSION


def _refuse_newer(version: int, key: str) -> None:
    if version > LEDGER_VERSION:
        raise ObjectUnreadable(
            key,
            found=f"is of ledger version {version}, this package knows {LEDGER_VERSION}",
            remedy="update seedream-assets",
        )


def event_key(event: LedgerEvent) -> str:
    """The object key under which an event stands."""
    suffix = ""
    if isinstance(event, Submitted | Retracted):
        suffix = f"-{id_in_key(event.generation_id)}"
    elif isinstance(event, Recollected):
        suffix = f"-{event.number}"
    return f"{request_folder(event.request_id)}{event.attempt:02d}-{event.event}{suffix}.json"


def request_folder(request_id: str) -> str:
    """The prefix of all events of a request, with its closing slash."""
    return f"{REQUESTS_FOLDER}/{request_id}/"


def id_in_key(generation_id: str) -> str:
    """A generation's id as it stands in keys: itself, or a hash where it holds anything but letters, digits, hyphens."""
    return generation_id if _SAFE_ID.fullmatch(generation_id) else "x" + sha256(generation_id.encode()).hexdigest()[:40]


def is_hashed_id(generation: str) -> bool:
    """True where an id in a key may be the hash of another, which it then does not show."""
    return re.fullmatch(r"x[0-9a-f]{40}", generation) is not None


@dataclass(frozen=True, slots=True, order=True)
class EventKey:
    """What a list call shows of an event without reading it.

    Attributes:
        event: `unknown` for what a later version may have written: whoever does not know it leaves the request alone.
        generation: Of a submit or its retraction, as ids stand in keys.
        name: Where the event is unknown, the object's own name; of `recollected` its number.
    """

    request_id: str
    attempt: int
    event: EventName
    generation: str | None = field(default=None)
    name: str | None = field(default=None)

    @classmethod
    def parse(cls, key: str) -> EventKey | None:
        """The meaning of an object key; None where it has not even the form of a ledger key."""
        match = _KEY.fullmatch(key)
        if match is None:
            unknown = _UNKNOWN_KEY.fullmatch(key)
            if unknown is None:
                return None
            return cls(unknown["request_id"], int(unknown["attempt"]), "unknown", name=unknown["name"])
        # The pattern lets no other word pass.
        event: EventName = match["event"] or match["named"] or match["numbered"]  # type: ignore[assignment]
        return cls(match["request_id"], int(match["attempt"]), event, match["generation"], match["number"])
