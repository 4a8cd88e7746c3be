"""`seedream ledger`: what was bought, event by event, and what a person can do where no machine may decide."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from seedream_assets.cli.exit_codes import COULD_NOT_RUN, NOT_ALL_FINAL
from seedream_assets.components.yaml_files import load_config
from seedream_assets.ledger.adopt import ComparedField, adopt_generation, end_deleted, retract_adoption
from seedream_assets.ledger.by_hand import (
    NotByHand,
    OpenRequest,
    find_request,
    list_for_a_person,
    release_all,
    release_request,
    show_request,
)
from seedream_assets.ledger.events import encode_event
from seedream_assets.ledger.state import LedgerEntry, OpenRequests, RequestState
from seedream_assets.purchase.recollect import Recollection, find_short, recollect_images
from seedream_assets.resources import ImageStoreResource, LeonardoResource
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.open_store import refuse_missing

LONGEST_PROMPT = 60
LONGEST_BESIDE = 40


def _store_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--store", help="s3://bucket/prefix, file:///… or an absolute path.  [default: SEEDREAM_STORE]"
    )(function)


def _open(store: str | None) -> ObjectStore:
    opened = ImageStoreResource().open(store)
    refuse_missing(opened)
    return opened


@click.group("ledger", invoke_without_command=True)
@_store_option
@click.option("--json", "as_json", is_flag=True, help="Print the list as a list of objects.")
@click.pass_context
def command(context: click.Context, store: str | None, as_json: bool) -> None:
    """Look at what was bought, and settle what is uncertain. Alone, it lists what needs a person: see `list`."""
    if context.invoked_subcommand is None:
        context.invoke(list_command, store=store, as_json=as_json)
    elif store is not None or as_json:
        raise click.UsageError(
            f"give --store and --json after the command: seedream ledger {context.invoked_subcommand} …"
        )


@command.command("list")
@_store_option
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def list_command(store: str | None, as_json: bool) -> None:
    """List requests of which it is not known whether they were bought, and those that no run can go on with."""
    found, held_up = list_for_a_person(_open(store))
    if as_json:
        others = [{**_NOTHING_KNOWN, "request_id": one.request_id, "reason": one.reason} for one in held_up]
        click.echo(json.dumps([*(_as_object(request) for request in found), *others]))
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
    for one in held_up:
        click.echo(f"{one.request_id[:12]}  held up: {one.reason}")
    click.echo(str(_together(found)) if found else "nothing is uncertain")


def _together(found: Sequence[OpenRequest]) -> OpenRequests:
    return OpenRequests(
        requests=len(found),
        since=min(request.intent.at for request in found),
        credits_held=sum(request.intent.credits_reserved for request in found),
        credits_again=sum(request.intent.credits_reserved for request in found),
    )


@command.command("show")
@click.argument("request_id")
@_store_option
def show_command(request_id: str, store: str | None) -> None:
    """Print every event of REQUEST_ID (its beginning is enough), in order."""
    opened = _open(store)
    whole = find_request(opened, request_id)
    entry, events = show_request(opened, whole, on_unreadable=lambda error: click.echo(str(error), err=True))
    for event in events:
        click.echo(encode_event(event).decode(), nl=False)
    _tell(whole, entry)


@command.command("adopt")
@click.argument("request_id")
@click.argument("generation_id")
@click.option("--force", is_flag=True, help="Adopt it although something differs.")
@_store_option
def adopt_command(request_id: str, generation_id: str, force: bool, store: str | None) -> None:
    """Put down that GENERATION_ID, seen in the account, is what REQUEST_ID bought; the next run stores its images.

    The account is asked for it first (LEONARDO_API_KEY; that costs nothing), and prompt, seed, size, time and images are
    shown side by side. An id that the account does not know, or that is another request's, is refused; so is one that
    differs, without --force. `seedream ledger retract` undoes it.
    """
    opened = _open(store)
    whole = find_request(opened, request_id)
    leonardo = LeonardoResource().settings()
    _tell(whole, adopt_generation(opened, whole, generation_id, leonardo, force=force, on_compared=_show_compared))


@command.command("retract")
@click.argument("request_id")
@click.argument("generation_id")
@click.option("--reason", required=True, help="How you know that it is not this request's; kept in the ledger.")
@_store_option
def retract_command(request_id: str, generation_id: str, reason: str, store: str | None) -> None:
    """Take back that GENERATION_ID is what REQUEST_ID bought, also after its images were stored.

    REQUEST_ID is open again, and GENERATION_ID can be adopted by the request that it belongs to. What Leonardo's own
    answer named is never taken back.
    """
    opened = _open(store)
    whole = find_request(opened, request_id)
    _tell(whole, retract_adoption(opened, whole, generation_id, reason))


@command.command("end")
@click.argument("request_id")
@click.option("--reason", required=True, help="What you know of the deletion; kept in the ledger.")
@click.option("--force", is_flag=True, help="End it although the key finds no other generation of this store either.")
@_store_option
def end_command(request_id: str, reason: str, force: bool, store: str | None) -> None:
    """End REQUEST_ID, whose generation was deleted in the account: it is failed, and never bought again unasked.

    The account is asked first (LEONARDO_API_KEY; that costs nothing): what it still knows is not ended.
    """
    opened = _open(store)
    whole = find_request(opened, request_id)
    _tell(whole, end_deleted(opened, whole, reason, LeonardoResource().settings(), force=force))


@command.command("release")
@click.argument("request_id", required=False)
@click.option("--all", "every", is_flag=True, help="Every open request that no run works on.")
@click.option("--reason", required=True, help="How you know that nothing was bought; kept in the ledger.")
@_store_option
def release_command(request_id: str | None, every: bool, reason: str, store: str | None) -> None:
    """Put down that REQUEST_ID bought nothing, or with --all every open request; the next run buys it."""
    if (request_id is None) != every:
        raise click.UsageError("name one request, or all with --all")
    opened = _open(store)
    if request_id is not None:
        whole = find_request(opened, request_id)
        _tell(whole, release_request(opened, whole, reason))
        return
    released = release_all(opened, reason)
    for name, found in released.items():
        if isinstance(found, NotByHand):
            click.echo(f"{name[:12]} was left alone: {found}", err=True)
        else:
            _tell(name, found)
    free = sum(isinstance(found, LedgerEntry) and found.state is RequestState.FREE for found in released.values())
    click.echo(f"{free} of {len(released)} open requests released")
    if free < len(released):
        raise click.exceptions.Exit(NOT_ALL_FINAL)


@command.command("recollect")
@click.argument("request_id", required=False)
@click.option(
    "--dataset",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A dataset's YAML: what was bought for it, marked and signed as it says.",
)
@_store_option
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def recollect_command(request_id: str | None, dataset: Path | None, store: str | None, as_json: bool) -> None:
    """Fetch images that came late: of REQUEST_ID, or of all requests that ended with fewer than were paid for.

    Their jobs are asked for once more (LEONARDO_API_KEY); nothing is bought. What is fetched stands in the next manifest.
    """
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
    leonardo = LeonardoResource()
    overrides = config.leonardo if config else {}
    found = recollect_images(
        opened,
        short,
        leonardo.settings(overrides),
        engine=leonardo.engine(overrides),
        config=config,
        on_recollection=(lambda _found: None) if as_json else _show_recollection,
    )
    fetched, lacked = sum(one.fetched for one in found), sum(one.lacked for one in found)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found]))
    elif not found:
        click.echo("no request ended short of what was paid for")
    else:
        click.echo(f"{fetched} of {lacked} images fetched")
    if fetched:
        click.echo("they stand in the manifest when the dataset is run or materialised next", err=as_json)
    if problems or any(one.failed for one in found):
        raise click.exceptions.Exit(COULD_NOT_RUN)


def _show_recollection(found: Recollection) -> None:
    why = f"; {found.told}" if found.told else ""
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


def _tell(request_id: str, entry: LedgerEntry) -> None:
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
