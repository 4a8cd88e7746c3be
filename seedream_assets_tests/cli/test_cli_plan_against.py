"""`seedream plan --against`: what changed since a manifest, and what it costs to go there."""

import pytest

from seedream_assets.errors import PromptTableError, StoreError
from seedream_assets_tests.cli.conftest import TABLE, Desk

EDITED = """\
prompt_id,prompt,quantity,style,colour
mug,A blue mug on pale stone,3,Vibrant,navy
pot,A tea pot,2,,white
"""


@pytest.fixture
def dataset(desk: Desk) -> str:
    path = str(desk.folder / "dataset.yaml")
    desk.run_json("run", path)
    desk.write("prompts.csv", EDITED)
    return path


def test_what_changed_since_the_last_run_is_told_with_its_price(desk: Desk, dataset: str) -> None:
    printed = desk.run("plan", dataset, "--against", "previous").stdout
    assert "1 row added, 1 row removed, 1 row changed, 0 rows unchanged" in printed
    assert "  + pot: A tea pot\n" in printed
    assert "  - cup: A tea cup in morning light\n" in printed
    assert "  ~ mug: quantity, colour (2 → 3 images), 28 credits\n" in printed
    assert "to go there: 84 credits (56 for rows added, 28 for rows changed)" in printed
    assert desk.emulator.account.bill()["credits"] == 84


def test_the_same_as_json_against_a_manifest_by_its_path(desk: Desk, dataset: str) -> None:
    path = desk.store / "datasets" / "tableware" / "manifest" / "all.parquet"
    for against in (str(path), path.as_uri()):
        printed = desk.run_json("plan", dataset, "--against", against)
        assert printed["credits_to_buy"] == 84
        facts = printed["against"]
        assert facts["rows"] == {"added": 1, "removed": 1, "changed": 1, "unchanged": 0}
        assert facts["credits"] == {"added": 56, "changed": 28, "unchanged": 0}
        changes = {one["prompt_id"]: (one["change"], one["columns"]) for one in facts["changes"]}
        assert changes == {"mug": ("changed", ["quantity", "colour"]), "pot": ("added", []), "cup": ("removed", [])}


def test_nothing_changed_costs_nothing(desk: Desk, dataset: str) -> None:
    desk.write("prompts.csv", TABLE)
    printed = desk.run("plan", dataset, "--against", "previous").stdout
    assert "0 rows added, 0 rows removed, 0 rows changed, 2 rows unchanged" in printed
    assert "to go there: 0 credits\n" in printed


def test_a_manifest_that_is_not_there_or_is_none_says_so(desk: Desk) -> None:
    dataset = str(desk.folder / "dataset.yaml")
    first = desk.run("plan", dataset, "--against", "previous")
    assert isinstance(first.exception, StoreError)
    assert "has no manifest yet" in str(first.exception)
    missing = desk.run("plan", dataset, "--against", str(desk.folder / "gone.parquet"))
    assert isinstance(missing.exception, PromptTableError)
    other = desk.run("plan", dataset, "--against", str(desk.folder / "prompts.csv"))
    assert isinstance(other.exception, StoreError)


def test_a_new_dataset_is_told_what_it_could_take_over(desk: Desk) -> None:
    desk.run_json("run", str(desk.folder / "dataset.yaml"))
    desk.write(
        "other.yaml",
        "name: other\nprompts: {table: prompts.csv}\nrecipe: {width: 256, height: 192}\nbudget: unlimited\n",
    )
    desk.write("prompts.csv", TABLE + "new,A pan,1,,\n")
    other = str(desk.folder / "other.yaml")
    printed = desk.run("plan", other).stdout
    assert "bought for tableware and taken over" in printed
    assert "84 credits" in printed
    owned = desk.run_json("plan", other)["owned"]
    assert owned == {
        "by_this_dataset": 0,
        "by_other_datasets": {"tableware": 3},
        "credits_saved": 84,
        "in_flight": 0,
        "blocked_or_failed": 0,
    }
