"""A dataset's YAML file → its declaration, outside Dagster: for the command line and for tests.

A file is a `defs.yaml` as Dagster reads it, or a component's attributes alone. What Dagster and this make of the same
file is the same; a test holds them together.
"""

from __future__ import annotations

from pathlib import Path

from seedream_assets.components.check import examine
from seedream_assets.components.image_dataset import ImageDataset
from seedream_assets.components.yaml_documents import YamlError, read_documents, read_text
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.errors import ConfigError


def load_config(path: Path) -> DatasetConfig:
    """The one dataset that a file declares; relative paths start from the file's folder.

    Raises:
        ConfigError: As `load_configs`, or the file declares more than one.
    """
    configs = load_configs(path)
    if len(configs) > 1:
        names = ", ".join(config.name for config in configs)
        raise ConfigError(f"{path} declares {len(configs)} datasets ({names}); here a file of one is expected")
    return configs[0]


def load_configs(path: Path) -> list[DatasetConfig]:
    """The datasets that a file declares, in its order.

    Raises:
        ConfigError: The file cannot be read, holds no dataset, or holds errors: all of them, each with its line.
    """
    try:
        text = read_text(path)
    except ConfigError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return configs_of(text, path)


def configs_of(text: str, path: Path) -> list[DatasetConfig]:
    """The datasets in a text; `path` names it and is where relative paths start from.

    Raises:
        ConfigError: As `load_configs`.
    """
    documents, errors = read_documents(text, path)
    datasets: list[ImageDataset] = []
    for document in documents:
        component, found = examine(document)
        errors += found
        if isinstance(component, ImageDataset):
            datasets.append(component)
    if not errors and not datasets:
        errors = [YamlError(path=path, line=1, message="declares no dataset; it begins with name: and prompts:")]
    if errors:
        raise ConfigError("\n".join(map(str, sorted(errors))))
    return [dataset.config(path.parent.resolve()) for dataset in datasets]
