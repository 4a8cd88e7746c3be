"""The manifest that a plan is compared with: the last one of the partition, or any other."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.deployment import Deployment
from seedream_assets.errors import ObjectNotFound, StoreError
from seedream_assets.manifest.build import read_manifest
from seedream_assets.prompts.sources import fetch, find_sources

PREVIOUS = "previous"


def read_earlier(
    against: str, config: DatasetConfig, partition: str, deployment: Deployment, *, base: Path
) -> tuple[str, pd.DataFrame]:
    """A manifest and its address.

    Args:
        against: `previous`, for the last manifest of the partition in the store; else a path, `s3://` or `https://`.
        config, partition, deployment: What it is compared with.
        base: The folder that a relative path starts from.

    Raises:
        StoreError: There is no such manifest, or it is none.
        PromptTableError: The path or address leads to no file.
    """
    if against == PREVIOUS:
        key = config.key("manifest", partition)
        try:
            return deployment.store.uri(key), read_manifest(deployment.store.read(key), key=deployment.store.uri(key))
        except ObjectNotFound as error:
            raise StoreError(
                f"{config.name}, partition {partition}, has no manifest yet: everything in it is new"
            ) from error
    (source,) = find_sources(against, base=base, options=deployment.s3)
    return source.uri, read_manifest(fetch(source), key=source.uri)
