"""Claims about templates: strict about what is missing, the same from run to run, and confined."""

import pandas as pd
import pytest

from seedream_assets.core.errors import DeclarationError, PromptTableError
from seedream_assets.core.models import ModelCatalog
from seedream_assets.core.prompt_table import CheckedPrompts, TableRules, check_prompt_table


def render(template: str, **cells: object) -> CheckedPrompts:
    frame = pd.DataFrame({name: pd.Series([cell]) for name, cell in cells.items()})
    return check_prompt_table(frame, TableRules(template=template), ModelCatalog())


@pytest.mark.parametrize(
    ("template", "cells", "prompt"),
    [
        ("{{ prompt }}, studio light", {"prompt": "a cat"}, "a cat, studio light"),
        ("{{ prompt }} {{ Prompt }}", {"Prompt": "a"}, "a a"),
        ("{{ prompt }} in {{ Mood }}", {"prompt": "a", "Mood": "blue & <red>"}, "a in blue & <red>"),
        ("{{ prompt }} {{ row['Stock Level'] }}", {"prompt": "a", "Stock Level": 3.0}, "a 3"),
        ("{{ row }}", {"row": "mine", "prompt": "a"}, "mine"),
        ("{{ prompt }}{% if mood %}, {{ mood }}{% endif %}", {"prompt": "a", "mood": None}, "a"),
        ("{{ prompt }}, {{ mood or 'plain' }}", {"prompt": "a", "mood": ""}, "a, plain"),
        ("{{ prompt }}, {{ mood | default('plain') }}", {"prompt": "a", "mood": "  "}, "a, plain"),
        ("{{ colour }} car", {"colour": "red"}, "red car"),
        ("  {{ prompt }}  ", {"prompt": "a"}, "a"),
        ("{% for i in range(3) %}{{ prompt }}{% endfor %}", {"prompt": "a"}, "aaa"),
        ("{{ width }} {{ prompt }}", {"prompt": "a", "width": 512}, "512 a"),
        ("a fixed prompt", {"n": "1"}, "a fixed prompt"),
    ],
)
def test_a_template_is_applied_to_the_row_s_cells(template, cells, prompt):
    checked = render(template, **cells)
    assert checked.prompts["prompt"].tolist() == [prompt]


@pytest.mark.parametrize(
    ("template", "cells", "rule", "fix"),
    [
        ("{{ prompt }}, {{ mood }}", {"prompt": "a", "mood": None}, "template", "the cell 'mood' is empty"),
        ("{{ prompt }}, studio light", {"prompt": " "}, "prompt_empty", "write a prompt"),
        ("{{ mood or '' }}", {"mood": ""}, "prompt_empty", "write a prompt"),
        ("{{ row.nothing }}", {"prompt": "a"}, "template", "nothing"),
        ("{{ prompt | int // 0 }}", {"prompt": "a"}, "template", "ZeroDivisionError"),
        ("{{ prompt + 1 }}", {"prompt": "a"}, "template", "TypeError"),
        ("{{ prompt.__class__ }}", {"prompt": "a"}, "template", "unsafe"),
        ("{{ prompt * 10000 }}", {"prompt": "a"}, "prompt_length", "10000 characters"),
        ("{{ prompt }}{{ '\\x00' }}", {"prompt": "a"}, "prompt_control_character", "U+0000"),
    ],
)
def test_a_row_the_template_cannot_be_applied_to_is_rejected(template, cells, rule, fix):
    checked = render(template, **cells)
    assert checked.rejected["rule"].tolist() == [rule]
    assert fix in checked.rejected["fix"][0]


def test_good_rows_go_on_beside_a_row_that_misses_a_cell():
    frame = pd.DataFrame({"prompt": ["a", "b"], "mood": ["x", None]})
    checked = check_prompt_table(frame, TableRules(template="{{ prompt }} {{ mood }}"), ModelCatalog())
    assert checked.prompts["prompt"].tolist() == ["a x"]
    assert checked.rejected["row_number"].tolist() == [2]


def test_our_name_wins_where_the_table_uses_it_for_something_else():
    frame = pd.DataFrame({"Text": ["a"], "prompt": ["other"]})
    rules = TableRules(template="{{ prompt }}", columns={"prompt": "Text"})
    assert check_prompt_table(frame, rules, ModelCatalog()).prompts["prompt"].tolist() == ["a"]


def test_a_name_that_no_column_has_is_a_fault_of_the_table():
    with pytest.raises(PromptTableError, match="the template uses colour, which the table does not have"):
        render("{{ prompt }} {{ colour }}", prompt="a")


def test_a_template_that_names_the_prompt_needs_its_column():
    with pytest.raises(PromptTableError, match="no column 'prompt'"):
        render("{{ prompt }}", text="a")


@pytest.mark.parametrize(
    "template", ["{{ prompt", "{% if %}", "{{ prompt | no_such_filter }}", "{{ [1, 2] | random }}"]
)
def test_what_is_no_template_is_a_fault_of_the_declaration(template):
    with pytest.raises(DeclarationError, match="template"):
        render(template, prompt="a")


@pytest.mark.parametrize("template", ["{{ lipsum() }}", "{% include 'x' %}"])
def test_nothing_random_and_nothing_outside_can_be_reached(template):
    try:
        assert render(template, prompt="a").rejected["rule"].tolist() == ["template"]
    except PromptTableError as refused:
        assert "lipsum" in str(refused)
