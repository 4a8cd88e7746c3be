"""`seedream plan dataset.yaml`: the quote. Reads the table and the ledger; writes nothing, spends nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click
import pandas as pd

from seedream_assets.cli.declared import deployment_of, partition_of
from seedream_assets.components.yaml_files import load_declaration
from seedream_assets.core.approval import Gate
from seedream_assets.core.quote import Quote
from seedream_assets.core.quote_table import approval_rows, quote_rows
from seedream_assets.core.summary import summarise
from seedream_assets.generation.account import look_ahead
from seedream_assets.generation.gate import gate_of
from seedream_assets.generation.generation_requests import make_plan
from seedream_assets.generation.prompts import read_prompts

ROWS_SHOWN = 10


@click.command("plan")
@click.argument("dataset", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--partition", help="The partition to plan, where the dataset has any.")
@click.option("--json", "as_json", is_flag=True, help="Print the quote as one JSON object, last on stdout.")
def command(dataset: Path, partition: str | None, as_json: bool) -> None:
    """Quote a dataset: what is wanted, what is owned, what the rest costs."""
    began = time.monotonic()
    declaration = load_declaration(dataset)
    key = partition_of(declaration, partition)
    deployment = deployment_of(declaration)
    snapshot = read_prompts(declaration, key, deployment)
    plan = make_plan(declaration, key, snapshot, deployment)
    quote = plan.quote
    gate = gate_of(declaration, key, plan.requests, deployment.store)
    several = len(snapshot.tables) > 1
    _tell("rejected", snapshot.checked.rejected, with_table=several)
    _tell("warned", snapshot.checked.warnings, with_table=several)
    if as_json:
        summary = summarise(
            dataset=declaration.name,
            partition=key,
            quote=quote,
            rejected_rows=snapshot.rejected_rows,
            counts={},
            reused=quote.owned_images,
            report=None,
            plan_hash=gate.hash if gate.plans else None,
            seconds=time.monotonic() - began,
        )
        summary |= {"owned": _owned(quote, declaration.name)} | _approval(gate)
        click.echo(json.dumps(summary))
        return
    click.echo(f"{declaration.name}, partition {key}")
    rows = quote_rows(quote, look_ahead(plan, deployment), dataset=declaration.name)
    _print_rows([*rows, *approval_rows(gate)])
    cap = declaration.budget.max_credits_per_run
    if cap is not None and quote.credits_to_buy > cap:
        click.echo(f"the budget of one run, {cap} credits, stops before the end")
    if snapshot.rejected_rows:
        click.echo(f"{snapshot.rejected_rows} rows of the table are rejected")


def _owned(quote: Quote, dataset: str) -> dict[str, Any]:
    """What is not to be bought and why, in images."""
    return {
        "by_this_dataset": quote.bought_for.get(dataset, 0),
        "by_other_datasets": dict(quote.owned_by_others(dataset)),
        "credits_saved": quote.credits_saved,
        "in_flight": quote.in_flight,
        "blocked_or_failed": quote.ended_without_images,
    }


def _approval(gate: Gate) -> dict[str, Any]:
    """Where the dataset asks for approvals: whether this plan needs one, and how many images its sample has."""
    if gate.approval is None:
        return {}
    (plan,) = gate.plans.values()
    facts = {
        "above_credits": gate.approval.above_credits,
        "credits": plan.credits,
        "needed": gate.is_shut,
        "approved_by": plan.approved_by,
        "sample": sum(images for _, images in plan.sample) if gate.is_shut else 0,
    }
    return {"approval": facts}


def _print_rows(rows: list[tuple[str, str, str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for what, much, why in rows:
        click.echo(f"  {what:<{widths[0]}}  {much:<{widths[1]}}  {why}".rstrip())


def _tell(what: str, rows: pd.DataFrame, *, with_table: bool) -> None:
    """The first rows with what is wrong with them, on stderr."""
    for row in rows.head(ROWS_SHOWN).itertuples():
        where = f"{row.table!s}, row {row.row_number}" if with_table else f"row {row.row_number}"
        cell = f"{row.column!s} {row.value!r}" if row.column else "the row"
        click.echo(f"{what}: {where}: {cell}; allowed is {row.allowed!s}; {row.fix!s}", err=True)
    if len(rows) > ROWS_SHOWN:
        click.echo(f"{what}: … and {len(rows) - ROWS_SHOWN} more", err=True)
