"""What a person decides with the account before their eyes: adopt a generation, take it back, end what was deleted.

Nothing is written before Leonardo was asked about the generation, where that can show a mistake.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from seedream_assets.config.account import LeonardoSettings
from seedream_assets.config.addresses import shown
from seedream_assets.config.models import MODELS, credits_for
from seedream_assets.config.retry import repeat
from seedream_assets.errors import ConfigError, LeonardoRefused, ObjectUnreadable
from seedream_assets.ledger.account import is_known_account
from seedream_assets.ledger.by_hand import (
    NotByHand,
    by_hand,
    not_to_be_decided,
    open_and_abandoned,
    refuse_in_hands,
    run_by_hand,
)
from seedream_assets.ledger.events import (
    REQUESTS_FOLDER,
    Completed,
    EventKey,
    Failed,
    Intent,
    Retracted,
    Submitted,
    id_in_key,
    request_folder,
)
from seedream_assets.ledger.recovery_rules import is_alike
from seedream_assets.ledger.state import LedgerEntry, RequestState, in_force, owners_of
from seedream_assets.ledger.store import Ledger, claim_generation, final_key, free_generation
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.generations import Generation
from seedream_assets.storage.async_store import AsyncStore
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.wording import count_of

DELETED = "deleted in the account"
# A generation can take a moment to be found.
FOUND_AFTER_SECONDS = 60.0
# Other generations of the store that are looked for, to see that the key is the right account's.
MOST_WITNESSES = 5
Likeness = Literal["same", "differs", "not shown"]
# A generation begins after its intent; its clock need not be the writer's. A submit is tried again for minutes.
EARLIEST = timedelta(minutes=-5)
LATEST = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedField:
    """One thing that a request and a generation can be compared by, as texts that may be shown."""

    name: str
    request: str
    generation: str
    likeness: Likeness


BookAgain = Callable[[Ledger, AsyncStore, Intent], Awaitable[None]]
OnCompared = Callable[[Sequence[ComparedField]], None]


def adopt_generation(
    store: ObjectStore,
    request_id: str,
    generation_id: str,
    leonardo: LeonardoSettings | None,
    *,
    book_again: BookAgain,
    force: bool = False,
    on_compared: OnCompared = lambda _fields: None,
) -> LedgerEntry:
    """Record that this generation is what an open request bought; the next run polls and stores it.

    One that was released and that nobody has begun anew can be adopted for as well: it was bought after all.

    Args:
        store, request_id: Whose ledger, and the request's whole id.
        generation_id: As the account shows it.
        leonardo: The account, which is asked for the generation first.
        book_again: Counts what was released, and so given back to its dataset's caps, as bought after all.
        force: Adopt it also where something differs.
        on_compared: Shown request and generation side by side, before anything is refused or written.

    Raises:
        NotByHand: The request is neither open nor released, or a run works on it; the account does not know the generation; it is
            another request's; or it differs and `force` is not given. Nothing was written. Or the budget log cannot be
            read, and what was released could not be counted again; the generation is claimed, and repeating it goes on.
        ConfigError: There is no key.
        AnotherAccount: The store is bought from another account than the key's.
        LeonardoError: Leonardo did not answer.
    """

    async def adopt(ledger: Ledger, async_store: AsyncStore) -> LedgerEntry:
        intent = await _adoptable(ledger, async_store, request_id)
        await _is_right_account(leonardo, async_store)
        generation = await _look_up(leonardo, generation_id)
        if generation is None:
            raise NotByHand(
                f"Leonardo knows no generation {generation_id} on this key's account; copy the id from the account's history"
            )
        fields = compare_with_generation(intent, generation)
        on_compared(fields)
        await _claim(async_store, generation.id, request_id, different=None if force else why_not_the_same(fields))
        if (await ledger.entry(request_id)).state is RequestState.FREE:
            try:
                await book_again(ledger, async_store, intent)
            except ObjectUnreadable as error:
                raise NotByHand(str(error)) from error
        await ledger.write(
            Submitted(
                request_id=request_id,
                attempt=intent.attempt,
                at=datetime.now(UTC),
                writer=by_hand(),
                generation_id=generation.id,
                adopted=True,
            )
        )
        return await ledger.entry(request_id)

    return run_by_hand(store, adopt)


async def _claim(async_store: AsyncStore, generation_id: str, request_id: str, *, different: str | None) -> None:
    """Make the generation this request's, or refuse where it is another's, or where something is different."""
    owner = owners_of(await _all_keys(async_store)).get(id_in_key(generation_id))
    if owner is not None:
        raise NotByHand(f"generation {generation_id} belongs to request {owner}; `seedream ledger retract` undoes that")
    if different:
        raise NotByHand(
            f"generation {generation_id} does not look like what request {request_id} bought: {different}; "
            "if it is all the same, add --force"
        )
    if not await claim_generation(async_store, generation_id, request_id):
        raise NotByHand(
            f"generation {generation_id} is claimed by another request; if that was a mistake, repeat the "
            "`seedream ledger retract` that was to take it back"
        )


async def _adoptable(ledger: Ledger, store: AsyncStore, request_id: str) -> Intent:
    """The intent that a generation can be adopted for: of an open attempt, or of the latest one that was released."""
    entry = await ledger.entry(request_id)
    if entry.state is not RequestState.FREE or entry.attempt == 0:
        return await open_and_abandoned(ledger, store, request_id)
    intent = await ledger.read_intent(request_id, entry.attempt - 1)
    await refuse_in_hands(intent.writer, store, request_id)
    return intent


def retract_adoption(store: ObjectStore, request_id: str, generation_id: str, reason: str) -> LedgerEntry:
    """Take an adoption back, also after its images were stored. Another request, or this one again, can adopt it then.

    The request is open again, as a further attempt with the same intent: what its own POST came to is as unknown as it
    was. Repeating it finishes what was cut off.

    Args:
        store, request_id: Whose ledger, and the request's whole id.
        generation_id: What was adopted.
        reason: How the person knows; stands in the ledger for good.

    Raises:
        NotByHand: It is not the request's, the answer to its POST named it, or a run works on it. Nothing was written.
    """

    async def retract(ledger: Ledger, async_store: AsyncStore) -> LedgerEntry:
        keys = await _keys_of(async_store, request_id)
        name = id_in_key(generation_id)
        # In the order of their keys: the latest attempt is the last.
        held = [key for key in in_force(keys) if key.event == "submitted" and key.generation == name]
        if held:
            await _take_back(ledger, async_store, request_id, keys, held[-1], reason)
        elif not any(key.event == "retracted" and key.generation == name for key in keys):
            raise NotByHand(f"request {request_id} has adopted no generation {generation_id}")
        await free_generation(async_store, generation_id, request_id)
        return await ledger.entry(request_id)

    return run_by_hand(store, retract)


async def _take_back(
    ledger: Ledger, store: AsyncStore, request_id: str, keys: Sequence[EventKey], held: EventKey, reason: str
) -> None:
    entry = await ledger.entry(request_id)
    if entry.state is RequestState.UNKNOWN:
        raise not_to_be_decided(request_id, entry)
    submits = await ledger.read_submitted(request_id, held.attempt)
    submitted = next(submit for submit in submits if id_in_key(submit.generation_id) == held.generation)
    if not submitted.adopted:
        raise NotByHand(
            f"Leonardo's own answer to request {request_id} named generation {submitted.generation_id}: that is what it "
            "bought, and there is no adoption to take back"
        )
    intent = await ledger.read_intent(request_id, held.attempt)
    if not entry.is_final:
        for writer in (intent.writer, submitted.writer):
            await refuse_in_hands(writer, store, request_id)
    is_only_one = len(submits) == 1
    if entry.is_final and entry.attempt == held.attempt and not is_only_one:
        await _refuse_if_its_images(ledger, request_id, entry, submitted)
    of_attempt = {key.event for key in keys if key.attempt == held.attempt}
    if is_only_one and held.attempt == max(key.attempt for key in keys) and "released" not in of_attempt:
        # First: with the retraction alone, the attempt would be void and nothing would say what is to become of it.
        await ledger.write(replace(intent, attempt=held.attempt + 1))
    retracted = Retracted(
        request_id=request_id,
        attempt=held.attempt,
        at=datetime.now(UTC),
        writer=by_hand(),
        generation_id=submitted.generation_id,
        reason=reason,
    )
    await ledger.write(retracted)


async def _refuse_if_its_images(ledger: Ledger, request_id: str, entry: LedgerEntry, submitted: Submitted) -> None:
    ending = await ledger.read(final_key(request_id, entry))
    if isinstance(ending, Completed | Failed) and ending.generation_id == submitted.generation_id:
        raise NotByHand(
            f"request {request_id} was bought twice and ended as generation {submitted.generation_id} did; taken back, its "
            "end would count as the other's. Leave it as it is"
        )


def end_deleted(
    store: ObjectStore, request_id: str, reason: str, leonardo: LeonardoSettings | None, *, force: bool = False
) -> LedgerEntry:
    """End a request whose generation was deleted in the account: it is `failed` for good, and never bought again unasked.

    Args:
        store, request_id: Whose ledger, and the request's whole id.
        reason: What the person knows of it; stands in the ledger for good.
        leonardo: The account, which must not know the generation any more.
        force: End it although the key finds no other generation of this store, which would show that it is of the
            right account.

    Raises:
        NotByHand: The request is not submitted, a run works on it, the account still knows the generation, or does not
            know the others either. Nothing was written.
        ConfigError: There is no key.
        AnotherAccount: The store is bought from another account than the key's.
        LeonardoError: Leonardo did not answer.
    """

    async def end(ledger: Ledger, async_store: AsyncStore) -> LedgerEntry:
        entry = await ledger.entry(request_id)
        if entry.state is not RequestState.SUBMITTED:
            raise NotByHand(
                f"request {request_id} is {entry.state.value}, not submitted; only what is paid for and gone is ended"
            )
        intent = await ledger.read_intent(request_id, entry.attempt)
        submits = await ledger.read_submitted(request_id, entry.attempt)
        for writer in (intent.writer, *(submit.writer for submit in submits)):
            await refuse_in_hands(writer, async_store, request_id)
        is_right = await _is_right_account(leonardo, async_store)
        await _refuse_if_known(leonardo, request_id, submits)
        if not force and not is_right and not await _knows_others(leonardo, async_store, entry):
            raise NotByHand(
                f"this key finds no other generation of {store.url} either, so it may be another account's; "
                "if it is the right one, add --force"
            )
        await ledger.write(_ended(intent, submits[0], reason))
        return await ledger.entry(request_id)

    return run_by_hand(store, end)


async def _refuse_if_known(leonardo: LeonardoSettings | None, request_id: str, submits: Sequence[Submitted]) -> None:
    for submit in submits:
        if (datetime.now(UTC) - submit.at).total_seconds() < FOUND_AFTER_SECONDS:
            raise NotByHand(f"request {request_id} was submitted a moment ago, and may not be found yet; wait a minute")
        known = await _look_up(leonardo, submit.generation_id)
        if known is not None:
            raise NotByHand(
                f"Leonardo knows generation {submit.generation_id}: {known.status.value}, {count_of(len(known.images), 'image')}; the "
                "next run goes on with it"
            )


async def _is_right_account(leonardo: LeonardoSettings | None, store: AsyncStore) -> bool:
    """True where the store says that it is this key's account's; False where it is from before stores said so."""
    async with _client(leonardo) as client:
        account = await repeat(client.read_account, sleep=asyncio.sleep)
    return await is_known_account(store, account.user_id)


async def _knows_others(leonardo: LeonardoSettings | None, store: AsyncStore, entry: LedgerEntry) -> bool:
    """True where the key finds another generation that this store has bought. Ids are in order of time."""
    others = sorted(owners_of(await _all_keys(store)).keys() - set(entry.generations), reverse=True)
    for generation_id in others[:MOST_WITNESSES]:
        if await _look_up(leonardo, generation_id) is not None:
            return True
    return False


def _ended(intent: Intent, submitted: Submitted, reason: str) -> Failed:
    model = MODELS.get(intent.model)
    return Failed(
        request_id=intent.request_id,
        attempt=intent.attempt,
        at=datetime.now(UTC),
        writer=by_hand(),
        generation_id=submitted.generation_id,
        count=intent.count,
        credits_quoted=credits_for(model, intent.count) if model and model.price else intent.credits_reserved,
        dataset=intent.dataset,
        run_id=intent.run_id,
        dagster_run_id=intent.dagster_run_id,
        cost_amount=submitted.cost_amount,
        cost_unit=submitted.cost_unit,
        submitted_at=submitted.at,
        reason=f"{DELETED}: {reason}",
    )


def _client(leonardo: LeonardoSettings | None) -> LeonardoClient:
    if leonardo is None:
        raise ConfigError(
            "no Leonardo key: set LEONARDO_API_KEY; the generation is looked up before anything is written"
        )
    return LeonardoClient(leonardo)


async def _look_up(leonardo: LeonardoSettings | None, generation_id: str) -> Generation | None:
    """A generation as the account shows it now; None where it knows none of this id, or calls it no id at all."""
    asked = generation_id.strip()
    if not asked:
        return None
    async with _client(leonardo) as client:
        try:
            found = await repeat(lambda: client.read_generation(asked), sleep=asyncio.sleep)
        except LeonardoRefused as error:
            if type(error) is not LeonardoRefused:
                raise  # the key
            return None
    # Written down as the account spells it, so that it is known again.
    return None if found is None else replace(found, id=found.id or asked)


async def _all_keys(store: AsyncStore) -> list[EventKey]:
    return [key for info in await store.list(f"{REQUESTS_FOLDER}/") if (key := EventKey.parse(info.key))]


async def _keys_of(store: AsyncStore, request_id: str) -> list[EventKey]:
    return [key for info in await store.list(request_folder(request_id)) if (key := EventKey.parse(info.key))]


def compare_with_generation(intent: Intent, generation: Generation) -> tuple[ComparedField, ...]:
    """Prompt, seed, size, time and images of a request and of a generation, side by side."""
    size = None if None in (generation.width, generation.height) else (generation.width, generation.height)
    return (
        _field(
            "prompt",
            shown(intent.prompt),
            shown(generation.prompt) if generation.prompt else None,
            is_same=is_alike(intent.prompt, generation.prompt),
        ),
        _field(
            "seed",
            "not sent" if intent.seed is None else str(intent.seed),
            None if intent.seed is None else _text(generation.seed),
            is_same=intent.seed == generation.seed,
        ),
        _field(
            "size",
            f"{intent.width}x{intent.height}",
            None if size is None else f"{size[0]}x{size[1]}",
            is_same=size == (intent.width, intent.height),
        ),
        _field(
            "time",
            _moment(intent.at),
            _moment(generation.created_at) if generation.created_at else None,
            is_same=generation.created_at is not None and EARLIEST <= generation.created_at - intent.at <= LATEST,
        ),
        # Fewer are no difference: they may be late, or moderated.
        _field(
            "images",
            str(intent.count),
            str(len(generation.images)) if generation.images else None,
            is_same=len(generation.images) <= intent.count,
        ),
    )


def why_not_the_same(fields: Sequence[ComparedField]) -> str | None:
    """What speaks against it; None where nothing does, and prompt or seed speaks for it."""
    different = [field.name for field in fields if field.likeness == "differs"]
    if different:
        return f"{' and '.join(different)} differ" if len(different) > 1 else f"the {different[0]} differs"
    if not any(field.name in ("prompt", "seed") and field.likeness == "same" for field in fields):
        return "Leonardo shows neither its prompt nor its seed"
    return None


def _field(name: str, request: str, generation: str | None, *, is_same: bool) -> ComparedField:
    likeness: Likeness = "not shown" if generation is None else "same" if is_same else "differs"
    return ComparedField(name=name, request=request, generation=generation or "not shown", likeness=likeness)


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
