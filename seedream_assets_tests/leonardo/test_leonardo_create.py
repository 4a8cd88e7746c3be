"""The call that spends: what each way to fail proves, and that nothing leaves after a last-moment refusal."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from seedream_assets.emulator.server import RunningEmulator
from seedream_assets.errors import (
    AuthenticationFailed,
    BalanceExhausted,
    LeonardoError,
    LeonardoRefused,
    LeonardoUnavailable,
    PromptBlocked,
    RateLimited,
    SubmitMisdirected,
    SubmitUncertain,
)
from seedream_assets.leonardo import client as client_module
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets_tests.emulator.documented_schemas import CREATE_REQUEST, assert_documented
from seedream_assets_tests.leonardo.conftest import StartEmulator
from seedream_assets_tests.leonardo.making import (
    ACCEPTED,
    GENERATION_ID,
    KEY,
    answered,
    create,
    make_paid_request,
    make_settings,
    make_settings_for,
    read_request,
    run,
    serving,
    with_client,
)


def billed(emulator: RunningEmulator) -> int:
    return int(emulator.account.bill()["generations"])


class Lapsed(Exception):
    """What a caller raises to stop a request at the last moment."""


# ---- Bought


@pytest.mark.parametrize("shape", ["nested", "flat", "legacy"])
@pytest.mark.parametrize("unit", ["CREDITS", "DOLLARS"])
def test_an_accepted_request_is_billed_once_and_has_id_and_cost(start: StartEmulator, shape: str, unit: str) -> None:
    emulator = start(answer_shape=shape, cost_unit=unit)
    submission = with_client(create, make_settings(emulator.base_url))
    bill = emulator.account.bill()
    assert [item["generation_id"] for item in bill["details"]] == [submission.generation_id]
    assert submission.cost is not None
    assert submission.cost.unit == ("CREDITS" if shape == "flat" else unit)
    assert submission.cost.amount > 0


def test_a_create_goes_to_v2_as_documented_with_the_key() -> None:
    seen: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=ACCEPTED)

    answered(create, respond, base_url="https://cloud.leonardo.ai/api/rest/")
    (request,) = seen
    assert (request.method, str(request.url)) == ("POST", "https://cloud.leonardo.ai/api/rest/v2/generations")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert_documented(json.loads(request.content), CREATE_REQUEST)


@pytest.mark.parametrize("status", [200, 201, 202, 207])
@pytest.mark.parametrize(
    "body",
    [
        ACCEPTED,
        {**ACCEPTED, "errors": [{"message": "Validation failed", "extensions": {"code": "VALIDATION_ERROR"}}]},
        {**ACCEPTED, "error": "internal error"},
        [{"message": "odd", "extensions": {"statusCode": 500}}, ACCEPTED],
    ],
)
def test_an_answer_with_an_id_is_bought_whatever_else_it_says(status: int, body: Any) -> None:
    assert answered(create, httpx.Response(status, json=body)).generation_id == GENERATION_ID


def test_every_create_has_a_connection_of_its_own() -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        body = json.dumps(ACCEPTED).encode()
        while True:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()

    async def act() -> None:
        async with serving(serve) as base_url, LeonardoClient(make_settings(base_url)) as client:
            for _ in range(3):
                await create(client)

    run(act())
    assert connections == 3


# ---- Refused: proven, nothing billed


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "rate_limit", "retry_after": 7}, RateLimited),
        ({"kind": "error_before", "status": 422, "message": "bad dimensions"}, LeonardoRefused),
        ({"kind": "error_before", "status": 413, "message": "too large"}, LeonardoRefused),
        ({"kind": "blocked", "shape": "object"}, PromptBlocked),
        ({"kind": "blocked", "shape": "array"}, PromptBlocked),
        ({"kind": "blocked", "shape": "flat"}, PromptBlocked),
    ],
)
def test_a_refusal_is_one_only_where_nothing_is_billed(
    emulator: RunningEmulator, fault: dict[str, Any], kind: type[LeonardoError]
) -> None:
    emulator.account.add_fault("create", **fault)
    with pytest.raises(LeonardoRefused) as caught:
        with_client(create, make_settings(emulator.base_url))
    assert type(caught.value) is kind
    assert billed(emulator) == 0
    if kind is RateLimited:
        assert caught.value.retry_after_seconds == 7


def test_the_emulators_own_refusals_are_understood(start: StartEmulator) -> None:
    poor, strict = start(balance_credits=3), start()
    with pytest.raises(BalanceExhausted):
        with_client(create, make_settings(poor.base_url))
    for wrong_key, kind in ((KEY.replace("5", "6"), AuthenticationFailed), ("no-uuid", AuthenticationFailed)):
        with pytest.raises(kind):
            with_client(create, make_settings(strict.base_url, api_key=wrong_key))
    assert (billed(poor), billed(strict)) == (0, 0)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "html", "status": 403},
        {"kind": "html", "status": 200},
        {"kind": "redirect"},
        {"kind": "redirect", "status": 307},
    ],
    ids=str,
)
def test_an_answer_that_is_not_leonardo_s_proves_nothing_and_says_so(
    emulator: RunningEmulator, fault: dict[str, Any]
) -> None:
    emulator.account.add_fault("create", **fault)
    with pytest.raises(SubmitMisdirected):
        with_client(create, make_settings(emulator.base_url))


@pytest.mark.parametrize("fault", [{"kind": "html", "status": 502}, {"kind": "empty"}], ids=str)
def test_a_server_s_fault_is_no_misdirection(emulator: RunningEmulator, fault: dict[str, Any]) -> None:
    emulator.account.add_fault("create", **fault)
    with pytest.raises(SubmitUncertain) as caught:
        with_client(create, make_settings(emulator.base_url))
    assert type(caught.value) is SubmitUncertain


def test_a_redirect_is_not_followed_and_gets_no_key(emulator: RunningEmulator) -> None:
    emulator.account.add_fault("create", "redirect")
    with pytest.raises(SubmitMisdirected, match="redirect to http://localhost:.* not followed"):
        with_client(create, make_settings(emulator.base_url))
    bill = emulator.account.bill()
    assert (bill["violations"], emulator.account.counts["download"]) == ([], 0)


# ---- Uncertain: sent, and nothing proves what became of it


@pytest.mark.parametrize(
    ("fault", "is_billed"),
    [
        ({"kind": "drop_before"}, False),
        ({"kind": "drop_after"}, True),
        ({"kind": "hang_before"}, False),
        ({"kind": "hang"}, True),
        ({"kind": "error_before", "status": 500}, False),
        ({"kind": "error_after", "status": 500}, True),
        ({"kind": "error_after", "status": 504}, True),
        ({"kind": "error_after", "status": 408, "message": "timeout"}, True),
        ({"kind": "html"}, False),
        ({"kind": "html_after", "status": 502}, True),
        ({"kind": "html_after", "status": 200}, True),
        ({"kind": "redirect", "status": 303}, False),
        ({"kind": "empty"}, True),
        ({"kind": "not_object"}, True),
        ({"kind": "not_object", "json": [[]]}, True),
        ({"kind": "not_object", "json": {"generate": None}}, True),
        ({"kind": "cut"}, True),
    ],
)
def test_an_answer_that_proves_nothing_leaves_the_submit_uncertain(
    emulator: RunningEmulator, fault: dict[str, Any], is_billed: bool
) -> None:
    emulator.account.add_fault("create", **fault)
    with pytest.raises(SubmitUncertain) as caught:
        with_client(create, make_settings_for(emulator.base_url, fault))
    assert not caught.value.may_retry
    assert emulator.account.counts["create"] == 1
    assert billed(emulator) == is_billed


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, json=[{"message": "failed", "extensions": {"code": "BAD_REQUEST", "statusCode": 500}}]),
        httpx.Response(200, json={"errors": [{"message": "http exception", "extensions": {"code": "unexpected"}}]}),
        httpx.Response(200, json={"generate": {"generationId": ""}}),
        httpx.Response(204),
        httpx.Response(409, json={"error": "conflict", "code": "unexpected"}),
        httpx.Response(499, text=""),
        httpx.Response(200, content=b"[" * 100_000),
        httpx.Response(200, content=b"\x1f\x8b broken", headers={"Content-Encoding": "identity"}),
    ],
)
def test_an_odd_answer_is_uncertain_and_keeps_its_status(response: httpx.Response) -> None:
    with pytest.raises(SubmitUncertain) as caught:
        answered(create, response)
    assert caught.value.status == response.status_code


def test_an_uncertain_submit_keeps_what_the_server_said() -> None:
    body = {"error": "Service Error", "path": "$", "code": "unexpected"}
    with pytest.raises(SubmitUncertain, match="Service Error") as caught:
        answered(create, httpx.Response(500, json=body, headers={"X-Request-ID": "r-77"}))
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (500, "unexpected", "r-77")
    assert isinstance(caught.value.__cause__, LeonardoUnavailable)


def test_a_refusal_that_names_a_generation_proves_nothing_and_keeps_the_id() -> None:
    body = {"error": "not allowed", **ACCEPTED}
    with pytest.raises(SubmitUncertain, match=f"not allowed; it names {GENERATION_ID}"):
        answered(create, httpx.Response(400, json=body))


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadError("reset"),
        httpx.ReadTimeout(""),
        httpx.WriteError("reset"),
        httpx.WriteTimeout("slow"),
        httpx.RemoteProtocolError("peer closed connection"),
        httpx.LocalProtocolError("odd"),
        httpx.CloseError("odd"),
        httpx.DecodingError("broken gzip"),
    ],
)
def test_what_fails_after_the_connection_is_uncertain(error: httpx.HTTPError) -> None:
    def respond(_request: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(SubmitUncertain, match=type(error).__name__):
        answered(create, respond)


def test_a_packed_answer_that_is_broken_is_uncertain() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\noops")
        await writer.drain()

    assert type(error_from_server(serve)) is SubmitUncertain


def test_an_answer_that_drips_for_ever_ends_at_the_deadline() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    error = error_from_server(serve, connect_seconds=0.5, answer_seconds=0.2)
    assert type(error) is SubmitUncertain
    assert "within 1.2 s" in str(error)


def test_an_endless_answer_is_not_read_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LARGEST_ANSWER_BYTES", 1000)
    with pytest.raises(SubmitUncertain, match="more than 1000 bytes"):
        answered(create, httpx.Response(200, content=json.dumps(ACCEPTED).encode().ljust(1001)))
    assert answered(create, httpx.Response(200, content=json.dumps(ACCEPTED).encode().ljust(1000)))


def error_from_server(serve: Any, **settings: Any) -> BaseException:
    async def act() -> BaseException:
        async with serving(serve) as base_url, LeonardoClient(make_settings(base_url, **settings)) as client:
            with pytest.raises(LeonardoError) as caught:
                await create(client)
            return caught.value

    return run(act())


# ---- Never sent


@pytest.mark.parametrize("error", [httpx.ConnectError("no route"), httpx.ConnectTimeout(""), httpx.PoolTimeout("")])
def test_without_a_connection_nothing_was_sent(error: httpx.HTTPError) -> None:
    def respond(_request: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(LeonardoUnavailable, match=type(error).__name__):
        answered(create, respond)


def test_a_closed_port_is_unavailable_and_may_be_tried_again() -> None:
    with pytest.raises(LeonardoUnavailable) as caught:
        with_client(create, make_settings("http://127.0.0.1:9"))
    assert caught.value.may_retry


def test_a_server_that_never_finishes_its_encryption_got_nothing() -> None:
    received = bytearray()

    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(1000):
            received.extend(part)

    async def act() -> None:
        async with serving(serve) as base_url:
            settings = make_settings(base_url.replace("http:", "https:"), connect_seconds=0.2)
            async with LeonardoClient(settings) as client:
                with pytest.raises(LeonardoUnavailable, match="ConnectTimeout"):
                    await create(client)

    run(act())
    assert KEY.encode() not in received


# ---- The last look


def test_a_refusal_by_the_caller_stops_the_request_before_it_connects(emulator: RunningEmulator) -> None:
    def refuse() -> None:
        raise Lapsed

    with pytest.raises(Lapsed):
        with_client(lambda client: create(client, may_send=refuse), make_settings(emulator.base_url))
    assert emulator.account.counts["create"] == 0


@pytest.mark.parametrize("stop", [Lapsed("lease"), TimeoutError("lease"), KeyboardInterrupt()])
def test_a_refusal_at_the_last_moment_comes_out_as_it_is_and_no_body_leaves(stop: BaseException) -> None:
    received = bytearray()
    looks = 0

    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(1000):
            received.extend(part)

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise stop

    async def act() -> None:
        async with serving(serve) as base_url, LeonardoClient(make_settings(base_url)) as client:
            with pytest.raises(type(stop)) as caught:
                await create(client, make_paid_request("never to be sent"), may_send=look)
            assert caught.value is stop
            await asyncio.sleep(0.05)

    run(act())
    assert looks == 2
    assert b"never to be sent" not in received


def test_a_last_moment_refusal_is_never_billed_and_the_next_request_is(emulator: RunningEmulator) -> None:
    looks = iter([None, Lapsed("lease"), None, None])

    def look() -> None:
        if (stop := next(looks)) is not None:
            raise stop

    async def act(client: LeonardoClient) -> None:
        with pytest.raises(Lapsed):
            await create(client, may_send=look)
        assert billed(emulator) == 0
        await create(client, may_send=look)

    with_client(act, make_settings(emulator.base_url))
    assert billed(emulator) == 1
    assert next(looks, "all used") == "all used"


def test_a_transport_that_traces_nothing_is_looked_at_once() -> None:
    looks: list[None] = []
    answered(lambda client: create(client, may_send=lambda: looks.append(None)), httpx.Response(200, json=ACCEPTED))
    assert len(looks) == 1


def test_a_cancelled_create_is_cancelled_and_not_called_anything_else(emulator: RunningEmulator) -> None:
    emulator.account.add_fault("create", "hang")

    async def act(client: LeonardoClient) -> None:
        task = asyncio.create_task(create(client))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with_client(act, make_settings(emulator.base_url))
