"""The check `account_matches_ledger`: the account's history against the ledger of the dataset's store, both ways.

There only where the YAML has `reconcile`. It is a step of its own, never of a materialisation: it asks the paid API.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pandas as pd

from seedream_assets.assets.failures import as_dagster_failures
from seedream_assets.assets.frame import AssetFrame
from seedream_assets.assets.tables import preview
from seedream_assets.config.redaction import shown
from seedream_assets.purchase.reconcile import Reconciliation, reconcile
from seedream_assets.resources import ImageStoreResource, LeonardoResource

ACCOUNT_MATCHES = "account_matches_ledger"
DIFFERENCES_SHOWN = 50


def build_account_check(frame: AssetFrame) -> dg.AssetChecksDefinition | None:
    """The check; None where the YAML does not ask for it."""
    declared = frame.config.reconcile
    if declared is None:
        return None

    @dg.asset_check(
        asset=frame.key("dataset"),
        name=ACCOUNT_MATCHES,
        description=f"Every generation of the account in the last {declared.days} days is in the ledger of this store, and "
        "the account still has what the ledger owns. Reads only.",
    )
    def account_matches_ledger(leonardo: LeonardoResource, image_store: ImageStoreResource) -> dg.AssetCheckResult:
        with as_dagster_failures():
            since = datetime.now(UTC) - timedelta(days=declared.days)
            return _result(frame, reconcile(frame.deployment(leonardo, image_store), since=since))

    return account_matches_ledger


def build_reconcile_schedule(frame: AssetFrame) -> dg.ScheduleDefinition | None:
    """The schedule that runs the check alone; None where the YAML names none. It is off until somebody turns it on."""
    declared = frame.config.reconcile
    if declared is None or declared.schedule is None:
        return None
    check = dg.AssetCheckKey(frame.key("dataset"), ACCOUNT_MATCHES)
    return dg.ScheduleDefinition(
        name=f"{frame.config.name}_reconcile",
        target=dg.AssetSelection.checks(check),
        cron_schedule=declared.schedule,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Compares the account's history with the ledger. Spends nothing, writes nothing.",
    )


def _result(frame: AssetFrame, found: Reconciliation) -> dg.AssetCheckResult:
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
    told = (
        f"{len(found.not_in_ledger)} generations are not in the ledger (about {found.credits_not_in_ledger} credits), "
        f"{len(found.not_in_account)} not in the account, {found.agreeing} in both; `seedream reconcile` lists them"
    )
    if not found.whole:
        told += "; the history could not be read back so far (recovery.history_pages)"
    return dg.AssetCheckResult(
        check_name=ACCOUNT_MATCHES,
        asset_key=frame.key("dataset"),
        passed=found.agrees,
        severity=dg.AssetCheckSeverity.WARN,
        description=told,
        metadata={
            "since": found.since.isoformat(),
            "account": found.account,
            "balance": "not told" if found.balance is None else float(found.balance),
            "balance_unit": found.balance_unit,
            "in_both": found.agreeing,
            "not_in_ledger": len(found.not_in_ledger),
            "not_in_account": len(found.not_in_account),
            "credits_not_in_ledger": found.credits_not_in_ledger,
            "open_requests": found.open_requests,
            "found": preview(pd.DataFrame(rows, columns=columns), rows=DIFFERENCES_SHOWN),
        },
    )
