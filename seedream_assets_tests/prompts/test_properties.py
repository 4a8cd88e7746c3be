"""Claims that hold for every table: no row is lost or doubled, and order changes nothing that it should not."""

import random

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedream_assets.config.models import SEEDREAM_STYLES, ModelCatalog
from seedream_assets.config.prompts import RECOGNISED, TableRules
from seedream_assets.errors import PromptTableError
from seedream_assets.prompts.formats import parse_prompt_file
from seedream_assets.prompts.table import CheckedPrompts, check_prompt_table

MODELS = ModelCatalog()
SPECIAL = [
    "",
    " ",
    "a",
    "b",
    "1",
    "512",
    "1,024",
    "-1",
    "2147483638",
    "true",
    "ON",
    "LOW",
    "seedream-4.5",
    "a|b",
    "[1]",
    "[",
    "\0",
    "\ud800",
]
CELL = (
    st.text(max_size=20)
    | st.sampled_from([*SPECIAL, *SEEDREAM_STYLES])
    | st.none()
    | st.floats()
    | st.booleans()
    | st.integers()
)
NAME = st.sampled_from([*RECOGNISED, "Prompt", " WIDTH", "note", "day", "row_number", "(broken row)", ""])


@st.composite
def tables(draw, names=NAME):
    columns = draw(st.lists(names, min_size=1, max_size=6))
    columns = columns if draw(st.integers(0, 9)) == 0 else ["prompt", *dict.fromkeys(set(columns) - {"prompt"})]
    rows = draw(st.lists(st.tuples(*[CELL for _ in columns]), max_size=8))
    return pd.DataFrame(rows, columns=columns, dtype=object)


def content(checked: CheckedPrompts) -> list[tuple[str, ...]]:
    whole = pd.concat([checked.prompts.drop(columns="row_number"), checked.extra_columns], axis="columns")
    return sorted(tuple(map(str, row)) for row in whole.itertuples(index=False))


# A few examples every time, and many among the slow tests.
thoroughly = pytest.mark.parametrize("examples", [15, pytest.param(300, marks=pytest.mark.slow)])


def check(claim, examples, *strategies):
    """Try a claim on so many examples."""
    settings(max_examples=examples, deadline=None)(given(*strategies)(claim))()


@thoroughly
def test_every_row_is_accepted_once_or_rejected(examples):
    def claim(frame, template):
        try:
            checked = check_prompt_table(frame, TableRules(template=template), MODELS)
        except PromptTableError:
            return
        accepted = checked.prompts["row_number"].tolist()
        rejected = set(checked.rejected["row_number"])
        assert len(accepted) == len(set(accepted))
        assert sorted([*accepted, *rejected]) == list(range(1, len(frame) + 1))
        assert checked.prompts["prompt_id"].is_unique
        assert set(checked.warnings["row_number"]) <= set(accepted)
        assert not checked.prompts.drop(columns=["seed", "table"]).isna().any(axis=None)

    check(claim, examples, tables(), st.sampled_from([None, "{{ prompt }} x", "{{ row }}", "{{ prompt or 'y' }}"]))


@thoroughly
def test_the_order_of_rows_changes_no_id(examples):
    def claim(frame, order: random.Random):
        try:
            checked = check_prompt_table(frame, TableRules(), MODELS)
        except PromptTableError:
            return
        shuffled = frame.iloc[order.sample(range(len(frame)), len(frame))]
        assert content(check_prompt_table(shuffled, TableRules(), MODELS)) == content(checked)

    check(
        claim,
        examples,
        tables(st.sampled_from(["prompt", "width", "seed", "quantity", "note", "public"])),
        st.randoms(use_true_random=False),
    )


@thoroughly
def test_an_accepted_prompt_is_accepted_again_as_it_is(examples):
    def claim(frame):
        try:
            checked = check_prompt_table(frame, TableRules(), MODELS)
        except PromptTableError:
            return
        again = check_prompt_table(checked.prompts, TableRules(), MODELS)
        assert not len(again.rejected)
        pd.testing.assert_frame_equal(
            again.prompts.drop(columns=["row_number", "table"]), checked.prompts.drop(columns=["row_number", "table"])
        )

    check(claim, examples, tables())


@thoroughly
def test_any_text_is_a_table_or_refused(examples):
    def claim(text, suffix):
        try:
            frame = parse_prompt_file(f"prompt,b\n{text}".encode(), "a" + suffix)
            check_prompt_table(frame, TableRules(), MODELS)
        except PromptTableError:
            return

    check(
        claim,
        examples,
        st.text(alphabet="ab\"',;\t|\n\r 1{}[]:\0é", max_size=80),
        st.sampled_from([".csv", ".tsv", ".jsonl", ""]),
    )
