"""`seedream ledger`: what was bought, event by event, and what a person can do where no machine may decide."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from seedream_assets.budget.dataset_budget import book_again
from seedream_assets.budget.log import PricesOfLate
from seedream_assets.budget.rules import Asked, DearPrices, kind_of, price_of
from seedream_assets.cli.shared import COULD_NOT_RUN, NOT_ALL_FINAL, shortened
from seedream_assets.config.models import MODELS, credits_for
from seedream_assets.config.yaml import load_config
from seedream_assets.deployment import engine_settings, leonardo_settings, open_declared_store
from seedream_assets.ledger.adopt import ComparedField, adopt_generation, end_deleted, retract_adoption
from seedream_assets.ledger.by_hand import (
    NotByHand,
    OpenRequest,
    find_request,
    list_open,
    release_all,
    release_request,
    show_request,
)
from seedream_assets.ledger.events import Intent, encode_event
from seedream_assets.ledger.state import LedgerEntry, OpenRequests, RequestState
from seedream_assets.purchase.recollect import Recollection, find_short, recollect_images
from seedream_assets.storage import refuse_missing
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.wording import count_of

LONGEST_BESIDE = 40


def _open(store: str | None) -> ObjectStore:
    opened = open_declared_store(store)
    refuse_missing(opened)
    return opened


def list_requests(store: str | None, as_json: bool) -> None:
    """Print the open requests that a person can settle, and those that no run can go on with."""
    opened = _open(store)
    found, held_up = list_open(opened)
    if as_json:
        others = [{**_NOTHING_KNOWN, "request_id": one.request_id, "reason": one.reason} for one in held_up]
        click.echo(json.dumps([*(_as_object(request) for request in found), *others]))
        return
    for request in found:
        intent = request.intent
        click.echo(
            f"{intent.request_id[:12]}  {intent.dataset}/{intent.partition}  {count_of(intent.count, 'image')}, "
            f"{count_of(intent.credits_reserved, 'credit')}, since {intent.at:%Y-%m-%d %H:%M:%S} UTC\n"
            f"    {intent.width}x{intent.height}, seed {'not sent' if intent.seed is None else intent.seed}: {shortened(intent.prompt)!r}\n"
            f"    {request.reason}"
        )
    for one in held_up:
        click.echo(f"{one.request_id[:12]}  held up: {one.reason}")
    click.echo(str(_together(opened, found)) if found else "nothing is uncertain")


def _together(store: ObjectStore, found: Sequence[OpenRequest]) -> OpenRequests:
    prices = PricesOfLate(store)
    return OpenRequests(
        requests=len(found),
        since=min(request.intent.at for request in found),
        credits_held=sum(request.intent.credits_reserved for request in found),
        credits_again=sum(_price_again(request.intent, prices.of(request.intent.dataset)) for request in found),
    )


def _price_again(intent: Intent, known: DearPrices) -> int:
    """Credits for buying a request anew: by the price list or the dearest answer of late, as a plan counts it."""
    model = MODELS.get(intent.model)
    listed = credits_for(model, intent.count) if model and model.price else intent.credits_reserved
    kind = kind_of(intent.model, intent.width, intent.height)
    return price_of(known, Asked(kind=kind, images=intent.count, listed=listed))


def show(request_id: str, store: str | None) -> None:
    """Print every event of a request, in order, and its state."""
    opened = _open(store)
    whole = find_request(opened, request_id)
    entry, events = show_request(opened, whole, on_unreadable=lambda error: click.echo(str(error), err=True))
    for event in events:
        click.echo(encode_event(event).decode(), nl=False)
    _print_state(whole, entry)


def adopt(request_id: str, generation_id: str, force: bool, store: str | None) -> None:
    """Give a generation of the account to a request, after both were shown side by side."""
    opened = _open(store)
    whole = find_request(opened, request_id)
    leonardo = leonardo_settings({})
    entry = adopt_generation(
        opened, whole, generation_id, leonardo, book_again=book_again, force=force, on_compared=_show_compared
    )
    _print_state(whole, entry)


def retract(request_id: str, generation_id: str, reason: str, store: str | None) -> None:
    """Undo an adoption: the request is open again."""
    opened = _open(store)
    whole = find_request(opened, request_id)
    _print_state(whole, retract_adoption(opened, whole, generation_id, reason))


def end(request_id: str, reason: str, force: bool, store: str | None) -> None:
    """End a request as failed, since its generation was deleted in the account."""
    opened = _open(store)
    whole = find_request(opened, request_id)
    _print_state(whole, end_deleted(opened, whole, reason, leonardo_settings({}), force=force))


def release(request_id: str | None, every: bool, reason: str, store: str | None) -> None:
    """Record that one request, or every open one, bought nothing."""
    if (request_id is None) != every:
        raise click.UsageError("name one request, or all with --all")
    opened = _open(store)
    if request_id is not None:
        whole = find_request(opened, request_id)
        _print_state(whole, release_request(opened, whole, reason))
        return
    released = release_all(opened, reason)
    for name, found in released.items():
        if isinstance(found, NotByHand):
            click.echo(f"{name[:12]} was left alone: {found}", err=True)
        else:
            _print_state(name, found)
    free = sum(isinstance(found, LedgerEntry) and found.state is RequestState.FREE for found in released.values())
    click.echo(f"{free} of {count_of(len(released), 'open request')} released")
    if free < len(released):
        raise click.exceptions.Exit(NOT_ALL_FINAL)


def recollect(request_id: str | None, dataset: Path | None, store: str | None, as_json: bool) -> None:
    """Fetch the late images of one request, or of all that ended with fewer than were paid for."""
    config = load_config(dataset) if dataset else None
    opened = _open(store or (config.store if config else None))
    problems: list[str] = []
    short = find_short(
        opened,
        request_id=find_request(opened, request_id) if request_id else None,
        dataset=config.name if config else None,
        on_problem=problems.append,
    )
    for problem in problems:
        click.echo(f"seedream: {problem}", err=True)
    overrides = config.overrides if config else {}
    found = recollect_images(
        opened,
        short,
        leonardo_settings(overrides),
        engine=engine_settings(overrides),
        config=config,
        on_recollection=(lambda _found: None) if as_json else _show_recollection,
    )
    fetched, lacked = sum(one.fetched for one in found), sum(one.lacked for one in found)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found]))
    elif not found:
        click.echo("no request ended short of what was paid for")
    else:
        click.echo(f"{fetched} of {count_of(lacked, 'image')} fetched")
    if fetched:
        click.echo("they stand in the manifest when the dataset is run or materialised next", err=as_json)
    if problems or any(one.failed for one in found):
        raise click.exceptions.Exit(COULD_NOT_RUN)


def _show_recollection(found: Recollection) -> None:
    why = f"; {found.reason}" if found.reason else ""
    click.echo(
        f"{found.request_id[:12]}  {found.dataset}/{found.partition}  {found.fetched} of {found.lacked} fetched{why}"
    )


def _show_compared(fields: Sequence[ComparedField]) -> None:
    """Side by side; long prompts one below the other."""
    for field in fields:
        likeness = "" if field.likeness == "same" else f"  <- {field.likeness}"
        if max(len(field.request), len(field.generation)) > LONGEST_BESIDE:
            click.echo(f"{field.name}{likeness}\n  request     {field.request}\n  generation  {field.generation}")
        else:
            click.echo(f"{field.name:<8}  request {field.request}  |  generation {field.generation}{likeness}")


def _print_state(request_id: str, entry: LedgerEntry) -> None:
    more = f": {entry.why_untouched}" if entry.unknown else ""
    click.echo(f"{request_id[:12]} is {entry.state.value}, attempt {entry.attempt}{more}")


_NOTHING_KNOWN = dict.fromkeys(
    ("request_id", "dataset", "partition", "count", "credits_reserved", "at", "prompt", "width", "height", "seed")
) | {"in_hands": False}


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
