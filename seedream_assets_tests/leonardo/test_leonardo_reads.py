"""Everything but the create: polls, history, account, delete, and the upload in two steps."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import httpx
import pytest

from seedream_assets.emulator.server import RunningEmulator
from seedream_assets.emulator.settings import DEMO_USER_ID
from seedream_assets.errors import (
    AuthenticationFailed,
    LeonardoError,
    LeonardoRefused,
    LeonardoUnavailable,
    RateLimited,
)
from seedream_assets.leonardo import client as client_module
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.generations import Account, Generation, GenerationStatus, HistoryPage
from seedream_assets.leonardo.requests import Reference
from seedream_assets_tests.leonardo.making import (
    API,
    GENERATION_ID,
    KEY,
    answered,
    create,
    make_paid_request,
    make_settings,
    make_settings_for,
    with_client,
)

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
TICKET = {"id": "0b6d2f0e-8a51-4f5e-9d27-3c1f6f0b7a11", "url": "https://bucket.s3.amazonaws.com/", "fields": "{}"}


def test_a_finished_job_is_read_with_its_images(emulator: RunningEmulator) -> None:
    async def act(client: LeonardoClient) -> Generation | None:
        submission = await create(client, make_paid_request("a red mug", count=3))
        return await client.read_generation(submission.generation_id)

    job = with_client(act, make_settings(emulator.base_url))
    assert job is not None
    assert (job.status, job.prompt, len(job.images)) == (GenerationStatus.COMPLETE, "a red mug", 3)


def test_history_and_account_speak_of_the_same_account(emulator: RunningEmulator) -> None:
    async def act(client: LeonardoClient) -> tuple[Account, HistoryPage, HistoryPage, Generation | None]:
        account = await client.read_account()
        for number in range(3):
            await create(client, make_paid_request(f"mug {number}"))
        page = await client.read_history(account.user_id, offset=1, limit=2)
        rest = await client.read_history(account.user_id, offset=0, limit=10)
        return account, page, rest, await client.read_generation("00000000-0000-6000-8000-000000000000")

    account, page, rest, unknown = with_client(act, make_settings(emulator.base_url))
    assert (account.user_id, account.balance, account.slots) == (DEMO_USER_ID, Decimal(100_000), 10)
    assert {job.prompt for job in page.generations} == {"mug 0", "mug 1"}
    assert {job.prompt for job in rest.generations} == {"mug 0", "mug 1", "mug 2"}
    assert page.api_now is not None
    assert unknown is None


@pytest.mark.parametrize(
    ("call", "method", "path"),
    [
        (lambda c: c.read_generation(GENERATION_ID), "GET", f"/v1/generations/{GENERATION_ID}"),
        (lambda c: c.read_generation("a/../b?c#d%2e"), "GET", "/v1/generations/a%2F%2E%2E%2Fb%3Fc%23d%252e"),
        (lambda c: c.read_generation(".."), "GET", "/v1/generations/%2E%2E"),
        (lambda c: c.read_generation("é\ud800\n"), "GET", "/v1/generations/%C3%A9%3F%0A"),
        (lambda c: c.read_generation("../me"), "GET", "/v1/generations/%2E%2E%2Fme"),
        (lambda c: c.read_history("u/../..", offset=3, limit=5), "GET", "/v1/generations/user/u%2F%2E%2E%2F%2E%2E"),
        (lambda c: c.read_account(), "GET", "/v1/me"),
        (lambda c: c.upload_reference(PNG, extension="png"), "POST", "/v1/init-image"),
    ],
)
def test_reads_go_to_v1_and_no_id_leaves_its_segment(call: Any, method: str, path: str) -> None:
    seen: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(503)

    with pytest.raises(LeonardoUnavailable):
        answered(call, respond)
    (request,) = seen
    assert (request.method, request.url.raw_path.decode().partition("?")[0]) == (method, "/api/rest" + path)
    assert request.headers["authorization"] == f"Bearer {KEY}"
    if "user" in path:
        assert request.url.query == b"offset=3&limit=5"


def test_a_job_that_is_not_known_is_none() -> None:
    assert answered(lambda c: c.read_generation("x"), httpx.Response(200, json={"generations_by_pk": None})) is None


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "drop_before"}, LeonardoUnavailable),
        ({"kind": "drop_after"}, LeonardoUnavailable),
        ({"kind": "hang"}, LeonardoUnavailable),
        ({"kind": "cut"}, LeonardoUnavailable),
        ({"kind": "html"}, LeonardoUnavailable),
        ({"kind": "html_after", "status": 200}, LeonardoUnavailable),
        ({"kind": "empty"}, LeonardoUnavailable),
        ({"kind": "not_object"}, LeonardoUnavailable),
        ({"kind": "not_object", "json": {"odd": 1}}, LeonardoUnavailable),
        ({"kind": "error_before", "status": 503}, LeonardoUnavailable),
        ({"kind": "rate_limit", "retry_after": 3}, RateLimited),
        ({"kind": "error_before", "status": 400, "message": "bad"}, LeonardoRefused),
        ({"kind": "redirect"}, LeonardoRefused),
    ],
)
def test_a_read_that_fails_says_whether_it_may_be_repeated(
    emulator: RunningEmulator, fault: dict[str, Any], kind: type[LeonardoError]
) -> None:
    emulator.account.add_fault("me", times=1, **fault)

    async def act(client: LeonardoClient) -> Account:
        with pytest.raises(LeonardoError) as caught:
            await client.read_account()
        assert type(caught.value) is kind
        return await client.read_account()

    assert with_client(act, make_settings_for(emulator.base_url, fault)).user_id == DEMO_USER_ID
    assert emulator.account.bill()["violations"] == []


@pytest.mark.parametrize("headers", [{}, {"X-Request-ID": "r-1"}])
def test_an_answer_without_what_was_asked_for_may_be_asked_again(headers: dict[str, str]) -> None:
    with pytest.raises(LeonardoUnavailable, match="cannot be read: the reply names no user") as caught:
        answered(lambda c: c.read_account(), httpx.Response(200, json={"user_details": []}, headers=headers))
    assert (caught.value.status, caught.value.request_id) == (200, headers.get("X-Request-ID"))


def test_a_wrong_key_is_recognised() -> None:
    flat = {"error": "Authentication hook unauthorized this request", "path": "$", "code": "access-denied"}
    with pytest.raises(AuthenticationFailed):
        answered(lambda c: c.read_account(), httpx.Response(401, json=flat))


# ---- Uploads


def test_an_uploaded_reference_can_be_used_and_the_upload_address_gets_no_key(emulator: RunningEmulator) -> None:
    async def act(client: LeonardoClient) -> None:
        image_id = await client.upload_reference(PNG, extension="png")
        reference = Reference(sha256="ab" * 32)
        await create(client, make_paid_request(references=(reference,)), reference_ids={reference.sha256: image_id})

    with_client(act, make_settings(emulator.base_url))
    bill = emulator.account.bill()
    assert (bill["violations"], bill["generations"]) == ([], 1)


def upload(respond: Any, **ticket: Any) -> tuple[str, list[httpx.Request]]:
    """Upload with this ticket to an upload address that responds so; the id, and what the address received."""
    received: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if str(request.url).startswith(API):
            return httpx.Response(200, json={"uploadInitImage": {**TICKET, **ticket}})
        received.append(request)
        outcome = respond(request)
        assert isinstance(outcome, httpx.Response)
        return outcome

    return answered(lambda c: c.upload_reference(PNG, extension="png"), answer), received


def test_the_form_goes_first_the_file_last_and_no_authorization() -> None:
    image_id, (request,) = upload(
        lambda request: httpx.Response(204), fields='{"key": "k", "Policy": "p", "X-Amz-Signature": "s"}'
    )
    assert image_id == TICKET["id"]
    assert "authorization" not in request.headers
    assert KEY.encode() not in request.content
    places = [request.content.index(f'name="{name}"'.encode()) for name in ("key", "Policy", "X-Amz-Signature", "file")]
    assert places == sorted(places)
    assert PNG in request.content


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (403, b"<Error><Code>AccessDenied</Code></Error>", LeonardoRefused, "AccessDenied"),
        (400, b"", LeonardoRefused, None),
        (307, b"", LeonardoRefused, None),
        (429, b"", LeonardoUnavailable, None),
        (408, b"", LeonardoUnavailable, None),
        (503, b"<Error><Code>SlowDown</Code></Error>", LeonardoUnavailable, "SlowDown"),
    ],
)
def test_an_upload_that_was_not_taken_is_no_upload(
    status: int, body: bytes, kind: type[LeonardoError], code: str | None
) -> None:
    location = {"Location": "https://elsewhere.example/"}
    with pytest.raises(kind) as caught:
        upload(lambda request: httpx.Response(status, content=body, headers=location))
    assert (type(caught.value), caught.value.status, caught.value.code) == (kind, status, code)


def test_an_upload_without_an_answer_may_be_repeated() -> None:
    def drop(_request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("reset")

    with pytest.raises(LeonardoUnavailable, match="could not be uploaded: ReadError: reset"):
        upload(drop)


def test_an_upload_that_never_ends_is_given_up(emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "UPLOAD_SECONDS", 0.2)
    emulator.account.add_fault("upload", "hang")
    with pytest.raises(LeonardoUnavailable, match=r"within 0\.2 s"):
        with_client(lambda c: c.upload_reference(PNG, extension="png"), make_settings(emulator.base_url))


@pytest.mark.parametrize("url", ["http://bucket.s3.amazonaws.com/", "https://127.0.0.1/", "file:///etc/passwd", "?"])
def test_an_upload_address_that_is_not_encrypted_or_not_elsewhere_gets_nothing(url: str) -> None:
    with pytest.raises(LeonardoRefused, match="not one that may be used"):
        upload(lambda request: httpx.Response(204), url=url)


def test_an_upload_address_that_cannot_be_read_is_an_error_of_the_api() -> None:
    with pytest.raises(LeonardoUnavailable, match="InvalidURL"):
        upload(lambda request: httpx.Response(204), url="https://" + "x" * 70000)


def test_closing_a_client_closes_all_its_connections(emulator: RunningEmulator) -> None:
    async def act() -> LeonardoClient:
        async with LeonardoClient(make_settings(emulator.base_url)) as client:
            await client.read_account()
        with pytest.raises(RuntimeError):
            await client.read_account()
        return client

    asyncio.run(act())


@pytest.mark.parametrize(
    ("shown_id", "is_believed"), [(GENERATION_ID, True), (GENERATION_ID.upper(), True), ("", True), ("another", False)]
)
def test_what_is_said_of_another_job_is_not_taken_for_this_one(shown_id: str, is_believed: bool) -> None:
    reply = httpx.Response(
        200, json={"generations_by_pk": {"id": shown_id, "status": "COMPLETE", "generated_images": []}}
    )

    async def act(client: LeonardoClient) -> Generation | None:
        return await client.read_generation(GENERATION_ID)

    if is_believed:
        assert answered(act, reply) is not None
    else:
        with pytest.raises(LeonardoUnavailable, match="Leonardo sent another: another"):
            answered(act, reply)
