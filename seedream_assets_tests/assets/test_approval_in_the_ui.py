"""The approval as a person gives it: a real webserver, a preview to look at, and a launch with the plan's hash."""

from __future__ import annotations

import pytest

from seedream_assets_tests.assets.conftest import World
from seedream_assets_tests.assets.running_webserver import running_webserver

ROWS = [{"prompt": f"a red shoe, number {number}", "quantity": 2} for number in range(6)]
DATASET = {
    "budget": "unlimited",
    "name": "shoes",
    "prompts": {"table": "prompts.csv"},
    "recipe": {"width": 64, "height": 48},
    "approval": {"above_credits": 200, "preview": 4},
}


@pytest.mark.slow  # starts Dagster's webserver, and four processes for its runs
def test_a_launch_with_the_plans_hash_in_its_configuration_buys_the_rest(world: World) -> None:
    world.write_table(ROWS)
    environment = {
        "LEONARDO_API_KEY": world.emulator.key,
        "LEONARDO_BASE_URL": world.emulator.base_url,
        "SEEDREAM_STORE": world.store.url,
    }
    with running_webserver(world.folder, DATASET, environment, executor="in_process_executor") as webserver:
        first = webserver.launch()
        assert webserver.wait(first, seconds=240) == "FAILURE"
        check = webserver.check("images", "plan_is_approved")
        assert not check["success"]
        assert "4 of 4 images stored (0% without an image), measured 28 credits an image" in check["description"]
        assert check["contact_sheet"].count("data:image/jpeg") == 4
        assert world.bill["credits"] == 4 * 28
        other = webserver.launch("images", "dataset", ops={"images": {"approve": "0123456789abcdef"}})
        assert webserver.wait(other, seconds=240) == "FAILURE"
        assert world.bill["credits"] == 4 * 28
        approved = {"approve": check["plan_hash"], "approved_by": "ann"}
        rest = webserver.launch("images", "dataset", ops={"images": approved})
        assert webserver.wait(rest, seconds=240) == "SUCCESS", webserver.log(rest)
        assert world.bill["credits"] == 12 * 28
        check = webserver.check("images", "plan_is_approved")
        assert check["success"]
        assert check["description"].startswith("approved by ann at ")
