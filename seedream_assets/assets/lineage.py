"""OpenLineage, where a deployment asks for it: one run per asset and partition, START and then COMPLETE, FAIL or ABORT.

Needs the extra `seedream-assets[openlineage]`, and is imported only where OpenLineage's own client is configured
(OPENLINEAGE_URL, OPENLINEAGE_CONFIG, OPENLINEAGE__…, an openlineage.yml). Everything is taken from what Dagster gets, so
that both say the same. Events leave from a thread of their own; a lineage server that is away costs a step at most
`FLUSH_SECONDS` in all, and never fails it. Nothing that a stage decides belongs here.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid5

import attr
import dagster as dg
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    DatasetFacet,
    JobFacet,
    OutputDatasetFacet,
    RunFacet,
    column_lineage_dataset,
    data_quality_assertions_dataset,
    dataset_type_dataset,
    dataset_version_dataset,
    datasource_dataset,
    documentation_job,
    error_message_run,
    job_type_job,
    nominal_time_run,
    output_statistics_output_dataset,
    parent_run,
    processing_engine_run,
    schema_dataset,
    set_producer,
)

from seedream_assets.assets.asset_context import AssetContext, Materialised
from seedream_assets.assets.ui_metadata import definition_metadata
from seedream_assets.config.dataset import UNPARTITIONED
from seedream_assets.config.images import code_version
from seedream_assets.ledger.image_columns import DATASET, IMAGES, PROMPTS, REQUESTS

_LOG = logging.getLogger(__name__)
NAMESPACE = "seedream-assets"
PRODUCER = "urn:seedream-assets:producer"
GENERATION_SCHEMA = "urn:seedream-assets:openlineage:1-0-0:GenerationRunFacet"
UPSTREAM = {PROMPTS: (), REQUESTS: (PROMPTS,), IMAGES: (REQUESTS,), DATASET: (PROMPTS, REQUESTS, IMAGES)}
FLUSH_SECONDS = 2.0
# Beyond this many unsent, events are dropped: the server is away, and a backfill may have thousands of partitions.
MOST_WAITING = 1_000


@attr.define
class GenerationRunFacet(RunFacet):
    """What a run bought; its JSON schema is `generation_facet.json` beside this file."""

    model: str
    imagesStored: int  # noqa: N815 - OpenLineage's facets are in camel case
    imagesWanted: int  # noqa: N815
    imagesStoredByThisRun: int  # noqa: N815
    creditsBooked: int  # noqa: N815
    costAmount: float  # noqa: N815
    costUnit: str  # noqa: N815

    @staticmethod
    def _get_schema() -> str:
        return GENERATION_SCHEMA


class Outlet:
    """Sends events one after the other from a thread of its own; whoever adds one never waits, and never fails."""

    def __init__(self, emit: Callable[[Any], None]) -> None:
        self._emit = emit
        self._waiting: queue.Queue[Any] = queue.Queue(MOST_WAITING)
        self._trouble = False
        # A daemon: a process that ends does not wait for a server that does not answer.
        self._thread = threading.Thread(target=self._send, name="openlineage", daemon=True)
        self._thread.start()

    def add(self, event: Any) -> None:
        """Send an event as soon as those before it are sent."""
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._warn("events are dropped: the server takes none")

    def close(self, *, seconds: float) -> None:
        """Give what is waiting so long, then leave it."""
        self.add(None)
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._warn(f"not every event was sent within {seconds:g} s")

    def _send(self) -> None:
        while (event := self._waiting.get()) is not None:
            try:
                self._emit(event)
            except Exception as error:  # noqa: BLE001 - lineage never fails the work that it reports
                self._warn(f"{type(error).__name__}: {error}")

    def _warn(self, trouble: str) -> None:
        """The first trouble of a step is a warning, what follows is not worth a line each."""
        level, self._trouble = (logging.DEBUG if self._trouble else logging.WARNING), True
        _LOG.log(level, "OpenLineage: %s", trouble)


class Lineage:
    """Reports one step to OpenLineage.

    Args:
        assets, stage, store_url: What is materialised, and into which store.
        dagster_run_id, dagster_job: The parent run, and its job.
        outlet: Where the events go.
    """

    def __init__(
        self, assets: AssetContext, stage: str, *, store_url: str, dagster_run_id: str, dagster_job: str, outlet: Outlet
    ) -> None:
        set_producer(PRODUCER)
        self.assets = assets
        self.stage = stage
        self.store_url = store_url
        self.dagster_run_id = dagster_run_id
        self.dagster_job = dagster_job
        self._outlet = outlet
        self._begun: set[str] = set()

    @classmethod
    def open(
        cls, context: dg.AssetExecutionContext, assets: AssetContext, stage: str, *, store_url: str
    ) -> Lineage | None:
        """The lineage of a Dagster step; None, with a warning, where the client's configuration cannot be used."""
        try:
            emit = OpenLineageClient().emit
        except Exception as error:  # noqa: BLE001 - a wrong configuration of lineage must not stop a paid run
            _LOG.warning("OpenLineage: its configuration cannot be used: %s: %s", type(error).__name__, error)
            return None
        run = context.run
        return cls(
            assets, stage, store_url=store_url, dagster_run_id=run.run_id, dagster_job=run.job_name, outlet=Outlet(emit)
        )

    def begin(self, partition: str) -> None:
        """START, with what is read."""
        self._begun.add(partition)
        self._outlet.add(self._event(RunState.START, partition, inputs=self._inputs(partition)))

    def end(self, partition: str, done: Materialised) -> None:
        """COMPLETE, or FAIL where the partition is not whole, with what was written; then its checks as their own run."""
        self._begun.discard(partition)
        for event in self._ended(partition, done):
            self._outlet.add(event)

    def fail(self, partition: str, message: str) -> None:
        """FAIL, with the reason."""
        self._begun.discard(partition)
        self._outlet.add(self._event(RunState.FAIL, partition, inputs=self._inputs(partition), facets=_error(message)))

    def abort(self, why: str) -> None:
        """ABORT of every partition that was begun and has not ended: stopped from outside, or by a mistake in here."""
        for partition in sorted(self._begun):
            inputs = self._inputs(partition)
            self._outlet.add(self._event(RunState.ABORT, partition, inputs=inputs, facets=_error(why)))
        self._begun.clear()

    def close(self) -> None:
        """Give what is waiting `FLUSH_SECONDS`, then leave it."""
        self._outlet.close(seconds=FLUSH_SECONDS)

    def _ended(self, partition: str, done: Materialised) -> Iterator[RunEvent]:
        facets = {**self._generation(done), **(_error(done.incomplete) if done.incomplete else {})}
        yield self._event(
            RunState.FAIL if done.incomplete else RunState.COMPLETE,
            partition,
            inputs=self._inputs(partition),
            outputs=[self._output(done)] if done.metadata else [],
            facets=facets,
        )
        if done.checks:
            yield from self._checked(partition, done)

    def _checked(self, partition: str, done: Materialised) -> Iterator[RunEvent]:
        """OpenLineage hangs assertions on what a run reads, so the checks are a run that reads the dataset."""
        namespace, name = self._dataset(self.stage)
        assertions = data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
            assertions=[
                data_quality_assertions_dataset.Assertion(
                    assertion=str(check.check_name),
                    name=str(check.check_name),
                    success=bool(check.passed),
                    severity=check.severity.value.lower(),
                    description=check.description,
                )
                for check in done.checks
            ]
        )
        read = InputDataset(namespace=namespace, name=name, inputFacets={"dataQualityAssertions": assertions})
        yield self._event(RunState.START, partition, inputs=[read], job="checks")
        passed = all(check.passed or check.severity is dg.AssetCheckSeverity.WARN for check in done.checks)
        yield self._event(RunState.COMPLETE if passed else RunState.FAIL, partition, inputs=[read], job="checks")

    def _event(
        self,
        state: RunState,
        partition: str,
        *,
        inputs: list[InputDataset],
        outputs: list[OutputDataset] | None = None,
        facets: dict[str, RunFacet] | None = None,
        job: str | None = None,
    ) -> RunEvent:
        name = ".".join(filter(None, (self.assets.config.name, self.stage, job)))
        parent = parent_run.ParentRunFacet(
            run=parent_run.Run(runId=self.dagster_run_id),
            job=parent_run.Job(namespace=NAMESPACE, name=self.dagster_job),
        )
        engine = processing_engine_run.ProcessingEngineRunFacet(
            version=dg.__version__, name="Dagster", openlineageAdapterVersion=code_version()
        )
        own: dict[str, RunFacet] = {"parent": parent, "processing_engine": engine, **self._nominal_time(partition)}
        job_facets: dict[str, JobFacet] = {
            "jobType": job_type_job.JobTypeJobFacet(
                processingType="BATCH", integration="DAGSTER", jobType="CHECK" if job else "ASSET"
            )
        }
        if self.assets.config.description:
            job_facets["documentation"] = documentation_job.DocumentationJobFacet(
                description=self.assets.config.description
            )
        return RunEvent(
            eventType=state,
            eventTime=datetime.now(UTC).isoformat(),
            run=Run(
                runId=str(uuid5(UUID(self.dagster_run_id), f"{name}/{partition}")), facets={**own, **(facets or {})}
            ),
            job=Job(namespace=NAMESPACE, name=name, facets=job_facets),
            inputs=inputs,
            outputs=outputs or [],
        )

    def _nominal_time(self, partition: str) -> dict[str, RunFacet]:
        windows = self.assets.partitions_def
        if partition == UNPARTITIONED or not isinstance(windows, dg.TimeWindowPartitionsDefinition):
            return {}
        window = windows.time_window_for_partition_key(partition)
        return {
            "nominalTime": nominal_time_run.NominalTimeRunFacet(
                nominalStartTime=window.start.isoformat(), nominalEndTime=window.end.isoformat()
            )
        }

    def _inputs(self, partition: str) -> list[InputDataset]:
        if self.stage == PROMPTS:
            base = Path(self.assets.config.base)
            read = [_named(table, base) for table in self.assets.config.tables_of(partition)]
        else:
            read = [self._dataset(stage) for stage in UPSTREAM[self.stage]]
        return [InputDataset(namespace=namespace, name=name) for namespace, name in read]

    def _output(self, done: Materialised) -> OutputDataset:
        metadata = done.metadata
        namespace, name = self._dataset(self.stage)
        facets: dict[str, DatasetFacet] = {
            "dataSource": datasource_dataset.DatasourceDatasetFacet(name=namespace, uri=self.store_url),
            "version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=done.data_version),
            "datasetType": dataset_type_dataset.DatasetTypeDatasetFacet(datasetType="FILE", subType=self.stage),
        }
        columns = definition_metadata(self.stage, self.assets.key, done.extra_columns)
        facets["schema"] = schema_dataset.SchemaDatasetFacet(
            fields=[
                schema_dataset.SchemaDatasetFacetFields(
                    name=column.name, type=column.type, description=column.description
                )
                for column in columns["dagster/column_schema"].columns
            ]
        )
        if lineage := columns.get("dagster/column_lineage"):
            facets["columnLineage"] = self._column_lineage(lineage)
        written: dict[str, OutputDatasetFacet] = {
            "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                rowCount=_number(metadata.get("dagster/row_count")),
                size=_number(metadata.get("dagster/size_bytes")),
                fileCount=_number(metadata.get("images_stored")) if self.stage == IMAGES else None,
            )
        }
        return OutputDataset(namespace=namespace, name=name, facets=facets, outputFacets=written)

    def _column_lineage(self, lineage: dg.TableColumnLineage) -> DatasetFacet:
        def field(dep: dg.TableColumnDep) -> column_lineage_dataset.InputField:
            namespace, name = self._dataset(dep.asset_key.path[-1])
            return column_lineage_dataset.InputField(namespace=namespace, name=name, field=dep.column_name)

        return column_lineage_dataset.ColumnLineageDatasetFacet(
            fields={
                column: column_lineage_dataset.Fields(inputFields=[field(dep) for dep in deps])
                for column, deps in lineage.deps_by_column.items()
            }
        )

    def _generation(self, done: Materialised) -> dict[str, RunFacet]:
        metadata = done.metadata
        if self.stage != IMAGES or "credits_booked" not in metadata:
            return {}
        return {
            "seedream_generation": GenerationRunFacet(
                model=metadata["models"],
                imagesStored=metadata["images_stored"],
                imagesWanted=metadata["images_wanted"],
                imagesStoredByThisRun=metadata["images_stored_by_this_run"],
                creditsBooked=metadata["credits_booked"],
                costAmount=metadata["cost_amount"],
                costUnit=metadata["cost_unit"],
            )
        }

    def _dataset(self, stage: str) -> tuple[str, str]:
        """Namespace and name of what a stage writes, as OpenLineage names objects: by bucket and key, or by path."""
        folders = {PROMPTS: "prompts", REQUESTS: "requests", DATASET: "manifest"}
        name = self.assets.config.name
        key = "images" if stage == IMAGES else f"datasets/{name}/{folders[stage]}"
        return _named(f"{self.store_url}/{key}", Path("/"))


def _named(address: str, base: Path) -> tuple[str, str]:
    parts = urlsplit(address)
    if parts.scheme == "file":
        return "file", unquote(parts.path)
    if "://" not in address:
        return "file", str(base / address)
    # Without user and query, which may hold secrets.
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", parts.path.strip("/")


def _error(message: str) -> dict[str, RunFacet]:
    return {"errorMessage": error_message_run.ErrorMessageRunFacet(message=message, programmingLanguage="PYTHON")}


def _number(value: Any) -> int | None:
    plain = value.value if isinstance(value, dg.MetadataValue) else value
    return None if plain is None else int(plain)
