"""`seedream`: the same datasets without a Dagster project, and what goes with them.

`commands` declares every command; each has a module of its own name. Exit codes: `shared`.
"""

from __future__ import annotations

import sys

import click

from seedream_assets.cli.commands import seedream
from seedream_assets.cli.shared import COULD_NOT_RUN
from seedream_assets.errors import SeedreamError


def main() -> None:
    """The command `seedream`. Errors of this project are one line on stderr and exit code 1."""
    try:
        seedream(prog_name="seedream")
    except SeedreamError as error:
        click.echo(f"seedream: {error}", err=True)
        sys.exit(COULD_NOT_RUN)
