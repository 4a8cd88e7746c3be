"""What stands between a quote and the first credit, and what a run says that had to stop."""

from __future__ import annotations

import dagster as dg

from seedream_assets.components.seedream_resources import DEFAULT_RESOURCES
from seedream_assets.resources import LeonardoResource
from seedream_assets_tests.assets.conftest import World, checks_of, failure_of, metadata_of

ROWS = [{"prompt": f"a red shoe, number {number}", "quantity": 1} for number in range(4)]


def test_a_quote_over_the_budget_blocks_buying(world: World) -> None:
    result = world.run(world.assets(ROWS, budget={"max_credits_per_run": 111}))
    assert not result.success
    check = checks_of(result)["quote_within_budget"]
    assert not check.passed
    assert "112 credits to buy; max_credits_per_run is 111" in str(check.description)
    assert world.bill["requests"]["creates"] == 0


def test_a_quote_that_meets_the_budget_exactly_is_bought(world: World) -> None:
    result = world.run(world.assets(ROWS, budget={"max_credits_per_run": 112, "max_credits_total": 112}))
    assert result.success, failure_of(result)
    assert world.bill["credits"] == 112


def test_the_budget_over_all_runs_counts_what_earlier_runs_bought(world: World) -> None:
    budget = {"max_credits_total": 140}
    assert world.run(world.assets(ROWS, budget=budget)).success
    more = [*ROWS, {"prompt": "a green shoe", "quantity": 2}]
    result = world.run(world.assets(more, budget=budget))
    check = checks_of(result)["quote_within_budget"]
    assert not check.passed
    assert "max_credits_total is 140, of which 112 are committed" in str(check.description)
    assert world.bill["credits"] == 112


def test_without_a_cap_the_quote_says_so_and_nothing_is_bought_by_any_way(world: World) -> None:
    capless = world.assets(ROWS, budget=None)
    result = world.run(capless)
    assert not result.success
    check = checks_of(result)["quote_within_budget"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "112 credits to buy; no cap; write budget: {max_credits_per_run: 280}" in str(check.description)
    alone = world.run(capless, "images")
    assert "112 credits to buy and no cap" in failure_of(alone)
    assert world.bill["requests"].get("creates", 0) == 0
    unlimited = world.run(world.assets(ROWS, budget="unlimited"))
    assert unlimited.success, failure_of(unlimited)
    assert "the budget is unlimited" in str(checks_of(unlimited)["quote_within_budget"].description)
    owned = world.run(capless)
    assert owned.success, failure_of(owned)
    assert "no cap" in str(checks_of(owned)["quote_within_budget"].description)


def test_the_quote_names_the_store_the_host_and_the_account(world: World) -> None:
    result = world.run(world.assets(ROWS), "prompts", "generation_requests")
    quote = metadata_of(result, "generation_requests")["quote"]
    host = world.emulator.base_url.removeprefix("http://")
    for what, which in (
        ("store", world.store.url),
        ("API", host),
        ("account", world.emulator.account.settings.user_id),
    ):
        assert f"| {what} | {which} |" in quote


def test_what_is_owned_needs_no_budget(world: World) -> None:
    assert world.run(world.assets(ROWS)).success
    again = world.run(world.assets(ROWS, budget={"max_credits_per_run": 0, "max_credits_total": 0}))
    assert again.success, failure_of(again)


def test_a_run_that_met_its_cap_fails_with_the_numbers_and_keeps_what_it_bought(world: World) -> None:
    """`images` alone, without the check before it: the engine holds the cap by itself."""
    free = world.assets(ROWS)
    world.run(free, "prompts", "generation_requests")
    capped = world.assets(ROWS, budget={"max_credits_per_run": 60})
    result = world.run(capped, "images")
    assert not result.success
    assert "2 over budget (max_credits_per_run is 60 credits" in failure_of(result)
    assert world.bill["credits"] == 56
    metadata = metadata_of(world.run(free, "dataset"), "dataset")
    assert (metadata["images_stored"], metadata["images_over_budget"]) == (2, 2)


def test_limits_tightened_since_the_prompts_were_checked_block_buying(world: World) -> None:
    assets = world.assets(ROWS)
    world.run(assets, "prompts")
    tighter = {**DEFAULT_RESOURCES, "leonardo": LeonardoResource(largest_width=63)}
    result = world.run(assets, "generation_requests", "images", resources=tighter)
    assert not result.success
    check = checks_of(result)["requests_within_limits"]
    assert not check.passed
    assert "width: got 64" in str(check.description)
    assert "materialise prompts again" in failure_of(result)
    assert world.bill["requests"]["creates"] == 0


def test_the_checks_block(world: World) -> None:
    specs = {spec.name: spec.blocking for asset in world.assets(ROWS) for spec in asset.check_specs}
    assert specs == {
        "no_rejected_rows": False,
        "no_doubtful_settings": False,
        "requests_within_limits": True,
        "quote_within_budget": True,
        "every_wanted_image_is_final": False,
        "every_stored_image_is_whole": False,
        "pixels_as_asked_for": False,
        "no_nsfw_images": False,
        "no_exact_duplicates": False,
        "few_images_withheld": False,
    }


def test_a_damaged_image_is_found(world: World) -> None:
    assets = world.assets(ROWS)
    world.run(assets)
    images = sorted((world.folder / "store" / "images").rglob("*.jpg"))
    images = images or sorted(path for path in (world.folder / "store" / "images").rglob("*.*") if path.is_file())
    images[0].write_bytes(images[1].read_bytes())
    images[2].unlink()
    result = world.run(assets, "dataset")
    check = checks_of(result)["every_stored_image_is_whole"]
    assert not check.passed
    assert "2 images not as the manifest says" in str(check.description)
    assert isinstance(check.metadata["found"], dg.MarkdownMetadataValue)
    assert "missing" in str(check.metadata["found"].value)
