"""`seedream spend <store>`: what was booked over all time, from the manifests alone."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pandas as pd
from rich.console import Console
from rich.table import Table

from seedream_assets.core.manifest import read_manifest
from seedream_assets.core.spend import GROUPINGS, sum_spend
from seedream_assets.resources import ImageStoreResource
from seedream_assets.storage.object_store import ObjectStore


@click.command("spend")
@click.argument("store", required=False)
@click.option("--by", multiple=True, type=click.Choice(GROUPINGS), default=("dataset",), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def command(store: str | None, by: tuple[str, ...], as_json: bool) -> None:
    """Sum what was booked in STORE (default: SEEDREAM_STORE). Several --by group within each other."""
    summed = sum_spend(_manifests(ImageStoreResource().open(store)), by)
    if as_json:
        click.echo(json.dumps(summed.to_dict("records"), default=str))
        return
    table = Table(*[str(name) for name in summed.columns])
    for row in summed.itertuples(index=False, name=None):
        table.add_row(*[f"{value:g}" if isinstance(value, float) else str(value) for value in row])
    Console().print(table)


def _manifests(store: ObjectStore) -> Iterator[pd.DataFrame]:
    for dataset in store.list_folders("datasets/"):
        for info in store.list(f"datasets/{dataset}/manifest/"):
            if info.key.endswith(".parquet"):
                yield read_manifest(store.read(info.key))
