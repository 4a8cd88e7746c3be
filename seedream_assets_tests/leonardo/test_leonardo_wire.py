"""The JSON of a create, held against an independent reading of the documents, and what is read out of any answer."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedream_assets.config.models import MODELS, SEEDREAM_4_0, WireFormat
from seedream_assets.errors import LeonardoRefused
from seedream_assets.leonardo import wire
from seedream_assets.leonardo.generations import Cost, GenerationStatus, Submission
from seedream_assets.leonardo.requests import GenerationRequest, GenerationSpec, Reference, make_request
from seedream_assets_tests.emulator.documented_schemas import CREATE_REQUEST, assert_documented
from seedream_assets_tests.leonardo.making import ACCEPTED, GENERATION_ID, make_paid_request

UPLOADED_ID = "0b6d2f0e-8a51-4f5e-9d27-3c1f6f0b7a11"


def with_older_reference_types() -> dict[str, Any]:
    """The documented request, with two words more: an older page of the vendor, still online, lists INIT and GENERATION.

    The newer schema has dropped them, the account decides what it takes; core lets both readings through.
    """
    schema = copy.deepcopy(CREATE_REQUEST)
    parameters = schema["properties"]["parameters"]["properties"]
    image = parameters["guidances"]["properties"]["image_reference"]["items"]["properties"]["image"]
    image["properties"]["type"]["enum"] += ["INIT", "GENERATION"]
    return schema


DOCUMENTED_TODAY = ("UPLOADED", "GENERATED", "VARIATION")


@st.composite
def paid_requests(draw: st.DrawFn, *, types: tuple[str, ...] | None = None) -> GenerationRequest:
    """Every request that core lets through."""
    model = draw(st.sampled_from(list(MODELS.values())))
    strengths = st.sampled_from(model.reference_strengths)
    by_id = st.builds(
        Reference,
        leonardo_id=st.uuids().map(str),
        type=st.sampled_from(types or model.reference_types),
        strength=strengths,
    )
    by_hash = st.builds(Reference, sha256=st.binary(min_size=32, max_size=32).map(bytes.hex), strength=strengths)

    def between(name: str) -> st.SearchStrategy[int]:
        limit = getattr(model, name)
        return st.integers(int(limit.low), int(limit.high))

    start = draw(st.integers(0, 1000))
    spec = GenerationSpec(
        model=model.name,
        prompt=draw(st.text(min_size=1, max_size=200) | st.just("é" * int(model.prompt_characters.high))),
        width=draw(between("width_px")),
        height=draw(between("height_px")),
        style=draw(st.sampled_from(model.allowed_styles)),
        prompt_enhance=draw(st.sampled_from(model.prompt_enhance)),
        references=tuple(draw(st.lists(by_id | by_hash, max_size=int(model.references.high)))),
        seed=draw(st.none() | st.integers(0, int(model.seed.high) - start)),
    )
    return make_request(spec, start=start, count=draw(between("quantity")), model=model, public=draw(st.booleans()))


def body_of(request: GenerationRequest) -> dict[str, Any]:
    ids = {reference.sha256: UPLOADED_ID for reference in request.spec.references if reference.sha256}
    return wire.create_body(request, model=MODELS[request.spec.model], reference_ids=ids)


@given(paid_requests(types=DOCUMENTED_TODAY))
def test_every_request_that_core_lets_through_is_what_the_documents_ask_for(request_: GenerationRequest) -> None:
    assert_documented(json.loads(json.dumps(body_of(request_))), CREATE_REQUEST)


@given(paid_requests())
def test_older_reference_types_are_sent_as_the_older_page_has_them(request_: GenerationRequest) -> None:
    assert_documented(json.loads(json.dumps(body_of(request_))), with_older_reference_types())


@given(paid_requests())
def test_nothing_is_left_to_the_defaults_of_the_server(request_: GenerationRequest) -> None:
    body = body_of(request_)
    assert body["public"] is request_.public
    assert {"prompt", "width", "height", "quantity", "seed", "prompt_enhance", "style_ids"} <= set(body["parameters"])
    assert body["parameters"]["prompt_enhance"] in ("OFF", "ON", "AUTO")


def spec_request(**changes: Any) -> GenerationRequest:
    values: dict[str, Any] = {"model": "seedream-4.0", "prompt": "a cat", "width": 1024, "height": 1024}
    spec = GenerationSpec(**(values | {"style": "None", "prompt_enhance": "OFF"} | changes))
    return make_request(spec, start=0, count=1, model=SEEDREAM_4_0)


@pytest.mark.parametrize(
    ("form", "sent"),
    [
        ({}, {"OFF": "OFF", "ON": "ON", "AUTO": "AUTO"}),
        ({"prompt_enhance": "boolean"}, {"OFF": False, "ON": True, "AUTO": None}),
        ({"prompt_enhance": "omit_when_off"}, {"OFF": None, "ON": "ON", "AUTO": "AUTO"}),
    ],
)
def test_prompt_enhance_is_written_as_the_model_says(form: dict[str, Any], sent: dict[str, Any]) -> None:
    model = replace(SEEDREAM_4_0, wire=WireFormat(**form))
    for word, value in sent.items():
        body = wire.create_body(spec_request(prompt_enhance=word), model=model, reference_ids={})
        assert body["parameters"].get("prompt_enhance") == value


@pytest.mark.parametrize(
    ("changes", "message", "advice"),
    [
        (
            {},
            "parameters.prompt_enhance must be a boolean",
            "set leonardo.send_prompt_enhance: boolean or omit_when_off (it is word)",
        ),
        (
            {"prompt_enhance": "ON"},
            "parameters.prompt_enhance must be a boolean",
            "set leonardo.send_prompt_enhance: boolean (it is word)",
        ),
        ({"prompt_enhance": "AUTO"}, "parameters.prompt_enhance must be one of: OFF", None),
        ({}, "parameters.seed is not allowed", "set leonardo.send_seed: when_asked (it is always)"),
        ({"seed": 7}, "parameters.seed is not allowed", None),
        ({}, "Validation failed", "set leonardo.send_style: when_asked (it is always)"),
        ({"style": "Dynamic"}, "Validation failed", None),
        ({}, "parameters.width must be at least 480", None),
    ],
)
def test_a_refusal_names_a_setting_only_where_it_would_change_the_request(
    changes: dict[str, Any], message: str, advice: str | None
) -> None:
    error = LeonardoRefused(message, code="VALIDATION_ERROR")
    assert wire.advise_on_form(error, spec_request(**changes), model=SEEDREAM_4_0) == advice


def test_a_reference_by_content_is_sent_by_its_uploaded_id_whatever_its_type_says() -> None:
    reference = Reference(sha256="ab" * 32, type="GENERATED", strength="HIGH")
    sent = body_of(make_paid_request(references=(reference,)))["parameters"]["guidances"]["image_reference"]
    assert sent == [{"image": {"id": UPLOADED_ID, "type": "UPLOADED"}, "strength": "HIGH"}]


def test_without_references_there_are_no_guidances() -> None:
    assert "guidances" not in body_of(make_paid_request())["parameters"]


COST = Cost(amount=Decimal("0.0838"), unit="DOLLARS")
UUID_4, UUID_7 = "3f0e8a37-9f7f-4f2d-8b6d-2f0e8a514f5e", "018f9f7f-6b4f-7d10-9d27-3c1f6f0b7a11"


@pytest.mark.parametrize(
    ("reply", "generation_id", "cost"),
    [
        (ACCEPTED, GENERATION_ID, COST),
        ({"generationId": GENERATION_ID, "apiCreditCost": 28}, GENERATION_ID, Cost(amount=Decimal(28), unit="CREDITS")),
        ({"sdGenerationJob": ACCEPTED["generate"]}, GENERATION_ID, COST),
        ({"generate": {"generationId": UUID_4}, "generationId": UUID_7}, UUID_4, None),
        ({"generationId": UUID_7, "sdGenerationJob": {"generationId": UUID_4}}, UUID_7, None),
        ({"generate": {"generationId": UUID_7}, "errors": [{"message": "odd"}]}, UUID_7, None),
        ({"data": ACCEPTED, "errors": [{"message": "odd"}]}, GENERATION_ID, COST),
        ([{"message": "odd"}, ACCEPTED], GENERATION_ID, COST),
        ({"generate": {"generationId": f" {UUID_4} "}}, UUID_4, None),
        ({"generate": {"generationId": "not a uuid"}}, "not a uuid", None),
    ],
)
def test_an_id_is_found_nested_then_flat_then_as_v1_has_it_then_anywhere(
    reply: Any, generation_id: str, cost: Cost | None
) -> None:
    assert wire.read_submission(reply) == Submission(generation_id=generation_id, cost=cost)


@pytest.mark.parametrize(
    "reply",
    [None, "OK", 3, [], {}, {"generate": None}, {"generate": {"generationId": None}}, {"generationId": ""}]
    + [{"generate": {"generationId": " "}}, {"generationId": 7}, {"generate": ["x"]}],
)
def test_without_an_id_there_is_no_submission(reply: Any) -> None:
    assert wire.read_submission(reply) is None


@pytest.mark.parametrize(
    ("form", "cost"),
    [
        ({"cost": {"amount": "28", "unit": "CREDITS"}}, Cost(amount=Decimal(28), unit="CREDITS")),
        ({"cost": {"amount": "28", "unit": "credits"}}, Cost(amount=Decimal(28), unit="CREDITS")),
        ({"cost": {"amount": 0.25, "unit": "DOLLARS"}}, Cost(amount=Decimal("0.25"), unit="DOLLARS")),
        ({"cost": {"amount": "0", "unit": "DOLLARS"}}, Cost(amount=Decimal(0), unit="DOLLARS")),
        ({"cost": {"amount": "28", "unit": "CREDITS"}, "apiCreditCost": 9}, Cost(amount=Decimal(28), unit="CREDITS")),
        ({"apiCreditCost": 9}, Cost(amount=Decimal(9), unit="CREDITS")),
        ({"apiCreditCost": 0}, None),
        ({"apiCreditCost": -9}, None),
        ({"apiCreditCost": True}, None),
        ({"cost": {"amount": "-1", "unit": "CREDITS"}}, None),
        ({"cost": {"amount": "28"}}, None),
        ({"cost": {"amount": "28", "unit": "EUROS"}}, None),
        ({"cost": {"amount": "much", "unit": "CREDITS"}}, None),
        ({"cost": {"amount": "NaN", "unit": "CREDITS"}}, None),
        ({"cost": {"amount": "1e999999", "unit": "CREDITS"}}, None),
        ({"cost": "28"}, None),
        ({}, None),
    ],
)
def test_a_cost_is_a_decimal_with_a_known_unit_or_is_not_believed(form: dict[str, Any], cost: Cost | None) -> None:
    reply = wire.read_json(json.dumps({"generate": {"generationId": GENERATION_ID, **form}}).encode())
    assert wire.read_submission(reply) == Submission(generation_id=GENERATION_ID, cost=cost)


JOB: dict[str, Any] = {
    "id": GENERATION_ID,
    "createdAt": "2026-11-22T09:14:03.512",
    "status": "COMPLETE",
    "prompt": "a mug",
    "imageWidth": 64,
    "imageHeight": 48,
    "seed": 184270011,
    "prompt_moderations": [{"moderationClassification": ["NSFW"]}],
    "generated_images": [{"id": "i-0", "url": "https://cdn.leonardo.ai/x-0.jpg", "nsfw": True}],
}


def test_a_job_is_read_with_all_that_is_known_of_it() -> None:
    job = wire.read_generation({"generations_by_pk": JOB})
    assert job is not None
    assert (job.id, job.status, job.prompt) == (GENERATION_ID, GenerationStatus.COMPLETE, "a mug")
    assert (job.width, job.height, job.seed, job.moderation) == (64, 48, 184270011, ("NSFW",))
    assert job.created_at == datetime(2026, 11, 22, 9, 14, 3, 512000, tzinfo=UTC)
    assert [(image.id, image.url, image.nsfw) for image in job.images] == [
        ("i-0", "https://cdn.leonardo.ai/x-0.jpg", True)
    ]


@pytest.mark.parametrize(
    ("changed", "attribute", "value"),
    [
        ({"status": "QUEUED"}, "status", GenerationStatus.PENDING),
        ({"status": None}, "status", GenerationStatus.PENDING),
        ({"status": ["COMPLETE"]}, "status", GenerationStatus.PENDING),
        ({"status": "failed"}, "status", GenerationStatus.FAILED),
        ({"createdAt": None}, "created_at", None),
        ({"createdAt": "yesterday"}, "created_at", None),
        ({"createdAt": "0001-01-01T00:00:00+23:00"}, "created_at", None),
        ({"createdAt": "2026-11-22T10:00:00+01:00"}, "created_at", datetime(2026, 11, 22, 9, tzinfo=UTC)),
        ({"createdAt": 1795338000}, "created_at", datetime(2026, 11, 22, 9, tzinfo=UTC)),
        ({"createdAt": "1795338000"}, "created_at", datetime(2026, 11, 22, 9, tzinfo=UTC)),
        ({"createdAt": 1795338000500}, "created_at", datetime(2026, 11, 22, 9, 0, 0, 500_000, tzinfo=UTC)),
        ({"createdAt": 10**17}, "created_at", None),
        ({"modelId": None}, "model", None),
        ({"modelId": "a-uuid"}, "model", "a-uuid"),
        ({"seed": "184270011"}, "seed", 184270011),
        ({"seed": 1.5}, "seed", None),
        ({"seed": False}, "seed", None),
        ({"seed": "٣x"}, "seed", None),
        ({"seed": 10**4000}, "seed", None),
        ({"prompt": None}, "prompt", ""),
        ({"prompt": "half \ud800"}, "prompt", "half ?"),
        ({"id": None}, "id", ""),
        ({"generated_images": None}, "images", ()),
        ({"generated_images": 3}, "images", ()),
        ({"generated_images": ["x", {"url": None}, {"id": "i"}]}, "images", ()),
        ({"prompt_moderations": 3}, "moderation", ()),
        ({"prompt_moderations": [3, {}, {"moderationClassification": 3}]}, "moderation", ()),
        ({"prompt_moderations": [{"moderationClassification": [1, "X"]}]}, "moderation", ("1", "X")),
    ],
)
def test_odd_fields_do_not_cost_the_rest_of_a_job(changed: dict[str, Any], attribute: str, value: object) -> None:
    job = wire.read_generation({"generations_by_pk": {**JOB, **changed}})
    assert getattr(job, attribute) == value


def test_null_means_that_no_such_job_is_known() -> None:
    assert wire.read_generation({"generations_by_pk": None}) is None


def test_history_passes_over_entries_without_an_id() -> None:
    history = wire.read_history({"generations": [JOB, {**JOB, "id": None}, "x", {}]})
    assert [job.id for job in history] == [GENERATION_ID]


@pytest.mark.parametrize(
    ("details", "balance", "slots"),
    [
        ({"apiPaidTokens": 27830, "apiSubscriptionTokens": 0, "apiConcurrencySlots": 10}, 27830, 10),
        ({"apiPaidTokens": "1.5", "apiSubscriptionTokens": 2}, Decimal("3.5"), None),
        ({"apiPaidTokens": -4, "apiConcurrencySlots": 0}, -4, None),
        ({"apiPaidTokens": None, "apiConcurrencySlots": -1}, None, None),
        ({"subscriptionTokens": 150, "paidTokens": 9}, None, None),
    ],
)
def test_only_the_tokens_of_the_api_are_balance(
    details: dict[str, Any], balance: Decimal | int | None, slots: int | None
) -> None:
    account = wire.read_account({"user_details": [{"user": {"id": "u-1"}, **details}]})
    assert (account.user_id, account.balance, account.slots) == ("u-1", balance, slots)


FORM = {"id": "i", "url": "https://s3/", "fields": '{"key": "k", "size": 3}'}


def test_an_upload_ticket_has_its_fields_as_json_in_a_string_or_as_they_are() -> None:
    ticket = ("i", "https://s3/", {"key": "k", "size": "3"})
    assert wire.read_upload_ticket({"uploadInitImage": FORM}) == ticket
    assert wire.read_upload_ticket({"uploadInitImage": {**FORM, "fields": {"key": "k", "size": 3}}}) == ticket


@pytest.mark.parametrize(
    ("read", "reply"),
    [
        (wire.read_generation, {}),
        (wire.read_generation, []),
        (wire.read_generation, {"generations_by_pk": "x"}),
        (wire.read_history, {"generations": None}),
        (wire.read_history, None),
        (wire.read_account, {"user_details": []}),
        (wire.read_account, {"user_details": [{"user": {"id": 7}}]}),
        (wire.read_account, {"user_details": [{"user": {"id": "../../elsewhere"}}]}),
        (wire.read_account, {"user_details": "x"}),
        (wire.read_upload_ticket, {}),
        (wire.read_upload_ticket, {"uploadInitImage": {**FORM, "id": ""}}),
        (wire.read_upload_ticket, {"uploadInitImage": {**FORM, "url": 7}}),
        (wire.read_upload_ticket, {"uploadInitImage": {**FORM, "fields": None}}),
        (wire.read_upload_ticket, {"uploadInitImage": {**FORM, "fields": "[]"}}),
        (wire.read_upload_ticket, {"uploadInitImage": {**FORM, "fields": "\ud800"}}),
    ],
)
def test_a_reply_without_what_must_be_there_is_refused(read: Callable[[Any], object], reply: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read(reply)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"\xff\xfe", b"{", b"NaN", b"[" * 100_000, b"1e99999999999999999999", b"1" * 5000],
    ids=["empty", "html", "no text", "cut", "no number", "deep", "huge exponent", "many digits"],
)
def test_what_is_no_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        wire.read_json(body)


def test_a_byte_order_mark_does_not_lose_an_answer() -> None:
    assert wire.read_json(b'\xef\xbb\xbf{"a": 1.10}') == {"a": Decimal("1.10")}


NAMES = st.sampled_from(
    ["generate", "generationId", "sdGenerationJob", "cost", "amount", "unit", "apiCreditCost", "generations_by_pk"]
    + ["generations", "id", "status", "createdAt", "prompt", "imageWidth", "seed", "generated_images", "url", "nsfw"]
    + ["prompt_moderations", "moderationClassification", "user_details", "user", "apiPaidTokens", "fields"]
    + ["apiConcurrencySlots", "uploadInitImage"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals()
    | st.text(max_size=8)
    | st.sampled_from(["1e999999999", "2026-11-22T09:14:03", "9999-12-31T23:59:59-23:59", "\ud800", "{}", "COMPLETE"])
)
# Such replies have the real names in the wrong places and with the wrong kinds of values.
REPLIES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=4),
    max_leaves=25,
)


@pytest.mark.parametrize(
    ("read", "around"),
    [
        (wire.read_submission, ()),
        (wire.read_submission, ("generate",)),
        (wire.read_generation, ()),
        (wire.read_generation, ("generations_by_pk",)),
        (wire.read_history, ()),
        (wire.read_history, ("generations", "list")),
        (wire.read_account, ()),
        (wire.read_account, ("user_details", "list")),
        (wire.read_upload_ticket, ()),
        (wire.read_upload_ticket, ("uploadInitImage",)),
    ],
)
@settings(max_examples=60, deadline=None)
@given(inner=REPLIES)
def test_no_reply_crashes_a_reader(read: Callable[[Any], object], around: tuple[str, ...], inner: Any) -> None:
    reply = inner
    for name in reversed(around):
        reply = [reply] if name == "list" else {name: reply}
    try:
        found = read(reply)
    except ValueError:
        return
    # What came out can be written down again.
    repr(found).encode()


@pytest.mark.parametrize(
    ("read", "begin", "end"),
    [
        (wire.read_submission, '{"generate": ', "}"),
        (wire.read_generation, '{"generations_by_pk": {"prompt": ', "}}"),
        (wire.read_generation, '{"generations_by_pk": {"prompt_moderations": [{"moderationClassification": ', "}]}}"),
        (wire.read_upload_ticket, '{"uploadInitImage": {"id": "i", "url": "u", "fields": {"key": ', "}}}"),
    ],
)
def test_no_depth_of_nesting_crashes_a_reader(read: Callable[[Any], object], begin: str, end: str) -> None:
    too_deep = 0
    for depth in range(1, 1200):
        try:
            read(wire.read_json(f"{begin}{'[' * depth}{']' * depth}{end}".encode()))
        except ValueError:
            too_deep += 1
    assert too_deep


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | REPLIES.map(lambda r: json.dumps(r, default=str).encode())
)
def test_no_body_crashes_the_parser(body: bytes) -> None:
    try:
        wire.read_json(body)
    except ValueError:
        pass
