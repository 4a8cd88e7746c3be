"""A sample of a plan: a few single images, spread over the table, that are bought before the rest is approved.

A request of eight images is cut for it, so that twelve images show twelve prompts and not two. Deterministic: the same
plan gives the same sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from seedream_assets.config.models import ModelCatalog, credits_for
from seedream_assets.ledger.state import RequestState
from seedream_assets.leonardo.requests import make_request
from seedream_assets.planning.plan import PLAN_COLUMNS, read_plan
from seedream_assets.storage.parquet import iterate_rows, to_parquet


def choose_spread(total: int, most: int) -> list[int]:
    """At most `most` of the places 0 … total - 1, evenly spread; ordered so that its first few are spread as well."""
    chosen = min(total, most)
    if not chosen:
        return []
    bits = max(1, (chosen - 1).bit_length())
    turned = sorted(range(chosen), key=lambda place: int(f"{place:0{bits}b}"[::-1], 2))
    return [place * total // chosen for place in turned]


def draw_sample(
    plan: pd.DataFrame, *, images: int, models: ModelCatalog, kept: Mapping[str, int] | None = None, top_up: bool = True
) -> pd.DataFrame:
    """The plan with its sample: `sample_rank` counts the sample's requests from 0, and is NA for the others.

    Requests of the sample that nobody has bought are cut so that they hold the sample's images and no more.

    Args:
        plan: Columns as `PLAN_COLUMNS`.
        images: How many; fewer where less is to buy.
        models: For seeds and prices of what is cut.
        kept: A sample drawn earlier, images by request id: what the plan still wants of it stays in the sample.
        top_up: Whether further images are drawn where `kept` has become smaller than `images`.
    """
    planned = dict(zip(plan["request_id"].astype(str), plan["count"].astype(int), strict=True))
    taken = {name: min(count, planned[name]) for name, count in (kept or {}).items() if name in planned}
    if top_up:
        taken |= _draw_more(plan, images - sum(taken.values()), taken)
    ranks = {request_id: rank for rank, request_id in enumerate(taken)}
    cut = _cut(plan, taken, models)
    return cut.assign(sample_rank=cut["request_id"].map(ranks).astype("Int64"))


def _draw_more(plan: pd.DataFrame, images: int, taken: Mapping[str, int]) -> dict[str, int]:
    """Images by request id: of as many specs as there are images, evenly over those that have something to buy."""
    free = plan[(plan["standing"] == RequestState.FREE.value) & ~plan["request_id"].isin(list(taken))]
    firsts = free.drop_duplicates("spec_id")
    places = choose_spread(len(firsts), max(0, images))
    if not places:
        return {}
    share, odd = divmod(images, len(places))
    chosen = firsts.iloc[places]
    return {
        str(request_id): min(int(count), share + (number < odd))
        for number, (request_id, count) in enumerate(zip(chosen["request_id"], chosen["count"], strict=True))
    }


def _cut(plan: pd.DataFrame, taken: Mapping[str, int], models: ModelCatalog) -> pd.DataFrame:
    """The plan with every request of the sample that is free and too large in two: the sample's part, and the rest."""
    too_large = (plan["standing"] == RequestState.FREE.value) & (
        plan["count"] > plan["request_id"].map(dict(taken)).astype("Float64").fillna(float("inf"))
    )
    if not too_large.any():
        return plan
    rows = iterate_rows(to_parquet(plan[too_large]))
    parts = pd.DataFrame(
        [part for row in rows for part in _parts(row, taken[row["request_id"]], models)],
        columns=list(PLAN_COLUMNS),
        index=plan.index[too_large].repeat(2),
    ).astype(dict(PLAN_COLUMNS))
    # Stable, so that the requests of a spec go on following each other in their order.
    return pd.concat([plan[~too_large], parts]).sort_index(kind="stable").reset_index(drop=True)


def _parts(row: Mapping[str, Any], images: int, models: ModelCatalog) -> Iterable[dict[str, Any]]:
    ((request, _entry),) = read_plan([row])
    model = models.find(request.spec.model)
    for start, count in ((request.start, images), (request.start + images, request.count - images)):
        part = make_request(request.spec, start=start, count=count, model=model, public=request.public)
        yield {
            **row,
            "request_id": part.request_id,
            "start": start,
            "count": count,
            "wanted": count,
            "seed": part.seed,
            "credits": credits_for(model, count),
            # Another request than before, with a history of its own: none, where it does not begin at the same sample.
            "attempt": row["attempt"] if start == request.start else 0,
        }
