"""The components in a Dagster project: scaffolded, listed, loaded, with and without a declared account."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster.components.testing.utils import DefsFolderSandbox, create_defs_folder_sandbox

import seedream_assets
from seedream_assets.components.image_dataset import ImageDataset
from seedream_assets.components.seedream_resources import SeedreamResources
from seedream_assets.config.yaml import check_yaml_files
from seedream_assets.errors import ConfigError
from seedream_assets.resources import LeonardoResource

STAGES = {"prompts", "generation_requests", "images", "dataset"}


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Iterator[DefsFolderSandbox]:
    monkeypatch.delenv("SEEDREAM_STORE", raising=False)
    with create_defs_folder_sandbox() as sandbox:
        yield sandbox


def keys(definitions: dg.Definitions) -> set[str]:
    return {spec.key.to_user_string() for spec in definitions.resolve_all_asset_specs()}


def test_the_package_offers_its_components_to_every_project() -> None:
    (registered,) = [
        point for point in entry_points(group="dagster_dg_cli.registry_modules") if point.name == "seedream_assets"
    ]
    offered = {name for name in dir(registered.load()) if isinstance(getattr(seedream_assets, name, None), type)}
    assert {"ImageDataset", "SeedreamResources"} <= offered


@pytest.mark.parametrize(
    ("folder", "name"), [("shoes_v2", "shoes_v2"), ("bags-2", "bags_2"), ("2026-hats", "dataset_2026_hats")]
)
def test_a_scaffolded_dataset_loads_at_once_without_any_variable(
    project: DefsFolderSandbox, folder: str, name: str
) -> None:
    path = project.scaffold_component(component_cls=ImageDataset, defs_path=folder)
    with project.load_component_and_build_defs(defs_path=path) as (component, definitions):
        assert isinstance(component, ImageDataset)
        assert keys(definitions) == {f"{name}/{stage}" for stage in STAGES}
    assert (path / "prompts.csv").exists()
    assert check_yaml_files([path / "defs.yaml"])[0] == []


def test_the_scaffolds_flags_go_into_the_yaml(project: DefsFolderSandbox) -> None:
    path = project.scaffold_component(
        component_cls=ImageDataset,
        defs_path="shoes",
        scaffold_params={"prompts": "s3://bucket/*.csv", "store": "s3://bucket/shoes", "max_credits_per_run": 56},
    )
    written = yaml.safe_load((path / "defs.yaml").read_text())["attributes"]
    assert written["prompts"]["table"] == "s3://bucket/*.csv"
    assert written["store"] == "s3://bucket/shoes"
    assert written["budget"] == {"max_credits_per_run": 56}
    assert not list(path.glob("*.csv"))


def test_a_project_that_declares_no_account_gets_one_from_the_environment(project: DefsFolderSandbox) -> None:
    project.scaffold_component(component_cls=ImageDataset, defs_path="shoes")
    project.scaffold_component(component_cls=ImageDataset, defs_path="bags")
    with project.build_all_defs() as definitions:
        dg.Definitions.validate_loadable(definitions)
        leonardo = (definitions.resources or {})["leonardo"]
        assert isinstance(leonardo, LeonardoResource)
        assert leonardo.slots == 10


def test_a_declared_account_serves_every_dataset(project: DefsFolderSandbox) -> None:
    project.scaffold_component(component_cls=ImageDataset, defs_path="shoes")
    project.scaffold_component(component_cls=ImageDataset, defs_path="bags")
    project.scaffold_component(
        component_cls=SeedreamResources,
        defs_path="account",
        defs_yaml_contents={"type": "seedream_assets.SeedreamResources", "attributes": {"leonardo": {"slots": 3}}},
    )
    with project.build_all_defs() as definitions:
        dg.Definitions.validate_loadable(definitions)
        leonardo = (definitions.resources or {})["leonardo"]
        assert isinstance(leonardo, LeonardoResource)
        assert leonardo.slots == 3


def test_an_account_that_would_loosen_a_limit_does_not_load(project: DefsFolderSandbox) -> None:
    path = project.scaffold_component(
        component_cls=SeedreamResources,
        defs_path="account",
        defs_yaml_contents={
            "type": "seedream_assets.SeedreamResources",
            "attributes": {"leonardo": {"largest_quantity": 9}},
        },
    )
    with pytest.raises(Exception) as refused, project.load_component_and_build_defs(defs_path=path):  # noqa: PT011
        pass
    assert "can only tighten" in str(config_error_behind(refused.value))


def test_several_datasets_live_in_one_file(project: DefsFolderSandbox) -> None:
    path = project.scaffold_component(component_cls=ImageDataset, defs_path="all")
    one = (path / "defs.yaml").read_text()
    (path / "defs.yaml").write_text(f"{one}\n---\n{one.replace('name: all', 'name: more')}")
    with project.build_all_defs() as definitions:
        assert keys(definitions) == {f"{name}/{stage}" for name in ("all", "more") for stage in STAGES}
    assert isinstance(path, Path)


TEAM_DATASET = """
import dagster as dg
import pydantic
import seedream_assets


class TeamDataset(seedream_assets.ImageDataset):
    team: str = pydantic.Field(description="Whose images they are.")
    priority: int = pydantic.Field(default=1, ge=1, description="Of its runs.")

    def get_asset_spec(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(group_name=self.team, tags={"priority": str(self.priority)})

    def get_config(self, config: seedream_assets.DatasetConfig) -> seedream_assets.DatasetConfig:
        return config.changed(size_policy="provider")
"""


@pytest.fixture
def team_dataset(project: DefsFolderSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The YAML of a dataset whose type stands in another package."""
    (tmp_path / "team_components.py").write_text(TEAM_DATASET)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("OUR_TEAM", "vision")
    folder = project.scaffold_component(component_cls=ImageDataset, defs_path="shoes")
    declared = yaml.safe_load((folder / "defs.yaml").read_text())
    attributes = {**declared["attributes"], "team": "{{ env.OUR_TEAM }}", "priority": 3}
    (folder / "defs.yaml").write_text(yaml.safe_dump({"type": "team_components.TeamDataset", "attributes": attributes}))
    return folder


def test_a_subclass_from_outside_has_keys_of_its_own_and_changes_what_its_hooks_are_for(
    project: DefsFolderSandbox, team_dataset: Path
) -> None:
    with project.load_component_and_build_defs(defs_path=team_dataset) as (component, definitions):
        assert isinstance(component, ImageDataset)
        assert component.config.size_policy == "provider"
        assert component.config.base == team_dataset
        specs = list(definitions.resolve_all_asset_specs())
        assert {spec.key.to_user_string() for spec in specs} == {f"shoes/{stage}" for stage in STAGES}
        assert {(spec.group_name, spec.tags["priority"]) for spec in specs} == {("vision", "3")}
        properties = type(component).get_model_cls().model_json_schema()["properties"]
        assert properties["team"]["description"] == "Whose images they are."
        assert {"name", "prompts", "priority"} <= set(properties)
        assert "config" not in properties


def test_wrong_keys_of_a_subclass_are_refused_together_with_the_dataset_s(
    project: DefsFolderSandbox, team_dataset: Path
) -> None:
    file = team_dataset / "defs.yaml"
    declared = yaml.safe_load(file.read_text())
    declared["attributes"] |= {"priority": 0, "recipe": {"width": 1}, "tema": "x"}
    file.write_text(yaml.safe_dump(declared))
    with pytest.raises(Exception) as refused, project.load_component_and_build_defs(defs_path=team_dataset):  # noqa: PT011
        pass
    message = str(config_error_behind(refused.value))
    assert "priority: got 0, allowed is 1 or more" in message
    assert "recipe.width: got 1" in message
    assert "tema: there is no such key here" in message


def config_error_behind(error: BaseException | None) -> ConfigError:
    """What Dagster wrapped."""
    while error is not None and not isinstance(error, ConfigError):
        error = error.__cause__
    assert error is not None
    return error
