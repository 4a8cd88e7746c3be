"""A look at a dataset's tables for its sensor: which partitions they have, and a digest of each one's content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.deployment import Deployment
from seedream_assets.prompts.partition_keys import FoundPartitions, by_rows, find_partitions, find_tables
from seedream_assets.prompts.partition_rows import NO_PARTITION, row_hashes
from seedream_assets.prompts.source_file import SourceFile
from seedream_assets.prompts.table_changes import digest

# A file on disk that was written to a moment ago may be half a table; S3 and the web show whole ones only.
SETTLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLook:
    """What the tables hold now.

    Attributes:
        tables: Digest of the versions of all files.
        partitions: Digest of each partition's content; None where the tables are as they were, and were not read.
        remarks: For people: what cannot be a partition, and why.
        is_settled: False while a file on disk is being written.
    """

    tables: str
    partitions: Mapping[str, bytes] | None
    remarks: tuple[str, ...] = ()
    is_settled: bool = True


def look_at_tables(config: DatasetConfig, deployment: Deployment, *, now: datetime, seen: str = "") -> TableLook:
    """Look at the tables. They are read only where a column decides and a file has changed.

    Args:
        config, deployment: Whose, and how S3 is reached.
        now: Aware, this machine's; decides which time partitions are complete.
        seen: `tables` of an earlier look.

    Raises:
        PromptTableError: A table is missing or broken, or has no such column.
    """
    if config.partitions.column is not None and not config.has_partition_in_path:
        return _by_column(config, deployment, now=now, seen=seen)
    found = find_partitions(config, deployment, now=now)
    settled = {key: sources for key, sources in found.sources.items() if _are_settled(sources, now)}
    partitions = {key: digest(*_versions(sources)) for key, sources in settled.items()}
    tables = digest(*[part for key, content in partitions.items() for part in (key, content)]).hex()
    return TableLook(
        tables=tables,
        partitions=partitions,
        remarks=_remarks(found),
        is_settled=len(settled) == len(found.sources),
    )


def _by_column(config: DatasetConfig, deployment: Deployment, *, now: datetime, seen: str) -> TableLook:
    sources = find_tables(config, deployment)
    windows = config.partitions.windows
    latest = windows.latest(now) if windows else None
    # A window that is complete now is a new partition of the same table.
    tables = digest(*_versions(sources), latest.isoformat() if latest else "").hex()
    if not _are_settled(sources, now):
        return TableLook(tables=seen, partitions=None, is_settled=False)
    if tables == seen:
        return TableLook(tables=tables, partitions=None)
    found, frame = by_rows(config, sources, now=now)
    rows = found.rows
    if rows is None:
        raise AssertionError("a column decides")
    hashes = row_hashes(frame)
    order = np.argsort(rows.codes, kind="stable")
    codes = rows.codes[order]
    header = "\0".join(map(str, frame.columns))
    partitions = {}
    complete = set(found.keys)
    for number, key in enumerate(rows.keys):
        first, last = np.searchsorted(codes, [number, number + 1])
        if number != NO_PARTITION and key in complete:
            partitions[key] = digest(header, hashes[order[first:last]].tobytes())
    return TableLook(tables=tables, partitions=partitions, remarks=_remarks(found))


def _versions(sources: Iterable[SourceFile]) -> list[str]:
    return [part for source in sources for part in (source.uri, source.find_version())]


def _are_settled(sources: Iterable[SourceFile], now: datetime) -> bool:
    latest = now - timedelta(seconds=SETTLE_SECONDS)
    return all(source.modified_at is None or source.modified_at <= latest for source in sources)


def _remarks(found: FoundPartitions) -> tuple[str, ...]:
    remarks = [f"{name} cannot be a partition: {why}" for name, why in found.unusable.items()]
    if found.rows is not None and len(found.rows.rejected):
        remarks.append(f"{found.rows.rejected['row_number'].size} rows have no partition; `prompts` tells which")
    return tuple(remarks)
