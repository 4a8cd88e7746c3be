"""`seedream plan dataset.yaml`: the quote. Reads the table and the ledger; writes nothing, spends nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
import pandas as pd

from seedream_assets.approval.rules import Gate, approval_rows
from seedream_assets.approval.store import gate_of
from seedream_assets.budget.log import read_budget
from seedream_assets.cli.shared import NOT_ALL_FINAL, partitions_of, shortened
from seedream_assets.cli.summary import add_up, summarise
from seedream_assets.config.dataset import NO_CAP, DatasetConfig
from seedream_assets.config.yaml import load_config
from seedream_assets.deployment import Deployment
from seedream_assets.errors import PromptTableError, StoreError
from seedream_assets.ledger.account import describe_another_account
from seedream_assets.ledger.image_columns import extra_column_name
from seedream_assets.manifest.build import table_rows
from seedream_assets.manifest.stage import PREVIOUS, read_earlier
from seedream_assets.planning.outlook import NOT_ASKED, AccountReading, look_ahead, place_of, read_account
from seedream_assets.planning.plan import specs_of
from seedream_assets.planning.plan_diff import CHANGES, PlanDiff, diff_plan
from seedream_assets.planning.quote import Outlook, Quote, quote_rows
from seedream_assets.planning.stage import Plan
from seedream_assets.prompts.cells import describe_rows, merge_alike
from seedream_assets.prompts.columns import column_rows
from seedream_assets.prompts.stage import PromptReader, PromptSnapshot
from seedream_assets.quality.replanning import plan_partition
from seedream_assets.wording import count_of

ROW_ERRORS_SHOWN = 10
CHANGES_SHOWN = 20
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotedPartition:
    """A partition's plan, with what is printed of it.

    Attributes:
        snapshot: The checked rows that it was made from.
        plan: The plan and its quote.
        gate: Whether a run of it needs an approval.
        against: A manifest, and what changed since; None where no comparison was asked for.
    """

    partition: str
    snapshot: PromptSnapshot
    plan: Plan
    gate: Gate
    against: tuple[str, PlanDiff] | None


def plan(dataset: Path, partition: tuple[str, ...], against: str | None, as_json: bool) -> None:
    """Quote a dataset: what is wanted, what is owned, what the rest costs.

    Exit codes: 0; 3, a cap or the balance would stop a run before its end, or a partition cannot be planned.
    """
    began = time.monotonic()
    config = load_config(dataset)
    deployment = Deployment.from_environment(config)
    keys = partitions_of(config, partition, deployment)
    if against not in (None, PREVIOUS) and len(keys) > 1:
        raise click.UsageError("one manifest is that of one partition; add --partition KEY, or say --against previous")
    # Once for all partitions, and only where something is to be bought.
    account = cache(lambda: read_account(deployment.leonardo))
    summaries: list[dict[str, Any]] = []
    problems: dict[str, str] = {}
    gates: list[Gate] = []
    doubts: dict[str, None] = {}
    for quoted in _quote_partitions(config, keys, deployment, against, problems):
        gates.append(quoted.gate)
        doubts |= dict.fromkeys(quoted.snapshot.checked.columns.doubts)
        summaries.append(_summarise(quoted, config, seconds=time.monotonic() - began))
        if not as_json:
            outlook = look_ahead(quoted.plan, deployment, account)
            _print_quote(quoted, config, outlook, with_approval=len(keys) == 1)
    together = _together(gates)
    total = add_up(summaries, problems, dataset=config.name, seconds=time.monotonic() - began) | _approval(together)
    reading = account() if total["credits_to_buy"] else NOT_ASKED
    would_stop = _crossed(config, deployment, total["credits_to_buy"], reading)
    remarks = [*([NO_CAP] if config.budget.is_missing else []), *would_stop]
    if as_json:
        remarks += doubts
        printed = total if len(keys) > 1 else summaries[0]
        click.echo(json.dumps(printed | asdict(place_of(deployment, reading)) | {"remarks": remarks}))
    elif len(keys) > 1:
        planned = f"{len(summaries)} of {len(keys)}" if problems else f"all {len(keys)}"
        quote = f"{count_of(total['wanted'], 'image')} wanted, {count_of(total['credits_to_buy'], 'credit')} to buy"
        click.echo(f"{config.name}, {planned} partitions: {quote}")
        _print_rows(approval_rows(together))
    for remark in remarks:
        click.echo(remark, err=as_json)
    if problems or would_stop:
        raise click.exceptions.Exit(NOT_ALL_FINAL)


def _quote_partitions(
    config: DatasetConfig, keys: Sequence[str], deployment: Deployment, against: str | None, problems: dict[str, str]
) -> Iterator[QuotedPartition]:
    """Each partition, quoted beside the ones before it. Of several, one that cannot be planned is put into `problems`."""
    reader = PromptReader(config, deployment)
    credits_beside = 0
    for key in keys:
        try:
            snapshot = reader.read(key)
            plan = plan_partition(config, key, snapshot, deployment, credits_beside=credits_beside)
            compared = _compare(against, config, key, deployment, snapshot, plan) if against else None
        except (PromptTableError, StoreError) as error:
            if len(keys) == 1:
                raise
            problems[key] = str(error)
            click.echo(f"{key}: {error}", err=True)
            continue
        credits_beside += plan.quote.credits_to_buy
        gate = gate_of(config, key, plan.requests, deployment.store)
        several = len(snapshot.tables) > 1
        print_row_errors("rejected", snapshot.checked.rejected, with_table=several)
        print_row_errors("warned", merge_alike(snapshot.checked.warnings), with_table=several)
        yield QuotedPartition(partition=key, snapshot=snapshot, plan=plan, gate=gate, against=compared)


def _summarise(quoted: QuotedPartition, config: DatasetConfig, *, seconds: float) -> dict[str, Any]:
    """A quoted partition as one flat object, with what is owned, the approval and the comparison."""
    quote, gate = quoted.plan.quote, quoted.gate
    summary = summarise(
        dataset=config.name,
        partition=quoted.partition,
        quote=quote,
        rejected_rows=quoted.snapshot.rejected_rows,
        counts={},
        reused=quote.owned_images,
        rejected=0,
        report=None,
        plan_hash=gate.hash if gate.plans else None,
        open_requests=quote.open,
        seconds=seconds,
    )
    summary |= {"owned": _owned(quote, config.name)} | _approval(gate)
    return summary | {"against": _change_facts(*quoted.against)} if quoted.against else summary


def _print_quote(quoted: QuotedPartition, config: DatasetConfig, outlook: Outlook, *, with_approval: bool) -> None:
    """A quoted partition for a person. Several partitions are one run, and need one approval together."""
    click.echo(f"{config.name}, partition {quoted.partition}")
    columns = column_rows(quoted.snapshot.checked.columns)
    rows = quote_rows(quoted.plan.quote, outlook, dataset=config.name)
    _print_rows([*columns, *rows, *(approval_rows(quoted.gate) if with_approval else ())])
    for line in _change_lines(*quoted.against) if quoted.against else ():
        click.echo(line)
    if quoted.snapshot.rejected_rows:
        click.echo(f"{count_of(quoted.snapshot.rejected_rows, 'row')} of the table rejected")


def _compare(
    against: str,
    config: DatasetConfig,
    partition: str,
    deployment: Deployment,
    snapshot: PromptSnapshot,
    plan: Plan,
) -> tuple[str, PlanDiff]:
    uri, earlier = read_earlier(against, config, partition, deployment, base=Path.cwd())
    checked = snapshot.checked
    old, old_extra_columns = table_rows(earlier, deployment.models)
    return uri, diff_plan(
        old,
        old_extra_columns,
        prompts=checked.prompts,
        extra_columns=checked.extra_columns.rename(columns=extra_column_name),
        specs=specs_of(checked.prompts, snapshot.reference_hashes),
        plan=plan.requests,
    )


def _crossed(config: DatasetConfig, deployment: Deployment, credits_to_buy: int, reading: AccountReading) -> list[str]:
    """What would stop a run before its end: another account's key, the caps, the account's balance among them."""
    budget = config.budget
    other = reading.account and describe_another_account(deployment.store, reading.account.user_id)
    crossed = [other] if other else []
    if budget.max_credits_per_run is not None and credits_to_buy > budget.max_credits_per_run:
        crossed.append(f"the budget of one run, {count_of(budget.max_credits_per_run, 'credit')}, stops before the end")
    if reading.balance_credits is not None and credits_to_buy > reading.balance_credits:
        crossed.append(f"the account's balance, {count_of(reading.balance_credits, 'credit')}, stops before the end")
    if budget.max_credits_per_day is None and budget.max_credits_total is None:
        return crossed
    entry = read_budget(deployment.store, config.name, today=budget.max_credits_per_day is not None)
    caps = (
        ("a day (UTC)", budget.max_credits_per_day, entry.committed_today),
        ("all runs", budget.max_credits_total, entry.committed),
    )
    for name, cap, committed in caps:
        if cap is not None and credits_to_buy and committed + credits_to_buy > cap:
            crossed.append(
                f"the budget of {name}, {count_of(cap, 'credit')}, stops before the end: {committed} are committed, "
                f"{max(0, cap - committed)} are left"
            )
    return crossed


def _owned(quote: Quote, dataset: str) -> dict[str, Any]:
    """What is not to be bought and why, in images."""
    return {
        "by_this_dataset": quote.bought_for.get(dataset, 0),
        "by_other_datasets": dict(quote.owned_by_others(dataset)),
        "credits_saved": quote.credits_saved,
        "in_flight": quote.in_flight,
        "blocked_or_failed": quote.ended_without_images,
    }


def _together(gates: Collection[Gate]) -> Gate:
    """One run over all these plans: they are added up before they are compared with what needs no approval."""
    plans = {partition: plan for gate in gates for partition, plan in gate.plans.items()}
    return Gate(approval=next((gate.approval for gate in gates), None), plans=plans)


def _approval(gate: Gate) -> dict[str, Any]:
    """Where the dataset asks for approvals: whether this plan needs one, and how many images its preview has."""
    if gate.approval is None or not gate.plans:
        return {}
    plans = gate.plans.values()
    facts = {
        "above_credits": gate.approval.above_credits,
        "credits": sum(plan.credits for plan in plans),
        "needed": gate.is_shut,
        "approved_by": ", ".join(sorted({plan.approved_by for plan in plans if plan.approved_by})) or None,
        "preview": gate.preview_images,
    }
    return {"approval": facts}


def _print_rows(rows: list[tuple[str, str, str]]) -> None:
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    for what, much, why in rows:
        click.echo(f"  {what:<{widths[0]}}  {much:<{widths[1]}}  {why}".rstrip())


def print_row_errors(what: str, rows: pd.DataFrame, *, with_table: bool) -> None:
    """The first rejected or warned rows on stderr, with what is wrong with them."""
    for line in describe_rows(rows, most=ROW_ERRORS_SHOWN, with_table=with_table):
        click.echo(f"{what}: {line}", err=True)


def _change_lines(uri: str, diff: PlanDiff) -> Iterator[str]:
    """What changed since a manifest: the counts, the first rows of each kind, and the price of the difference."""
    yield f"against {uri}:"
    yield "  " + ", ".join(f"{_count_rows(diff.count(change))} {change}" for change in CHANGES)
    for name, columns in (("added", diff.columns_added), ("removed", diff.columns_removed)):
        if columns:
            yield f"  columns {name}: {', '.join(columns)}"
    for old, new in diff.columns_renamed.items():
        yield f"  column renamed: {old} is {new} now"
    for change, sign in _SIGNS.items():
        rows = diff.rows[diff.rows["change"] == change]
        for row in rows.head(CHANGES_SHOWN).to_dict("records"):
            yield f"  {sign} {_describe_change({str(name): value for name, value in row.items()})}"
        if len(rows) > CHANGES_SHOWN:
            yield f"  {sign} … and {len(rows) - CHANGES_SHOWN} more"
    prices = {change: diff.credits(change) for change in CHANGES if diff.credits(change)}
    parts = ", ".join(f"{credits} for rows {change}" for change, credits in prices.items())
    yield f"  to go there: {count_of(sum(prices.values()), 'credit')}" + (f" ({parts})" if parts else "")


def _count_rows(count: int) -> str:
    return count_of(count, "row")


def _describe_change(row: dict[str, Any]) -> str:
    if row["change"] != "changed":
        return f"{row['prompt_id']}: {shortened(str(row['prompt']))}"
    images = (
        f" ({row['earlier_images']} → {count_of(row['images'], 'image')})"
        if row["images"] != row["earlier_images"]
        else ""
    )
    credits = f", {count_of(row['credits'], 'credit')}" if row["credits"] else ""
    return f"{row['prompt_id']}: {', '.join(row['columns'])}{images}{credits}"


def _change_facts(uri: str, diff: PlanDiff) -> dict[str, Any]:
    """The same for `--json`, with every row that is not as it was."""
    changed = diff.rows[diff.rows["change"] != "unchanged"]
    return {
        "manifest": uri,
        "rows": {change: diff.count(change) for change in CHANGES},
        "credits": {change: diff.credits(change) for change in CHANGES if change != "removed"},
        "columns": {
            "added": list(diff.columns_added),
            "removed": list(diff.columns_removed),
            "renamed": dict(diff.columns_renamed),
        },
        "changes": [_change_fact(row) for row in changed.to_dict("records")],
    }


def _change_fact(row: Any) -> dict[str, Any]:
    plain = {str(name): value for name, value in row.items() if name != "columns"}
    return {name: None if pd.isna(value) else value for name, value in plain.items()} | {
        "columns": list(row["columns"])
    }
