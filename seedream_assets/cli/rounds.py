"""The stages of `seedream run` over several partitions, round by round: a further round replaces what was rejected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import click
import pandas as pd

from seedream_assets.approval.gate import approve, open_gate
from seedream_assets.approval.preview import assess_sample
from seedream_assets.cli.declared import this_person
from seedream_assets.cli.terminal import ROWS_SHOWN, showing_progress, tell_rows
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.deployment import Deployment
from seedream_assets.errors import ConfigError, PartitionKeyError, SeedreamError, StoreRefused
from seedream_assets.ledger.state import OpenRequests
from seedream_assets.manifest.stage import Outcome, assemble_dataset, measure_dataset
from seedream_assets.planning.quote import Quote
from seedream_assets.planning.quote_table import place_rows
from seedream_assets.planning.stage import make_plan, write_plan
from seedream_assets.prompts.stage import PromptReader, load_snapshot, write_snapshot
from seedream_assets.purchase.balance import NOT_ASKED, place_of, read_account
from seedream_assets.purchase.endings import Endings
from seedream_assets.purchase.run_report import RunReport, join_reports
from seedream_assets.purchase.stage import buy_partitions

# What stands against one partition stands against all of them.
HOPELESS = (ConfigError, StoreRefused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a partition comes to.

    Attributes:
        quote: Of its plan.
        version: Of the plan: the run keeps to it, whatever is planned beside.
        snapshot: The version of the prompts that it was made from.
        rejected_rows: Rows of its table that were rejected.
        first_rejected: The first of them.
    """

    quote: Quote
    version: str
    snapshot: str | None
    rejected_rows: int
    first_rejected: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """What one round, or several, came to.

    Attributes:
        outcomes: By partition.
        reports: By partition; None where the paid stage was stopped before it came to this one.
        report: Of the paid stage over all of them.
        run_ids: Of the engine's runs.
        plan_hash: The name of the plans together, where the dataset asks for approvals.
    """

    outcomes: Mapping[str, Outcome]
    reports: Mapping[str, RunReport | None]
    report: RunReport
    run_ids: frozenset[str]
    plan_hash: str | None

    def then(self, later: Bought) -> Bought:
        """This round and a later one over some of its partitions."""
        reports = dict(self.reports)
        for partition, report in later.reports.items():
            earlier = reports[partition]
            reports[partition] = join_reports(earlier, report) if earlier and report else report or earlier
        return Bought(
            outcomes={**self.outcomes, **later.outcomes},
            reports=reports,
            report=join_reports(self.report, later.report),
            run_ids=self.run_ids | later.run_ids,
            plan_hash=later.plan_hash or self.plan_hash,
        )


def plan_partitions(
    config: DatasetConfig, partitions: Sequence[str], deployment: Deployment
) -> tuple[dict[str, Planned], dict[str, str]]:
    """The first two stages: what each partition comes to, and why others could not be planned."""
    reader, store = PromptReader(config, deployment), deployment.store
    planned: dict[str, Planned] = {}
    problems: dict[str, str] = {}
    with_table = False
    for partition in partitions:
        try:
            snapshot = reader.read(partition)
            snapshot = write_snapshot(store, config, partition, snapshot)
            beside = sum(one.quote.credits_to_buy for one in planned.values())
            plan = make_plan(config, partition, snapshot, deployment, credits_beside=beside)
            version = write_plan(store, config, partition, plan)
        except SeedreamError as error:
            is_hopeless = isinstance(error, HOPELESS) and not isinstance(error, PartitionKeyError)
            if len(partitions) == 1 or is_hopeless:
                raise
            problems[partition] = str(error)
        else:
            planned[partition] = Planned(
                quote=plan.quote,
                version=version,
                snapshot=snapshot.version,
                rejected_rows=snapshot.rejected_rows,
                first_rejected=snapshot.checked.rejected.head(ROWS_SHOWN + 1),
            )
            with_table |= len(snapshot.tables) > 1
    _tell_place(deployment, planned)
    _tell(planned)
    _tell_rejected(planned, with_table=with_table)
    return planned, problems


def plan_replacements(
    config: DatasetConfig, planned: Mapping[str, Planned], bought: Bought, deployment: Deployment
) -> dict[str, Planned]:
    """The partitions that want replacements beyond those they were planned with, planned again; the rest stay as bought."""
    store = deployment.store
    again: dict[str, Planned] = {}
    for partition, before in planned.items():
        if not bought.outcomes[partition].rejected:
            continue
        snapshot = load_snapshot(store, config, partition, before.snapshot)
        beside = sum(one.quote.credits_to_buy for one in again.values())
        manifest = bought.outcomes[partition].manifest
        plan = make_plan(config, partition, snapshot, deployment, credits_beside=beside, earlier=manifest)
        if plan.quote.replacements > before.quote.replacements:
            version = write_plan(store, config, partition, plan)
            again[partition] = replace(before, quote=plan.quote, version=version)
    if again:
        _tell(again)
    return again


def _tell_rejected(planned: Mapping[str, Planned], *, with_table: bool) -> None:
    """The first rejected rows of all partitions; one that can belong to no partition is told in each, and here once."""
    if planned:
        rows = pd.concat([one.first_rejected for one in planned.values()])
        rows = rows.drop_duplicates(["table", "row_number", "column", "rule"])
        tell_rows("rejected", rows.head(ROWS_SHOWN), with_table=with_table)
        if len(rows) > ROWS_SHOWN:
            click.echo("rejected: … and more; `seedream plan` counts them, the quarantine has them all", err=True)


def _tell_place(deployment: Deployment, planned: Mapping[str, Planned]) -> None:
    """The store, the API's host and the account, which is asked only where something is to be bought."""
    is_to_buy = any(one.quote.to_buy for one in planned.values())
    place = place_of(deployment, read_account(deployment.leonardo) if is_to_buy else NOT_ASKED)
    for what, which, why in place_rows(place):
        click.echo(f"{what}: {which}" + (f" ({why})" if why else ""), err=True)


def _tell(planned: Mapping[str, Planned]) -> None:
    still_open = OpenRequests.together(one.quote.open for one in planned.values())
    told = [one.quote for one in planned.values()]
    replacements = sum(quote.replacements for quote in told)
    replacing = f", {replacements} of them in place of rejected ones" if replacements else ""
    click.echo(
        f"{sum(quote.wanted for quote in told)} images wanted{replacing}, "
        f"{sum(quote.owned_images for quote in told)} owned, {sum(quote.images_to_buy for quote in told)} to buy for "
        f"{sum(quote.credits_to_buy for quote in told)} credits; "
        f"{sum(one.rejected_rows for one in planned.values())} rows rejected",
        err=True,
    )
    if still_open.requests:
        click.echo(str(still_open), err=True)


def buy_planned(
    config: DatasetConfig, planned: Mapping[str, Planned], deployment: Deployment, *, approved: str | None
) -> Bought:
    """The last two stages of partitions that are planned, each by the plan that was made of it: one stream, one budget.

    Raises:
        SeedreamError: Something stands against all of them. The manifests say what is there all the same.
    """
    store, partitions = deployment.store, list(planned)
    versions = {partition: one.version for partition, one in planned.items()}
    gate = open_gate(config, partitions, store, versions)
    if approved is not None and gate.plans and not gate.is_shut:
        gate.refuse_unless_named(approved)
    elif approved is not None:
        approve(gate, approved, config, store, by=this_person(), dagster_run_id=None)
        gate = open_gate(config, partitions, store, versions)
    outcomes: dict[str, Outcome] = {}
    reports: dict[str, RunReport | None] = {}

    def keep(partition: str, report: RunReport, endings: Endings) -> None:
        # Images are measured when the stream has ended: they must not hold it up.
        outcomes[partition] = assemble_dataset(
            config,
            partition,
            deployment,
            fresh=endings,
            measure=False,
            version=versions[partition],
            report=report,
        )
        reports[partition] = report

    try:
        with showing_progress() as on_progress:
            bought = buy_partitions(
                config,
                partitions,
                deployment,
                on_partition=keep,
                on_progress=on_progress,
                gate=gate,
                versions=versions,
            )
    finally:
        # Whatever stopped the paid stage, the manifest says what is there.
        for partition in partitions:
            if partition not in outcomes:
                outcomes[partition] = assemble_dataset(
                    config, partition, deployment, measure=False, version=versions[partition]
                )
                reports[partition] = None
    if bought.error is not None:
        raise bought.error
    report = bought.report
    for partition, told in reports.items():
        outcomes[partition] = measure_dataset(config, partition, deployment, outcomes[partition])
        if told is not None and told.stopped == "awaiting_approval":
            click.echo(str(assess_sample(outcomes[partition].manifest, gate.sample_of(partition))), err=True)
            if report.stopped is None:
                report = replace(report, stopped=told.stopped, stop_reason=told.stop_reason)
    return Bought(
        outcomes=outcomes,
        reports=reports,
        report=report,
        run_ids=frozenset({report.run_id}),
        plan_hash=gate.hash if gate.plans else None,
    )
