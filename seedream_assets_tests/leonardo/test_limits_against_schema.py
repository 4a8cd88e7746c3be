"""Claims about the limits and an independent reading of the vendor's schema: what the limits allow, the schema allows.

The schema is transcribed from the vendor's documents by hand and shares no code with the limits.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedream_assets.config.models import MODELS, PROMPT_ENHANCE, REFERENCE_STRENGTHS, REFERENCE_TYPES, SEEDREAM_STYLES
from seedream_assets.errors import LimitError
from seedream_assets.leonardo.requests import GenerationRequest, Reference, make_request
from seedream_assets.leonardo.wire import create_body
from seedream_assets_tests.emulator.documented_schemas import CREATE_REQUEST, assert_documented, is_documented
from seedream_assets_tests.support.builders import make_paid_request, make_spec

LEONARDO_ID = "0a1b2c3d-0000-4000-8000-123456789abc"
# INIT and GENERATION stand in an older page of the vendor's only, so the schema of the newest document refuses them.
# They are let through for accounts that hold such ids; everything else must fit the newest document.
ONLY_IN_THE_OLDER_PAGE = ("INIT", "GENERATION")
NEWEST_TYPES = [kind for kind in REFERENCE_TYPES if kind not in ONLY_IN_THE_OLDER_PAGE]


def around(low: int, high: int) -> st.SearchStrategy[int]:
    """Numbers inside, outside, and on both sides of both ends."""
    return st.integers(low - 3, high + 3) | st.sampled_from([low - 1, low, high, high + 1])


def references(types: list[str], strengths: list[str], most: int) -> st.SearchStrategy[tuple[Reference, ...]]:
    known = st.builds(
        Reference, leonardo_id=st.just(LEONARDO_ID), type=st.sampled_from(types), strength=st.sampled_from(strengths)
    )
    uploaded = st.builds(Reference, sha256=st.just("ab" * 32), strength=st.sampled_from(strengths))
    return st.lists(known | uploaded, max_size=most).map(tuple)


PROMPT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
USUAL = {
    "model": st.sampled_from([*MODELS]),
    "prompt": st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    "width": st.integers(32, 14142),
    "height": st.integers(32, 14142),
    "style": st.sampled_from([*SEEDREAM_STYLES]),
    "prompt_enhance": st.sampled_from([*PROMPT_ENHANCE]),
    "seed": st.none() | st.integers(0, 2_147_483_600),
    "references": references(NEWEST_TYPES, [*REFERENCE_STRENGTHS], 6),
    "count": st.integers(1, 8),
    "start": st.sampled_from([0, 8, 16]),
    "public": st.booleans(),
}
DARING = USUAL | {
    "prompt": PROMPT | st.sampled_from(["", "x" * 9999, "🐻" * 9999, "x" * 10_000]),
    "width": around(32, 14142),
    "height": around(32, 14142),
    "style": st.sampled_from([*SEEDREAM_STYLES, *SEEDREAM_STYLES.values(), "Anime"]),
    "prompt_enhance": st.sampled_from([*PROMPT_ENHANCE, "off"]),
    "seed": around(0, 2_147_483_638),
    "references": references([*NEWEST_TYPES, "URL", "BASE64", "photo"], [*REFERENCE_STRENGTHS, "ULTRA"], 7),
    "count": around(1, 8),
}


@st.composite
def asked(draw: st.DrawFn) -> dict[str, Any]:
    """Usual values, but for at most two that may lie outside the limits."""
    daring = draw(st.sets(st.sampled_from([*USUAL]), max_size=2))
    return {name: draw((DARING if name in daring else USUAL)[name]) for name in USUAL}


def body_of(request: GenerationRequest) -> dict[str, object]:
    ids = {reference.sha256: LEONARDO_ID for reference in request.spec.references if reference.sha256}
    return create_body(request, model=MODELS[request.spec.model], reference_ids=ids)


@given(asked())
@settings(max_examples=300, deadline=None)
def test_no_request_that_the_limits_let_through_is_refused_by_the_schema(values):
    model = MODELS[values["model"]]
    spec = make_spec(**{name: value for name, value in values.items() if name not in ("count", "start", "public")})
    how = {name: values[name] for name in ("count", "start", "public")}
    try:
        request = make_request(spec, model=model, **how)
    except LimitError:
        return
    assert_documented(body_of(request), CREATE_REQUEST)


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
@pytest.mark.parametrize(
    ("parameter", "limit"),
    [
        ("prompt", "prompt_characters"),
        ("width", "width_px"),
        ("height", "height_px"),
        ("quantity", "quantity"),
        ("seed", "seed"),
    ],
)
def test_the_limits_are_as_wide_as_the_schema(model, parameter, limit):
    body = body_of(make_paid_request(model=model))
    allowed = getattr(model, limit)
    for value, fits in (
        (allowed.low - 1, False),
        (allowed.low, True),
        (allowed.high, True),
        (allowed.high + 1, False),
    ):
        parameters = body["parameters"] | {parameter: "x" * max(0, value) if parameter == "prompt" else value}
        assert is_documented(body | {"parameters": parameters}, CREATE_REQUEST) == fits


@pytest.mark.parametrize("kind", REFERENCE_TYPES)
def test_only_the_older_page_s_reference_types_are_unknown_to_the_newest_schema(kind):
    request = make_paid_request(references=(Reference(leonardo_id=LEONARDO_ID, type=kind),))
    assert is_documented(body_of(request), CREATE_REQUEST) == (kind not in ONLY_IN_THE_OLDER_PAGE)
