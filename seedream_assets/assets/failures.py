"""The one bridge from this project's errors to Dagster's: what a retry cannot help is not retried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from seedream_assets.core.errors import SeedreamError


@contextmanager
def as_dagster_failures() -> Iterator[None]:
    """Turn a `SeedreamError` into `dg.Failure`, and an interruption into one that is never retried.

    Dagster turns a terminated run into a retry where a step lets the interruption through, and records a step that
    swallows it as a success (measured with 1.13.27): both would spend.
    """
    try:
        yield
    except SeedreamError as error:
        raise dg.Failure(
            description=str(error),
            metadata={"error": type(error).__name__},
            allow_retries=error.may_retry,
        ) from error
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as error:
        raise dg.Failure(description="interrupted; the next run goes on from here", allow_retries=False) from error
