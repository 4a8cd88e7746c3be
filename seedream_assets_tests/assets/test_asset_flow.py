"""A dataset without partitions, from the table to the manifest, as Dagster records it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import dagster as dg
import pytest

from seedream_assets.assets.asset_context import AssetContext
from seedream_assets.assets.images import POOL
from seedream_assets.assets.ui_metadata import definition_metadata
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets_tests.assets.conftest import SIZE, STAGES, World, checks_of, failure_of, metadata_of, new_world

ROWS = [
    {"prompt_id": "a", "prompt": "a red shoe", "quantity": 2, "category": "shoes"},
    {"prompt_id": "b", "prompt": "a blue | shoe, *on* <stone>", "quantity": 1, "category": "shoes"},
    {"prompt_id": "c", "prompt": "a shoe emulate-blocked", "quantity": 1, "category": "shoes"},
]

WITH_A_BAD_ROW = [*ROWS, {"prompt_id": "d", "prompt": "tiny", "width": 5}]


class Ran(NamedTuple):
    result: dg.ExecuteInProcessResult
    store_url: str


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """One run over the rows, for the tests that only look at what it recorded."""
    with new_world(tmp_path_factory.mktemp("ran")) as world:
        yield Ran(world.run(world.assets(ROWS)), world.store.url)


def test_a_run_stores_what_is_wanted_and_a_second_one_buys_nothing(world: World) -> None:
    assets = world.assets(ROWS)
    first = world.run(assets)
    assert first.success, failure_of(first)
    metadata = metadata_of(first, "images")
    assert (metadata["images_stored"], metadata["images_blocked"], metadata["failures"]) == (3, 1, 1)
    costs = metadata_of(first, "dataset")["cost_by_model_and_style"]
    assert costs.endswith("| seedream-4.0 | None | 4 | 3 | 84 |")
    assert metadata["credits_booked"] == world.bill["credits"] == 84
    second = world.run(assets)
    metadata = metadata_of(second, "images")
    assert (metadata["images_stored"], metadata["images_reused"], metadata["credits_booked"]) == (3, 3, 0)
    assert world.bill["credits"] == 84


def test_the_numbers_plot(ran: Ran) -> None:
    result = ran.result
    wanted = {
        "prompts": {"prompts_accepted", "rows_rejected", "images_wanted"},
        "generation_requests": {"credits_to_buy", "images_to_buy", "dollars_to_buy"},
        "images": {"images_stored", "credits_booked", "seconds", "failures", "cost_amount"},
        "dataset": {"images_wanted", "images_stored", "cost_amount"},
    }
    for stage, names in wanted.items():
        metadata = metadata_of(result, stage)
        assert {name for name in names if not isinstance(metadata[name], int | float)} == set(), stage


def test_every_asset_says_where_it_is_and_what_its_columns_are(ran: Ran) -> None:
    result = ran.result
    for stage in STAGES:
        metadata = metadata_of(result, stage)
        assert metadata["dagster/uri"] == f"{ran.store_url}/{metadata['stored_at']}"
        assert metadata["dagster/uri"].startswith(ran.store_url)
    for stage in ("prompts", "generation_requests", "dataset"):
        assert metadata_of(result, stage)["dagster/row_count"] > 0
    assert metadata_of(result, "dataset")["extra_columns"] == "category"


def test_what_is_the_same_for_every_partition_stands_in_no_materialisation(ran: Ran) -> None:
    """Dagster keeps each materialisation in its database for ever."""
    for stage in STAGES:
        assert {"dagster/column_schema", "dagster/column_lineage"}.isdisjoint(metadata_of(ran.result, stage))


def test_column_lineage_leads_back_to_the_prompt_table(world: World) -> None:
    specs = {asset.key.path[-1]: asset.get_asset_spec().metadata for asset in world.assets(ROWS)}
    context = AssetContext(config=DatasetConfig(name="shoes", prompts={"table": "prompts.csv"}, recipe=SIZE))
    specs["dataset"] = definition_metadata("dataset", context.key, {"category": "string"})
    lineages = {stage: specs[stage]["dagster/column_lineage"].deps_by_column for stage in STAGES[1:]}
    schemas = {stage: {column.name for column in specs[stage]["dagster/column_schema"].columns} for stage in STAGES}
    schemas["prompts"].add("category")
    assert all(len(columns) > 10 for columns in schemas.values())

    def origins(stage: str, column: str) -> set[tuple[str, str]]:
        """As far back as it goes."""
        assert column in schemas[stage], (stage, column)
        deps = lineages.get(stage, {}).get(column, [])
        if not deps:
            return {(stage, column)}
        return set().union(*(origins(dep.asset_key.path[-1], dep.column_name) for dep in deps))

    assert origins("dataset", "prompt") == {("prompts", "prompt")}
    assert origins("dataset", "category") == {("prompts", "category")}
    assert origins("dataset", "sha256") == {("images", "sha256")}
    assert ("prompts", "prompt") in origins("dataset", "image_id")
    for stage in ("generation_requests", "images", "dataset"):
        assert all(origins(stage, column) for column in lineages[stage])


def test_a_rejected_row_is_a_warning_with_what_to_do(world: World) -> None:
    result = world.run(world.assets(WITH_A_BAD_ROW))
    assert result.success
    check = checks_of(result)["no_rejected_rows"]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    table = metadata_of(result, "prompts")["rejected_rows"]
    assert "| 4 | width | 5 | raise it to 32 or more" in table


def test_a_column_that_looks_like_a_setting_is_a_warning_of_the_quote_and_a_check(world: World) -> None:
    result = world.run(world.assets([{"prompt": "a cup --ar 3:2", "style_ids": "x"}]), "prompts", "generation_requests")
    check = checks_of(result)["no_doubtful_settings"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    by_column, by_prompt = str(check.description).splitlines()
    assert by_column == "column 'style_ids' changes nothing: Leonardo's API has this name for style; write style"
    quote = metadata_of(result, "generation_requests")["quote"]
    assert "| columns used | 1, prompt |" in quote
    assert f"| warning | doubtful, {by_column} |" in quote
    assert by_prompt in quote


def test_a_table_of_rejected_rows_fails_prompts_and_leaves_what_stood(world: World) -> None:
    assets = world.assets(ROWS)
    assert world.run(assets).success
    keys = [f"datasets/shoes/{folder}/all.parquet" for folder in ("prompts", "requests", "manifest")]
    stood = [world.store.read(key) for key in keys]
    result = world.run(world.assets([{"prompt": "", "quantity": 1}, {"prompt": "a", "quantity": 0}]))
    assert not result.success
    assert "all 2 rows are rejected, and nothing would be left" in failure_of(result)
    assert [world.store.read(key) for key in keys] == stood


def test_buying_does_not_make_the_plan_look_new(world: World) -> None:
    assets = world.assets(ROWS)
    world.run(assets)
    key = dg.AssetKey(["shoes", "generation_requests"])
    before = _data_version(world, key)
    world.run(assets, "generation_requests")
    assert _data_version(world, key) == before
    world.write_table(ROWS[:2])
    world.run(assets, "prompts", "generation_requests")
    assert _data_version(world, key) != before


def _data_version(world: World, key: dg.AssetKey) -> str:
    event = world.instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.tags is not None
    return event.asset_materialization.tags["dagster/data_version"]


def test_an_edited_declaration_shows_as_not_in_sync_and_an_equal_one_does_not(world: World) -> None:
    def versions(**attributes: object) -> dict[str, str]:
        return {
            spec.key.path[-1]: str(spec.code_version)
            for asset in world.assets(ROWS, **attributes)
            for spec in asset.specs
        }

    before, edited = versions(), versions(recipe={"width": 128, "height": 96})
    assert before == versions()
    assert before["prompts"] != edited.pop("prompts")
    assert edited.items() <= before.items()


def test_the_assets_are_described_owned_grouped_and_have_kinds(world: World) -> None:
    for asset in world.assets(ROWS, owners=["team:data", "ann@example.com"], description="Shoes for the shop."):
        (spec,) = asset.specs
        assert spec.owners == ["team:data", "ann@example.com"]
        assert spec.group_name == "shoes"
        assert spec.kinds
        assert spec.description
        assert spec.description.endswith("Shoes for the shop.")


def test_only_images_is_in_the_pool_and_nothing_retries_by_itself(world: World) -> None:
    pools = {asset.key.path[-1]: asset.op.pool for asset in world.assets(ROWS)}
    assert pools == {"prompts": None, "generation_requests": None, "images": POOL, "dataset": None}
    assert all(asset.op.retry_policy is None for asset in world.assets(ROWS))


def test_planning_needs_no_key_and_buying_says_that_it_does(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEONARDO_API_KEY")
    result = world.run(world.assets(ROWS))
    assert metadata_of(result, "generation_requests")["credits_to_buy"] == 112
    assert "set LEONARDO_API_KEY" in failure_of(result)
    assert world.bill["requests"]["me"] == 0


def test_a_table_that_cannot_be_read_fails_before_anything_is_asked(world: World) -> None:
    assets = world.assets(ROWS)
    (world.folder / "prompts.csv").unlink()
    result = world.run(assets)
    assert not result.success
    assert "prompts.csv" in failure_of(result)
    assert world.bill["requests"]["creates"] == 0
