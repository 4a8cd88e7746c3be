"""Claims about the models' limits as data: they name their source, and a deployment can only tighten them."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedream_assets.config.models import (
    MODELS,
    SEEDREAM_4_0,
    SEEDREAM_4_5,
    SEEDREAM_STYLES,
    Limit,
    ModelCatalog,
    ModelSpec,
    TighterLimits,
    WireFormat,
    credits_for,
)
from seedream_assets.errors import BudgetError, ConfigError, LimitError

RANGES = ("prompt_characters", "width_px", "height_px", "quantity", "references", "seed")
CHOICES = ("allowed_styles", "prompt_enhance", "reference_types", "reference_strengths")
NUMBER = st.none() | st.integers(-5, 20_000) | st.sampled_from([0, 1, 8, 9, 31, 32, 9999, 10_000, 14142, 14143])
STYLE = st.sampled_from([*SEEDREAM_STYLES, *SEEDREAM_STYLES.values(), "none", "Anime", ""])
TIGHTER_LIMITS = st.builds(
    TighterLimits,
    largest_width=NUMBER,
    largest_height=NUMBER,
    largest_quantity=NUMBER,
    largest_prompt=NUMBER,
    allowed_styles=st.none() | st.lists(STYLE, max_size=4).map(tuple),
    allowed_models=st.none() | st.lists(st.sampled_from([*MODELS, "flux"]), max_size=3).map(tuple),
)


def allowed_range(limit: Limit) -> tuple[float, float]:
    return limit.low, limit.high


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_every_number_says_where_it_was_read_and_when(model: ModelSpec):
    limits = [getattr(model, name) for name in (*RANGES, "provider_pixels", "provider_ratio")]
    assert {limit.source.name for limit in limits} <= {"schema", "provider", "threads"}
    assert all(limit.source.read_on.year == 2026 for limit in limits)
    assert model.price is not None
    assert model.price.source.name in ("billed", "brief")


@pytest.mark.parametrize(
    ("name", "limit", "words"),
    [
        ("width_px", (32, 14142), "32–14142 px"),
        ("prompt_characters", (1, 9999), "1–9999 characters"),
        ("quantity", (1, 8), "1–8 images per request"),
        ("provider_ratio", (1 / 16, 16), "0.0625–16 width/height"),
    ],
)
def test_a_limit_reads_well_in_a_message(name, limit, words):
    assert allowed_range(getattr(SEEDREAM_4_0, name)) == limit
    assert str(getattr(SEEDREAM_4_0, name)) == words


def test_a_limit_allows_its_ends_and_nothing_that_is_no_number():
    limit = SEEDREAM_4_0.width_px
    assert [limit.allows(value) for value in (31, 31.9, 32, 14142, 14142.1)] == [False, False, True, True, False]
    assert not limit.allows(float("nan"))


@pytest.mark.parametrize("name", SEEDREAM_STYLES)
def test_a_style_is_known_by_its_name_in_any_case_and_by_its_uuid(name):
    for spelling in (name, name.upper(), f" {name.lower()} ", SEEDREAM_STYLES[name], SEEDREAM_STYLES[name].upper()):
        assert SEEDREAM_4_0.style_name(spelling) == name


@pytest.mark.parametrize("foreign", ["", "Anime", "8e2bc543-6ee2-45f9-bcd9-594b6ce84dcd"])
def test_a_style_of_another_model_is_refused(foreign):
    with pytest.raises(LimitError, match="allowed is one of None, Cinematic, Creative"):
        SEEDREAM_4_0.style_name(foreign)


@pytest.mark.parametrize(
    ("width", "height", "advice"),
    [
        (1280, 720, None),
        (4096, 4096, None),
        (1024, 1024, None),
        (1279, 720, "1279x720 has 920880 pixels; the provider serves 921600–16777216 pixels"),
        (4097, 4096, "4097x4096 has 16781312 pixels; the provider serves 921600–16777216 pixels"),
        (8000, 500, None),
        (8000, 499, "8000x499 has the ratio 16.03; the provider serves 0.0625–16 width/height"),
        (498, 8000, "498x8000 has the ratio 0.06225; the provider serves 0.0625–16 width/height"),
    ],
)
def test_a_size_that_the_provider_does_not_serve_well_is_told(width, height, advice):
    assert SEEDREAM_4_0.size_advice(width, height) == advice


@pytest.mark.parametrize(
    ("width", "height", "is_served"), [(1920, 1920, True), (2560, 1440, True), (1024, 1024, False)]
)
def test_the_larger_model_has_the_provider_s_own_smallest_size(width, height, is_served):
    assert (SEEDREAM_4_5.size_advice(width, height) is None) is is_served


def test_how_a_request_is_written_is_the_model_s_until_a_deployment_or_a_dataset_says_otherwise():
    deployment = TighterLimits(send_style="when_asked", send_seed="when_asked")
    models = ModelCatalog(deployment, TighterLimits(send_seed="always"))
    assert models["seedream-4.5"].wire == WireFormat(style="when_asked")
    assert ModelCatalog()["seedream-4.5"].wire == WireFormat(prompt_enhance="word", style="always", seed="always")


@pytest.mark.parametrize(
    ("limits", "attribute", "high"),
    [
        ({"largest_width": 32}, "width_px", 32),
        ({"largest_width": 14142}, "width_px", 14142),
        ({"largest_height": 2048}, "height_px", 2048),
        ({"largest_quantity": 1}, "quantity", 1),
        ({"largest_prompt": 1500}, "prompt_characters", 1500),
    ],
)
def test_a_deployment_can_tighten_a_limit(limits, attribute, high):
    for model in ModelCatalog(TighterLimits(**limits)).values():
        assert allowed_range(getattr(model, attribute)) == (getattr(MODELS[model.name], attribute).low, high)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"largest_width": 14143}, "largest_width: got 14143, allowed for seedream-4.0 is 32–14142 px"),
        ({"largest_width": 31}, "largest_width: got 31"),
        ({"largest_height": 14143}, "largest_height: got 14143"),
        ({"largest_quantity": 9}, "largest_quantity: got 9"),
        ({"largest_quantity": 0}, "largest_quantity: got 0"),
        ({"largest_prompt": 10_000}, "largest_prompt: got 10000"),
        ({"allowed_styles": ("Anime",)}, "allowed_styles: style: got 'Anime'"),
        ({"allowed_styles": ()}, "allowed_styles: got none"),
        (
            {"allowed_models": ("flux",)},
            r"allowed_models: got \['flux'\], allowed is any of seedream-4.0, seedream-4.5",
        ),
        ({"allowed_models": ()}, r"allowed_models: got \[\]"),
    ],
)
def test_a_deployment_cannot_loosen_a_limit_or_leave_nothing(limits, message):
    with pytest.raises(ConfigError, match=message):
        ModelCatalog(TighterLimits(**limits))


@given(TIGHTER_LIMITS)
def test_tighter_limits_are_refused_or_allow_a_part_of_what_the_models_allow(limits):
    try:
        catalog = ModelCatalog(limits)
    except ConfigError:
        return
    assert 0 < len(catalog) <= len(MODELS)
    for name, model in catalog.items():
        own = MODELS[name]
        for attribute in RANGES:
            low, high = allowed_range(getattr(model, attribute))
            assert getattr(own, attribute).low <= low <= high <= getattr(own, attribute).high
        for attribute in CHOICES:
            assert getattr(model, attribute)
            assert set(getattr(model, attribute)) <= set(getattr(own, attribute))
        assert model.price == own.price


def test_allowed_styles_are_kept_in_their_order_under_the_preset_s_own_names():
    limits = TighterLimits(allowed_styles=("vibrant", SEEDREAM_STYLES["None"], "Vibrant"))
    model = ModelCatalog(limits).find("seedream-4.0")
    assert model.allowed_styles == ("Vibrant", "None")
    with pytest.raises(LimitError, match="one of Vibrant, None"):
        model.style_name("Cinematic")


def test_a_model_that_the_deployment_does_not_allow_is_refused_by_name():
    catalog = ModelCatalog(TighterLimits(allowed_models=("seedream-4.5",)))
    assert list(catalog) == ["seedream-4.5"]
    assert catalog["seedream-4.5"] is catalog.find("seedream-4.5")
    with pytest.raises(LimitError, match=r"model: got 'seedream-4\.0', allowed is one of seedream-4\.5"):
        catalog.find("seedream-4.0")


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
@pytest.mark.parametrize(("images", "credits"), [(0, 0), (1, 28), (8, 224)])
def test_a_quote_is_28_credits_per_image(model, images, credits):
    assert credits_for(model, images) == credits


def test_an_unknown_price_is_refused_and_not_taken_for_zero():
    with pytest.raises(BudgetError, match=r"the price of seedream-4\.0 is not known"):
        credits_for(replace(SEEDREAM_4_0, price=None), 1)


def test_another_package_brings_a_model_of_its_own(tmp_path: Path) -> None:
    """In a process of its own: entry points are looked at once."""
    described = tmp_path / "their_package-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[seedream_assets.models]\ntheirs = their_models:THEIRS\n")
    (tmp_path / "their_models.py").write_text(
        "from dataclasses import replace\n"
        "from seedream_assets.config.models import SEEDREAM_4_5, Limit\n"
        "THEIRS = replace(SEEDREAM_4_5, name='their-model', default_width_px=512)\n"
    )
    (tmp_path / "dataset.yaml").write_text("name: a\nprompts: {table: p.csv}\nrecipe: {model: their-model}\n")
    (tmp_path / "wrong.yaml").write_text("name: a\nprompts: {table: p.csv}\nrecipe: {model: my-model}\n")
    script = (
        "import pathlib, seedream_assets\n"
        "print(seedream_assets.load_config(pathlib.Path('dataset.yaml')).recipe.model)\n"
        "try:\n    seedream_assets.load_config(pathlib.Path('wrong.yaml'))\n"
        "except seedream_assets.ConfigError as error:\n    print(error)\n"
    )
    root = str(Path(__file__).parents[2])
    printed = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((root, str(tmp_path)))},
    )
    assert printed.stdout.splitlines() == [
        "their-model",
        "wrong.yaml:3: recipe.model: got 'my-model', allowed is one of seedream-4.0, seedream-4.5, their-model",
    ]
