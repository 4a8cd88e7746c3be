"""The asset `images`: the only one that spends. A plain function around the engine, which has its own event loop."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import dagster as dg

from seedream_assets.assets.failures import as_dagster_failures
from seedream_assets.assets.frame import AssetFrame, Materialised
from seedream_assets.core.run_report import RunReport
from seedream_assets.generation.dataset import Outcome, assemble_dataset
from seedream_assets.generation.deployment import Deployment
from seedream_assets.generation.images import buy_images
from seedream_assets.resources import ImageStoreResource, LeonardoResource

# Any number of runs shares the account: its limit is set in dagster.yaml or with `dagster instance concurrency set`.
POOL = "leonardo"


def build_images(frame: AssetFrame) -> dg.AssetsDefinition:
    """The third asset of a dataset. It carries no RetryPolicy: retries are the engine's, and Dagster's would spend."""

    @dg.asset(
        **frame.options(
            "images",
            kinds={"s3", "image"},
            description="Buys what the plan wants and nobody owns, and stores every image. The only asset that spends.",
            after=("generation_requests",),
        ),
        pool=POOL,
    )
    def images(
        context: dg.AssetExecutionContext, leonardo: LeonardoResource, image_store: ImageStoreResource
    ) -> Iterator[Any]:
        with as_dagster_failures():
            deployment = frame.deployment(leonardo, image_store)
            yield from frame.materialise(context, "images", lambda key: _buy(context, frame, key, deployment))

    return images


def _buy(context: dg.AssetExecutionContext, frame: AssetFrame, key: str, deployment: Deployment) -> Materialised:
    report = buy_images(
        frame.declaration,
        key,
        deployment,
        on_progress=lambda progress: context.log.info(str(progress)),
        dagster_run_id=context.run_id,
        watch_parent=True,
    )
    # The manifest is written here as well, so that it says what is there even when this run is not the last.
    outcome = assemble_dataset(frame.declaration, key, deployment)
    for reason, count in report.reasons.items():
        context.log.warning(f"{count} x {reason}")
    incomplete = None if outcome.is_final else _not_final(report, outcome)
    if incomplete:
        context.log.warning(incomplete)
    return Materialised(
        metadata=_metadata(report, outcome, deployment),
        data_version=_data_version(outcome),
        incomplete=incomplete,
    )


def _not_final(report: RunReport, outcome: Outcome) -> str:
    waiting = {status: outcome.counts[status] for status in ("uncertain", "over_budget", "pending")}
    told = ", ".join(f"{count} {status}" for status, count in waiting.items() if count)
    why = f" ({report.stop_reason})" if report.stop_reason else ""
    return f"not every image is final: {told}{why}; what is owned is stored, and the next run goes on from here"


def _metadata(report: RunReport, outcome: Outcome, deployment: Deployment) -> dict[str, Any]:
    amount, unit = report.cost
    return {
        "store": deployment.store.url,
        **{f"images_{status}": count for status, count in outcome.counts.items()},
        "images_wanted": len(outcome.manifest),
        "images_reused": outcome.reused,
        "images_stored_by_this_run": report.images_stored,
        "credits_booked": report.credits_booked,
        "cost_amount": float(amount),
        "cost_unit": unit,
        "seconds": round(report.seconds, 3),
        "failures": sum(outcome.counts[status] for status in ("failed", "blocked", "withheld")),
        "reasons": dg.MetadataValue.json(dict(report.reasons)),
        "seedream_run_id": report.run_id,
    }


def _data_version(outcome: Outcome) -> str:
    stored = outcome.manifest[["image_id", "sha256", "status"]].fillna("").astype(str)
    return sha256("\n".join(stored.agg(" ".join, axis="columns")).encode()).hexdigest()
