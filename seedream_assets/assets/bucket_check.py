"""The check `bucket_matches_manifest`: the whole dataset's manifests against the bucket, both ways, on its own.

It belongs to the asset `dataset` and is a step of its own, so it runs from the UI, from a schedule, and whenever the
asset is materialised. What it reads follows `verify` in the YAML.
"""

from __future__ import annotations

import dagster as dg
import pandas as pd

from seedream_assets.assets.failures import as_dagster_failures
from seedream_assets.assets.frame import AssetFrame
from seedream_assets.assets.tables import preview
from seedream_assets.errors import ObjectUnreadable
from seedream_assets.manifest.verify import Verification, load_manifests, verify_images
from seedream_assets.resources import ImageStoreResource

BUCKET_MATCHES = "bucket_matches_manifest"
DIFFERENCES_SHOWN = 50


def build_bucket_check(frame: AssetFrame) -> dg.AssetChecksDefinition:
    """The check over all partitions of a dataset that have a manifest."""
    verify = frame.config.verify

    @dg.asset_check(
        asset=frame.key("dataset"),
        name=BUCKET_MATCHES,
        description="Every image of every manifest is in the bucket as it should be, and nothing is there that nobody "
        "accounts for. " + ("All bytes are read." if verify.deep else "List calls only: lengths, not bytes."),
    )
    def bucket_matches_manifest(image_store: ImageStoreResource) -> dg.AssetCheckResult:
        with as_dagster_failures():
            store = image_store.open(frame.config.store)
            unreadable: list[ObjectUnreadable] = []
            manifests = load_manifests(store, frame.config.name, on_unreadable=unreadable.append)
            found = verify_images(
                store, manifests, most_read=None if verify.deep else 0, with_extra=True, unreadable=unreadable
            )
            return verification_result(frame, BUCKET_MATCHES, found)

    return bucket_matches_manifest


def build_verify_schedule(frame: AssetFrame) -> dg.ScheduleDefinition | None:
    """The schedule that runs the check alone; None where the YAML names none. It is off until somebody turns it on."""
    declared = frame.config
    if declared.verify.schedule is None:
        return None
    check = dg.AssetCheckKey(frame.key("dataset"), BUCKET_MATCHES)
    return dg.ScheduleDefinition(
        name=f"{declared.name}_verify",
        target=dg.AssetSelection.checks(check),
        cron_schedule=declared.verify.schedule,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=f"Compares the bucket with the manifests of {declared.name}. Spends nothing, writes nothing.",
    )


def verification_result(frame: AssetFrame, name: str, found: Verification) -> dg.AssetCheckResult:
    """A check's result from a comparison, with the differences as a table."""
    table = pd.DataFrame(
        [(one.kind, one.partition, one.image_id, one.object_key, one.told) for one in found.differences],
        columns=["kind", "partition", "image_id", "object_key", "told"],
    )
    counted = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in found.counts.items() if count)
    wrong = f"{len(found.differences)} images are not as the manifest says: {counted}; "
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=frame.key("dataset"),
        passed=not found.differences,
        description=f"{wrong if found.differences else ''}all {found.images} images looked up, {found.read} read"
        f"{'' if found.differences else ', nothing amiss'}",
        metadata={
            "images": found.images,
            "images_read": found.read,
            "problems": len(found.differences),
            **found.counts,
            **({} if found.unwanted is None else {"owned_and_not_wanted": found.unwanted}),
            "found": preview(table, rows=DIFFERENCES_SHOWN),
        },
    )
