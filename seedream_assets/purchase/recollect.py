"""Fetching what came late: images of requests that ended short, once they turn out to be there. Buys nothing.

A request that has ended is not looked at by any run again. Here its job is asked for once more, and what is there now and
was not then is stored and recorded as `recollected`; the next manifest has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count

from seedream_assets.config.account import EngineSettings, LeonardoSettings
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.retry import Sleep, repeat
from seedream_assets.errors import ConfigError, DownloadError, LeonardoError, ObjectUnreadable, StoreError
from seedream_assets.images.embed import C2PA, Embedding
from seedream_assets.ledger.account import is_known_account
from seedream_assets.ledger.by_hand import NotByHand, by_hand
from seedream_assets.ledger.events import (
    REQUESTS_FOLDER,
    Completed,
    EventKey,
    FinalEvent,
    Intent,
    LedgerImage,
    Recollected,
    request_folder,
)
from seedream_assets.ledger.state import (
    LedgerEntry,
    RequestState,
    fold_all,
    late_images,
    missing_positions,
    request_in_intent,
)
from seedream_assets.ledger.store import Ledger, read_endings, read_events
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.downloads import ImageDownloads
from seedream_assets.leonardo.generations import Generation
from seedream_assets.purchase.delivery import ByteBudget, Delivery, open_embedding
from seedream_assets.storage.async_store import AsyncStore
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.parquet import iterate_rows, naming
from seedream_assets.wording import count_of

AT_ONCE = 8
NOT_SIGNED = "it came late and was fetched without its dataset's YAML, so it is not signed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortRequest:
    """A request that ended with fewer images than it was bought for."""

    entry: LedgerEntry
    intent: Intent
    ending: FinalEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Recollection:
    """What became of one such request.

    Attributes:
        lacked: Images that were not stored.
        fetched: Of these, those that are stored now.
        reason: Why not all of them; None where none lacks any more.
        failed: True where that could not be found out, or not be fetched; repeating it may help.
    """

    request_id: str
    dataset: str
    partition: str
    lacked: int
    fetched: int
    reason: str | None
    failed: bool = False


def find_short(
    store: ObjectStore,
    *,
    request_id: str | None = None,
    dataset: str | None = None,
    on_problem: Callable[[str], None] = lambda _problem: None,
) -> list[ShortRequest]:
    """The requests that were paid for and ended with fewer images than asked for.

    Failed ones are known by one listing of the ledger. Completed ones that lack images are looked for in the manifests:
    what no manifest wants any more has to be named.

    Args:
        store: Where ledger and manifests are.
        request_id: This one alone, whole.
        dataset: Those alone that were bought for it.
        on_problem: Called with each object that cannot be read; what hangs on it is left out, and the others go on.

    Raises:
        NotByHand: The request that is named has not ended, or lacks nothing.
    """
    if request_id is None:
        entries = _ended_short(store, on_problem)
    else:
        entries = _entries(store, request_folder(request_id))
        entry = entries.get(request_id)
        if entry is None or not entry.is_final:
            state = entry.state.value if entry else "unknown to the ledger"
            raise NotByHand(f"request {request_id} is {state}; only what has ended can have images that came late")

    def left_out(error: ObjectUnreadable) -> None:
        if request_id is not None:
            raise error
        on_problem(str(error))

    keys = [f"{request_folder(name)}{found.attempt:02d}-intent.json" for name, found in entries.items()]
    read = read_events(store, keys, on_unreadable=left_out)
    intents = {event.request_id: event for event in read if isinstance(event, Intent)}
    short = [
        ShortRequest(entry=entries[ending.request_id], intent=intents[ending.request_id], ending=ending)
        for ending in read_endings(store, entries, on_unreadable=left_out)
        if ending.request_id in intents and ending.generation_id and missing_positions(ending)
    ]
    short = [one for one in short if dataset in (None, one.intent.dataset)]
    if request_id is not None and not short:
        raise NotByHand(f"request {request_id} lacks no image that was paid for")
    return short


def _ended_short(store: ObjectStore, on_problem: Callable[[str], None]) -> dict[str, LedgerEntry]:
    withheld = _withheld(store, on_problem)
    return {
        name: entry
        for name, entry in _entries(store, f"{REQUESTS_FOLDER}/").items()
        if (entry.state in (RequestState.FAILED, RequestState.BLOCKED) and entry.generations)
        or (entry.state is RequestState.COMPLETED and name in withheld)
    }


def _entries(store: ObjectStore, prefix: str) -> dict[str, LedgerEntry]:
    return fold_all(key for info in store.list(prefix) if (key := EventKey.parse(info.key)))


def _withheld(store: ObjectStore, on_problem: Callable[[str], None]) -> set[str]:
    """The requests of which a manifest says that an image was withheld."""
    found: set[str] = set()
    datasets = store.list_folders("datasets/")
    infos = (info for name in datasets for info in store.list(f"datasets/{name}/manifest/"))
    for key in (info.key for info in infos if info.key.endswith(".parquet")):
        try:
            with naming(key, remedy="the next `seedream run` builds it anew, for nothing"):
                rows = iterate_rows(store.read(key), ["request_id", "status"])
                found.update(row["request_id"] for row in rows if row["status"] == "withheld")
        except StoreError as error:
            on_problem(str(error))
    return found


def recollect_images(
    store: ObjectStore,
    short: Collection[ShortRequest],
    leonardo: LeonardoSettings | None,
    *,
    engine: EngineSettings | None = None,
    config: DatasetConfig | None = None,
    on_recollection: Callable[[Recollection], None] = lambda _recollection: None,
    sleep: Sleep = asyncio.sleep,
) -> list[Recollection]:
    """Ask for the jobs of these requests once more, and store what they have now and had not then. Blocks.

    What one request comes to says nothing of the others. Stopped at any time, it leaves whole events or none; repeating
    it goes on.

    Args:
        store: Where ledger and images are.
        short: As `find_short` gives them.
        leonardo: The account.
        engine: Bounds of memory and threads.
        config: What is embedded in the images; without one they carry their ids and no signature.
        on_recollection: Called with each request as it is done.
        sleep: Waits so many seconds.

    Raises:
        ConfigError: There is no key, or what the images are to be signed with cannot be used.
        AnotherAccount: The store is bought from another account than the key's.
        LeonardoError: The account cannot be read.
        StoreError: The store failed.
    """
    if not short:
        return []
    if leonardo is None:
        raise ConfigError("no Leonardo key: set LEONARDO_API_KEY; what came late is asked for at Leonardo")
    embedding, settings = Embedding(), engine or EngineSettings()
    if config is not None:
        embedding = open_embedding(config, dict.fromkeys(sorted({one.intent.partition for one in short})), store)

    async def recollect_all() -> list[Recollection]:
        async with AsyncExitStack() as stack:
            async_store = AsyncStore(store, threads=settings.store_threads, sleep=sleep)
            stack.callback(async_store.close)
            client = await stack.enter_async_context(LeonardoClient(leonardo))
            downloads = await stack.enter_async_context(ImageDownloads(leonardo))
            account = await repeat(client.read_account, sleep=sleep)
            await is_known_account(async_store, account.user_id)
            ledger, at_once = Ledger(async_store), asyncio.Semaphore(AT_ONCE)
            delivery = Delivery(
                store=async_store,
                downloads=downloads,
                embedding=embedding,
                memory=ByteBudget(settings.image_bytes_in_memory),
                largest_pixels=leonardo.largest_image_pixels,
                run_id="by-hand",
                sleep=sleep,
                taken_back=ledger.taken_back,
            )

            async def recollect(one: ShortRequest) -> Recollection:
                async with at_once:
                    found = await _recollect(one, ledger=ledger, client=client, delivery=delivery)
                on_recollection(found)
                return found

            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(recollect(one)) for one in short]
            return [task.result() for task in tasks]

    try:
        return asyncio.run(recollect_all())
    except* StoreError as failures:
        raise failures.exceptions[0] from None


async def _recollect(
    short: ShortRequest, *, ledger: Ledger, client: LeonardoClient, delivery: Delivery
) -> Recollection:
    """Fetch and record what one request has now and had not when it ended."""
    ending = short.ending
    lacked, fetched, failed = len(missing_positions(ending)), 0, False
    try:
        generation_id = str(ending.generation_id)
        generation = await repeat(lambda: client.read_generation(generation_id), sleep=delivery.sleep)
        if generation is None:
            reason: str | None = f"Leonardo does not know generation {generation_id} any more"
        else:
            late = late_images(ending, generation.images)
            if late:
                images = await delivery.store_images(request_in_intent(short.intent), generation, late)
                is_signed = delivery.embedding.credentials is not None
                noted = images if is_signed else tuple(_noted(image, ending) for image in images)
                await _record(ledger, short, generation, noted)
            fetched = len(late)
            reason = _why_lacking(lacked - fetched, generation) if lacked > fetched else None
    except (LeonardoError, DownloadError, ValueError) as error:
        fetched, reason, failed = 0, str(error), True
    return Recollection(
        request_id=short.intent.request_id,
        dataset=short.intent.dataset,
        partition=short.intent.partition,
        lacked=lacked,
        fetched=fetched,
        reason=reason,
        failed=failed,
    )


def _noted(image: LedgerImage, ending: FinalEvent) -> LedgerImage:
    """An image that is not signed, with a note where the others of its request are."""
    others = ending.images if isinstance(ending, Completed) else ()
    if not any(C2PA in (other.marks or "") for other in others):
        return image
    return replace(image, unmarked="; ".join(filter(None, (image.unmarked, NOT_SIGNED))))


async def _record(ledger: Ledger, short: ShortRequest, generation: Generation, images: tuple[LedgerImage, ...]) -> None:
    """Write the next event that adds images; where somebody else has just written that one, the one after."""
    for number in count(max(short.entry.recollected, default=0) + 1):
        event = Recollected(
            request_id=short.intent.request_id,
            attempt=short.entry.attempt,
            at=datetime.now(UTC),
            writer=by_hand(),
            number=number,
            generation_id=generation.id,
            images=images,
        )
        if await ledger.write(event):
            return


def _why_lacking(lacking: int, generation: Generation) -> str:
    words = f"; moderation says {', '.join(generation.moderation)}" if generation.moderation else ""
    return f"{lacking} still lacking: Leonardo shows {generation.status.value} with {count_of(len(generation.images), 'image')}{words}"
