"""The two checks that run on their own, and their schedules: bucket against manifests, account against ledger.

`bucket_matches_manifest` compares the whole dataset's manifests with the bucket, both ways; what it reads follows
`verify` in the YAML. `account_matches_ledger` compares the account's history with the ledger of the dataset's store; it
asks the paid API, and is there only where the YAML has `reconcile`. Both belong to the asset `dataset` and are steps of
their own. Checks of one materialisation do not belong here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pandas as pd

from seedream_assets.assets.asset_context import AssetContext
from seedream_assets.assets.partition_report import as_dagster_failures
from seedream_assets.assets.ui_metadata import rows_table
from seedream_assets.config.addresses import shown
from seedream_assets.errors import ObjectUnreadable
from seedream_assets.manifest.verify import Verification, load_manifests, verify_images
from seedream_assets.purchase.reconcile import Reconciliation, reconcile
from seedream_assets.resources import ImageStoreResource, LeonardoResource
from seedream_assets.wording import count_of

BUCKET_MATCHES = "bucket_matches_manifest"
ACCOUNT_MATCHES = "account_matches_ledger"
DIFFERENCES_SHOWN = 50


def build_bucket_check(assets: AssetContext) -> dg.AssetChecksDefinition:
    """The check over all partitions of a dataset that have a manifest."""
    verify = assets.config.verify

    @dg.asset_check(
        asset=assets.key("dataset"),
        name=BUCKET_MATCHES,
        description="Every image of every manifest is in the bucket as it should be, and nothing is there that nobody "
        "accounts for. " + ("All bytes are read." if verify.deep else "List calls only: lengths, not bytes."),
    )
    def bucket_matches_manifest(image_store: ImageStoreResource) -> dg.AssetCheckResult:
        with as_dagster_failures():
            store = image_store.open(assets.config.store)
            unreadable: list[ObjectUnreadable] = []
            manifests = load_manifests(store, assets.config.name, on_unreadable=unreadable.append)
            found = verify_images(
                store, manifests, most_read=None if verify.deep else 0, with_extra=True, unreadable=unreadable
            )
            return verification_result(BUCKET_MATCHES, found)

    return bucket_matches_manifest


def build_verify_schedule(assets: AssetContext) -> dg.ScheduleDefinition | None:
    """The schedule that runs the check alone; None where the YAML names none."""
    config = assets.config
    about = f"Compares the bucket with the manifests of {config.name}. Spends nothing, writes nothing."
    return _schedule(assets, f"{config.name}_verify", BUCKET_MATCHES, config.verify.schedule, about)


def _schedule(
    assets: AssetContext, name: str, check: str, cron: str | None, description: str
) -> dg.ScheduleDefinition | None:
    """A schedule that runs one check alone, off until somebody turns it on; None without a cron expression."""
    if cron is None:
        return None
    return dg.ScheduleDefinition(
        name=name,
        target=dg.AssetSelection.checks(dg.AssetCheckKey(assets.key("dataset"), check)),
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=description,
    )


def verification_result(name: str, found: Verification) -> dg.AssetCheckResult:
    """A check's result from a comparison, with the differences as a table."""
    table = pd.DataFrame(
        [(one.kind, one.partition, one.image_id, one.object_key, one.message) for one in found.differences],
        columns=["kind", "partition", "image_id", "object_key", "found"],
    )
    counted = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in found.counts.items() if count)
    wrong = f"{count_of(len(found.differences), 'image')} not as the manifest says: {counted}; "
    return dg.AssetCheckResult(
        check_name=name,
        passed=not found.differences,
        description=f"{wrong if found.differences else ''}{count_of(found.images, 'image')} looked up, {found.read} read"
        f"{'' if found.differences else ', no differences'}",
        metadata={
            "images": found.images,
            "images_read": found.read,
            "differences": len(found.differences),
            **{f"images_{kind}": count for kind, count in found.counts.items()},
            **({} if found.unwanted is None else {"images_owned_and_not_wanted": found.unwanted}),
            "found": rows_table(table, rows=DIFFERENCES_SHOWN),
        },
    )


def build_account_check(assets: AssetContext) -> dg.AssetChecksDefinition | None:
    """The check; None where the YAML does not ask for it."""
    declared = assets.config.reconcile
    if declared is None:
        return None

    @dg.asset_check(
        asset=assets.key("dataset"),
        name=ACCOUNT_MATCHES,
        description=f"Every generation of the account in the last {declared.days} days is in the ledger of this store, and "
        "the account still has what the ledger owns. Reads only.",
    )
    def account_matches_ledger(leonardo: LeonardoResource, image_store: ImageStoreResource) -> dg.AssetCheckResult:
        with as_dagster_failures():
            since = datetime.now(UTC) - timedelta(days=declared.days)
            return _result(reconcile(assets.deployment(leonardo, image_store), since=since))

    return account_matches_ledger


def build_reconcile_schedule(assets: AssetContext) -> dg.ScheduleDefinition | None:
    """The schedule that runs the check alone; None where the YAML names none."""
    declared = assets.config.reconcile
    about = "Compares the account's history with the ledger. Spends nothing, writes nothing."
    cron = declared.schedule if declared else None
    return _schedule(assets, f"{assets.config.name}_reconcile", ACCOUNT_MATCHES, cron, about)


def _result(found: Reconciliation) -> dg.AssetCheckResult:
    rows: list[tuple[object, ...]] = [
        (
            "not in the ledger",
            one.generation.id,
            one.planned.request.request_id if one.planned else None,
            one.generation.created_at,
            len(one.generation.images),
            one.credits,
            shown(one.generation.prompt),
        )
        for one in found.not_in_ledger
    ]
    rows += [
        ("not in the account", one.generation_id, one.request_id, one.since, None, None, None)
        for one in found.not_in_account
    ]
    columns = ["what", "generation_id", "request_id", "time", "images", "credits_estimated", "prompt"]
    summary = (
        f"{count_of(len(found.not_in_ledger), 'generation')} not in the ledger (about {count_of(found.credits_not_in_ledger, 'credit')}), "
        f"{len(found.not_in_account)} not in the account, {found.agreeing} in both; `seedream reconcile` lists them"
    )
    if not found.whole:
        summary += "; the history could not be read back so far (recovery.history_pages)"
    return dg.AssetCheckResult(
        check_name=ACCOUNT_MATCHES,
        passed=found.agrees,
        severity=dg.AssetCheckSeverity.WARN,
        description=summary,
        metadata={
            "since": found.since.isoformat(),
            "account": found.account,
            "balance": "not known" if found.balance is None else float(found.balance),
            "balance_unit": found.balance_unit,
            "in_both": found.agreeing,
            "not_in_ledger": len(found.not_in_ledger),
            "not_in_account": len(found.not_in_account),
            "credits_not_in_ledger": found.credits_not_in_ledger,
            "open_requests": found.open_requests,
            "found": rows_table(pd.DataFrame(rows, columns=columns), rows=DIFFERENCES_SHOWN),
        },
    )
