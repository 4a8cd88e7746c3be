"""`seedream ledger`: what was bought, event by event, and what a person can do about an uncertain request."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from seedream_assets.core.ledger import Standing
from seedream_assets.core.ledger_events import encode_event
from seedream_assets.generation.by_hand import (
    OpenRequest,
    adopt_generation,
    find_request,
    list_open,
    release_request,
    show_request,
)
from seedream_assets.resources import ImageStoreResource
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.open_store import refuse_missing

LONGEST_PROMPT = 60


def _store_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--store", help="s3://bucket/prefix, file:///… or an absolute path.  [default: SEEDREAM_STORE]"
    )(function)


def _open(store: str | None) -> ObjectStore:
    opened = ImageStoreResource().open(store)
    refuse_missing(opened)
    return opened


@click.group("ledger")
def command() -> None:
    """Look at what was bought, and settle what is uncertain."""


@command.command("list")
@_store_option
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def list_command(store: str | None, as_json: bool) -> None:
    """List requests of which it is not known whether they were bought."""
    found = list_open(_open(store))
    if as_json:
        click.echo(json.dumps([_as_object(request) for request in found]))
        return
    for request in found:
        intent = request.intent
        prompt = intent.prompt if len(intent.prompt) <= LONGEST_PROMPT else intent.prompt[: LONGEST_PROMPT - 1] + "…"
        click.echo(
            f"{intent.request_id[:12]}  {intent.dataset}/{intent.partition}  {intent.count} images, "
            f"{intent.credits_reserved} credits, since {intent.at:%Y-%m-%d %H:%M:%S} UTC\n"
            f"    {intent.width}x{intent.height}, seed {intent.seed}: {prompt!r}\n"
            f"    {request.reason}"
        )
    click.echo(f"{len(found)} open requests" if found else "nothing is uncertain")


@command.command("show")
@click.argument("request_id")
@_store_option
def show_command(request_id: str, store: str | None) -> None:
    """Print every event of REQUEST_ID (its beginning is enough), in order."""
    opened = _open(store)
    whole = find_request(opened, request_id)
    standing, events = show_request(opened, whole)
    for event in events:
        click.echo(encode_event(event).decode(), nl=False)
    _tell(whole, standing)


@command.command("adopt")
@click.argument("request_id")
@click.argument("generation_id")
@_store_option
def adopt_command(request_id: str, generation_id: str, store: str | None) -> None:
    """Put down that GENERATION_ID, seen in the account, is what REQUEST_ID bought."""
    opened = _open(store)
    whole = find_request(opened, request_id)
    _tell(whole, adopt_generation(opened, whole, generation_id))


@command.command("release")
@click.argument("request_id")
@click.option("--reason", required=True, help="How you know that nothing was bought; kept in the ledger.")
@_store_option
def release_command(request_id: str, reason: str, store: str | None) -> None:
    """Put down that REQUEST_ID bought nothing; the next run buys it."""
    opened = _open(store)
    whole = find_request(opened, request_id)
    _tell(whole, release_request(opened, whole, reason))


def _tell(request_id: str, standing: Standing) -> None:
    click.echo(f"{request_id[:12]} is {standing.state.value}, attempt {standing.attempt}")


def _as_object(request: OpenRequest) -> dict[str, Any]:
    intent = request.intent
    return {
        "request_id": intent.request_id,
        "dataset": intent.dataset,
        "partition": intent.partition,
        "count": intent.count,
        "credits_reserved": intent.credits_reserved,
        "at": intent.at.isoformat(),
        "prompt": intent.prompt,
        "width": intent.width,
        "height": intent.height,
        "seed": intent.seed,
        "in_hands": request.in_hands,
        "reason": request.reason,
    }
