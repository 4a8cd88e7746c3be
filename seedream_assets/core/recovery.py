"""Was an open intent bought? Judged from the account's own history; never guessed.

The history names no request of ours: a generation is recognised by seed, size and prompt. Seeds are derived from the
request's id unless a row gives its own, so a match is ours beyond doubt except for twins: requests that differ only
in what the history does not show (style, references, a prompt that was rewritten) and carry the same row's seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from seedream_assets.core.generation_requests import derived_seed
from seedream_assets.core.generations import Generation
from seedream_assets.core.ledger_events import Intent, id_in_key
from seedream_assets.core.models import MODELS

# The store's clock and Leonardo's need not agree to the second.
CLOCK_SLACK = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """It was bought: these generations are its own, oldest first. More than one means bought more than once."""

    generations: tuple[Generation, ...]


@dataclass(frozen=True, slots=True)
class NotBought:
    """Nothing was bought, as far as the history looked at can tell; final only once the history has settled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """It cannot be told; a person has to look."""

    reason: str


Verdict = Adopt | NotBought | Unclear


def judge(
    intent: Intent,
    *,
    written_at: datetime,
    history: Sequence[Generation],
    reaches_back: bool,
    owners: Mapping[str, str],
    rivals: Iterable[Intent],
) -> Verdict:
    """What the history says of one open intent.

    Args:
        intent: The open intent.
        written_at: When it was put down, by the store's clock.
        history: The account's generations, in any order.
        reaches_back: True when the history was read back to `written_at` or to its end.
        owners: The request that owns each generation known to the ledger, by the generation's id as in keys.
        rivals: The other open intents of the store.
    """
    since = written_at - CLOCK_SLACK
    free = [
        generation
        for generation in history
        if owners.get(id_in_key(generation.id), intent.request_id) == intent.request_id
        and (generation.created_at is None or generation.created_at >= since)
        and _may_be(intent, generation)
    ]
    certain = [generation for generation in free if generation.seed == intent.seed and _fits(intent, generation)]
    if certain:
        twins = [rival for rival in rivals if any(_may_be_either(intent, rival, found) for found in certain)]
        if twins:
            return Unclear(
                reason=f"generation {certain[0].id} in the account's history fits this request and "
                f"{len(twins)} other open one(s), which differ only in what the history does not show"
            )
        return Adopt(generations=tuple(sorted(certain, key=lambda found: (found.created_at or written_at, found.id))))
    if free:
        return Unclear(
            reason=f"generation {free[0].id} in the account's history may be this request's, but shows no seed or another "
            "prompt"
        )
    if not reaches_back:
        return Unclear(reason="the account's history could not be read back to the time of the submit")
    return NotBought()


def _may_be(intent: Intent, generation: Generation) -> bool:
    if generation.seed is not None and generation.seed != intent.seed:
        return False
    if generation.width not in (intent.width, None) or generation.height not in (intent.height, None):
        return False
    # The same derived seed and size are no chance, whatever became of the prompt on its way into the history.
    derived = intent.model in MODELS and intent.seed == derived_seed(intent.request_id, MODELS[intent.model])
    return _fits(intent, generation) or (derived and generation.seed is not None)


def _fits(intent: Intent, generation: Generation) -> bool:
    # A prompt that Leonardo was asked to rewrite may stand in the history rewritten.
    return _same_prompt(intent, generation) or (intent.prompt_enhance != "OFF" and generation.seed is not None)


def _same_prompt(intent: Intent, generation: Generation) -> bool:
    return generation.prompt.strip() == intent.prompt.strip()


def _may_be_either(intent: Intent, rival: Intent, generation: Generation) -> bool:
    if rival.request_id == intent.request_id or not _may_be(rival, generation):
        return False
    # A rival whose prompt was to be rewritten fits every prompt; one that stands there word for word is its owner's.
    return not _same_prompt(intent, generation) or _same_prompt(rival, generation)
