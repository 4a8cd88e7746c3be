"""A declared dataset on the command line: the deployment that the environment describes, and the partition asked for."""

from __future__ import annotations

import getpass
import socket

import click

from seedream_assets.core.declaration import UNPARTITIONED, DatasetDeclaration
from seedream_assets.generation.deployment import Deployment
from seedream_assets.resources import ImageStoreResource, LeonardoResource


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


def this_person() -> str:
    """Who types, as far as this machine knows: user@host."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


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
