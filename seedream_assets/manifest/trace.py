"""From one image back to all that made it: the trace record, from a request's ledger events and the manifests' rows.

What is true of the image itself (request, generation, cost, run) comes from the ledger, once. A manifest adds the rows
that wanted it: an image bought once can be in several datasets.

An image is found by the id in its bytes, by their hash, by any of its ids, or by its prompt row. Ids lead to the ledger
directly. A hash is looked for in the manifests, all of which are read: an image that no manifest holds any more is found
by its ids alone. Reads only.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal

import pandas as pd

from seedream_assets.errors import ObjectUnreadable, SeedreamError
from seedream_assets.images.xmp import read_metadata
from seedream_assets.ledger.events import (
    REQUESTS_FOLDER,
    Blocked,
    Completed,
    EventKey,
    Failed,
    Intent,
    LedgerEvent,
    LedgerImage,
    Recollected,
    Submitted,
    event_key,
    id_in_key,
    request_folder,
)
from seedream_assets.ledger.image_columns import MANIFEST_COLUMNS
from seedream_assets.ledger.state import fold, owners_of, with_recollected
from seedream_assets.ledger.store import read_events
from seedream_assets.leonardo.identity import image_id_for
from seedream_assets.manifest.build import image_row, read_manifest
from seedream_assets.storage.object_store import ObjectInfo, ObjectStore

_IMAGE_ID, _SHA256 = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{64}")
READERS = 8
_LOG = logging.getLogger(__name__)
# How the bytes that were asked about stand to what is stored.
Comparison = Literal["stored", "provider", "changed"]
_COMPARISONS = {
    "stored": "the bytes are those in the store",
    "provider": "the bytes are those that the provider served, without this project's marks",
    "changed": "the bytes differ from those in the store: the file was written anew or changed",
}


class NotTraced(SeedreamError):
    """The store knows nothing of what was asked about."""


class AmbiguousRow(SeedreamError):
    """Several datasets have a row of this id; one has to be named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """One manifest as it lies in the store: a version of a partition of a dataset."""

    key: str
    sha256: str
    written_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedRow:
    """A prompt row that wants the image, in one dataset's manifest.

    Attributes:
        reused: True where the dataset did not have to buy the image.
        other_columns: What else the table says of the row, as text; empty cells left out.
    """

    dataset: str
    partition: str
    row_number: int
    prompt_id: str
    table_uri: str | None
    table_sha256: str | None
    status: str
    reason: str | None
    reused: bool
    manifest: ManifestFile
    other_columns: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedImage:
    """One image and where it comes from. What is None has not happened, or is not known.

    Attributes:
        status: `stored`, `withheld`, `failed`, `blocked`, or the request's state in the ledger.
        cost_amount: This image's share of what the API charged for its request.
        run_id, dagster_run_id, bought_for: Who bought it.
    """

    image_id: str
    sample: int
    status: str
    reason: str | None
    object_key: str | None = None
    format: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    source_sha256: str | None = None
    marks: str | None = None
    nsfw: bool | None = None
    request_id: str
    spec_id: str
    prompt: str
    model: str
    width: int
    height: int
    style: str
    prompt_enhance: str
    seed: int
    references: Sequence[Mapping[str, str]] = ()
    generation_id: str | None = None
    provider_image_id: str | None = None
    submitted_at: datetime | None = None
    completed_at: datetime | None = None
    cost_amount: float | None = None
    cost_unit: str | None = None
    credits_quoted: float | None = None
    bought_for: str
    run_id: str
    dagster_run_id: str | None = None
    rows: tuple[TracedRow, ...] = field(default=())


# The fields that a trace takes over under their own names: from the intent, and from the image as the ledger has it.
_NAMES = {field.name for field in fields(TracedImage)}
_OF_INTENT = _NAMES & {field.name for field in fields(Intent)}
_OF_IMAGE = (_NAMES & {field.name for field in fields(LedgerImage)}) - {"image_id"} | {"status"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What was asked about, and every image that it means.

    Attributes:
        asked: The file, address or id.
        found_by: How it was recognised: `embedded id`, `sha256`, `source sha256`, `image id`, `request id`,
            `generation id` or `prompt id`.
        comparison: For bytes: equal to what is `stored`, to what the `provider` served, or `changed` since.
        store: Address of the store that knows it.
    """

    asked: str
    found_by: str
    comparison: Comparison | None
    store: str
    images: tuple[TracedImage, ...]


def trace_request(events: Iterable[LedgerEvent]) -> tuple[TracedImage, ...]:
    """Every image that a request was to buy, in order, from the request's events; none where it was never claimed."""
    known = list(events)
    entry = fold(key for event in known if (key := EventKey.parse(event_key(event))))
    of_attempt = [event for event in known if event.attempt == entry.attempt]
    intent = next((event for event in of_attempt if isinstance(event, Intent)), None)
    if intent is None:
        return ()
    submits = [event for event in of_attempt if isinstance(event, Submitted)]
    submitted = next((event for event in submits if id_in_key(event.generation_id) in entry.generations), None)
    endings = [event for event in of_attempt if isinstance(event, Completed | Failed | Blocked)]
    ending = next((event for event in endings if event.event == entry.state), None)
    if ending is not None:
        ending = with_recollected(ending, [event for event in of_attempt if isinstance(event, Recollected)])
    images = {image.position: image for image in ending.images} if isinstance(ending, Completed) else {}
    return tuple(
        _traced(intent, submitted, ending, position, images.get(position), state=entry.state.value)
        for position in range(intent.count)
    )


def _traced(
    intent: Intent,
    submitted: Submitted | None,
    ending: Completed | Failed | Blocked | None,
    position: int,
    image: LedgerImage | None,
    *,
    state: str,
) -> TracedImage:
    billed = ending or submitted
    amount = billed.cost_amount if billed else None
    found: dict[str, Any] = {"status": state, "reason": ending.reason if isinstance(ending, Failed | Blocked) else None}
    if image is not None:
        found |= {name: value for name, value in image_row(image).items() if name in _OF_IMAGE}
    return TracedImage(
        **found,
        **{name: getattr(intent, name) for name in _OF_INTENT},
        image_id=image_id_for(intent.request_id, position),
        sample=intent.start + position,
        generation_id=(ending.generation_id if ending else None) or (submitted.generation_id if submitted else None),
        submitted_at=submitted.at if submitted else None,
        completed_at=ending.at if ending else None,
        cost_amount=None if amount is None else float(amount / intent.count),
        cost_unit=billed.cost_unit if billed else None,
        credits_quoted=ending.credits_quoted / intent.count if ending else None,
        bought_for=intent.dataset,
    )


def rows_in(manifest: pd.DataFrame, file: ManifestFile) -> dict[str, list[TracedRow]]:
    """The rows of (a part of) a manifest by image id."""
    found: dict[str, list[TracedRow]] = {}
    others = [str(name) for name in manifest.columns if name not in MANIFEST_COLUMNS]
    for row in manifest.to_dict("records"):
        found.setdefault(row["image_id"], []).append(
            TracedRow(
                dataset=row["dataset"],
                partition=row["partition"],
                row_number=int(row["row_number"]),
                prompt_id=row["prompt_id"],
                table_uri=_or_none(row["table_uri"]),
                table_sha256=_or_none(row["table_sha256"]),
                status=row["status"],
                reason=_or_none(row["reason"]),
                reused=bool(row["reused"]),
                manifest=file,
                other_columns={name: str(row[name]) for name in others if _or_none(row[name]) is not None},
            )
        )
    return found


def _or_none(value: Any) -> Any:
    return None if pd.api.types.is_scalar(value) and pd.isna(value) else value


def compare(image: TracedImage, digest: str) -> Comparison:
    """How bytes with this hash stand to an image."""
    if digest == image.sha256:
        return "stored"
    return "provider" if digest == image.source_sha256 else "changed"


@dataclass(slots=True)
class _Hits:
    """Rows of manifests, by image; and the request of each image."""

    rows: dict[str, list[TracedRow]] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)


def trace_bytes(store: ObjectStore, body: bytes, *, asked: str) -> Trace:
    """The image that these bytes are, wherever they lie and whatever the file is called.

    Raises:
        NotTraced: They carry no id that the store knows, and their hash is not that of an image in a manifest.
    """
    ids, digest = read_metadata(body), sha256(body).hexdigest()
    if ids is not None and _IMAGE_ID.fullmatch(ids.image_id):
        image_id = ids.image_id
        image = _image(store, image_id, ids.request_id)
        if image is not None:
            hits = _look(store, lambda manifest: manifest["image_id"] == image_id)
            return _trace_of(store, asked, "embedded id", [image], hits, digest)
    found = _trace_hash(store, digest, asked)
    if found is not None:
        return found
    carried = (
        f"it carries the image id {ids.image_id}, which is of another store"
        if ids is not None
        else "it carries no image id; it was not bought with seedream-assets, or its metadata were taken out"
    )
    raise NotTraced(f"{asked} is not known in {store.url}: {carried}, and no manifest has its SHA-256, {digest}")


def trace_id(store: ObjectStore, asked: str) -> Trace:
    """The images of an image id, a request id, a generation id, or a SHA-256 of an image's bytes.

    Raises:
        NotTraced: It is none of these in this store.
    """
    if _IMAGE_ID.fullmatch(asked) and (image := _image(store, asked, None)) is not None:
        hits = _look(store, lambda manifest: manifest["image_id"] == asked)
        return _trace_of(store, asked, "image id", [image], hits)
    if _SHA256.fullmatch(asked):
        if images := _images_of(store, asked):
            return _trace_of(store, asked, "request id", images, _look_for_request(store, asked))
        if found := _trace_hash(store, asked, asked):
            return found
    if request_id := _request_of_generation(store, asked):
        return _trace_of(
            store, asked, "generation id", _images_of(store, request_id), _look_for_request(store, request_id)
        )
    raise NotTraced(
        f"{asked} is no file here, and no image id, request id, generation id or SHA-256 that {store.url} knows"
    )


def trace_row(store: ObjectStore, prompt_id: str, *, dataset: str | None = None, partition: str | None = None) -> Trace:
    """Forward: the images of a prompt row.

    Raises:
        NotTraced: No manifest has a row of this id.
        AmbiguousRow: Several datasets have one, and none is named.
    """
    hits = _look(store, lambda manifest: manifest["prompt_id"] == prompt_id, dataset=dataset, partition=partition)
    datasets = sorted({row.dataset for rows in hits.rows.values() for row in rows})
    if not datasets:
        where = f"dataset {dataset}" if dataset else "any dataset"
        raise NotTraced(f"no row of {where} in {store.url} has the prompt_id {prompt_id!r}")
    if len(datasets) > 1:
        raise AmbiguousRow(f"{', '.join(datasets)} all have a row {prompt_id!r}; add --dataset")
    by_request = {request_id: _images_of(store, request_id) for request_id in dict.fromkeys(hits.requests.values())}
    images = [image for found in by_request.values() for image in found if image.image_id in hits.rows]
    if not images:
        statuses = {row.status for rows in hits.rows.values() for row in rows}
        raise NotTraced(
            f"row {prompt_id!r} of {datasets[0]} has no image: nothing was bought ({', '.join(sorted(statuses))})"
        )
    return _trace_of(store, prompt_id, "prompt id", images, hits)


def _trace_hash(store: ObjectStore, digest: str, asked: str) -> Trace | None:
    hits = _look(store, lambda manifest: (manifest["sha256"] == digest) | (manifest["source_sha256"] == digest))
    images = [image for image_id, request_id in hits.requests.items() if (image := _image(store, image_id, request_id))]
    if not images:
        return None
    by = "sha256" if any(image.sha256 == digest for image in images) else "source sha256"
    return _trace_of(store, asked, by, images, hits, digest)


def _trace_of(
    store: ObjectStore, asked: str, found_by: str, images: list[TracedImage], hits: _Hits, digest: str | None = None
) -> Trace:
    return Trace(
        asked=asked,
        found_by=found_by,
        comparison=compare(images[0], digest) if digest else None,
        store=store.url,
        images=tuple(replace(image, rows=tuple(hits.rows.get(image.image_id, ()))) for image in images),
    )


def _image(store: ObjectStore, image_id: str, request_id: str | None) -> TracedImage | None:
    """One image of the ledger; its request is looked up where it is not given."""
    request_id = request_id or _request_of_image(store, image_id)
    if request_id is None or not _SHA256.fullmatch(request_id):
        return None
    return next((image for image in _images_of(store, request_id) if image.image_id == image_id), None)


def _images_of(store: ObjectStore, request_id: str) -> list[TracedImage]:
    keys = [(info.key, EventKey.parse(info.key)) for info in store.list(request_folder(request_id))]
    if (entry := fold(key for _, key in keys if key)).unknown:
        raise NotTraced(f"request {request_id}: {entry.why_untouched}")
    return list(trace_request(read_events(store, [name for name, key in keys if key])))


def _request_of_image(store: ObjectStore, image_id: str) -> str | None:
    """As the stored object's own metadata name it; else from the manifests."""
    for info in store.list(f"images/{image_id[:2]}/{image_id}."):
        head = store.head(info.key)
        if head is not None and (named := head.metadata.get("request-id")):
            return named
    return _look(store, lambda manifest: manifest["image_id"] == image_id).requests.get(image_id)


def _request_of_generation(store: ObjectStore, generation_id: str) -> str | None:
    """One listing of the whole ledger: a generation's id is part of a key."""
    keys = (EventKey.parse(info.key) for info in store.list(REQUESTS_FOLDER + "/"))
    return owners_of([key for key in keys if key]).get(id_in_key(generation_id))


def _look_for_request(store: ObjectStore, request_id: str) -> _Hits:
    return _look(store, lambda manifest: manifest["request_id"] == request_id)


def _look(
    store: ObjectStore,
    wanted: Callable[[pd.DataFrame], pd.Series[bool]],
    *,
    dataset: str | None = None,
    partition: str | None = None,
) -> _Hits:
    """The rows of all manifests that are wanted."""
    hits = _Hits()

    def read(info: ObjectInfo) -> tuple[pd.DataFrame, ManifestFile] | None:
        body = store.read(info.key)
        try:
            manifest = read_manifest(body, key=info.key)
        except ObjectUnreadable as error:
            _LOG.warning("left out: %s", error)
            return None
        file = ManifestFile(key=info.key, sha256=sha256(body).hexdigest(), written_at=info.last_modified)
        return manifest[wanted(manifest).fillna(value=False).astype(bool)], file

    with ThreadPoolExecutor(max_workers=READERS) as threads:
        for found, file in filter(None, threads.map(read, _manifests(store, dataset))):
            chosen = found if partition is None else found[found["partition"] == partition]
            hits.requests |= dict(zip(chosen["image_id"], chosen["request_id"], strict=True))
            for image_id, rows in rows_in(chosen, file).items():
                hits.rows.setdefault(image_id, []).extend(rows)
    return hits


def _manifests(store: ObjectStore, dataset: str | None) -> Iterator[ObjectInfo]:
    for name in [dataset] if dataset else store.list_folders("datasets/"):
        for info in store.list(f"datasets/{name}/manifest/"):
            if info.key.endswith(".parquet"):
                yield info


def trace_as_json(trace: Trace) -> str:
    """The whole trace as one JSON object; times in ISO 8601."""
    return json.dumps(asdict(trace), default=lambda value: value.isoformat(), ensure_ascii=False)


def trace_as_text(trace: Trace) -> str:
    """One block per image."""
    lines = [f"{trace.asked}: found by {trace.found_by} in {trace.store}"]
    if trace.comparison is not None:
        lines.append(_COMPARISONS[trace.comparison])
    for image in trace.images:
        lines += ["", *_of_image(image, trace.store)]
    return "\n".join(lines)


def _of_image(image: TracedImage, store: str) -> Iterator[str]:
    yield f"image {image.image_id}: {image.status}" + (f", {image.reason}" if image.reason else "")
    if image.object_key:
        yield f"  file        {store}/{image.object_key}"
        yield f"              {image.format}, {image.width_px}x{image.height_px}, {image.size_bytes} bytes, " + (
            f"marked with {image.marks}" if image.marks else "not marked"
        )
        yield f"  sha256      {image.sha256}"
        if image.source_sha256 != image.sha256:
            yield f"              {image.source_sha256} as the provider served it"
    yield f"  prompt      {' '.join(image.prompt.split())}"
    yield (
        f"  asked for   {image.model}, {image.width}x{image.height}, style {image.style}, "
        f"prompt_enhance {image.prompt_enhance}, seed {image.seed}"
    )
    for reference in image.references:
        yield "  reference   " + ", ".join(f"{name} {value}" for name, value in reference.items())
    yield f"  request     {image.request_id}, sample {image.sample} of its spec"
    if image.generation_id:
        yield f"  generation  {image.generation_id}{_at(' submitted', image.submitted_at)}{_at(' ended', image.completed_at)}"
    if image.cost_amount is not None:
        yield f"  cost        {image.cost_amount:g} {image.cost_unit or ''}".rstrip() + (
            f", quoted at {image.credits_quoted:g} credits" if image.credits_quoted is not None else ""
        )
    yield f"  run         {image.run_id}, for {image.bought_for}" + (
        f", Dagster run {image.dagster_run_id}" if image.dagster_run_id else ""
    )
    for row in image.rows:
        yield from _of_row(row)
    if not image.rows:
        yield "  datasets    none of the store's manifests holds it now"


def _of_row(row: TracedRow) -> Iterator[str]:
    yield f"  dataset     {row.dataset}, partition {row.partition}" + (", reused" if row.reused else "")
    yield f"    row       {row.row_number}, prompt_id {row.prompt_id}" + (
        " (" + ", ".join(f"{name}: {value}" for name, value in row.other_columns.items()) + ")"
        if row.other_columns
        else ""
    )
    if row.table_uri:
        yield f"    table     {row.table_uri}, sha256 {row.table_sha256}"
    yield f"    manifest  {row.manifest.key}, sha256 {row.manifest.sha256}{_at(', written', row.manifest.written_at)}"


def _at(words: str, at: datetime | None) -> str:
    return f"{words} {at.isoformat(timespec='seconds')}" if at else ""
