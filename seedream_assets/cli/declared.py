"""A dataset YAML on the command line → a declaration and the deployment that the environment describes."""

from __future__ import annotations

from pathlib import Path

import click
import yaml

from seedream_assets.components.image_dataset import ImageDataset
from seedream_assets.core.declaration import UNPARTITIONED, DatasetDeclaration
from seedream_assets.core.errors import DeclarationError, SeedreamError
from seedream_assets.generation.deployment import Deployment
from seedream_assets.resources import ImageStoreResource, LeonardoResource

COMPONENT_TYPES = ("seedream_assets.ImageDataset", "seedream_assets.components.image_dataset.ImageDataset")


def load_declaration(path: Path) -> DatasetDeclaration:
    """The dataset in a YAML file: a defs.yaml as Dagster reads it, or its attributes alone.

    Raises:
        DeclarationError: Not YAML, not a dataset, or a value that is not allowed; names the file, and the line where
            it is known.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DeclarationError(f"{path} cannot be read: {error.strerror}") from error
    return declaration_of(text, path)


def declaration_of(text: str, path: Path) -> DatasetDeclaration:
    """The dataset in the text of one YAML document; `path` names it and is where relative paths start from.

    Raises:
        DeclarationError: As `load_declaration`.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DeclarationError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise DeclarationError(f"{path} holds no dataset; it begins with name: and prompts:")
    if "type" in document and "attributes" in document:
        if document["type"] not in COMPONENT_TYPES:
            raise DeclarationError(f"{path} declares {document['type']}, not {COMPONENT_TYPES[0]}")
        text = _attributes_only(text)
    try:
        component = ImageDataset.resolve_from_yaml(text)
        return component.declaration(path.parent.resolve())
    except SeedreamError as error:
        raise DeclarationError(f"{path}: {error}") from error
    except (
        Exception
    ) as error:  # Dagster tells an invalid YAML by errors of its own and of pydantic, with no common base
        raise DeclarationError(f"{path}: {told_by_dagster(error)}") from error


def _attributes_only(text: str) -> str:
    """The attributes as a document of their own, each on the line where it stood."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    value = next(value for key, value in node.value if key.value == "attributes")
    lines = text.splitlines()
    if isinstance(value, yaml.MappingNode) and value.flow_style:
        return yaml.safe_dump(yaml.safe_load(text)["attributes"], sort_keys=False)
    first, last = value.start_mark.line, value.end_mark.line
    kept = [line[value.start_mark.column :] for line in lines[first : max(last, first + 1)]]
    return "\n" * first + "\n".join(kept) + "\n"


def told_by_dagster(error: Exception) -> str:
    """The useful part of what Dagster or pydantic says about a YAML."""
    errors = getattr(error, "errors", None)
    if callable(errors):
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in errors())
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def deployment_of(declaration: DatasetDeclaration) -> Deployment:
    """What the environment lends to a dataset: LEONARDO_API_KEY, LEONARDO_BASE_URL, SEEDREAM_STORE, boto3's own.

    Raises:
        DeclarationError: No store is named.
    """
    leonardo, image_store = LeonardoResource(), ImageStoreResource()
    return Deployment(
        store=image_store.open(declaration.store),
        models=leonardo.models(declaration.leonardo),
        leonardo=leonardo.settings(declaration.leonardo),
        engine=leonardo.engine({**declaration.leonardo, **declaration.engine}),
        s3=image_store.options(),
    )


def partition_of(declaration: DatasetDeclaration, asked: str | None) -> str:
    """The partition to work on.

    Raises:
        click.UsageError: One must be named and is not, or is named and there are none.
    """
    if declaration.partitions.by == "none":
        if asked not in (None, UNPARTITIONED):
            raise click.UsageError(f"{declaration.name} has no partitions; leave --partition out")
        return UNPARTITIONED
    if asked is None:
        raise click.UsageError(f"{declaration.name} is partitioned by {declaration.partitions.by}; add --partition KEY")
    return asked
