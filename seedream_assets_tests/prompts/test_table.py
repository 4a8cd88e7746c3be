"""Claims about checking a table: every limit has a row that passes and one that fails, and an error says what to do."""

import json
import re
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from seedream_assets.config.models import REFERENCE_TYPES, SEEDREAM_STYLES, ModelCatalog, TighterLimits
from seedream_assets.config.prompts import Recipe, TableRules
from seedream_assets.errors import ConfigError, LimitError, PromptTableError
from seedream_assets.prompts.table import CheckedPrompts, check_prompt_table

UUID = "0a1b2c3d-0000-4000-8000-123456789abc"
LARGEST_SEED = 2_147_483_638


def check(rows: list[dict[str, object]], *limits: TighterLimits, **rules: object) -> CheckedPrompts:
    frame = pd.DataFrame(rows)
    return check_prompt_table(frame, TableRules(**rules), ModelCatalog(*limits))


def check_cell(column: str, cell: object, **others: object) -> CheckedPrompts:
    return check([{"prompt": "a cat", column: cell, **others}])


def rules_broken(checked: CheckedPrompts) -> list[str]:
    return checked.rejected["rule"].tolist()


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("prompt", "x", "x"),
        ("prompt", "x" * 9999, "x" * 9999),
        ("prompt", "🐻" * 9999, "🐻" * 9999),
        ("prompt", "  a\r\n\tb\u00a0", "a\n\tb"),
        ("prompt", "👩‍🚀🏳️‍🌈 שלום مرحبا \u200fx\u200e", "👩‍🚀🏳️‍🌈 שלום مرحبا \u200fx\u200e"),
        ("prompt", "cafe\u0301", "café"),
        ("prompt", "42", "42"),
        ("prompt", "None", "None"),
        ("width", "32", 32),
        ("width", "14142", 14142),
        ("width", "512.0", 512),
        ("width", 512.0, 512),
        ("width", np.int32(512), 512),
        ("width", " 512 ", 512),
        ("width", "0512", 512),
        ("width", "", 1024),
        ("width", None, 1024),
        ("width", float("nan"), 1024),
        ("height", "32", 32),
        ("height", "14142", 14142),
        ("quantity", "1", 1),
        ("quantity", "9", 9),
        ("quantity", "10000", 10_000),
        ("seed", "0", 0),
        ("seed", LARGEST_SEED, LARGEST_SEED),
        ("style", "", "None"),
        ("style", "none", "None"),
        ("style", " stock photo ", "Stock Photo"),
        *[("style", name, name) for name in SEEDREAM_STYLES],
        *[("style", uuid.upper(), name) for name, uuid in SEEDREAM_STYLES.items()],
        ("prompt_enhance", "off", "OFF"),
        ("prompt_enhance", "On", "ON"),
        ("prompt_enhance", "auto", "AUTO"),
        ("prompt_enhance", "true", "ON"),
        ("prompt_enhance", False, "OFF"),
        ("model", "seedream-4.5", "seedream-4.5"),
        ("model", " Seedream-4.0", "seedream-4.0"),
        ("reference_strength", "low", "LOW"),
        ("reference_strength", "MID", "MID"),
        ("reference_strength", "High", "HIGH"),
        *[("public", yes, True) for yes in ("true", "Yes", "1", "ON", True, 1, 1.0)],
        *[("public", no, False) for no in ("false", "No", "0", "off", False, 0, "", None)],
        ("references", "", "[]"),
        ("prompt_id", "007", "007"),
        ("prompt_id", 3.0, "3"),
        ("prompt_id", "x" * 200, "x" * 200),
    ],
)
def test_a_cell_within_the_limits_is_accepted(column, cell, expected):
    checked = check_cell(column, cell)
    assert rules_broken(checked) == []
    assert checked.prompts[column].tolist() == [expected]


@pytest.mark.parametrize(
    ("column", "cell", "rule", "fix"),
    [
        ("prompt", "", "prompt_empty", "write a prompt"),
        ("prompt", " \u00a0\n", "prompt_empty", "write a prompt"),
        ("prompt", "\u200b\ufeff", "prompt_empty", "write a prompt"),
        ("prompt", None, "prompt_empty", "write a prompt"),
        ("prompt", "x" * 10_000, "prompt_length", "it has 10000 characters; take 1 of them out"),
        ("prompt", "a\0b", "prompt_control_character", "U+0000 at character 2"),
        ("prompt", "a\x1bb", "prompt_control_character", "U+001B"),
        ("prompt", "aé\x85b", "prompt_control_character", "U+0085 at character 3"),
        ("width", "31", "width_range", "raise it to 32"),
        ("width", "14143", "width_range", "lower it to 14142"),
        ("width", "9" * 5000, "width_range", "lower it"),
        ("height", "31", "height_range", "raise it to 32"),
        ("height", "14143", "height_range", "lower it to 14142"),
        ("width", "1,024", "width_number", "write 1024, without separators"),
        ("width", "1 024", "width_number", "write 1024, without separators"),
        ("width", "5e2", "width_number", "write 500, without an exponent"),
        ("width", "512px", "width_number", "write 512, without a unit"),
        ("width", "512.5", "width_number", "whole number"),
        ("width", "nan", "width_number", "leave the cell empty"),
        ("width", "５１２", "width_number", "whole number"),
        ("width", True, "width_number", "whole number"),
        ("width", float("inf"), "width_number", "whole number"),
        ("quantity", "0", "quantity_range", "raise it to 1"),
        ("quantity", "10001", "quantity_range", "lower it to 10000"),
        ("seed", "-1", "seed_range", "raise it to 0"),
        ("seed", LARGEST_SEED + 1, "seed_range", "lower it to 2147483638"),
        ("seed", "random", "seed_number", "leave the cell empty"),
        ("style", "Anime", "style", "preset"),
        ("style", UUID, "style", "preset"),
        ("prompt_enhance", "maybe", "prompt_enhance", "one of these words"),
        ("reference_strength", "STRONG", "reference_strength", "one of these words"),
        ("model", "seedream-5.0", "model", "one of these models"),
        ("public", "perhaps", "public", "true or false"),
        ("prompt_id", "x" * 201, "prompt_id_length", "shorten"),
        ("prompt_id", "a\nb", "prompt_id_control_character", "take"),
    ],
)
def test_a_cell_outside_the_limits_is_rejected_with_what_to_do(column, cell, rule, fix):
    checked = check_cell(column, cell)
    assert rules_broken(checked) == [rule]
    assert not len(checked.prompts)
    row_error = checked.rejected.iloc[0]
    assert fix in row_error["fix"]
    assert (row_error["row_number"], row_error["column"]) == (1, column)
    assert row_error["allowed"]


@pytest.mark.parametrize(("quantity", "accepted"), [(1, True), (2, False)])
def test_the_last_image_of_a_seeded_prompt_must_have_a_legal_seed_too(quantity, accepted):
    checked = check_cell("seed", LARGEST_SEED, quantity=quantity)
    assert rules_broken(checked) == ([] if accepted else ["seed_quantity_range"])
    if not accepted:
        assert "2147483637 or less" in checked.rejected["fix"][0]


def test_a_recipe_s_seed_is_judged_with_the_row_s_quantity():
    checked = check([{"prompt": "a", "quantity": 1}, {"prompt": "b", "quantity": 9}], recipe=Recipe(seed=LARGEST_SEED))
    assert checked.prompts["prompt"].tolist() == ["a"]
    assert checked.rejected[["row_number", "column"]].to_numpy().tolist() == [[2, "seed"]]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("a.png", [{"source": "a.png", "type": "UPLOADED"}]),
        ("C:\\photos\\a.png", [{"source": "C:\\photos\\a.png", "type": "UPLOADED"}]),
        (
            " a b.png | s3://b/k.png |",
            [{"source": "a b.png", "type": "UPLOADED"}, {"source": "s3://b/k.png", "type": "UPLOADED"}],
        ),
        ("https://x.org/a,b;c.png?v=1", [{"source": "https://x.org/a,b;c.png?v=1", "type": "UPLOADED"}]),
        *[(f"{kind.lower()}:{UUID.upper()}", [{"id": UUID, "type": kind}]) for kind in REFERENCE_TYPES],
        (["a|b.png"], [{"source": "a|b.png", "type": "UPLOADED"}]),
        ({"source": "a.png"}, [{"source": "a.png", "type": "UPLOADED"}]),
        (json.dumps([{"id": UUID, "type": "generated"}]), [{"id": UUID, "type": "GENERATED"}]),
        ("[]", []),
        ("|".join("abcdef"), [{"source": name, "type": "UPLOADED"} for name in "abcdef"]),
    ],
)
def test_references_are_read_into_one_canonical_form(cell, expected):
    checked = check_cell("references", cell, reference_strength="low")
    assert rules_broken(checked) == []
    written = checked.prompts["references"][0]
    assert json.loads(written) == [reference | {"strength": "LOW"} for reference in expected]
    again = check_cell("references", written)
    assert again.prompts["references"][0] == written


@pytest.mark.parametrize(
    ("cell", "rule", "fix"),
    [
        ("|".join("abcdefg"), "references_count", "names 7"),
        ("ftp://x/a.png", "references_scheme", "use https"),
        ("http://x/a.png", "references_scheme", "use https"),
        ("data:image/png;base64,AAAA", "references_scheme", "save the image to a file"),
        ("file:///a.png", "references_scheme", "give the path alone"),
        ("https://", "references_syntax", "not complete"),
        ("https://[", "references_syntax", "malformed"),
        ("s3://bucket", "references_syntax", "not complete"),
        ("https://me:secret@x.org/a.png", "references_syntax", "password"),
        ("a\0.png", "references_syntax", "one line"),
        (UUID, "references_type", f"GENERATED:{UUID}"),
        ("UPLOADED:a.png", "references_syntax", "36 characters"),
        ([{"id": UUID, "type": "URL"}], "references_type", "one of these types"),
        ([{"id": UUID}], "references_syntax", "id and type"),
        ([{"source": "a", "type": "GENERATED"}], "references_type", "leave its type out"),
        ([{"source": "a", "weight": "1"}], "references_syntax", "an object has source"),
        ([{"source": "a", "strength": "MAX"}], "reference_strength", "one of these words"),
        ([3], "references_syntax", "a text or an object"),
        ("[not json", "references_syntax", "looks like JSON"),
        ("[" * 100_000, "references_syntax", "looks like JSON"),
    ],
)
def test_references_that_cannot_be_used_are_rejected(cell, rule, fix):
    checked = check_cell("references", cell)
    assert rules_broken(checked) == [rule]
    assert fix in checked.rejected["fix"][0]


def test_a_reference_s_own_strength_wins_over_the_row_s_and_the_row_s_over_the_recipe_s():
    cell = [{"source": "a", "strength": "high"}, "b"]
    rows = [{"prompt": "x", "references": cell, "reference_strength": "LOW"}, {"prompt": "y", "references": cell}]
    found = check(rows, recipe=Recipe(reference_strength="MID")).prompts["references"].map(json.loads)
    assert [[item["strength"] for item in row] for row in found] == [["HIGH", "LOW"], ["HIGH", "MID"]]


def test_an_empty_cell_takes_the_recipe_s_value_and_a_filled_one_wins():
    recipe = Recipe(
        model="seedream-4.5", width=2048, height=1536, quantity=3, seed=7, style="vibrant", prompt_enhance="auto",
        public=True, references=("a.png", f"UPLOADED:{UUID}"), reference_strength="high",
    )  # fmt: skip
    own = {"model": "seedream-4.0", "width": 1280, "height": 720, "quantity": 1, "seed": 0, "style": "None"}
    own |= {"prompt_enhance": "OFF", "public": "no", "references": "[]", "reference_strength": "LOW"}
    checked = check([{"prompt": "x"}, {"prompt": "x", **own}], recipe=recipe)
    taken = checked.prompts[list(own)].astype(object).to_dict("records")
    assert taken[0] | {"references": ""} == {
        "model": "seedream-4.5", "width": 2048, "height": 1536, "quantity": 3, "seed": 7, "style": "Vibrant",
        "prompt_enhance": "AUTO", "public": True, "references": "", "reference_strength": "HIGH",
    }  # fmt: skip
    assert len(json.loads(taken[0]["references"])) == 2
    assert taken[1] == own | {"public": False}


def test_a_row_s_model_brings_its_own_default_size():
    checked = check([{"prompt": "a", "model": "seedream-4.0"}, {"prompt": "b", "model": "seedream-4.5"}])
    assert checked.prompts[["width", "height"]].to_numpy().tolist() == [[1024, 1024], [2048, 2048]]


def test_several_row_errors_of_a_row_are_reported_at_once_in_order_of_column():
    rows = [{"prompt": "a"}, {"prompt": "", "width": "x", "style": "y", "seed": "-5"}]
    checked = check(rows)
    assert checked.rejected["column"].tolist() == ["prompt", "seed", "style", "width"]
    assert set(checked.rejected["row_number"]) == {2}


def test_a_row_error_names_the_table_s_own_column_and_a_value_that_can_be_read():
    checked = check([{"Text": "x" * 10_000, "W": "y" * 500}], columns={"prompt": "Text", "width": "W"})
    by_column = checked.rejected.set_index("column")["value"].str.len()
    assert by_column.to_dict() == {"Text": 80, "W": 200}


def test_the_second_row_of_an_id_is_rejected_with_the_number_of_the_first():
    rows = [{"prompt": "a", "prompt_id": "p"}, {"prompt": "b", "prompt_id": "q"}, {"prompt": "a", "prompt_id": " p "}]
    checked = check(rows)
    assert checked.prompts["prompt_id"].tolist() == ["p", "q"]
    assert rules_broken(checked) == ["prompt_id_duplicate"]
    assert checked.rejected["row_number"].tolist() == [3]
    assert "row 1 has this id" in checked.rejected["fix"][0]


@pytest.mark.parametrize(("policy", "warned", "accepted"), [("warn", 1, 2), ("provider", 0, 1)])
def test_a_size_the_provider_does_not_serve_well_is_a_warning_or_a_fault(policy, warned, accepted):
    rows = [{"prompt": "a", "width": 512, "height": 512}, {"prompt": "b", "width": 4096, "height": 4096}]
    checked = check(rows, size_policy=policy)
    assert (len(checked.warnings), len(checked.prompts)) == (warned, accepted)
    noted = checked.warnings if warned else checked.rejected
    assert noted["value"].tolist() == ["512x512"]
    assert noted["rule"].tolist() == ["size_unusual" if warned else "size_provider"]
    assert "262144 pixels" in noted["fix"][0]


def test_a_size_of_an_odd_shape_is_reported_by_its_ratio():
    warnings = check([{"prompt": "a", "width": 14142, "height": 100}]).warnings
    assert "ratio 141.4" in warnings["fix"][0]


def test_a_lost_character_is_a_warning_and_rejected_rows_are_not_warned_about():
    checked = check([{"prompt": "caf�"}, {"prompt": "caf�", "width": "x"}])
    assert checked.warnings[["row_number", "rule"]].to_numpy().tolist() == [[1, "replacement_character"]]


@pytest.mark.parametrize(
    ("limits", "passes", "fails", "rule"),
    [
        (TighterLimits(largest_width=1024), {"width": 1024}, {"width": 1025}, "width_range"),
        (TighterLimits(largest_height=1024), {"height": 1024}, {"height": 1025}, "height_range"),
        (TighterLimits(largest_prompt=5), {"prompt": "12345"}, {"prompt": "123456"}, "prompt_length"),
        (TighterLimits(allowed_styles=("None", "Dynamic")), {"style": "dynamic"}, {"style": "Creative"}, "style"),
        (
            TighterLimits(allowed_models=("seedream-4.0",)),
            {"model": "seedream-4.0"},
            {"model": "seedream-4.5"},
            "model",
        ),
    ],
)
def test_a_deployment_s_tighter_limit_holds(limits, passes, fails, rule):
    checked = check([{"prompt": "a", **passes}, {"prompt": "b", **fails}], limits)
    assert checked.prompts["row_number"].tolist() == [1]
    assert rules_broken(checked) == [rule]


def test_a_deployment_s_images_per_request_do_not_bound_the_images_per_prompt():
    assert check([{"prompt": "a", "quantity": 9}], TighterLimits(largest_quantity=2)).prompts["quantity"].tolist() == [
        9
    ]


def test_other_columns_ride_along_as_they_were_beside_accepted_rows_only():
    frame = pd.DataFrame(
        {" Prompt": ["a", "", "c"], "row_number": [7, 8, 9], "day": pd.to_datetime(["2026-01-01"] * 3)}
    )
    checked = check_prompt_table(frame.set_axis([5, 6, 7]), TableRules(), ModelCatalog(), table="t.csv")
    assert checked.extra_columns.columns.tolist() == ["row_number", "day"]
    assert checked.extra_columns["row_number"].tolist() == [7, 9]
    assert checked.extra_columns["day"].dtype == frame["day"].dtype
    assert checked.extra_columns.index.tolist() == checked.prompts.index.tolist() == [0, 1]
    assert checked.prompts["row_number"].tolist() == [1, 3]
    assert checked.prompts["table"].tolist() == ["t.csv", "t.csv"]


@pytest.mark.parametrize("rows", [[{"prompt": "a"}], [{"prompt": ""}]])
def test_the_frames_have_the_same_dtypes_full_or_empty(rows):
    checked = check(rows)
    texts = dict.fromkeys(("prompt_id", "prompt", "model", "style", "prompt_enhance", "references", "table"), "string")
    numbers = dict.fromkeys(("row_number", "width", "height", "quantity"), "int64")
    expected = texts | numbers | {"seed": "Int64", "public": "bool", "reference_strength": "string"}
    assert {name: str(dtype) for name, dtype in checked.prompts.dtypes.items()} == expected
    for found in (checked.rejected, checked.warnings):
        assert [str(dtype) for dtype in found.dtypes] == ["int64"] + ["string"] * 6


def test_a_frame_without_rows_gives_frames_without_rows():
    checked = check_prompt_table(pd.DataFrame({"prompt": [], "n": []}), TableRules(), ModelCatalog())
    assert [len(checked.prompts), len(checked.rejected), len(checked.extra_columns)] == [0, 0, 0]


def test_cells_of_every_dtype_read_the_same():
    columns = {"prompt": ["a", "b"], "width": [512, 2048], "style": ["None", "Vibrant"], "public": [True, False]}
    expected = check_prompt_table(pd.DataFrame(columns), TableRules(), ModelCatalog()).prompts
    for dtype in ("object", "category", "string[python]", "string[pyarrow]", "str"):
        found = check_prompt_table(pd.DataFrame(columns).astype(dtype), TableRules(), ModelCatalog()).prompts
        pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize(
    ("cell", "prompt"), [(b"caf\xc3\xa9", "café"), (date(2026, 1, 2), "2026-01-02"), (Decimal("1.50"), "1.50")]
)
def test_a_prompt_of_an_unusual_type_reads_as_its_text(cell, prompt):
    assert check([{"prompt": cell}, {"prompt": Decimal("nan")}]).prompts["prompt"].tolist() == [prompt]


def test_each_wrong_model_is_told():
    checked = check([{"prompt": "a", "model": f"m{n}"} for n in range(2000)])
    assert checked.rejected["value"].tolist() == [f"m{n}" for n in range(2000)]


def test_the_same_table_is_checked_the_same_twice_and_left_as_it_was():
    frame = pd.DataFrame({"prompt": ["a", "a", ""], "width": ["512", "x", None]})
    before = frame.copy()
    first, second = (check_prompt_table(frame, TableRules(), ModelCatalog()) for _ in range(2))
    pd.testing.assert_frame_equal(first.prompts, second.prompts)
    pd.testing.assert_frame_equal(first.rejected, second.rejected)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("names", "columns", "message"),
    [
        pytest.param(["Promt", "n"], {}, r"'Promt', 'n'.*columns: \{prompt: 'Promt'\}", id="no prompt"),
        pytest.param(["text_prompt", "n"], {}, r"columns: \{prompt: 'text_prompt'\}", id="no prompt, word in a name"),
        pytest.param(["n"], {}, r"columns: \{prompt: 'n'\}", id="no prompt, nothing alike"),
        pytest.param([], {}, "no column 'prompt'", id="no columns"),
        pytest.param(["prompt"], {"widht": "n"}, "did you mean 'width'", id="a name that means nothing"),
        pytest.param(["prompt", "Width px"], {"width": "width_px"}, "did you mean 'Width px'", id="not in the table"),
        pytest.param(["prompt", "n"], {"width": "n", "height": "n"}, "more than one name", id="one column twice"),
        pytest.param(["Prompt", "PROMPT"], {}, "could each be the column 'prompt'", id="two alike"),
        pytest.param(["prompt", "n", "n"], {}, "'n' stands more than once", id="name twice"),
    ],
)  # fmt: skip
def test_a_header_that_cannot_be_used_is_refused_with_what_to_write(names, columns, message):
    frame = pd.DataFrame([["a"] * len(names)], columns=names)
    with pytest.raises(PromptTableError, match=message):
        check_prompt_table(frame, TableRules(columns=columns), ModelCatalog())


@pytest.mark.parametrize(
    ("names", "columns", "prompt", "extra_columns"),
    [
        (["prompt", "n"], {}, "1", ["n"]),
        (["n", " PROMPT "], {}, "2", ["n"]),
        (["Prompt", "prompt"], {}, "2", ["Prompt"]),
        (["Prompt", "prompt"], {"prompt": "Prompt"}, "1", ["prompt"]),
        (["Text", "n"], {"prompt": "text "}, "1", ["n"]),
        (["style", "n"], {"prompt": "style"}, "1", ["n"]),
        ([5, "prompt"], {}, "2", ["5"]),
    ],
)
def test_columns_are_found_exactly_first_then_in_any_case(names, columns, prompt, extra_columns):
    frame = pd.DataFrame([["1", "2"]], columns=names)
    checked = check_prompt_table(frame, TableRules(columns=columns), ModelCatalog())
    assert checked.prompts["prompt"].tolist() == [prompt]
    assert checked.extra_columns.columns.tolist() == extra_columns


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", 31),
        ("height", 14143),
        ("quantity", 0),
        ("seed", -1),
        ("style", "Anime"),
        ("prompt_enhance", "maybe"),
        ("reference_strength", "MAX"),
        ("model", "dall-e"),
        ("references", ("ftp://x/a",)),
        ("references", tuple("abcdefg")),
    ],
)
def test_a_recipe_that_no_model_allows_is_refused_where_it_is_declared(name, value):
    with pytest.raises(ConfigError, match=re.escape(f"{name}: got {value!r}, allowed is")):
        Recipe(**{name: value})


def test_a_recipe_within_the_limits_is_accepted():
    check([{"prompt": "a"}], recipe=Recipe(seed=LARGEST_SEED, style="stock photo", references=tuple("abcdef")))


def test_a_recipe_that_the_deployment_s_limits_do_not_allow_is_refused_before_any_row():
    with pytest.raises(LimitError, match="width: got '2048', allowed is 32–1024 px"):
        rules = TableRules(recipe=Recipe(width=2048))
        check_prompt_table(pd.DataFrame({"prompt": ["a"]}), rules, ModelCatalog(TighterLimits(largest_width=1024)))


def test_a_template_that_is_none_is_an_error_of_the_declaration():
    with pytest.raises(ConfigError, match="template: line 1"):
        check([{"prompt": "a"}], template="{{ prompt")
