"""The account's history against the ledger, both ways: what each has that the other does not know. Pure.

A generation is planned where a request of a plan has derived the same seed, and prompt, size and number of images are the
same: such a seed is no chance. A row's own seed proves nothing here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from seedream_assets.config.models import ModelCatalog
from seedream_assets.ledger.events import id_in_key
from seedream_assets.ledger.recovery_rules import plain_prompt
from seedream_assets.ledger.state import LedgerEntry, RequestState
from seedream_assets.leonardo.generations import Generation, GenerationStatus
from seedream_assets.leonardo.identity import derived_seed
from seedream_assets.leonardo.requests import GenerationRequest

DifferenceKind = Literal["not_in_ledger", "not_in_account"]
# What the server calls a model is not what a create says: an estimate of a model that nobody planned takes this one.
USUAL_MODEL = "seedream-4.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A request of a plan that nobody has bought, as far as the ledger knows.

    Attributes:
        entry: Free or open.
    """

    request: GenerationRequest
    dataset: str
    partition: str
    entry: LedgerEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class NotInLedger:
    """A generation of the account that no request of the ledger owns.

    Attributes:
        credits: An estimate at the price list; 0 for a job that failed.
        planned: The request that it equals.
    """

    generation: Generation
    credits: int
    planned: Planned | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotInAccount:
    """A generation that a request of the ledger owns and that the account does not have."""

    request_id: str
    generation_id: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What the comparison came to.

    Attributes:
        since: Where it began.
        whole: True where the history was read back to there; else more may differ.
        account: Its id.
        balance: As the account tells it now; None where it does not. `balance_unit` is its unit.
        agreeing: Generations that both know.
        open_requests: Requests of the ledger of which it is not known whether they were bought.
    """

    since: datetime
    whole: bool
    account: str
    balance: Decimal | None
    balance_unit: str
    agreeing: int
    open_requests: int
    not_in_ledger: tuple[NotInLedger, ...]
    not_in_account: tuple[NotInAccount, ...]

    @property
    def agrees(self) -> bool:
        """True where nothing differs and everything was compared."""
        return self.whole and not self.not_in_ledger and not self.not_in_account

    @property
    def credits_not_in_ledger(self) -> int:
        """What the account's unknown generations cost, by estimate."""
        return sum(one.credits for one in self.not_in_ledger)


def find_not_in_ledger(
    history: Iterable[Generation],
    *,
    since: datetime,
    owners: Mapping[str, str],
    planned: Iterable[Planned],
    models: ModelCatalog,
) -> Iterator[NotInLedger]:
    """The generations since a date that nobody owns, oldest first; one whose time is not told counts as within.

    Args:
        history: Of the account, in any order.
        since: The first moment.
        owners: The request that owns each generation, by the generation's id as in keys.
        planned: What a generation may be; a request that two equal is given to neither.
        models: For the price list.
    """
    unknown = [
        one
        for one in history
        if id_in_key(one.id) not in owners and (one.created_at is None or one.created_at >= since)
    ]
    by_seed: dict[int, list[Planned]] = {}
    for candidate in planned:
        by_seed.setdefault(candidate.request.seed, []).append(candidate)
    equal = {
        one.id: [
            found for found in by_seed.get(-1 if one.seed is None else one.seed, ()) if is_equal(found, one, models)
        ]
        for one in unknown
    }
    claims = [found.request.request_id for several in equal.values() for found in several]
    for one in sorted(unknown, key=lambda generation: (generation.created_at or since, generation.id)):
        alone = [found for found in equal[one.id] if claims.count(found.request.request_id) == 1]
        yield NotInLedger(
            generation=one,
            credits=_estimate(one, alone[0] if len(alone) == 1 else None, models),
            planned=alone[0] if len(alone) == 1 else None,
        )


def is_equal(planned: Planned, generation: Generation, models: ModelCatalog) -> bool:
    """True where a finished generation is what this request would have bought."""
    request = planned.request
    model = models.get(request.spec.model)
    return (
        planned.entry.state in (RequestState.FREE, RequestState.OPEN)
        and model is not None
        and generation.status is GenerationStatus.COMPLETE
        and generation.seed == request.seed == derived_seed(request.request_id, model)
        and (generation.width, generation.height) == (request.spec.width, request.spec.height)
        and len(generation.images) == request.count
        and plain_prompt(generation.prompt) == plain_prompt(request.spec.prompt)
    )


def find_not_in_account(
    owned: Mapping[str, NotInAccount], *, shown: Collection[str], found: Collection[str]
) -> list[NotInAccount]:
    """What the ledger owns and the account has not: neither in its history, nor by its own id.

    Args:
        owned: What the ledger knows since the date, by the generation's id as in keys.
        shown: Ids as in keys that the history shows.
        found: Ids as in keys that the account knows when it is asked for each.
    """
    return [one for key, one in sorted(owned.items()) if key not in shown and key not in found]


def _estimate(generation: Generation, planned: Planned | None, models: ModelCatalog) -> int:
    if generation.status is GenerationStatus.FAILED:
        return 0
    model = models.get(planned.request.spec.model if planned else USUAL_MODEL)
    price = model.price.credits_per_image if model is not None and model.price is not None else 0
    return price * len(generation.images)
