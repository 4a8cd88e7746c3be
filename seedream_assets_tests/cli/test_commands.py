"""The declarations of the commands: what they import, and that each finds its module."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from seedream_assets.budget import statement
from seedream_assets.cli import seedream
from seedream_assets.cli.commands import GROUPINGS

HEAVY = ("dagster", "pandas", "boto3", "httpx")


def test_help_imports_nothing_heavy() -> None:
    code = f"""
import sys
from click.testing import CliRunner
from seedream_assets.cli import seedream
for arguments in ([], ["plan"], ["check"], ["run"], ["ledger", "adopt"]):
    assert CliRunner().invoke(seedream, [*arguments, "--help"]).exit_code == 0
print(*(name for name in {HEAVY} if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_no_command_but_those_that_start_servers_imports_dagster() -> None:
    names = sorted(set(seedream.commands) - {"demo", "dev", "emulator"})
    code = f"import sys, {', '.join(f'seedream_assets.cli.{name}' for name in names)}; print('dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", sorted(seedream.commands))
def test_every_command_says_what_it_does(name: str) -> None:
    command = seedream.commands[name]
    assert command.help
    assert command.short_help
    assert isinstance(command, click.Group) or command.params


def test_spend_groups_by_what_the_statement_knows() -> None:
    assert GROUPINGS == statement.GROUPINGS


@pytest.mark.parametrize(
    ("typed", "meant"), [(["plan", "--agianst", "x"], "--against"), (["ledger", "adopt", "--froce"], "--force")]
)
def test_a_slip_in_an_option_is_answered_with_the_one_that_is_meant(typed: list[str], meant: str) -> None:
    answered = CliRunner().invoke(seedream, typed)
    assert answered.exit_code == 2
    assert meant in answered.output
