"""`seedream run dataset.yaml`: the four stages, one after the other, without Dagster."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from seedream_assets.cli import AWAITING_APPROVAL, NOT_ALL_FINAL
from seedream_assets.cli.declared import deployment_of, partition_of, this_person
from seedream_assets.cli.terminal import showing_progress
from seedream_assets.components.yaml_files import load_declaration
from seedream_assets.core.declaration import DatasetDeclaration
from seedream_assets.core.run_report import RunReport
from seedream_assets.core.sample_findings import assess_sample
from seedream_assets.core.summary import describe, summarise
from seedream_assets.generation.dataset import assemble_dataset
from seedream_assets.generation.deployment import Deployment
from seedream_assets.generation.endings import Endings
from seedream_assets.generation.gate import approve, open_gate
from seedream_assets.generation.generation_requests import make_plan, write_plan
from seedream_assets.generation.images import buy_images
from seedream_assets.generation.prompts import read_prompts, write_snapshot


@click.command("run")
@click.argument("dataset", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--partition", help="The partition to work on, where the dataset has any.")
@click.option("--approve", "approved", metavar="HASH", help="The hash of the plan that you approve, for scripts.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object, last on stdout.")
def command(dataset: Path, partition: str | None, approved: str | None, as_json: bool) -> None:
    """Bring a dataset to the declared state. Run again, it buys nothing that is owned."""
    declaration = load_declaration(dataset)
    key = partition_of(declaration, partition)
    summary, report, final = run_dataset(declaration, key, deployment_of(declaration), approved=approved)
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
    if report.stopped == "awaiting_approval":
        where = f" --partition {key}" if partition else ""
        click.echo(f"approve it with: seedream approve {dataset}{where} --plan {summary['plan_hash']}", err=True)
    click.echo(json.dumps(summary) if as_json else describe(summary))
    if report.stopped == "awaiting_approval":
        raise click.exceptions.Exit(AWAITING_APPROVAL)
    if not final:
        raise click.exceptions.Exit(NOT_ALL_FINAL)


def run_dataset(
    declaration: DatasetDeclaration, partition: str, deployment: Deployment, *, approved: str | None = None
) -> tuple[dict[str, Any], RunReport, bool]:
    """All four stages of one partition. Progress goes to stderr.

    Args:
        declaration, partition, deployment: What is wanted, and on what.
        approved: The hash of the plan that is approved with this run; asked only where an approval is needed.

    Returns:
        The summary, the report of the paid stage, and whether every wanted image is final.
    """
    began = time.monotonic()
    store = deployment.store
    snapshot = read_prompts(declaration, partition, deployment)
    write_snapshot(store, declaration, partition, snapshot)
    plan = make_plan(declaration, partition, snapshot, deployment)
    write_plan(store, declaration, partition, plan)
    quote = plan.quote
    click.echo(
        f"{quote.wanted} images wanted, {quote.owned_images} owned, {quote.images_to_buy} to buy for "
        f"{quote.credits_to_buy} credits; {snapshot.rejected_rows} rows rejected",
        err=True,
    )
    gate = open_gate(declaration, [partition], store)
    if approved is not None and gate.is_shut:
        approve(gate, approved, declaration, store, by=this_person(), dagster_run_id=None)
        gate = open_gate(declaration, [partition], store)
    with Endings() as endings:
        try:
            with showing_progress() as on_progress:
                report = buy_images(
                    declaration,
                    partition,
                    deployment,
                    on_progress=on_progress,
                    on_ending=endings.add,
                    gate=gate,
                )
        finally:
            # Whatever stopped the paid stage, the manifest says what is there.
            outcome = assemble_dataset(declaration, partition, deployment, fresh=endings)
    if report.stopped == "awaiting_approval":
        click.echo(str(assess_sample(outcome.manifest, gate.sample_of(partition))), err=True)
    summary = summarise(
        dataset=declaration.name,
        partition=partition,
        quote=quote,
        rejected_rows=snapshot.rejected_rows,
        counts=outcome.counts,
        reused=outcome.reused,
        report=report,
        plan_hash=gate.hash if gate.plans else None,
        seconds=time.monotonic() - began,
    )
    return summary, report, outcome.is_final
