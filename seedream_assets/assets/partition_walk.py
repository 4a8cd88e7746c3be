"""The walk over a step's partitions: each is told to Dagster as it ends, and what is not whole fails the step last.

What comes after in the same run needs an output all the same, or Dagster skips it: one is given that carries Dagster's
own mark for "the body has told its events" (1.13; a test holds the count of events).

Dagster would write one event per partition at the end of a step, with the same metadata for all, and none where the
step fails (1.13). So a range of partitions is told partition by partition, and stays told should the run die later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION as ALREADY_TOLD

from seedream_assets.assets.tables import markdown_table
from seedream_assets.core.declaration import UNPARTITIONED
from seedream_assets.core.errors import (
    AuthenticationFailed,
    BalanceExhausted,
    DeclarationError,
    SeedreamError,
    StoreRefused,
)

# What stands against one partition stands against all of them.
HOPELESS = (DeclarationError, StoreRefused, AuthenticationFailed, BalanceExhausted)
PROBLEMS_TOLD = 5
# Of a range's partitions, so many show their contact sheets: each may take 50 kB in Dagster's database, twice.
SHEETS_SHOWN = 3


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


def materialise(context: dg.AssetExecutionContext, key: dg.AssetKey, work: Work) -> Iterator[Any]:
    """Do the work for every partition of the step, and tell Dagster.

    Raises:
        Failure: A partition is not whole, or the walk was stopped; after everything that could be told was told.
    """
    partitions = partitions_of(context)
    problems: dict[str, str] = {}
    checks: dict[str, tuple[dg.AssetCheckResult, ...]] = {}
    stopped: str | None = None
    metadata: Mapping[str, Any] = {}
    for partition in partitions:
        try:
            done = work(partition)
        except SeedreamError as error:
            if len(partitions) == 1:
                raise
            context.log.warning("%s: %s", partition, error)
            done = Materialised(incomplete=str(error), stopped=str(error) if isinstance(error, HOPELESS) else None)
        checks[partition] = done.checks
        if done.incomplete:
            problems[partition] = done.incomplete
            metadata = done.metadata
        elif len(partitions) == 1:
            yield dg.MaterializeResult(metadata=dict(done.metadata), data_version=dg.DataVersion(done.data_version))
        else:
            context.log_event(_event(key, partition, done))
        if done.stopped:
            stopped = done.stopped
            break
    if len(partitions) > 1 and not problems and not stopped:
        yield dg.MaterializeResult(asset_key=key, metadata={ALREADY_TOLD: True})
    yield from join_checks(checks)
    if problems or stopped:
        raise _failure(partitions, problems, stopped, begun=len(checks), metadata=metadata)


def partitions_of(context: dg.AssetExecutionContext) -> list[str]:
    """The step's partitions, in their order; the one name of an asset that has none."""
    if context.has_partition_key or context.has_partition_key_range:
        return list(context.partition_keys)
    return [UNPARTITIONED]


def _event(key: dg.AssetKey, partition: str, done: Materialised) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        asset_key=key,
        partition=partition,
        metadata=dict(done.metadata),
        tags={"dagster/data_version": done.data_version},
    )


def _failure(
    partitions: list[str],
    problems: Mapping[str, str],
    stopped: str | None,
    *,
    begun: int,
    metadata: Mapping[str, Any],
) -> dg.Failure:
    if len(partitions) == 1:
        told = next(iter(problems.values()), stopped)
        return dg.Failure(description=told, metadata=dict(metadata), allow_retries=False)
    lines = [f"{partition}: {problem}" for partition, problem in list(problems.items())[:PROBLEMS_TOLD]]
    if len(problems) > PROBLEMS_TOLD:
        lines.append(f"and {len(problems) - PROBLEMS_TOLD} more")
    not_begun = partitions[begun:]
    if not_begun:
        lines.append(f"{len(not_begun)} partitions were not begun, {not_begun[0]} the first of them: {stopped}")
    elif stopped and not problems:
        lines.append(stopped)
    return dg.Failure(
        description=f"{len(problems)} of {len(partitions)} partitions are not whole; " + "; ".join(lines),
        metadata={
            "partitions_whole": begun - len(problems),
            "partitions_not_whole": len(problems),
            "partitions_not_begun": len(not_begun),
            "not_whole": dg.MetadataValue.md(markdown_table(["partition", "why"], problems.items())),
        },
        allow_retries=False,
    )


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
            severity=every[0].severity,
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
    advice = next(
        (result.metadata["how_to_approve"] for _, result in shown if "how_to_approve" in result.metadata), None
    )
    return sheets | ({"how_to_approve": advice} if advice is not None else {})
