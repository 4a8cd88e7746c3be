"""What a command does where nobody has said how much may be spent: it asks at a terminal, and refuses anywhere else."""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from seedream_assets.budget.rules import NO_CAP, Budget
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.errors import NoCapError


def with_cap(config: DatasetConfig, *, credits: int, images: int, yes: bool) -> DatasetConfig:
    """The dataset with a budget that somebody has decided on; the same where there is one, or nothing is to be bought.

    Args:
        config: Whose.
        credits, images: The quote of what is to be bought now.
        yes: Whether `--yes` was given: there is no cap for this run.

    Raises:
        NoCapError: Nobody is there to be asked, or the answer is no; nothing was bought.
    """
    if not config.budget.is_missing or not credits:
        return config
    if yes:
        return replace(config, budget=Budget(unlimited=True))
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise NoCapError(f"{credits} credits to buy and {NO_CAP}; or give --yes for this run: nothing was bought")
    question = f"{config.name} has no cap. Buy {images} images for {credits} credits, and no credit more?"
    if not click.confirm(question, default=False, err=True):
        raise NoCapError("nothing was bought")
    # What was agreed to is the quote: whatever it turns out to cost, the run ends there.
    return replace(config, budget=Budget(max_credits_per_run=credits))
