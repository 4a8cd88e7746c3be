"""`seedream trace <file, address or id>`: from one image back to its prompt row, and forward again. Reads only."""

from __future__ import annotations

import json
from pathlib import Path

import click

from seedream_assets.config.yaml import load_config
from seedream_assets.deployment import open_declared_store
from seedream_assets.manifest.trace import Trace, trace_as_json, trace_as_text, trace_bytes, trace_id, trace_row
from seedream_assets.manifest.trace_prov import trace_as_prov
from seedream_assets.prompts.sources import fetch, find_sources
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.s3_client import S3Options
from seedream_assets.wording import count_of

LARGEST_FILE = 200 * 1024 * 1024


def trace(
    image: str | None,
    prompt_id: str | None,
    dataset: str | None,
    partition: str | None,
    address: str | None,
    as_json: bool,
    prov: bool,
) -> None:
    """Print the trace of an image, or of the images of a row."""
    if (image is None) == (prompt_id is None):
        raise click.UsageError("name an image, or a row with --row")
    if as_json and prov:
        raise click.UsageError("--json and --prov are two formats; choose one")
    if image is not None and (dataset or partition):
        raise click.UsageError("--dataset and --partition narrow --row; an image is looked for in all datasets")
    name, store = _dataset_and_store(dataset, address)
    if prompt_id is not None:
        trace = trace_row(store, prompt_id, dataset=name, partition=partition)
    else:
        trace = _trace_image(store, str(image))
    if as_json:
        click.echo(trace_as_json(trace))
    elif prov:
        click.echo(json.dumps(trace_as_prov(trace), indent=1, ensure_ascii=False))
    else:
        click.echo(trace_as_text(trace))


def _dataset_and_store(dataset: str | None, address: str | None) -> tuple[str | None, ObjectStore]:
    if dataset is None or not Path(dataset).is_file():
        return dataset, open_declared_store(address)
    config = load_config(Path(dataset))
    return config.name, open_declared_store(config.store if address is None else address)


def _trace_image(store: ObjectStore, image: str) -> Trace:
    if Path(image).is_file():
        return trace_bytes(store, Path(image).read_bytes(), asked=image)
    if "://" not in image:
        return trace_id(store, image)
    found = find_sources(image, base=Path.cwd(), options=S3Options())
    if len(found) != 1:
        raise click.UsageError(f"{count_of(len(found), 'file')} match; name one image")
    # As it may be shown: a signed address carries a secret in its query.
    return trace_bytes(store, fetch(found[0], max_bytes=LARGEST_FILE), asked=found[0].uri)
