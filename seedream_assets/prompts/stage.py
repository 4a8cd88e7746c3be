"""Stage 1, `prompts`: read the tables of a partition, check them, and keep what they said.

    datasets/<dataset>/prompts/<partition>.parquet           accepted rows, with the table's other columns
    datasets/<dataset>/prompts/<partition>.rejected.parquet  one row per violation
    datasets/<dataset>/prompts/<partition>/<version>…        the same, for the run that read it: see `versions`
    references/<sha256>/image.<ext>                          reference images that rows name

A table that cannot be used raises, and nothing is written; a row that cannot be used is quarantined.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import pandas as pd

from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.images import OWN_FORMATS
from seedream_assets.config.models import reference_advice
from seedream_assets.deployment import Deployment
from seedream_assets.errors import DownloadError, ObjectNotFound, ObjectUnreadable, PromptTableError, StoreError
from seedream_assets.images.inspect import ImageFacts, inspect_image
from seedream_assets.prompts.cells import refuse_unless_enough
from seedream_assets.prompts.columns import NO_COLUMNS, ColumnReport, doubt_of_references
from seedream_assets.prompts.formats import join_prompt_tables, parse_prompt_file
from seedream_assets.prompts.partitions import no_rejections, rows_of_partition, table_labels, the_table
from seedream_assets.prompts.settings import reference_sources
from seedream_assets.prompts.sources import SourceFile, fetch, find_sources
from seedream_assets.prompts.table import CheckedPrompts, check_prompt_table
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.parquet import PARQUET, from_parquet, naming, read_facts, to_parquet
from seedream_assets.storage.versions import read_latest, read_version, version_key, version_of, write_version

PROMPT_DTYPES: Mapping[str, str] = {
    "row_number": "int64",
    "prompt_id": "string",
    "prompt": "string",
    "model": "string",
    "width": "int64",
    "height": "int64",
    "quantity": "int64",
    "seed": "Int64",
    "style": "string",
    "prompt_enhance": "string",
    "references": "string",
    "reference_strength": "string",
    "public": "bool",
    "table": "string",
}
EXTRA_COLUMN_PREFIX = "passenger:"
FACT_NAMES = {"tables", "reference_hashes"}
READ_ANEW = "read the table again: `seedream run` does, or materialise prompts"
# The largest that Leonardo's pages speak of (about 25 MB, on the remove-bg page; no general figure is published).
LARGEST_REFERENCE_BYTES = 25_000_000
LARGEST_REFERENCE_PIXELS = 6000 * 6000
REJECTED, WARNINGS = ".rejected.parquet", ".warnings.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSnapshot:
    """A partition's prompts as they were read.

    Attributes:
        checked: Accepted and rejected rows.
        tables: `table` (label), `table_uri`, `table_sha256` of every file read.
        reference_hashes: SHA-256 of each reference image that a row names by path or address.
        reference_bodies: Their bytes, where they have just been read.
        version: What it is kept under; None where it was read and not written.
    """

    checked: CheckedPrompts
    tables: pd.DataFrame
    reference_hashes: Mapping[str, str]
    reference_bodies: Mapping[str, bytes]
    version: str | None = None

    @property
    def wanted(self) -> int:
        """Images that the accepted rows want."""
        return int(self.checked.prompts["quantity"].sum())

    @property
    def rejected_rows(self) -> int:
        """Rows of the table that were quarantined."""
        return _count_rows(self.checked.rejected)


class PromptReader:
    """Reads the prompts of a dataset's partitions. Where they share their tables, these are read and parsed once.

    Args:
        config, deployment: Whose, and what is allowed there.
    """

    def __init__(self, config: DatasetConfig, deployment: Deployment) -> None:
        self._config = config
        self._deployment = deployment
        self._latest: tuple[tuple[str, ...], pd.DataFrame, pd.DataFrame] | None = None

    def read(self, partition: str) -> PromptSnapshot:
        """Read and check the prompts of a partition. Writes nothing.

        Raises:
            PromptTableError: A table is missing, broken, empty or has no prompt column; a partition has no table, or no
                row of it and never had one; every row is rejected, or more than the dataset allows. A file that is one
                partition's own may have no rows: that partition is empty.
            PartitionKeyError: No partition of this dataset can have this name.
        """
        config = self._config
        config.partitions.refuse_unless_key(partition)
        joined, tables = self._tables(partition)
        snapshot_key = config.key("prompts", partition)
        rows, misfits = rows_of_partition(
            joined,
            config.partitions,
            partition,
            had_rows=lambda: self._deployment.store.head(snapshot_key) is not None,
        )
        checked = _with_rejected(check_prompt_table(rows, config.rules, self._deployment.models), misfits)
        snapshot = _with_references(checked, tables, Path(config.base), self._deployment)
        refuse_unless_enough(
            rows=len(rows),
            accepted=len(snapshot.checked.prompts),
            rejected=snapshot.checked.rejected,
            misfits=_count_rows(misfits),
            table_rows=len(joined),
            with_table=len(tables) > 1,
            limit=config.max_rejected,
        )
        return snapshot

    def _tables(self, partition: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The rows of a partition's files, and what is known of the files."""
        by_table = self._config.partitions.by == "table"
        named = self._config.tables_of(partition)
        wanted = (*named, partition) if by_table else named
        if self._latest is None or self._latest[0] != wanted:
            sources = find_sources(named, base=Path(self._config.base), options=self._deployment.s3)
            one_partition_s = by_table or self._config.has_partition_in_path
            sources = [the_table(sources, partition)] if by_table else sources
            self._latest = (wanted, *_parse(sources, may_be_empty=one_partition_s))
        return self._latest[1:]


def read_prompts(config: DatasetConfig, partition: str, deployment: Deployment) -> PromptSnapshot:
    """Read and check the prompts of one partition; see `PromptReader.read`."""
    return PromptReader(config, deployment).read(partition)


def _parse(sources: Sequence[SourceFile], *, may_be_empty: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    frames: dict[str, pd.DataFrame] = {}
    facts: list[dict[str, str]] = []
    with ThreadPoolExecutor(max_workers=1) as beside:
        for label, source in table_labels(sources).items():
            body = fetch(source)
            hashed = beside.submit(sha256, body)  # on another core: 0.16 s for 280 MB
            frames[label] = parse_prompt_file(body, source.name, may_be_empty=may_be_empty)
            facts.append({"table": label, "table_uri": source.uri, "table_sha256": hashed.result().hexdigest()})
    return join_prompt_tables(frames), pd.DataFrame(facts, dtype="string")


def _with_references(
    checked: CheckedPrompts, tables: pd.DataFrame, base: Path, deployment: Deployment
) -> PromptSnapshot:
    """Read the reference images that rows name; rows whose image cannot be read are quarantined."""
    hashes: dict[str, str] = {}
    bodies: dict[str, bytes] = {}
    reasons: dict[str, str] = {}
    unproven: dict[str, str] = {}
    for source in reference_sources(checked.prompts):
        try:
            found = find_sources(source, base=base, options=deployment.s3)
            body = fetch(found[0], max_bytes=LARGEST_REFERENCE_BYTES)
            facts = _inspect(body)
            hashes[source] = facts.sha256
            bodies[source] = body
            if advice := reference_advice(facts.width_px, facts.height_px, facts.size_bytes):
                unproven[source] = advice
        except (PromptTableError, DownloadError) as error:
            reasons[source] = str(error)
    if reasons:
        checked = _quarantine(checked, reasons)
    if doubt := doubt_of_references(unproven):
        checked = replace(checked, columns=replace(checked.columns, doubts=(*checked.columns.doubts, doubt)))
    return PromptSnapshot(checked=checked, tables=tables, reference_hashes=hashes, reference_bodies=bodies)


def _inspect(body: bytes) -> ImageFacts:
    """A reference image's hash and format.

    Raises:
        DownloadError: Not a JPEG, PNG or WebP that decodes.
    """
    facts = inspect_image(body, largest_pixels=LARGEST_REFERENCE_PIXELS)
    if facts.format not in OWN_FORMATS:
        raise DownloadError(
            f"the image is {facts.format}, which Leonardo does not take; save it as JPEG, PNG or WebP", may_retry=False
        )
    return facts


def _quarantine(checked: CheckedPrompts, reasons: Mapping[str, str]) -> CheckedPrompts:
    prompts = checked.prompts
    used = {
        cell: next((source for source in reasons if f'"source":{_quoted(source)}' in cell), None)
        for cell in prompts["references"].dropna().unique()
    }
    broken = prompts["references"].map(used)
    out = broken.notna()
    rejected = pd.DataFrame(
        {
            "row_number": prompts.loc[out, "row_number"],
            "column": "references",
            "value": broken[out].str.slice(0, 200),
            "rule": "reference_unreadable",
            "allowed": "a JPEG, PNG or WebP that can be read and decodes",
            "fix": broken[out].map(lambda source: reasons[source]),
            "table": prompts.loc[out, "table"],
        }
    )
    without = replace(
        checked,
        prompts=prompts[~out].reset_index(drop=True),
        extra_columns=checked.extra_columns[~out].reset_index(drop=True),
    )
    return _with_rejected(without, rejected)


def _with_rejected(checked: CheckedPrompts, rejected: pd.DataFrame) -> CheckedPrompts:
    if rejected.empty:
        return checked
    together = pd.concat([checked.rejected, rejected.astype(checked.rejected.dtypes.to_dict())], ignore_index=True)
    return replace(checked, rejected=together.sort_values(["row_number", "column"], kind="stable", ignore_index=True))


def _count_rows(remarks: pd.DataFrame) -> int:
    """The rows that are named, each once."""
    return len(remarks[["table", "row_number"]].drop_duplicates())


def _quoted(source: str) -> str:
    return json.dumps(source, ensure_ascii=False)


def write_snapshot(
    store: ObjectStore, config: DatasetConfig, partition: str, snapshot: PromptSnapshot
) -> PromptSnapshot:
    """Keep a snapshot, its rejected rows and its reference images. The latest reading stands; images never change.

    Returns:
        The same, with its version.
    """
    for body in snapshot.reference_bodies.values():
        image = _inspect(body)
        key = f"references/{image.sha256}/image.{image.extension}"
        store.create(key, body, content_type=image.content_type, sha256=image.sha256)
    checked = snapshot.checked
    extra_columns = checked.extra_columns.add_prefix(EXTRA_COLUMN_PREFIX)
    facts = {
        "tables": snapshot.tables.to_dict("records"),
        "reference_hashes": dict(snapshot.reference_hashes),
        "rejected_rows": snapshot.rejected_rows,
        "warnings": len(checked.warnings),
        "columns": checked.columns.to_facts(),
    }
    body = to_parquet(pd.concat([checked.prompts, extra_columns], axis="columns"), facts)
    version = version_of(body)
    for suffix, frame in ((REJECTED, checked.rejected), (WARNINGS, checked.warnings)):
        remarks = to_parquet(frame, facts)
        if len(frame):
            store.replace(version_key(config, "prompts", partition, version, suffix), remarks, content_type=PARQUET)
        store.replace(config.key("prompts", partition, suffix), remarks, content_type=PARQUET)
    write_version(store, config, "prompts", partition, body)
    return replace(snapshot, version=version)


def load_snapshot(
    store: ObjectStore, config: DatasetConfig, partition: str, version: str | None = None
) -> PromptSnapshot:
    """A snapshot of this version; without one, as it was last written.

    Raises:
        StoreError: There is none; `prompts` has not been materialised for this partition, or this version is gone.
        ObjectUnreadable: What stands there is none.
    """
    latest = partial(config.key, "prompts", partition)
    key = latest() if version is None else version_key(config, "prompts", partition, version)
    try:
        if version is None:
            body, version = read_latest(store, config, "prompts", partition)
        else:
            body = read_version(store, config, "prompts", partition, version)
        with naming(key, remedy=READ_ANEW):
            frame, facts = from_parquet(body, PROMPT_DTYPES), read_facts(body)
        if not facts.keys() >= FACT_NAMES:
            raise ObjectUnreadable(key, found="is not a snapshot of prompts", remedy=READ_ANEW)
        own = partial(version_key, config, "prompts", partition, version)
        rejected = _read_remarks(store, facts.get("rejected_rows"), own(REJECTED), latest(REJECTED))
        warnings = _read_remarks(store, facts.get("warnings"), own(WARNINGS), latest(WARNINGS))
    except ObjectNotFound as error:
        raise StoreError(
            f"the prompts of {config.name}, partition {partition}, were not read yet; materialise prompts first"
        ) from error
    extra_columns = frame[[name for name in frame.columns if name not in PROMPT_DTYPES]]
    return PromptSnapshot(
        checked=CheckedPrompts(
            prompts=frame[list(PROMPT_DTYPES)],
            extra_columns=extra_columns.rename(columns=lambda name: name.removeprefix(EXTRA_COLUMN_PREFIX)),
            rejected=rejected,
            warnings=warnings,
            columns=ColumnReport.from_facts(facts["columns"]) if "columns" in facts else NO_COLUMNS,
        ),
        tables=pd.DataFrame(facts["tables"], columns=["table", "table_uri", "table_sha256"], dtype="string"),
        reference_hashes=facts["reference_hashes"],
        reference_bodies={},
        version=version,
    )


def _read_remarks(store: ObjectStore, count: int | None, own: str, latest: str) -> pd.DataFrame:
    """Rejected or warned rows of a version, else the latest; nothing is read where there are none."""
    if count == 0:
        return no_rejections()
    try:
        key, body = own, store.read(own)
    except ObjectNotFound:  # written before there were versions
        key, body = latest, store.read(latest)
    with naming(key, remedy=READ_ANEW):
        return from_parquet(body)
