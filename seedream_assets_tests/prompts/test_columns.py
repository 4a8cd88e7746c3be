"""Claims about columns: what is used, what rides along, and what looks like a setting and changes nothing."""

from pathlib import Path

import pandas as pd
import pytest

from seedream_assets.config.models import ModelCatalog, reference_advice
from seedream_assets.config.prompts import Recipe, TableRules
from seedream_assets.config.yaml import configs_of
from seedream_assets.prompts.columns import COLUMNS_SHOWN, MOST_DOUBTS, ColumnReport, column_rows, doubt_of_references
from seedream_assets.prompts.table import check_prompt_table


def report(rows: list[dict[str, object]] | dict[str, list[object]], **rules: object) -> ColumnReport:
    return check_prompt_table(pd.DataFrame(rows), TableRules(**rules), ModelCatalog()).columns


def report_prompts(*prompts: str) -> tuple[str, ...]:
    return report([{"prompt": prompt} for prompt in prompts]).doubts


def test_columns_used_and_extra_ones_are_listed_and_a_doubtful_one_is_one_line() -> None:
    found = report({"Prompt": ["a", "b"], "Width": [512, 512], "note": ["x", ""], "stlye": ["", "Cinematic"]})
    assert found.used == ("prompt (Prompt)", "width (Width)")
    assert found.extra == ("note", "stlye")
    assert found.doubts == ("column 'stlye' changes nothing: did you mean style?",)
    assert column_rows(found) == [
        ("columns used", "2", "prompt (Prompt), width (Width)"),
        ("extra columns", "2", "'note', 'stlye'; kept, and change no picture"),
        ("warning", "doubtful", found.doubts[0]),
    ]


@pytest.mark.parametrize(
    ("rules", "used"),
    [
        ({"columns": {"style": "stlye"}}, "style (stlye)"),
        ({"template": "{{ prompt }}, {{ stlye }}"}, "stlye"),
        ({"template": "{{ row['stlye'] }} {{ prompt }}"}, "stlye"),
        ({"used": ("stlye",)}, "stlye"),
    ],
)
def test_a_column_that_is_used_is_not_doubtful(rules: dict[str, object], used: str) -> None:
    found = report([{"prompt": "a", "stlye": "Cinematic"}], **rules)
    assert used in found.used
    assert (found.extra, found.doubts) == ((), ())


def test_what_partitions_checks_and_exports_use_is_used() -> None:
    text = """
name: a
prompts: {table: p.csv}
partitions: {by: column, column: n}
quality: {withheld: {column: steps}}
exports: [{parquet: {split: size}}]
"""
    (config,) = configs_of(text, path=Path("a.yaml"))
    assert config.rules.used == ("n", "steps", "size")


@pytest.mark.parametrize(
    "others",
    [
        {"negative_prompt": "", "cfg": None},  # nothing is asked for
        {"aspect_ratio": "16:9", "width": 1600, "height": 900},  # it is asked for already
        {"Category": "Abstract", "Challenge": "Basic", "Note": "long"},
        {"size": "XL", "steps": "Pour. Stir.", "title": "Tea", "weight": 3},
    ],
)
def test_a_column_that_asks_for_nothing_new_is_not_doubtful(others: dict[str, object]) -> None:
    assert report([{"prompt": "a", **others}]).doubts == ()


@pytest.mark.parametrize(
    ("prompt", "kind", "example"),
    [
        ("a heron --ar 16:9 --v 6", "Midjourney's parameters", "--ar 16:9"),
        ("a heron --no people", "Midjourney's parameters", "--no"),
        ("a heron \u2014ar 3:2", "Midjourney's parameters", "\u2014ar 3:2"),
        ("tea <lora:ink:0.8>", "tags of Stable Diffusion's networks", "<lora:ink:0.8>"),
        ("a {red|green} cup", "alternatives", "{red|green}"),
        ("a [cat|dog]", "alternatives", "[cat|dog]"),
        ("a (lake:1.3)", "weights", "(lake:1.3)"),
        ("heron::2 tram::1", "weights", "heron::2"),
        ("a __animal__, at night", "wildcards", "__animal__"),
        ("tea\nNegative prompt: milk", "another tool's record of its settings", "Negative prompt: milk"),
    ],
)
def test_another_tool_s_syntax_in_a_prompt_is_doubtful(prompt: str, kind: str, example: str) -> None:
    (doubt,) = report_prompts("plain", prompt)
    assert doubt.startswith(f"1 prompt holds {kind}, as {example!r} in row 2: ")


def test_plain_text_is_not_doubtful() -> None:
    plain = (
        "at (10:30), scale (16:9)",
        "a cat -- the black one",
        "std::vector",
        "fill ____ in",
        "a|b",
        "he said {maybe}",
    )
    assert report_prompts(*plain, '{"subject": "a|b"}', "x < y", "a --very-- nice cat") == ()


def test_a_kind_of_syntax_is_one_line_with_its_count_and_first_row_of_all_that_are_accepted() -> None:
    table = [{"prompt": "{a|b}", "width": 1}, *({"prompt": f"{{a|b}} {number}", "width": 64} for number in range(40))]
    (doubt,) = report(table).doubts
    assert doubt.startswith("40 prompts hold alternatives, as '{a|b}' in row 2: ")


def test_what_is_listed_is_bounded() -> None:
    names = [f"note {number}" for number in range(50)] + [f"{'-' * number}n" for number in range(50)]
    found = report([{"prompt": "a", **dict.fromkeys(names, "4")}])
    assert len(found.doubts) == MOST_DOUBTS
    assert found.doubts[-1] == f"… and {50 - MOST_DOUBTS + 1} more like these"
    assert f"and {100 - COLUMNS_SHOWN} more" in column_rows(found)[1][2]


def test_a_report_is_kept_as_facts() -> None:
    found = report([{"prompt": "a", "n": 4}])
    assert ColumnReport.from_facts(found.to_facts()) == found
    assert column_rows(ColumnReport()) == []


def test_a_strength_of_one_reference_of_the_recipe_is_that_image_s_alone() -> None:
    recipe = Recipe(references=("a.png", {"source": "b.png", "strength": "high"}))
    checked = check_prompt_table(pd.DataFrame([{"prompt": "a"}]), TableRules(recipe=recipe), ModelCatalog())
    assert checked.prompts["references"].tolist() == [
        '[{"source":"a.png","strength":"MID","type":"UPLOADED"},{"source":"b.png","strength":"HIGH","type":"UPLOADED"}]'
    ]


def test_prompts_longer_than_is_proven_are_one_line_and_stay_accepted() -> None:
    assert report_prompts("x" * 1500) == ()
    (doubt,) = report_prompts("a", "x" * 1501, "x" * 3000)
    assert doubt.startswith("2 prompts have more than 1500 characters, the longest 3000 in row 3: ")


@pytest.mark.parametrize(
    ("size", "size_bytes", "why"),
    [
        ((3000, 1000), 10_000_000, None),
        ((6000, 6000), 1, None),
        ((3001, 1000), 1, "3001x1000, where the provider takes ratios from 1:3 to 3:1"),
        ((1000, 3001), 1, "1000x3001, where the provider takes ratios from 1:3 to 3:1"),
        ((6001, 3000), 1, "6001x3000, where the provider takes 6000 px a side at most"),
        ((1000, 1000), 10_000_001, "10000001 bytes, where the provider takes 10000000 at most"),
    ],
)
def test_what_the_provider_is_not_known_to_take_of_references(
    size: tuple[int, int], size_bytes: int, why: str | None
) -> None:
    assert reference_advice(*size, size_bytes) == why


def test_unproven_references_are_one_line() -> None:
    assert doubt_of_references({}) is None
    assert doubt_of_references({"a.png": "why", "b.png": "other"}) == (
        "2 reference images are unproven, as 'a.png': why; Leonardo may scale it, or refuse its rows"
    )
