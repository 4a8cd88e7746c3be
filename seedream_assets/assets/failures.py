"""The one bridge from this project's errors to Dagster's: what a retry cannot help is not retried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from seedream_assets.errors import LeonardoError, SeedreamError

INTERRUPTED = "nothing more is bought, and the next run goes on from here"


@contextmanager
def as_dagster_failures() -> Iterator[None]:
    """Turn a `SeedreamError` into `dg.Failure`, and an interruption into one that is never retried.

    Dagster turns a terminated run into a retry where a step lets the interruption through, and records a step that
    swallows it as a success (measured with 1.13.27): both would spend.
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
