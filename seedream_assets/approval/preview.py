"""What the sample of a plan showed: how many images came, what they cost, and what the rest would cost at that."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

import pandas as pd

from seedream_assets.budget.costs import CREDITS, QUOTED, add_costs, costs_of_images, in_one_unit

_WITHOUT_IMAGE = ("blocked", "failed", "withheld")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFindings:
    """A sample as it was bought.

    Attributes:
        wanted: Images of the sample; `stored` of them came, `lost` are final without one, the rest has not ended.
        cost: What the ended ones cost, in `unit`, as the API told it; where it told some costs in another unit, or told
            none of a stored image, all of it in credits.
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
        """The sample and the rest at the measured cost, with its unit; at the price list's where nothing is measured."""
        if self.cost_per_image is None or self.unit is None:
            return float(self.quoted_left), "CREDITS"
        return self.cost + self.left * self.cost_per_image, self.unit

    def __str__(self) -> str:
        total, unit = self.projected_total
        if not self.wanted:
            return f"no sample was drawn; {self.left} images for {self.quoted_left} credits by the price list"
        share = "" if self.failure_share is None else f" ({self.failure_share:.0%} without an image)"
        measured = (
            f"measured {self.cost_per_image:g} {unit.lower()} an image"
            if self.cost_per_image is not None
            else "no cost told"
        )
        return (
            f"sample: {self.stored} of {self.wanted} images stored{share}, {measured}; {self.left} images are left, "
            f"about {total:g} {unit.lower()} in all"
        )


def assess_sample(manifest: pd.DataFrame, sample: Collection[str]) -> SampleFindings:
    """What a manifest tells of a sample.

    Args:
        manifest: Columns as `MANIFEST_COLUMNS`.
        sample: Its request ids.
    """
    images = manifest.drop_duplicates("image_id")
    drawn = images[images["request_id"].isin(list(sample))]
    costs = _costs_of(drawn)
    cost, unit = in_one_unit(costs)
    waiting = images[images["status"] == "awaiting_approval"]
    return SampleFindings(
        wanted=len(drawn),
        stored=int((drawn["status"] == "stored").sum()),
        lost=int(drawn["status"].isin(_WITHOUT_IMAGE).sum()),
        cost=float(cost),
        unit=unit if costs else None,
        left=len(waiting),
        quoted_left=round(float(waiting["credits_quoted"].sum())),
    )


def _costs_of(images: pd.DataFrame) -> dict[str, Decimal]:
    """By unit, as told; what no answer told counts in credits as quoted, once any cost was told at all."""
    costs = costs_of_images(images)
    quoted = costs.pop(QUOTED, Decimal(0))
    return add_costs([costs, {CREDITS: quoted}]) if costs and quoted else costs
