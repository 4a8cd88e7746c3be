"""`seedream run dataset.yaml`: the four stages, one after the other, without Dagster."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from seedream_assets.cli.declared import deployment_of, partitions_of
from seedream_assets.cli.exit_codes import AWAITING_APPROVAL, DONE, NOT_ALL_FINAL, NOTHING_STORED, described
from seedream_assets.cli.missing_cap import with_cap
from seedream_assets.cli.rounds import Planned, buy_planned, plan_partitions, plan_replacements
from seedream_assets.components.yaml_files import load_config
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.deployment import Deployment
from seedream_assets.manifest.stage import count_reused
from seedream_assets.planning.open_requests import open_in_manifest
from seedream_assets.purchase.run_report import RunReport
from seedream_assets.purchase.summary import add_up, describe, summarise


@click.command("run", epilog=described())
@click.argument("dataset", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--partition", multiple=True, help="A partition to work on; may be repeated. Default: all there are.")
@click.option("--approve", "approved", metavar="HASH", help="The hash of the plan that you approve, for scripts.")
@click.option(
    "--yes",
    is_flag=True,
    help="Buy although the dataset has no cap (a terminal asks without it), or through a new address of the account.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object, last on stdout.")
def command(dataset: Path, partition: tuple[str, ...], approved: str | None, yes: bool, as_json: bool) -> None:
    """Bring a dataset to the declared state. Run again, it buys nothing that is owned."""
    began = time.monotonic()
    config = load_config(dataset)
    if approved is not None and config.approval is None:
        raise click.UsageError(f"{config.name} asks for no approval; take --approve out")
    deployment = replace(deployment_of(config), accepts_origin=yes)
    keys = partitions_of(config, partition, deployment)
    ran = run_partitions(config, keys, deployment, approved=approved, yes=yes)
    report, summaries = ran.report, list(ran.summaries.values())
    for reason, count in report.reasons.items():
        click.echo(f"{count} x {reason}", err=True)
    for warning in report.warnings:
        click.echo(warning, err=True)
    if report.stop_reason:
        click.echo(f"stopped ({report.stopped}): {report.stop_reason}", err=True)
    if len(keys) == 1:
        summary = summaries[0]
    else:
        seconds = time.monotonic() - began
        summary = add_up(summaries, ran.problems, dataset=config.name, seconds=seconds)
        for key, problem in ran.problems.items():
            click.echo(f"{key}: {problem}", err=True)
        for one in () if as_json else summaries:
            click.echo(describe(one).splitlines()[0])
    if report.stopped == "awaiting_approval":
        where = "".join(f" --partition {key}" for key in partition)
        click.echo(f"approve it with: seedream approve {dataset}{where} --plan {ran.plan_hash}", err=True)
    click.echo(json.dumps(summary) if as_json else describe(summary))
    raise click.exceptions.Exit(_exit_code(ran, summary))


def _exit_code(ran: RanPartitions, summary: Mapping[str, Any]) -> int:
    if ran.report.stopped == "awaiting_approval":
        return AWAITING_APPROVAL
    if not ran.is_final:
        return NOT_ALL_FINAL
    ended = sum(ran.report.requests.get(outcome, 0) for outcome in ("completed", "failed", "blocked"))
    bought_nothing = ended > 0 and not ran.report.images_stored
    return NOTHING_STORED if bought_nothing or (summary["wanted"] and not summary["stored"]) else DONE


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
    config: DatasetConfig, partition: str, deployment: Deployment, *, approved: str | None = None
) -> tuple[dict[str, Any], RunReport, bool]:
    """All four stages of one partition; see `run_partitions`.

    Returns:
        The summary, the report of the paid stage, and whether every wanted image is final.
    """
    ran = run_partitions(config, [partition], deployment, approved=approved)
    return ran.summaries[partition], ran.report, ran.is_final


def run_partitions(
    config: DatasetConfig,
    partitions: Sequence[str],
    deployment: Deployment,
    *,
    approved: str | None = None,
    yes: bool = False,
) -> RanPartitions:
    """All four stages of these partitions, bought as one stream with one budget. Progress goes to stderr.

    Where rejected images are to be replaced, the last three are gone through again, inside the same budget.

    A partition of several that cannot be read or planned stops no other.

    Args:
        config, partitions, deployment: What is wanted, and on what.
        approved: The hash of the plan that is approved with this run. One that is approved already, or needs no
            approval, may be named too.
        yes: There need be no cap.

    Raises:
        NoCapError: Something is to be bought, and nobody has said how much may be spent.
        SeedreamError: The only partition could not be worked on, or something stands against all of them.
    """
    began = time.monotonic()
    planned, problems = plan_partitions(config, partitions, deployment)
    config = with_cap(
        config,
        credits=sum(one.quote.credits_to_buy for one in planned.values()),
        images=sum(one.quote.images_to_buy for one in planned.values()),
        yes=yes,
    )
    bought = buy_planned(config, planned, deployment, approved=approved)
    for _ in range(config.regenerate.max_rounds):
        if bought.report.stopped or not all(outcome.is_final for outcome in bought.outcomes.values()):
            break
        again = plan_replacements(config, planned, bought, deployment)
        if not again:
            break
        # The budget of the run is one, however many rounds it takes.
        left = config.with_credits_booked(bought.report.credits_booked)
        bought = bought.then(buy_planned(left, again, deployment, approved=None))
        planned |= {partition: _added(planned[partition], later) for partition, later in again.items()}
    summaries = {
        partition: summarise(
            dataset=config.name,
            partition=partition,
            quote=one.quote,
            rejected_rows=one.rejected_rows,
            counts=bought.outcomes[partition].counts,
            reused=count_reused(bought.outcomes[partition].manifest, bought.run_ids),
            rejected=bought.outcomes[partition].rejected,
            report=bought.reports[partition],
            plan_hash=bought.plan_hash,
            open_requests=open_in_manifest(deployment, bought.outcomes[partition].manifest),
            seconds=time.monotonic() - began,
        )
        for partition, one in planned.items()
    }
    return RanPartitions(
        summaries=summaries,
        problems=problems,
        report=bought.report,
        plan_hash=bought.plan_hash,
        is_final=not problems and all(outcome.is_final for outcome in bought.outcomes.values()),
    )


def _added(before: Planned, later: Planned) -> Planned:
    """The later plan; what was to buy is what all rounds bought."""
    credits_to_buy = before.quote.credits_to_buy + later.quote.credits_to_buy
    return replace(later, quote=replace(later.quote, credits_to_buy=credits_to_buy))
