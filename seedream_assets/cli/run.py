"""`seedream run dataset.yaml`: the four stages, one after the other, without Dagster.

Several partitions are bought as one stream with one budget. A further round replaces what was rejected.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from seedream_assets.approval.preview import assess_preview
from seedream_assets.approval.rules import Gate
from seedream_assets.approval.store import approve, open_gate
from seedream_assets.cli.plan import ROW_ERRORS_SHOWN, print_row_errors
from seedream_assets.cli.shared import (
    AWAITING_APPROVAL,
    DONE,
    NOT_ALL_FINAL,
    NOTHING_STORED,
    partitions_of,
    this_person,
)
from seedream_assets.cli.summary import add_up, describe, summarise
from seedream_assets.config.dataset import NO_CAP, Budget, DatasetConfig
from seedream_assets.config.yaml import load_config
from seedream_assets.deployment import Deployment
from seedream_assets.errors import ConfigError, NoCapError, PartitionKeyError, SeedreamError, StoreRefused
from seedream_assets.ledger.state import OpenRequests
from seedream_assets.planning.outlook import NOT_ASKED, place_of, read_account
from seedream_assets.planning.quote import Quote, place_rows
from seedream_assets.planning.stage import open_in_manifest
from seedream_assets.prompts.stage import PromptReader, load_snapshot, write_snapshot
from seedream_assets.purchase.partition_stream import Endings
from seedream_assets.purchase.report import Progress, RunReport, join_reports
from seedream_assets.purchase.stage import buy_partitions
from seedream_assets.quality.assemble import Outcome, assemble_dataset, count_reused, measure_dataset
from seedream_assets.quality.replanning import keep_plan, plan_partition
from seedream_assets.wording import count_of

# What stands against one partition stands against all of them.
HOPELESS = (ConfigError, StoreRefused)


def run(dataset: Path, partition: tuple[str, ...], approved: str | None, yes: bool, as_json: bool) -> None:
    """Bring a dataset to the declared state. Run again, it buys nothing that is owned."""
    began = time.monotonic()
    config = load_config(dataset)
    if approved is not None and config.approval is None:
        raise click.UsageError(f"{config.name} asks for no approval; take --approve out")
    deployment = replace(Deployment.from_environment(config), accepts_origin=yes)
    keys = partitions_of(config, partition, deployment)
    ran = run_partitions(config, keys, deployment, approved=approved, yes=yes)
    _print_report(ran.bought.report)
    if len(keys) == 1:
        (summary,) = ran.summaries.values()
    else:
        summaries = list(ran.summaries.values())
        summary = add_up(summaries, ran.problems, dataset=config.name, seconds=time.monotonic() - began)
        for key, problem in ran.problems.items():
            click.echo(f"{key}: {problem}", err=True)
        for one in () if as_json else summaries:
            click.echo(describe(one).splitlines()[0])
    if ran.bought.report.stopped == "awaiting_approval":
        where = "".join(f" --partition {key}" for key in partition)
        click.echo(f"approve it with: seedream approve {dataset}{where} --plan {ran.bought.plan_hash}", err=True)
    click.echo(json.dumps(summary) if as_json else describe(summary))
    raise click.exceptions.Exit(_exit_code(ran, summary))


def _print_report(report: RunReport) -> None:
    for reason, count in report.reasons.items():
        click.echo(f"{count} x {reason}", err=True)
    for warning in report.warnings:
        click.echo(warning, err=True)
    if report.stop_reason:
        click.echo(f"stopped ({report.stopped}): {report.stop_reason}", err=True)


def _exit_code(ran: RanPartitions, summary: Mapping[str, Any]) -> int:
    report = ran.bought.report
    if report.stopped == "awaiting_approval":
        return AWAITING_APPROVAL
    if not ran.is_final:
        return NOT_ALL_FINAL
    ended = sum(report.requests.get(outcome, 0) for outcome in ("completed", "failed", "blocked"))
    bought_nothing = ended > 0 and not report.images_stored
    return NOTHING_STORED if bought_nothing or (summary["wanted"] and not summary["stored"]) else DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a partition comes to.

    Attributes:
        quote: Of its plan.
        version: Of the plan: the run keeps to it, whatever is planned beside.
        snapshot: The version of the prompts that it was made from.
        rejected_rows: Rows of its table that were rejected.
        first_rejected: The first of them.
        doubts: What in the table looks like a setting and changes nothing.
    """

    quote: Quote
    version: str
    snapshot: str | None
    rejected_rows: int
    first_rejected: pd.DataFrame
    doubts: tuple[str, ...]


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

    @property
    def is_final(self) -> bool:
        """True when every wanted image of these partitions is final."""
        return all(outcome.is_final for outcome in self.outcomes.values())

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RanPartitions:
    """What a run over partitions came to.

    Attributes:
        summaries: By partition, in the order asked for.
        problems: Why others could not be read or planned.
        bought: What the last two stages came to, over all rounds.
    """

    summaries: Mapping[str, dict[str, Any]]
    problems: Mapping[str, str]
    bought: Bought

    @property
    def is_final(self) -> bool:
        """True when every wanted image of every partition is final."""
        return not self.problems and self.bought.is_final


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
    config = _with_cap(
        config,
        credits=sum(one.quote.credits_to_buy for one in planned.values()),
        images=sum(one.quote.images_to_buy for one in planned.values()),
        yes=yes,
    )
    bought = buy_planned(config, planned, deployment, approved=approved)
    for _ in range(config.regenerate.max_rounds):
        if bought.report.stopped or not bought.is_final:
            break
        again = plan_replacements(config, planned, bought, deployment)
        if not again:
            break
        # The budget of the run is one, however many rounds it takes.
        left = config.with_credits_booked(bought.report.credits_booked)
        bought = bought.then(buy_planned(left, again, deployment, approved=None))
        planned |= {partition: _added(planned[partition], later) for partition, later in again.items()}
    seconds = time.monotonic() - began
    summaries = {
        partition: _summarise(config, partition, one, bought, deployment, seconds=seconds)
        for partition, one in planned.items()
    }
    return RanPartitions(summaries=summaries, problems=problems, bought=bought)


def _summarise(
    config: DatasetConfig, partition: str, planned: Planned, bought: Bought, deployment: Deployment, *, seconds: float
) -> dict[str, Any]:
    outcome = bought.outcomes[partition]
    return summarise(
        dataset=config.name,
        partition=partition,
        quote=planned.quote,
        rejected_rows=planned.rejected_rows,
        counts=outcome.counts,
        reused=count_reused(outcome.manifest, bought.run_ids),
        rejected=outcome.rejected,
        report=bought.reports[partition],
        plan_hash=bought.plan_hash,
        open_requests=open_in_manifest(deployment, outcome.manifest),
        seconds=seconds,
    )


def _added(before: Planned, later: Planned) -> Planned:
    """The later plan; what was to buy is what all rounds bought."""
    credits_to_buy = before.quote.credits_to_buy + later.quote.credits_to_buy
    return replace(later, quote=replace(later.quote, credits_to_buy=credits_to_buy))


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
            plan = plan_partition(config, partition, snapshot, deployment, credits_beside=beside)
            version = keep_plan(store, config, partition, plan)
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
                first_rejected=snapshot.checked.rejected.head(ROW_ERRORS_SHOWN + 1),
                doubts=snapshot.checked.columns.doubts,
            )
            with_table |= len(snapshot.tables) > 1
    _print_place(deployment, planned)
    _print_quotes(planned)
    _print_rejected(planned, with_table=with_table)
    for doubt in dict.fromkeys(doubt for one in planned.values() for doubt in one.doubts):
        click.echo(f"warned: {doubt}", err=True)
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
        plan = plan_partition(config, partition, snapshot, deployment, credits_beside=beside, earlier=manifest)
        if plan.quote.replacements > before.quote.replacements:
            version = keep_plan(store, config, partition, plan)
            again[partition] = replace(before, quote=plan.quote, version=version)
    if again:
        _print_quotes(again)
    return again


def _print_rejected(planned: Mapping[str, Planned], *, with_table: bool) -> None:
    """The first rejected rows of all partitions; one that belongs to no partition is in each, and is printed once."""
    if planned:
        rows = pd.concat([one.first_rejected for one in planned.values()])
        rows = rows.drop_duplicates(["table", "row_number", "column", "rule"])
        print_row_errors("rejected", rows.head(ROW_ERRORS_SHOWN), with_table=with_table)
        if len(rows) > ROW_ERRORS_SHOWN:
            click.echo("rejected: … and more; `seedream plan` counts them, the quarantine has them all", err=True)


def _print_place(deployment: Deployment, planned: Mapping[str, Planned]) -> None:
    """The store, the API's host and the account, which is asked only where something is to be bought."""
    is_to_buy = any(one.quote.to_buy for one in planned.values())
    place = place_of(deployment, read_account(deployment.leonardo) if is_to_buy else NOT_ASKED)
    for what, which, why in place_rows(place):
        click.echo(f"{what}: {which}" + (f" ({why})" if why else ""), err=True)


def _print_quotes(planned: Mapping[str, Planned]) -> None:
    still_open = OpenRequests.together(one.quote.open for one in planned.values())
    quotes = [one.quote for one in planned.values()]
    replacements = sum(quote.replacements for quote in quotes)
    replacing = f", {replacements} of them in place of rejected ones" if replacements else ""
    click.echo(
        f"{count_of(sum(quote.wanted for quote in quotes), 'image')} wanted{replacing}, "
        f"{sum(quote.owned_images for quote in quotes)} owned, {sum(quote.images_to_buy for quote in quotes)} to buy for "
        f"{count_of(sum(quote.credits_to_buy for quote in quotes), 'credit')}; "
        f"{count_of(sum(one.rejected_rows for one in planned.values()), 'row')} rejected",
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
    versions = {partition: one.version for partition, one in planned.items()}
    gate = _open_gate(config, versions, deployment, approved)
    assemble = partial(assemble_dataset, config, deployment=deployment, measure=False)
    outcomes: dict[str, Outcome] = {}
    reports: dict[str, RunReport | None] = {}

    def keep(partition: str, report: RunReport, endings: Endings) -> None:
        # Images are measured when the stream has ended: they must not hold it up.
        outcomes[partition] = assemble(partition, fresh=endings, version=versions[partition], report=report)
        reports[partition] = report

    try:
        with _showing_progress() as on_progress:
            bought = buy_partitions(
                config,
                list(planned),
                deployment,
                on_partition=keep,
                on_progress=on_progress,
                gate=gate,
                versions=versions,
            )
    finally:
        # Whatever stopped the paid stage, the manifest says what is there.
        for partition in planned:
            if partition not in outcomes:
                outcomes[partition] = assemble(partition, version=versions[partition])
                reports[partition] = None
    if bought.error is not None:
        raise bought.error
    for partition in reports:
        outcomes[partition] = measure_dataset(config, partition, deployment, outcomes[partition])
    return Bought(
        outcomes=outcomes,
        reports=reports,
        report=_after_previews(bought.report, reports, outcomes, gate),
        run_ids=frozenset({bought.report.run_id}),
        plan_hash=gate.hash if gate.plans else None,
    )


def _open_gate(
    config: DatasetConfig, versions: Mapping[str, str], deployment: Deployment, approved: str | None
) -> Gate:
    """What may be bought of these plans, after the approval that was given with the run."""
    gate = open_gate(config, list(versions), deployment.store, versions)
    if approved is None:
        return gate
    if gate.plans and not gate.is_shut:
        gate.refuse_unless_named(approved)
        return gate
    approve(gate, approved, config, deployment.store, by=this_person(), dagster_run_id=None)
    return open_gate(config, list(versions), deployment.store, versions)


def _after_previews(
    report: RunReport, reports: Mapping[str, RunReport | None], outcomes: Mapping[str, Outcome], gate: Gate
) -> RunReport:
    """The report of all partitions, stopped where one of them awaits an approval. Says what each preview came to."""
    for partition, of_partition in reports.items():
        if of_partition is None or of_partition.stopped != "awaiting_approval":
            continue
        click.echo(str(assess_preview(outcomes[partition].manifest, gate.preview_of(partition))), err=True)
        if report.stopped is None:
            report = replace(report, stopped=of_partition.stopped, stop_reason=of_partition.stop_reason)
    return report


def _with_cap(config: DatasetConfig, *, credits: int, images: int, yes: bool) -> DatasetConfig:
    """The dataset with a budget that somebody has decided on; the same where there is one, or nothing is to be bought.

    Args:
        config: Whose.
        credits, images: The quote of what is to be bought now.
        yes: Whether `--yes` was given: there is no cap for this run.

    Raises:
        NoCapError: Nobody is there to be asked, or the answer is no; nothing was bought.
    """
    if not config.budget.is_missing or not credits:
        return config
    if yes:
        return config.changed(budget=Budget(unlimited=True))
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise NoCapError(
            f"{count_of(credits, 'credit')} to buy and {NO_CAP}; or give --yes for this run: nothing was bought"
        )
    question = f"{config.name} has no cap. Buy {count_of(images, 'image')} for {count_of(credits, 'credit')}, and no credit more?"
    if not click.confirm(question, default=False, err=True):
        raise NoCapError("nothing was bought")
    # What was agreed to is the quote: whatever it turns out to cost, the run ends there.
    return config.changed(budget=Budget(max_credits_per_run=credits))


@contextmanager
def _showing_progress() -> Iterator[Callable[[Progress], None]]:
    """What a run calls with its progress."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _print_line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, TextColumn("{task.fields[now]}", markup=False), console=console) as bar:
        task = bar.add_task("requests", total=None, now="")

        def show(progress: Progress) -> None:
            failed = sum(progress.failed.values())
            now = [
                f"{count_of(progress.images_stored, 'image')} ({progress.images_per_minute:.0f}/min)",
                f"{progress.credits_spent} of about {count_of(progress.credits_projected, 'credit')}",
                f"{progress.in_flight} in flight, {progress.queued} queued",
                *([f"{failed} failed ({next(iter(progress.reasons), '')})"] if failed else []),
                *(words for words in (progress.outage, progress.stopping) if words),
            ]
            bar.update(task, total=progress.total, completed=progress.done, now=" · ".join(now))

        yield show


def _print_line(progress: Progress) -> None:
    # A reader that has gone away (`2>&1 | head`) must not end a run that has paid.
    with suppress(OSError):
        click.echo(str(progress), err=True)
