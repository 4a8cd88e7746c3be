"""A trace for people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from seedream_assets.manifest.trace import Trace, TracedImage, TracedRow

_COMPARISONS = {
    "stored": "the bytes are those in the store",
    "provider": "the bytes are those that the provider served, without this project's marks",
    "changed": "the bytes differ from those in the store: the file was written anew or changed",
}


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
