"""The asset `images`: the only one that spends. A plain function around the engine, which has its own event loop.

With it: the check between a preview and the rest, and the progress that a person sees while a run buys. How an image is
bought is decided in `seedream_assets.purchase`, who may approve what in `seedream_assets.approval`, not here.
"""

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any

import dagster as dg

from seedream_assets.approval.preview import PreviewFindings, assess_preview
from seedream_assets.approval.store import approve, open_gate
from seedream_assets.assets.asset_context import AssetContext, Materialised
from seedream_assets.assets.partition_report import (
    INTERRUPTED,
    PLAN,
    PartitionReport,
    as_dagster_failures,
    open_report,
    versions_in_run,
)
from seedream_assets.assets.ui_metadata import (
    contact_sheet,
    markdown_table,
    stored_metadata,
)
from seedream_assets.budget.costs import describe_costs, in_one_unit
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.deployment import Deployment
from seedream_assets.errors import SeedreamError
from seedream_assets.planning.stage import pin_plans
from seedream_assets.purchase.partition_stream import Endings
from seedream_assets.purchase.report import Progress, RunReport
from seedream_assets.purchase.stage import buy_partitions
from seedream_assets.quality.assemble import Outcome, assemble_dataset
from seedream_assets.resources import ImageStoreResource, LeonardoResource
from seedream_assets.wording import count_of

# Any number of runs shares the account: its limit is set in dagster.yaml or with `dagster instance concurrency set`.
POOL = "leonardo"
PLAN_APPROVED = "plan_is_approved"
# Run configuration of `images`, for a dataset that asks for approvals.
CONFIG_SCHEMA = {
    "approve": dg.Field(
        str,
        is_required=False,
        description="The hash of the plan that you approve, as the check plan_is_approved shows it.",
    ),
    "approved_by": dg.Field(str, is_required=False, description="Who approves. Default: this run."),
}
# Each is an event in Dagster's database.
SECONDS_BETWEEN_OBSERVATIONS = 30.0


def build_images(assets: AssetContext) -> dg.AssetsDefinition:
    """The third asset of a dataset. It carries no RetryPolicy: retries are the engine's, and Dagster's would spend."""
    asks_for_approval = assets.config.approval is not None

    @dg.asset(
        **assets.options(
            "images",
            kinds={"s3", "image"},
            description="Buys what the plan wants and nobody owns, and stores every image. The only asset that spends.",
            after=("generation_requests",),
        ),
        pool=POOL,
        check_specs=[approval_spec(assets)] if asks_for_approval else None,
        config_schema=CONFIG_SCHEMA if asks_for_approval else {},
    )
    def images(
        context: dg.AssetExecutionContext, leonardo: LeonardoResource, image_store: ImageStoreResource
    ) -> Iterator[Any]:
        with as_dagster_failures():
            deployment = assets.deployment(leonardo, image_store)
            with open_report(context, assets, "images", store_url=deployment.store.url) as report:
                _Purchase(context, assets, deployment).buy(report)
                yield from report.end()

    return images


class _Purchase:
    """One step's buying: over a range of partitions one run and one stream, with one budget for all of them."""

    def __init__(self, context: dg.AssetExecutionContext, assets: AssetContext, deployment: Deployment) -> None:
        self._context = context
        self._assets = assets
        self._config = assets.config
        self._deployment = deployment
        self._booked = 0
        self._versions: dict[str, str] = {}
        self._approval: ApprovalCheck | None = None

    def buy(self, report: PartitionReport) -> None:
        """Bring every partition as far as it can be brought, and report each as it ends."""
        made = versions_in_run(self._context, self._assets.key("generation_requests"), PLAN)
        self._versions = pin_plans(self._deployment.store, self._config, report.to_do, made)
        if self._config.approval is not None:
            self._approval = ApprovalCheck(self._context, self._config, self._versions, self._deployment)
        for partition in report.to_do:
            report.begin(partition)
        # The progress of a range is about none of its partitions.
        partition_shown = self._context.partition_key if self._context.has_partition_key else None

        def end(partition: str, run: RunReport, endings: Endings) -> None:
            try:
                done = self._outcome(partition, run, endings)
            except SeedreamError as error:
                report.refuse(partition, error)
            else:
                report.add(partition, done)

        bought = buy_partitions(
            self._config,
            report.to_do,
            self._deployment,
            on_partition=end,
            on_progress=LiveProgress(self._context, self._assets.key("images"), partition=partition_shown),
            dagster_run_id=self._context.run.run_id,
            watch_parent=True,
            gate=self._approval.gate if self._approval else None,
            versions=self._versions,
        )
        for partition, error in bought.unplanned.items():
            report.refuse(partition, error)
        if bought.error is not None:
            report.stop(str(bought.error), bought.error)
        elif bought.not_begun:
            report.stop(_why_stopped(bought.report) or "the run was ended")
        for partition in bought.not_begun:
            report.leave_out(partition)
        for partition in bought.not_begun[:1]:
            # The manifest says what is there, whatever stopped the run before it came to this.
            with suppress(SeedreamError):
                version = self._versions.get(partition)
                assemble_dataset(self._config, partition, self._deployment, measure=False, version=version)

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
            metadata={**_metadata(report, outcome, self._deployment), PLAN: version},
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
    counted = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in waiting.items() if count)
    why = f" ({report.stop_reason})" if report.stop_reason else ""
    others = (
        f"; this run's other partitions had booked {count_of(booked_before, 'credit')} before"
        if booked_before and report.stopped == "over_budget"
        else ""
    )
    stored = f"{outcome.counts['stored']} of {count_of(len(outcome.manifest), 'image')} stored"
    then = (
        f"the check {PLAN_APPROVED} shows the preview and how to approve the plan"
        if waiting["awaiting_approval"]
        else "the next run goes on from here"
    )
    return f"not every image is final: {counted}{why}{others}; {stored}, and {then}"


def _metadata(report: RunReport, outcome: Outcome, deployment: Deployment) -> dict[str, Any]:
    amount, unit = in_one_unit(report.costs)
    counts = outcome.counts
    reasons = markdown_table(["requests", "reason"], [(count, reason) for reason, count in report.reasons.items()])
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
        **({"reasons": dg.MetadataValue.md(reasons)} if report.reasons else {}),
        **({"stopped": report.stop_reason} if report.stop_reason else {}),
        "seedream_run_id": report.run_id,
        "models": ", ".join(sorted(outcome.manifest["model"].unique())),
        **stored_metadata(deployment.store, "images"),
        "dagster/size_bytes": int(outcome.manifest.drop_duplicates("image_id")["size_bytes"].fillna(0).sum()),
    }


def _data_version(outcome: Outcome) -> str:
    stored = outcome.manifest[["image_id", "sha256", "status"]].fillna("").astype(str)
    return sha256("\n".join(stored.agg(" ".join, axis="columns")).encode()).hexdigest()


def approval_spec(assets: AssetContext) -> dg.AssetCheckSpec:
    """What `images` is declared with."""
    return assets.check_spec(
        "images",
        PLAN_APPROVED,
        description="What is bought beyond the preview was approved, or is below what needs an approval.",
        blocking=True,
    )


class ApprovalCheck:
    """The approval of one step, over all its partitions, by the versions of their plans.

    Raises:
        ApprovalError: The run was launched to approve another plan than the one that is there; nothing was bought.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        config: DatasetConfig,
        versions: Mapping[str, str],
        deployment: Deployment,
    ) -> None:
        self._op_name = context.op_execution_context.op.name
        self._deployment = deployment
        self.gate = open_gate(config, versions, deployment.store, versions)
        given: dict[str, str] = context.op_execution_context.op_config or {}
        asked = given.get("approve")
        if asked and self.gate.plans and not self.gate.is_shut:
            self.gate.refuse_unless_named(asked)
        elif asked and self.gate.is_shut:
            by = given.get("approved_by") or f"whoever launched run {context.run.run_id}"
            approve(self.gate, asked, config, deployment.store, by=by, dagster_run_id=context.run.run_id)
            self.gate = open_gate(config, versions, deployment.store, versions)

    def of(self, partition: str, outcome: Outcome) -> dg.AssetCheckResult:
        """The check of one partition, after what may be bought of it was bought."""
        gate = self.gate
        plan = gate.plans.get(partition)
        held_back = gate.held_back(partition)
        if held_back is None:
            allowed = (
                f"at most {count_of(gate.approval.above_credits, 'credit')} need no approval" if gate.approval else ""
            )
            reason = f"approved by {plan.approved_by}" if plan and plan.approved_by else allowed
            return dg.AssetCheckResult(
                check_name=PLAN_APPROVED,
                passed=True,
                description=reason,
                metadata={"plan_hash": plan.hash} if plan else {},
            )
        preview = gate.preview_of(partition) | (plan.preview_bought if plan else frozenset())
        findings = assess_preview(outcome.manifest, preview)
        drawn = outcome.manifest[outcome.manifest["request_id"].isin(list(preview))]
        return dg.AssetCheckResult(
            check_name=PLAN_APPROVED,
            passed=False,
            description=f"plan {gate.hash} awaits approval: {findings}",
            metadata={
                "contact_sheet": dg.MetadataValue.md(contact_sheet(self._deployment.store, drawn)),
                "how_to_approve": dg.MetadataValue.md(self._how_to_approve()),
                "plan_hash": gate.hash,
                "credits_to_approve": gate.credits,
                **_numbers(findings),
            },
        )

    def _how_to_approve(self) -> str:
        if len(self.gate.plans) > 1:
            return self._how_to_approve_several()
        run_config = (
            f"ops:\n  {self._op_name}:\n    config:\n      approve: {self.gate.hash}\n      approved_by: your name"
        )
        return (
            "Materialize this asset again with this in the launchpad (in the menu beside Materialize):\n\n"
            f"```yaml\n{run_config}\n```\n\nor run `seedream approve` with the dataset's YAML, and materialize it again."
        )

    def _how_to_approve_several(self) -> str:
        """Dagster's launchpad takes one partition, not a range (1.13)."""
        partitions = [f"--partition {shlex.quote(partition)}" for partition in self.gate.plans]
        command = " \\\n    ".join([f"seedream approve dataset.yaml --plan {self.gate.hash}", *partitions])
        return (
            "The launchpad takes one partition, and this plan is of several. With the dataset's YAML and this store, run\n\n"
            f"```shell\n{command}\n```\n\nand materialize the same partitions again."
        )


def _numbers(findings: PreviewFindings) -> dict[str, Any]:
    total, unit = findings.projected_total
    measured = findings.cost_per_image
    share = findings.failure_share
    return {
        "preview_wanted": findings.wanted,
        "preview_stored": findings.stored,
        "preview_without_image": findings.lost,
        **({} if share is None else {"failure_share": round(share, 4)}),
        "preview_cost": round(findings.cost, 4),
        **({} if measured is None else {"cost_per_image": round(measured, 4)}),
        "cost_unit": unit,
        "images_left": findings.left,
        "projected_total": round(total, 4),
    }


class LiveProgress:
    """What the engine calls with its progress: a line in the log, and now and then an observation with numbers as charts.

    One object per run of it; short runs appear in the log only.

    Args:
        context: Of the step.
        key: The asset that is observed.
        partition: None where it has none, or where the run is over several.
        clock: Seconds.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        key: dg.AssetKey,
        partition: str | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._key = key
        self._partition = partition
        self._clock = clock
        self._observed_at = clock()

    def __call__(self, progress: Progress) -> None:
        """Report how far the run is."""
        log = self._context.log.warning if progress.outage or progress.stopping else self._context.log.info
        log("%s", progress)
        if self._clock() - self._observed_at < SECONDS_BETWEEN_OBSERVATIONS:
            return
        self._observed_at = self._clock()
        self._context.log_event(
            dg.AssetObservation(
                asset_key=self._key,
                partition=self._partition,
                description=str(progress),
                metadata={
                    "requests_done": progress.done,
                    "requests_in_flight": progress.in_flight,
                    "requests_queued": progress.queued,
                    "requests_failed": sum(progress.failed.values()),
                    "images_stored": progress.images_stored,
                    "images_per_minute": round(progress.images_per_minute, 1),
                    "credits_spent": progress.credits_spent,
                    "credits_projected": progress.credits_projected,
                    **({"seconds_left": round(progress.seconds_left)} if progress.seconds_left is not None else {}),
                },
            )
        )
