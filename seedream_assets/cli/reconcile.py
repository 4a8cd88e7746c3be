"""`seedream reconcile dataset.yaml`: the account's history against the ledger, both ways. Reads only, unless it is to adopt."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from seedream_assets.cli.shared import DIFFERENT, NOT_COMPARED, shortened
from seedream_assets.config.addresses import shown
from seedream_assets.config.yaml import load_config
from seedream_assets.deployment import Deployment
from seedream_assets.errors import SeedreamError
from seedream_assets.purchase.reconcile import NotInLedger, Reconciliation, adopt_planned, reconcile
from seedream_assets.wording import count_of

SHOWN = 50


def compare(dataset: Path, since: datetime, adopt: bool, as_json: bool) -> None:
    """Compare from this moment on, adopt where asked to, and print the differences."""
    adopted: list[str] = []
    left: list[str] = []
    try:
        config = load_config(dataset)
        deployment = Deployment.from_environment(config)
        found = reconcile(deployment, since=since)
        if adopt:
            adopted, left = adopt_planned(deployment, found)
            found = reconcile(deployment, since=since) if adopted or left else found
    except SeedreamError as error:
        click.echo(f"seedream: {error}", err=True)
        raise click.exceptions.Exit(NOT_COMPARED) from error
    for line in (*(f"adopted: {one}" for one in adopted), *(f"not adopted: {one}" for one in left)):
        click.echo(line, err=True)
    click.echo(
        json.dumps(_as_object(found) | {"adopted": adopted, "not_adopted": left}) if as_json else _describe(found)
    )
    if not found.agrees or left:
        raise click.exceptions.Exit(DIFFERENT)


def _as_object(found: Reconciliation) -> dict[str, Any]:
    return {
        "since": found.since.isoformat(),
        "whole": found.whole,
        "agrees": found.agrees,
        "account": found.account,
        "balance": None if found.balance is None else float(found.balance),
        "balance_unit": found.balance_unit,
        "agreeing": found.agreeing,
        "open_requests": found.open_requests,
        "not_in_ledger": [_generation(one) for one in found.not_in_ledger],
        "not_in_account": [
            {"request_id": one.request_id, "generation_id": one.generation_id, "since": one.since.isoformat()}
            for one in found.not_in_account
        ],
        "images": sum(len(one.generation.images) for one in found.not_in_ledger),
        "amount": found.credits_not_in_ledger,
        "unit": "CREDITS",
    }


def _generation(one: NotInLedger) -> dict[str, Any]:
    generation, planned = one.generation, one.planned
    return {
        "generation_id": generation.id,
        "created_at": generation.created_at.isoformat() if generation.created_at else None,
        "status": generation.status.value,
        "prompt": shown(generation.prompt),
        "width": generation.width,
        "height": generation.height,
        "seed": generation.seed,
        "images": len(generation.images),
        "credits_estimated": one.credits,
        "planned_request": planned.request.request_id if planned else None,
        "dataset": planned.dataset if planned else None,
        "partition": planned.partition if planned else None,
    }


def _describe(found: Reconciliation) -> str:
    """The comparison for a person."""
    lines = []
    for one in found.not_in_ledger[:SHOWN]:
        generation = one.generation
        when = f"{generation.created_at:%Y-%m-%d %H:%M:%S} UTC" if generation.created_at else "at an unknown time"
        planned = f"; equals planned request {one.planned.request.request_id[:12]}: --adopt" if one.planned else ""
        lines.append(
            f"not in the ledger: {generation.id}, {when}, {generation.status.value}, {count_of(len(generation.images), 'image')}, "
            f"about {count_of(one.credits, 'credit')}: {shortened(shown(generation.prompt))!r}{planned}"
        )
    lines += [
        f"not in the account: {one.generation_id} of request {one.request_id[:12]}, "
        f"in the ledger since {one.since:%Y-%m-%d %H:%M:%S} UTC"
        for one in found.not_in_account[:SHOWN]
    ]
    more = max(0, len(found.not_in_ledger) - SHOWN) + max(0, len(found.not_in_account) - SHOWN)
    lines += [f"… and {more} more; --json lists all"] if more else []
    if found.open_requests:
        lines.append(f"{count_of(found.open_requests, 'open request')}; see: seedream ledger")
    if not found.whole:
        lines.append("the history could not be read back so far (recovery.history_pages); more may differ")
    balance = "not known" if found.balance is None else f"{found.balance.normalize():f} {found.balance_unit.lower()}"
    lines.append(
        f"account {found.account} since {found.since:%Y-%m-%d %H:%M} UTC: {count_of(found.agreeing, 'generation')} in both, "
        f"{len(found.not_in_ledger)} not in the ledger (about {count_of(found.credits_not_in_ledger, 'credit')}), "
        f"{len(found.not_in_account)} not in the account; balance now {balance}"
    )
    return "\n".join(lines)
