"""The two checks that stand between the quote and the first credit; both block `images`."""

from __future__ import annotations

import dagster as dg

from seedream_assets.assets.frame import AssetFrame
from seedream_assets.budget.log import BudgetState, read_budget
from seedream_assets.budget.rules import NO_CAP, Budget
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.deployment import Deployment
from seedream_assets.ledger.state import OpenRequests, RequestState
from seedream_assets.planning.plan_rows import outside_limits
from seedream_assets.planning.stage import Plan

WITHIN_LIMITS = "requests_within_limits"
WITHIN_BUDGET = "quote_within_budget"
TOLD = 20


class QuoteChecks:
    """The checks of one step. A range of partitions is one run and one budget, so the quotes are added up."""

    def __init__(self, key: dg.AssetKey, config: DatasetConfig, deployment: Deployment) -> None:
        self._key = key
        self._config = config
        self._deployment = deployment
        self._credits = 0

    @property
    def credits_so_far(self) -> int:
        """What the partitions come to that were checked before."""
        return self._credits

    @staticmethod
    def specs(frame: AssetFrame) -> list[dg.AssetCheckSpec]:
        """What the asset is declared with."""
        return [
            frame.check_spec(
                "generation_requests",
                WITHIN_LIMITS,
                description="Every request to buy is within the limits of its model and of this deployment.",
                blocking=True,
            ),
            frame.check_spec(
                "generation_requests",
                WITHIN_BUDGET,
                description="What is to buy is within the budget of one run, of this day, and of the dataset over all of its runs; "
                "and there is a budget, or the YAML says that it is unlimited.",
                blocking=True,
            ),
        ]

    def of(self, plan: Plan) -> tuple[dg.AssetCheckResult, ...]:
        """Both checks of one partition's plan."""
        return (self._within_limits(plan), self._within_budget(plan))

    def outside_limits(self, told: str) -> dg.AssetCheckResult:
        """The failed check of a plan that could not be made."""
        return self._result(WITHIN_LIMITS, passed=False, description=told, metadata={})

    def _within_limits(self, plan: Plan) -> dg.AssetCheckResult:
        free = plan.requests[plan.requests["standing"] == RequestState.FREE.value]
        refused = outside_limits(free, self._deployment.models)
        outside = [f"{free['request_id'].iloc[at]}: {error}" for at, error in refused.items()]
        return self._result(
            WITHIN_LIMITS,
            passed=not outside,
            description="; ".join(outside[:TOLD]) or f"all {len(free)} requests to buy are within the limits",
            metadata={"requests_to_buy": len(free), "requests_outside": len(outside)},
        )

    def _within_budget(self, plan: Plan) -> dg.AssetCheckResult:
        budget = self._config.budget
        asked, still_open = plan.quote.credits_to_buy, plan.quote.open
        self._credits += asked
        facts: dict[str, int] = {"credits_to_buy": asked}
        if still_open.requests:
            facts |= {
                "open_requests": still_open.requests,
                "credits_held_back": still_open.credits_held,
                "credits_if_unbought": still_open.credits_again,
            }
        crossed: list[str] = []
        if self._credits != asked:
            facts["credits_to_buy_in_this_run"] = self._credits
        if budget.is_missing:
            told = f"{self._credits} credits to buy; {NO_CAP}: nothing was bought"
            return self._result(WITHIN_BUDGET, passed=not self._credits, description=told, metadata=facts)
        if budget.max_credits_per_run is not None:
            facts["max_credits_per_run"] = budget.max_credits_per_run
            if self._credits > budget.max_credits_per_run:
                crossed.append(f"max_credits_per_run is {budget.max_credits_per_run}")
        by_day = budget.max_credits_per_day is not None
        entry = BudgetState(committed=0, committed_today=0)
        if by_day or budget.max_credits_total is not None:
            entry = read_budget(self._deployment.store, self._config.name, today=by_day)
        if budget.max_credits_total is not None:
            facts |= {"max_credits_total": budget.max_credits_total, "credits_committed": entry.committed}
            if self._credits and entry.committed + self._credits > budget.max_credits_total:
                crossed.append(
                    f"max_credits_total is {budget.max_credits_total}, of which {entry.committed} are committed"
                )
        left_today = None
        if budget.max_credits_per_day is not None:
            today = entry.committed_today
            facts |= {"max_credits_per_day": budget.max_credits_per_day, "credits_committed_today": today}
            if self._credits and today + self._credits > budget.max_credits_per_day:
                left_today = max(0, budget.max_credits_per_day - today)
        return self._judged(crossed, left_today, facts, still_open)

    def _judged(
        self, crossed: list[str], left_today: int | None, facts: dict[str, int], still_open: OpenRequests
    ) -> dg.AssetCheckResult:
        """A cap of a run or of all runs blocks. A day's cap lets through what is left of the day: it is a rate."""
        if left_today is not None:
            crossed.append(
                f"max_credits_per_day is {facts['max_credits_per_day']}, of which {left_today} are left today"
            )
        told = f"{self._credits} credits to buy; " + (" and ".join(crossed) or _within(self._config.budget))
        in_part = bool(left_today) and len(crossed) == 1
        if in_part:
            told += "; what fits is bought, the rest by a run on another day (UTC)"
        elif crossed:
            told += "; raise the budget or want less: nothing was bought"
        if still_open.requests:
            told += f"; {still_open}"
        severity = dg.AssetCheckSeverity.WARN if in_part else dg.AssetCheckSeverity.ERROR
        return self._result(WITHIN_BUDGET, passed=not crossed, description=told, metadata=facts, severity=severity)

    def _result(
        self,
        name: str,
        *,
        passed: bool,
        description: str,
        metadata: dict[str, int],
        severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    ) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(
            check_name=name,
            asset_key=self._key,
            passed=passed,
            description=description,
            metadata=metadata,
            severity=severity,
        )


def _within(budget: Budget) -> str:
    return "the budget is unlimited" if budget.unlimited else "within the budget"
