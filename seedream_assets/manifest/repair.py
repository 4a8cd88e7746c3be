"""Make a dataset's store whole again: from what stands beside the broken object, and from the account. Nothing is bought.

broken/<key>    what stood under a key that was written anew, kept for a person to look at

What is written over holds nothing that can be read, or is no image. An intent without a generation is never made anew:
whether its request was bought is not known from here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pandas as pd

from seedream_assets.budget.log import mend_budget_log, reservation_of
from seedream_assets.config.account import LARGEST_DECODED_PIXELS
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.models import credits_for
from seedream_assets.config.retry import Sleep, repeat
from seedream_assets.deployment import Deployment
from seedream_assets.errors import (
    DownloadError,
    LeonardoError,
    ObjectNotFound,
    ObjectUnreadable,
    SeedreamError,
    StoreError,
)
from seedream_assets.images.embed import as_it_stands
from seedream_assets.images.inspect import ImageFacts, inspect_image
from seedream_assets.ledger.account import is_known_account, read_store_account
from seedream_assets.ledger.events import (
    Blocked,
    Completed,
    EventKey,
    Failed,
    FinalEvent,
    Intent,
    LedgerEvent,
    LedgerImage,
    Recollected,
    Submitted,
    Writer,
    encode_event,
    event_key,
    request_folder,
)
from seedream_assets.ledger.state import LedgerEntry, RequestState
from seedream_assets.ledger.store import Ledger, LedgerEntries, read_endings, read_events
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.downloads import ImageDownloads
from seedream_assets.leonardo.generations import Generation, GenerationStatus, order_images
from seedream_assets.leonardo.identity import image_id_for
from seedream_assets.leonardo.requests import GenerationRequest
from seedream_assets.manifest.verify import load_manifests, verify_images
from seedream_assets.planning.plan import read_plan
from seedream_assets.planning.stage import read_plan_object
from seedream_assets.purchase.delivery import ByteBudget, Delivery, open_embedding
from seedream_assets.storage.async_store import AsyncStore
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.parquet import iterate_rows

# Requests that are mended at one time.
AT_ONCE = 8
LOST = ("missing", "torn", "wrong_size", "wrong_hash")
_NO_KEY = "it needs the account: set LEONARDO_API_KEY"
BROKEN_FOLDER = "broken"


Rebuild = Callable[[DatasetConfig, str, Deployment], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What was mended and what was not, a line each, for a person."""

    mended: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def repair_dataset(
    config: DatasetConfig,
    partitions: Sequence[str],
    deployment: Deployment,
    *,
    deep: bool,
    rebuild: Rebuild,
    sleep: Sleep = asyncio.sleep,
) -> Repair:
    """Mend what is broken of these partitions, as far as it can be. Blocks.

    Manifests are built anew; events of the ledger are written again where the plan, the store and the account allow
    it; images that the account still has are fetched again under their keys. What stood there is kept under `broken/`.

    Args:
        config, partitions, deployment: Whose, and on what. Without an account, what needs none is mended.
        deep: Read every image, and mend those whose bytes are not what the ledger says.
        rebuild: Builds the manifest of a partition anew.
        sleep: Waits so many seconds.

    Raises:
        StoreError: The store failed.
        AnotherAccount: The store is another account's; what needs no account was mended.
    """
    repair = Repair()
    asyncio.run(
        mend_budget_log(
            deployment.store,
            config.name,
            repair.mended,
            repair.left,
            lease_seconds=deployment.engine.lease_seconds,
        )
    )
    planned: dict[str, list[GenerationRequest]] = {}
    _, broken = _load(config, deployment.store)
    for partition in partitions:
        try:
            planned[partition] = _requests_of(config, partition, deployment.store)
            rebuild(config, partition, deployment)
            key = config.key("manifest", partition)
            repair.mended.extend([f"{key} was built anew"] if key in broken else [])
        except SeedreamError as error:
            planned.pop(partition, None)
            repair.left.append(f"{partition}: {error}")
    manifests, _ = _load(config, deployment.store)
    found = verify_images(deployment.store, manifests, most_read=None if deep else 0, with_extra=False)
    lost = {one.object_key for one in found.differences if one.kind in LOST}
    asyncio.run(_mend_all(config, planned, deployment, lost, repair, sleep))
    fresh = replace(deployment)  # with nothing in memory of how the ledger stood
    for partition in planned:
        rebuild(config, partition, fresh)
    return repair


def _requests_of(config: DatasetConfig, partition: str, store: ObjectStore) -> list[GenerationRequest]:
    body = read_plan_object(store, config, partition)
    return [request for request, _ in read_plan(iterate_rows(body))]


def _load(config: DatasetConfig, store: ObjectStore) -> tuple[list[pd.DataFrame], set[str]]:
    """The dataset's manifests, and the keys of those that cannot be read."""
    unreadable: list[ObjectUnreadable] = []
    try:
        manifests = load_manifests(store, config.name, on_unreadable=unreadable.append)
    except StoreError:
        return [], set()  # none was built: nothing is said to be stored
    return manifests, {error.key for error in unreadable}


async def _mend_all(
    config: DatasetConfig,
    planned: Mapping[str, Sequence[GenerationRequest]],
    deployment: Deployment,
    lost: Collection[str],
    repair: Repair,
    sleep: Sleep,
) -> None:
    async with AsyncExitStack() as stack:
        store = AsyncStore(deployment.store, threads=deployment.engine.store_threads, sleep=sleep)
        stack.callback(store.close)
        found = list(_find_broken(config, planned, deployment.store, lost))
        client, delivery = None, None
        ledger = Ledger(store)
        if deployment.leonardo is not None:
            client = await stack.enter_async_context(LeonardoClient(deployment.leonardo))
            if found:
                account = await repeat(client.read_account, sleep=sleep)
                await is_known_account(store, account.user_id)
            delivery = Delivery(
                store=store,
                downloads=await stack.enter_async_context(ImageDownloads(deployment.leonardo)),
                embedding=open_embedding(config, dict.fromkeys(planned), deployment.store),
                memory=ByteBudget(deployment.engine.image_bytes_in_memory),
                largest_pixels=deployment.leonardo.largest_image_pixels,
                run_id="repair",
                sleep=sleep,
                taken_back=ledger.taken_back,
            )
        slots = asyncio.Semaphore(AT_ONCE)

        async def mend(broken: BrokenRequest) -> None:
            async with slots:
                mending = Mending(
                    broken=broken,
                    store=store,
                    ledger=ledger,
                    client=client,
                    delivery=delivery,
                    deployment=deployment,
                    left=repair.left,
                    sleep=sleep,
                )
                try:
                    repair.mended.extend(await mending.mend())
                except (LeonardoError, DownloadError, NotMended, ObjectUnreadable) as error:
                    repair.left.append(f"request {broken.request.request_id[:12]}: {error}")

        await asyncio.gather(*(mend(one) for one in found))


class NotMended(SeedreamError):
    """What is left does not show what stood there; nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenRequest:
    """A request with something that has to be mended.

    Attributes:
        request: As planned; what was bought may be larger or smaller.
        unreadable: Keys of its events that cannot be read.
        ending: How it ended, where that can be read.
        lost: Object keys of its images that are not there, or not what the ledger says.
    """

    request: GenerationRequest
    dataset: str
    partition: str
    entry: LedgerEntry
    unreadable: frozenset[str]
    ending: FinalEvent | None
    lost: frozenset[str]


def _find_broken(
    config: DatasetConfig,
    planned: Mapping[str, Sequence[GenerationRequest]],
    store: ObjectStore,
    lost: Collection[str],
) -> Iterator[BrokenRequest]:
    """Every planned request that somebody has begun and of which something is broken; each of its events is read."""
    partition_of = {request.request_id: name for name, requests in planned.items() for request in requests}
    every = {request.request_id: request for requests in planned.values() for request in requests}
    entries = {key: one for key, one in LedgerEntries(store).begun(list(every)).items() if key in every}
    unreadable: dict[str, set[str]] = {key: set() for key in entries}

    def note(error: ObjectUnreadable) -> None:
        if key := EventKey.parse(error.key):
            unreadable[key.request_id].add(error.key)

    begun = [key for key, one in entries.items() if one.state not in (RequestState.FREE, RequestState.UNKNOWN)]
    folders = [f"{request_folder(key)}{entries[key].attempt:02d}-" for key in begun]
    keys = [info.key for folder in folders for info in store.list(folder) if EventKey.parse(info.key)]
    for _event in read_events(store, keys, on_unreadable=note):
        pass
    ended = {key: entries[key] for key in begun if entries[key].is_final}
    endings = {event.request_id: event for event in read_endings(store, ended, on_unreadable=lambda _error: None)}
    for key in begun:
        images = endings[key].images if isinstance(endings.get(key), Completed) else ()  # type: ignore[union-attr]
        lost_here = frozenset(image.object_key for image in images if image.object_key in lost and image.object_key)
        if unreadable[key] or lost_here or entries[key].state is RequestState.SUBMITTED:
            yield BrokenRequest(
                request=every[key],
                dataset=config.name,
                partition=partition_of[key],
                entry=entries[key],
                unreadable=frozenset(unreadable[key]),
                ending=endings.get(key),
                lost=lost_here,
            )


@dataclass(slots=True, kw_only=True)
class Mending:
    """One request's mending.

    Attributes:
        client, delivery: None without an account.
        left: Gets a line for the images that the account does not have any more.
    """

    broken: BrokenRequest
    store: AsyncStore
    ledger: Ledger
    client: LeonardoClient | None
    delivery: Delivery | None
    deployment: Deployment
    left: list[str]
    sleep: Sleep
    _seen: Generation | None = None

    @property
    def request_id(self) -> str:
        """The request's."""
        return self.broken.request.request_id

    @property
    def attempt(self) -> int:
        """The attempt that the request rests on."""
        return self.broken.entry.attempt

    async def mend(self) -> list[str]:
        """Mend what can be; a line for each object that was written.

        Raises:
            NotMended: What stood there is not known.
            LeonardoError, DownloadError: The account did not give what is needed.
        """
        mended = []
        submits = await self.ledger.read_submitted(self.request_id, self.attempt)
        intent = await self._intent(submits)
        for event in submits:
            mended += await self._rewrite(event)
        mended += await self._rewrite(intent)
        request = replace(self.broken.request, count=intent.count)
        if self.broken.entry.state is RequestState.SUBMITTED:
            return mended + await self._drop_torn(request)
        ending = self.broken.ending
        if ending is None:
            ending = await self._ending(request, intent, submits)
            mended += await self._rewrite(ending)
        if self.broken.lost and isinstance(ending, Completed):
            mended += await self._fetch_again(request, ending)
        return mended

    async def _rewrite(self, event: LedgerEvent) -> list[str]:
        """Write an event in place of what cannot be read; nothing where it could."""
        key = event_key(event)
        if key not in self.broken.unreadable:
            return []
        await self.store.call(lambda store: set_aside(store, key))
        await self.store.replace(key, encode_event(event))
        return [f"{key} was made anew"]

    async def _intent(self, submits: Sequence[Submitted]) -> Intent:
        """The intent as it stands, or from the plan, where it is known that its request was bought."""
        key = f"{request_folder(self.request_id)}{self.attempt:02d}-intent.json"
        if key not in self.broken.unreadable:
            return await self.ledger.read_intent(self.request_id, self.attempt)
        if not submits and self.broken.ending is None:
            raise NotMended(
                f"{key} cannot be read, and nothing shows whether its request was bought. Look for it in the account "
                f"(seed {self.broken.request.seed}, {self.broken.request.spec.prompt[:60]!r}); then say so with "
                f"`seedream ledger release {self.request_id[:12]} --reason …` where nothing was bought"
            )
        request, ending = self.broken.request, self.broken.ending
        count = ending.count if ending else await self._count_by_account(submits, planned=request.count)
        listed = credits_for(self.deployment.models.find(request.spec.model), count)
        held = await self.store.call(lambda store: reservation_of(store, self.broken.dataset, self.request_id))
        owner = await read_store_account(self.store)
        return Intent.of_request(
            replace(request, count=count),
            attempt=self.attempt,
            at=await self._written_at(key),
            writer=held.writer if held else self._ours(),
            credits_reserved=held.credits if held else listed,
            dataset=ending.dataset if ending else self.broken.dataset,
            partition=self.broken.partition,
            run_id=ending.run_id if ending else "repaired",
            account=owner.account if owner else None,
        )

    async def _count_by_account(self, submits: Sequence[Submitted], *, planned: int) -> int:
        generation = await self._generation(submits[0].generation_id)
        found = len(generation.images) if generation else 0
        return found if generation and generation.status is GenerationStatus.COMPLETE and found else planned

    async def _ending(self, request: GenerationRequest, intent: Intent, submits: Sequence[Submitted]) -> FinalEvent:
        """The end that the keys show, with what the account and the store still have of it."""
        state = self.broken.entry.state
        key = f"{request_folder(self.request_id)}{self.attempt:02d}-{state.value}.json"
        submitted = submits[0] if submits else None
        common = self._header(await self._written_at(key)) | {
            "generation_id": submitted.generation_id if submitted else None,
            "count": request.count,
            "credits_quoted": credits_for(self.deployment.models.find(request.spec.model), request.count),
            "dataset": intent.dataset,
            "run_id": intent.run_id,
            "dagster_run_id": intent.dagster_run_id,
            "cost_amount": submitted.cost_amount if submitted else None,
            "cost_unit": submitted.cost_unit if submitted else None,
            "submitted_at": submitted.at if submitted else None,
        }
        if state is not RequestState.COMPLETED:
            reason = "why could not be read any more when this was made anew"
            return Failed(**common, reason=reason) if state is RequestState.FAILED else Blocked(**common, reason=reason)
        if submitted is None:
            raise NotMended(f"{key} cannot be read, and no `submitted` says which generation it is of")
        generation = await self._generation(submitted.generation_id) if self.client else None
        if generation is not None and generation.status is GenerationStatus.COMPLETE and self.delivery:
            await self._drop_torn(request)
            images = await self.delivery.deliver(request, generation)
        else:
            images = tuple([await self._stored(request, position) for position in range(request.count)])
            if all(image.object_key is None for image in images):
                why = _gone(submitted.generation_id) if self.client else _NO_KEY
                raise NotMended(f"{key} cannot be read, and none of its images is left; {why}")
        return Completed(**common, images=images)

    async def _stored(self, request: GenerationRequest, position: int) -> LedgerImage:
        """One image by its object alone, where the account shows nothing any more."""
        image_id = image_id_for(request.request_id, position)
        for info in await self.store.list(_objects_of(image_id)):
            body = await self.store.read(info.key)
            facts = await self._inspect(body)
            if facts is None:
                continue
            head = await self.store.head(info.key)
            metadata = head.metadata if head else {}
            kept = await asyncio.to_thread(as_it_stands, body, facts, metadata)
            return LedgerImage(
                position=position,
                image_id=image_id,
                provider_image_id=metadata.get("provider-image-id"),
                object_key=info.key,
                format=facts.format,
                width_px=facts.width_px,
                height_px=facts.height_px,
                size_bytes=facts.size_bytes,
                sha256=facts.sha256,
                source_sha256=kept.source_sha256,
                marks=kept.embedded,
            )
        return LedgerImage(
            position=position, image_id=image_id, reason="neither the store nor the account has it any more"
        )

    async def _drop_torn(self, request: GenerationRequest) -> list[str]:
        """Of a request whose images are on their way: what stands under their keys and is no image makes room."""
        dropped = []
        for position in range(request.count):
            for info in await self.store.list(_objects_of(image_id_for(request.request_id, position))):
                if await self._inspect(await self.store.read(info.key)) is None:
                    await self._make_room(info.key)
                    dropped.append(f"{info.key} was no image, and is fetched by the next run")
        return dropped

    async def _fetch_again(self, request: GenerationRequest, ending: Completed) -> list[str]:
        """Fetch the images that are lost, and see that they are the same."""
        if self.delivery is None or ending.generation_id is None:
            raise NotMended(f"{', '.join(sorted(self.broken.lost))}: {_NO_KEY}")
        generation = await self._generation(ending.generation_id)
        if generation is None or generation.status is not GenerationStatus.COMPLETE:
            raise NotMended(f"{', '.join(sorted(self.broken.lost))}: {_gone(ending.generation_id)}")
        wanted = {image.position: image for image in ending.images if image.object_key in self.broken.lost}
        by_id = {image.id: image for image in generation.images if image.id}
        by_place = order_images(generation.images, request.count)
        found = {
            position: by_id.get(before.provider_image_id) if before.provider_image_id else by_place.get(position)
            for position, before in wanted.items()
        }
        gone = [f"{wanted[position].object_key}" for position, image in found.items() if image is None]
        there = {position: image for position, image in found.items() if image is not None}
        for position in there:
            await self._make_room(str(wanted[position].object_key))
        mended = await self._settle_images(
            wanted, await self.delivery.store_images(request, generation, there), generation
        )
        if gone:
            self.left.append(f"{', '.join(gone)}: the account has no such image any more")
        return mended

    async def _settle_images(
        self, wanted: Mapping[int, LedgerImage], stored: Iterable[LedgerImage], generation: Generation
    ) -> list[str]:
        """See whether these are the bytes that the ledger knows; where they are not, record what they are."""
        mended, others = [], []
        for image in stored:
            if image.sha256 == wanted[image.position].sha256:
                mended.append(f"{image.object_key} was fetched again, the same to the byte")
            else:
                others.append(image)
                mended.append(
                    f"{image.object_key} was fetched again; its bytes are not those of before (signed anew, or marked as "
                    "now declared), and the ledger says so"
                )
        if others:
            await self._write_recollected(others, generation)
        return mended

    async def _write_recollected(self, images: Iterable[LedgerImage], generation: Generation) -> None:
        """Record, after the end, what its images are now."""
        number = max(self.broken.entry.recollected, default=0)
        written = False
        while not written:
            number += 1
            written = await self.ledger.write(
                Recollected(
                    **self._header(await self.store.now()),
                    number=number,
                    generation_id=generation.id,
                    images=tuple(images),
                )
            )

    async def _make_room(self, key: str) -> None:
        if await self.store.head(key) is not None:
            await self.store.call(lambda store: set_aside(store, key))
            await self.store.delete(key)

    async def _generation(self, generation_id: str) -> Generation | None:
        client = self.client
        if client is None:
            raise NotMended(f"request {self.request_id[:12]}: {_NO_KEY}")
        if self._seen is None:
            self._seen = await repeat(lambda: client.read_generation(generation_id), sleep=self.sleep)
        return self._seen

    async def _written_at(self, key: str) -> datetime:
        head = await self.store.head(key)
        return head.last_modified if head else await self.store.now()

    def _header(self, at: datetime) -> dict[str, Any]:
        return {"request_id": self.request_id, "attempt": self.attempt, "at": at, "writer": self._ours()}

    @staticmethod
    def _ours() -> Writer:
        return Writer(engine_id="repair", nonce=uuid4().hex)

    async def _inspect(self, body: bytes) -> ImageFacts | None:
        """What these bytes hold; None where they are no image."""
        leonardo = self.deployment.leonardo
        pixels = leonardo.largest_image_pixels if leonardo else LARGEST_DECODED_PIXELS
        try:
            return await asyncio.to_thread(inspect_image, body, largest_pixels=pixels, end_may_lack=True)
        except DownloadError:
            return None


def _gone(generation_id: str) -> str:
    return f"the account has no finished generation {generation_id} any more"


def _objects_of(image_id: str) -> str:
    """The beginning of an image's key, whatever its format."""
    return f"images/{image_id[:2]}/{image_id}."


def set_aside(store: ObjectStore, key: str) -> None:
    """Copy an object under `broken/`, create-only; nothing where there is none.

    Raises:
        StoreError: The copy could not be written; the object must stay as it is then.
    """
    try:
        body = store.read(key)
    except ObjectNotFound:
        return
    copy = f"{BROKEN_FOLDER}/{key}"
    if not store.create(copy, body, content_type="application/octet-stream"):
        store.create(f"{copy}.{sha256(body).hexdigest()[:12]}", body, content_type="application/octet-stream")
