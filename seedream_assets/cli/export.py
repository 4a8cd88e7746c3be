"""`seedream export dataset.yaml`: hand a dataset over, from its manifests alone, and prove that it opens."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from seedream_assets.cli.shared import DIFFERENT
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.exports import ExportChoice
from seedream_assets.config.yaml import load_config
from seedream_assets.deployment import open_declared_store
from seedream_assets.exports.card import how_to_load
from seedream_assets.exports.formats import ExportReport, ExportSource, ExportTarget, default_target, find_export
from seedream_assets.exports.opening import LIBRARIES, Opening, open_export
from seedream_assets.wording import count_of


def export(
    dataset: Path,
    names: tuple[str, ...],
    to: str | None,
    split: str | None,
    shard_bytes: int | None,
    verify: bool,
    as_json: bool,
) -> None:
    """Write the exports that were asked for, open each, and print what came of it."""
    config = load_config(dataset)
    source = ExportSource(dataset=config.name, store=open_declared_store(config.store), card=config.card)
    choices = _choices(config, names, split, shard_bytes)
    if to is not None and len(choices) != 1:
        raise click.UsageError(f"--to is the place of one export; name one --format, not {len(choices)}")
    wrong = False
    for choice in choices:
        target = (
            default_target(source, choice.name)
            if to is None
            else ExportTarget(store=open_declared_store(_from_here(to)))
        )
        report = find_export(choice.name).write(source, target, choice)
        opening = open_export(source, target, choice) if verify and choice.name in LIBRARIES else None
        click.echo(json.dumps(_as_object(report, opening), default=str) if as_json else _describe(report, opening))
        wrong = wrong or bool(opening and opening.problems)
    if wrong:
        raise click.exceptions.Exit(DIFFERENT)


def _from_here(to: str) -> str:
    """A place that is typed with a dot in front starts from the working directory: nothing is bought twice by that."""
    return str(Path(to).absolute()) if to.startswith(".") else to


def _choices(
    config: DatasetConfig, names: tuple[str, ...], split: str | None, shard_bytes: int | None
) -> list[ExportChoice]:
    """The exports to make: options of the command line before the YAML's, where the format has them."""
    declared = {choice.name: choice for choice in config.exports}
    if not names and not declared:
        raise click.UsageError(f"{config.name} declares no exports; add --format NAME")
    choices = []
    for name in dict.fromkeys(names or declared):
        base = declared.get(name) or ExportChoice(name=name)
        choices.append(
            ExportChoice(
                name=name,
                split=split or base.split,
                shard_bytes=shard_bytes or base.shard_bytes,
                row_group_bytes=base.row_group_bytes,
            )
        )
    return choices


def _describe(report: ExportReport, opening: Opening | None) -> str:
    left_out = ", ".join(f"{count} {why}" for why, count in report.left_out.items())
    lines = [
        f"{report.name}: {count_of(report.rows, 'image')}, {report.size_bytes / 1e6:.1f} MB in {report.uri}",
        f"files written {report.written}, kept {report.kept}, removed {report.removed}"
        + (f"; images left out: {left_out}" if left_out else ""),
    ]
    if opening is not None:
        verdict = "proven" if opening.passed else "NOT PROVEN" if opening.problems or not opening.ran else "incomplete"
        lines.append(f"{verdict}: {opening.message}")
    return "\n".join([*lines, "", how_to_load(report), ""])


def _as_object(report: ExportReport, opening: Opening | None) -> dict[str, Any]:
    proof = None if opening is None else {**asdict(opening), "passed": opening.passed}
    return {**asdict(report), "opening": proof, "how_to_load": how_to_load(report)}
