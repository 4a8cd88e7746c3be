"""What a materialisation is as OpenLineage events: jobs, runs, datasets and their facets. Needs the extra.

Everything is taken from what Dagster is told too, so that both say the same. Imported only where lineage is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid5

import attr
import dagster as dg
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
)

from seedream_assets.assets.frame import AssetFrame
from seedream_assets.assets.partition_walk import Materialised
from seedream_assets.config.dataset import UNPARTITIONED
from seedream_assets.config.deployment import code_version
from seedream_assets.manifest.column_lineage import DATASET, IMAGES, PROMPTS, REQUESTS

NAMESPACE = "seedream-assets"
PRODUCER = "urn:seedream-assets:producer"
GENERATION_SCHEMA = "urn:seedream-assets:openlineage:1-0-0:GenerationRunFacet"
UPSTREAM = {PROMPTS: (), REQUESTS: (PROMPTS,), IMAGES: (REQUESTS,), DATASET: (PROMPTS, REQUESTS, IMAGES)}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageEvents:
    """The events of one step.

    Attributes:
        dagster_run_id: The parent run.
        dagster_job: Its job.
    """

    frame: AssetFrame
    stage: str
    store_url: str
    dagster_run_id: str
    dagster_job: str

    @classmethod
    def of(cls, context: dg.AssetExecutionContext, frame: AssetFrame, stage: str, *, store_url: str) -> LineageEvents:
        """The events of a Dagster step."""
        return cls(
            frame=frame,
            stage=stage,
            store_url=store_url,
            dagster_run_id=context.run.run_id,
            dagster_job=context.run.job_name,
        )

    def started(self, partition: str) -> RunEvent:
        """START, with what is read."""
        return self._event(RunState.START, partition, inputs=self._inputs(partition))

    def failed(self, partition: str, message: str) -> RunEvent:
        """FAIL, with the reason."""
        return self._event(RunState.FAIL, partition, inputs=self._inputs(partition), facets=_error(message))

    def aborted(self, partition: str, why: str) -> RunEvent:
        """ABORT: stopped from outside, or by a mistake of this package."""
        return self._event(RunState.ABORT, partition, inputs=self._inputs(partition), facets=_error(why))

    def ended(self, partition: str, done: Materialised) -> Iterator[RunEvent]:
        """COMPLETE, or FAIL where the partition is not whole, with what was written; then its checks as a run of their own."""
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
            ],
            producer=PRODUCER,
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
        name = ".".join(filter(None, (self.frame.config.name, self.stage, job)))
        parent = parent_run.ParentRunFacet(
            run=parent_run.Run(runId=self.dagster_run_id),
            job=parent_run.Job(namespace=NAMESPACE, name=self.dagster_job),
            producer=PRODUCER,
        )
        engine = processing_engine_run.ProcessingEngineRunFacet(
            version=dg.__version__, name="Dagster", openlineageAdapterVersion=code_version(), producer=PRODUCER
        )
        own: dict[str, RunFacet] = {"parent": parent, "processing_engine": engine, **self._nominal_time(partition)}
        job_facets: dict[str, JobFacet] = {
            "jobType": job_type_job.JobTypeJobFacet(
                processingType="BATCH", integration="DAGSTER", jobType="CHECK" if job else "ASSET", producer=PRODUCER
            )
        }
        if self.frame.description:
            job_facets["documentation"] = documentation_job.DocumentationJobFacet(
                description=self.frame.description, producer=PRODUCER
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
            producer=PRODUCER,
        )

    def _nominal_time(self, partition: str) -> dict[str, RunFacet]:
        windows = self.frame.partitions_def
        if partition == UNPARTITIONED or not isinstance(windows, dg.TimeWindowPartitionsDefinition):
            return {}
        window = windows.time_window_for_partition_key(partition)
        return {
            "nominalTime": nominal_time_run.NominalTimeRunFacet(
                nominalStartTime=window.start.isoformat(), nominalEndTime=window.end.isoformat(), producer=PRODUCER
            )
        }

    def _inputs(self, partition: str) -> list[InputDataset]:
        if self.stage == PROMPTS:
            base = Path(self.frame.config.base)
            read = [_named(table, base) for table in self.frame.config.tables_of(partition)]
        else:
            read = [self._dataset(stage) for stage in UPSTREAM[self.stage]]
        return [InputDataset(namespace=namespace, name=name) for namespace, name in read]

    def _output(self, done: Materialised) -> OutputDataset:
        told = done.metadata
        namespace, name = self._dataset(self.stage)
        facets: dict[str, DatasetFacet] = {
            "dataSource": datasource_dataset.DatasourceDatasetFacet(
                name=namespace, uri=self.store_url, producer=PRODUCER
            ),
            "version": dataset_version_dataset.DatasetVersionDatasetFacet(
                datasetVersion=done.data_version, producer=PRODUCER
            ),
            "datasetType": dataset_type_dataset.DatasetTypeDatasetFacet(
                datasetType="FILE", subType=self.stage, producer=PRODUCER
            ),
        }
        if schema := told.get("dagster/column_schema"):
            facets["schema"] = schema_dataset.SchemaDatasetFacet(
                fields=[
                    schema_dataset.SchemaDatasetFacetFields(
                        name=column.name, type=column.type, description=column.description
                    )
                    for column in schema.columns
                ],
                producer=PRODUCER,
            )
        if lineage := told.get("dagster/column_lineage"):
            facets["columnLineage"] = self._column_lineage(lineage)
        written: dict[str, OutputDatasetFacet] = {
            "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                rowCount=_number(told.get("dagster/row_count")),
                size=_number(told.get("dagster/size_bytes")),
                fileCount=_number(told.get("images_stored")) if self.stage == IMAGES else None,
                producer=PRODUCER,
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
            },
            producer=PRODUCER,
        )

    def _generation(self, done: Materialised) -> dict[str, RunFacet]:
        told = done.metadata
        if self.stage != IMAGES or "credits_booked" not in told:
            return {}
        return {
            "seedream_generation": GenerationRunFacet(
                model=told["models"],
                imagesStored=told["images_stored"],
                imagesWanted=told["images_wanted"],
                imagesStoredByThisRun=told["images_stored_by_this_run"],
                creditsBooked=told["credits_booked"],
                costAmount=told["cost_amount"],
                costUnit=told["cost_unit"],
                producer=PRODUCER,
            )
        }

    def _dataset(self, stage: str) -> tuple[str, str]:
        """Namespace and name of what a stage writes, as OpenLineage names objects: by bucket and key, or by path."""
        folders = {PROMPTS: "prompts", REQUESTS: "requests", DATASET: "manifest"}
        name = self.frame.config.name
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
    return {
        "errorMessage": error_message_run.ErrorMessageRunFacet(
            message=message, programmingLanguage="PYTHON", producer=PRODUCER
        )
    }


def _number(value: Any) -> int | None:
    plain = value.value if isinstance(value, dg.MetadataValue) else value
    return None if plain is None else int(plain)
