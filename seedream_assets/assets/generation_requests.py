"""The asset `generation_requests`: what is owned, what is to buy, what it will cost. Materialising it is the quote."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import dagster as dg

from seedream_assets.assets.failures import as_dagster_failures
from seedream_assets.assets.frame import AssetFrame
from seedream_assets.assets.partition_walk import Materialised, materialise
from seedream_assets.assets.quote_checks import QuoteChecks
from seedream_assets.assets.tables import column_lineage, preview, row_count, table_schema
from seedream_assets.core.errors import LimitError
from seedream_assets.core.models import DOLLARS_PER_CREDIT
from seedream_assets.core.parquet import to_parquet
from seedream_assets.core.plan import PLAN_COLUMNS
from seedream_assets.generation.deployment import Deployment
from seedream_assets.generation.generation_requests import make_plan, write_plan
from seedream_assets.generation.prompts import load_snapshot
from seedream_assets.resources import ImageStoreResource, LeonardoResource

FROM_PROMPTS = ("prompt", "model", "width", "height", "style", "prompt_enhance", "references", "public", "row_number")
# What a request was already bought for changes no picture: buying the plan must not make the plan look new.
NOT_CONTENT = ["standing", "attempt", "wanted", "credits"]
SHOWN = ["row_number", "prompt", "model", "width", "height", "style", "seed", "count", "credits", "standing"]


def build_generation_requests(frame: AssetFrame) -> dg.AssetsDefinition:
    """The second asset of a dataset."""
    key = frame.key("generation_requests")

    @dg.asset(
        **frame.options(
            "generation_requests",
            kinds={"parquet"},
            description="The plan: which requests are owned, which are to buy, and what they will cost. Spends nothing.",
            after=("prompts",),
        ),
        check_specs=QuoteChecks.specs(key),
    )
    def generation_requests(
        context: dg.AssetExecutionContext, leonardo: LeonardoResource, image_store: ImageStoreResource
    ) -> Iterator[Any]:
        with as_dagster_failures():
            deployment = frame.deployment(leonardo, image_store)
            checks = QuoteChecks(key, frame.declaration, deployment)
            yield from materialise(context, key, lambda partition: _plan(context, frame, partition, deployment, checks))

    return generation_requests


def _plan(
    context: dg.AssetExecutionContext, frame: AssetFrame, partition: str, deployment: Deployment, checks: QuoteChecks
) -> Materialised:
    declaration = frame.declaration
    snapshot = load_snapshot(deployment.store, declaration, partition)
    try:
        plan = make_plan(declaration, partition, snapshot, deployment)
    except LimitError as error:
        told = f"{error}; the limits are tighter than when the prompts were checked: materialise prompts again"
        return Materialised(incomplete=told, checks=(checks.outside_limits(told),))
    write_plan(deployment.store, declaration, partition, plan)
    quote = plan.quote
    uri = deployment.store.uri(declaration.key("requests", partition))
    context.log.info(
        "%s images wanted, %s owned; to buy: %s images in %s requests for %s credits",
        quote.wanted,
        quote.owned_images,
        quote.images_to_buy,
        quote.to_buy,
        quote.credits_to_buy,
    )
    return Materialised(
        metadata={
            "credits_to_buy": quote.credits_to_buy,
            "dollars_to_buy": round(quote.credits_to_buy * DOLLARS_PER_CREDIT, 4),
            "credits_quoted": quote.credits_quoted,
            "images_wanted": quote.wanted,
            "images_owned": quote.owned_images,
            "images_to_buy": quote.images_to_buy,
            "requests": quote.requests,
            "requests_to_buy": quote.to_buy,
            "sample": preview(plan.requests[SHOWN], rows=10),
            "stored_at": uri,
            "dagster/row_count": row_count(plan.requests),
            "dagster/uri": uri,
            "dagster/column_schema": table_schema(PLAN_COLUMNS),
            "dagster/column_lineage": column_lineage({name: (frame.key("prompts"), name) for name in FROM_PROMPTS}),
        },
        data_version=sha256(to_parquet(plan.requests.drop(columns=NOT_CONTENT))).hexdigest(),
        checks=checks.of(plan),
    )
