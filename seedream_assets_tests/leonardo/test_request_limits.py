"""Claims about the last gate before the wire: every limit has a request that passes and one that fails."""

from dataclasses import replace
from typing import Any

import pytest

from seedream_assets.config.models import (
    MODELS,
    REFERENCE_STRENGTHS,
    REFERENCE_TYPES,
    SEEDREAM_STYLES,
    ModelCatalog,
    ModelSpec,
    TighterLimits,
)
from seedream_assets.errors import LimitError
from seedream_assets.leonardo.requests import GenerationRequest, Reference, refuse_outside_limits
from seedream_assets_tests.support.builders import make_paid_request, make_spec

LEONARDO_ID = "0a1b2c3d-0000-4000-8000-123456789abc"
LARGEST_SEED = 2_147_483_638


def references(number: int = 1, **changes: str) -> tuple[Reference, ...]:
    return tuple(Reference(leonardo_id=LEONARDO_ID, **changes) for _ in range(number))


# What is asked for beside the defaults; the parameter that refuses it, None where it is allowed.
ROWS: list[tuple[dict[str, Any], str | None]] = [
    ({"prompt": "x"}, None),
    ({"prompt": ""}, "prompt"),
    ({"prompt": "x" * 9999}, None),
    ({"prompt": "x" * 10_000}, "prompt"),
    ({"prompt": "🐻" * 9999}, None),
    ({"prompt": "🐻" * 10_000}, "prompt"),
    *(({side: 32}, None) for side in ("width", "height")),
    *(({side: 31}, side) for side in ("width", "height")),
    *(({side: 14142}, None) for side in ("width", "height")),
    *(({side: 14143}, side) for side in ("width", "height")),
    ({"count": 1}, None),
    ({"count": 0}, "quantity"),
    ({"count": 8}, None),
    ({"count": 9}, "quantity"),
    ({"references": ()}, None),
    ({"references": references(6)}, None),
    ({"references": references(7)}, "references"),
    *(({"references": references(type=kind)}, None) for kind in REFERENCE_TYPES),
    *(({"references": references(type=kind)}, "references") for kind in ("URL", "BASE64", "uploaded", "")),
    *(({"references": references(strength=strength)}, None) for strength in REFERENCE_STRENGTHS),
    *(({"references": references(strength=strength)}, "reference_strength") for strength in ("ULTRA", "mid", "")),
    ({"seed": 0}, None),
    ({"seed": -1}, "seed"),
    ({"seed": LARGEST_SEED}, None),
    ({"seed": LARGEST_SEED + 1}, "seed"),
    ({"seed": LARGEST_SEED - 8, "start": 8}, None),
    ({"seed": LARGEST_SEED - 7, "start": 8}, "seed"),
    *(({"style": name}, None) for name in SEEDREAM_STYLES),
    *(({"style": style}, "style") for style in ("Anime", "none", "", *SEEDREAM_STYLES.values())),
    *(({"prompt_enhance": word}, None) for word in ("OFF", "ON", "AUTO")),
    *(({"prompt_enhance": word}, "prompt_enhance") for word in ("off", "MAYBE", "")),
]


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
@pytest.mark.parametrize(("asked", "refused_by"), ROWS, ids=lambda value: str(value)[:50])
def test_every_limit_lets_its_end_pass_and_refuses_the_next_value(
    model: ModelSpec, asked: dict[str, Any], refused_by: str | None
):
    if refused_by is None:
        assert make_paid_request(model=model, **asked).spec.model == model.name
        return
    with pytest.raises(LimitError) as refusal:
        make_paid_request(model=model, **asked)
    assert refusal.value.name == refused_by
    assert refusal.value.fix


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
@pytest.mark.parametrize("name", SEEDREAM_STYLES)
def test_every_style_passes_by_its_uuid_once_it_has_its_name(model: ModelSpec, name: str):
    spec = make_paid_request(model=model, style=model.style_name(SEEDREAM_STYLES[name])).spec
    assert spec.style == name


def test_a_request_for_one_model_is_not_let_through_by_another():
    request = make_paid_request(model=MODELS["seedream-4.0"])
    with pytest.raises(LimitError, match=r"model: got 'seedream-4\.0', allowed is seedream-4\.5; ask for this model"):
        refuse_outside_limits(request, MODELS["seedream-4.5"])


@pytest.mark.parametrize(
    ("limits", "at_the_limit", "refused_by"),
    [
        ({"largest_width": 1024}, {"width": 1024}, "width"),
        ({"largest_height": 1024}, {"height": 1024}, "height"),
        ({"largest_prompt": 20}, {"prompt": "x" * 20}, "prompt"),
        ({"largest_quantity": 4}, {"count": 4}, "quantity"),
        ({"allowed_styles": ("Vibrant",)}, {"style": "Vibrant"}, "style"),
    ],
)
def test_a_deployment_s_own_limits_are_held_like_the_model_s(limits, at_the_limit, refused_by):
    model = ModelCatalog(TighterLimits(**limits)).find("seedream-4.0")
    assert make_paid_request(model=model, **at_the_limit).count
    beyond = {"width": 1025, "height": 1025, "prompt": "x" * 21, "count": 5, "style": "None"}
    (name,) = at_the_limit
    with pytest.raises(LimitError) as refusal:
        make_paid_request(model=model, **{name: beyond[name]})
    assert refusal.value.name == refused_by


def test_a_request_that_was_not_made_here_is_judged_like_any_other():
    request = GenerationRequest(spec=make_spec(), start=0, count=8, seed=LARGEST_SEED)
    refuse_outside_limits(request, MODELS["seedream-4.0"])
    with pytest.raises(LimitError, match="seed: got 2147483639"):
        refuse_outside_limits(replace(request, seed=LARGEST_SEED + 1), MODELS["seedream-4.0"])
