"""The asset `images`: the only one that spends. A plain function around the engine, which has its own event loop."""

from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from typing import Any

import dagster as dg

from seedream_assets.assets.approval_check import CONFIG_SCHEMA, PLAN_APPROVED, ApprovalCheck, approval_spec
from seedream_assets.assets.failures import INTERRUPTED, as_dagster_failures
from seedream_assets.assets.frame import AssetFrame
from seedream_assets.assets.lineage import Lineage, told_lineage
from seedream_assets.assets.live_progress import LiveProgress
from seedream_assets.assets.partition_walk import Materialised, Walk
from seedream_assets.assets.tables import column_lineage, markdown_table, table_schema
from seedream_assets.assets.versions import PLAN, versions_in_run
from seedream_assets.budget.costs import describe_costs, in_one_unit
from seedream_assets.config.deployment import Deployment
from seedream_assets.errors import SeedreamError
from seedream_assets.manifest.column_lineage import IMAGE_COLUMNS, IMAGES_LINEAGE
from seedream_assets.planning.stage import pin_plans
from seedream_assets.purchase.partition_stream import Endings
from seedream_assets.purchase.report import RunReport
from seedream_assets.purchase.stage import buy_partitions
from seedream_assets.quality.assemble import Outcome, assemble_dataset
from seedream_assets.resources import ImageStoreResource, LeonardoResource

# Any number of runs shares the account: its limit is set in dagster.yaml or with `dagster instance concurrency set`.
POOL = "leonardo"


def build_images(frame: AssetFrame) -> dg.AssetsDefinition:
    """The third asset of a dataset. It carries no RetryPolicy: retries are the engine's, and Dagster's would spend."""
    asks_for_approval = frame.config.approval is not None

    @dg.asset(
        **frame.options(
            "images",
            kinds={"s3", "image"},
            description="Buys what the plan wants and nobody owns, and stores every image. The only asset that spends.",
            after=("generation_requests",),
        ),
        pool=POOL,
        check_specs=[approval_spec(frame)] if asks_for_approval else None,
        config_schema=CONFIG_SCHEMA if asks_for_approval else {},
    )
    def images(
        context: dg.AssetExecutionContext, leonardo: LeonardoResource, image_store: ImageStoreResource
    ) -> Iterator[Any]:
        with as_dagster_failures():
            deployment = frame.deployment(leonardo, image_store)
            walk = Walk(context, frame, "images")
            with told_lineage(context, frame, "images", store_url=deployment.store.url) as lineage:
                _Purchase(context, frame, deployment).buy(walk, lineage)
                yield from walk.end()

    return images


class _Purchase:
    """One step's buying: over a range of partitions one run and one stream, with one budget for all of them."""

    def __init__(self, context: dg.AssetExecutionContext, frame: AssetFrame, deployment: Deployment) -> None:
        self._context = context
        self._frame = frame
        self._config = frame.config
        self._deployment = deployment
        self._booked = 0
        self._versions: dict[str, str] = {}
        self._approval: ApprovalCheck | None = None

    def buy(self, walk: Walk, lineage: Lineage) -> None:
        """Bring every partition as far as it can be brought, and tell of each as it ends."""
        made = versions_in_run(self._context, self._frame.key("generation_requests"), PLAN)
        self._versions = pin_plans(self._deployment.store, self._config, walk.to_do, made)
        if self._config.approval is not None:
            self._approval = ApprovalCheck(self._context, self._config, self._versions, self._deployment)
        with lineage.of_several(walk.to_do) as told:

            def tell(partition: str, report: RunReport, endings: Endings) -> None:
                try:
                    done = self._outcome(partition, report, endings)
                except SeedreamError as error:
                    refuse(partition, error)
                else:
                    told.end(partition, done)
                    walk.tell(partition, done)

            def refuse(partition: str, error: SeedreamError) -> None:
                told.fail(partition, str(error))
                walk.refuse(partition, error)

            bought = buy_partitions(
                self._config,
                walk.to_do,
                self._deployment,
                on_partition=tell,
                on_progress=LiveProgress(self._context, self._frame.key("images"), partition=self._only_partition()),
                dagster_run_id=self._context.run.run_id,
                watch_parent=True,
                gate=self._approval.gate if self._approval else None,
                versions=self._versions,
            )
            for partition, error in bought.unplanned.items():
                refuse(partition, error)
            if bought.error is not None:
                walk.stop(str(bought.error), bought.error)
            elif bought.not_begun:
                walk.stop(_why_stopped(bought.report) or "the run was ended")
            for partition in bought.not_begun:
                told.fail(partition, walk.stopped or "not begun")
        for partition in bought.not_begun[:1]:
            # The manifest says what is there, whatever stopped the run before it came to this.
            with suppress(SeedreamError):
                version = self._versions.get(partition)
                assemble_dataset(self._config, partition, self._deployment, measure=False, version=version)

    def _only_partition(self) -> str | None:
        """The partition that the step's progress is about; None where there are none, or several."""
        return self._context.partition_key if self._context.has_partition_key else None

    def _outcome(self, partition: str, report: RunReport, endings: Endings) -> Materialised:
        log = self._context.log
        booked_before, self._booked = self._booked, self._booked + report.credits_booked
        version = self._versions[partition]
        outcome = assemble_dataset(
            self._config,
            partition,
            self._deployment,
            fresh=endings,
            measure=False,
            version=version,
            report=report,
        )
        for reason, count in report.reasons.items():
            log.warning("%s x %s", count, reason)
        for warning in report.warnings:
            log.warning("%s", warning)
        incomplete = None if outcome.is_final else _not_final(report, outcome, booked_before)
        if incomplete:
            log.warning("%s", incomplete)
        return Materialised(
            metadata={**_metadata(report, outcome, self._deployment, self._frame), PLAN: version},
            data_version=_data_version(outcome),
            checks=(self._approval.of(partition, outcome),) if self._approval else (),
            incomplete=incomplete,
            stopped=_why_stopped(report),
        )


def _why_stopped(report: RunReport) -> str | None:
    if report.stopped == "interrupted":
        return f"{report.stop_reason}; {INTERRUPTED}"
    return report.stop_reason if report.stopped == "refused" else None


def _not_final(report: RunReport, outcome: Outcome, booked_before: int) -> str:
    waiting = {
        status: outcome.counts[status] for status in ("uncertain", "over_budget", "awaiting_approval", "pending")
    }
    told = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in waiting.items() if count)
    why = f" ({report.stop_reason})" if report.stop_reason else ""
    others = (
        f"; this run's other partitions had booked {booked_before} credits before"
        if booked_before and report.stopped == "over_budget"
        else ""
    )
    stored = f"{outcome.counts['stored']} of {len(outcome.manifest)} images are stored"
    then = (
        f"the check {PLAN_APPROVED} shows the sample and how to approve the plan"
        if waiting["awaiting_approval"]
        else "the next run goes on from here"
    )
    return f"not every image is final: {told}{why}{others}; {stored}, and {then}"


def _metadata(report: RunReport, outcome: Outcome, deployment: Deployment, frame: AssetFrame) -> dict[str, Any]:
    amount, unit = in_one_unit(report.costs)
    counts = outcome.counts
    uri = f"{deployment.store.url}/images/"
    return {
        "images_stored": counts["stored"],
        "images_wanted": len(outcome.manifest),
        "images_stored_by_this_run": report.images_stored,
        "images_reused": outcome.reused,
        "credits_booked": report.credits_booked,
        "cost_amount": float(amount),
        "cost_unit": unit,
        "costs": describe_costs(report.costs),
        **({"price_warnings": " ".join(report.warnings)} if report.warnings else {}),
        "seconds": round(report.seconds, 1),
        "images_per_minute": round(report.images_stored * 60 / report.seconds, 1) if report.seconds > 0 else 0.0,
        "failures": sum(counts[status] for status in ("failed", "blocked", "withheld")),
        **{f"images_{status}": count for status, count in counts.items() if status != "stored"},
        **({"reasons": _reasons(report)} if report.reasons else {}),
        **({"stopped": report.stop_reason} if report.stop_reason else {}),
        "seedream_run_id": report.run_id,
        "stored_at": uri,
        "dagster/uri": uri,
        "models": ", ".join(sorted(outcome.manifest["model"].unique())),
        "dagster/column_schema": table_schema(IMAGE_COLUMNS),
        "dagster/column_lineage": column_lineage(IMAGES_LINEAGE, frame.key),
        "dagster/size_bytes": int(outcome.manifest.drop_duplicates("image_id")["size_bytes"].fillna(0).sum()),
    }


def _reasons(report: RunReport) -> dg.MarkdownMetadataValue:
    rows = [(count, reason) for reason, count in report.reasons.items()]
    return dg.MetadataValue.md(markdown_table(["requests", "reason"], rows))


def _data_version(outcome: Outcome) -> str:
    stored = outcome.manifest[["image_id", "sha256", "status"]].fillna("").astype(str)
    return sha256("\n".join(stored.agg(" ".join, axis="columns")).encode()).hexdigest()
