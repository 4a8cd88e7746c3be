"""Which partitions a dataset has now, by its tables: for the command line and for the sensor. Writes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pandas as pd

from seedream_assets.config.dataset import UNPARTITIONED, DatasetConfig
from seedream_assets.config.deployment import Deployment
from seedream_assets.config.partitions import MOST_PARTITIONS, error_of_key, normal_key
from seedream_assets.config.time_windows import TimeWindows
from seedream_assets.errors import PromptTableError
from seedream_assets.prompts.formats import join_prompt_tables, parse_prompt_file
from seedream_assets.prompts.partition_rows import PartitionedRows, partition_rows
from seedream_assets.prompts.source_file import SourceFile
from seedream_assets.prompts.sources import fetch, find_sources

PLACEHOLDER = "{partition}"
_TOKENS = re.compile(r"(\{partition\}|\*\*/|\*|\?|\[[^\]]+\])")
_WILDCARDS = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPartitions:
    """The partitions of a dataset as its tables have them now.

    Attributes:
        sources: By partition, the files it is made of; where a column decides, all files under every partition.
        not_yet: Time partitions whose window is not complete.
        unusable: Names that cannot be partitions, with the reason: of files; values of a column are rejected rows.
        rows: Rows by partition, where a column decides.
    """

    sources: Mapping[str, tuple[SourceFile, ...]]
    not_yet: tuple[str, ...] = ()
    unusable: Mapping[str, str] = field(default_factory=dict)
    rows: PartitionedRows | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The partitions; of time partitions, oldest first."""
        return tuple(self.sources)


def find_partitions(config: DatasetConfig, deployment: Deployment, *, now: datetime) -> FoundPartitions:
    """Look for the partitions that the tables have now.

    Args:
        config, deployment: Whose, and how S3 is reached.
        now: Aware; time partitions that are not complete by then are told apart.

    Raises:
        PromptTableError: A table is missing or broken, or has no such column; or an address cannot be listed.
    """
    partitions = config.partitions
    if partitions.by == "none":
        return FoundPartitions(sources={UNPARTITIONED: tuple(find_tables(config, deployment))})
    if partitions.by == "table":
        return _by_name(find_tables(config, deployment))
    if partitions.column is not None and not config.has_partition_in_path:
        return by_rows(config, find_tables(config, deployment), now=now)[0]
    return _by_path(config, deployment, now)


def find_tables(config: DatasetConfig, deployment: Deployment) -> list[SourceFile]:
    """The files that a declaration without `{partition}` in its paths names."""
    return find_sources(config.tables, base=Path(config.base), options=deployment.s3)


def by_rows(
    config: DatasetConfig, sources: Sequence[SourceFile], *, now: datetime
) -> tuple[FoundPartitions, pd.DataFrame]:
    """The partitions of tables in which a column decides, and the rows of all tables. Reads them."""
    labels = table_labels(sources)
    frames = {label: parse_prompt_file(fetch(source), source.name) for label, source in labels.items()}
    frame = join_prompt_tables(frames)
    rows = partition_rows(frame, config.partitions)
    keys, not_yet = _complete(config.partitions.windows, rows.keys, now)
    return FoundPartitions(sources=dict.fromkeys(keys, tuple(sources)), not_yet=not_yet, rows=rows), frame


def table_labels(sources: Sequence[SourceFile]) -> dict[str, SourceFile]:
    """The files by the name that a row tells: the file's own, or its address where that name is taken."""
    labels: dict[str, SourceFile] = {}
    for source in sources:
        labels[source.uri if source.name in labels else source.name] = source
    return labels


def table_name(source: SourceFile) -> str:
    """A file's name as that of a partition: without `.gz` and without the format's suffix."""
    return normal_key(PurePosixPath(source.name.removesuffix(".gz")).stem)


def the_table(sources: Sequence[SourceFile], partition: str) -> SourceFile:
    """The one file that has a partition's name.

    Raises:
        PromptTableError: There is none, or more than one.
    """
    found = [source for source in sources if table_name(source) == partition]
    if not found:
        raise PromptTableError(f"no prompt table is named {partition}; the table's name is the partition's")
    if len(found) > 1:
        raise PromptTableError(f"{_and(found)} would both be the partition {partition}; rename one")
    return found[0]


def _by_name(sources: Sequence[SourceFile]) -> FoundPartitions:
    named: dict[str, list[SourceFile]] = {}
    for source in sources:
        named.setdefault(table_name(source), []).append(source)
    unusable: dict[str, str] = {}
    usable: dict[str, tuple[SourceFile, ...]] = {}
    for name, found in named.items():
        row_error = error_of_key(name)
        if row_error is not None:
            unusable[found[0].name] = f"allowed is {row_error.allowed}; rename the file: {row_error.fix}"
        elif len(found) > 1:
            unusable[name] = f"{_and(found)} would both be this partition; rename one"
        else:
            usable[name] = (found[0],)
    if len(usable) > MOST_PARTITIONS:
        raise PromptTableError(f"{len(usable)} tables are found; at most {MOST_PARTITIONS} can be partitions")
    return FoundPartitions(sources=usable, unusable=unusable)


def _and(sources: Sequence[SourceFile]) -> str:
    return " and ".join(source.uri for source in sources)


def _by_path(config: DatasetConfig, deployment: Deployment, now: datetime) -> FoundPartitions:
    """Time partitions, by the place of `{partition}` in the path; tables whose path has none belong to all of them."""
    windows = config.partitions.windows
    if windows is None:
        raise AssertionError("only time partitions stand in a path")
    base = Path(config.base)
    found: dict[str, list[SourceFile]] = {}
    for table in config.tables:
        if PLACEHOLDER not in table:
            continue
        if table.startswith(("http://", "https://")):
            raise PromptTableError(
                f"{table}: a web server does not list its files; name the partitions that you want, or keep them in S3"
            )
        pattern = _address_pattern(table)
        wild = "/".join(["*"] * (windows.name(windows.first).count("/") + 1))
        for source in find_sources(table.replace(PLACEHOLDER, wild), base=base, options=deployment.s3):
            match = pattern.search(unquote(source.uri))
            begin = windows.find(match["key"]) if match else None
            if match and begin is not None and begin >= windows.first:
                found.setdefault(match["key"], []).append(source)
    keys, not_yet = _complete(windows, sorted(found, key=lambda key: windows.find(key) or windows.first), now)
    return FoundPartitions(sources={key: tuple(found[key]) for key in keys}, not_yet=not_yet)


def _address_pattern(table: str) -> re.Pattern[str]:
    """What a declared path looks like in the address of a file that was found, with the partition as `key`."""
    regex, first = [], True
    for token in _TOKENS.split(table.removeprefix("./")):
        if token == PLACEHOLDER:
            regex.append("(?P<key>.+?)" if first else "(?P=key)")
            first = False
        else:
            regex.append(_WILDCARDS.get(token) or (token if token.startswith("[") else re.escape(token)))
    return re.compile(r"(?:^|/)" + "".join(regex) + r"\Z")


def _complete(
    windows: TimeWindows | None, keys: Sequence[str], now: datetime
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys that are partitions by now, and those whose window is not complete."""
    if windows is None:
        return tuple(keys), ()
    latest = windows.latest(now)
    begins = {key: windows.find(key) for key in keys}
    complete = tuple(key for key, begin in begins.items() if begin and latest and begin <= latest)
    return complete, tuple(key for key in keys if key not in set(complete))
