"""The component `seedream_assets.SeedreamResources`: the deployment's account and store, for all of its datasets."""

from __future__ import annotations

from typing import Annotated

import dagster as dg

from seedream_assets.components.schema import ImageStoreModel, LeonardoModel
from seedream_assets.resources import ImageStoreResource, LeonardoResource

LEONARDO_KEY = "leonardo"
IMAGE_STORE_KEY = "image_store"


class SeedreamResources(dg.Component, dg.Model, dg.Resolvable):
    """The deployment's Leonardo account and image store; declare it once, and every ImageDataset uses it."""

    leonardo: Annotated[
        LeonardoModel | None, dg.Resolver.default(description="Rates, time-outs and limits below the models' own.")
    ] = None
    image_store: Annotated[
        ImageStoreModel | None, dg.Resolver.default(description="Where datasets that name no store are kept.")
    ] = None

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What `dg list components` shows."""
        return dg.ComponentTypeSpec(
            description="One Leonardo account and one image store for all image datasets of a deployment.",
            tags=["leonardo", "s3"],
        )

    def resources(self) -> dict[str, LeonardoResource | ImageStoreResource]:
        """The two resources by their keys.

        Raises:
            ConfigError: A value is not allowed, or a limit would loosen a model's.
        """
        leonardo = LeonardoResource(**(self.leonardo.given() if self.leonardo else {}))
        leonardo.refuse_unless_allowed()
        store = ImageStoreResource(**(self.image_store.given() if self.image_store else {}))
        store.refuse_unless_allowed()
        return {LEONARDO_KEY: leonardo, IMAGE_STORE_KEY: store}

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002  # Dagster's signature
        """The two resources."""
        return dg.Definitions(resources=self.resources())


# What datasets stand on in a deployment that declares no SeedreamResources: everything from the environment. One object
# for all datasets: Dagster merges definitions only where a resource key names the very same object.
DEFAULT_RESOURCES = {LEONARDO_KEY: LeonardoResource(), IMAGE_STORE_KEY: ImageStoreResource()}
