"""Costs by unit: kept apart, or made one at the known rate. Pure.

An account bills in dollars or in credits; what no answer gave a cost of is booked in credits, as was quoted. So one run
can have both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import pandas as pd

from seedream_assets.config.models import DOLLARS_PER_CREDIT

Costs = Mapping[str, Decimal]
CREDITS, DOLLARS = "CREDITS", "DOLLARS"
# Of what no answer gave a cost: what was quoted.
QUOTED = "CREDITS (quoted)"
_RATE = Decimal(str(DOLLARS_PER_CREDIT))


def add_costs(several: Iterable[Costs]) -> dict[str, Decimal]:
    """Each unit's sum."""
    total: defaultdict[str, Decimal] = defaultdict(Decimal)
    for costs in several:
        for unit, amount in costs.items():
            total[unit] += amount
    return dict(total)


def costs_of_images(images: pd.DataFrame) -> dict[str, Decimal]:
    """By unit, what a manifest's images cost; those without a known cost as quoted, in `QUOTED`.

    Args:
        images: Each once, with `status`, `cost_amount`, `cost_unit`, `credits_quoted`, `reused`.
    """
    known = images[images["cost_unit"].notna()].groupby("cost_unit")["cost_amount"].sum()
    costs = {str(unit): Decimal(str(amount)) for unit, amount in known.items()}
    unknown = images[(images["status"] == "stored") & images["cost_unit"].isna() & ~images["reused"].astype("bool")]
    return costs | ({QUOTED: Decimal(str(unknown["credits_quoted"].sum()))} if len(unknown) else {})


def in_one_unit(costs: Costs) -> tuple[Decimal, str]:
    """The amount and its unit where there is but one; else all of it in credits, dollars at `DOLLARS_PER_CREDIT`."""
    if len(costs) == 1:
        ((unit, amount),) = costs.items()
        return amount, unit
    credits = sum((amount / _RATE if unit == DOLLARS else amount for unit, amount in costs.items()), Decimal(0))
    return round(credits, 2) if costs else Decimal(0), CREDITS


def costs_as_json(costs: Costs) -> dict[str, Any]:
    """`cost`, in one unit, with the rate where units had to be made one; and `costs`, each unit apart."""
    amount, unit = in_one_unit(costs)
    rate = {"dollars_per_credit": DOLLARS_PER_CREDIT} if len(costs) > 1 else {}
    return {
        "cost": {"amount": float(amount), "unit": unit, **rate},
        "costs": [{"amount": float(costs[unit]), "unit": unit} for unit in sorted(costs)],
    }


def costs_in_json(facts: Mapping[str, Any]) -> dict[str, Decimal]:
    """What `costs_as_json` wrote, by unit."""
    return {cost["unit"]: Decimal(str(cost["amount"])) for cost in facts["costs"]}


def describe_costs(costs: Costs) -> str:
    """For people: 364 credits and 1.97 dollars, and what that is together."""
    parts = [f"{float(costs[unit]):.10g} {unit.lower()}" for unit in sorted(costs)]
    if len(parts) < 2:
        return parts[0] if parts else "nothing"
    amount, _ = in_one_unit(costs)
    return f"{' and '.join(parts)} ({float(amount):.10g} credits in all, at {DOLLARS_PER_CREDIT:g} dollars a credit)"
