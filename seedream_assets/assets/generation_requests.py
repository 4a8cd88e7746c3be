"""The asset `generation_requests`: what is owned, what is to buy, what it will cost. Materialising it is the quote.

Its two checks stand between the quote and the first credit: both block `images`. How a plan is made, and what it costs,
is decided in `seedream_assets.planning` and `seedream_assets.budget`, not here.
"""

from collections.abc import Callable, Iterator
from functools import cache
from hashlib import sha256
from typing import Any

import dagster as dg

from seedream_assets.approval.rules import Gate, approval_rows
from seedream_assets.approval.store import gate_of
from seedream_assets.assets.asset_context import AssetContext, Materialised
from seedream_assets.assets.partition_report import PLAN, SNAPSHOT, as_dagster_failures, materialise, versions_in_run
from seedream_assets.assets.ui_metadata import markdown_table, rows_table, stored_metadata
from seedream_assets.budget.log import read_budget
from seedream_assets.config.dataset import NO_CAP, DatasetConfig
from seedream_assets.deployment import Deployment
from seedream_assets.errors import LimitError
from seedream_assets.ledger.state import RequestState
from seedream_assets.planning.outlook import AccountReading, look_ahead, read_account
from seedream_assets.planning.plan import outside_limits
from seedream_assets.planning.quote import Outlook, Quote, dollars_for, quote_rows
from seedream_assets.planning.stage import Plan
from seedream_assets.prompts.columns import ColumnReport, column_rows
from seedream_assets.prompts.stage import load_snapshot
from seedream_assets.quality.replanning import keep_plan, plan_partition
from seedream_assets.resources import ImageStoreResource, LeonardoResource
from seedream_assets.storage.parquet import to_parquet
from seedream_assets.wording import count_of

# What a request was already bought for changes no picture: buying the plan must not make the plan look new.
NOT_CONTENT = ["standing", "attempt", "wanted", "credits", "bought_for"]
SHOWN = ["row_number", "prompt", "model", "width", "height", "style", "seed", "count", "credits", "standing"]
WITHIN_LIMITS = "requests_within_limits"
WITHIN_BUDGET = "quote_within_budget"
LISTED = 20
LONGEST_QUOTED = 300


class QuoteChecks:
    """The checks of one step. A range of partitions is one run and one budget, so the quotes are added up.

    Attributes:
        credits_so_far: What the partitions come to that were checked before.
    """

    def __init__(self, config: DatasetConfig, deployment: Deployment) -> None:
        self._config = config
        self._deployment = deployment
        self.credits_so_far = 0

    @staticmethod
    def specs(assets: AssetContext) -> list[dg.AssetCheckSpec]:
        """What the asset is declared with."""
        return [
            assets.check_spec(
                "generation_requests",
                WITHIN_LIMITS,
                description="Every request to buy is within the limits of its model and of this deployment.",
                blocking=True,
            ),
            assets.check_spec(
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

    def outside_limits(self, message: str) -> dg.AssetCheckResult:
        """The failed check of a plan that could not be made."""
        return dg.AssetCheckResult(check_name=WITHIN_LIMITS, passed=False, description=message)

    def _within_limits(self, plan: Plan) -> dg.AssetCheckResult:
        free = plan.requests[plan.requests["standing"] == RequestState.FREE.value]
        refused = outside_limits(free, self._deployment.models)
        outside = [f"{free['request_id'].iloc[at]}: {error}" for at, error in refused.items()]
        return dg.AssetCheckResult(
            check_name=WITHIN_LIMITS,
            passed=not outside,
            description="; ".join(outside[:LISTED])
            or f"{count_of(len(free), 'request')} to buy within the limits, none outside",
            metadata={"requests_to_buy": len(free), "requests_outside": len(outside)},
        )

    def _within_budget(self, plan: Plan) -> dg.AssetCheckResult:
        """A cap of a run or of all runs blocks. A day's cap lets through what is left of the day: it is a rate."""
        budget, still_open = self._config.budget, plan.quote.open
        facts = {"credits_to_buy": plan.quote.credits_to_buy}
        if self.credits_so_far:
            facts["credits_to_buy_in_this_run"] = self.credits_so_far + plan.quote.credits_to_buy
        self.credits_so_far += plan.quote.credits_to_buy
        if still_open.requests:
            facts |= {
                "open_requests": still_open.requests,
                "credits_held_back": still_open.credits_held,
                "credits_if_unbought": still_open.credits_again,
            }
        asked = f"{count_of(self.credits_so_far, 'credit')} to buy; "
        if budget.is_missing:
            message = f"{asked}{NO_CAP}: nothing was bought"
            return dg.AssetCheckResult(
                check_name=WITHIN_BUDGET, passed=not self.credits_so_far, description=message, metadata=facts
            )
        crossed = self._crossed_caps(facts)
        left_today = facts.get("max_credits_per_day", 0) - facts.get("credits_committed_today", 0)
        in_part = len(crossed) == 1 and "max_credits_per_day" in crossed and left_today > 0
        within = "the budget is unlimited" if budget.unlimited else "within the budget"
        message = asked + (" and ".join(crossed.values()) or within)
        if in_part:
            message += "; what fits is bought, the rest by a run on another day (UTC)"
        elif crossed:
            message += "; raise the budget or want less: nothing was bought"
        if still_open.requests:
            message += f"; {still_open}"
        severity = dg.AssetCheckSeverity.WARN if in_part else dg.AssetCheckSeverity.ERROR
        return dg.AssetCheckResult(
            check_name=WITHIN_BUDGET, passed=not crossed, description=message, metadata=facts, severity=severity
        )

    def _crossed_caps(self, facts: dict[str, int]) -> dict[str, str]:
        """The caps that the step's quotes cross, with what there is to say; every cap's numbers are added to `facts`."""
        budget, asked = self._config.budget, self.credits_so_far
        crossed: dict[str, str] = {}
        if budget.max_credits_per_run is not None:
            facts["max_credits_per_run"] = budget.max_credits_per_run
            if asked > budget.max_credits_per_run:
                crossed["max_credits_per_run"] = f"max_credits_per_run is {budget.max_credits_per_run}"
        by_day = budget.max_credits_per_day is not None
        if not by_day and budget.max_credits_total is None:
            return crossed
        state = read_budget(self._deployment.store, self._config.name, today=by_day)
        if budget.max_credits_total is not None:
            facts |= {"max_credits_total": budget.max_credits_total, "credits_committed": state.committed}
            if asked and state.committed + asked > budget.max_credits_total:
                cap = f"max_credits_total is {budget.max_credits_total}"
                crossed["max_credits_total"] = f"{cap}, of which {state.committed} are committed"
        if budget.max_credits_per_day is not None:
            facts |= {
                "max_credits_per_day": budget.max_credits_per_day,
                "credits_committed_today": state.committed_today,
            }
            if asked and state.committed_today + asked > budget.max_credits_per_day:
                left = max(0, budget.max_credits_per_day - state.committed_today)
                cap = f"max_credits_per_day is {budget.max_credits_per_day}"
                crossed["max_credits_per_day"] = f"{cap}, of which {left} are left today"
        return crossed


def build_generation_requests(assets: AssetContext) -> dg.AssetsDefinition:
    """The second asset of a dataset."""

    @dg.asset(
        **assets.options(
            "generation_requests",
            kinds={"parquet"},
            description="The plan: which requests are owned, which are to buy, and what they will cost. Spends nothing.",
            after=("prompts",),
        ),
        check_specs=QuoteChecks.specs(assets),
    )
    def generation_requests(
        context: dg.AssetExecutionContext, leonardo: LeonardoResource, image_store: ImageStoreResource
    ) -> Iterator[Any]:
        with as_dagster_failures():
            deployment = assets.deployment(leonardo, image_store)
            checks = QuoteChecks(assets.config, deployment)
            # Once for all partitions, and only where there is something to buy.
            account = cache(lambda: read_account(deployment.leonardo))
            snapshots = versions_in_run(context, assets.key("prompts"), SNAPSHOT)
            yield from materialise(
                context,
                assets,
                "generation_requests",
                store_url=deployment.store.url,
                work=lambda partition: _plan(
                    context, assets, partition, deployment, checks, account, snapshots.get(partition)
                ),
            )

    return generation_requests


def _plan(
    context: dg.AssetExecutionContext,
    assets: AssetContext,
    partition: str,
    deployment: Deployment,
    checks: QuoteChecks,
    account: Callable[[], AccountReading],
    snapshot_version: str | None,
) -> Materialised:
    config = assets.config
    snapshot = load_snapshot(deployment.store, config, partition, snapshot_version)
    try:
        plan = plan_partition(config, partition, snapshot, deployment, credits_beside=checks.credits_so_far)
    except LimitError as error:
        message = f"{error}; the limits are tighter than when the prompts were checked: materialise prompts again"
        return Materialised(incomplete=message, checks=(checks.outside_limits(message),))
    version = keep_plan(deployment.store, config, partition, plan)
    quote = plan.quote
    gate = gate_of(config, partition, plan.requests, deployment.store)
    outlook = look_ahead(plan, deployment, account)
    stored_at = config.key("requests", partition)
    context.log.info(
        "%s wanted, %s owned; to buy: %s in %s for %s",
        count_of(quote.wanted, "image"),
        quote.owned_images,
        count_of(quote.images_to_buy, "image"),
        count_of(quote.to_buy, "request"),
        count_of(quote.credits_to_buy, "credit"),
    )
    return Materialised(
        metadata={
            "quote": dg.MetadataValue.md(_quote_table(snapshot.checked.columns, quote, outlook, gate, config.name)),
            **({"plan_hash": gate.hash} if gate.plans else {}),
            **_numbers(quote, outlook, config.name),
            "example_rows": rows_table(plan.requests[SHOWN], rows=10),
            PLAN: version,
            "dagster/row_count": len(plan.requests),
            **stored_metadata(deployment.store, stored_at),
        },
        data_version=sha256(to_parquet(plan.requests.drop(columns=NOT_CONTENT))).hexdigest(),
        checks=checks.of(plan),
    )


def _quote_table(columns: ColumnReport, quote: Quote, outlook: Outlook, gate: Gate, dataset: str) -> str:
    """Two columns: Dagster cuts off what is wider than the column that it gives to a value."""
    rows = [*column_rows(columns), *quote_rows(quote, outlook, dataset=dataset), *approval_rows(gate)]
    cells = [(what, f"{much}, {why}" if why else much) for what, much, why in rows]
    return markdown_table(["what", "how much"], cells, longest=LONGEST_QUOTED)


def _numbers(quote: Quote, outlook: Outlook, dataset: str) -> dict[str, int | float]:
    """For plots; a number that is not known is left out, and the table says why."""
    share = outlook.share_of_balance(quote)
    return {
        "credits_to_buy": quote.credits_to_buy,
        "dollars_to_buy": dollars_for(quote.credits_to_buy),
        "credits_quoted": quote.credits_quoted,
        "credits_saved": quote.credits_saved,
        "images_wanted": quote.wanted,
        "images_owned": quote.owned_images,
        "images_taken_over": sum(quote.owned_by_others(dataset).values()),
        "images_in_flight": quote.in_flight,
        "images_ended_without": quote.ended_without_images,
        "images_replaced": quote.replacements,
        "open_requests": quote.open.requests,
        "credits_held_back": quote.open.credits_held,
        "credits_if_unbought": quote.open.credits_again,
        "images_to_buy": quote.images_to_buy,
        "requests": quote.requests,
        "requests_to_buy": quote.to_buy,
        "seconds_to_buy": round(outlook.seconds_for(quote), 1),
        **({} if share is None else {"share_of_balance": round(share, 4)}),
    }
