"""Partitions and tables: which rows belong to which partition, which partitions there are now, and what has changed.

The sensor looks at the tables again and again: it is given a digest of each partition's content, and remembers them
between two looks. Nothing here is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import repeat
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import numpy as np
import pandas as pd

from seedream_assets.config.dataset import UNPARTITIONED, DatasetConfig
from seedream_assets.config.partitions import (
    MOST_PARTITIONS,
    Partitions,
    TimeWindows,
    error_of_key,
    normal_key,
    parse_moment,
)
from seedream_assets.deployment import Deployment
from seedream_assets.errors import PromptTableError, RowError
from seedream_assets.prompts.cells import (
    BROKEN_ROW,
    ROW_NUMBER,
    TABLE,
    IntArray,
    RowErrorLog,
    as_text,
    describe_rows,
    row_places,
    wrong_rows,
)
from seedream_assets.prompts.formats import join_prompt_tables, parse_prompt_file
from seedream_assets.prompts.sources import SourceFile, fetch, find_sources
from seedream_assets.wording import count_of, did_you_mean

NO_PARTITION = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionedRows:
    """A table's rows by partition.

    Attributes:
        keys: The partitions, in the order in which the table first has them; of time partitions, oldest first.
        codes: Position in `keys` per row; -1 where the row belongs to none.
        rejected: Rows whose value cannot name a partition, columns as `CheckedPrompts.rejected`.
    """

    keys: tuple[str, ...]
    codes: IntArray
    rejected: pd.DataFrame


def rows_of_partition(
    frame: pd.DataFrame, partitions: Partitions, partition: str, *, had_rows: Callable[[], bool] = lambda: False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of one partition, with their row numbers as they were, and the rows that can belong to none.

    The latter are reported in every partition of the table: they are in no dataset, and somebody has to know.

    Args:
        frame, partitions, partition: The table, how it is cut, and which part of it.
        had_rows: Whether the partition had rows when it was last read; asked only where it has none now. Then they
            have left it, and it is empty; else it is taken for a mistake.

    Raises:
        PromptTableError: No row belongs to it or ever did, or none does any more while some can belong to none and may
            be its own; or the table does not have the column.
    """
    if partitions.column is None:
        return frame, no_rejections()
    found = partition_rows(frame, partitions)
    if partition not in found.keys:
        if frame.empty or had_rows():
            if len(found.rejected):
                rows = len(found.rejected[["table", "row_number"]].drop_duplicates())
                first = next(describe_rows(found.rejected, most=1, with_table=False))
                raise PromptTableError(
                    f"no row of the table belongs to the partition {partition!r} any more, and {count_of(rows, 'row')} of it can "
                    f"belong to none, which may be its own: {first}. Mend these rows or take them out; what stood "
                    "before was left as it is"
                )
            return frame.iloc[:0].reset_index(drop=True), found.rejected
        raise PromptTableError(f"no row of the table belongs to the partition {partition!r} of {partitions.column}")
    belongs = found.codes == found.keys.index(partition)
    return frame[belongs].reset_index(drop=True), found.rejected


def partition_rows(frame: pd.DataFrame, partitions: Partitions) -> PartitionedRows:
    """Every row's partition, by the declared column. Rows before the first window belong to none, and are no error.

    Raises:
        PromptTableError: The table does not have the column, or the column has more values than partitions may be.
    """
    column = _column(frame, partitions.column or "")
    log = RowErrorLog(len(frame))
    texts = as_text(frame[column])
    if BROKEN_ROW in frame.columns:
        broken = as_text(frame[BROKEN_ROW])
        log.reject_broken(broken)
        texts = texts.where(broken.isna())
    codes, values = pd.factorize(texts)
    windows = partitions.windows
    keys = [_key_of_value(text) if windows is None else _key_of_moment(text, windows) for text in values]
    log.reject(column, *wrong_rows(np.arange(len(frame)), codes, values, keys))
    empty = np.flatnonzero((codes < 0) & ~log.rejected)
    if (nothing := error_of_key("")) is not None:
        log.reject(column, empty, repeat(""), nothing)
    names = list(dict.fromkeys(key for key in keys if isinstance(key, str)))
    if windows is not None:
        names.sort(key=_begins(windows))
    if len(names) > MOST_PARTITIONS:
        raise PromptTableError(
            f"column {column!r} has {len(names)} values; at most {MOST_PARTITIONS} can be partitions. Partition by a "
            "column with fewer values"
        )
    numbers: dict[object, int] = {name: number for number, name in enumerate(names)}
    # One more at the end: an empty cell's code is -1.
    of_text = np.array([numbers.get(key, NO_PARTITION) for key in [*keys, None]], dtype=np.int64)
    return PartitionedRows(keys=tuple(names), codes=of_text[codes], rejected=log.rejections(row_places(frame)))


def _begins(windows: TimeWindows) -> Callable[[str], datetime]:
    """The order of time partitions: by the beginning of their windows."""
    return lambda key: windows.find(key) or windows.first


def _column(frame: pd.DataFrame, asked: str) -> str:
    names = {str(name).strip().casefold(): str(name) for name in frame.columns}
    found = asked if asked in frame.columns else names.get(asked.strip().casefold())
    if found is None:
        known = [str(name) for name in frame.columns if name not in (ROW_NUMBER, TABLE, BROKEN_ROW)]
        meant = did_you_mean(asked, known)
        raise PromptTableError(f"the table has no column {asked!r} to partition by; it has {', '.join(known)}{meant}")
    return found


def _key_of_value(text: str) -> str | RowError:
    key = normal_key(text)
    return error_of_key(key) or key


def _key_of_moment(text: str, windows: TimeWindows) -> str | RowError | None:
    """The window of a date or time; None before the first one."""
    moment = parse_moment(text)
    try:
        begin = None if moment is None else windows.begin_of(windows.local(moment))
    except (OverflowError, ValueError):  # the first or the last days that a calendar has
        begin = None
    if begin is None:
        return RowError(
            "partition_date",
            "a date or time in ISO 8601, as 2026-11-01 or 2026-11-01T06:30:00+01:00",
            "write the date so; 01.11.2026 and 11/01/2026 mean different days to different people",
        )
    return windows.name(begin) if begin >= windows.first else None


def no_rejections() -> pd.DataFrame:
    """No row, with the columns of `CheckedPrompts.rejected`."""
    return RowErrorLog(0).rejections(row_places(pd.DataFrame()))


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
        now: Aware; time partitions that are not complete by then are listed apart.

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
    """The files of a dataset without `{partition}` in its paths."""
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
    """The files by the name that stands in a row: the file's own, or its address where that name is taken."""
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
    """Time partitions, by what stands for `{partition}` in the path; tables whose path has none belong to all of them."""
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
    keys, not_yet = _complete(windows, sorted(found, key=_begins(windows)), now)
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
    partitions: Mapping[str, str] | None
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
    tables = digest(*[part for key, content in partitions.items() for part in (key, content)])
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
    tables = digest(*_versions(sources), latest.isoformat() if latest else "")
    if not _are_settled(sources, now):
        return TableLook(tables=seen, partitions=None, is_settled=False)
    if tables == seen:
        return TableLook(tables=tables, partitions=None)
    found, frame = by_rows(config, sources, now=now)
    rows = found.rows
    if rows is None:
        raise AssertionError("a column decides")
    header = "\0".join(map(str, frame.columns))
    hashes = row_hashes(frame).groupby(rows.codes)
    complete = {number: key for number, key in enumerate(rows.keys) if key in found.sources}
    partitions = {
        key: digest(header, hashes.get_group(number).to_numpy().tobytes()) for number, key in complete.items()
    }
    return TableLook(tables=tables, partitions=partitions, remarks=_remarks(found))


def row_hashes(frame: pd.DataFrame) -> pd.Series[int]:
    """A hash of each row's cells, without its number and table: equal where the cells are."""
    texts = {name: as_text(frame[name]) for name in frame.columns if name not in (ROW_NUMBER, TABLE)}
    return pd.util.hash_pandas_object(pd.DataFrame(texts), index=False)


def _versions(sources: Iterable[SourceFile]) -> list[str]:
    return [part for source in sources for part in (source.uri, source.find_version())]


def _are_settled(sources: Iterable[SourceFile], now: datetime) -> bool:
    latest = now - timedelta(seconds=SETTLE_SECONDS)
    return all(source.modified_at is None or source.modified_at <= latest for source in sources)


def _remarks(found: FoundPartitions) -> tuple[str, ...]:
    remarks = [f"{name} cannot be a partition: {why}" for name, why in found.unusable.items()]
    if found.rows is not None and len(found.rows.rejected):
        remarks.append(
            f"{count_of(found.rows.rejected['row_number'].size, 'row')} without a partition; `prompts` says which"
        )
    return tuple(remarks)


# Of a hash, in hexadecimal: two among 100,000 partitions agree by chance once in 50,000 tables.
DIGEST_DIGITS = 12
CURSOR_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenTables:
    """The state of the tables when runs were last asked for.

    Attributes:
        number: How often runs were asked for; part of every run key, so that a table that goes back to what it was is
            a change too.
        tables: Digest of the versions of all files; equal means that nothing need be read.
        partitions: Digest of each partition's content.
    """

    number: int = 0
    tables: str = ""
    partitions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_cursor(cls, cursor: str | None) -> SeenTables:
        """What a cursor says; nothing seen where there is none, or one that another version wrote."""
        try:
            state = json.loads(cursor or "")
            if state["version"] != CURSOR_VERSION:
                return cls()
            return cls(number=int(state["number"]), tables=str(state["tables"]), partitions=dict(state["partitions"]))
        except (ValueError, KeyError, TypeError):
            return cls()

    def to_cursor(self) -> str:
        """The cursor, as JSON."""
        return json.dumps({"version": CURSOR_VERSION, **asdict(self)})

    def changed(self, found: Mapping[str, str]) -> list[str]:
        """The partitions that are new or differ, in their order."""
        return [key for key, content in found.items() if self.partitions.get(key) != content]

    def emptied(self, known: Iterable[str], found: Mapping[str, str]) -> dict[str, str]:
        """The known partitions that had rows once, or were reported as empty, and have none now."""
        return {key: EMPTY for key in known if key not in found and key in self.partitions}

    def after(self, found: Mapping[str, str], *, asked: Iterable[str], tables: str) -> SeenTables:
        """The state once runs were asked for; what was not asked for stays as it was, and what is gone is forgotten."""
        asked_for = set(asked)
        partitions = {
            key: content if key in asked_for else self.partitions[key]
            for key, content in found.items()
            if key in asked_for or key in self.partitions
        }
        is_all = asked_for.issuperset(self.changed(found))
        return SeenTables(number=self.number + bool(asked_for), tables=tables if is_all else "", partitions=partitions)


def digest(*parts: str | bytes) -> str:
    """A short hash of these parts, with the length of each: `ab, c` and `a, bc` differ."""
    hashed = sha256()
    for part in parts:
        body = part.encode() if isinstance(part, str) else part
        hashed.update(len(body).to_bytes(8, "big") + body)
    return hashed.hexdigest()[:DIGEST_DIGITS]


def contiguous(order: Sequence[str], keys: Iterable[str]) -> list[tuple[str, str]]:
    """The keys as ranges, first and last of each, of those that follow each other in `order`."""
    wanted = set(keys)
    ranges: list[tuple[str, str]] = []
    begun: str | None = None
    latest = ""
    for key in order:
        if key in wanted:
            begun, latest = begun or key, key
        elif begun is not None:
            ranges.append((begun, latest))
            begun = None
    return [*ranges, (begun, latest)] if begun is not None else ranges


EMPTY = digest("no rows")
