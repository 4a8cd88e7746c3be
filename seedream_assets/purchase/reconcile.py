"""The account's history beside the ledger since a date: what each has that the other does not know.

A generation is planned where a request of a plan has derived the same seed, and prompt, size and number of images are the
same: such a seed is no chance. A row's own seed proves nothing here. Comparing reads alone; a planned generation can then
be given to its request. Nothing is bought in any case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from urllib.parse import unquote

from seedream_assets.budget.dataset_budget import DatasetBudget, book_again, booked_by_ledger
from seedream_assets.config.account import LeonardoSettings
from seedream_assets.config.models import ModelCatalog, credits_for
from seedream_assets.config.retry import Sleep, repeat
from seedream_assets.deployment import Deployment
from seedream_assets.errors import ConfigError, StoreError
from seedream_assets.ledger.account import StoreAccount, is_known_account, refuse_another_account
from seedream_assets.ledger.adopt import adopt_generation
from seedream_assets.ledger.by_hand import NotByHand, by_hand
from seedream_assets.ledger.events import REQUESTS_FOLDER, EventKey, Intent, Released, id_in_key, is_hashed_id
from seedream_assets.ledger.lease import is_gone, signed
from seedream_assets.ledger.recovery_rules import plain_prompt
from seedream_assets.ledger.state import LedgerEntry, RequestState, fold_all, in_force, owners_of
from seedream_assets.ledger.store import Ledger
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.generations import Generation, GenerationStatus
from seedream_assets.leonardo.identity import derived_seed
from seedream_assets.leonardo.requests import GenerationRequest
from seedream_assets.planning.plan import read_plan
from seedream_assets.storage.async_store import AsyncStore
from seedream_assets.storage.object_store import ObjectInfo, ObjectStore
from seedream_assets.storage.parquet import iterate_rows

# What the server calls a model is not what a create says: an estimate of a model that nobody planned takes this one.
USUAL_MODEL = "seedream-4.0"
HISTORY_PAGE = 50
# Generations that the history does not show are asked for one by one.
AT_ONCE = 8
RUN_ID = "reconcile"


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
        balance: As the account reports it now; None where it does not. `balance_unit` is its unit.
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
    """The generations since a date that nobody owns, oldest first; one without a time counts as within.

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
    by_seed: dict[int | None, list[Planned]] = {}
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


def reconcile(deployment: Deployment, *, since: datetime, sleep: Sleep = asyncio.sleep) -> Reconciliation:
    """Compare the account's history with the store's ledger. Reads only.

    Args:
        deployment: The store and the account.
        since: The first moment, aware.
        sleep: Waits so many seconds.

    Raises:
        ConfigError: There is no key.
        LeonardoError: The account or its history cannot be read.
        AnotherAccount: The store is another account's.
        StoreError: The ledger cannot be listed.
    """
    if deployment.leonardo is None:
        raise ConfigError("no Leonardo key: set LEONARDO_API_KEY; the account's history is asked for")
    return asyncio.run(_reconcile(deployment, deployment.leonardo, since, sleep))


async def _reconcile(
    deployment: Deployment, leonardo: LeonardoSettings, since: datetime, sleep: Sleep
) -> Reconciliation:
    store = deployment.store
    async with LeonardoClient(leonardo) as client:
        account = await repeat(client.read_account, sleep=sleep)
        await _refuse_another(store, account.user_id)
        history, whole = await _read_history(
            client, account.user_id, since=since, pages=deployment.engine.history_pages, sleep=sleep
        )
        # The ledger is read after the history: whatever a generation belongs to is in it by then.
        infos = await asyncio.to_thread(lambda: list(store.list(f"{REQUESTS_FOLDER}/")))
        keyed = {key: info for info in infos if (key := EventKey.parse(info.key))}
        entries = fold_all(keyed)
        owners = owners_of(list(keyed))
        owned = _owned_since(keyed, since)
        shown = {id_in_key(generation.id) for generation in history}
        found = await _known_by_id(client, owned.keys() - shown, sleep)
    planned = await asyncio.to_thread(lambda: list(_planned(store, entries, {one.seed for one in history})))
    not_in_ledger = find_not_in_ledger(history, since=since, owners=owners, planned=planned, models=deployment.models)
    return Reconciliation(
        since=since,
        whole=whole,
        account=account.user_id,
        balance=account.balance,
        balance_unit=leonardo.balance_unit,
        agreeing=len(shown & owners.keys()),
        open_requests=sum(entry.state is RequestState.OPEN for entry in entries.values()),
        not_in_ledger=tuple(not_in_ledger),
        not_in_account=tuple(find_not_in_account(owned, shown=shown, found=found)),
    )


async def _refuse_another(store: ObjectStore, account: str) -> None:
    async_store = AsyncStore(store, threads=1, sleep=asyncio.sleep)
    try:
        await is_known_account(async_store, account)
    finally:
        async_store.close()


async def _read_history(
    client: LeonardoClient, user_id: str, *, since: datetime, pages: int, sleep: Sleep
) -> tuple[list[Generation], bool]:
    """The account's generations, and whether all since a moment are among them."""
    found: dict[str, Generation] = {}
    offset = 0
    for _page in range(pages):

        async def read(at: int = offset) -> tuple[Generation, ...]:
            return (await client.read_history(user_id, offset=at, limit=HISTORY_PAGE)).generations

        batch = await repeat(read, sleep=sleep)
        found.update((generation.id, generation) for generation in batch)
        times = [generation.created_at for generation in batch if generation.created_at]
        # Newest first is not documented: only a page in that order proves that what comes after it is older.
        if not batch or (times and times == sorted(times, reverse=True) and times[-1] < since):
            return _since(found.values(), since), True
        offset += len(batch)
    return _since(found.values(), since), False


def _since(history: Collection[Generation], since: datetime) -> list[Generation]:
    return [one for one in history if one.created_at is None or one.created_at >= since]


def _owned_since(keyed: dict[EventKey, ObjectInfo], since: datetime) -> dict[str, NotInAccount]:
    """What the ledger has come to own since a moment, by the store's clock and the id as it stands in keys."""
    return {
        key.generation: NotInAccount(
            request_id=key.request_id, generation_id=key.generation, since=keyed[key].last_modified
        )
        for key in in_force(list(keyed))
        if key.event == "submitted"
        and key.generation
        and not is_hashed_id(key.generation)
        and keyed[key].last_modified >= since
    }


async def _known_by_id(client: LeonardoClient, ids: Collection[str], sleep: Sleep) -> set[str]:
    """Those that the account knows when it is asked for each by its id: a history can leave some out."""
    at_once = asyncio.Semaphore(AT_ONCE)

    async def is_known(generation_id: str) -> bool:
        async with at_once:
            found = await repeat(lambda: client.read_generation(generation_id), sleep=sleep)
        return found is not None

    wanted = sorted(ids)
    known = await asyncio.gather(*map(is_known, wanted))
    return {generation_id for generation_id, is_there in zip(wanted, known, strict=True) if is_there}


def _planned(store: ObjectStore, entries: dict[str, LedgerEntry], seeds: Collection[int | None]) -> Iterator[Planned]:
    """The requests of all datasets' latest plans that nobody has bought and whose seed the history shows."""
    seen: set[str] = set()
    for dataset in store.list_folders("datasets/"):
        folder = f"datasets/{dataset}/requests/"
        for info in store.list(folder):
            name = info.key.removeprefix(folder)
            if "/" in name or not name.endswith(".parquet"):
                continue
            # A plan that cannot be read plans nothing; who works on its dataset learns of it there.
            with suppress(StoreError):
                rows = (row for row in iterate_rows(store.read(info.key)) if row.get("seed") in seeds)
                for request, _ in read_plan(rows):
                    entry = entries.get(request.request_id) or LedgerEntry(state=RequestState.FREE, attempt=0)
                    if request.request_id not in seen and entry.state in (RequestState.FREE, RequestState.OPEN):
                        seen.add(request.request_id)
                        partition = _partition_of(name.removesuffix(".parquet"))
                        yield Planned(request=request, dataset=dataset, partition=partition, entry=entry)


def _partition_of(name: str) -> str:
    """A partition by its name in keys; one that was too long for a key is called as it is there."""
    return name if "=" in name else unquote(name)


def adopt_planned(deployment: Deployment, found: Reconciliation) -> tuple[list[str], list[str]]:
    """Give every generation that equals a planned request to it; the next run fetches its images, for nothing.

    A request that nobody has begun is begun by hand first: its credits are reserved in its dataset's budget log, whatever
    the caps say, since they are spent; then its intent is written, then it adopts. Cut off in between, it is an open
    request whose generation the next run finds and adopts.

    Returns:
        What was adopted, and what was not and why, a line each.
    """
    adopted, left = [], []
    for one in found.not_in_ledger:
        if one.planned is None:
            continue
        name = f"generation {one.generation.id} for request {one.planned.request.request_id[:12]}"
        try:
            if one.planned.entry.state is RequestState.FREE:
                asyncio.run(_begin_by_hand(deployment, one, one.planned, account=found.account))
            adopt_generation(
                deployment.store,
                one.planned.request.request_id,
                one.generation.id,
                deployment.leonardo,
                book_again=book_again,
            )
        except NotByHand as error:
            if one.planned.entry.state is RequestState.FREE:
                asyncio.run(_give_back(deployment, one.planned, str(error)))
            left.append(f"{name}: {error}")
        else:
            adopted.append(f"{name} of {one.planned.dataset}/{one.planned.partition}")
    return adopted, left


async def _begin_by_hand(deployment: Deployment, found: NotInLedger, planned: Planned, *, account: str) -> None:
    """Reserve and write the intent of a request that was bought without one.

    Raises:
        NotByHand: A run has begun it meanwhile; nothing was written.
    """
    request = planned.request
    credits = credits_for(deployment.models.find(request.spec.model), request.count)
    store = AsyncStore(deployment.store, threads=4, sleep=asyncio.sleep)
    try:
        ledger = Ledger(store)
        if deployment.leonardo is not None:
            mine = StoreAccount.of(account, deployment.leonardo.base_url)
            async with LeonardoClient(deployment.leonardo) as client:
                await refuse_another_account(store, client, mine, accepts_origin=deployment.accepts_origin)
        budget = DatasetBudget(
            store,
            dataset=planned.dataset,
            run_id=RUN_ID,
            limit=None,
            sign=by_hand,
            is_gone=lambda writer: is_gone(writer, store, lease_seconds=deployment.engine.lease_seconds),
            booked_for=booked_by_ledger(ledger, deployment.models),
        )
        await budget.open()
        number, refused = await budget.reserve({request.request_id: credits})
        if number is None:
            raise NotByHand(str(refused))
        intent = Intent.of_request(
            request,
            attempt=planned.entry.attempt,
            writer=by_hand(),
            # When it was bought, as the account says: whoever looks it up in the history begins there.
            at=found.generation.created_at,
            credits_reserved=credits,
            dataset=planned.dataset,
            partition=planned.partition,
            run_id=RUN_ID,
            account=account,
        )
        if not await ledger.write(intent):
            await budget.settle({number: 0})
            raise NotByHand("a run has begun it meanwhile; reconcile again when that has ended")
    finally:
        store.close()


async def _give_back(deployment: Deployment, planned: Planned, reason: str) -> None:
    """Release what was begun by hand and could not adopt; where the intent is a run's, that run decides."""
    store = AsyncStore(deployment.store, threads=4, sleep=asyncio.sleep)
    try:
        ledger, request_id, attempt = Ledger(store), planned.request.request_id, planned.entry.attempt
        entry = await ledger.entry(request_id)
        if (entry.state, entry.attempt) != (RequestState.OPEN, attempt):
            return
        if (await ledger.read_intent(request_id, attempt)).run_id == RUN_ID:
            header = signed(request_id, attempt, by_hand())
            await ledger.write(
                Released(**header, why="by_hand", reason=f"begun by reconcile, and not adopted: {reason}")
            )
    finally:
        store.close()
