"""From one image back to all that made it: the trace record, from a request's ledger events and the manifests' rows.

What is true of the image itself (request, generation, cost, run) comes from the ledger, once. A manifest adds the rows
that wanted it: an image bought once can be in several datasets.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

import pandas as pd

from seedream_assets.ledger.events import (
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
)
from seedream_assets.ledger.image_columns import MANIFEST_COLUMNS
from seedream_assets.ledger.state import fold, with_recollected
from seedream_assets.leonardo.identity import image_id_for

# How the bytes that were asked about stand to what is stored.
Comparison = Literal["stored", "provider", "changed"]
_COMPARISONS = {
    "stored": "the bytes are those in the store",
    "provider": "the bytes are those that the provider served, without this project's marks",
    "changed": "the bytes differ from those in the store: the file was written anew or changed",
}


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
    """One image and where it comes from. What is None has not happened, or was not told.

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


# The fields that a trace takes from the image as the ledger has it.
_TRACED_FIELDS = {field.name for field in fields(LedgerImage)} & {field.name for field in fields(TracedImage)} - {
    "image_id"
}


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
    submitted = next(
        (
            event
            for event in of_attempt
            if isinstance(event, Submitted) and id_in_key(event.generation_id) in entry.generations
        ),
        None,
    )
    ending = next(
        (
            event
            for event in of_attempt
            if isinstance(event, Completed | Failed | Blocked) and event.event == entry.state
        ),
        None,
    )
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
    found: dict[str, Any] = {}
    if image is not None:
        found = {name: getattr(image, name) for name in _TRACED_FIELDS} | {
            "status": "stored" if image.object_key else "withheld",
            "source_sha256": image.source_sha256 or image.sha256,
        }
    return TracedImage(
        **{
            "status": state,
            "reason": ending.reason if isinstance(ending, Failed | Blocked) else None,
            **found,
        },
        image_id=image_id_for(intent.request_id, position),
        sample=intent.start + position,
        request_id=intent.request_id,
        spec_id=intent.spec_id,
        prompt=intent.prompt,
        model=intent.model,
        width=intent.width,
        height=intent.height,
        style=intent.style,
        prompt_enhance=intent.prompt_enhance,
        seed=intent.seed,
        references=intent.references,
        generation_id=(ending.generation_id if ending else None) or (submitted.generation_id if submitted else None),
        submitted_at=submitted.at if submitted else None,
        completed_at=ending.at if ending else None,
        cost_amount=None if amount is None else float(amount / intent.count),
        cost_unit=billed.cost_unit if billed else None,
        credits_quoted=ending.credits_quoted / intent.count if ending else None,
        bought_for=intent.dataset,
        run_id=intent.run_id,
        dagster_run_id=intent.dagster_run_id,
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


def compare(image: TracedImage, sha256: str) -> Comparison:
    """How bytes with this hash stand to an image."""
    if sha256 == image.sha256:
        return "stored"
    return "provider" if sha256 == image.source_sha256 else "changed"


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
