"""Claims about a dataset that lives: a change costs exactly what changed, and the dataset is what the table says now."""

from datetime import date

import pytest

from seedream_assets.config.dataset import Budget
from seedream_assets.config.partitions import Partitions
from seedream_assets.errors import NoCapError, PromptTableError
from seedream_assets.quality.assemble import assemble_dataset
from seedream_assets_tests.purchase.living_dataset import LivingDataset

MUG = {"prompt_id": "mug", "prompt": "a blue mug", "quantity": 2, "colour": "blue"}
CUP = {"prompt_id": "cup", "prompt": "a tea cup", "quantity": 1, "colour": "white"}
JUG = {"prompt_id": "jug", "prompt": "a milk jug", "quantity": 3, "colour": "red"}
ROWS = [MUG, CUP, JUG]
IMAGES = 6


@pytest.fixture
def dataset(desk, tmp_path):
    return LivingDataset(desk=desk, folder=tmp_path)


def objects(dataset):
    return {info.key for info in dataset.desk.store.list("images/")}


def test_the_same_again_buys_nothing(dataset):
    first, again = dataset.bring(ROWS), dataset.bring()
    assert (first.images_bought, again.images_bought) == (IMAGES, 0)
    assert again.stored == first.stored
    assert (again.quote.bought_for, again.outcome.reused) == ({"scenes": IMAGES}, IMAGES)


def test_an_edited_row_is_bought_anew_and_its_old_images_leave_the_dataset_but_not_the_store(dataset):
    first = dataset.bring(ROWS)
    edited = dataset.bring([MUG, CUP | {"prompt": "a tea cup at night"}, JUG])
    assert edited.images_bought == 1
    assert edited.names == ["mug", "mug", "cup", "jug", "jug", "jug"]
    assert len(first.stored - edited.stored) == len(edited.stored - first.stored) == 1
    assert len(objects(dataset)) == IMAGES + 1
    back = dataset.bring(ROWS)
    assert (back.images_bought, back.stored) == (0, first.stored)


def test_a_setting_that_changes_the_picture_is_bought_anew(dataset):
    settings = {"width": 128, "style": "Vibrant", "prompt_enhance": "ON", "seed": 7}
    rows = [{"prompt_id": name, "prompt": "a tea cup"} | dict.fromkeys(settings, "") for name in ("plain", *settings)]
    first = dataset.bring(rows)
    edited = dataset.bring(
        [row | {name: settings[name] for name in settings if name == row["prompt_id"]} for row in rows]
    )
    assert (first.images_bought, edited.images_bought) == (1, 4)
    assert first.stored < edited.stored


def test_added_rows_alone_are_bought(dataset):
    first = dataset.bring(ROWS)
    grown = dataset.bring([{"prompt_id": "pot", "prompt": "a tea pot", "quantity": 2}, *ROWS])
    assert grown.images_bought == 2
    assert grown.names[:2] == ["pot", "pot"]
    assert first.stored < grown.stored


def test_a_removed_row_leaves_the_dataset_and_stays_in_the_store(dataset):
    first = dataset.bring(ROWS)
    shrunk = dataset.bring([MUG, JUG])
    assert (shrunk.images_bought, shrunk.names) == (0, ["mug", "mug", "jug", "jug", "jug"])
    assert shrunk.stored < first.stored
    assert len(objects(dataset)) == IMAGES
    assert dataset.bring(ROWS).images_bought == 0


def test_a_row_that_has_become_wrong_leaves_the_dataset_and_comes_back_for_nothing(dataset):
    first = dataset.bring(ROWS)
    broken = dataset.bring([MUG, CUP | {"quantity": 0}, JUG])
    assert (broken.images_bought, set(broken.names)) == (0, {"mug", "jug"})
    back = dataset.bring(ROWS)
    assert (back.images_bought, back.stored) == (0, first.stored)


def test_reordered_rows_buy_nothing_and_the_dataset_follows_the_table(dataset):
    first = dataset.bring(ROWS)
    turned = dataset.bring(ROWS[::-1])
    assert (turned.images_bought, turned.stored) == (0, first.stored)
    assert turned.names == first.names[::-1]


def test_reordered_rows_without_ids_keep_their_names(dataset):
    rows = [{name: value for name, value in row.items() if name != "prompt_id"} for row in ROWS]
    first, turned = dataset.bring(rows), dataset.bring(rows[::-1])
    assert (turned.images_bought, turned.names) == (0, first.names[::-1])


def test_renamed_columns_buy_nothing_once_the_declaration_names_them(dataset):
    first = dataset.bring(ROWS)
    names = {"prompt_id": "SKU", "prompt": "Text", "quantity": "How many", "colour": "Farbe"}
    dataset.columns = {"prompt_id": "SKU", "prompt": "Text", "quantity": "How many"}
    renamed = dataset.bring([{names[name]: value for name, value in row.items()} for row in ROWS])
    assert (renamed.images_bought, renamed.stored, renamed.names) == (0, first.stored, first.names)
    assert "Farbe" in renamed.manifest
    assert "colour" not in renamed.manifest


def test_a_renamed_prompt_column_that_nobody_declared_stops_before_anything_is_written(dataset):
    first = dataset.bring(ROWS)
    with pytest.raises(PromptTableError, match="prompt"):
        dataset.bring([{("Text" if name == "prompt" else name): value for name, value in row.items()} for row in ROWS])
    dataset.write(ROWS)
    assert dataset.bring().stored == first.stored


def test_a_changed_passenger_changes_the_manifest_alone(dataset):
    first = dataset.bring(ROWS)
    repainted = dataset.bring([MUG | {"colour": "navy"}, CUP, JUG | {"glaze": "matt"}])
    assert (repainted.images_bought, repainted.stored) == (0, first.stored)
    assert list(repainted.manifest["colour"]) == ["navy", "navy", "white", "red", "red", "red"]
    assert list(repainted.manifest["glaze"].dropna()) == ["matt"] * 3


def test_a_raised_quantity_buys_the_difference(dataset):
    first = dataset.bring(ROWS)
    raised = dataset.bring([MUG | {"quantity": 10}, CUP, JUG])
    assert raised.images_bought == 8
    assert first.stored < raised.stored
    assert list(raised.manifest.loc[raised.manifest["prompt_id"] == "mug", "sample"]) == list(range(10))


def test_a_lowered_quantity_buys_nothing_and_a_raised_one_brings_the_old_images_back(dataset):
    first = dataset.bring(ROWS)
    lowered = dataset.bring([MUG, CUP, JUG | {"quantity": 1}])
    assert (lowered.images_bought, len(lowered.manifest)) == (0, 4)
    assert lowered.stored < first.stored
    assert lowered.manifest["cost_amount"].sum() == 4 * 28
    back = dataset.bring(ROWS)
    assert (back.images_bought, back.stored) == (0, first.stored)


def test_a_changed_default_buys_the_rows_that_rely_on_it(dataset):
    rows = [MUG | {"style": "Vibrant"}, CUP | {"style": ""}, JUG | {"style": "None"}]
    first = dataset.bring(rows)
    dataset.recipe = {"style": "Cinematic"}
    changed = dataset.bring()
    assert changed.images_bought == 1
    assert len(first.stored & changed.stored) == IMAGES - 1
    dataset.recipe = {}
    assert dataset.bring().stored == first.stored


def test_a_changed_default_quantity_buys_the_difference_where_rows_give_none(dataset):
    rows = [MUG, CUP | {"quantity": ""}, JUG]
    dataset.bring(rows)
    dataset.recipe = {"quantity": 3}
    assert dataset.bring().images_bought == 2


def test_rows_that_want_the_same_picture_share_it_and_part_again_for_nothing(dataset):
    twins = [CUP, CUP | {"prompt_id": "twin", "quantity": 2}]
    first = dataset.bring(twins)
    assert (first.images_bought, first.quote.shared, len(first.manifest)) == (2, 1, 3)
    assert first.manifest["cost_amount"].sum() == 2 * 28
    alone = dataset.bring([CUP])
    assert (alone.images_bought, alone.names) == (0, ["cup"])
    assert alone.manifest["cost_amount"].sum() == 28


DAYS = Partitions(by="daily", column="day", start=date(2026, 11, 1))
MONDAY, TUESDAY = "2026-11-02", "2026-11-03"


def on(day, *rows):
    return [row | {"day": day} for row in rows]


def test_a_row_that_moves_to_another_partition_is_not_bought_again(dataset):
    dataset.partitions = DAYS
    dataset.bring(on(MONDAY, MUG, CUP) + on(TUESDAY, JUG), partition=MONDAY)
    dataset.bring(partition=TUESDAY)
    dataset.write(on(MONDAY, MUG) + on(TUESDAY, JUG, CUP))
    monday, tuesday = dataset.bring(partition=MONDAY), dataset.bring(partition=TUESDAY)
    assert (monday.images_bought, tuesday.images_bought) == (0, 0)
    assert (set(monday.names), set(tuesday.names)) == ({"mug"}, {"jug", "cup"})
    assert not tuesday.manifest["reused"].any()
    costs = monday.manifest["cost_amount"].sum() + tuesday.manifest["cost_amount"].sum()
    assert costs == IMAGES * 28 == dataset.desk.bill["credits"]


def test_a_partition_that_every_row_has_left_is_an_empty_dataset(dataset):
    dataset.partitions = DAYS
    dataset.bring(on(MONDAY, CUP) + on(TUESDAY, JUG), partition=MONDAY)
    emptied = dataset.bring(on(TUESDAY, CUP, JUG), partition=MONDAY)
    assert (emptied.images_bought, len(emptied.manifest), emptied.quote.wanted) == (0, 0, 0)
    assert dataset.bring(partition=TUESDAY).images_bought == 3
    with pytest.raises(PromptTableError, match="2026-11-05"):
        dataset.bring(partition="2026-11-05")


def test_a_blocked_row_is_not_tried_again_until_it_is_edited(dataset):
    blocked = [MUG, CUP | {"prompt": "a cup emulate-failed"}]
    dataset.bring(blocked)
    asked = dataset.desk.bill["requests"]["creates"]
    again = dataset.bring(blocked)
    assert dataset.desk.bill["requests"]["creates"] == asked
    assert (again.quote.owned_images, again.quote.ended_without_images, again.quote.to_buy) == (2, 1, 0)
    assert dataset.bring([MUG, CUP]).images_bought == 1


def test_a_second_dataset_takes_over_what_it_wants_too(dataset, desk, tmp_path):
    first = dataset.bring(ROWS)
    other = LivingDataset(desk=desk, folder=tmp_path, name="kitchen")
    taken = other.bring([MUG | {"prompt_id": "m1"}, {"prompt_id": "new", "prompt": "a pan"}])
    assert taken.images_bought == 1
    assert (dict(taken.quote.bought_for), taken.quote.credits_saved) == ({"scenes": 2}, 56)
    assert list(taken.manifest["reused"]) == [True, True, False]
    assert list(taken.manifest["cost_amount"]) == [0, 0, 28]
    assert set(taken.manifest["image_id"]) & first.stored == set(taken.manifest["image_id"][:2])
    again = other.bring()
    assert (again.images_bought, list(again.manifest["reused"])) == (0, [True, True, False])
    assert not dataset.bring().manifest["reused"].any()


def test_without_a_cap_nothing_is_bought_and_what_is_owned_is_still_taken(dataset):
    dataset.changes = {"budget": Budget()}
    with pytest.raises(NoCapError, match="168 credits to buy and no cap"):
        dataset.bring(ROWS)
    assert dataset.desk.bill["requests"].get("me", 0) == 0
    dataset.changes = {"budget": Budget(max_credits_total=IMAGES * 28)}
    assert dataset.bring(ROWS).images_bought == IMAGES
    dataset.changes = {"budget": Budget()}
    assert len(dataset.bring(ROWS).stored) == IMAGES


def test_an_answer_of_402_leaves_the_dataset_over_budget_and_not_failed(dataset):
    dataset.desk.fault("create", "error_before", status=402, message="Insufficient balance")
    dataset.write(ROWS)
    with pytest.raises(AssertionError, match="the quote is what was bought"):
        dataset.bring()
    outcome = assemble_dataset(dataset.config, "all", dataset.deployment)
    assert (outcome.counts["over_budget"], outcome.counts["failed"]) == (IMAGES, 0)
    assert not outcome.is_final
    dataset.desk.heal()
    assert dataset.bring().images_bought == IMAGES
