"""Claims about templates: strict about what is missing, the same from run to run, and confined."""

import pandas as pd
import pytest

from seedream_assets.config.models import ModelCatalog
from seedream_assets.config.prompts import TableRules
from seedream_assets.errors import ConfigError, PromptTableError
from seedream_assets.prompts.table import CheckedPrompts, check_prompt_table


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


def test_a_name_that_no_column_has_is_an_error_of_the_table():
    with pytest.raises(PromptTableError, match="the template uses colour, which the table does not have"):
        render("{{ prompt }} {{ colour }}", prompt="a")


def test_a_template_that_names_the_prompt_needs_its_column():
    with pytest.raises(PromptTableError, match="no column 'prompt'"):
        render("{{ prompt }}", text="a")


@pytest.mark.parametrize(
    "template", ["{{ prompt", "{% if %}", "{{ prompt | no_such_filter }}", "{{ [1, 2] | random }}"]
)
def test_what_is_no_template_is_an_error_of_the_declaration(template):
    with pytest.raises(ConfigError, match="template"):
        render(template, prompt="a")


@pytest.mark.parametrize("template", ["{{ lipsum() }}", "{% include 'x' %}"])
def test_nothing_random_and_nothing_outside_can_be_reached(template):
    try:
        assert render(template, prompt="a").rejected["rule"].tolist() == ["template"]
    except PromptTableError as refused:
        assert "lipsum" in str(refused)


@pytest.mark.parametrize(
    ("template", "cells", "prompt"),
    [
        ("{% set n = namespace(x=0) %}{% for i in range(5) %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}", {}, "10"),
        ("{% set n = namespace(x='a') %}{% set n.x = n.x ~ 'b' %}{{ n.x }}", {}, "ab"),
        ("{{ article | truncate(20, true) }}", {"article": "word " * 100_000}, "word word word wo..."),
        ("{{ article[:4] }}", {"article": "word " * 100_000}, "word"),
        ("{{ prompt.replace('cat', 'dog') | replace('a ', 'the ') }}", {"prompt": "a cat"}, "the dog"),
        ("{{ ['a', 'b'] | join(', ') }} {{ ', '.join(['c', 'd']) }}", {}, "a, b c, d"),
        ("{{ '%s of %03d' % ('a', 7) }} {{ '{:>4}'.format('x') }} {{ '%s' | format('y') }}", {}, "a of 007    x y"),
        ("{{ prompt | wordwrap(10) | indent(2) }}", {"prompt": "a cat on a mat"}, "a cat on a\n  mat"),
        ("{% for w in prompt.split() | reverse %}{{ loop.index }}{{ w }}{{ '' if loop.last else ' ' }}{% endfor %}",
         {"prompt": "a b c"}, "1c 2b 3a"),
        ("{% macro light(x) %}{{ x }} light{% endmacro %}{{ light('soft') }}", {}, "soft light"),
        ("{% for x in [1, [2]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}", {}, "12"),
        ("{{ {'a': 1}['a'] + 2 ** 10 }} {{ 2 * 'ab' }} {{ prompt == 'a' }}", {"prompt": "a"}, "1025 abab True"),
        ("{{ words | map('upper') | join('-') }}", {"words": "ab"}, "A-B"),
        ("{% set t %}{{ prompt }}!{% endset %}{{ t }}", {"prompt": "a"}, "a!"),
    ],
)  # fmt: skip
def test_what_templates_need_is_within_the_bounds(template, cells, prompt):
    checked = render(template, **{"prompt": "a", **cells})
    assert checked.rejected["fix"].tolist() == []
    assert checked.prompts["prompt"].tolist() == [prompt]


def test_the_row_that_asks_for_too_much_is_rejected_and_the_others_go_on():
    frame = pd.DataFrame({"prompt": ["a", "b", "c"], "times": ["2", "10000000000", "3"]})
    rules = TableRules(template="{{ prompt * (times | int) }}")
    checked = check_prompt_table(frame, rules, ModelCatalog())
    assert checked.prompts["prompt"].tolist() == ["aa", "ccc"]
    assert checked.rejected["row_number"].tolist() == [2]
    assert "a text or a list of more than 1000000" in checked.rejected["fix"][0]


@pytest.mark.parametrize(("length", "rule"), [(100_000, "prompt_length"), (100_001, "template")])
def test_a_prompt_is_reported_with_its_length_up_to_the_longest_that_is_kept(length, rule):
    assert render(f"{{{{ prompt * {length} }}}}", prompt="a").rejected["rule"].tolist() == [rule]


def test_the_budget_is_one_row_s():
    frame = pd.DataFrame({"prompt": [f"p{n}" for n in range(30)]})
    rules = TableRules(template="{{ prompt }}{% set t = 'x' * 90000 %}" + "{% if t | length %}{% endif %}" * 8)
    assert check_prompt_table(frame, rules, ModelCatalog()).rejected.empty
