"""The check between a sample and the rest: what the sample looks like, what it cost, and how to approve the plan."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import dagster as dg

from seedream_assets.approval.gate import approve, open_gate
from seedream_assets.approval.preview import SampleFindings, assess_sample
from seedream_assets.assets.contact_sheet import contact_sheet
from seedream_assets.assets.frame import AssetFrame
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.deployment import Deployment
from seedream_assets.quality.assemble import Outcome

PLAN_APPROVED = "plan_is_approved"


# Run configuration of `images`, for a dataset that asks for approvals.
CONFIG_SCHEMA = {
    "approve": dg.Field(
        str,
        is_required=False,
        description="The hash of the plan that you approve, as the check plan_is_approved tells it.",
    ),
    "approved_by": dg.Field(str, is_required=False, description="Who approves. Default: this run."),
}


def approval_spec(frame: AssetFrame) -> dg.AssetCheckSpec:
    """What `images` is declared with."""
    return frame.check_spec(
        "images",
        PLAN_APPROVED,
        description="What is bought beyond the sample was approved, or is below what needs an approval.",
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
        self._key = context.asset_key
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
            allowed = f"at most {gate.approval.above_credits} need no approval" if gate.approval else ""
            told = f"approved by {plan.approved_by}" if plan and plan.approved_by else allowed
            return self._result(passed=True, told=told, metadata={"plan_hash": plan.hash} if plan else {})
        sample = gate.sample_of(partition) | (plan.sample_bought if plan else frozenset())
        findings = assess_sample(outcome.manifest, sample)
        return self._result(
            passed=False,
            told=f"plan {gate.hash} awaits approval: {findings}",
            metadata={
                "contact_sheet": dg.MetadataValue.md(self._contact_sheet(outcome, sample)),
                "how_to_approve": dg.MetadataValue.md(self._how_to_approve()),
                "plan_hash": gate.hash,
                "credits_to_approve": gate.credits,
                **_numbers(findings),
            },
        )

    def _contact_sheet(self, outcome: Outcome, sample: frozenset[str]) -> str:
        drawn = outcome.manifest[outcome.manifest["request_id"].isin(list(sample))]
        return contact_sheet(self._deployment.store, drawn)

    def _how_to_approve(self) -> str:
        if len(self.gate.plans) > 1:
            return self._how_to_approve_several()
        lines = [
            "ops:",
            f"  {self._op_name}:",
            "    config:",
            f"      approve: {self.gate.hash}",
            "      approved_by: your name",
        ]
        run_config = "\n".join(lines)
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

    def _result(self, *, passed: bool, told: str, metadata: dict[str, Any]) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(
            check_name=PLAN_APPROVED, asset_key=self._key, passed=passed, description=told, metadata=metadata
        )


def _numbers(findings: SampleFindings) -> dict[str, Any]:
    total, unit = findings.projected_total
    measured = findings.cost_per_image
    share = findings.failure_share
    return {
        "sample_wanted": findings.wanted,
        "sample_stored": findings.stored,
        "sample_without_image": findings.lost,
        **({} if share is None else {"failure_share": round(share, 4)}),
        "sample_cost": round(findings.cost, 4),
        **({} if measured is None else {"cost_per_image": round(measured, 4)}),
        "cost_unit": unit,
        "images_left": findings.left,
        "projected_total": round(total, 4),
    }
