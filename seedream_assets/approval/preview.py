"""The preview of a plan: a few single images, spread over the table, that are bought before the rest is approved.

`draw_preview` cuts it out of the plan: a request of eight images is cut, so that twelve images show twelve prompts and
not two. The same plan gives the same preview. `assess_preview` says what came of it: how many images, what they cost,
and what the rest would cost at that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pandas as pd

from seedream_assets.approval.rules import choose_spread
from seedream_assets.budget.costs import CREDITS, QUOTED, add_costs, costs_of_images, in_one_unit
from seedream_assets.config.models import ModelCatalog, credits_for
from seedream_assets.ledger.state import RequestState
from seedream_assets.leonardo.requests import make_request
from seedream_assets.planning.plan import PLAN_COLUMNS, read_plan
from seedream_assets.storage.parquet import iterate_rows, to_parquet
from seedream_assets.wording import count_of

_WITHOUT_IMAGE = ("blocked", "failed", "withheld")


def draw_preview(
    plan: pd.DataFrame, *, images: int, models: ModelCatalog, kept: Mapping[str, int] | None = None, top_up: bool = True
) -> pd.DataFrame:
    """The plan with its preview: `sample_rank` counts the preview's requests from 0, and is NA for the others.

    Requests of the preview that nobody has bought are cut so that they hold the preview's images and no more.

    Args:
        plan: Columns as `PLAN_COLUMNS`.
        images: How many; fewer where less is to buy.
        models: For seeds and prices of what is cut.
        kept: A preview drawn earlier, images by request id: what the plan still wants of it stays in the preview.
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
    positions = choose_spread(len(firsts), max(0, images))
    if not positions:
        return {}
    share, odd = divmod(images, len(positions))
    chosen = firsts.iloc[positions]
    return {
        str(request_id): min(int(count), share + (number < odd))
        for number, (request_id, count) in enumerate(zip(chosen["request_id"], chosen["count"], strict=True))
    }


def _cut(plan: pd.DataFrame, taken: Mapping[str, int], models: ModelCatalog) -> pd.DataFrame:
    """The plan with every request of the preview that is free and too large in two: the preview's part, and the rest."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewFindings:
    """A preview as it was bought.

    Attributes:
        wanted: Images of the preview; `stored` of them came, `lost` are final without one, the rest has not ended.
        cost: What the ended ones cost, in `unit`, as the API reported it. Where some costs were reported in another
            unit, or none of a stored image, all of it is in credits.
        unit: CREDITS or DOLLARS; None where nothing was billed yet.
        left: Images that wait for the approval.
        quoted_left: Their price by the price list, in credits.
    """

    wanted: int
    stored: int
    lost: int
    cost: float
    unit: str | None
    left: int
    quoted_left: int

    @property
    def failure_share(self) -> float | None:
        """The part of the ended images that did not come; None before any has ended."""
        ended = self.stored + self.lost
        return self.lost / ended if ended else None

    @property
    def cost_per_image(self) -> float | None:
        """Measured, over all images that ended, those that did not come among them; None where nothing was billed."""
        return self.cost / (self.stored + self.lost) if self.unit is not None else None

    @property
    def projected_total(self) -> tuple[float, str]:
        """The preview and the rest at the measured cost, with its unit; at the price list's where nothing is measured."""
        if self.cost_per_image is None or self.unit is None:
            return float(self.quoted_left), "CREDITS"
        return self.cost + self.left * self.cost_per_image, self.unit

    def __str__(self) -> str:
        total, unit = self.projected_total
        if not self.wanted:
            return f"no preview was drawn; {count_of(self.left, 'image')} for {count_of(self.quoted_left, 'credit')} by the price list"
        share = "" if self.failure_share is None else f" ({self.failure_share:.0%} without an image)"
        measured = (
            f"measured {self.cost_per_image:g} {unit.lower()} an image"
            if self.cost_per_image is not None
            else "no cost reported"
        )
        return (
            f"preview: {self.stored} of {count_of(self.wanted, 'image')} stored{share}, {measured}; {count_of(self.left, 'image')} left, "
            f"about {total:g} {unit.lower()} in all"
        )


def assess_preview(manifest: pd.DataFrame, preview: Collection[str]) -> PreviewFindings:
    """What a manifest says of a preview.

    Args:
        manifest: Columns as `MANIFEST_COLUMNS`.
        preview: Its request ids.
    """
    images = manifest.drop_duplicates("image_id")
    drawn = images[images["request_id"].isin(list(preview))]
    costs = _costs_of(drawn)
    cost, unit = in_one_unit(costs)
    waiting = images[images["status"] == "awaiting_approval"]
    return PreviewFindings(
        wanted=len(drawn),
        stored=int((drawn["status"] == "stored").sum()),
        lost=int(drawn["status"].isin(_WITHOUT_IMAGE).sum()),
        cost=float(cost),
        unit=unit if costs else None,
        left=len(waiting),
        quoted_left=round(float(waiting["credits_quoted"].sum())),
    )


def _costs_of(images: pd.DataFrame) -> dict[str, Decimal]:
    """By unit, as reported; what no answer reported counts in credits as quoted, once any cost was reported at all."""
    costs = costs_of_images(images)
    quoted = costs.pop(QUOTED, Decimal(0))
    return add_costs([costs, {CREDITS: quoted}]) if costs and quoted else costs
