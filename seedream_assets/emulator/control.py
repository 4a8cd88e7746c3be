"""The emulator's own pages: the bill, the fault script, the account's settings, and a page for people.

What belongs here: everything below `/emulator`. What does not: anything that Leonardo has.
"""

from __future__ import annotations

import html
import json

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from seedream_assets.emulator.account import Account
from seedream_assets.emulator.faults import KINDS, Fault

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
            added = [Fault.from_json(item) for item in (body if isinstance(body, list) else [body])]
        except ValueError as wrong:
            return JSONResponse({"error": str(wrong)}, status_code=400)
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
            return JSONResponse({"error": str(wrong)}, status_code=400)
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


def _page(account: Account) -> str:
    bill = account.bill(details=False)
    rows = "".join(
        f"<tr><th>{html.escape(name.replace('_', ' '))}</th><td>{html.escape(_written(value))}</td></tr>"
        for name, value in bill.items()
    )
    kinds = "".join(
        f"<tr><th>{name}</th><td>{html.escape(kind.meaning)}</td><td>{html.escape(_written(dict(kind.parameters)))}</td></tr>"
        for name, kind in KINDS.items()
    )
    pictures = "".join(
        f'<a href="{url}"><img src="{url}" width="160" loading="lazy" alt=""></a>' for url in _newest_images(account)
    )
    return (
        "<!DOCTYPE html><html><head><title>Emulated Leonardo account</title><style>"
        "body{font:15px sans-serif;margin:2em}th{text-align:left;padding-right:1.5em;font-weight:normal;color:#555}"
        "img{margin:3px}</style></head><body><h1>Emulated Leonardo account</h1>"
        "<p>Nothing here was made by a model, and nothing here costs money.</p>"
        f"<h2>Books</h2><table>{rows}</table><p><a href='/emulator/bill?details=1'>every generation, as JSON</a></p>"
        f"<h2>Newest images</h2><p>{pictures or 'none yet'}</p>"
        f"<h2>Faults to script</h2><p>POST /emulator/faults; now in force: {len(account.script.faults())}</p>"
        f"<table>{kinds}</table></body></html>"
    )


def _newest_images(account: Account) -> list[str]:
    now = account.clock()
    urls = [
        f"/cdn/users/{account.settings.user_id}/generations/{job.generation_id}/{job.file_name(index)}"
        for job in account.history(0, _NEWEST_SHOWN)
        for index in job.indexes(now)
    ]
    return urls[:_NEWEST_SHOWN]


def _written(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_written(inner)}" for name, inner in value.items()) or "none"
    if isinstance(value, list):
        return str(len(value))
    return str(value)
