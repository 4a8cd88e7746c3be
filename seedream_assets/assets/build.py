"""A declared dataset → its four assets, in the order of the flow."""

from __future__ import annotations

import warnings

import dagster as dg

from seedream_assets.assets.account_check import build_account_check, build_reconcile_schedule
from seedream_assets.assets.automation import build_schedule, build_sensor
from seedream_assets.assets.bucket_check import build_bucket_check, build_verify_schedule
from seedream_assets.assets.dataset import build_dataset
from seedream_assets.assets.frame import AssetFrame
from seedream_assets.assets.generation_requests import build_generation_requests
from seedream_assets.assets.images import build_images
from seedream_assets.assets.prompts import build_prompts
from seedream_assets.config.dataset import DatasetConfig


def build_assets(config: DatasetConfig, *, owners: list[str], description: str | None) -> list[dg.AssetsDefinition]:
    """`prompts`, `generation_requests`, `images`, `dataset`."""
    frame = AssetFrame.of(config, owners=owners, description=description)
    with warnings.catch_warnings():
        # `backfill_policy` is in beta in Dagster 1.13, and checks with partitions in preview; both say so once each.
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [build_prompts(frame), build_generation_requests(frame), build_images(frame), build_dataset(frame)]


def build_checks(config: DatasetConfig) -> tuple[list[dg.AssetChecksDefinition], list[dg.ScheduleDefinition]]:
    """The checks that run on their own, and their schedules."""
    frame = AssetFrame.of(config, owners=[], description=None)
    checks = (build_bucket_check(frame), build_account_check(frame))
    schedules = (build_verify_schedule(frame), build_reconcile_schedule(frame))
    return [check for check in checks if check], [schedule for schedule in schedules if schedule]


def build_automation(config: DatasetConfig) -> tuple[list[dg.ScheduleDefinition], list[dg.SensorDefinition]]:
    """The schedule and the sensor of the four assets, as far as they are declared."""
    frame = AssetFrame.of(config, owners=[], description=None)
    schedule, sensor = build_schedule(frame), build_sensor(frame)
    return [schedule] if schedule else [], [sensor] if sensor else []
