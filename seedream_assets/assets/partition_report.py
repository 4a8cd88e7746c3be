"""How a step reports its partitions to Dagster: each as it ends; what is not whole fails the step last.

What belongs here: events, versions of what a run wrote, failures. What a stage does with a partition belongs in the
stage's own module.

Dagster would write one event per partition at the end of a step, with the same metadata for all, and none where the
step fails (1.13). So each partition of a range is reported as it ends, and stays reported should the run die later; so
are its checks, and each check has one more result over the whole range. The assets that come after in the same run need
an output all the same, or Dagster skips them: one is yielded that carries Dagster's own label for "the body has logged
its events" (a test counts the events).
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION as ALREADY_REPORTED

from seedream_assets.assets.asset_context import STAGES, AssetContext, Materialised
from seedream_assets.assets.ui_metadata import markdown_table
from seedream_assets.config.dataset import UNPARTITIONED
from seedream_assets.errors import (
    AuthenticationFailed,
    BalanceExhausted,
    ConfigError,
    LeonardoError,
    PartitionKeyError,
    SeedreamError,
    StoreRefused,
)
from seedream_assets.wording import count_of

if TYPE_CHECKING:
    from seedream_assets.assets.lineage import Lineage

# What fails one partition fails all of them.
HOPELESS = (ConfigError, StoreRefused, AuthenticationFailed, BalanceExhausted)
PROBLEMS_LISTED = 5
# Of a range's partitions, so many show their contact sheets: each may take 50 kB in Dagster's database, twice.
SHEETS_SHOWN = 3
# Metadata of a check that says the same for every partition of a range.
SAME_FOR_ALL = ("how_to_approve", "plan_hash", "credits_to_approve")
# Metadata of a check that a partition of a range leaves out: a range may have thousands.
PICTURES = ("contact_sheet", "pictures")
# Metadata of an observation: why a partition is not whole, and why a later stage left it out.
NOT_WHOLE = "not_whole"
LEFT_OUT = "left_out"
# Metadata of a materialisation: the version of what the stage wrote. Between two steps of a run another run may write
# the same partition from another table, so later stages of the same run ask for this version.
SNAPSHOT = "snapshot_version"
PLAN = "plan_version"
INTERRUPTED = "nothing more is bought, and the next run goes on from here"
_EVENTS_AT_ONCE = 1_000
_SEVERITIES = (dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR)
_LOG = logging.getLogger(__name__)


def materialise(
    context: dg.AssetExecutionContext,
    assets: AssetContext,
    stage: str,
    *,
    store_url: str,
    work: Callable[[str], Materialised],
) -> Iterator[Any]:
    """Do the work for every partition of the step, one after the other, and report each.

    Raises:
        Failure: As `PartitionReport.end`.
    """
    with open_report(context, assets, stage, store_url=store_url) as report:
        for partition in report.to_do:
            report.begin(partition)
            try:
                report.add(partition, work(partition))
            except SeedreamError as error:
                report.refuse(partition, error)
            if report.stopped:
                break
        yield from report.end()


@contextmanager
def open_report(
    context: dg.AssetExecutionContext, assets: AssetContext, stage: str, *, store_url: str
) -> Iterator[PartitionReport]:
    """The report of one step; where OpenLineage is configured, sent there too.

    A partition that was begun when the block is cut off is reported to OpenLineage as aborted.
    """
    lineage = _open_lineage(context, assets, stage, store_url)
    try:
        yield PartitionReport(context, assets, stage, lineage)
    except BaseException as error:
        if lineage is not None:
            lineage.abort(type(error).__name__)
        raise
    finally:
        if lineage is not None:
            lineage.close()


def _open_lineage(
    context: dg.AssetExecutionContext, assets: AssetContext, stage: str, store_url: str
) -> Lineage | None:
    if not lineage_is_configured(os.environ, (Path.cwd(), Path.home() / ".openlineage")):
        return None
    if importlib.util.find_spec("openlineage") is None:
        _LOG.warning("OpenLineage is configured and not installed; pip install 'seedream-assets[openlineage]'")
        return None
    from seedream_assets.assets.lineage import Lineage

    return Lineage.open(context, assets, stage, store_url=store_url)


def lineage_is_configured(environment: Mapping[str, str], folders: tuple[Path, ...]) -> bool:
    """Whether OpenLineage's own client would find a configuration.

    Args:
        environment: Of this process.
        folders: Where an openlineage.yml may lie.
    """
    if environment.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return False
    if any(environment.get(name) for name in ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG")):
        return True
    if any(name.startswith("OPENLINEAGE__TRANSPORT") for name in environment):
        return True
    return any((folder / "openlineage.yml").is_file() for folder in folders)


class PartitionReport:
    """What a step has to say of its partitions. May be called from several threads, one after the other.

    Args:
        context, assets, stage: The step, and whose.
        lineage: Where it is reported too; None where OpenLineage is not configured.

    Attributes:
        to_do: The step's partitions without those that an earlier stage of the same run could not make whole.
        stopped: Why no further partition may be begun; None where one may.
    """

    def __init__(
        self, context: dg.AssetExecutionContext, assets: AssetContext, stage: str, lineage: Lineage | None
    ) -> None:
        self._context = context
        self._lineage = lineage
        self._key = assets.key(stage)
        self._later = [assets.key(later) for later in STAGES[STAGES.index(stage) + 1 :]]
        self._partitions = partitions_of(context)
        earlier = {assets.key(before): before for before in STAGES[: STAGES.index(stage)]}
        self._lost = _lost_before(context, earlier) if self._is_range else {}
        self.to_do = [partition for partition in self._partitions if partition not in self._lost]
        self._problems: dict[str, str] = {}
        self._checks: dict[str, tuple[dg.AssetCheckResult, ...]] = {}
        self._ended: dict[str, Materialised] = {}
        self._error: SeedreamError | None = None
        self.stopped: str | None = None

    @property
    def _is_range(self) -> bool:
        return len(self._partitions) > 1

    def begin(self, partition: str) -> None:
        """A partition is begun; Dagster keeps no event of it."""
        if self._lineage is not None:
            self._lineage.begin(partition)

    def add(self, partition: str, done: Materialised) -> None:
        """What one partition came to. Of a range, a whole one is reported to Dagster at once."""
        if self._lineage is not None:
            self._lineage.end(partition, done)
        self._keep(partition, done)

    def refuse(self, partition: str, error: SeedreamError) -> None:
        """One partition could not be worked on; the others may be, unless the error concerns all of them."""
        if self._lineage is not None:
            self._lineage.fail(partition, str(error))
        self._error = self._error or error
        if self._is_range:
            self._context.log.warning("%s: %s", partition, error)
        is_hopeless = isinstance(error, HOPELESS) and not isinstance(error, PartitionKeyError)
        stopped = str(error) if is_hopeless else None
        self._keep(partition, Materialised(incomplete=str(error), stopped=stopped))

    def stop(self, reason: str, error: SeedreamError | None = None) -> None:
        """No further partition is begun."""
        self.stopped = self.stopped or reason
        self._error = self._error or error

    def leave_out(self, partition: str) -> None:
        """A partition that the stop came before; `stop` has been called."""
        if self._lineage is not None:
            self._lineage.fail(partition, self.stopped or "not begun")

    def _keep(self, partition: str, done: Materialised) -> None:
        self._checks[partition] = done.checks
        if done.incomplete:
            self._problems[partition] = done.incomplete
        elif self._is_range:
            self._context.log_event(
                dg.AssetMaterialization(
                    asset_key=self._key,
                    partition=partition,
                    metadata=dict(done.metadata),
                    tags={"dagster/data_version": done.data_version},
                )
            )
        if self._is_range:
            self._log_checks(partition, done.checks)
        self._ended[partition] = replace(done, metadata={}) if self._is_range else done
        self.stopped = self.stopped or done.stopped

    def _log_checks(self, partition: str, results: tuple[dg.AssetCheckResult, ...]) -> None:
        """The checks of one partition of a range, at once; Dagster keeps those of a step with one partition by itself."""
        specs = {spec.name: spec for spec in self._context.assets_def.check_specs if spec.partitions_def is not None}
        own = [result for result in results if result.check_name in specs]
        if not own:
            return
        target = _latest_materialization(self._context, self._key, partition)
        for result in own:
            self._context.log_event(
                dg.AssetCheckEvaluation(
                    asset_key=self._key,
                    check_name=str(result.check_name),
                    passed=result.passed,
                    metadata={label: value for label, value in result.metadata.items() if label not in PICTURES},
                    target_materialization_data=target,
                    severity=result.severity,
                    description=result.description,
                    blocking=specs[str(result.check_name)].blocking,
                    partition=partition,
                )
            )

    def end(self) -> Iterator[Any]:
        """The step's output and checks.

        A range with a partition that is not whole fails the run, but not before its last stage: the other partitions
        go through the stages that come after. Which ones did not is kept as an observation of the asset.

        Raises:
            Failure: A partition is not whole and no stage comes after in this run, or no partition is whole, or the
                step was stopped; after everything that could be reported was reported.
            SeedreamError: The only partition could not be worked on.
        """
        if not self._is_range and self._error is not None:
            raise self._error
        if self._is_range:
            self._observe(LEFT_OUT, self._lost)
            self._observe(NOT_WHOLE, self._problems)
        problems = {**self._lost, **self._problems}
        goes_on = len(problems) < len(self._partitions) and not self.stopped and self._goes_on_later()
        if self._is_range and (goes_on or not (problems or self.stopped)):
            yield dg.MaterializeResult(asset_key=self._key, metadata={ALREADY_REPORTED: True})
        elif not self._is_range and not (problems or self.stopped):
            (done,) = self._ended.values()
            yield dg.MaterializeResult(metadata=dict(done.metadata), data_version=dg.DataVersion(done.data_version))
        yield from join_checks(self._checks)
        if problems and goes_on:
            self._context.log.warning(
                "%s", self._summary(problems, "The others go on; the run fails in its last stage.")
            )
        elif problems or self.stopped:
            raise self._failure(problems)

    def _observe(self, label: str, reasons: Mapping[str, str]) -> None:
        for partition, reason in reasons.items():
            self._context.log_event(
                dg.AssetObservation(asset_key=self._key, partition=partition, metadata={label: reason})
            )

    def _goes_on_later(self) -> bool:
        """True where a later stage of the dataset is a step of this run."""
        steps = self._context.run.step_keys_to_execute
        in_run = self._context.job_def.asset_layer.executable_asset_keys
        return any(key in in_run and (steps is None or key.to_python_identifier() in steps) for key in self._later)

    def _summary(self, problems: Mapping[str, str], then: str) -> str:
        """A line for each partition, since a reason may be several sentences."""
        every = len(self._partitions)
        lines = []
        if problems:
            lines.append(f"{len(problems)} of {count_of(every, 'partition')} are not whole:")
            lines += [f"{partition}: {problem}" for partition, problem in list(problems.items())[:PROBLEMS_LISTED]]
            if len(problems) > PROBLEMS_LISTED:
                lines.append(f"and {len(problems) - PROBLEMS_LISTED} more")
        not_begun = self._not_begun()
        if not_begun:
            left = (
                f"{len(not_begun)} of {count_of(every, 'partition')} were not begun, {not_begun[0]} the first of them"
            )
            lines.append(f"{left}: {self.stopped}")
        elif self.stopped and not problems:
            lines.append(self.stopped)
        return "\n".join([*lines, then])

    def _not_begun(self) -> list[str]:
        return [partition for partition in self.to_do if partition not in self._ended]

    def _failure(self, problems: Mapping[str, str]) -> dg.Failure:
        if not self._is_range:
            metadata = next((done.metadata for done in self._ended.values()), {})
            problem = next(iter(problems.values()), self.stopped)
            return dg.Failure(description=problem, metadata=dict(metadata), allow_retries=False)
        not_begun = len(self._not_begun())
        whole = len(self._partitions) - len(problems) - not_begun
        return dg.Failure(
            description=self._summary(
                problems,
                f"{whole} are whole. Materialise the others again once that is mended: what is owned stays owned.",
            ),
            metadata={
                "partitions_whole": whole,
                "partitions_not_whole": len(problems),
                "partitions_not_begun": not_begun,
                NOT_WHOLE: dg.MetadataValue.md(markdown_table(["partition", "why"], problems.items())),
            },
            allow_retries=False,
        )


def partitions_of(context: dg.AssetExecutionContext) -> list[str]:
    """The step's partitions, in their order; the one name of an asset that has none."""
    if context.has_partition_key or context.has_partition_key_range:
        return list(context.partition_keys)
    return [UNPARTITIONED]


def _run_and_parents(context: dg.AssetExecutionContext) -> Iterator[dg.DagsterRun]:
    """This run, and those that it was started again from: a step that succeeded there is left out here."""
    run: dg.DagsterRun | None = context.run
    while run is not None:
        yield run
        run = context.instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None


def _events(
    instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType
) -> Iterator[dg.AssetMaterialization | dg.AssetObservation]:
    """The materializations, or the observations, of a run."""
    cursor: str | None = None
    while True:
        page = instance.get_records_for_run(run_id, cursor, of_type=kind, limit=_EVENTS_AT_ONCE)
        for record in page.records:
            entry = record.event_log_entry
            if event := entry.asset_materialization or entry.asset_observation:
                yield event
        if not page.has_more:
            return
        cursor = page.cursor


def _lost_before(context: dg.AssetExecutionContext, earlier: Mapping[dg.AssetKey, str]) -> dict[str, str]:
    """The partitions that an earlier stage of this run could not make whole, with the reason.

    What the store still holds of such a partition is from another day, and must not be bought or reported as today's.
    """
    lost: dict[str, str] = {}
    left = dict(earlier)
    for run in _run_and_parents(context):
        if not left:
            break
        steps = run.step_keys_to_execute
        here = {key: stage for key, stage in left.items() if steps is None or key.to_python_identifier() in steps}
        for seen in _events(context.instance, run.run_id, dg.DagsterEventType.ASSET_OBSERVATION) if here else ():
            if seen.asset_key in here and seen.partition is not None and NOT_WHOLE in seen.metadata:
                lost.setdefault(seen.partition, f"{here[seen.asset_key]}: {seen.metadata[NOT_WHOLE].value}")
        left = {key: stage for key, stage in left.items() if key not in here}
    return lost


def versions_in_run(context: dg.AssetExecutionContext, key: dg.AssetKey, label: str) -> dict[str, str]:
    """By partition, the versions that an earlier stage has reported in this run.

    Args:
        context: Of the step.
        key: The earlier stage.
        label: `SNAPSHOT` or `PLAN`.
    """
    found: dict[str, str] = {}
    for run in _run_and_parents(context):
        reported = {
            made.partition or UNPARTITIONED: str(made.metadata[label].value)
            for made in _events(context.instance, run.run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)
            if made.asset_key == key and label in made.metadata
        }
        found = reported | found
    return found


def _latest_materialization(
    context: dg.AssetExecutionContext, key: dg.AssetKey, partition: str
) -> AssetCheckEvaluationTargetMaterializationData | None:
    """What a check looked at, as Dagster wants it; None where the partition was never materialised."""
    asked = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition])
    for record in context.instance.fetch_materializations(asked, limit=1).records:
        return AssetCheckEvaluationTargetMaterializationData(
            run_id=record.event_log_entry.run_id, storage_id=record.storage_id, timestamp=record.timestamp
        )
    return None


def join_checks(checks: Mapping[str, tuple[dg.AssetCheckResult, ...]]) -> Iterator[dg.AssetCheckResult]:
    """One result per check, as Dagster wants it; over several partitions it passes where every one does."""
    by_name: dict[str, dict[str, dg.AssetCheckResult]] = {}
    for partition, results in checks.items():
        for result in results:
            by_name.setdefault(str(result.check_name), {})[partition] = result
    for results_of in by_name.values():
        every = list(results_of.values())
        if len(every) == 1:
            yield every[0]
            continue
        failed = {partition: result for partition, result in results_of.items() if not result.passed}
        rows = [
            (partition, "passed" if result.passed else "failed", result.description)
            for partition, result in (failed or results_of).items()
        ]
        yield dg.AssetCheckResult(
            check_name=every[0].check_name,
            asset_key=every[0].asset_key,
            passed=not failed,
            severity=max((result.severity for result in (failed or results_of).values()), key=_SEVERITIES.index),
            description=f"{len(every) - len(failed)} of {count_of(len(every), 'partition')} pass",
            metadata={
                "partitions": len(every),
                "partitions_failed": len(failed),
                **_sheets(failed),
                "by_partition": dg.MetadataValue.md(markdown_table(["partition", "result", "what"], rows)),
            },
        )


def _sheets(failed: Mapping[str, dg.AssetCheckResult]) -> dict[str, Any]:
    """The first failed partitions' own pictures and advice, which one line of a table cannot hold."""
    shown = list(failed.items())[:SHEETS_SHOWN]
    sheets = {
        f"contact_sheet {partition}": result.metadata["contact_sheet"]
        for partition, result in shown
        if "contact_sheet" in result.metadata
    }
    first = shown[0][1].metadata if shown else {}
    return sheets | {label: first[label] for label in SAME_FOR_ALL if label in first}


@contextmanager
def as_dagster_failures() -> Iterator[None]:
    """Turn a `SeedreamError` into `dg.Failure`, and an interruption into one that is never retried.

    Dagster turns a terminated run into a retry where a step lets the interruption through, and records a step that
    swallows it as a success (1.13): both would spend.
    """
    try:
        yield
    except SeedreamError as error:
        raise dg.Failure(description=str(error), metadata=_facts(error), allow_retries=error.may_retry) from error
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as error:
        raise dg.Failure(description=f"interrupted; {INTERRUPTED}", allow_retries=False) from error


def _facts(error: SeedreamError) -> dict[str, str | int]:
    facts: dict[str, str | int] = {"error": type(error).__name__}
    if isinstance(error, LeonardoError):
        known = {"http_status": error.status, "error_code": error.code, "request_id": error.request_id}
        facts |= {name: value for name, value in known.items() if value is not None}
    return facts
