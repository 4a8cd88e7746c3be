"""Claims about a plan diff: every row of either table appears once, with what changed in it and what that costs."""

import pandas as pd
import pytest

from seedream_assets.ledger.image_columns import extra_column_name
from seedream_assets.manifest.build import table_rows
from seedream_assets.planning.plan import specs_of
from seedream_assets.planning.plan_diff import DIFF_COLUMNS, PlanDiff, diff_plan
from seedream_assets_tests.support.builders import MODELS, make_plan, make_prompts
from seedream_assets_tests.support.manifest_builders import make_completed, make_manifest, make_owned, requests_of

MUG = {"prompt_id": "mug", "prompt": "a blue mug", "width": 64, "height": 48, "quantity": 2, "colour": "blue"}
CUP = MUG | {"prompt_id": "cup", "prompt": "a tea cup", "quantity": 1, "colour": "white"}
JUG = MUG | {"prompt_id": "jug", "prompt": "a milk jug", "quantity": 3, "colour": "red"}
ROWS = [MUG, CUP, JUG]


def compare(before, after, **recipe) -> PlanDiff:
    """From a dataset that was bought whole to a table as it is now."""
    old = make_prompts(before)
    requests = requests_of(make_plan(old))
    owned = make_owned(requests)
    manifest = make_manifest(old, make_plan(old, owned), [make_completed(request) for request in requests])
    new = make_prompts(after, **recipe)
    return diff_plan(
        *table_rows(manifest, MODELS),
        prompts=new.prompts,
        extra_columns=new.extra_columns.rename(columns=extra_column_name),
        specs=specs_of(new.prompts, {}),
        plan=make_plan(new, owned),
    )


def without_ids(rows):
    return [{name: value for name, value in row.items() if name != "prompt_id"} for row in rows]


def changes(diff: PlanDiff) -> dict[str, tuple[str, tuple[str, ...], int]]:
    """Change, columns and credits by prompt, without the rows that are as they were."""
    rows = diff.rows[diff.rows["change"] != "unchanged"]
    return {row.prompt: (row.change, row.columns, row.credits) for row in rows.itertuples()}


@pytest.mark.parametrize("rows", [ROWS, without_ids(ROWS)], ids=["given", "derived"])
def test_the_same_table_in_any_order_is_unchanged(rows):
    diff = compare(rows, rows[::-1])
    assert (changes(diff), diff.count("unchanged")) == ({}, 3)
    assert diff.rows.dtypes.astype(str).to_dict() == dict(DIFF_COLUMNS)
    assert list(diff.rows["earlier_row_number"]) == [3, 2, 1]


def test_rows_added_removed_and_changed_with_what_they_cost():
    pot = MUG | {"prompt_id": "pot", "prompt": "a tea pot", "quantity": 2}
    diff = compare(ROWS, [MUG | {"quantity": 5}, pot, JUG | {"prompt": "a cream jug", "colour": "pink"}])
    assert changes(diff) == {
        "a blue mug": ("changed", ("quantity",), 3 * 28),
        "a tea pot": ("added", (), 2 * 28),
        "a cream jug": ("changed", ("prompt", "colour"), 3 * 28),
        "a tea cup": ("removed", (), 0),
    }
    assert [diff.credits(change) for change in ("added", "changed", "removed")] == [56, 168, 0]


@pytest.mark.parametrize(
    ("change", "credits"),
    [
        ({"width": 128}, 28),
        ({"height": 96}, 28),
        ({"style": "Vibrant"}, 28),
        ({"prompt_enhance": "ON"}, 28),
        ({"seed": 7}, 28),
        ({"model": "seedream-4.5"}, 28),
        ({"colour": "ivory"}, 0),
        ({"colour": ""}, 0),
        ({"quantity": 2}, 28),
    ],
    ids=str,
)
def test_the_column_that_changed_is_named(change, credits):
    (column,) = change
    assert changes(compare(ROWS, [MUG, CUP | change, JUG])) == {"a tea cup": ("changed", (column,), credits)}


def test_a_seed_that_the_table_gives_is_no_change_and_another_one_is():
    seeded = [row | {"seed": 7} for row in ROWS]
    assert changes(compare(seeded, seeded)) == {}
    assert changes(compare(seeded, [MUG | {"seed": 7}, CUP | {"seed": 8}, JUG | {"seed": 7}])) == {
        "a tea cup": ("changed", ("seed",), 28)
    }
    assert changes(compare(seeded, [MUG | {"seed": 7}, CUP, JUG | {"seed": 7}])) == {
        "a tea cup": ("changed", ("seed",), 28)
    }


def test_a_default_that_changes_shows_in_the_rows_that_rely_on_it():
    own = [MUG | {"style": "Vibrant"}, CUP, JUG]
    assert changes(compare(own, own, style="Cinematic")) == {
        "a tea cup": ("changed", ("style",), 28),
        "a milk jug": ("changed", ("style",), 84),
    }


def test_a_lowered_quantity_is_a_change_that_costs_nothing():
    diff = compare(ROWS, [MUG, CUP, JUG | {"quantity": 1}])
    assert changes(diff) == {"a milk jug": ("changed", ("quantity",), 0)}
    (row,) = diff.rows[diff.rows["change"] == "changed"].to_dict("records")
    assert (row["earlier_images"], row["images"]) == (3, 1)


def test_rows_with_derived_ids_are_recognised_by_what_they_kept():
    rows = without_ids(ROWS)
    by_prompt = compare(rows, [rows[2] | {"style": "Vibrant"}, rows[0], rows[1]])
    assert changes(by_prompt) == {"a milk jug": ("changed", ("style",), 84)}
    by_extra_columns = compare(rows, [rows[2], rows[1] | {"prompt": "a coffee cup"}, rows[0]])
    assert changes(by_extra_columns) == {"a coffee cup": ("changed", ("prompt",), 28)}
    (row,) = by_extra_columns.rows[by_extra_columns.rows["change"] == "changed"].to_dict("records")
    assert row["prompt_id"] != row["earlier_prompt_id"]


def test_rows_with_derived_ids_and_nothing_else_are_recognised_by_their_place():
    plain = [{"prompt": prompt, "width": 64, "height": 48} for prompt in ("one", "two", "three", "four")]
    edited = [{"prompt": "zero", "width": 64, "height": 48}, plain[0], plain[1] | {"prompt": "zwei"}, *plain[2:]]
    assert changes(compare(plain, edited)) == {
        "zero": ("added", (), 28),
        "zwei": ("changed", ("prompt",), 28),
    }
    assert changes(compare(plain, [plain[0], plain[3]])) == {
        "two": ("removed", (), 0),
        "three": ("removed", (), 0),
    }


def test_a_given_id_is_never_taken_for_another_row():
    diff = compare([MUG], [MUG | {"prompt_id": "mug-2"}])
    assert sorted(diff.rows["change"]) == ["added", "removed"]
    assert diff.credits("added") == 0


def test_columns_of_the_table_that_come_go_and_are_renamed_are_named_once():
    after = [
        {("farbe" if name == "colour" else name): value for name, value in row.items()} | {"glaze": "matt"}
        for row in ROWS
    ]
    diff = compare([row | {"size": "s"} for row in ROWS], after)
    assert (diff.columns_added, diff.columns_removed, diff.columns_renamed) == (
        ("glaze",),
        ("size",),
        {"colour": "farbe"},
    )
    assert changes(diff) == {}


def test_a_picture_that_several_rows_want_is_priced_once_for_the_row_that_wants_so_many():
    twins = [CUP, CUP | {"prompt_id": "twin", "quantity": 3}]
    assert changes(compare([CUP], twins)) == {"a tea cup": ("added", (), 56)}
    new = [MUG | {"prompt_id": name, "prompt": "a pan"} for name in ("first", "second")]
    priced = compare([CUP], [CUP, *new]).rows.set_index("prompt_id")["credits"]
    assert (priced["first"], priced["second"]) == (56, 0)


@pytest.mark.parametrize(("before", "after"), [([], ROWS), (ROWS, []), ([], [])])
def test_empty_tables_can_be_compared(before, after):
    diff = compare(before, after)
    assert (diff.count("added"), diff.count("removed")) == (len(after), len(before))
    assert isinstance(diff.rows, pd.DataFrame)
