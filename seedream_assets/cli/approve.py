"""`seedream approve dataset.yaml`: let the rest of a plan be bought, after a look at its sample. Spends nothing."""

from __future__ import annotations

import json
from pathlib import Path

import click

from seedream_assets.approval.gate import approve, open_gate
from seedream_assets.approval.preview import assess_sample
from seedream_assets.cli.declared import deployment_of, partitions_of, this_person
from seedream_assets.components.yaml_files import load_config
from seedream_assets.planning.stage import load_manifest, load_plan


@click.command("approve")
@click.argument("dataset", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--partition", multiple=True, help="A partition to approve; may be repeated. Default: all there are.")
@click.option(
    "--plan", "asked", help="The hash of the plan that you mean; refused where the plan is another one by now."
)
@click.option("--by", help="Who approves. Default: this user on this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print the approval as one JSON object, last on stdout.")
def command(dataset: Path, partition: tuple[str, ...], asked: str | None, by: str | None, as_json: bool) -> None:
    """Approve the plan that was last made, so that the next run buys all of it.

    Several partitions are approved as the one run that they were: with the hash that it told.
    """
    config = load_config(dataset)
    if config.approval is None:
        raise click.UsageError(f"{config.name} asks for no approval; there is nothing to approve")
    deployment = deployment_of(config)
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
            sample = gate.sample_of(key) | plan.sample_bought
            findings = assess_sample(load_manifest(store, config, key), sample)
            click.echo(f"{key}: {findings}", err=True)
    who = by or this_person()
    records = approve(gate, asked or gate.hash, config, store, by=who, dagster_run_id=None)
    for record in records:
        told = f"approved: plan {record.plan}, {record.credits} credits, by {record.by}"
        click.echo(told if len(keys) == 1 else f"{record.partition}: {told}", err=as_json)
    if as_json:
        credits = sum(record.credits for record in records)
        approved = [record.partition for record in records]
        click.echo(json.dumps({"plan": gate.hash, "credits": credits, "approved": approved, "by": who}))
