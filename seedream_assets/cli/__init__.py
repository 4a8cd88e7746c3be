"""`seedream`: the same datasets without a Dagster project, and what goes with them. Exit codes: `exit_codes`."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from seedream_assets.cli.exit_codes import COULD_NOT_RUN
from seedream_assets.errors import SeedreamError

# Imported when they are asked for: Dagster takes a second to import, and `seedream emulator` needs none of it.
COMMANDS = {
    "approve": "Let the rest of a plan be bought, after a look at its sample.",
    "check": "List every error in every dataset YAML.",
    "demo": "Materialise the bundled dataset through Dagster, on the bundled emulator; needs no account.",
    "dev": "Open Dagster's UI on this project, with the emulator beside it.",
    "emulator": "A stand-in Leonardo on this machine.",
    "export": "Hand a dataset over: ImageFolder, WebDataset, Parquet, Croissant, gallery; proven by opening it.",
    "ledger": "Look at what was bought, and settle what is uncertain.",
    "plan": "Quote a dataset without spending.",
    "reconcile": "Compare the account's history with the ledger, both ways; buys nothing.",
    "run": "Bring a dataset to the declared state: read, plan, buy, store, write the manifest.",
    "spend": "What was bought in a store, over all time, from its ledger.",
    "trace": "Tell where an image comes from, or which images a prompt row has.",
    "verify": "Compare the bucket with the manifests of a dataset; reads only.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"seedream_assets.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="seedream-assets")
def seedream() -> None:
    """Declare an image dataset and get it, exactly as declared, paid for exactly once."""


def main() -> None:
    """The command `seedream`. Errors of this project are one line on stderr and exit code 1."""
    try:
        seedream(prog_name="seedream")
    except SeedreamError as error:
        click.echo(f"seedream: {error}", err=True)
        sys.exit(COULD_NOT_RUN)
