"""Declare an image dataset and get it in S3, exactly as declared, paid for exactly once.

The names that a Dagster project uses are found here: the components `ImageDataset` and `SeedreamResources`, and the
resources behind them. They are imported when they are asked for, so that the rest of the package works without Dagster.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seedream_assets.components.image_dataset import ImageDataset
    from seedream_assets.components.seedream_resources import SeedreamResources
    from seedream_assets.resources import ImageStoreResource, LeonardoResource

__all__ = ["ImageDataset", "ImageStoreResource", "LeonardoResource", "SeedreamResources"]

_HOME = {
    "ImageDataset": "seedream_assets.components.image_dataset",
    "ImageStoreResource": "seedream_assets.resources",
    "LeonardoResource": "seedream_assets.resources",
    "SeedreamResources": "seedream_assets.components.seedream_resources",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    # Dagster finds a package's components by `dir()`.
    return sorted([*globals(), *_HOME])
