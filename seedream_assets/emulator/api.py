"""The stand-in API as an ASGI app: which path is which operation, and the order in which a request is treated.

Routes, authorisation, faults before and after, sending, and the tests' own control routes. What an operation does is in
`operations`. Routes are plain ASGI endpoints below a bare router, without any middleware, to keep up with several
hundred requests per second on one core.
"""

from __future__ import annotations

import html
import inspect
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from seedream_assets.emulator import operations
from seedream_assets.emulator.account import Account, RefusedError
from seedream_assets.emulator.answers import Answer, flat_error, html_page
from seedream_assets.emulator.connection import play_after, play_before, send_answer
from seedream_assets.emulator.faults import Fault
from seedream_assets.emulator.operations import Call
from seedream_assets.emulator.settings import describe_mistakes

_NEWEST_SHOWN = 24


def control_routes(account: Account) -> list[Route]:
    """Serve the control pages of one account. They need no key and strike no limits."""

    async def bill(request: Request) -> Response:
        details = request.query_params.get("details", "0") not in ("", "0", "false")
        return JSONResponse(account.bill(details=details))

    async def faults(request: Request) -> Response:
        return JSONResponse({"faults": [fault.to_json() for fault in account.script.faults()]})

    async def add_faults(request: Request) -> Response:
        try:
            body = json.loads(await request.body())
            added = [Fault.model_validate(item) for item in (body if isinstance(body, list) else [body])]
        except ValueError as wrong:
            return _refused(wrong)
        for fault in added:
            account.script.add(fault)
        return JSONResponse({"faults": [fault.to_json() for fault in added]}, status_code=201)

    async def clear_faults(request: Request) -> Response:
        account.clear_faults()
        return Response(status_code=204)

    async def settings(request: Request) -> Response:
        return JSONResponse(account.settings.to_json())

    async def change_settings(request: Request) -> Response:
        try:
            account.change(**json.loads(await request.body()))
        except (ValueError, TypeError) as wrong:
            return _refused(wrong)
        return JSONResponse(account.settings.to_json())

    async def page(request: Request) -> Response:
        return HTMLResponse(_page(account))

    return [
        Route("/emulator", page, methods=["GET"]),
        Route("/emulator/bill", bill, methods=["GET"]),
        Route("/emulator/faults", faults, methods=["GET"]),
        Route("/emulator/faults", add_faults, methods=["POST"]),
        Route("/emulator/faults", clear_faults, methods=["DELETE"]),
        Route("/emulator/settings", settings, methods=["GET"]),
        Route("/emulator/settings", change_settings, methods=["PATCH"]),
    ]


def _refused(wrong: ValueError | TypeError) -> Response:
    text = describe_mistakes(wrong) if isinstance(wrong, ValidationError) else str(wrong)
    return JSONResponse({"error": text}, status_code=400)


def _page(account: Account) -> str:
    bill = account.bill(details=False)
    rows = "".join(
        f"<tr><th>{html.escape(name.replace('_', ' '))}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in bill.items()
    )
    pictures = "".join(
        f'<a href="{url}"><img src="{url}" width="160" loading="lazy" alt=""></a>' for url in _newest_images(account)
    )
    return (
        "<!DOCTYPE html><html><head><title>Emulated Leonardo account</title><style>"
        "body{font:15px sans-serif;margin:2em}th{text-align:left;padding-right:1.5em;font-weight:normal;color:#555}"
        "img{margin:3px}</style></head><body><h1>Emulated Leonardo account</h1>"
        "<p>Nothing here was made by a model, and nothing here costs money.</p>"
        f"<h2>Bill</h2><table>{rows}</table><p><a href='/emulator/bill?details=1'>every generation, as JSON</a></p>"
        f"<h2>Newest images</h2><p>{pictures or 'none yet'}</p></body></html>"
    )


def _newest_images(account: Account) -> list[str]:
    now = account.clock()
    urls = [
        f"/cdn/users/{account.settings.user_id}/generations/{job.generation_id}/{job.file_name(index)}"
        for job in account.history(0, _NEWEST_SHOWN)
        for index in job.indexes(now)
    ]
    return urls[:_NEWEST_SHOWN]


Handler = Callable[[Account, Call], Answer | Awaitable[Answer]]

_WITHOUT_KEY: Final = ("upload", "download")


@dataclass(slots=True)
class Endpoint:
    """One operation: count it, let it in, play the fault that strikes it, handle it, send the answer."""

    account: Account
    operation: str
    handler: Handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Treat one request."""
        account, operation = self.account, self.operation
        account.count(operation)
        request = Request(scope, receive)
        try:
            body = await request.body() if scope["method"] == "POST" else b""
        except ClientDisconnect:
            return
        headers = request.headers
        call = Call(
            request.path_params, request.query_params, headers.get("host", ""), headers.get("content-type", ""), body
        )
        refusal = self._refusal(headers.get("authorization"), call)
        if refusal is not None:
            await send_answer(refusal, scope, send)
            return
        prompt = operations.prompt_of(account, operation, call) if account.script.needs_prompt() else ""
        call.fault = fault = account.script.strike(operation, prompt)
        if fault is None:
            await send_answer(await self._handled(call), scope, send)
            return
        if fault.kind == "rate_limit":
            account.count("rate_limited")
        if not await play_before(fault, scope, receive, send):
            await play_after(fault, await self._handled(call), scope, receive, send)

    def _refusal(self, authorization: str | None, call: Call) -> Answer | None:
        if self.operation in _WITHOUT_KEY:
            if authorization is None:
                return None
            self.account.note_violation(f"Authorization header sent to {self.operation}", leak=True)
            status = 403 if self.operation == "upload" else 400
            return flat_error(status, "Only one auth mechanism allowed", "bad-request")
        try:
            call.key_fingerprint = self.account.admit(authorization, creates=self.operation == "create")
        except RefusedError as refused:
            return _flat(refused)
        return None

    async def _handled(self, call: Call) -> Answer:
        try:
            answer = self.handler(self.account, call)
            return await answer if inspect.isawaitable(answer) else answer
        except RefusedError as refused:
            return _flat(refused)


def _flat(refused: RefusedError) -> Answer:
    return flat_error(refused.status, refused.message, refused.code, refused.retry_after)


def build_app(account: Account) -> ASGIApp:
    """Put the whole API on one account: at the root, and the same below `/api/rest` as on the vendor's host."""

    def route(path: str, operation: str, handler: Handler, method: str = "GET") -> Route:
        return Route(path, Endpoint(account, operation, handler), methods=[method])

    elsewhere = Endpoint(account, "download", operations.nothing_there)
    api: list[BaseRoute] = [
        route("/v1/generations/{id}", "poll", operations.poll),
        route("/v2/generations", "create", operations.create, "POST"),
        route("/v1/generations/user/{user_id}", "history", operations.history),
        route("/v1/me", "me", operations.me),
        route("/v1/init-image", "init_image", operations.init_image, "POST"),
        Mount("/v1", _always(_ENDPOINT_NOT_FOUND)),
        Mount("/v2", _always(_ENDPOINT_NOT_FOUND)),
    ]
    files: list[BaseRoute] = [
        route("/cdn/users/{user_id}/generations/{generation_id}/{file}", "download", operations.download),
        route("/upload/", "upload", operations.upload, "POST"),
        Route("/cdn/{rest:path}", elsewhere),
        Route("/upload/{rest:path}", elsewhere),
    ]
    wrong_path = _always(_WRONG_PATH)
    prefixed = Mount("/api/rest", app=Router(api, redirect_slashes=False, default=wrong_path))
    return Router([*files, *api, *control_routes(account), prefixed], redirect_slashes=False, default=wrong_path)


def _always(answer: Answer) -> ASGIApp:
    async def send_it(scope: Scope, receive: Receive, send: Send) -> None:
        await send_answer(answer, scope, send)

    return send_it


# Below a version, the vendor's own answer for a path or method it does not have, such as GET /v2/generations/{id};
# anywhere else the proxy before it answers.
_ENDPOINT_NOT_FOUND: Final = flat_error(404, "Endpoint not found", "not-found")
_WRONG_PATH: Final = html_page(403, "Sorry, you have been blocked")
