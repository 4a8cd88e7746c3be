"""The component `seedream_assets.ImageDataset`: one dataset's YAML → its four assets.

`dg scaffold defs seedream_assets.ImageDataset <name>` writes a dataset that loads at once, with a small prompt table.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Self

import dagster as dg
from pydantic import BaseModel, Field, ValidationError

from seedream_assets.assets import build_assets, build_automation, build_checks
from seedream_assets.components.attributes import attributes_model, read_attributes
from seedream_assets.components.seedream_resources import DEFAULT_RESOURCES, SeedreamResources
from seedream_assets.config.base import AS_DECLARED, problems_of
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.errors import ConfigError

EXAMPLE_TABLE = """\
prompt_id,prompt,width,height,quantity,style,category
mug-blue,"Studio photo of a blue ceramic mug on pale stone, soft window light",1024,1024,2,Stock Photo,tableware
teapot-iron,"Cast-iron teapot steaming on a dark slate table",1280,720,1,Cinematic,tableware
"""
# What may be added, where a person looks first.
MORE = """
  # prompts: also s3:// or https:// addresses, a glob, a list; columns: {prompt: Text} where the table's names differ.
  # partitions: {by: daily, column: day, start: "2026-11-01"}     # or by: column, by: table
  # owners: ["team:data"]
  # description: What the dataset is for.
"""


class ImageDatasetParameters(BaseModel):
    """Flags of the scaffold command."""

    prompts: str = Field(
        default="prompts.csv", description="The prompt table; a small one is written if it is not there."
    )
    store: str = Field(default="{{ env.SEEDREAM_STORE }}", description="s3://bucket/prefix or file:///…")
    max_credits_per_run: int = Field(default=280, ge=0, description="One run buys no more than this.")


class ImageDatasetScaffolder(dg.Scaffolder[ImageDatasetParameters]):
    """Writes defs.yaml and, where the named table is not there, a table of two prompts."""

    @classmethod
    def get_scaffold_params(cls) -> type[ImageDatasetParameters]:
        """The command's flags."""
        return ImageDatasetParameters

    def scaffold(self, request: dg.ScaffoldRequest[ImageDatasetParameters]) -> None:
        """Write the files."""
        params = request.params
        target = Path(request.target_path)
        name = re.sub(r"[^A-Za-z0-9_]", "_", target.name)
        attributes: dict[str, Any] = {
            "name": name if name[:1].isalpha() else f"dataset_{name}",
            "prompts": {"table": params.prompts},
            "recipe": {"model": "seedream-4.0", "width": 1024, "height": 1024, "quantity": 1, "style": "None"},
            "budget": {"max_credits_per_run": params.max_credits_per_run},
            "store": params.store,
        }
        dg.scaffold_component(request, attributes)
        written = target / "defs.yaml"
        if written.exists():
            written.write_text(written.read_text(encoding="utf-8").rstrip() + "\n" + MORE, encoding="utf-8")
        table = target / params.prompts
        if "://" not in params.prompts and "*" not in params.prompts and not table.exists():
            table.parent.mkdir(parents=True, exist_ok=True)
            table.write_text(EXAMPLE_TABLE, encoding="utf-8")


@dg.scaffold_with(ImageDatasetScaffolder)
class ImageDataset(dg.Component, dg.Model):
    """An image dataset: a prompt table, a recipe, a budget and a place, materialised as four assets.

    `prompts` → `generation_requests` → `images` → `dataset`. The first two cost nothing and are the quote; `images` is
    the only one that spends.

    A subclass, which is declared by its own type, changes what the YAML does not say in the hooks `get_config` and
    `get_asset_spec`. Its own fields are keys of its YAML:

    .. code-block:: python

        class TeamDataset(seedream_assets.ImageDataset):
            team: str = pydantic.Field(description="Whose images they are.")

            def get_asset_spec(self, spec: dg.AssetSpec) -> dg.AssetSpec:
                return spec.merge_attributes(tags={"team": self.team})

    .. code-block:: yaml

        type: my_project.components.TeamDataset
        attributes:
          name: shoes
          prompts: {table: prompts.csv}
          team: vision

    Attributes:
        config: What the YAML declares, as `get_config` returns it.
    """

    config: DatasetConfig

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What `dg list components` shows."""
        return dg.ComponentTypeSpec(
            description="An image dataset from a prompt table, bought from Leonardo.ai's Seedream and kept in S3.",
            tags=["leonardo", "seedream", "s3", "images"],
        )

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The attributes in YAML, for Dagster and for editors."""
        return attributes_model(DatasetConfig, cls)

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        """The component that a YAML declares.

        Raises:
            ConfigError: All that is wrong with it.
        """
        values = read_attributes(attributes, context)
        own = {name: values.pop(name) for name in cls.model_fields if name != "config" and name in values}
        try:
            component = cls.model_validate({**own, "config": values}, context=AS_DECLARED)
        except ValidationError as error:
            # Not chained: pydantic's error keeps the input, which may hold a key.
            raise ConfigError("\n".join(str(one).removeprefix("config.") for one in problems_of(error))) from None
        component.config = component.get_config(component.config.changed(base=Path(context.path)))
        return component

    def get_config(self, config: DatasetConfig) -> DatasetConfig:
        """The dataset as it is built; override to set what a team's datasets have in common.

        Args:
            config: As the YAML declares it. `config.changed(...)` gives a changed one.
        """
        return config

    def get_asset_spec(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        """The spec of one of the four assets; override to set its group, tags, owners, metadata or description.

        Args:
            spec: As it is built. Its key has to stay: the stages find each other by it.
        """
        return spec

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The four assets and their checks.

        Where the project declares no `SeedreamResources`, the account and the store come from the environment.
        """
        config = self.config
        assets = build_assets(config)
        checks, verify_schedules = build_checks(config)
        schedules, sensors = build_automation(config)
        declared = context.component_tree.get_all_components(of_type=SeedreamResources)
        return dg.Definitions(
            assets=[asset.map_asset_specs(self.get_asset_spec) for asset in assets],
            asset_checks=checks,
            schedules=[*verify_schedules, *schedules],
            sensors=sensors,
            resources={} if declared else DEFAULT_RESOURCES,
        )
