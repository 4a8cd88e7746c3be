"""`seedream spend <store>`: what was bought over all time, from the ledger, and what of it today's datasets still show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from seedream_assets.budget.statement import Bought, StillOpen, read_history, sum_spend
from seedream_assets.cli.shared import COULD_NOT_RUN
from seedream_assets.deployment import open_declared_store
from seedream_assets.ledger.state import OpenRequests
from seedream_assets.storage import refuse_missing


def sum_up(store: str | None, by: tuple[str, ...], as_json: bool) -> None:
    """Print the sums of all that was bought, and what of the ledger could not be read."""
    opened = open_declared_store(store)
    refuse_missing(opened)
    problems: list[str] = []
    still_open: list[OpenRequests] = []

    def records() -> Iterator[Bought | StillOpen]:
        for record in read_history(opened, problems.append):
            if isinstance(record, StillOpen):
                still_open.append(record.open)
            yield record

    rows = sum_spend(records(), by)
    if as_json:
        click.echo(json.dumps(rows))
    else:
        _print(rows, by)
        together = OpenRequests.together(still_open)
        if together.requests:
            click.echo(f"{together}; see: seedream ledger")
    for problem in problems:
        click.echo(f"not counted: {problem}", err=True)
    if problems:
        raise click.exceptions.Exit(COULD_NOT_RUN)


def _print(rows: list[dict[str, Any]], by: tuple[str, ...]) -> None:
    if not rows:
        click.echo("nothing was ever bought here")
        return
    shown = (*by, "unit", "images", "amount", "images_in_datasets", "amount_in_datasets", "amount_failed")
    table = Table(*[name.replace("_", " ") for name in shown])
    for row in rows:
        table.add_row(*[f"{row[name]:.10g}" if isinstance(row[name], float) else str(row[name]) for name in shown])
    Console().print(table)
