"""Declare an image dataset and get it in S3, exactly as declared, paid for exactly once.

These names are the public API, all of it. From version 1.0 on, a change that breaks their users needs a new major
version; before that, the changelog says so. Every other module is internal and may change in any release.

- In a Dagster project: the components `ImageDataset` and `SeedreamResources`, and the resources behind them,
  `LeonardoResource` and `ImageStoreResource`.
- Without Dagster: `load_config` and `load_configs` read a YAML file and return what it declares, a `DatasetConfig`, or
  raise `ConfigError` with every error and its line.
- Errors: everything that this package raises on purpose is a `SeedreamError`, which knows whether it may be retried. Its
  kinds are in `seedream_assets.errors`, which is public too.

A name is imported when it is first used: `import seedream_assets` imports neither Dagster nor pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seedream_assets.components.image_dataset import ImageDataset
    from seedream_assets.components.seedream_resources import SeedreamResources
    from seedream_assets.config.dataset import DatasetConfig
    from seedream_assets.config.yaml import load_config, load_configs
    from seedream_assets.errors import ConfigError, SeedreamError
    from seedream_assets.resources import ImageStoreResource, LeonardoResource

__all__ = [
    "ConfigError",
    "DatasetConfig",
    "ImageDataset",
    "ImageStoreResource",
    "LeonardoResource",
    "SeedreamError",
    "SeedreamResources",
    "load_config",
    "load_configs",
]

_HOME = {
    "ConfigError": "seedream_assets.errors",
    "DatasetConfig": "seedream_assets.config.dataset",
    "ImageDataset": "seedream_assets.components.image_dataset",
    "ImageStoreResource": "seedream_assets.resources",
    "LeonardoResource": "seedream_assets.resources",
    "SeedreamError": "seedream_assets.errors",
    "SeedreamResources": "seedream_assets.components.seedream_resources",
    "load_config": "seedream_assets.config.yaml",
    "load_configs": "seedream_assets.config.yaml",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    # Dagster finds a package's components by `dir()`.
    return sorted([*globals(), *_HOME])
