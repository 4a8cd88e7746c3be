"""Which error an answer stands for, and what of a server's words is shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedream_assets.config.addresses import LONGEST_SHOWN_CHARACTERS
from seedream_assets.errors import (
    AuthenticationFailed,
    BalanceExhausted,
    LeonardoError,
    LeonardoRefused,
    LeonardoUnavailable,
    PromptBlocked,
    RateLimited,
)
from seedream_assets.leonardo.answers import read_answer, retry_after_seconds, shown
from seedream_assets_tests.leonardo.making import KEY

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
HTML = b"<!DOCTYPE html><html><title>Just a moment...</title></html>"


def failure_of(status: int, body: object, **headers: str) -> LeonardoError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    _, failure = read_answer(status, names, content, secret=KEY, now=NOW)
    assert failure is not None
    return failure


def graphql(message: str, code: str | None = None, status: object = None, inner: object = None) -> dict[str, Any]:
    details = {"errors": [{"message": text} for text in inner]} if isinstance(inner, list) else inner
    facts = {"code": code, "statusCode": status, "details": details}
    return {"message": message, "path": ["generate"], "extensions": {k: v for k, v in facts.items() if v is not None}}


VALIDATION = graphql("Validation failed", "VALIDATION_ERROR", 400, ["parameters.prompt_enhance must be one of: OFF"])


def flat(message: object, code: str = "unexpected") -> dict[str, object]:
    return {"error": message, "path": "$", "code": code}


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        # The three envelopes.
        (200, [VALIDATION], LeonardoRefused, "must be one of: OFF"),
        (200, {"errors": [VALIDATION], "data": None}, LeonardoRefused, "Validation failed; parameters"),
        (400, flat("invalid dimensions"), LeonardoRefused, "invalid dimensions"),
        (200, [graphql("Unknown style", "BAD_REQUEST")], LeonardoRefused, "Unknown style"),
        (200, {"errors": graphql("Unknown style", "BadRequestException")}, LeonardoRefused, "Unknown style"),
        (200, flat("not this way", "bad-request"), LeonardoRefused, "not this way"),
        (422, {"error": {"message": "deep"}}, LeonardoRefused, "deep"),
        (404, {"message": "Endpoint not found"}, LeonardoRefused, "Endpoint not found"),
        (400, [graphql("", None, 400, {"message": "only inside", "statusCode": 400})], LeonardoRefused, "only inside"),
        # The key.
        (401, flat("Authentication hook unauthorized this request", "access-denied"), AuthenticationFailed, "hook"),
        (500, flat("Invalid response from authorization hook"), AuthenticationFailed, "authorization hook"),
        (200, [graphql("no", "access-denied")], AuthenticationFailed, "no"),
        (401, b"", AuthenticationFailed, "an empty answer"),
        # Rates, balance, moderation.
        (429, flat("Too many requests"), RateLimited, "Too many"),
        (429, HTML, RateLimited, "Just a moment"),
        (200, [graphql("slow down", None, 429)], RateLimited, "slow down"),
        (402, flat("Payment required"), BalanceExhausted, "Payment"),
        (400, flat("Insufficient API credits"), BalanceExhausted, "credits"),
        (200, [graphql("You have not enough tokens", "BAD_REQUEST", 400)], BalanceExhausted, "tokens"),
        (403, flat("content moderation filter: word"), PromptBlocked, "filter: word"),
        (200, [graphql("This violates our Terms of Service", "BAD_REQUEST")], PromptBlocked, "Terms"),
        (400, flat("a picture of a balance beam is not enough"), LeonardoRefused, "beam"),
        # A refusal by a proxy is one too: it did not pass the request on.
        (403, HTML, LeonardoRefused, "a page of HTML"),
        (413, b"", LeonardoRefused, "an empty answer"),
        # What proves nothing.
        (500, flat("internal error"), LeonardoUnavailable, "internal error"),
        (502, HTML, LeonardoUnavailable, "Just a moment"),
        (503, b"", LeonardoUnavailable, "an empty answer"),
        (408, flat("took too long"), LeonardoUnavailable, "too long"),
        (409, flat("conflict"), LeonardoUnavailable, "conflict"),
        (425, b"", LeonardoUnavailable, "empty"),
        (200, b"", LeonardoUnavailable, "an empty answer"),
        (200, HTML, LeonardoUnavailable, "a page of HTML"),
        (200, "OK", LeonardoUnavailable, 'no JSON object: "OK"'),
        (200, None, LeonardoUnavailable, "null"),
        (200, [], LeonardoUnavailable, "[]"),
        (200, ["odd", 7], LeonardoUnavailable, "odd; 7"),
        (200, {"errors": "odd"}, LeonardoUnavailable, "odd"),
        (200, [graphql("http exception when calling webhook", "unexpected")], LeonardoUnavailable, "webhook"),
        (200, [graphql("Service Error", "BAD_REQUEST")], LeonardoUnavailable, "Service Error"),
        (200, [graphql("failed", "BAD_REQUEST", 500)], LeonardoUnavailable, "failed"),
        (200, [graphql("failed", "BAD_REQUEST", "503")], LeonardoUnavailable, "failed"),
        (200, [graphql("failed", None, 400, {"statusCode": 500, "errors": 3})], LeonardoUnavailable, "failed"),
        (200, [VALIDATION, graphql("and a fault", None, 500)], LeonardoUnavailable, "and a fault"),
        (500, [VALIDATION], LeonardoUnavailable, "Validation"),
        (500, flat("content moderation filter is down"), LeonardoUnavailable, "down"),
        (400, flat("Internal error while saving"), LeonardoUnavailable, "saving"),
    ],
)
def test_an_error_is_refused_only_where_the_answer_proves_it(
    status: int, body: object, kind: type[LeonardoError], says: str
) -> None:
    failure = failure_of(status, body)
    assert type(failure) is kind
    assert says in failure.message
    assert failure.status == status


@pytest.mark.parametrize(
    ("status", "kind"),
    [(301, LeonardoRefused), (302, LeonardoRefused), (307, LeonardoRefused), (308, LeonardoRefused)]
    + [(303, LeonardoUnavailable), (304, LeonardoUnavailable)],
)
def test_a_redirect_refuses_unless_it_says_that_the_work_is_done(status: int, kind: type[LeonardoError]) -> None:
    failure = failure_of(status, b"", location="https://elsewhere.example/\x1b[31m")
    assert type(failure) is kind
    assert "https://elsewhere.example/ [31m, which is not followed" in failure.message


def test_code_status_request_id_and_the_servers_wait_are_kept() -> None:
    failure = failure_of(429, flat("Too many requests", "throttled"), x_request_id="r-77", retry_after="7")
    assert (failure.status, failure.code, failure.request_id, failure.retry_after_seconds) == (
        429,
        "throttled",
        "r-77",
        7,
    )
    assert str(failure) == "Too many requests (HTTP 429, code throttled, request id r-77)"


def test_an_object_without_errors_is_an_answer() -> None:
    for reply in ({}, {"generations_by_pk": None}, {"generate": {}, "errors": [], "error": ""}):
        assert read_answer(200, {}, json.dumps(reply).encode(), secret=KEY) == (reply, None)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("  two\r\n lines\t", "two lines"),
        ("\x1b[31mred\x00\u202e", "[31mred"),
        ("half \ud800 a character", "half a character"),
        (f"the key {KEY} is wrong", "the key [key] is wrong"),
        (f"the key {KEY.upper()}", "the key [key]"),
        ("x" * 9999, "x" * (LONGEST_SHOWN_CHARACTERS - 1) + "…"),
    ],
)
def test_a_servers_text_is_shown_as_one_printable_line_without_the_key(text: str, line: str) -> None:
    assert shown(text, secret=KEY) == line


@given(before=st.integers(0, 2 * LONGEST_SHOWN_CHARACTERS), status=st.sampled_from([200, 400, 500]))
def test_no_part_of_the_key_is_left_where_a_text_is_cut(before: int, status: int) -> None:
    failure = failure_of(status, b"<" + b"x" * before + KEY.encode())
    assert KEY[:8] not in str(failure)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7),
        ("0.5", 0.5),
        ("-3", 0),
        ("Sun, 22 Nov 2026 09:00:30 GMT", 30),
        ("Sun, 22 Nov 2026 09:00:30 -0000", 30),
        ("Sun, 22 Nov 2026 08:00:00 GMT", 0),
        ("soon", None),
        ("Sun, 22 Nov 99999999999 09:00:30 GMT", None),
        ("", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, now=NOW) == seconds


@settings(max_examples=200)
@given(st.text(max_size=40))
def test_no_retry_after_crashes(header: str) -> None:
    seconds = retry_after_seconds(header, now=NOW)
    assert seconds is None or seconds >= 0


NAMES = st.sampled_from(["errors", "error", "message", "extensions", "code", "statusCode", "details", "path"])
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([400, 500, "1e99"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(status=st.integers(200, 599), body=BODIES.map(json.dumps).map(str.encode) | st.binary(max_size=40))
def test_no_answer_crashes_and_only_an_object_with_2xx_is_no_error(status: int, body: bytes) -> None:
    reply, failure = read_answer(status, {"retry-after": "x"}, body, secret=KEY)
    if failure is None:
        assert 200 <= status < 300 and isinstance(reply, dict)
    else:
        str(failure).encode()
        if status >= 500:
            assert not isinstance(failure, LeonardoRefused) or isinstance(failure, AuthenticationFailed)


def test_a_page_is_summed_up_and_the_address_that_was_asked_is_named() -> None:
    page = b"<html><head><title>\n502 Bad&nbsp;Gateway </title></head><body>" + b"<p>squid</p>" * 500
    _, failure = read_answer(502, {}, page, secret=KEY, api="https://api.example (LEONARDO_BASE_URL)")
    assert str(failure) == (
        'a page of HTML "502 Bad Gateway", as a proxy sends, and no answer of the API; '
        "asked was https://api.example (LEONARDO_BASE_URL) (HTTP 502)"
    )
    _, refused = read_answer(400, {}, b'{"error": "width is wrong"}', secret=KEY, api="https://api.example (base_url)")
    assert str(refused) == "width is wrong (HTTP 400)"
