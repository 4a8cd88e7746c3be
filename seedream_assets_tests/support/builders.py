"""Builders for tests of the core: whole values with one thing changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from seedream_assets.config.models import SEEDREAM_4_0, ModelCatalog, ModelSpec
from seedream_assets.config.prompts import Recipe, TableRules
from seedream_assets.ledger.events import Intent, Writer
from seedream_assets.ledger.state import LedgerEntry
from seedream_assets.leonardo.generations import Generation, GenerationStatus
from seedream_assets.leonardo.requests import GenerationRequest, GenerationSpec, make_request
from seedream_assets.planning.plan import Existing, gather_wanted, plan_requests, specs_of
from seedream_assets.prompts.table import CheckedPrompts, check_prompt_table

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
WRITER = Writer(engine_id="engine-1", nonce="nonce-1", host="host-1", boot_id="boot-1", pid=7)
MODELS = ModelCatalog()


def make_spec(**changes: Any) -> GenerationSpec:
    values: dict[str, Any] = {
        "model": "seedream-4.0",
        "prompt": "a red chair",
        "width": 2048,
        "height": 1024,
        "style": "None",
        "prompt_enhance": "OFF",
    }
    return GenerationSpec(**(values | changes))


def make_paid_request(
    *, start: int = 0, count: int = 2, model: ModelSpec = SEEDREAM_4_0, public: bool = False, **changes: Any
) -> GenerationRequest:
    spec = make_spec(**({"model": model.name} | changes))
    return make_request(spec, start=start, count=count, model=model, public=public)


def make_intent(request: GenerationRequest | None = None, *, attempt: int = 0, **changes: Any) -> Intent:
    request = request or make_paid_request()
    spec = request.spec
    values: dict[str, Any] = {
        "request_id": request.request_id,
        "attempt": attempt,
        "at": NOON,
        "writer": WRITER,
        "spec_id": spec.spec_id,
        "start": request.start,
        "count": request.count,
        "model": spec.model,
        "prompt": spec.prompt,
        "width": spec.width,
        "height": spec.height,
        "style": spec.style,
        "prompt_enhance": spec.prompt_enhance,
        "seed": request.seed,
        "public": request.public,
        "references": tuple(reference.identity for reference in spec.references),
        "credits_reserved": 28 * request.count,
        "dataset": "scenes",
        "partition": "all",
        "run_id": "run-1",
    }
    return Intent(**(values | changes))


def make_generation(intent: Intent, **changes: Any) -> Generation:
    """The generation that Leonardo's history shows for an intent."""
    values: dict[str, Any] = {
        "id": "generation-1",
        "status": GenerationStatus.COMPLETE,
        "created_at": NOON,
        "prompt": intent.prompt,
        "width": intent.width,
        "height": intent.height,
        "seed": intent.seed,
        "images": (),
        "moderation": (),
    }
    return Generation(**(values | changes))


def make_prompts(rows: Sequence[Mapping[str, Any]], **recipe: Any) -> CheckedPrompts:
    """A checked table; every row must be accepted."""
    columns = list(dict.fromkeys(["prompt", *(name for row in rows for name in row)]))
    frame = pd.DataFrame([dict(row) for row in rows], columns=columns, dtype=object)
    checked = check_prompt_table(frame, TableRules(recipe=Recipe(**recipe)), MODELS, table="prompts.csv")
    assert checked.rejected.empty, checked.rejected.to_dict("records")
    return checked


class OwnedRequests:
    """A ledger in memory, as the plan asks it: where requests stand, and what those that exist hold for whom."""

    def __init__(self) -> None:
        self.entries: dict[str, LedgerEntry] = {}
        self.existing: dict[str, Existing] = {}

    def add(self, request: GenerationRequest, entry: LedgerEntry, *, bought_for: str = "scenes") -> None:
        self.entries[request.request_id] = entry
        self.existing[request.request_id] = Existing(count=request.count, bought_for=bought_for)

    def entries_of(self, request_ids: Iterable[str]) -> dict[str, LedgerEntry]:
        return {name: self.entries[name] for name in request_ids if name in self.entries}

    def existing_of(self, request_id: str, _entry: LedgerEntry) -> Existing:
        return self.existing[request_id]


def make_plan(
    checked: CheckedPrompts,
    owned: OwnedRequests | None = None,
    *,
    models: ModelCatalog = MODELS,
    hashes: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    owned = owned or OwnedRequests()
    wanted = gather_wanted(specs_of(checked.prompts, hashes or {}), checked.prompts)
    return plan_requests(wanted, models=models, entries_of=owned.entries_of, existing_of=owned.existing_of)
