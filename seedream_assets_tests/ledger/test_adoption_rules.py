"""Claims about what a person is shown before a generation is adopted, and about what speaks against it."""

from datetime import timedelta

import pytest

from seedream_assets.ledger.adopt import compare_with_generation, why_not_the_same
from seedream_assets_tests.support.builders import make_generation, make_intent

INTENT = make_intent()
LONG = make_intent().__class__(
    **{name: getattr(INTENT, name) for name in INTENT.__dataclass_fields__ if name != "prompt"},
    prompt="A red chair & a blue table in an empty room",
)


def compared(intent=INTENT, **changes):
    return compare_with_generation(intent, make_generation(intent, **changes))


def test_what_is_the_same_is_adopted():
    fields = compared()
    assert {field.name: field.likeness for field in fields if field.likeness != "not shown"}.items() >= {
        "prompt": "same",
        "seed": "same",
        "size": "same",
    }.items()
    assert why_not_the_same(fields) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": "a dog"}, "the prompt differs"),
        ({"seed": INTENT.seed + 1}, "the seed differs"),
        ({"width": 64}, "the size differs"),
        ({"created_at": INTENT.at - timedelta(minutes=6)}, "the time differs"),
        ({"created_at": INTENT.at + timedelta(hours=2)}, "the time differs"),
        ({"prompt": "a dog", "seed": 1}, "prompt and seed differ"),
        ({"prompt": "", "seed": None}, "neither its prompt nor its seed"),
    ],
)
def test_what_differs_is_named(changes, words):
    assert words in why_not_the_same(compared(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"created_at": INTENT.at - timedelta(minutes=5)},
        {"created_at": INTENT.at + timedelta(hours=1)},
        {"created_at": None},
        {"seed": None},
        {"prompt": ""},
        {"width": None},
    ],
)
def test_what_is_not_reported_speaks_against_nothing(changes):
    assert why_not_the_same(compared(**changes)) is None


@pytest.mark.parametrize(
    "reported",
    [
        "a  RED chair &amp; a blue\ttable in an empty room ",
        "A red chair & a blue",
        "A red chair & a blue table in an empty room",
    ],
)
def test_a_prompt_that_was_written_otherwise_or_cut_is_the_same(reported):
    assert why_not_the_same(compared(LONG, prompt=reported)) is None


def test_a_beginning_that_is_too_short_is_another_prompt():
    assert why_not_the_same(compared(LONG, prompt="A red chair & a blu")) == "the prompt differs"


def test_texts_of_the_account_are_shown_on_one_line_without_what_gives_access():
    prompt = compared(prompt="a\nb \x1b[31m https://x.example/y?X-Amz-Signature=abc")[0]
    assert prompt.generation == "a b [31m https://x.example/y?[hidden]"
