"""A declared dataset → its four assets, in the order of the flow, with their checks, schedule and sensor.

Dagster's side of the stages, and thin: what a stage decides or does is in the package of its subject. A module here
reads a partition's result and reports it. Nothing here talks to the paid API or to S3 by itself.
"""

from __future__ import annotations

import warnings

import dagster as dg

from seedream_assets.assets.asset_context import AssetContext
from seedream_assets.assets.automation import build_schedule, build_sensor
from seedream_assets.assets.dataset import build_dataset
from seedream_assets.assets.generation_requests import build_generation_requests
from seedream_assets.assets.images import build_images
from seedream_assets.assets.prompts import build_prompts
from seedream_assets.assets.store_checks import (
    build_account_check,
    build_bucket_check,
    build_reconcile_schedule,
    build_verify_schedule,
)
from seedream_assets.config.dataset import DatasetConfig


def build_assets(config: DatasetConfig) -> list[dg.AssetsDefinition]:
    """`prompts`, `generation_requests`, `images`, `dataset`."""
    assets = AssetContext(config=config)
    with warnings.catch_warnings():
        # `backfill_policy` is in beta in Dagster 1.13, and checks with partitions in preview; both say so once each.
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [build_prompts(assets), build_generation_requests(assets), build_images(assets), build_dataset(assets)]


def build_checks(config: DatasetConfig) -> tuple[list[dg.AssetChecksDefinition], list[dg.ScheduleDefinition]]:
    """The checks that run on their own, and their schedules."""
    assets = AssetContext(config=config)
    checks = (build_bucket_check(assets), build_account_check(assets))
    schedules = (build_verify_schedule(assets), build_reconcile_schedule(assets))
    return [check for check in checks if check], [schedule for schedule in schedules if schedule]


def build_automation(config: DatasetConfig) -> tuple[list[dg.ScheduleDefinition], list[dg.SensorDefinition]]:
    """The schedule and the sensor of the four assets, as far as they are declared."""
    assets = AssetContext(config=config)
    schedule, sensor = build_schedule(assets), build_sensor(assets)
    return [schedule] if schedule else [], [sensor] if sensor else []
