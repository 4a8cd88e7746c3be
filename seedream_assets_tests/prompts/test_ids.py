"""Claims about derived prompt ids: they follow the content of a row, and nothing else."""

import itertools
from hashlib import sha256

import pandas as pd
import pytest

from seedream_assets.config.models import ModelCatalog
from seedream_assets.config.prompts import Recipe, TableRules
from seedream_assets.prompts.table import check_prompt_table


def ids(rows: list[dict[str, object]], **rules: object) -> list[str]:
    checked = check_prompt_table(pd.DataFrame(rows), TableRules(**rules), ModelCatalog())
    return checked.prompts["prompt_id"].tolist()


def test_a_derived_id_is_sixteen_digits_that_stay_the_same_between_versions():
    assert ids([{"prompt": "a cat"}]) == [sha256(b"a cat").hexdigest()[:16]] == ["51e4674156077982"]


@pytest.mark.parametrize(
    "same",
    [
        {"prompt": " a cat ", "width": "512"},
        {"prompt": "a cat", "width": 512.0, "height": None},
        {"Prompt": "a cat", "WIDTH": "0512", "note": "x"},
    ],
)
def test_another_spelling_of_the_same_content_has_the_same_id(same):
    assert ids([same]) == ids([{"prompt": "a cat", "width": 512}])


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "a dog"},
        {"prompt": "a cat", "seed": 1},
        {"prompt": "a cat", "quantity": 2},
        {"prompt": "a cat", "width": 1024},
    ],
)
def test_another_content_has_another_id(other):
    assert ids([other]) != ids([{"prompt": "a cat"}])


def test_a_new_recipe_does_not_rename_the_rows():
    assert ids([{"prompt": "a"}], recipe=Recipe(width=2048, style="Vibrant")) == ids([{"prompt": "a"}])


def test_a_new_template_gives_new_names_because_the_prompt_is_another():
    assert ids([{"prompt": "a"}], template="{{ prompt }}!") == ids([{"prompt": "a!"}])


def test_rows_of_the_same_content_are_numbered():
    first, second, third = ids([{"prompt": "a"}] * 3)
    assert (second, third) == (f"{first}-2", f"{first}-3")


def test_rows_that_differ_only_in_other_columns_keep_their_ids_in_any_order():
    rows = [{"prompt": "a", "mood": mood} for mood in ("x", "y", None)]
    named = {
        frozenset(zip(ids(list(order)), [row["mood"] for row in order], strict=True))
        for order in itertools.permutations(rows)
    }
    assert len(named) == 1


def test_a_rejected_row_takes_no_number():
    assert ids([{"prompt": "a", "note": "1"}, {"prompt": "a", "width": "x"}]) == ids([{"prompt": "a"}])


def test_a_derived_id_steps_aside_for_one_that_the_table_gives():
    [taken] = ids([{"prompt": "a"}])
    assert ids([{"prompt": "a"}, {"prompt": "b", "prompt_id": taken}]) == [f"{taken}-2", taken]
