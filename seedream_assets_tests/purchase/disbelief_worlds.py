"""The worlds of the disbelief matrix, as data: each shows history, answers, images or prices otherwise than expected.

Here belongs what is otherwise, and what can then be demanded. How a world is played and judged is in
`disbelief_matrix`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from seedream_assets.emulator.settings import FAILED_MARKER, WITHHELD_MARKER, Listing, Reporting

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR
QUOTED_CREDITS = 28

Faults = tuple[Mapping[str, Any], ...]


def strikes(kind: str, share: float = 1.0, **options: Any) -> Mapping[str, Any]:
    """A fault of creates that strikes this share of those that a case spoils; `times` or `probability` go before it."""
    return {"operation": "create", "kind": kind, "share": share, **options}


LOST_ANSWERS: Faults = (strikes("drop_after", 0.7), strikes("hang", 0.5, seconds=3.0))


@dataclass(frozen=True, kw_only=True)
class World:
    """One way in which the world differs from what was expected.

    Attributes:
        account: Settings of the emulated account.
        later: What changes in it after the first run.
        faults: What becomes of creates; by default a share of the answers is lost after acceptance.
        must_adopt: What was bought and not answered must be owned in the end: the world differs in form only.
        images: Of each request.
        marker: A word in every third prompt.
        alike: Prompts begin with the same 60 characters.
        shared_seed: Every row that gives a seed gives the same one.
        enhance: The rows' `prompt_enhance`.
        cap: `max_credits_total`; None: the price of the plan.
        run_cap: `max_credits_per_run`.
        surprise: Credits by which one request may cost more than it was reserved for, once for each process that
            begins at one moment.
        copied: The store is copied after the first run, an hour later; every object is new then.
        passes: Seconds that pass between the first run and the next; only a folder can be made older.
        paused: A process is a guest of a machine that is paused, and whose clock since boot stands still meanwhile.
        new_key: The account's key is another from the second run on.
    """

    name: str
    account: Mapping[str, Any] = field(default_factory=dict)
    later: Mapping[str, Any] = field(default_factory=dict)
    faults: Faults = LOST_ANSWERS
    must_adopt: bool = False
    images: int = 1
    marker: str = ""
    alike: bool = False
    shared_seed: bool = False
    enhance: Literal["AUTO", "ON", "OFF"] = "OFF"
    cap: int | None = None
    run_cap: int | None = None
    surprise: int = 0
    copied: bool = False
    passes: float = 0.0
    paused: bool = False
    new_key: bool = False


def _reporting(name: str, *, must_adopt: bool = False, **reporting: Any) -> World:
    return World(name=name, account={"reporting": Reporting(**reporting)}, must_adopt=must_adopt)


def _listing(name: str, *, must_adopt: bool = False, limit: int = 50, **listing: Any) -> World:
    account = {"listing": Listing(**listing), "history_limit": limit}
    return World(name=name, account=account, must_adopt=must_adopt)


def _answered(name: str, kind: str, **options: Any) -> World:
    return World(name=name, faults=(strikes(kind, **options),))


def _refused(status: int, message: str, envelope: str = "flat", code: str = "unexpected", **options: Any) -> World:
    name = f"accepted and answered {status} {message}" + (f", {envelope}" if envelope != "flat" else "")
    how = {"status": status, "message": message, "envelope": envelope, "code": code, **options}
    return _answered(name + (", Retry-After" if "retry_after" in options else ""), "error_after", **how)


def _images(name: str, *, images: int = 1, marker: str = "", **account: Any) -> World:
    return World(name=name, account=account, images=images, marker=marker)


def _price(name: str, *, surprise: int = 0, faults: Faults = (), cap: int | None = 560, **account: Any) -> World:
    return World(name=name, account=account, faults=faults, cap=cap, surprise=surprise)


_AS_EXPECTED = (
    World(name="as expected", must_adopt=True),
    World(name="only the very first answer is lost", faults=(strikes("drop_after", times=1),), must_adopt=True),
    World(name="no answer ever comes", faults=(strikes("drop_after", probability=1.0),)),
)

_HISTORY = (
    _reporting("size rounded to 16", size_multiple=16),
    _reporting("another seed", seed="other"),
    _reporting("seed 0", seed="zero"),
    _reporting("seed null", seed="null"),
    _reporting("seed absent", seed="absent"),
    _reporting("local time, 5 h behind", time="local", utc_offset_hours=-5),
    _reporting("local time, 5.5 h ahead", time="local", utc_offset_hours=5.5),
    _reporting("time with a zone", time="zone", utc_offset_hours=-5, must_adopt=True),
    _reporting("time in seconds", time="seconds", must_adopt=True),
    _reporting("time in milliseconds", time="milliseconds", must_adopt=True),
    _reporting("time null", time="null"),
    _reporting("time absent", time="absent"),
    _reporting("clock 6 min ahead", clock_ahead_seconds=6 * MINUTE, must_adopt=True),
    _reporting("clock 6 min behind", clock_ahead_seconds=-6 * MINUTE, must_adopt=True),
    _reporting("clock a day ahead", clock_ahead_seconds=DAY, must_adopt=True),
    _reporting("clock a day behind", clock_ahead_seconds=-DAY, must_adopt=True),
    _reporting("createdAt 6 min ahead", created_at_ahead_seconds=6 * MINUTE),
    _reporting("createdAt 6 min behind", created_at_ahead_seconds=-6 * MINUTE),
    _reporting("prompt spaced", prompt="spaced", must_adopt=True),
    _reporting("prompt cut", prompt="cut"),
    _reporting("prompt escaped", prompt="escaped", must_adopt=True),
    _reporting("prompt in capitals", prompt="upper", must_adopt=True),
    _reporting("prompt in NFD", prompt="nfd", must_adopt=True),
    _reporting("prompt empty", prompt="empty"),
    _reporting("prompt rewritten", prompt="rewritten"),
    World(name="prompt to be enhanced", account={"reporting": Reporting(prompt="rewritten")}, enhance="ON"),
    _reporting("model by its slug", model="slug"),
    _reporting("model by its name", model="name"),
    _reporting("model absent", model="absent"),
    _reporting("another model each time", model="other"),
    _listing("never lists what the API made", lists="web_app"),
    _listing("a lag that differs", lag_spread_seconds=0.4),
    _listing("oldest first", order="oldest_first", must_adopt=True),
    _listing("in an order of its own", order="scattered", must_adopt=True),
    _listing("shuffled for every page", order="shuffled"),
    _listing("pages of 10", limit=10, must_adopt=True),
    _listing("pages of 10, oldest first", limit=10, order="oldest_first", must_adopt=True),
    _listing("pages of 5 that ignore the offset", limit=5, ignores_offset=True),
    _listing("every entry twice, pages of 10", limit=10, repeats=True, must_adopt=True),
    _listing("every other page is stale", stale_every=2, stale_seconds=0.6),
    _listing("entries vanish for a while", vanish_after_seconds=0.2, vanish_seconds=0.8),
    World(name="web app in between", account={"web_app_share": 0.5}, must_adopt=True),
    World(name="web app with the same prompts", account={"web_app_share": 0.5, "web_app_prompt": "same"}),
)

_ANSWERS = (
    *(
        _answered(f"accepted and answered {status}", "redirect_after", status=status)
        for status in (301, 302, 303, 307, 308)
    ),
    _refused(400, "invalid dimensions", code="bad-request"),
    _refused(400, "unexpected variable"),
    _refused(401, "Authentication hook unauthorized this request", code="access-denied"),
    _refused(402, "Insufficient balance"),
    _refused(403, "forbidden"),
    _refused(403, "content moderation filter: mug"),
    _refused(404, "Endpoint not found", code="not-found"),
    _refused(413, "payload too large"),
    _refused(422, "invalid prompt", code="validation-failed"),
    _refused(200, "Validation failed", "array", "VALIDATION_ERROR"),
    _refused(400, "Validation failed", "array", "VALIDATION_ERROR"),
    _refused(200, "Bad request", "object", "BAD_REQUEST"),
    _refused(403, "Bad request", "object", "BadRequestException"),
    _refused(500, "Service Error"),
    _refused(429, "Too many requests"),
    _refused(429, "Too many requests", retry_after=1),
    *(
        _answered(f"accepted and answered {status} as a page", "html_after", status=status)
        for status in (200, 403, 502)
    ),
    *(
        _answered(f"accepted and answered {status}, no error", "not_object", status=status, json={"ok": True})
        for status in (200, 403)
    ),
)

_IMAGES = (
    *(
        _images(f"images 2 s late, {shown}", images=2, images_late_seconds=2.0, late_images=shown)
        for shown in ("empty", "partial", "no_url")
    ),
    _images("FAILED 2 s before COMPLETE", failed_first_seconds=2.0),
    _images("FAILED for good", marker=FAILED_MARKER),
    _images("one image too many", extra_images=1),
    _images("fewer images", images=2, marker=WITHHELD_MARKER),
)

_PRICES = (
    _price("56 where 28 is quoted", credits_per_image=56, surprise=28),
    _price("280 where 28 is quoted", credits_per_image=280, surprise=252),
    World(name="56, and a cap on each run", account={"credits_per_image": 56}, faults=(), run_cap=280, surprise=28),
    *(
        _price(f"cost reported: {reported}", cap=280, faults=LOST_ANSWERS, cost_reported=reported)
        for reported in ("zero", "tenth", "tiny", "none", "negative", "words", "number", "changing")
    ),
    _price("cost reported in dollars", cap=280, faults=LOST_ANSWERS, cost_unit="DOLLARS"),
)

_STORES = (
    World(name="a store that was copied", copied=True),
    World(name="a paused guest", paused=True),
    World(name="a new key for the same account", new_key=True, must_adopt=True),
)

TABLE = (*_AS_EXPECTED, *_HISTORY, *_ANSWERS, *_IMAGES, *_PRICES, *_STORES)
"""What was seen, or reproduced, or promised by nobody."""

_EVERYTHING_ELSE = Reporting(
    size_multiple=16, seed="zero", time="local", utc_offset_hours=-5, prompt="cut", model="name"
)

OWN = (
    _reporting("seed as text", seed="text", must_adopt=True),
    _reporting("time as in a Date header", time="http"),
    _reporting("prompt shortened with dots", prompt="shortened"),
    World(
        name="prompts cut before they differ",
        account={"reporting": Reporting(prompt="cut", prompt_characters=30)},
        alike=True,
    ),
    _reporting("a Date header from a cache", clock_ahead_seconds=-HOUR, created_at_ahead_seconds=HOUR),
    World(name="everything reported otherwise at once", account={"reporting": _EVERYTHING_ELSE}),
    _reporting("only the history reports it otherwise", seed="zero", prompt="cut", only_history=True),
    World(
        name="reported rightly at first, otherwise later",
        later={"reporting": Reporting(seed="zero", prompt="cut", size_multiple=16)},
    ),
    World(
        name="a clock that is put right between runs",
        account={"reporting": Reporting(clock_ahead_seconds=10 * MINUTE)},
        later={"reporting": Reporting(clock_ahead_seconds=-10 * MINUTE)},
    ),
    World(name="never lists, later", later={"listing": Listing(lists="web_app")}),
    _listing("lists only what is complete", lists="complete"),
    _listing("lists nothing at all", lists="nothing"),
    _listing("lists only the newest 5", depth=5),
    World(name="one seed for all rows", shared_seed=True, must_adopt=True),
    World(name="one seed for all rows, prompts cut", shared_seed=True, account={"reporting": Reporting(prompt="cut")}),
    World(name="a gallery that is kept clean", account={"deletes_downloaded": True}),
    World(name="requests lost on their way", faults=(strikes("drop_before"), strikes("hang_before", 0.3, seconds=3.0))),
    World(
        name="requests lost, and a day passes",
        faults=(strikes("drop_before"), strikes("drop_after", 0.5)),
        passes=DAY + HOUR,
    ),
    World(
        name="refusals that are true and some that are not",
        faults=(
            strikes("error_before", status=400, code="bad-request", message="invalid dimensions"),
            strikes("error_after", status=400, code="bad-request", message="invalid dimensions"),
        ),
    ),
    World(
        name="429s that are true and some that are not",
        faults=(strikes("rate_limit", 2.0), strikes("error_after", status=429, message="Too many requests")),
    ),
    World(name="answers lost twice", faults=(strikes("drop_after", 2.5),)),
    World(
        name="lost answers at another price",
        account={"credits_per_image": 56},
        later={"credits_per_image": 28},
        cap=560,
        surprise=28,
    ),
    World(name="a price that changes", account={"price_cycle": (28, 56)}, faults=(), cap=560, surprise=28),
)
"""More of our own."""

WORLDS = (*TABLE, *OWN)

SHORT = tuple(
    world
    for world in WORLDS
    if world.name
    in (
        "only the very first answer is lost",
        "size rounded to 16",
        "another seed",
        "seed null",
        "local time, 5 h behind",
        "time with a zone",
        "time in milliseconds",
        "clock 6 min behind",
        "createdAt 6 min behind",
        "prompt spaced",
        "prompt cut",
        "prompt empty",
        "model by its name",
        "never lists what the API made",
        "a lag that differs",
        "oldest first",
        "pages of 10",
        "pages of 5 that ignore the offset",
        "every other page is stale",
        "web app with the same prompts",
        "accepted and answered 302",
        "accepted and answered 400 invalid dimensions",
        "accepted and answered 200 Validation failed, array",
        "accepted and answered 403 content moderation filter: mug",
        "accepted and answered 403 as a page",
        "accepted and answered 429 Too many requests",
        "images 2 s late, partial",
        "FAILED 2 s before COMPLETE",
        "one image too many",
        "56 where 28 is quoted",
        "56, and a cap on each run",
        "cost reported: zero",
        "cost reported: tiny",
        "a store that was copied",
        "a paused guest",
        "a new key for the same account",
        "reported rightly at first, otherwise later",
        "one seed for all rows",
        "requests lost, and a day passes",
        "refusals that are true and some that are not",
        "answers lost twice",
    )
)
"""One of each kind, for a test of a few minutes."""
