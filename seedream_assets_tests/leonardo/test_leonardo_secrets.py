"""The key: in the header of requests to the API's own host, and nowhere else, whatever goes wrong."""

from __future__ import annotations

import json
import logging
import traceback
from base64 import b64encode
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from seedream_assets.emulator.server import RunningEmulator
from seedream_assets.errors import SeedreamError
from seedream_assets.leonardo.client import LeonardoClient, _KeyForOneHost
from seedream_assets.leonardo.downloads import ImageDownloads
from seedream_assets_tests.leonardo.making import (
    API,
    KEY,
    answered,
    create,
    make_settings,
    make_settings_for,
    run,
    with_client,
)

ECHOES: dict[str, httpx.Response] = {
    "flat": httpx.Response(401, json={"error": f"key {KEY} is unknown", "code": KEY}, headers={"X-Request-ID": KEY}),
    "array": httpx.Response(200, json=[{"message": KEY, "extensions": {"code": "BAD_REQUEST"}}]),
    "upper case": httpx.Response(400, json={"error": KEY.upper()}),
    "html": httpx.Response(502, text=f"<html>Bearer {KEY}</html>"),
    "redirect": httpx.Response(302, headers={"Location": f"https://elsewhere.example/?key={KEY}"}),
    "no json": httpx.Response(200, text=KEY),
    "refusal with an id": httpx.Response(400, json={"error": "no", "generate": {"generationId": KEY}}),
}


def shown_by(error: BaseException) -> str:
    """Everything that a person or a log gets to see of an error, its causes included."""
    lines = traceback.TracebackException.from_exception(error, capture_locals=False).format()
    return "\n".join([str(error), repr(error), repr(getattr(error, "__dict__", "")), *lines])


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


@pytest.mark.parametrize("response", ECHOES.values(), ids=ECHOES.keys())
@pytest.mark.parametrize("call", [create, LeonardoClient.read_account], ids=["create", "read"])
def test_a_server_that_echoes_the_key_does_not_get_it_shown(
    response: httpx.Response, call: Any, log: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SeedreamError) as caught:
        answered(call, response)
    assert KEY.casefold() not in shown_by(caught.value).casefold()
    assert KEY not in log.text


FAULTS: list[dict[str, Any]] = [
    {"kind": kind}
    for kind in ("drop_before", "drop_after", "hang", "cut", "html", "empty", "not_object", "rate_limit", "redirect")
] + [{"kind": "error_after", "status": 500}, {"kind": "error_before", "status": 422}]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault["kind"]))
def test_no_error_over_real_connections_shows_the_key_or_logs_it(
    emulator: RunningEmulator, fault: dict[str, Any], log: pytest.LogCaptureFixture
) -> None:
    settings = make_settings_for(emulator.base_url, fault)
    for operation, call in (("create", create), ("me", LeonardoClient.read_account)):
        emulator.account.add_fault(operation, times=1, **fault)
        with pytest.raises(SeedreamError) as caught:
            with_client(call, settings)
        assert KEY not in shown_by(caught.value)
    assert "HTTP Request" in log.text or fault["kind"] in ("drop_before", "drop_after", "hang")
    assert KEY not in log.text


@pytest.mark.parametrize("kind", [httpx.ConnectError, httpx.ReadError, httpx.LocalProtocolError])
@pytest.mark.parametrize("call", [create, LeonardoClient.read_account], ids=["create", "read"])
def test_an_error_of_the_http_library_that_quotes_the_key_is_cleaned(kind: type[httpx.HTTPError], call: Any) -> None:
    def respond(_request: httpx.Request) -> httpx.Response:
        raise kind(f"illegal header Bearer {KEY}")

    with pytest.raises(SeedreamError) as caught:
        answered(call, respond)
    assert KEY not in str(caught.value) + repr(caught.value)


def test_an_image_host_that_quotes_the_key_is_not_shown_with_it() -> None:
    def respond(_request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError(f"Bearer {KEY}")

    async def act() -> None:
        async with ImageDownloads(make_settings(), transport=httpx.MockTransport(respond)) as downloads:
            for url in (f"https://{KEY}.example/x.jpg", "https://cdn.leonardo.ai/x.jpg"):
                with pytest.raises(SeedreamError) as caught:
                    await downloads.fetch(url)
                assert KEY not in str(caught.value)

    run(act())


def test_successful_calls_log_no_key(emulator: RunningEmulator, log: pytest.LogCaptureFixture) -> None:
    async def act(client: LeonardoClient) -> None:
        await client.read_account()
        await create(client)
        await client.upload_reference(b"\x89PNG\r\n\x1a\n", extension="png")

    with_client(act, make_settings(emulator.base_url))
    assert "HTTP Request" in log.text
    assert "send_request_headers" in log.text
    assert KEY not in log.text


def test_objects_that_hold_the_key_do_not_show_it() -> None:
    client = LeonardoClient(make_settings(), transport=httpx.MockTransport(lambda _: httpx.Response(200)))
    shown = [client, *vars(client).values()]
    shown += [
        value for each in vars(client).values() if isinstance(each, httpx.AsyncClient) for value in vars(each).values()
    ]
    assert KEY not in " ".join(map(repr, shown))


@pytest.mark.parametrize(
    ("url", "gets_it"),
    [
        (f"{API}/v1/me", True),
        ("https://cloud.leonardo.ai:443/anything", True),
        ("http://cloud.leonardo.ai/api/rest/v1/me", False),
        ("https://cloud.leonardo.ai:8443/api/rest/v1/me", False),
        ("https://cdn.leonardo.ai/x.jpg", False),
        ("https://bucket.s3.amazonaws.com/", False),
    ],
)
def test_the_key_is_added_for_one_origin_only(url: str, gets_it: bool) -> None:
    request = next(_KeyForOneHost(API, KEY).auth_flow(httpx.Request("GET", url)))
    assert ("authorization" in request.headers) is gets_it


ODD_SPELLINGS = {
    "in another case": KEY.upper(),
    "as in an address": quote(KEY, safe="").replace("-", "%2D"),
    "split by white space": f"{KEY[:5]} \n {KEY[5:]}",
    "base64 of the header": b64encode(f"Bearer {KEY}".encode()).decode(),
}


@pytest.mark.parametrize("spelling", ODD_SPELLINGS.values(), ids=ODD_SPELLINGS.keys())
def test_no_text_of_an_answer_that_is_kept_holds_the_key(spelling: str) -> None:
    job = {
        "id": f"g-{spelling}",
        "status": "COMPLETE",
        "prompt": f"a mug {spelling}",
        "createdAt": spelling,
        "prompt_moderations": [{"moderationClassification": [spelling, f"two\nlines {spelling}"]}],
        "generated_images": [{"id": spelling, "url": f"https://cdn.leonardo.ai/{spelling}/x.jpg", "nsfw": False}],
    }
    history = answered(
        lambda client: client.read_history("me", offset=0, limit=1), httpx.Response(200, json={"generations": [job]})
    )
    polled = answered(
        lambda client: client.read_generation("g-1"),
        httpx.Response(200, json={"generations_by_pk": job | {"id": "g-1"}}),
    )
    bought = answered(create, httpx.Response(200, json={"generate": {"generationId": spelling}}))
    assert polled is not None
    for shown in (repr(history), repr(polled), bought.generation_id):
        assert "[key]" in shown
        assert spelling not in shown
        assert KEY.casefold() not in shown.casefold()
    assert polled.moderation[1] == f"two lines {polled.moderation[0]}"
    with pytest.raises(SeedreamError) as caught:
        answered(create, httpx.Response(400, json={"error": spelling, "code": spelling}, headers={"X-Request-ID": KEY}))
    assert spelling not in shown_by(caught.value)


def test_signed_addresses_and_foreign_tokens_in_an_error_are_not_shown() -> None:
    words = "see https://x.example/log?X-Amz-Signature=abcdef0123 with Bearer abcdef0123, user https://me:abcdef0123@x.example"
    with pytest.raises(SeedreamError) as caught:
        answered(create, httpx.Response(502, text=f"<html><title>{words}</title></html>", headers={"Location": words}))
    assert "x.example/log" in str(caught.value)
    assert "abcdef0123" not in shown_by(caught.value)
    elsewhere = httpx.Response(302, headers={"Location": words.split()[1]})
    with pytest.raises(SeedreamError) as caught:
        answered(create, elsewhere)
    assert "x.example/log" in str(caught.value)
    assert "abcdef0123" not in shown_by(caught.value)


def test_the_form_of_an_upload_keeps_its_signature() -> None:
    seen: list[bytes] = []

    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/init-image"):
            fields = {"X-Amz-Signature": "abcdef0123", "Policy": "p"}
            ticket = {"id": "i-1", "url": "https://b.s3.amazonaws.com/?sig=1", "fields": json.dumps(fields)}
            return httpx.Response(200, json={"uploadInitImage": ticket})
        seen.append(request.read())
        assert request.url == "https://b.s3.amazonaws.com/?sig=1"
        return httpx.Response(204)

    assert answered(lambda client: client.upload_reference(b"x", extension="png"), respond) == "i-1"
    assert b"abcdef0123" in seen[0]
