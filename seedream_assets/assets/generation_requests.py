"""The asset `generation_requests`: what is owned, what is to buy, what it will cost. Materialising it is the quote."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import dagster as dg

from seedream_assets.assets.failures import as_dagster_failures
from seedream_assets.assets.frame import AssetFrame, Materialised
from seedream_assets.assets.tables import column_lineage, preview, row_count, table_schema
from seedream_assets.core.models import DOLLARS_PER_CREDIT
from seedream_assets.core.parquet import to_parquet
from seedream_assets.core.plan import PLAN_COLUMNS
from seedream_assets.generation.deployment import Deployment
from seedream_assets.generation.generation_requests import Plan, make_plan, write_plan
from seedream_assets.generation.prompts import load_snapshot
from seedream_assets.resources import ImageStoreResource, LeonardoResource

WITHIN_BUDGET = "quote_within_budget"
FROM_PROMPTS = ("prompt", "model", "width", "height", "style", "prompt_enhance", "references", "public", "row_number")


def build_generation_requests(frame: AssetFrame) -> dg.AssetsDefinition:
    """The second asset of a dataset."""

    @dg.asset(
        **frame.options(
            "generation_requests",
            kinds={"parquet"},
            description="The plan: which requests are owned, which are to buy, and what they will cost. Spends nothing.",
            after=("prompts",),
        ),
        check_specs=[
            dg.AssetCheckSpec(
                WITHIN_BUDGET,
                asset=frame.key("generation_requests"),
                description="What is to buy is within the limits of the model and within the budget of one run.",
                blocking=frame.declaration.budget.max_credits_per_run is not None,
            )
        ],
    )
    def generation_requests(
        context: dg.AssetExecutionContext, leonardo: LeonardoResource, image_store: ImageStoreResource
    ) -> Iterator[Any]:
        with as_dagster_failures():
            deployment = frame.deployment(leonardo, image_store)
            yield from frame.materialise(
                context, "generation_requests", lambda key: _plan(context, frame, key, deployment)
            )

    return generation_requests


def _plan(context: dg.AssetExecutionContext, frame: AssetFrame, key: str, deployment: Deployment) -> Materialised:
    declaration = frame.declaration
    snapshot = load_snapshot(deployment.store, declaration, key)
    plan = make_plan(declaration, key, snapshot, deployment)
    write_plan(deployment.store, declaration, key, plan)
    quote = plan.quote
    context.log.info(
        f"{quote.wanted} images wanted, {quote.owned_images} owned; to buy: {quote.images_to_buy} images in "
        f"{quote.to_buy} requests for {quote.credits_to_buy} credits"
    )
    shown = ["request_id", "standing", "wanted", "credits", "prompt", "width", "height", "style", "seed", "row_number"]
    return Materialised(
        metadata={
            "dagster/row_count": row_count(plan.requests),
            "dagster/uri": deployment.store.uri(declaration.key("requests", key)),
            "dagster/column_schema": table_schema(PLAN_COLUMNS),
            "dagster/column_lineage": column_lineage({name: (frame.key("prompts"), name) for name in FROM_PROMPTS}),
            "images_wanted": quote.wanted,
            "images_owned": quote.owned_images,
            "images_to_buy": quote.images_to_buy,
            "requests_to_buy": quote.to_buy,
            "credits_quoted": quote.credits_quoted,
            "credits_to_buy": quote.credits_to_buy,
            "dollars_to_buy": round(quote.credits_to_buy * DOLLARS_PER_CREDIT, 4),
            "sample": preview(plan.requests[shown], rows=20),
        },
        data_version=sha256(to_parquet(plan.requests)).hexdigest(),
        checks=(_check(frame, plan),),
    )


def _check(frame: AssetFrame, plan: Plan) -> dg.AssetCheckResult:
    cap = frame.declaration.budget.max_credits_per_run
    needed = plan.quote.credits_to_buy
    return dg.AssetCheckResult(
        check_name=WITHIN_BUDGET,
        asset_key=frame.key("generation_requests"),
        passed=cap is None or needed <= cap,
        description=(
            f"{needed} credits to buy; "
            + ("no cap per run" if cap is None else f"max_credits_per_run is {cap}")
            + ("" if cap is None or needed <= cap else "; raise the budget or want less: nothing was bought")
        ),
        metadata={"credits_to_buy": needed, **({} if cap is None else {"max_credits_per_run": cap})},
    )
