"""`seedream plan dataset.yaml`: the quote. Reads the table and the ledger; writes nothing, spends nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
import pandas as pd

from seedream_assets.cli.declared import deployment_of, partition_of
from seedream_assets.components.yaml_files import load_declaration
from seedream_assets.core.models import DOLLARS_PER_CREDIT
from seedream_assets.core.summary import summarise
from seedream_assets.generation.generation_requests import make_plan
from seedream_assets.generation.prompts import read_prompts
from seedream_assets.generation.run import read_account

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
            seconds=time.monotonic() - began,
        )
        click.echo(json.dumps(summary))
        return
    click.echo(f"{declaration.name}, partition {key}: {quote.wanted} images wanted, {quote.owned_images} owned")
    click.echo(
        f"to buy: {quote.images_to_buy} images in {quote.to_buy} requests for {quote.credits_to_buy} credits, about "
        f"{quote.credits_to_buy * DOLLARS_PER_CREDIT:.2f} dollars at the pay-as-you-go rate"
    )
    cap = declaration.budget.max_credits_per_run
    if cap is not None and quote.credits_to_buy > cap:
        click.echo(f"the budget of one run, {cap} credits, stops before the end")
    account = read_account(deployment.leonardo) if deployment.leonardo else None
    if account is not None and account.balance is not None:
        click.echo(f"balance of the account: {account.balance:g}")
    if snapshot.rejected_rows:
        click.echo(f"{snapshot.rejected_rows} rows of the table are rejected")


def _tell(what: str, rows: pd.DataFrame, *, with_table: bool) -> None:
    """The first rows with what is wrong with them, on stderr."""
    for row in rows.head(ROWS_SHOWN).itertuples():
        where = f"{row.table!s}, row {row.row_number}" if with_table else f"row {row.row_number}"
        cell = f"{row.column!s} {row.value!r}" if row.column else "the row"
        click.echo(f"{what}: {where}: {cell}; allowed is {row.allowed!s}; {row.fix!s}", err=True)
    if len(rows) > ROWS_SHOWN:
        click.echo(f"{what}: … and {len(rows) - ROWS_SHOWN} more", err=True)
