"""`seedream run dataset.yaml`: the four stages, one after the other, without Dagster."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from seedream_assets.cli import AWAITING_APPROVAL, NOT_ALL_FINAL
from seedream_assets.cli.declared import deployment_of, partitions_of, this_person
from seedream_assets.cli.terminal import showing_progress
from seedream_assets.components.yaml_files import load_declaration
from seedream_assets.core.declaration import DatasetDeclaration
from seedream_assets.core.errors import DeclarationError, SeedreamError, StoreRefused
from seedream_assets.core.quote import Quote
from seedream_assets.core.run_report import RunReport
from seedream_assets.core.sample_findings import assess_sample
from seedream_assets.core.summary import add_up, describe, summarise
from seedream_assets.generation.dataset import Outcome, assemble_dataset
from seedream_assets.generation.deployment import Deployment
from seedream_assets.generation.endings import Endings
from seedream_assets.generation.gate import approve, open_gate
from seedream_assets.generation.generation_requests import make_plan, write_plan
from seedream_assets.generation.images import buy_partitions
from seedream_assets.generation.prompts import PromptReader, write_snapshot

# What stands against one partition stands against all of them.
HOPELESS = (DeclarationError, StoreRefused)


@click.command("run")
@click.argument("dataset", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--partition", multiple=True, help="A partition to work on; may be repeated. Default: all there are.")
@click.option("--approve", "approved", metavar="HASH", help="The hash of the plan that you approve, for scripts.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object, last on stdout.")
def command(dataset: Path, partition: tuple[str, ...], approved: str | None, as_json: bool) -> None:
    """Bring a dataset to the declared state. Run again, it buys nothing that is owned."""
    began = time.monotonic()
    declaration = load_declaration(dataset)
    deployment = deployment_of(declaration)
    keys = partitions_of(declaration, partition, deployment)
    ran = run_partitions(declaration, keys, deployment, approved=approved)
    report, summaries = ran.report, list(ran.summaries.values())
    for reason, count in report.reasons.items():
        click.echo(f"{count} x {reason}", err=True)
    if report.credits_booked != report.credits_quoted:
        click.echo(
            f"{report.credits_booked} credits were booked where {report.credits_quoted} were quoted: the price on file may "
            "be out of date",
            err=True,
        )
    if report.stop_reason:
        click.echo(f"stopped ({report.stopped}): {report.stop_reason}", err=True)
    if len(keys) == 1:
        summary = summaries[0]
    else:
        seconds = time.monotonic() - began
        summary = add_up(summaries, ran.problems, dataset=declaration.name, seconds=seconds)
        for key, problem in ran.problems.items():
            click.echo(f"{key}: {problem}", err=True)
        for one in () if as_json else summaries:
            click.echo(describe(one).splitlines()[0])
    if report.stopped == "awaiting_approval":
        where = "".join(f" --partition {key}" for key in partition)
        click.echo(f"approve it with: seedream approve {dataset}{where} --plan {ran.plan_hash}", err=True)
    click.echo(json.dumps(summary) if as_json else describe(summary))
    if report.stopped == "awaiting_approval":
        raise click.exceptions.Exit(AWAITING_APPROVAL)
    if not ran.is_final:
        raise click.exceptions.Exit(NOT_ALL_FINAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class RanPartitions:
    """What a run over partitions came to.

    Attributes:
        summaries: By partition, in the order asked for.
        problems: Why others could not be read or planned.
        report: Of the paid stage over all of them.
        plan_hash: The name of their plans together, where the dataset asks for approvals.
        is_final: Whether every wanted image of every partition is final.
    """

    summaries: Mapping[str, dict[str, Any]]
    problems: Mapping[str, str]
    report: RunReport
    plan_hash: str | None
    is_final: bool


def run_dataset(
    declaration: DatasetDeclaration, partition: str, deployment: Deployment, *, approved: str | None = None
) -> tuple[dict[str, Any], RunReport, bool]:
    """All four stages of one partition; see `run_partitions`.

    Returns:
        The summary, the report of the paid stage, and whether every wanted image is final.
    """
    ran = run_partitions(declaration, [partition], deployment, approved=approved)
    return ran.summaries[partition], ran.report, ran.is_final


def run_partitions(
    declaration: DatasetDeclaration, partitions: Sequence[str], deployment: Deployment, *, approved: str | None = None
) -> RanPartitions:
    """All four stages of these partitions, bought as one stream with one budget. Progress goes to stderr.

    A partition of several that cannot be read or planned stops no other.

    Args:
        declaration, partitions, deployment: What is wanted, and on what.
        approved: The hash of the plan that is approved with this run; asked only where an approval is needed.

    Raises:
        SeedreamError: The only partition could not be worked on, or something stands against all of them.
    """
    began = time.monotonic()
    quotes, problems = _plan(declaration, partitions, deployment)
    gate = open_gate(declaration, quotes, deployment.store)
    if approved is not None and gate.is_shut:
        approve(gate, approved, declaration, deployment.store, by=this_person(), dagster_run_id=None)
        gate = open_gate(declaration, quotes, deployment.store)
    outcomes: dict[str, tuple[Outcome, RunReport | None]] = {}

    def keep(partition: str, report: RunReport, endings: Endings) -> None:
        outcomes[partition] = assemble_dataset(declaration, partition, deployment, fresh=endings), report

    try:
        with showing_progress() as on_progress:
            bought = buy_partitions(
                declaration, quotes, deployment, on_partition=keep, on_progress=on_progress, gate=gate
            )
    finally:
        # Whatever stopped the paid stage, the manifest says what is there.
        for partition in quotes.keys() - outcomes.keys():
            outcomes[partition] = assemble_dataset(declaration, partition, deployment), None
    if bought.error is not None:
        raise bought.error
    report = bought.report
    for partition, (outcome, told) in outcomes.items():
        if told is not None and told.stopped == "awaiting_approval":
            click.echo(str(assess_sample(outcome.manifest, gate.sample_of(partition))), err=True)
            if report.stopped is None:
                report = replace(report, stopped=told.stopped, stop_reason=told.stop_reason)
    plan_hash = gate.hash if gate.plans else None
    summaries = {
        partition: summarise(
            dataset=declaration.name,
            partition=partition,
            quote=quote,
            rejected_rows=rejected_rows,
            counts=outcomes[partition][0].counts,
            reused=outcomes[partition][0].reused,
            report=outcomes[partition][1],
            plan_hash=plan_hash,
            seconds=time.monotonic() - began,
        )
        for partition, (quote, rejected_rows) in quotes.items()
    }
    return RanPartitions(
        summaries=summaries,
        problems=problems,
        report=report,
        plan_hash=plan_hash,
        is_final=not problems and all(outcome.is_final for outcome, _ in outcomes.values()),
    )


def _plan(
    declaration: DatasetDeclaration, partitions: Sequence[str], deployment: Deployment
) -> tuple[dict[str, tuple[Quote, int]], dict[str, str]]:
    """The first two stages: each partition's quote and rejected rows, and the partitions that could not be planned."""
    reader, store = PromptReader(declaration, deployment), deployment.store
    quotes: dict[str, tuple[Quote, int]] = {}
    problems: dict[str, str] = {}
    for partition in partitions:
        try:
            snapshot = reader.read(partition)
            write_snapshot(store, declaration, partition, snapshot)
            beside = sum(quote.credits_to_buy for quote, _ in quotes.values())
            plan = make_plan(declaration, partition, snapshot, deployment, credits_beside=beside)
            write_plan(store, declaration, partition, plan)
        except SeedreamError as error:
            if len(partitions) == 1 or isinstance(error, HOPELESS):
                raise
            problems[partition] = str(error)
        else:
            quotes[partition] = plan.quote, snapshot.rejected_rows
    told = [quote for quote, _ in quotes.values()]
    click.echo(
        f"{sum(quote.wanted for quote in told)} images wanted, {sum(quote.owned_images for quote in told)} owned, "
        f"{sum(quote.images_to_buy for quote in told)} to buy for {sum(quote.credits_to_buy for quote in told)} credits; "
        f"{sum(rejected for _, rejected in quotes.values())} rows rejected",
        err=True,
    )
    return quotes, problems
