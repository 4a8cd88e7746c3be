"""Builders for tests of the manifest: how requests ended, and a manifest of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa

from seedream_assets.ledger.events import Blocked, Completed, Failed, LedgerImage
from seedream_assets.ledger.state import LedgerEntry, RequestState
from seedream_assets.leonardo.identity import image_id_for
from seedream_assets.leonardo.requests import GenerationRequest
from seedream_assets.manifest.build import build_manifest, endings_of
from seedream_assets.planning.plan import read_plan, specs_of
from seedream_assets.prompts.table import CheckedPrompts
from seedream_assets_tests.support.builders import NOON, WRITER, OwnedRequests

ROW = {"prompt": "a red chair", "width": 2048, "height": 1024}
TABLES = {"table": ["prompts.csv"], "table_uri": ["s3://bucket/prompts.csv"], "table_sha256": ["cd" * 32]}
Ended = Completed | Failed | Blocked


def make_ending(request: GenerationRequest, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "request_id": request.request_id,
        "attempt": 0,
        "at": NOON,
        "writer": WRITER,
        "generation_id": "generation-1",
        "count": request.count,
        "credits_quoted": 28 * request.count,
        "dataset": "scenes",
        "run_id": "run-1",
        "cost_amount": Decimal(28 * request.count),
        "cost_unit": "CREDITS",
        "submitted_at": NOON,
    }
    return values | changes


def make_ended(kind: type[Failed] | type[Blocked], request: GenerationRequest, **changes: Any) -> Ended:
    return kind(**make_ending(request, **changes), reason="no luck")


def make_completed(request: GenerationRequest, *, withheld: Collection[int] = (), **changes: Any) -> Completed:
    """Every image stored, but for the positions withheld."""
    images = []
    for position in range(request.count):
        image_id = image_id_for(request.request_id, position)
        if position in withheld:
            images.append(LedgerImage(position=position, image_id=image_id, reason="Leonardo delivered fewer images"))
            continue
        image = LedgerImage(
            position=position,
            image_id=image_id,
            provider_image_id=f"provider-{position}",
            source_url=f"https://cdn.example/{position}.jpg",
            object_key=f"images/{image_id[:2]}/{image_id}.jpg",
            format="JPEG",
            width_px=request.spec.width,
            height_px=request.spec.height,
            size_bytes=1000 + position,
            sha256=f"{position:02x}" * 32,
        )
        images.append(image)
    return Completed(**make_ending(request, **changes), images=tuple(images))


def requests_of(plan: pd.DataFrame) -> list[GenerationRequest]:
    return [request for request, _ in read_plan(pa.Table.from_pandas(plan).to_pylist())]


def make_owned(requests: Iterable[GenerationRequest]) -> OwnedRequests:
    """A ledger in which these requests are completed."""
    owned = OwnedRequests()
    for request in requests:
        owned.add(request, LedgerEntry(state=RequestState.COMPLETED, attempt=0))
    return owned


def make_unfinished(told: Mapping[str, tuple[str, str]] | None = None) -> pd.DataFrame:
    rows = [(request_id, *said) for request_id, said in (told or {}).items()]
    return pd.DataFrame(rows, columns=["request_id", "status", "reason"], dtype="string")


def make_manifest(
    checked: CheckedPrompts,
    plan: pd.DataFrame,
    events: Iterable[Ended] = (),
    *,
    endings: pd.DataFrame | None = None,
    unfinished: pd.DataFrame | None = None,
    tables: pd.DataFrame | None = None,
    dataset: str = "scenes",
) -> pd.DataFrame:
    return build_manifest(
        dataset=dataset,
        partition="all",
        prompts=checked.prompts,
        extra_columns=checked.extra_columns,
        spec_ids=specs_of(checked.prompts, {})["spec_id"],
        plan=plan,
        endings=endings_of(events) if endings is None else endings,
        unfinished=make_unfinished() if unfinished is None else unfinished,
        code_version="1.2.3",
        tables=pd.DataFrame(TABLES, dtype="string") if tables is None else tables,
    )
