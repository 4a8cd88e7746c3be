"""For people, always on stderr: progress, as a bar on a terminal and as plain lines elsewhere; what is wrong with rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import click
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from seedream_assets.prompts.row_errors import describe_rows
from seedream_assets.purchase.run_report import Progress

ROWS_SHOWN = 10


@contextmanager
def showing_progress() -> Iterator[Callable[[Progress], None]]:
    """What a run calls with its progress."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _print_line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, TextColumn("{task.fields[told]}", markup=False), console=console) as bar:
        task = bar.add_task("requests", total=None, told="")

        def show(progress: Progress) -> None:
            failed = sum(progress.failed.values())
            told = [
                f"{progress.images_stored} images ({progress.images_per_minute:.0f}/min)",
                f"{progress.credits_spent} of about {progress.credits_projected} credits",
                f"{progress.in_flight} in flight, {progress.queued} queued",
                *([f"{failed} failed ({next(iter(progress.reasons), '')})"] if failed else []),
                *(words for words in (progress.outage, progress.stopping) if words),
            ]
            bar.update(task, total=progress.total, completed=progress.done, told=" · ".join(told))

        yield show


def _print_line(progress: Progress) -> None:
    # A reader that has gone away (`2>&1 | head`) must not end a run that has paid.
    with suppress(OSError):
        click.echo(str(progress), err=True)


def tell_rows(what: str, rows: pd.DataFrame, *, with_table: bool) -> None:
    """The first rejected or warned rows, with what is wrong with them."""
    for line in describe_rows(rows, most=ROWS_SHOWN, with_table=with_table):
        click.echo(f"{what}: {line}", err=True)
