"""The asset `generation_requests`: what is owned, what is to buy, what it will cost. Materialising it is the quote."""

from collections.abc import Callable, Iterator
from functools import cache
from hashlib import sha256
from typing import Any

import dagster as dg

from seedream_assets.approval.gate import gate_of
from seedream_assets.approval.rules import Gate
from seedream_assets.assets.failures import as_dagster_failures
from seedream_assets.assets.frame import AssetFrame
from seedream_assets.assets.lineage import materialise_stage
from seedream_assets.assets.partition_walk import Materialised
from seedream_assets.assets.quote_checks import QuoteChecks
from seedream_assets.assets.tables import column_lineage, markdown_table, preview, row_count, table_schema
from seedream_assets.assets.versions import PLAN, SNAPSHOT, versions_in_run
from seedream_assets.config.deployment import Deployment
from seedream_assets.errors import LimitError
from seedream_assets.manifest.column_lineage import PLAN_LINEAGE
from seedream_assets.planning.plan import PLAN_COLUMNS
from seedream_assets.planning.quote import Quote
from seedream_assets.planning.quote_table import Outlook, approval_rows, dollars_for, quote_rows
from seedream_assets.planning.stage import make_plan, write_plan
from seedream_assets.prompts.stage import load_snapshot
from seedream_assets.purchase.balance import AccountReading, look_ahead, read_account
from seedream_assets.resources import ImageStoreResource, LeonardoResource
from seedream_assets.storage.parquet import to_parquet

# What a request was already bought for changes no picture: buying the plan must not make the plan look new.
NOT_CONTENT = ["standing", "attempt", "wanted", "credits", "bought_for"]
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
        check_specs=QuoteChecks.specs(frame),
    )
    def generation_requests(
        context: dg.AssetExecutionContext, leonardo: LeonardoResource, image_store: ImageStoreResource
    ) -> Iterator[Any]:
        with as_dagster_failures():
            deployment = frame.deployment(leonardo, image_store)
            checks = QuoteChecks(key, frame.config, deployment)
            # Once for all partitions, and only where there is something to buy.
            account = cache(lambda: read_account(deployment.leonardo))
            snapshots = versions_in_run(context, frame.key("prompts"), SNAPSHOT)
            yield from materialise_stage(
                context,
                frame,
                "generation_requests",
                deployment,
                lambda partition: _plan(
                    context, frame, partition, deployment, checks, account, snapshots.get(partition)
                ),
            )

    return generation_requests


def _plan(
    context: dg.AssetExecutionContext,
    frame: AssetFrame,
    partition: str,
    deployment: Deployment,
    checks: QuoteChecks,
    account: Callable[[], AccountReading],
    snapshot_version: str | None,
) -> Materialised:
    config = frame.config
    snapshot = load_snapshot(deployment.store, config, partition, snapshot_version)
    try:
        plan = make_plan(config, partition, snapshot, deployment, credits_beside=checks.credits_so_far)
    except LimitError as error:
        told = f"{error}; the limits are tighter than when the prompts were checked: materialise prompts again"
        return Materialised(incomplete=told, checks=(checks.outside_limits(told),))
    version = write_plan(deployment.store, config, partition, plan)
    quote = plan.quote
    gate = gate_of(config, partition, plan.requests, deployment.store)
    outlook = look_ahead(plan, deployment, account)
    uri = deployment.store.uri(config.key("requests", partition))
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
            "quote": dg.MetadataValue.md(_quote_table(quote, outlook, gate, config.name)),
            **({"plan_hash": gate.hash} if gate.plans else {}),
            **_numbers(quote, outlook, config.name),
            "sample": preview(plan.requests[SHOWN], rows=10),
            "stored_at": uri,
            PLAN: version,
            "dagster/row_count": row_count(plan.requests),
            "dagster/uri": uri,
            "dagster/column_schema": table_schema(PLAN_COLUMNS),
            "dagster/column_lineage": column_lineage(PLAN_LINEAGE, frame.key),
        },
        data_version=sha256(to_parquet(plan.requests.drop(columns=NOT_CONTENT))).hexdigest(),
        checks=checks.of(plan),
    )


def _quote_table(quote: Quote, outlook: Outlook, gate: Gate, dataset: str) -> str:
    """Two columns: Dagster cuts off what is wider than the column that it gives to a value."""
    rows = [*quote_rows(quote, outlook, dataset=dataset), *approval_rows(gate)]
    return markdown_table(["what", "how much"], [(what, f"{much}, {why}" if why else much) for what, much, why in rows])


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
