"""How messages are worded: hints, and numbers with their noun."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from seedream_assets.config.models import SEEDREAM_4_0
from seedream_assets.errors import LimitError
from seedream_assets.wording import closest, count_of


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("heigth", "height"),
        ("Max Credits Per Day", "max_credits_per_day"),
        ("maxCreditsPerRun", "max_credits_per_run"),
        ("prompt", None),
        ("", None),
    ],
)
def test_the_name_that_is_most_like_the_one_given(wanted: str, meant: str | None) -> None:
    names = ["width", "height", "prompt_enhance", "max_credits_per_run", "max_credits_per_day"]
    assert closest(wanted, names) == meant


def test_of_names_that_differ_in_case_alone_the_first_is_meant() -> None:
    assert closest("text", ["Text", "TEXT"]) == "Text"


@pytest.mark.parametrize(("number", "text"), [(0, "0 images"), (1, "1 image"), (2, "2 images")])
def test_a_number_with_its_noun(number: int, text: str) -> None:
    assert count_of(number, "image") == text


def test_a_noun_with_a_plural_of_its_own() -> None:
    assert [count_of(number, "try", "tries") for number in (1, 3)] == ["1 try", "3 tries"]


def test_a_style_that_does_not_exist_is_answered_with_the_one_that_is_meant() -> None:
    with pytest.raises(LimitError, match=r"did you mean 'Cinematic'\?"):
        SEEDREAM_4_0.style_name("cinema")
    with pytest.raises(LimitError, match=r"UUID$"):
        SEEDREAM_4_0.style_name("watercolour")


def test_no_message_writes_a_number_before_a_plural() -> None:
    """`1 images` is what such a message says one day; `count_of` says `1 image`."""
    form = re.compile(r"\{[^{}]*[a-z][^{}]*\} (images|requests|generations|samples) ")
    sources = Path(__file__).parents[1] / "seedream_assets"
    found = [
        f"{path.name}: {line.strip()}"
        for path in sources.rglob("*.py")
        if "emulator" not in path.parts
        for line in path.read_text(encoding="utf-8").splitlines()
        if form.search(line) and "count_of" not in form.search(line)[0]
    ]
    assert found == []
