"""The walk over a step's partitions: each is told to Dagster as it ends, and what is not whole fails the step last.

What comes after in the same run needs an output all the same, or Dagster skips it: one is given that carries Dagster's
own mark for "the body has told its events" (1.13; a test holds the count of events).

Checks are told partition by partition too, so that a day that failed stays failed when the next day is fine; over a range
each has one more result, without a partition, that sums up the run.

Dagster would write one event per partition at the end of a step, with the same metadata for all, and none where the
step fails (1.13). So a range of partitions is told partition by partition, and stays told should the run die later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION as ALREADY_TOLD

from seedream_assets.assets.frame import STAGES, AssetFrame
from seedream_assets.assets.tables import markdown_table
from seedream_assets.config.dataset import UNPARTITIONED
from seedream_assets.errors import (
    AuthenticationFailed,
    BalanceExhausted,
    ConfigError,
    PartitionKeyError,
    SeedreamError,
    StoreRefused,
)

# What stands against one partition stands against all of them.
HOPELESS = (ConfigError, StoreRefused, AuthenticationFailed, BalanceExhausted)
PROBLEMS_TOLD = 5
# Of a range's partitions, so many show their contact sheets: each may take 50 kB in Dagster's database, twice.
SHEETS_SHOWN = 3
# Metadata of a check that says the same for every partition of a range.
SAME_FOR_ALL = ("how_to_approve", "plan_hash", "credits_to_approve")
# Metadata of a check that a partition of a range leaves out: a range may have thousands.
PICTURES = ("contact_sheet", "pictures")
# Metadata of an observation: why a partition is not whole, and why a later stage left it out.
NOT_WHOLE = "not_whole"
LEFT_OUT = "left_out"
_SEVERITIES = (dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Materialised:
    """What one partition of one asset comes to.

    Attributes:
        metadata: For the UI; numbers become plots.
        data_version: Changes exactly when the content does.
        checks: Results of the asset's checks for this partition.
        incomplete: Why the partition is not whole yet; None when it is.
        stopped: Why no further partition may be begun; None where one may.
    """

    metadata: Mapping[str, Any] = field(default_factory=dict)
    data_version: str = ""
    checks: tuple[dg.AssetCheckResult, ...] = ()
    incomplete: str | None = None
    stopped: str | None = None


Work = Callable[[str], Materialised]


def materialise(context: dg.AssetExecutionContext, frame: AssetFrame, stage: str, work: Work) -> Iterator[Any]:
    """Do the work for every partition of the step, one after the other, and tell Dagster.

    Raises:
        Failure: As `Walk.end`.
    """
    walk = Walk(context, frame, stage)
    for partition in walk.to_do:
        try:
            walk.tell(partition, work(partition))
        except SeedreamError as error:
            walk.refuse(partition, error)
        if walk.stopped:
            break
    yield from walk.end()


class Walk:
    """What a step has to tell of its partitions. May be told from several threads, one after the other.

    Args:
        context, frame, stage: The step, and whose.

    Attributes:
        to_do: The step's partitions without those that an earlier stage of the same run could not make whole.
        stopped: Why no further partition may be begun; None where one may.
    """

    def __init__(self, context: dg.AssetExecutionContext, frame: AssetFrame, stage: str) -> None:
        self._context = context
        self._key = frame.key(stage)
        self._later = [frame.key(later) for later in STAGES[STAGES.index(stage) + 1 :]]
        self._partitions = partitions_of(context)
        earlier = {frame.key(before): before for before in STAGES[: STAGES.index(stage)]}
        self._lost = _lost_before(context, earlier) if self._is_range else {}
        self.to_do = [partition for partition in self._partitions if partition not in self._lost]
        self._problems: dict[str, str] = {}
        self._checks: dict[str, tuple[dg.AssetCheckResult, ...]] = {}
        self._told: dict[str, Materialised] = {}
        self._error: SeedreamError | None = None
        self.stopped: str | None = None

    @property
    def _is_range(self) -> bool:
        return len(self._partitions) > 1

    def tell(self, partition: str, done: Materialised) -> None:
        """What one partition came to. Of a range, a whole one is told to Dagster at once."""
        self._checks[partition] = done.checks
        if done.incomplete:
            self._problems[partition] = done.incomplete
        elif self._is_range:
            self._context.log_event(_event(self._key, partition, done))
        if self._is_range:
            self._tell_checks(partition, done.checks)
        self._told[partition] = replace(done, metadata={}) if self._is_range else done
        self.stopped = self.stopped or done.stopped

    def _tell_checks(self, partition: str, results: tuple[dg.AssetCheckResult, ...]) -> None:
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
                    metadata={label: told for label, told in result.metadata.items() if label not in PICTURES},
                    target_materialization_data=target,
                    severity=result.severity,
                    description=result.description,
                    blocking=specs[str(result.check_name)].blocking,
                    partition=partition,
                )
            )

    def refuse(self, partition: str, error: SeedreamError) -> None:
        """One partition could not be worked on; the others may be, unless the error concerns all of them."""
        self._error = self._error or error
        if self._is_range:
            self._context.log.warning("%s: %s", partition, error)
        is_hopeless = isinstance(error, HOPELESS) and not isinstance(error, PartitionKeyError)
        stopped = str(error) if is_hopeless else None
        self.tell(partition, Materialised(incomplete=str(error), stopped=stopped))

    def stop(self, reason: str, error: SeedreamError | None = None) -> None:
        """No further partition is begun."""
        self.stopped = self.stopped or reason
        self._error = self._error or error

    def end(self) -> Iterator[Any]:
        """The step's output and checks.

        A range with a partition that is not whole fails the run, but not before its last stage: the other partitions
        go through the stages that come after. Which ones did not is kept as an observation of the asset.

        Raises:
            Failure: A partition is not whole and no stage comes after in this run, or no partition is whole, or the
                walk was stopped; after everything that could be told was told.
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
            yield dg.MaterializeResult(asset_key=self._key, metadata={ALREADY_TOLD: True})
        elif not self._is_range and not (problems or self.stopped):
            (done,) = self._told.values()
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
            lines.append(f"{len(problems)} of {every} partitions are not whole:")
            lines += [f"{partition}: {problem}" for partition, problem in list(problems.items())[:PROBLEMS_TOLD]]
            if len(problems) > PROBLEMS_TOLD:
                lines.append(f"and {len(problems) - PROBLEMS_TOLD} more")
        not_begun = self._not_begun()
        if not_begun:
            told = f"{len(not_begun)} of {every} partitions were not begun, {not_begun[0]} the first of them"
            lines.append(f"{told}: {self.stopped}")
        elif self.stopped and not problems:
            lines.append(self.stopped)
        return "\n".join([*lines, then])

    def _not_begun(self) -> list[str]:
        return [partition for partition in self.to_do if partition not in self._told]

    def _failure(self, problems: Mapping[str, str]) -> dg.Failure:
        if not self._is_range:
            metadata = next((done.metadata for done in self._told.values()), {})
            told = next(iter(problems.values()), self.stopped)
            return dg.Failure(description=told, metadata=dict(metadata), allow_retries=False)
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


def _lost_before(context: dg.AssetExecutionContext, earlier: Mapping[dg.AssetKey, str]) -> dict[str, str]:
    """The partitions that an earlier stage of this run could not make whole, with the reason.

    What the store still holds of such a partition is from another day, and must not be bought or told as today's.
    A run that was started again from a failure leaves out the steps that succeeded: their word is in its parent.
    """
    lost: dict[str, str] = {}
    left = dict(earlier)
    run: dg.DagsterRun | None = context.run
    while left and run is not None:
        steps = run.step_keys_to_execute
        here = {key: stage for key, stage in left.items() if steps is None or key.to_python_identifier() in steps}
        if here:
            for record in context.instance.get_records_for_run(
                run.run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION
            ).records:
                event = record.event_log_entry.dagster_event
                seen = event.asset_observation_data.asset_observation if event else None
                if seen and seen.asset_key in here and seen.partition is not None and NOT_WHOLE in seen.metadata:
                    why = f"{here[seen.asset_key]}: {seen.metadata[NOT_WHOLE].value}"
                    lost.setdefault(seen.partition, why)
        left = {key: stage for key, stage in left.items() if key not in here}
        run = context.instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
    return lost


def _event(key: dg.AssetKey, partition: str, done: Materialised) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        asset_key=key,
        partition=partition,
        metadata=dict(done.metadata),
        tags={"dagster/data_version": done.data_version},
    )


def _latest_materialization(
    context: dg.AssetExecutionContext, key: dg.AssetKey, partition: str
) -> AssetCheckEvaluationTargetMaterializationData | None:
    """What a check looked at, as Dagster wants it told; None where the partition was never materialised."""
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
            description=f"{len(every) - len(failed)} of {len(every)} partitions pass",
            metadata={
                "partitions": len(every),
                "partitions_failed": len(failed),
                **_sheets(failed),
                "by_partition": dg.MetadataValue.md(markdown_table(["partition", "result", "told"], rows)),
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
