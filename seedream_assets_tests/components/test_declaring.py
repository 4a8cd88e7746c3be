"""YAML → declaration: everything that may be written, and that Dagster and the command line read it alike."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import ComponentTree
from pydantic import BaseModel

from seedream_assets.components.image_dataset import ImageDataset
from seedream_assets.config.account import ImageStoreOptions, LeonardoOptions
from seedream_assets.config.base import Config
from seedream_assets.config.dataset import Budget, DatasetConfig
from seedream_assets.config.prompts import Recipe
from seedream_assets.config.yaml import configs_of, load_config
from seedream_assets.errors import ConfigError
from seedream_assets.resources import ImageStoreResource, LeonardoResource

EVERYTHING = """\
type: seedream_assets.ImageDataset
attributes:
  name: product_scenes
  prompts:
    table: prompts.csv
    columns: {prompt: Prompt}
    template: "{{ prompt }}, studio light"
  recipe:
    model: seedream-4.0
    width: 2048
    height: 2048
    quantity: 2
    style: None
    prompt_enhance: "OFF"
  partitions: {by: daily, column: day, start: "2026-11-01"}
  budget: {max_credits_per_run: 2800, max_credits_total: 50000}
  store: "{{ env.SEEDREAM_STORE }}"
  leonardo: {slots: 10, creates_per_minute: 100, requests_per_minute: 2000}
  recovery: {lease_seconds: 60, history_settle_seconds: 120}
"""
LEAST = "name: shoes\nprompts:\n  table: prompts.csv\n"


def attributes(text: str) -> str:
    """The attributes of a defs.yaml as a text of their own."""
    return yaml.safe_dump(yaml.safe_load(text)["attributes"], sort_keys=False)


def config_by_dagster(text: str, folder: Path) -> DatasetConfig:
    """What Dagster makes of attributes, in a folder."""
    (folder / "defs.yaml").write_text(text)
    tree = ComponentTree.for_test()
    context = tree.load_context.for_path(folder)
    attributes = ImageDataset.get_model_cls().model_validate(yaml.safe_load(text))
    return ImageDataset.load(attributes, context).config


def test_everything_that_the_documentation_shows_loads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEEDREAM_STORE", "s3://bucket/prefix")
    (declared,) = configs_of(EVERYTHING, tmp_path / "defs.yaml")
    assert declared.store == "s3://bucket/prefix"
    assert declared.rules.template == "{{ prompt }}, studio light"
    assert declared.rules.columns == {"prompt": "Prompt"}
    assert (declared.partitions.by, declared.partitions.start) == ("daily", date(2026, 11, 1))
    assert (declared.budget.max_credits_per_run, declared.budget.max_credits_total) == (2800, 50000)
    assert declared.overrides == {
        "slots": 10,
        "creates_per_minute": 100,
        "requests_per_minute": 2000,
        "lease_seconds": 60,
        "history_settle_seconds": 120,
    }


@pytest.mark.parametrize("text", [EVERYTHING, EVERYTHING.replace("{{ env.SEEDREAM_STORE }}", "s3://bucket/p")])
def test_dagster_and_the_command_line_read_the_same(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEEDREAM_STORE", "file:///tmp/store")
    by_dagster = config_by_dagster(attributes(text), tmp_path)
    assert configs_of(text, tmp_path / "defs.yaml") == [by_dagster]
    assert configs_of(attributes(text), tmp_path / "shoes.yaml") == [by_dagster]


@pytest.mark.parametrize(
    ("written", "read"),
    [('"OFF"', "OFF"), ("OFF", "OFF"), ("off", "OFF"), ("ON", "ON"), ('"AUTO"', "AUTO"), ("AUTO", "AUTO")],
)
def test_prompt_enhance_means_the_same_with_and_without_quotes(written: str, read: str, tmp_path: Path) -> None:
    text = f"{LEAST}recipe: {{prompt_enhance: {written}}}\n"
    (declared,) = configs_of(text, tmp_path / "shoes.yaml")
    assert declared.rules.recipe.prompt_enhance == read


def test_what_is_left_out_has_the_recipes_defaults(tmp_path: Path) -> None:
    (declared,) = configs_of(LEAST, tmp_path / "shoes.yaml")
    assert declared.rules.recipe == Recipe()
    assert declared.store is None


def test_a_store_whose_variable_is_not_set_loads_and_is_not_taken_for_no_store(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SEEDREAM_STORE", raising=False)
    by_dagster = config_by_dagster(attributes(EVERYTHING), tmp_path)
    assert by_dagster.store == "{{ env.SEEDREAM_STORE }}"
    assert configs_of(EVERYTHING, tmp_path / "defs.yaml") == [by_dagster]


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        ("name", "name: 1shoe"),
        ("owners", "owners: [bob]"),
        ("store", "store: ftp://example.com/x"),
        ("store", "store: s3://"),
        ("store", "store: images"),
        ("store", "store: ''"),
        ("store", "store: $SEEDREAM_STORE"),
        ("template", 'prompts: {table: p.csv, template: "{{ prompt"}'),
        ("width", "recipe: {width: 14143}"),
        ("model", "recipe: {model: seedream-9}"),
        ("start", 'partitions: {by: daily, column: day, start: "2026-13-01"}'),
        ("largest_width", "leonardo: {largest_width: 14143}"),
        ("base_url", "leonardo: {base_url: 'http://example.com'}"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_at_load_by_both(attribute: str, text: str, tmp_path: Path) -> None:
    declared: dict[str, Any] = {**yaml.safe_load(LEAST), **yaml.safe_load(text)}
    whole = yaml.safe_dump(declared)
    with pytest.raises(ConfigError, match=attribute):
        configs_of(whole, tmp_path / "shoes.yaml")
    from seedream_assets.errors import SeedreamError

    with pytest.raises(SeedreamError, match=attribute):
        config_by_dagster(whole, tmp_path)


@pytest.mark.parametrize(
    ("written", "budget"),
    [
        ("unlimited", Budget(unlimited=True)),
        ('"{{ env.OUR_BUDGET }}"', Budget(unlimited=True)),
        ('"{{ env.NOBODY_SETS_THIS }}"', Budget()),
        ("", Budget()),
        ("{}", Budget()),
        ('{max_credits_per_day: "{{ env.OUR_CAP }}"}', Budget(max_credits_per_day=56)),
    ],
)
def test_the_budget_is_caps_or_one_word_and_else_it_is_missing(
    written: str, budget: Budget, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OUR_BUDGET", "unlimited")
    monkeypatch.setenv("OUR_CAP", "56")
    text = f"{LEAST}budget: {written}\n"
    assert config_by_dagster(text, tmp_path).budget == budget
    if "NOBODY" not in written:
        assert [one.budget for one in configs_of(text, tmp_path / "shoes.yaml")] == [budget]


def test_one_dataset_is_asked_for_and_two_are_there(tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(f"{LEAST}---\n{LEAST.replace('shoes', 'bags')}")
    with pytest.raises(ConfigError, match=r"2 datasets \(shoes, bags\)"):
        load_config(file)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    ("options", "resource"), [(LeonardoOptions, LeonardoResource), (ImageStoreOptions, ImageStoreResource)]
)
def test_the_yaml_has_exactly_the_fields_of_the_resource(options: type[Config], resource: type[BaseModel]) -> None:
    """And no key: a key in YAML would be a secret in a repository."""
    assert set(options.model_fields) == set(resource.model_fields) - {"api_key"}
    defaults = {name: field.default for name, field in options.model_fields.items()}
    for name, field in resource.model_fields.items():
        default = tuple(field.default) if isinstance(field.default, list) else field.default
        assert name == "api_key" or default == defaults[name], name


def test_every_attribute_is_described_for_the_editor() -> None:
    schema = ImageDataset.get_model_cls().model_json_schema()

    def without(properties: dict[str, Any]) -> list[str]:
        return [name for name, option in properties.items() if not option.get("description")]

    assert "base" not in schema["properties"]
    assert without(schema["properties"]) == []
    for name, part in schema["$defs"].items():
        assert without(part.get("properties", {})) == [], name


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("base: /elsewhere", "base"),
        ("budget: {unlimited: true}", "budget.unlimited"),
        ("quality: {reads_images: true}", "quality.reads_images"),
        ("card: {description: Shoes.}", "card.description"),
        ("exports: [{name: parquet}]", "exports.0.name"),
        ("exports: [{name: parquet, split: part}]", "exports.0.name"),
        ("recipe: {cells: 1}", "recipe.cells"),
    ],
)
def test_what_is_derived_from_other_options_is_no_key_of_the_yaml(text: str, place: str, tmp_path: Path) -> None:
    whole = f"{LEAST}{text}\nsize_policy: strict\n"
    with pytest.raises(ConfigError, match=rf"{place}: there is no such key here") as refused:
        configs_of(whole, tmp_path / "shoes.yaml")
    assert "size_policy: got 'strict'" in str(refused.value)
    with pytest.raises(ConfigError, match=rf"{place}: there is no such key here"):
        config_by_dagster(whole, tmp_path)
