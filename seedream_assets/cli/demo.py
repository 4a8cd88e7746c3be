"""`seedream demo`: the bundled dataset through Dagster, on the bundled emulator. No account, no S3 server."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import dagster as dg

import seedream_assets
from seedream_assets.assets import build_assets, build_checks
from seedream_assets.assets.asset_context import STAGES
from seedream_assets.cli.shared import COULD_NOT_RUN
from seedream_assets.cli.summary import describe, summarise
from seedream_assets.components.seedream_resources import DEFAULT_RESOURCES
from seedream_assets.config.dataset import UNPARTITIONED
from seedream_assets.config.yaml import load_config
from seedream_assets.emulator.server import running_emulator
from seedream_assets.emulator.settings import DEMO_KEY, EmulatorSettings
from seedream_assets.errors import SeedreamError
from seedream_assets.manifest.stage import load_manifest
from seedream_assets.planning.quote import quote_plan
from seedream_assets.planning.stage import load_plan
from seedream_assets.prompts.stage import load_snapshot
from seedream_assets.purchase.stage import load_report
from seedream_assets.quality.assemble import outcome_of
from seedream_assets.quality.stage import judge_partition
from seedream_assets.storage import open_store
from seedream_assets.wording import count_of

DATASET = "product_scenes"
INSTANCE = Path(__file__).parent / "dagster.yaml"
DECLARED = Path(seedream_assets.__file__).parent / "defs" / DATASET / "defs.yaml"
# In the current folder, where no other is given.
FOLDER = Path(".seedream")
# Quick enough to watch; a real account takes longer.
LATENCY_SECONDS = 1.0


@contextmanager
def local_environment(folder: Path, base_url: str) -> Iterator[None]:
    """Dagster's home, the store and the emulator's address and key in the environment, whatever stood there before."""
    home = folder / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(INSTANCE, home / "dagster.yaml")
    ours = {
        "DAGSTER_HOME": str(home),
        "SEEDREAM_STORE": (folder / "store").as_uri(),
        "LEONARDO_BASE_URL": base_url,
        "LEONARDO_API_KEY": DEMO_KEY,
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def demo(folder: Path | None) -> None:
    """Run the four assets against a new emulator, and print what the store holds then."""
    folder = (folder or FOLDER).resolve()
    with running_emulator(EmulatorSettings(latency_seconds=LATENCY_SECONDS)) as emulator:
        click.echo(f"a stand-in Leonardo answers at {emulator.base_url}; nothing here costs anything", err=True)
        with local_environment(folder, emulator.base_url):
            succeeded = _materialise()
        bill = emulator.account.bill()
    click.echo(f"\n{_summary(folder / 'store')}")
    click.echo(
        f"the emulator billed {count_of(bill['credits'], 'credit')} for {count_of(bill['generations'], 'generation')} in this run"
    )
    click.echo(f"images and manifest: {folder / 'store'}")
    click.echo("Dagster's UI on them: seedream dev, then open the assets of product_scenes")
    if not succeeded:
        sys.exit(COULD_NOT_RUN)


def _materialise() -> bool:
    """Run the four assets in this process, on a Dagster instance that the UI can open later."""
    config = load_config(DECLARED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        definitions = dg.Definitions(
            assets=build_assets(config),
            asset_checks=build_checks(config)[0],
            resources=DEFAULT_RESOURCES,
            loggers={"plain": _plain_lines},
        )
        job = definitions.resolve_implicit_global_asset_job_def()
        with dg.DagsterInstance.get() as instance:
            result = job.execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey([DATASET, stage]) for stage in STAGES],
                run_config={"loggers": {"plain": {}}},
                raise_on_error=False,
            )
    for check in result.get_asset_check_evaluations():
        verdict = "passed" if check.passed else ("warned" if check.severity is dg.AssetCheckSeverity.WARN else "FAILED")
        click.echo(f"check {check.check_name}: {verdict}; {check.description}", err=True)
    return result.success


class _PlainLines(logging.Handler):
    """Dagster's messages without their preamble; its own events (step started, …) are left to the UI."""

    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", {}) or {}
        if record.levelno >= logging.INFO and not getattr(record, "dagster_event", None):
            step = str(meta.get("step_key") or "").partition("__")[2]
            message = meta.get("orig_message") or record.getMessage()
            click.echo(f"{step}: {message}" if step else message, err=True)


@dg.logger({}, description="Plain lines on stderr.")
def _plain_lines(_context: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.Logger("seedream-demo", level=logging.INFO)
    logger.addHandler(_PlainLines())
    return logger


def _summary(store_folder: Path) -> str:
    """What lies in the store after the run."""
    store = open_store(store_folder.as_uri())
    config = load_config(DECLARED)
    try:
        snapshot = load_snapshot(store, config, UNPARTITIONED)
        quote = quote_plan(load_plan(store, config, UNPARTITIONED), wanted=snapshot.wanted, dataset=DATASET)
        report = load_report(store, config, UNPARTITIONED)
        manifest = load_manifest(store, config, UNPARTITIONED)
        quality = judge_partition(config, UNPARTITIONED, store, manifest, measure=False)
        outcome = outcome_of(manifest, report, quality)
    except SeedreamError as error:
        return f"nothing to sum up: {error}"
    return describe(
        summarise(
            dataset=DATASET,
            partition=UNPARTITIONED,
            quote=quote,
            rejected_rows=snapshot.rejected_rows,
            counts=outcome.counts,
            reused=outcome.reused,
            rejected=outcome.rejected,
            report=report,
            seconds=report.seconds if report else 0.0,
        )
    )
