"""The component `seedream_assets.SeedreamResources`: the deployment's account and store, for all of its datasets."""

from __future__ import annotations

from typing import Any, Self

import dagster as dg
from pydantic import BaseModel

from seedream_assets.components.attributes import attributes_model, read_attributes
from seedream_assets.config.account import ResourcesConfig
from seedream_assets.resources import ImageStoreResource, LeonardoResource

LEONARDO_KEY = "leonardo"
IMAGE_STORE_KEY = "image_store"


class SeedreamResources(dg.Component):
    """The deployment's Leonardo account and image store; declare it once, and every ImageDataset uses it."""

    def __init__(self, config: ResourcesConfig) -> None:
        self.config = config

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What `dg list components` shows."""
        return dg.ComponentTypeSpec(
            description="One Leonardo account and one image store for all image datasets of a deployment.",
            tags=["leonardo", "s3"],
        )

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The attributes in YAML, for Dagster and for editors."""
        return attributes_model(ResourcesConfig)

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        """The component that a YAML declares.

        Raises:
            ConfigError: All that is wrong with it.
        """
        return cls(ResourcesConfig(**read_attributes(attributes, context)))

    def resources(self) -> dict[str, LeonardoResource | ImageStoreResource]:
        """The two resources by their keys."""

        def given(part: Any) -> dict[str, Any]:
            return {name: list(value) if isinstance(value, tuple) else value for name, value in part.given().items()}

        return {
            LEONARDO_KEY: LeonardoResource(**given(self.config.leonardo)),
            IMAGE_STORE_KEY: ImageStoreResource(**given(self.config.image_store)),
        }

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002  # Dagster's signature
        """The two resources."""
        return dg.Definitions(resources=self.resources())


# What datasets stand on in a deployment that declares no SeedreamResources: everything from the environment. One object
# for all datasets: Dagster merges definitions only where a resource key names the very same object.
DEFAULT_RESOURCES = {LEONARDO_KEY: LeonardoResource(), IMAGE_STORE_KEY: ImageStoreResource()}
