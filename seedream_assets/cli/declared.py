"""A declared dataset on the command line: the partitions that are asked for, and who asks."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from seedream_assets.config.dataset import UNPARTITIONED, DatasetConfig
from seedream_assets.deployment import Deployment
from seedream_assets.errors import PartitionKeyError, PromptTableError
from seedream_assets.prompts.partitions import find_partitions


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
