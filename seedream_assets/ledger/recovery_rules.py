"""Was an open intent bought? Judged from one reading of the account's history; never guessed.

1. *Bought*: an entry that nobody owns has the request's seed, and the prompt or the size besides. It is adopted. A
   request that was sent without a seed is never adopted by itself: prompt, size and time are not its alone.
2. *Not bought* is believed only of a history that proves itself: the reading reaches back past the request, and shows what
   Leonardo is known to have sold to this store since, some of it after the request.
3. Everything else is *uncertain*: an entry that may be the request's own, or a history that proves nothing. It costs a
   wait, and a person can decide; a wrong "no" costs money.

The history names no request of ours, and it need not show what was sent as it was sent. So a field that differs excludes
an entry only where generations of the same kind, whose ids Leonardo itself gave this store, stand in the same reading
with that field just as it was sent. What is not shown excludes nothing.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from seedream_assets.config.models import MODELS
from seedream_assets.ledger.events import Intent, id_in_key
from seedream_assets.leonardo.generations import Generation
from seedream_assets.leonardo.identity import derived_seed
from seedream_assets.wording import count_of

# What is known of a clock is known to a few minutes: a request can be on its way for a while before it is answered.
CLOCK_SLACK = timedelta(minutes=5)
# An intent that the store took so much later than it was written was copied, or its writer's clock is wrong.
MOVED_AFTER = timedelta(minutes=10)
A_DAY = timedelta(days=1)
# A request that is refused for now, or finds no connection, is tried again for less than half of it.
LONGEST_ON_ITS_WAY = timedelta(hours=1)
# An entry that shows late was seen to show so late once; the next may take longer.
LAGS_TO_WAIT = 10
# A prompt that was cut still says whose it is when so much is left of it.
SHORTEST_BEGINNING_CHARACTERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When an intent's request can have reached Leonardo, by the store's clock.

    Attributes:
        opened: The earlier of the intent's own time and the store's.
        closed: The last moment at which its owner can have sent it.
        is_moved: True where the object was copied, or its writer's clock is wrong: the times prove nothing.
    """

    opened: datetime
    closed: datetime
    is_moved: bool = False

    @classmethod
    def of(cls, intent: Intent, *, written_at: datetime, closed: datetime) -> Window:
        """The window of an intent that the store took at `written_at`."""
        opened = min(intent.at, written_at)
        return cls(opened=opened, closed=max(opened, closed), is_moved=written_at - intent.at > MOVED_AFTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one reading of the account's history showed.

    Attributes:
        generations: In the order in which the server listed them, each once.
        reaches_end: True when the list was read to its end.
        store_now: The store's clock when the reading began.
        api_now: The API's clock at the same time; None where it gave none.
        failure: Why it could not be read; None where it was.
    """

    generations: tuple[Generation, ...]
    reaches_end: bool
    store_now: datetime
    api_now: datetime | None = None
    failure: str | None = None

    def reaches_back_to(self, moment: datetime) -> bool:
        """True when nothing of this moment or later can lie beyond what was read: by order, or by the list's end."""
        if self.reaches_end:
            return True
        times = [generation.created_at for generation in self.generations]
        dated = [time for time in times if time is not None]
        in_order = len(dated) == len(times) and dated == sorted(dated, reverse=True)
        return bool(dated) and in_order and dated[-1] < moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """A generation that this store knows to have been bought.

    Attributes:
        intended_at: When its intent was written: the earlier of its own time and the store's.
        known_at: When its id was written, by the store's clock.
    """

    intended_at: datetime
    known_at: datetime

    @property
    def has_time(self) -> bool:
        """True where it is known to an hour when it was made: not where its objects were copied, or it was adopted late."""
        return self.known_at - self.intended_at <= LONGEST_ON_ITS_WAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the ledger knew after the history was read. Generations go by their ids as they stand in keys.

    Attributes:
        owners: The request that owns each generation.
        acknowledged: When each of them was bought.
        witnesses: The intents of those whose id came in Leonardo's own answer, as far as they were read.
        deleted: Those that the account does not know any more.
        rivals: The other open intents of the store.
        unread_rivals: Requests with an open intent that cannot be read, and so may have been sent with any seed.
    """

    owners: Mapping[str, str] = field(default_factory=dict)
    acknowledged: Mapping[str, Acknowledged] = field(default_factory=dict)
    witnesses: Mapping[str, Intent] = field(default_factory=dict)
    deleted: frozenset[str] = frozenset()
    rivals: tuple[Intent, ...] = ()
    unread_rivals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """It was bought: these generations are its own, oldest first. More than one means bought more than once."""

    generations: tuple[Generation, ...]


@dataclass(frozen=True, slots=True)
class NotBought:
    """Nothing was bought: proven."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertain:
    """This reading does not decide it.

    Attributes:
        reason: Why, and what would decide it.
        more_pages_help: True where the reading ended before it came to what is needed.
        unshown: What the reading should have shown, by id as in keys; it proves nothing unless these were deleted.
        shows_one_like_it: True where a request without a seed may not be sent again: an entry that nobody owns has its
            prompt, and no other size or time.
    """

    reason: str
    more_pages_help: bool = False
    shows_one_like_it: bool = False
    unshown: tuple[str, ...] = ()


Verdict = Adopt | NotBought | Uncertain


def quiet_seconds_needed(*, settle_seconds: float, longest_lag_seconds: float) -> float:
    """How long after a window has closed a reading has to begin before it can prove that nothing was bought."""
    return max(settle_seconds, LAGS_TO_WAIT * longest_lag_seconds)


def judge(
    intent: Intent,
    *,
    window: Window,
    reading: Reading,
    known: Known,
    quiet_seconds: float,
    needed_seconds: float,
    is_second_loss: bool = False,
) -> Verdict:
    """What one reading of the history says of one open intent.

    Args:
        intent: The open intent.
        window: When its request can have reached Leonardo.
        reading: Of the account that the intent was bought from.
        known: The ledger, read after the history: whatever request a generation belongs to, its intent stands there.
        quiet_seconds: How long after the window had closed the reading began, by the most cautious clock.
        needed_seconds: How long that has to be: `quiet_seconds_needed`.
        is_second_loss: True where an earlier attempt of this request was taken for not bought on a history's word.
    """
    if reading.failure:
        return Uncertain(reason=f"the account's history cannot be read: {reading.failure}")
    entries = _Entries(window, reading, known)
    trust = _Trust(intent, entries.witnesses)
    free = [entry for entry in entries.in_window if id_in_key(entry.id) not in known.owners]
    own = [entry for entry in reading.generations if known.owners.get(id_in_key(entry.id)) == intent.request_id]
    own += [entry for entry in free if _is_certain(intent, entry, trust, entries)]
    if own:
        return _adopt(intent, own, trust, known)
    like_it = [entry for entry in free if intent.seed is None and _is_like(intent, entry, trust, entries)]
    if like_it:
        return Uncertain(
            reason=f"generation {like_it[0].id} in the account's history has its prompt, and it was sent without a seed, "
            "which alone would show whose it is (leonardo.send_seed)",
            shows_one_like_it=True,
        )
    candidates = [entry for entry in free if _may_be(intent, entry, trust)]
    if candidates:
        return Uncertain(reason=_describe_candidate(intent, candidates[0], trust))
    if window.is_moved:
        return Uncertain(
            reason="its intent reached this store long after it was written: an adoption was taken back, the store was copied "
            "or restored, or the writer's clock was wrong. It is not bought again by itself"
        )
    if quiet_seconds < needed_seconds:
        return Uncertain(reason="the account's history has not had the time to show it")
    return (
        _doubt_reading(window, reading, known, entries, quiet_seconds)
        or _doubt_witnesses(window, reading, known, entries, is_second_loss=is_second_loss)
        or NotBought()
    )


class _Entries:
    """A reading's entries in the light of what is known: which are witnesses, and which can be of the window."""

    def __init__(self, window: Window, reading: Reading, known: Known) -> None:
        shown = {id_in_key(entry.id): entry for entry in reading.generations}
        self.shown = shown
        self.witnesses = [(shown[name], intent) for name, intent in known.witnesses.items() if name in shown]
        offsets = [
            entry.created_at - known.acknowledged[id_in_key(entry.id)].known_at
            for entry, _intent in self.witnesses
            if entry.created_at is not None and known.acknowledged[id_in_key(entry.id)].has_time
        ]
        by_date = reading.api_now - reading.store_now if reading.api_now else timedelta(0)
        # The time of an entry excludes it only where witnesses show how the history dates entries.
        self.earliest = window.opened + min([*offsets, by_date]) - CLOCK_SLACK if offsets else None
        self.earliest_by_date = window.opened + by_date - CLOCK_SLACK
        self.in_window = [
            entry
            for entry in reading.generations
            if self.earliest is None or entry.created_at is None or entry.created_at >= self.earliest
        ]

    def is_surely_in_window(self, entry: Generation) -> bool:
        """True where the entry's time, taken as the API's own clock has it, does not lie before the window."""
        since = self.earliest_by_date if self.earliest is None else self.earliest
        return entry.created_at is None or entry.created_at >= since


class _Trust:
    """Which fields of the history can distinguish an entry from an intent's generation: those shown as they were sent."""

    def __init__(self, intent: Intent, witnesses: Iterable[tuple[Generation, Intent]]) -> None:
        kind = [(entry, sent) for entry, sent in witnesses if _kind_of(sent) == _kind_of(intent)]
        self.seed = _all_of(entry.seed == sent.seed for entry, sent in kind if entry.seed is not None)
        self.size = _all_of(
            not _has_other_size(sent, entry)
            for entry, sent in kind
            if (sent.width, sent.height) == (intent.width, intent.height) and None not in (entry.width, entry.height)
        )
        self.prompt = intent.prompt_enhance == "OFF" and _all_of(
            is_alike(sent.prompt, entry.prompt)
            for entry, sent in kind
            if len(sent.prompt) >= len(intent.prompt) and entry.prompt
        )
        self.models = {entry.model for entry, sent in kind if entry.model is not None}


def _kind_of(intent: Intent) -> tuple[str, str, bool, bool]:
    return intent.model, intent.prompt_enhance, bool(intent.references), intent.seed is None


def _all_of(shown: Iterable[bool]) -> bool:
    """True where something was shown, and all of it as it was sent."""
    found = list(shown)
    return bool(found) and all(found)


def _may_be(intent: Intent, entry: Generation, trust: _Trust) -> bool:
    """True unless a field that can be relied on differs. The derived seed is no coincidence, whatever else differs."""
    if _has_own_derived_seed(intent, entry):
        return True
    return not (
        (trust.seed and intent.seed is not None and entry.seed not in (None, intent.seed))
        or (trust.size and _has_other_size(intent, entry))
        or (trust.prompt and entry.prompt and not is_alike(intent.prompt, entry.prompt))
    )


def _is_certain(intent: Intent, entry: Generation, trust: _Trust, entries: _Entries) -> bool:
    """True for the seed and one thing more: of a seed that the row gave itself, the prompt, and no other size."""
    if intent.seed is None or entry.seed != intent.seed or _contradicts(intent, entry, trust):
        return False
    if _has_own_derived_seed(intent, entry):
        return _has_size(intent, entry) or is_alike(intent.prompt, entry.prompt)
    return _is_like(intent, entry, trust, entries)


def _is_like(intent: Intent, entry: Generation, trust: _Trust, entries: _Entries) -> bool:
    """True for the same prompt, of the request's time, and no other size."""
    same_prompt = plain_prompt(intent.prompt) == plain_prompt(entry.prompt)
    return same_prompt and not (trust.size and _has_other_size(intent, entry)) and entries.is_surely_in_window(entry)


def _contradicts(intent: Intent, entry: Generation, trust: _Trust) -> bool:
    """True where it holds more images than were asked for, or names a model that our own of that model do not."""
    other_model = entry.model is not None and bool(trust.models) and entry.model not in trust.models
    return len(entry.images) > intent.count or other_model


def _adopt(intent: Intent, own: list[Generation], trust: _Trust, known: Known) -> Verdict:
    twins = [rival for rival in known.rivals if any(_fits_twin(intent, rival, entry, trust) for entry in own)]
    if twins:
        return Uncertain(
            reason=f"generation {own[0].id} in the account's history fits this request and {len(twins)} other open "
            "one(s), which differ only in what the history does not show"
        )
    # A derived seed is one request's alone; one that the row gave may be the unread request's as well.
    found_by_row_seed = any(
        id_in_key(entry.id) not in known.owners and not _has_own_derived_seed(intent, entry) for entry in own
    )
    if found_by_row_seed and known.unread_rivals:
        return Uncertain(
            reason=f"generation {own[0].id} in the account's history fits this request, and may fit request "
            f"{known.unread_rivals[0][:12]} as well, whose open intent cannot be read"
        )
    oldest_first = sorted(own, key=lambda entry: (entry.created_at is not None, entry.created_at, entry.id))
    return Adopt(generations=tuple(oldest_first))


def _fits_twin(intent: Intent, rival: Intent, entry: Generation, trust: _Trust) -> bool:
    other_seed = rival.seed is not None and rival.seed != entry.seed
    if rival.request_id == intent.request_id or other_seed or not _may_be(rival, entry, trust):
        return False
    # A prompt that stands word for word is its owner's, and not another's that was cut or rewritten.
    return plain_prompt(intent.prompt) != plain_prompt(entry.prompt) or plain_prompt(rival.prompt) == plain_prompt(
        entry.prompt
    )


def _doubt_reading(
    window: Window, reading: Reading, known: Known, entries: _Entries, quiet_seconds: float
) -> Uncertain | None:
    """Why this reading does not show everything that it would have to show; None where it does."""
    missing = [
        name for name, bought in known.acknowledged.items() if _should_show(bought, window, reading, quiet_seconds)
    ]
    missing = [name for name in missing if name not in entries.shown and name not in known.deleted]
    if missing:
        return Uncertain(
            reason=f"the account's history does not show generation {missing[0]}, which Leonardo has acknowledged, so what "
            "it does not show may have been bought too",
            more_pages_help=not reading.reaches_end,
            unshown=tuple(missing),
        )
    if not entries.witnesses:
        return Uncertain(
            reason="the account's history shows nothing that is known to have been bought; the next image that is bought "
            "will show more",
            more_pages_help=not reading.reaches_end,
        )
    if not reading.reaches_end and (entries.earliest is None or not reading.reaches_back_to(entries.earliest)):
        return Uncertain(
            reason="the account's history could not be read back to the time of the submit", more_pages_help=True
        )
    return None


def _should_show(bought: Acknowledged, window: Window, reading: Reading, quiet_seconds: float) -> bool:
    """True for what was bought since the window opened, unless it is so young that its lag would not count yet."""
    age_seconds = (reading.store_now - bought.known_at).total_seconds()
    return bought.known_at >= window.opened and age_seconds > 0 and LAGS_TO_WAIT * age_seconds > quiet_seconds


def _doubt_witnesses(
    window: Window, reading: Reading, known: Known, entries: _Entries, *, is_second_loss: bool
) -> Uncertain | None:
    """Why what the reading shows is too old to speak of the time after the window; None where it is not."""
    sent_after = any(
        known.acknowledged[id_in_key(entry.id)].intended_at > window.closed for entry, _intent in entries.witnesses
    )
    a_day_later = _is_a_day_later(window, reading)
    if is_second_loss and not (sent_after and a_day_later):
        return Uncertain(
            reason="its answer was lost a second time; it is bought again a day later at the soonest, once an image that "
            "was bought after it shows in the account's history"
        )
    if not (sent_after or a_day_later):
        return Uncertain(
            reason="the account's history shows nothing yet that was bought after it; the next image that is bought will "
            "show more, or a run a day later"
        )
    return None


def _is_a_day_later(window: Window, reading: Reading) -> bool:
    """True where the store's clock and the API's both say so."""
    return (
        reading.api_now is not None
        and reading.store_now - window.closed >= A_DAY
        and reading.api_now - window.closed >= A_DAY
    )


def _describe_candidate(intent: Intent, entry: Generation, trust: _Trust) -> str:
    if intent.seed is None:
        why = "that was sent without a seed"
    elif entry.seed == intent.seed and len(entry.images) > intent.count:
        why = f"holds {count_of(len(entry.images), 'image')} where {intent.count} were asked for"
    elif entry.seed == intent.seed and _contradicts(intent, entry, trust):
        why = f"names another model, {entry.model}"
    elif entry.seed is None:
        why = "shows no seed"
    elif entry.seed == intent.seed:
        why = "shows another prompt or size"
    else:
        why = "shows another seed, and the history is not known to show seeds as they were sent"
    return f"generation {entry.id} in the account's history may be this request's, but {why}"


def _has_own_derived_seed(intent: Intent, entry: Generation) -> bool:
    """True for the seed that belongs to this request alone. A request whose row gives a seed has none."""
    derived = intent.model in MODELS and intent.seed == derived_seed(intent.request_id, MODELS[intent.model])
    return derived and entry.seed == intent.seed


def _has_size(intent: Intent, entry: Generation) -> bool:
    return (entry.width, entry.height) == (intent.width, intent.height)


def _has_other_size(intent: Intent, entry: Generation) -> bool:
    """True where a side is shown that is not the one asked for."""
    return entry.width not in (None, intent.width) or entry.height not in (None, intent.height)


def is_alike(sent: str, shown: str) -> bool:
    """True when two prompts are one but for their spelling, or one is the beginning of the other."""
    first, second = sorted((plain_prompt(sent), plain_prompt(shown)), key=len)
    return first == second or (len(first) >= SHORTEST_BEGINNING_CHARACTERS and second.startswith(first))


def plain_prompt(prompt: str) -> str:
    """A prompt without what may change on its way: Unicode forms, escapes, case, white space."""
    return " ".join(unicodedata.normalize("NFKC", html.unescape(prompt)).casefold().split())
