"""The exports that a dataset declares, made and opened where its manifest is written.

An export is of the whole dataset, all partitions that have a manifest. In a run over several partitions it is made once,
after the last of them; what earlier runs wrote and is whole is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from seedream_assets.assets.frame import AssetFrame
from seedream_assets.assets.partition_walk import Materialised
from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.exports import ExportChoice
from seedream_assets.errors import ExportError
from seedream_assets.exports.card import how_to_load
from seedream_assets.exports.formats import ExportReport, ExportSource, default_target, find_export
from seedream_assets.exports.opening import LIBRARIES, Opening, open_export
from seedream_assets.storage.object_store import ObjectStore


@dataclass(frozen=True, slots=True)
class Exported:
    """One export, made and opened; `refused` says why it could not be made."""

    report: ExportReport | None
    opening: Opening | None
    refused: str | None = None


def check_name(name: str) -> str:
    """The check of one export."""
    return f"export_{name}_opens"


def export_checks(frame: AssetFrame) -> list[dg.AssetCheckSpec]:
    """A check for every declared export that a consumer's library opens; the gallery is a page for people.

    An export is of the whole dataset, and so is its check: it belongs to no partition.
    """
    return [
        dg.AssetCheckSpec(
            check_name(choice.name),
            asset=frame.key("dataset"),
            description=f"The {choice.name} export opens with {' and '.join(LIBRARIES[choice.name])}: rows counted, a "
            "sample decoded and held against the manifest's hashes.",
        )
        for choice in frame.config.exports
        if choice.name in LIBRARIES
    ]


def with_exports(frame: AssetFrame, done: Materialised, store: ObjectStore, log: dg.DagsterLogManager) -> Materialised:
    """What a partition came to, with the dataset's exports made: their metadata and their checks."""
    metadata: dict[str, Any] = dict(done.metadata)
    checks = [*done.checks]
    source = source_of(frame.config, store)
    for choice in frame.config.exports:
        made = make_export(source, choice)
        metadata |= _metadata(choice.name, made)
        if choice.name in LIBRARIES:
            checks.append(_check(frame, choice, made))
        told = made.refused or (made.opening.told if made.opening else "written")
        log.info("export %s: %s", choice.name, told)
    return replace(done, metadata=metadata, checks=tuple(checks))


def source_of(config: DatasetConfig, store: ObjectStore) -> ExportSource:
    """A declared dataset as exports see it."""
    return ExportSource(dataset=config.name, store=store, card=config.card)


def make_export(source: ExportSource, choice: ExportChoice) -> Exported:
    """Write one export to its place in the store and open it.

    Raises:
        StoreError: The store failed.
    """
    target = default_target(source, choice.name)
    try:
        report = find_export(choice.name).write(source, target, choice)
    except ExportError as error:
        return Exported(None, None, refused=str(error))
    opening = open_export(source, target, choice) if choice.name in LIBRARIES else None
    return Exported(report, opening)


def _metadata(name: str, made: Exported) -> Mapping[str, Any]:
    if made.report is None:
        return {f"export_{name}": f"not made: {made.refused}"}
    report = made.report
    return {
        f"export_{name}": report.uri,
        f"export_{name}_rows": report.rows,
        f"export_{name}_bytes": report.size_bytes,
    }


def _check(frame: AssetFrame, choice: ExportChoice, made: Exported) -> dg.AssetCheckResult:
    opening, report = made.opening, made.report
    broken = made.refused is not None or bool(opening and opening.problems)
    metadata: dict[str, Any] = {}
    if report is not None and opening is not None:
        metadata = {
            "stored_at": report.uri,
            "rows": report.rows,
            "rows_by_split": _counted(report.rows_by_split),
            "bytes": report.size_bytes,
            "files_written": report.written,
            "files_kept": report.kept,
            "files_removed": report.removed,
            "images_left_out": _counted(report.left_out),
            "rows_counted": opening.rows,
            "images_decoded": opening.sampled,
            "how_to_load": dg.MetadataValue.md(f"```python\n{how_to_load(report)}\n```"),
        }
    return dg.AssetCheckResult(
        check_name=check_name(choice.name),
        asset_key=frame.key("dataset"),
        passed=bool(opening and opening.passed),
        severity=dg.AssetCheckSeverity.ERROR if broken else dg.AssetCheckSeverity.WARN,
        description=made.refused or (opening.told if opening else ""),
        metadata=metadata,
    )


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
