"""Claims about names of settings: another tool's name and a slip are answered with the name to write, a word is left alone."""

import json

import pytest

from seedream_assets.config.models import MODELS
from seedream_assets.config.prompts import Recipe, advice_on_name
from seedream_assets.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("style_ids", "[…]", "Leonardo's API has this name for style; write style"),
        ("styleIds", "[…]", "write style"),
        ("modelId", "b24e16ff", "write model"),
        ("image_reference", "{}", "write references"),
        ("strength", "0.5", "write reference_strength: LOW, MID or HIGH"),
        ("n", "4", "OpenAI's API has this name for quantity"),
        ("--ar", "16:9", "Midjourney has this name for width and height; write width and height, in pixels"),
        ("Aspect Ratio", "wide", "write width and height, in pixels"),
        ("size", "1024x1536", "in pixels"),
        ("CFG Scale", "7", "it is a setting of Stable Diffusion, and nothing here is like it"),
        ("negative_prompt", "people", "write into the prompt what must not be seen"),
        ("prompt enhance", "ON", "the setting is written prompt_enhance"),
        ("promptId", "a1", "the setting is written prompt_id"),
        ("parameters.seed", "7", "the setting is written seed"),
        ("stlye", "Cinematic", "did you mean style?"),
        ("heigth", "512", "did you mean height?"),
        ("hight", "512", "did you mean height?"),
        ("widht", "512", "did you mean width?"),
        ("quantiy", "2", "did you mean quantity?"),
        ("reference_strenght", "LOW", "did you mean reference_strength?"),
    ],
)
def test_what_looks_like_a_setting_is_answered_with_the_name_to_write(name: str, value: str, advice: str) -> None:
    assert advice in str(advice_on_name(name, value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((word, "x") for word in ("title", "weight", "quality", "mode", "with", "stale", "speed", "note", "category")),
        *((word, "x") for word in ("prompt_it", "prompt_enhanced", "reference_id", "preferences", "stylist", "count")),
        # Ordinary words, with what ordinary cells hold.
        *(("n", "noun"), ("steps", "Stir. Pour."), ("size", "XL"), ("ratio", "high"), ("strength", "grip")),
        ("Größe", "5"),
        ("", ""),
    ],
)
def test_an_ordinary_word_is_no_slip(name: str, value: str) -> None:
    assert advice_on_name(name, value) is None


def test_another_name_for_what_is_given_is_no_slip() -> None:
    assert advice_on_name("aspect_ratio", "16:9", given=("width", "height")) is None
    assert advice_on_name("aspect_ratio", "16:9", given=("width",)) is not None
    assert advice_on_name("styles", "many", given=("style",)) is None
    assert advice_on_name("negative_prompt", "people", given=("prompt",)) is not None


def test_the_recipe_refuses_such_a_name_with_the_same_advice_and_everything_else_that_is_wrong() -> None:
    with pytest.raises(ConfigError) as refused:
        Recipe(num_images=4, prompt=1, stlye="None", width=3)
    assert str(refused.value).splitlines() == [
        "width: got 3, allowed is 32–14142 px",
        "num_images: there is no such key here: Leonardo's API has this name for quantity; write quantity",
        "prompt: there is no such key here",
        "stlye: there is no such key here: did you mean style?",
    ]


def test_references_of_the_recipe_are_written_as_in_a_cell() -> None:
    recipe = Recipe(references=("a.png", {"source": "b.png", "strength": "high"}), reference_strength="LOW")
    cell = recipe.cells(MODELS["seedream-4.0"])["references"]
    assert json.loads(cell) == ["a.png", {"source": "b.png", "strength": "high"}]
    for wrong, message in (({"source": "b.png", "size": "x"}, "an object has source"), (3, "references.0: got 3")):
        with pytest.raises(ConfigError, match=message):
            Recipe(references=(wrong,))
