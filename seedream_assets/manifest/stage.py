"""Stage 4, `dataset`: the manifest, from the snapshot, the plan and the ledger. It can be built again at any time.

Here too: reading the manifest that a plan is compared with.

datasets/<dataset>/manifest/<partition>.parquet    one row per wanted image
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.images import code_version
from seedream_assets.deployment import Deployment
from seedream_assets.errors import ObjectNotFound, ObjectUnreadable, StoreError
from seedream_assets.ledger.events import EventKey, FinalEvent
from seedream_assets.ledger.image_columns import MANIFEST_COLUMNS
from seedream_assets.ledger.state import LedgerEntry, RequestState
from seedream_assets.ledger.store import last_release, read_endings
from seedream_assets.manifest.build import build_manifest, endings_in, endings_of, read_manifest
from seedream_assets.planning.plan import specs_of
from seedream_assets.planning.stage import load_kept_plan
from seedream_assets.prompts.sources import fetch, find_sources
from seedream_assets.prompts.stage import load_snapshot
from seedream_assets.purchase.report import RunReport
from seedream_assets.purchase.stage import load_report
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.parquet import PARQUET, to_parquet

PREVIOUS = "previous"
_LOG = logging.getLogger(__name__)


def gather_manifest(
    config: DatasetConfig,
    partition: str,
    deployment: Deployment,
    *,
    fresh: Iterable[FinalEvent] = (),
    version: str | None = None,
    report: RunReport | None = None,
) -> tuple[pd.DataFrame, RunReport | None]:
    """A partition's manifest as it would be written now, before its images are judged; and the run it was made after.

    Args:
        config, partition, deployment: Whose, and where.
        fresh: Final events that are known to stand in the ledger; the others are read from the earlier manifest or
            from the store.
        version: Of the plan, and so of the prompts that it was made from; None for the latest.
        report: Of the run that says why requests have not ended; None for the latest one over this plan.

    Raises:
        StoreError: The prompts were not read, or the partition was not planned.
    """
    store = deployment.store
    kept = load_kept_plan(store, config, partition, version)
    plan = kept.requests
    snapshot = load_snapshot(store, config, partition, kept.snapshot)
    if report is None:
        # A plan that names no prompts was written before there were versions, and so were the reports on it.
        report = load_report(store, config, partition, kept.version if kept.snapshot else None)
    entries = deployment.entries.of(plan["request_id"])
    unreadable: dict[str, str] = {}
    earlier = load_manifest(store, config, partition)
    endings = _endings(store, entries, earlier, fresh, unreadable)
    manifest = build_manifest(
        dataset=config.name,
        partition=partition,
        prompts=snapshot.checked.prompts,
        extra_columns=snapshot.checked.extra_columns,
        spec_ids=specs_of(snapshot.checked.prompts, snapshot.reference_hashes)["spec_id"],
        plan=plan,
        endings=endings,
        unfinished=_unfinished(store, entries, report, unreadable),
        code_version=code_version(),
        tables=snapshot.tables,
        replacements=kept.replacements,
    )
    return manifest, report


def write_manifest(store: ObjectStore, config: DatasetConfig, partition: str, manifest: pd.DataFrame) -> None:
    """Put a partition's manifest in place of the one before."""
    store.replace(config.key("manifest", partition), to_parquet(manifest), content_type=PARQUET)


def _endings(
    store: ObjectStore,
    entries: Mapping[str, LedgerEntry],
    earlier: pd.DataFrame,
    fresh: Iterable[FinalEvent],
    unreadable: dict[str, str],
) -> pd.DataFrame:
    """What became of every request that has ended: from `fresh`, else from the earlier manifest, else from the ledger.

    Requests whose end stands in the ledger and cannot be read are put into `unreadable`, with the reason.
    """

    def note(error: ObjectUnreadable) -> None:
        if key := EventKey.parse(error.key):
            unreadable[key.request_id] = str(error)

    ended = {request_id: entry for request_id, entry in entries.items() if entry.is_final}
    # Of two attempts that both ended, the entry says which one counts.
    given = endings_of(
        event
        for event in fresh
        if event.request_id in ended
        and ended[event.request_id].attempt == event.attempt
        and not ended[event.request_id].recollected
    )
    known = endings_in(earlier)
    known = known[known["request_id"].isin(ended) & ~known["request_id"].isin(given["request_id"])]
    # A manifest holds the images that were wanted then: a request of which more is wanted now is read anew.
    requests = earlier.groupby("request_id").agg(held=("sample", "nunique"), count=("request_count", "first"))
    complete = set(requests.index[requests["held"] == requests["count"]]) & set(known["request_id"])
    # What was taken back or came late, no earlier manifest can show.
    complete = {request_id for request_id in complete if ended[request_id].is_as_bought}
    known = known[known["request_id"].isin(complete)]
    complete |= set(given["request_id"])
    others = {request_id: entry for request_id, entry in ended.items() if request_id not in complete}
    read = endings_of(read_endings(store, others, on_unreadable=note))
    parts = [part for part in (known, given, read) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else known


def _unfinished(
    store: ObjectStore, entries: Mapping[str, LedgerEntry], report: RunReport | None, unreadable: Mapping[str, str]
) -> pd.DataFrame:
    """Status and reason of every request that has not ended, or whose end cannot be read."""
    rows = []
    notes = report.notes if report else {}
    for request_id, entry in entries.items():
        note = notes.get(request_id)
        if entry.is_final:
            if request_id in unreadable:
                rows.append((request_id, "pending", unreadable[request_id]))
        elif entry.state is RequestState.UNKNOWN:
            rows.append((request_id, "uncertain", entry.why_untouched))
        elif entry.state is RequestState.OPEN:
            rows.append((request_id, "uncertain", note or "submitted, and no answer says whether it was accepted"))
        elif entry.state is RequestState.SUBMITTED:
            rows.append((request_id, "pending", note or "paid for; the next run goes on polling and storing it"))
        else:
            rows.append((request_id, *_never_bought(store, request_id, entry, report, note)))
    return pd.DataFrame(rows, columns=["request_id", "status", "reason"], dtype="string")


def _never_bought(
    store: ObjectStore, request_id: str, entry: LedgerEntry, report: RunReport | None, note: str | None
) -> tuple[str, str]:
    released = last_release(store, request_id, entry)
    if released is not None and released.why == "refused":
        return "failed", f"{released.reason}; nothing was billed"
    if report is not None and report.stopped == "awaiting_approval" and note is None:
        return "awaiting_approval", report.stop_reason or "awaiting approval"
    if report is not None and report.stopped == "over_budget":
        return "over_budget", report.stop_reason or "over budget"
    return "pending", note or (report.stop_reason if report else None) or "not bought yet"


def load_manifest(store: ObjectStore, config: DatasetConfig, partition: str) -> pd.DataFrame:
    """The manifest as it was last written; empty where there is none, or none that can be read.

    Everything in it stands elsewhere as well, so one that is torn or another's counts as none, and is built anew.
    """
    key = config.key("manifest", partition)
    try:
        return read_manifest(store.read(key), key=key)
    except ObjectNotFound:
        pass
    except ObjectUnreadable as error:
        _LOG.warning("%s", error)
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in MANIFEST_COLUMNS.items()})


def read_earlier(
    against: str, config: DatasetConfig, partition: str, deployment: Deployment, *, base: Path
) -> tuple[str, pd.DataFrame]:
    """A manifest and its address.

    Args:
        against: `previous`, for the last manifest of the partition in the store; else a path, `s3://` or `https://`.
        config, partition, deployment: What it is compared with.
        base: The folder that a relative path starts from.

    Raises:
        StoreError: There is no such manifest, or it is none.
        PromptTableError: The path or address leads to no file.
    """
    if against == PREVIOUS:
        key = config.key("manifest", partition)
        try:
            return deployment.store.uri(key), read_manifest(deployment.store.read(key), key=deployment.store.uri(key))
        except ObjectNotFound as error:
            raise StoreError(
                f"{config.name}, partition {partition}, has no manifest yet: everything in it is new"
            ) from error
    (source,) = find_sources(against, base=base, options=deployment.s3)
    return source.uri, read_manifest(fetch(source), key=source.uri)
