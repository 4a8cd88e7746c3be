"""`seedream verify dataset.yaml`: bucket against manifest, both ways. Reads only, unless it is to repair."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from seedream_assets.cli.shared import DIFFERENT, NOT_COMPARED, partitions_of
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.retry import format_seconds
from seedream_assets.config.yaml import load_config
from seedream_assets.deployment import Deployment, open_declared_store
from seedream_assets.errors import ObjectUnreadable, SeedreamError
from seedream_assets.manifest.repair import Repair, repair_dataset
from seedream_assets.manifest.verify import Verification, load_manifests, verify_images
from seedream_assets.quality.assemble import assemble_dataset
from seedream_assets.wording import count_of

SHOWN = 50


def verify(dataset: Path, partition: str | None, deep: bool, repair: bool, as_json: bool) -> None:
    """Compare, after repairs where they are asked for, and print the differences."""
    began = time.monotonic()
    try:
        config = load_config(dataset)
        store = open_declared_store(config.store)
        repaired = _repair(config, partition, deep=deep) if repair else Repair()
        unreadable: list[ObjectUnreadable] = []
        found = verify_images(
            store,
            load_manifests(store, config.name, partition, on_unreadable=unreadable.append),
            most_read=None if deep else 0,
            with_extra=partition is None,
            unreadable=unreadable,
        )
    except SeedreamError as error:
        click.echo(f"seedream: {error}", err=True)
        raise click.exceptions.Exit(NOT_COMPARED) from error
    result = _as_object(found, dataset=config.name, partition=partition, seconds=time.monotonic() - began)
    if repair:
        result |= {"mended": repaired.mended, "not_mended": repaired.left}
    for line in (*(f"mended: {one}" for one in repaired.mended), *(f"not mended: {one}" for one in repaired.left)):
        click.echo(line, err=True)
    click.echo(json.dumps(result) if as_json else _describe(found, result))
    if found.differences or repaired.left:
        raise click.exceptions.Exit(DIFFERENT)


def _repair(config: DatasetConfig, partition: str | None, *, deep: bool) -> Repair:
    deployment = Deployment.from_environment(config)
    partitions = partitions_of(config, (partition,) if partition else (), deployment)
    rebuild = partial(assemble_dataset, measure=False)
    return repair_dataset(config, partitions, deployment, deep=deep, rebuild=rebuild)


def _as_object(found: Verification, *, dataset: str, partition: str | None, seconds: float) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "partition": partition,
        "manifests": found.partitions,
        "images": found.images,
        "read": found.read,
        **found.counts,
        "unwanted": found.unwanted,
        "clean": not found.differences,
        "differences": [asdict(difference) for difference in found.differences],
        "seconds": round(seconds, 3),
    }


def _describe(found: Verification, result: dict[str, Any]) -> str:
    lines = [f"{difference.kind}: {difference.object_key}: {difference.message}" for difference in found.differences]
    if len(lines) > SHOWN:
        lines = [*lines[:SHOWN], f"… and {len(lines) - SHOWN} more; --json lists all"]
    counted = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in found.counts.items() if count)
    how = f"{found.read} read" if found.read else "by list calls alone"
    lines.append(
        f"{result['dataset']}: {count_of(found.images, 'image')} compared, {how}: {counted or 'no difference'}"
    )
    if found.unwanted:
        lines.append(f"{found.unwanted} more are owned and not wanted now")
    return "\n".join([*lines, f"took {format_seconds(result['seconds'])}"])
