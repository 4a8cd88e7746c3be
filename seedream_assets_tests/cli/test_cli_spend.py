"""`seedream spend`: what was bought, from the ledger."""

import json
import shutil

from seedream_assets_tests.cli.conftest import DATASET, TABLE, Desk


def spent(desk: Desk, *by: str) -> list[dict[str, object]]:
    result = desk.run("spend", *[word for name in by for word in ("--by", name)], "--json")
    assert result.exit_code == 0, result.output
    rows: list[dict[str, object]] = json.loads(result.stdout)
    return rows


def test_spend_counts_a_shared_image_once_where_it_was_paid_for(desk: Desk) -> None:
    desk.run_json("run", str(desk.folder / "dataset.yaml"))
    desk.write("other.yaml", DATASET.replace("tableware", "other"))
    desk.run_json("run", str(desk.folder / "other.yaml"))
    assert spent(desk) == [
        {
            "dataset": "tableware",
            "unit": "CREDITS",
            "images": 3,
            "amount": 84.0,
            "images_in_datasets": 3,
            "amount_in_datasets": 84.0,
            "amount_failed": 0.0,
            "open_requests": 0,
            "credits_held_back": 0,
        }
    ]


def test_what_was_bought_for_a_row_that_was_edited_since_stays_in_it(desk: Desk) -> None:
    desk.run_json("run", str(desk.folder / "dataset.yaml"))
    desk.write("prompts.csv", TABLE.replace("A tea cup in morning light", "A tea cup at night"))
    desk.run_json("run", str(desk.folder / "dataset.yaml"))
    (row,) = spent(desk)
    bill = desk.emulator.account.bill(details=False)
    assert (row["images"], row["amount"]) == (4, 112.0) == (bill["images"], bill["credits"])
    assert (row["images_in_datasets"], row["amount_in_datasets"]) == (3, 84.0)


def test_without_any_manifest_the_history_is_the_same(desk: Desk) -> None:
    desk.run_json("run", str(desk.folder / "dataset.yaml"))
    shutil.rmtree(desk.store / "datasets")
    (row,) = spent(desk)
    assert (row["images"], row["amount"], row["images_in_datasets"]) == (3, 84.0, 0)


def test_spend_groups_by_anything(desk: Desk) -> None:
    desk.run_json("run", str(desk.folder / "dataset.yaml"))
    rows = spent(desk, "style", "model")
    assert [(row["style"], row["model"], row["amount"]) for row in rows] == [
        ("None", "seedream-4.0", 28.0),
        ("Vibrant", "seedream-4.0", 56.0),
    ]
    (row,) = spent(desk, "dataset", "partition", "run", "day")
    assert (row["partition"], len(str(row["day"])), len(str(row["run"]))) == ("all", 10, 32)
    assert "Vibrant" in desk.run("spend", "--by", "style").stdout


def test_what_failed_is_in_the_amount_and_told_apart(desk: Desk) -> None:
    desk.write("prompts.csv", TABLE.replace("A tea cup", "A tea cup emulate-failed"))
    desk.run_json("run", str(desk.folder / "dataset.yaml"))
    (row,) = spent(desk)
    assert (row["images"], row["amount"], row["amount_failed"], row["amount_in_datasets"]) == (3, 84.0, 28.0, 56.0)


def test_dollars_and_what_no_answer_told_are_kept_apart(desk: Desk) -> None:
    desk.emulator.account.add_fault("create", "cost", times=1)
    desk.run_json("run", str(desk.folder / "dataset.yaml"))
    assert {row["unit"]: row["images"] for row in spent(desk)}.keys() == {"CREDITS", "CREDITS (quoted)"}


def test_an_open_request_is_told_with_what_hangs_on_it(desk: Desk) -> None:
    desk.run_json("run", str(desk.folder / "dataset.yaml"))
    request = next(next((desk.store / "requests").glob("*/00-submitted-*.json")).parent.glob("00-intent.json")).parent
    for event in ("submitted-*", "completed"):
        next(request.glob(f"00-{event}.json")).unlink()
    (row,) = spent(desk)
    assert (row["open_requests"], row["credits_held_back"]) in ((1, 28), (1, 56))
    printed = desk.run("spend").stdout
    assert f"up to {row['credits_held_back']} credits more if the open request turns out not to be bought" in printed


def test_a_generation_that_was_taken_back_is_another_s(desk: Desk) -> None:
    desk.run_json("run", str(desk.folder / "dataset.yaml"))
    for submitted in (desk.store / "requests").glob("*/00-submitted-*.json"):
        submitted.with_name(submitted.name.replace("submitted", "retracted")).write_text("{}", encoding="utf-8")
    assert [row["amount"] for row in spent(desk)] == [0.0]  # open again


def test_a_broken_object_hides_its_own_request_and_nothing_else(desk: Desk) -> None:
    desk.run_json("run", str(desk.folder / "dataset.yaml"))
    broken = next((desk.store / "requests").glob("*/00-submitted-*.json"))
    broken.write_text("{", encoding="utf-8")
    result = desk.run("spend", "--json")
    assert result.exit_code == 1
    assert broken.name in result.stderr
    (row,) = json.loads(result.stdout)
    assert row["images"] in (1, 2)


def test_a_store_that_does_not_exist_is_an_error_and_an_empty_one_has_spent_nothing(desk: Desk) -> None:
    missing = desk.run("spend", "--json")
    assert missing.exit_code == 1
    assert "there is no store at" in str(missing.exception)
    desk.store.mkdir()
    assert spent(desk) == []
