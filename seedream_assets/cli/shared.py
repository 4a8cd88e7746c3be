"""What several commands need: the exit codes, the partitions that are asked for, who asks, and a prompt on one line.

docs/command-line.md has the table of exit codes for people.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from seedream_assets.errors import PartitionKeyError, PromptTableError

if TYPE_CHECKING:
    from seedream_assets.config.dataset import DatasetConfig
    from seedream_assets.deployment import Deployment

LONGEST_PROMPT = 60
DONE = 0
COULD_NOT_RUN = 1
# Of commands that compare, as of diff: `check`, `export`, `verify`.
DIFFERENT = 1
WRONG_USAGE = 2  # click's own
NOT_COMPARED = 2
NOT_ALL_FINAL = 3
AWAITING_APPROVAL = 4
NOTHING_STORED = 5

# By code, what it means for `run`; `plan` has the first four, and means a run that would end so.
MEANINGS: Mapping[int, str] = {
    DONE: "every wanted image is final, and what was to buy was stored",
    COULD_NOT_RUN: "it could not run, or could not go on: no cap, a wrong key, a hash that fits no plan; stderr says why",
    WRONG_USAGE: "wrong usage",
    NOT_ALL_FINAL: "some images are not final (over a cap or the balance, uncertain, pending, interrupted), or a partition "
    "could not be planned; run it again once that is mended",
    AWAITING_APPROVAL: "only a preview was bought, and the rest waits for an approval",
    NOTHING_STORED: "all is final and no image was stored: every request was refused, blocked, failed or withheld",
}


def described() -> str:
    """The table for `--help`, a line for each code."""
    return "\b\nExit codes:\n" + "\n".join(f"  {code}  {meaning}" for code, meaning in MEANINGS.items())


def this_person() -> str:
    """Who types, as far as this machine knows: user@host."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def partitions_of(config: DatasetConfig, asked: Sequence[str], deployment: Deployment) -> list[str]:
    """The partitions to work on: those asked for, else all that the tables have now.

    Names that cannot be a partition's are listed on stderr.

    Raises:
        click.UsageError: A partition is named and there are none, or it cannot be one.
        PromptTableError: The tables cannot be looked at, or have no partition yet.
    """
    # Not on top: the help imports this module.
    from seedream_assets.config.partitions import UNPARTITIONED
    from seedream_assets.prompts.partitions import find_partitions

    if config.partitions.by == "none":
        if set(asked) - {UNPARTITIONED}:
            raise click.UsageError(f"{config.name} has no partitions; leave --partition out")
        return [UNPARTITIONED]
    if asked:
        for key in asked:
            try:
                config.partitions.refuse_unless_key(key)
            except PartitionKeyError as error:
                raise click.UsageError(str(error)) from error
        return list(dict.fromkeys(asked))
    found = find_partitions(config, deployment, now=datetime.now(UTC))
    for name, why in found.unusable.items():
        click.echo(f"{name} cannot be a partition: {why}", err=True)
    if found.not_yet:
        click.echo(f"not complete yet: {', '.join(found.not_yet)}; name it with --partition to have it now", err=True)
    if not found.keys:
        raise PromptTableError(f"{config.name} has no partition yet: no table or row of it belongs to one")
    return list(found.keys)


def shortened(prompt: str) -> str:
    """The beginning of a prompt, as it stands in a line of output."""
    return prompt if len(prompt) <= LONGEST_PROMPT else prompt[: LONGEST_PROMPT - 1] + "…"
