"""From an ended job to its final event: download → verify → embed metadata → store, then `completed`, `failed` or `blocked`.

Whoever comes may do this, for its own requests and for those of others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.images import code_version
from seedream_assets.config.retry import DOWNLOADS, Sleep, repeat
from seedream_assets.errors import ConfigError, DownloadError, ObjectUnreadable, StoreError
from seedream_assets.images.c2pa import open_credentials
from seedream_assets.images.embed import SOURCE_ENTRY, Embedding, PreparedImage, as_it_stands
from seedream_assets.images.inspect import ImageFacts, image_key, inspect_image
from seedream_assets.ledger.events import Blocked, Completed, Failed, LedgerImage, id_in_key
from seedream_assets.leonardo.downloads import ImageDownloads
from seedream_assets.leonardo.generations import GeneratedImage, Generation, GenerationStatus, order_images
from seedream_assets.leonardo.identity import image_id_for
from seedream_assets.leonardo.requests import GenerationRequest
from seedream_assets.planning.plan import specs_of
from seedream_assets.prompts.stage import load_snapshot
from seedream_assets.purchase.task import Ended, Observer, RequestTask, RunContext, ignore
from seedream_assets.storage.async_store import AsyncStore
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.wording import count_of


class ByteBudget:
    """Bytes that may be held at one time. First come, first served: a large holder is not passed by small ones."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._free = capacity
        self._line = asyncio.Lock()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def holding(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes; one that is larger than everything gets everything."""
        size = min(size, self._capacity)
        async with self._line:
            while self._free < size:
                self._freed.clear()
                await self._freed.wait()
            self._free -= size
        try:
            yield
        finally:
            self._free += size
            self._freed.set()


# Object metadata: the generation that an image is of, as ids stand in keys.
GENERATION_ENTRY = "generation-id"
BYTES_PER_PIXEL = 3  # decoded RGB: what an image needs while it is verified, and more than its file ever has


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Stores the images of finished jobs.

    Attributes:
        taken_back: The generations that a person took back from a request, by their ids as in keys.
    """

    store: AsyncStore
    downloads: ImageDownloads
    embedding: Embedding
    memory: ByteBudget
    largest_pixels: int
    run_id: str
    sleep: Sleep
    taken_back: Callable[[str], Awaitable[Collection[str]]]
    on: Observer = ignore

    async def deliver(self, request: GenerationRequest, generation: Generation) -> tuple[LedgerImage, ...]:
        """Store every image that a COMPLETE job delivered; images that it did not deliver are withheld.

        Raises:
            DownloadError: An image could not be fetched whole. What is stored stays; nothing is paid again.
            StoreError: An image could not be stored.
        """
        delivered = order_images(generation.images, request.count)
        return await self.store_images(
            request, generation, {position: delivered.get(position) for position in range(request.count)}
        )

    async def store_images(
        self, request: GenerationRequest, generation: Generation, images: Mapping[int, GeneratedImage | None]
    ) -> tuple[LedgerImage, ...]:
        """Store these images of a job, by position; what is None is withheld.

        Raises:
            DownloadError, StoreError: As `deliver`.
        """
        deliveries = (self._deliver_one(request, generation, position, image) for position, image in images.items())
        # All are awaited before the first failure is raised: an image that came through is stored for the next run.
        outcomes = await asyncio.gather(*deliveries, return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if failures:
            raise failures[0]
        return tuple(outcome for outcome in outcomes if isinstance(outcome, LedgerImage))

    async def _deliver_one(
        self, request: GenerationRequest, generation: Generation, position: int, image: GeneratedImage | None
    ) -> LedgerImage:
        image_id = image_id_for(request.request_id, position)
        if image is None:
            words = f" ({', '.join(generation.moderation)})" if generation.moderation else ""
            return LedgerImage(
                position=position,
                image_id=image_id,
                reason=f"Leonardo delivered {len(generation.images)} of {count_of(request.count, 'image')}{words}",
            )
        size = request.spec.width * request.spec.height * BYTES_PER_PIXEL
        async with self.memory.holding(size):
            body, facts = await self._fetch(image.url)
            prepared = await asyncio.to_thread(
                self.embedding.embed,
                body,
                facts,
                image_id=image_id,
                position=position,
                request=request,
                generation=generation,
                image=image,
            )
            key, kept = await self._keep(image_id, prepared, request, generation, image)
        facts = kept.facts
        self.on("after_image", request.request_id)
        return LedgerImage(
            position=position,
            image_id=image_id,
            nsfw=image.nsfw,
            provider_image_id=image.id or None,
            source_url=image.url,
            object_key=key,
            format=facts.format,
            width_px=facts.width_px,
            height_px=facts.height_px,
            size_bytes=facts.size_bytes,
            sha256=facts.sha256,
            source_sha256=kept.source_sha256,
            marks=kept.embedded,
            unmarked=kept.not_embedded,
        )

    async def _fetch(self, url: str) -> tuple[bytes, ImageFacts]:
        latest = b""

        async def fetch() -> tuple[bytes, ImageFacts]:
            nonlocal latest
            latest = b""
            latest = await self.downloads.fetch(url)
            return latest, await self._inspect(latest)

        try:
            return await repeat(fetch, policy=DOWNLOADS, sleep=self.sleep)
        except DownloadError as error:
            if not latest or not error.may_retry:
                raise
            # It comes no better. A picture that is whole to its last pixel is kept, although its file's end is missing.
            try:
                return latest, await self._inspect(latest, end_may_lack=True)
            except DownloadError:
                raise error from None

    async def _inspect(self, body: bytes, *, end_may_lack: bool = False) -> ImageFacts:
        return await asyncio.to_thread(
            inspect_image, body, largest_pixels=self.largest_pixels, end_may_lack=end_may_lack
        )

    async def _keep(
        self,
        image_id: str,
        prepared: PreparedImage,
        request: GenerationRequest,
        generation: Generation,
        image: GeneratedImage,
    ) -> tuple[str, PreparedImage]:
        """Write the bytes create-only; where other bytes stand already, those are the image."""
        facts = prepared.facts
        key = image_key(image_id, facts.extension)
        metadata = {
            "request-id": request.request_id,
            GENERATION_ENTRY: id_in_key(generation.id),
            "image-id": image_id,
            "provider-image-id": id_in_key(image.id),
            "spec-id": request.spec.spec_id,
            "model": request.spec.model,
            "content-sha256": facts.sha256,
            SOURCE_ENTRY: prepared.source_sha256,
            "run-id": self.run_id,
        }
        if await self.store.create(
            key, prepared.body, content_type=facts.content_type, metadata=metadata, sha256=facts.sha256
        ):
            return key, prepared
        if await self._is_of_another(key, request, generation):
            await self.store.replace(key, prepared.body, content_type=facts.content_type, metadata=metadata)
            return key, prepared
        # An earlier run stored this image: signed, so with other bytes than today's, or with other metadata; or the
        # image host serves other bytes today. What is stored stays.
        entry, head = await self.store.read(key), await self.store.head(key)
        try:
            kept = await self._inspect(entry, end_may_lack=True)
        except DownloadError as error:
            raise ObjectUnreadable(
                key,
                found=f"is no whole image: {error}",
                remedy="`seedream verify --repair` makes room for the whole one",
            ) from error
        if kept.extension != facts.extension:
            raise StoreError(f"{key} holds a {kept.format} image; it was not written by this package")
        return key, await asyncio.to_thread(as_it_stands, entry, kept, head.metadata if head else {})

    async def _is_of_another(self, key: str, request: GenerationRequest, generation: Generation) -> bool:
        """True where the image that stands there is of a generation that a person has taken back from the request."""
        head = await self.store.head(key)
        other = head.metadata.get(GENERATION_ENTRY) if head else None
        if other is None or other == id_in_key(generation.id):
            return False
        return other in await self.taken_back(request.request_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalizer:
    """Stores the images of jobs that have ended, and writes down how their requests ended."""

    run: RunContext
    delivery: Delivery

    async def look_up(self, task: RequestTask) -> bool:
        """Read from the ledger how somebody has bought a request; False where that has been taken back since."""
        ledger, attempt = self.run.ledger, task.entry.attempt
        submits = await ledger.read_submitted(task.request_id, attempt)
        if not submits:
            return False
        task.submitted = submits[0]
        task.intent = await ledger.read_intent(task.request_id, attempt)
        return True

    async def finalize(self, task: RequestTask, generation: Generation) -> Ended:
        """Store what a job delivered that has ended, and write the final event.

        Raises:
            StoreError: An image or the event could not be written; the next run goes on.
        """
        if generation.status is GenerationStatus.FAILED:
            return await self._finalize_failed(task, generation)
        run, request = self.run, task.as_bought
        try:
            images = await self.delivery.deliver(request, generation)
        except DownloadError as error:
            run.stop.failed("undelivered", str(error))
            return Ended.unfinished("pending", str(error))
        stored = sum(image.object_key is not None for image in images)
        if stored:
            run.stop.succeeded("delivered")
        else:
            run.stop.failed("fruitless", "every image was withheld")
        asked, delivered, note = request.count, len(generation.images), None
        if delivered > asked:
            note = f"Leonardo delivered {count_of(delivered, 'image')} where {asked} were asked for; {asked} are kept"
        run.on("before_completed", task.request_id)
        is_written = await run.ledger.write(Completed(**run.sign_ending(task, task.paid), images=images))
        run.on("after_completed", task.request_id)
        return Ended("completed", images=stored, note=note) if is_written else Ended("owned", note=note)

    async def _finalize_failed(self, task: RequestTask, generation: Generation) -> Ended:
        event: Blocked | Failed
        if generation.moderation:
            reason = f"refused by moderation: {', '.join(generation.moderation)}"
            event = Blocked(**self.run.sign_ending(task, task.paid), reason=reason)
        else:
            reason = "Leonardo's job FAILED; the API gives no reason"
            event = Failed(**self.run.sign_ending(task, task.paid), reason=reason)
        is_written = await self.run.ledger.write(event)
        self.run.stop.failed("fruitless", reason)
        return Ended(event.event, reason=reason) if is_written else Ended("owned")  # another run was faster


def open_embedding(config: DatasetConfig, snapshots: Mapping[str, str | None], store: ObjectStore) -> Embedding:
    """What is embedded in the images of these partitions, by the versions of their prompts; None for the latest.

    Raises:
        ConfigError: The certificate or the key cannot be used, or the column of the writers is not in the table.
        StoreError: The prompts were not read.
    """
    declared = config.provenance
    credentials = open_credentials(declared.c2pa, base=config.base, version=code_version()) if declared.c2pa else None
    writers: Mapping[str, str] = {}
    if declared.prompt_writer_column is not None:
        writers = _writers(config, snapshots, store, declared.prompt_writer_column)
    return Embedding(provenance=declared, writers=writers, credentials=credentials)


def _writers(
    config: DatasetConfig, snapshots: Mapping[str, str | None], store: ObjectStore, column: str
) -> dict[str, str]:
    """Who wrote the prompt of each spec; several rows with the same prompt name all of their writers."""
    by_spec: dict[str, dict[str, None]] = {}
    for partition, version in snapshots.items():
        snapshot = load_snapshot(store, config, partition, version)
        extra_columns = snapshot.checked.extra_columns
        if column not in extra_columns.columns:
            known = ", ".join(map(str, extra_columns.columns)) or "no extra columns"
            raise ConfigError(f"provenance.prompt_writer_column: the table has no column {column!r}; it has {known}")
        spec_ids = specs_of(snapshot.checked.prompts, snapshot.reference_hashes)["spec_id"]
        for spec_id, writer in zip(spec_ids, extra_columns[column], strict=True):
            if isinstance(writer, str) and writer.strip():
                by_spec.setdefault(spec_id, {})[writer.strip()] = None
    return {spec_id: ", ".join(writers) for spec_id, writers in by_spec.items()}
