"""`seedream check`: every error in every dataset YAML, with file and line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from seedream_assets.cli.shared import DIFFERENT
from seedream_assets.config.yaml import check_yaml_files
from seedream_assets.wording import count_of

SUFFIXES = (".yaml", ".yml")


def check(paths: tuple[Path, ...]) -> None:
    """Print the errors and remarks of these files, or of those that these folders hold."""
    files = list(_files(paths))
    if not files:
        raise click.UsageError(f"no YAML file in {', '.join(map(str, paths))}")
    errors, remarks = check_yaml_files(files)
    for found in (*errors, *remarks):
        click.echo(str(found))
    if errors:
        raise click.exceptions.Exit(DIFFERENT)
    click.echo(f"{count_of(len(files), 'YAML file')}, no errors")


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(found for found in path.rglob("*") if found.suffix in SUFFIXES and found.is_file())
        else:
            yield path
