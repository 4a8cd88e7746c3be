"""`seedream spend`: what was booked, from the manifests."""

import json

from seedream_assets_tests.cli.conftest import Desk


def test_spend_counts_a_shared_image_once_where_it_was_paid_for(desk: Desk) -> None:
    desk.run_json("run", str(desk.folder / "dataset.yaml"))
    desk.write("other.yaml", "name: other\nprompts: {table: prompts.csv}\nrecipe: {width: 256, height: 192}\n")
    desk.run_json("run", str(desk.folder / "other.yaml"))
    rows = json.loads(desk.run("spend", "--json").stdout)
    assert rows == [{"dataset": "tableware", "unit": "CREDITS", "images": 3, "amount": 84.0}]


def test_spend_groups_by_style_and_model(desk: Desk) -> None:
    desk.run_json("run", str(desk.folder / "dataset.yaml"))
    rows = json.loads(desk.run("spend", "--by", "style", "--by", "model", "--json").stdout)
    assert [(row["style"], row["model"], row["amount"]) for row in rows] == [
        ("None", "seedream-4.0", 28.0),
        ("Vibrant", "seedream-4.0", 56.0),
    ]
    assert "Vibrant" in desk.run("spend", "--by", "style").stdout


def test_an_empty_store_has_spent_nothing(desk: Desk) -> None:
    assert json.loads(desk.run("spend", "--json").stdout) == []
