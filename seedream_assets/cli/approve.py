"""`seedream approve dataset.yaml`: let the rest of a plan be bought, after a look at its preview. Spends nothing."""

from __future__ import annotations

import json
from pathlib import Path

import click

from seedream_assets.approval.preview import assess_preview
from seedream_assets.approval.store import approve, open_gate
from seedream_assets.cli.shared import partitions_of, this_person
from seedream_assets.config.yaml import load_config
from seedream_assets.deployment import Deployment
from seedream_assets.manifest.stage import load_manifest
from seedream_assets.planning.stage import load_plan
from seedream_assets.wording import count_of


def approve_plan(dataset: Path, partition: tuple[str, ...], asked: str | None, by: str | None, as_json: bool) -> None:
    """Write the approval of each partition's latest plan, after what its preview came to."""
    config = load_config(dataset)
    if config.approval is None:
        raise click.UsageError(f"{config.name} asks for no approval; there is nothing to approve")
    deployment = Deployment.from_environment(config)
    store = deployment.store
    keys = partitions_of(config, partition, deployment)
    if len(keys) == 1:
        load_plan(store, config, keys[0])  # says what to do where there is none
    gate = open_gate(config, keys, store)
    for key, plan in gate.plans.items():
        if plan.approved_by is not None:
            click.echo(f"{key}: plan {plan.hash} is approved already: {plan.approved_by}", err=True)
        elif not plan.is_open:
            click.echo(f"{key}: plan {plan.hash} has nothing to buy; no approval is needed", err=True)
        else:
            # Those of the plan that are bought by now, whether or not it was made before they were.
            preview = gate.preview_of(key) | plan.preview_bought
            findings = assess_preview(load_manifest(store, config, key), preview)
            click.echo(f"{key}: {findings}", err=True)
    who = by or this_person()
    records = approve(gate, asked or gate.hash, config, store, by=who, dagster_run_id=None)
    for record in records:
        message = f"approved: plan {record.plan}, {count_of(record.credits, 'credit')}, by {record.by}"
        click.echo(message if len(keys) == 1 else f"{record.partition}: {message}", err=as_json)
    if as_json:
        credits = sum(record.credits for record in records)
        approved = [record.partition for record in records]
        click.echo(json.dumps({"plan": gate.hash, "credits": credits, "approved": approved, "by": who}))
