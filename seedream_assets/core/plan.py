"""From checked prompts to the plan: which requests are wanted, which of them are owned, and what the rest costs.

Planning spends nothing and asks the paid API nothing. What is owned is told by the ledger's standings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from seedream_assets.core.errors import PromptTableError
from seedream_assets.core.generation_requests import (
    GenerationRequest,
    GenerationSpec,
    Reference,
    request_id_for,
    split_demand,
)
from seedream_assets.core.ledger import FRESH, RequestState, Standing
from seedream_assets.core.models import ModelCatalog, credits_for

PLAN_COLUMNS: Mapping[str, str] = {
    "request_id": "string",
    "spec_id": "string",
    "start": "int64",
    "count": "int64",
    "seed": "int64",
    "row_seed": "Int64",
    "model": "string",
    "prompt": "string",
    "width": "int64",
    "height": "int64",
    "style": "string",
    "prompt_enhance": "string",
    "references": "string",
    "public": "bool",
    "wanted": "int64",
    "credits": "int64",
    "standing": "string",
    "attempt": "int64",
    "bought_for": "string",
    "row_number": "int64",
}
# Columns that came later, with what a plan that was written before them is read as.
LATER_PLAN_COLUMNS: Mapping[str, Any] = {"bought_for": None}
# Where requests stand, asked for many at a time.
StandingsOf = Callable[[Iterable[str]], Mapping[str, Standing]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """What is known of a request that exists, from its intent or from a manifest.

    Attributes:
        count: Images that it was sent for.
        bought_for: The dataset that bought it.
    """

    count: int
    bought_for: str


ExistingOf = Callable[[str, Standing], Existing]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One spec with the most samples that any row wants of it.

    Attributes:
        public: True when any row that wants it is public.
        row_number: The first row that wants it.
    """

    spec: GenerationSpec
    quantity: int
    public: bool
    row_number: int


def specs_of(prompts: pd.DataFrame, reference_hashes: Mapping[str, str]) -> Iterator[GenerationSpec]:
    """The spec of every accepted row, in order.

    Args:
        prompts: As `check_prompt_table` gives them.
        reference_hashes: SHA-256 of each reference image that is named by path or address.
    """
    columns = ["model", "prompt", "width", "height", "style", "prompt_enhance", "seed", "references"]
    for row in prompts[columns].itertuples(index=False, name=None):
        model, prompt, width, height, style, prompt_enhance, seed, references = row
        yield GenerationSpec(
            model=model,
            prompt=prompt,
            width=int(width),
            height=int(height),
            style=style,
            prompt_enhance=prompt_enhance,
            seed=None if pd.isna(seed) else int(seed),
            references=read_references(references, reference_hashes),
        )


def read_references(cell: Any, hashes: Mapping[str, str]) -> tuple[Reference, ...]:
    """The references in a checked row's cell."""
    if not isinstance(cell, str) or cell in ("", "[]"):
        return ()
    return tuple(
        Reference(leonardo_id=item["id"], type=item["type"], strength=item["strength"])
        if "id" in item
        else Reference(sha256=hashes[item["source"]], strength=item["strength"])
        for item in json.loads(cell)
    )


def reference_sources(prompts: pd.DataFrame) -> list[str]:
    """Every path or address that the rows' references name, once each, in order of appearance."""
    sources: dict[str, None] = {}
    for cell in prompts["references"].dropna().unique():
        for item in json.loads(cell) if cell else ():
            if "source" in item:
                sources[item["source"]] = None
    return list(sources)


def gather_wanted(prompts: pd.DataFrame, specs: Iterable[GenerationSpec]) -> dict[str, Wanted]:
    """The wanted specs by spec id, in order of their first row. Rows that want the same picture share it."""
    wanted: dict[str, Wanted] = {}
    rows = prompts[["quantity", "public", "row_number"]].itertuples(index=False, name=None)
    for spec, (quantity, public, row_number) in zip(specs, rows, strict=True):
        known = wanted.get(spec.spec_id)
        if known is None:
            wanted[spec.spec_id] = Wanted(
                spec=spec, quantity=int(quantity), public=bool(public), row_number=int(row_number)
            )
        elif quantity > known.quantity or (public and not known.public):
            wanted[spec.spec_id] = replace(
                known, quantity=max(known.quantity, int(quantity)), public=known.public or bool(public)
            )
    return wanted


def plan_requests(
    wanted: Iterable[Wanted], *, models: ModelCatalog, standings_of: StandingsOf, existing_of: ExistingOf
) -> pd.DataFrame:
    """The plan: one row per request, in order of first want, columns and dtypes as `PLAN_COLUMNS`.

    `wanted` counts the samples of the request that the dataset wants; `credits` is the price of the whole request.
    Borders of requests that exist already are kept.

    Args:
        wanted: What is wanted.
        models: Limits and prices.
        standings_of: The ledger.
        existing_of: Size and buyer of an existing request.

    Raises:
        BudgetError: A model's price is not known.
        LimitError: Something lies outside the limits.
    """
    all_wanted = list(wanted)
    borders: dict[str, dict[int, int]] = {}
    standings: dict[str, Standing] = {}
    buyers: dict[str, str] = {}

    def count_of(request_id: str, standing: Standing) -> int:
        existing = existing_of(request_id, standing)
        buyers[request_id] = existing.bought_for
        return existing.count

    unsettled = all_wanted
    while unsettled:
        starts = {one.spec.spec_id: _starts_to_ask_for(one, models, borders) for one in unsettled}
        ids = [request_id_for(spec_id, start) for spec_id, asked in starts.items() for start in asked]
        standings.update(standings_of([request_id for request_id in ids if request_id not in standings]))
        learned = [one for one in unsettled if _learn_borders(one, starts, standings, borders, count_of)]
        unsettled = [one for one in learned if not _is_all_owned(one, models, borders)]
    rows = [
        _plan_row(one, request, standings.get(request.request_id, FRESH), buyers.get(request.request_id), models)
        for one in all_wanted
        for request in _split(one, models, borders)
    ]
    return pd.DataFrame(rows, columns=list(PLAN_COLUMNS)).astype(dict(PLAN_COLUMNS))


def _split(one: Wanted, models: ModelCatalog, borders: Mapping[str, dict[int, int]]) -> Iterator[GenerationRequest]:
    return split_demand(
        one.spec,
        one.quantity,
        model=models.find(one.spec.model),
        public=one.public,
        owned=borders.get(one.spec.spec_id),
    )


def _starts_to_ask_for(one: Wanted, models: ModelCatalog, borders: Mapping[str, dict[int, int]]) -> Iterable[int]:
    """Where requests of a spec may begin: as it would be split; once a part of it exists, anywhere.

    An earlier plan, for another quantity or with another part owned, may have had its borders at any sample.
    """
    if borders.get(one.spec.spec_id):
        return range(one.quantity)
    return [request.start for request in _split(one, models, borders)]


def _learn_borders(
    one: Wanted,
    starts: Mapping[str, Iterable[int]],
    standings: Mapping[str, Standing],
    borders: dict[str, dict[int, int]],
    count_of: Callable[[str, Standing], int],
) -> bool:
    """Note the sizes of a spec's requests that exist; True when one of them was not known yet."""
    spec_id = one.spec.spec_id
    known = borders.setdefault(spec_id, {})
    before = len(known)
    for start in starts[spec_id]:
        request_id = request_id_for(spec_id, start)
        standing = standings.get(request_id, FRESH)
        if standing.state is not RequestState.FREE and start not in known:
            known[start] = count_of(request_id, standing)
    return len(known) > before


def _is_all_owned(one: Wanted, models: ModelCatalog, borders: Mapping[str, dict[int, int]]) -> bool:
    return all(request.start in borders[one.spec.spec_id] for request in _split(one, models, borders))


def _plan_row(
    one: Wanted, request: GenerationRequest, standing: Standing, bought_for: str | None, models: ModelCatalog
) -> tuple[Any, ...]:
    spec = request.spec
    return (
        request.request_id,
        spec.spec_id,
        request.start,
        request.count,
        request.seed,
        spec.seed,
        spec.model,
        spec.prompt,
        spec.width,
        spec.height,
        spec.style,
        spec.prompt_enhance,
        json.dumps([reference.identity for reference in spec.references]) if spec.references else "[]",
        request.public,
        min(request.count, one.quantity - request.start),
        credits_for(models.find(spec.model), request.count),
        standing.state.value,
        standing.attempt,
        bought_for,
        one.row_number,
    )


def read_plan(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[GenerationRequest, Standing]]:
    """The requests of a plan and where they stood, from its rows as plain values, one at a time.

    Raises:
        PromptTableError: The plan's rows do not belong to their ids: it was edited, or written by another version.
    """
    for row in rows:
        spec = GenerationSpec(
            model=row["model"],
            prompt=row["prompt"],
            width=row["width"],
            height=row["height"],
            style=row["style"],
            prompt_enhance=row["prompt_enhance"],
            seed=row["row_seed"],
            references=tuple(
                Reference(leonardo_id=item["id"], type=item["type"], strength=item["strength"])
                if "id" in item
                else Reference(sha256=item["sha256"], strength=item["strength"])
                for item in json.loads(row["references"])
            ),
        )
        if request_id_for(spec.spec_id, row["start"]) != row["request_id"]:
            raise PromptTableError(
                f"the plan's row for request {row['request_id']} does not belong to it; plan the dataset again"
            )
        request = GenerationRequest(
            spec=spec, start=row["start"], count=row["count"], seed=row["seed"], public=row["public"]
        )
        yield request, Standing(state=RequestState(row["standing"]), attempt=row["attempt"])
