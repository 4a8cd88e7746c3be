"""Claims about how many rejected rows a table may have, and what is reported of them."""

import pandas as pd
import pytest

from seedream_assets.config.models import ModelCatalog
from seedream_assets.config.prompts import MaxRejected, Recipe, TableRules
from seedream_assets.errors import PromptTableError
from seedream_assets.prompts.cells import describe_rows, merge_alike, refuse_unless_enough
from seedream_assets.prompts.table import check_prompt_table


def refuse(*, bad, good, limit=None, misfits=0, table_rows=None):
    frame = pd.DataFrame({"prompt": [""] * bad + [f"p{n}" for n in range(good)]}, dtype="string")
    checked = check_prompt_table(frame, TableRules(), ModelCatalog())
    refuse_unless_enough(
        rows=bad + good,
        accepted=len(checked.prompts),
        rejected=checked.rejected,
        misfits=misfits,
        table_rows=table_rows or bad + good,
        with_table=False,
        limit=None if limit is None else MaxRejected.of(limit),
    )


@pytest.mark.parametrize(("bad", "reported"), [(1, "the only row is rejected"), (12, "all 12 rows are rejected")])
def test_a_table_of_which_no_row_is_left_is_refused_with_the_first_reasons(bad, reported):
    with pytest.raises(PromptTableError, match=f"{reported}, and nothing would be left") as refused:
        refuse(bad=bad, good=0)
    assert "row 1: prompt ''; allowed is a text that is not empty" in str(refused.value)
    assert ("… and 7 more" in str(refused.value)) is (bad == 12)
    assert "Nothing was written" in str(refused.value)


@pytest.mark.parametrize("limit", [0, "0%", 0.0])
def test_a_table_without_rows_or_without_row_errors_is_borne_by_any_limit(limit):
    refuse(bad=0, good=0, limit=limit)
    refuse(bad=0, good=3, limit=limit)


@pytest.mark.parametrize(
    ("limit", "borne"),
    [(0, 0), (2, 2), ("3", 3), (0.05, 1), ("5%", 1), ("5.0 %", 1), ("4.9%", 0), (0.1, 2), ("100%", 19), (None, 19)],
)
def test_the_limit_is_the_last_number_that_is_borne(limit, borne):
    refuse(bad=borne, good=20 - borne, limit=limit)
    with pytest.raises(PromptTableError):
        refuse(bad=borne + 1, good=19 - borne, limit=limit)


def test_a_share_is_of_the_partition_s_rows_and_rows_that_fit_none_are_measured_against_the_table():
    refuse(bad=0, good=3, misfits=2, table_rows=200, limit="1%")
    with pytest.raises(PromptTableError, match=r"3 of 200 rows of the table.*prompts\.max_rejected allows 1%"):
        refuse(bad=0, good=3, misfits=3, table_rows=200, limit="1%")
    with pytest.raises(PromptTableError, match="1 of 3 rows are rejected, and prompts.max_rejected allows 1%"):
        refuse(bad=1, good=2, misfits=0, table_rows=200, limit=0.01)


@pytest.mark.parametrize(
    "wrong", [-1, 1.0, 1.5, -0.1, True, "all", "5 %%", "101%", "", "nan", float("inf"), "1/0", "-5%"]
)
def test_what_is_neither_a_number_nor_a_share_is_refused(wrong):
    with pytest.raises(ValueError, match="allowed is a number of rows, as 20, or"):
        MaxRejected.of(wrong)


def test_a_warning_that_the_recipe_causes_is_one_line_for_all_rows():
    frame = pd.DataFrame({"prompt": ["a", "b", "c"], "width": ["", "", "600"]}, dtype="string")
    rules = TableRules(recipe=Recipe(width=512, height=512))
    warnings = merge_alike(check_prompt_table(frame, rules, ModelCatalog()).warnings)
    lines = list(describe_rows(warnings, most=5, with_table=False))
    assert [line.split(":")[0] for line in lines] == ["row 1 and 1 more row", "row 3"]
    assert merge_alike(warnings[:0]).empty
