"""The emulator accepts what the documented schema accepts, and refuses the rest in the vendor's envelope."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedream_assets.emulator.settings import Accepts
from seedream_assets.emulator.validation import InvalidRequestError, read_create
from seedream_assets_tests.emulator import documented_schemas as documented
from seedream_assets_tests.emulator.caller import Caller, make_body
from seedream_assets_tests.emulator.documented_schemas import CREATE_REQUEST, assert_documented, is_documented

SOME_ID = "0b6d2f0e-8a51-4f5e-9d27-3c1f6f0b7a11"
URL_REFERENCE = {"image": {"type": "URL", "url": "https://example.org/a.jpg"}}

PASSES: list[dict[str, Any]] = [
    {},
    {"prompt": "x"},
    {"prompt": "x" * 9999},
    {"prompt": "狐 🦊"},
    {"width": 32, "height": 14142},
    {"width": 2048.0},
    {"quantity": 1},
    {"quantity": 8},
    {"seed": 0},
    {"seed": 2147483638},
    {"style_ids": []},
    *({"style_ids": [style]} for style in documented.STYLE_IDS),
    *({"prompt_enhance": word} for word in ("AUTO", "ON", "OFF")),
    {"guidances": {}},
    {"guidances": {"image_reference": [URL_REFERENCE] * 6}},
    {"guidances": {"image_reference": [{"image": {"type": "BASE64", "data": "aGk="}, "strength": "LOW", "order": 0}]}},
]

FAILS: list[tuple[dict[str, Any], str]] = [
    ({"prompt": ""}, "parameters.prompt must be at least 1"),
    ({"prompt": "x" * 10_000}, "parameters.prompt must be at most 9999"),
    ({"prompt": 5}, "parameters.prompt must be a string"),
    ({"prompt": None}, "parameters.prompt must be a string"),
    ({"width": 31}, "parameters.width must be at least 32"),
    ({"height": 14143}, "parameters.height must be at most 14142"),
    ({"width": 512.5}, "parameters.width must be an integer"),
    ({"width": "512"}, "parameters.width must be an integer"),
    ({"quantity": 0}, "parameters.quantity must be at least 1"),
    ({"quantity": 9}, "parameters.quantity must be at most 8"),
    ({"quantity": True}, "parameters.quantity must be an integer"),
    ({"seed": -1}, "parameters.seed must be at least 0"),
    ({"seed": 2147483639}, "parameters.seed must be at most 2147483638"),
    ({"style_ids": [documented.STYLE_IDS[0], documented.STYLE_IDS[1]]}, "Validation failed"),
    ({"style_ids": [SOME_ID]}, "Validation failed"),
    ({"style_ids": documented.STYLE_IDS[0]}, "Validation failed"),
    ({"prompt_enhance": True}, "parameters.prompt_enhance must be one of"),
    ({"prompt_enhance": "on"}, "parameters.prompt_enhance must be one of: 'AUTO', 'ON' or 'OFF'"),
    ({"negative_prompt": "x"}, "parameters.negative_prompt is not allowed"),
    ({"num_images": 1}, "parameters.num_images is not allowed"),
    ({"guidances": {"image_reference": [URL_REFERENCE] * 7}}, "must have at most 6 items"),
    ({"guidances": {"style_reference": []}}, "parameters.guidances.style_reference is not allowed"),
    ({"guidances": {"image_reference": [{**URL_REFERENCE, "strength": "MAX"}]}}, "strength has an invalid format"),
    ({"guidances": {"image_reference": [{"image": {"type": "UPLOADED"}}]}}, "image.id is required"),
    ({"guidances": {"image_reference": [{"image": {"type": "UPLOADED", "id": "7"}}]}}, "has an invalid format"),
    ({"guidances": {"image_reference": [{"image": {"type": "FILE", "id": SOME_ID}}]}}, "type must be one of"),
]


@pytest.mark.parametrize("parameters", PASSES, ids=lambda parameters: str(parameters)[:60])
def test_what_is_documented_is_accepted(caller: Caller, parameters: dict[str, Any]) -> None:
    body = make_body(**{"prompt": "A mug", **parameters})

    assert_documented(body, CREATE_REQUEST)
    assert_documented(caller.http.post("/v2/generations", json=body).json(), documented.ACCEPTED)


@pytest.mark.parametrize(("parameters", "text"), FAILS, ids=lambda value: str(value)[:60])
def test_what_is_not_documented_is_refused_with_an_array_and_status_200(
    caller: Caller, parameters: dict[str, Any], text: str
) -> None:
    body = make_body(**{"prompt": "A mug", **parameters})
    answer = caller.http.post("/v2/generations", json=body)

    assert not is_documented(body, CREATE_REQUEST)
    assert answer.status_code == 200
    assert_documented(answer.json(), documented.ARRAY_ERROR)
    assert answer.json()[0]["extensions"]["code"] == "VALIDATION_ERROR"
    assert text in answer.json()[0]["extensions"]["details"]["errors"][0]["message"]
    assert caller.bill()["credits"] == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"public": None}, "Validation failed"),
        ({"public": "false"}, "Validation failed"),
        ({"model": "seedream-9"}, "model must be one of: 'seedream-4.0' or 'seedream-4.5'"),
        ({"parameters": None}, "parameters is required"),
        ({"ephemeral": True}, "ephemeral is not allowed"),
    ],
)
def test_the_envelope_is_checked_as_strictly_as_its_content(caller: Caller, change: dict[str, Any], text: str) -> None:
    body = {name: value for name, value in {**make_body(), **change}.items() if value is not None}

    answer = caller.http.post("/v2/generations", json=body)

    assert answer.status_code == 200
    assert_documented(answer.json(), documented.ARRAY_ERROR)
    assert answer.json()[0]["extensions"]["details"]["errors"][0]["message"] == text


def test_a_body_that_is_no_object_is_refused(caller: Caller) -> None:
    assert_documented(caller.http.post("/v2/generations", json=[1]).json(), documented.ARRAY_ERROR)


@pytest.mark.parametrize("model", ["seedream-4.0", "seedream-4.5"])
def test_defaults_are_the_documented_ones(caller: Caller, model: str) -> None:
    body = {"model": model, "public": True, "parameters": {"prompt": "A mug"}}

    assert_documented(caller.http.post("/v2/generations", json=body).json(), documented.ACCEPTED)

    line = caller.bill()["details"][0]
    side = documented.DEFAULT_SIDE[model]
    assert (line["width"], line["height"], line["quantity"]) == (side, side, documented.DEFAULT_QUANTITY)
    assert line["style_ids"] == [documented.DEFAULT_STYLE_ID]
    assert line["prompt_enhance"] == documented.DEFAULT_PROMPT_ENHANCE
    assert (line["model"], line["public"], line["seed"]) == (model, True, None)


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 20_000),
    st.sampled_from([0, 1, 8, 9, 31, 32, 14142, 14143, 2147483638, 2147483639, 64.0, 64.5, 1e300]),
    st.text(max_size=12),
    st.sampled_from(["AUTO", "ON", "OFF", "LOW", "seedream-4.5", "URL", "UPLOADED", SOME_ID, *documented.STYLE_IDS]),
    st.lists(st.sampled_from([*documented.STYLE_IDS, "x", 1]), max_size=3),
    st.just({}),
    st.just({"image_reference": [URL_REFERENCE]}),
)
PLACES = [
    ("model",),
    ("public",),
    ("parameters",),
    ("other",),
    *(("parameters", name) for name in ["prompt", "width", "quantity", "seed", "style_ids", "prompt_enhance", "mode"]),
    ("parameters", "guidances"),
    ("parameters", "guidances", "image_reference"),
    ("parameters", "guidances", "image_reference", 0, "strength"),
    ("parameters", "guidances", "image_reference", 0, "order"),
    ("parameters", "guidances", "image_reference", 0, "image", "type"),
    ("parameters", "guidances", "image_reference", 0, "image", "id"),
    ("parameters", "guidances", "image_reference", 0, "image", "url"),
]


def is_read(body: Any) -> bool:
    try:
        read_create(body, Accepts())
    except InvalidRequestError:
        return False
    return True


@settings(max_examples=300, deadline=None)
@given(place=st.sampled_from(PLACES), junk=JUNK)
def test_the_emulators_reading_of_the_schema_agrees_with_the_independent_one(place: tuple[Any, ...], junk: Any) -> None:
    body: Any = make_body(guidances={"image_reference": [copy.deepcopy(URL_REFERENCE)]})
    target = body
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = junk

    assert is_read(body) == is_documented(body, CREATE_REQUEST)


def test_the_older_reference_types_are_taken_too() -> None:
    for kind in ("INIT", "GENERATION"):
        body = make_body(guidances={"image_reference": [{"image": {"type": kind, "id": SOME_ID}}]})
        assert is_read(body)
