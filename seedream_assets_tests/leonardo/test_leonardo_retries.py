"""When a call is repeated, and after how long."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedream_assets.errors import (
    AuthenticationFailed,
    DownloadError,
    LeonardoUnavailable,
    PromptBlocked,
    RateLimited,
    SeedreamError,
    SubmitUncertain,
)
from seedream_assets.leonardo.retry import RetryPolicy, repeat

POLICY = RetryPolicy(attempts=4, first_wait_seconds=0.5, longest_wait_seconds=3)


def outcome_of(errors: Sequence[SeedreamError], policy: RetryPolicy = POLICY) -> tuple[object, list[float], int]:
    """What comes of calls that raise these errors in turn and then answer: the result, the waits, the calls."""
    waits: list[float] = []
    calls = 0

    async def call() -> str:
        nonlocal calls
        calls += 1
        if calls <= len(errors):
            raise errors[calls - 1]
        return "answer"

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def act() -> object:
        try:
            return await repeat(call, policy=policy, sleep=sleep, chance=lambda: 1.0)
        except SeedreamError as error:
            return error

    return asyncio.run(act()), waits, calls


def test_an_answer_is_not_asked_for_twice() -> None:
    assert outcome_of([]) == ("answer", [], 1)


def test_waits_double_up_to_the_longest() -> None:
    policy = RetryPolicy(attempts=9, first_wait_seconds=0.5, longest_wait_seconds=3)
    result, waits, _ = outcome_of([LeonardoUnavailable("down")] * 6, policy)
    assert (result, waits) == ("answer", [0.5, 1, 2, 3, 3, 3])


@pytest.mark.parametrize(
    "error", [LeonardoUnavailable("down"), RateLimited("slow down"), DownloadError("cut", may_retry=True)]
)
def test_what_may_pass_is_repeated_until_the_attempts_are_used_up(error: SeedreamError) -> None:
    result, waits, calls = outcome_of([error] * 9)
    assert (result, len(waits), calls) == (error, 3, 4)


@pytest.mark.parametrize(
    "error",
    [
        SubmitUncertain("sent"),
        PromptBlocked("moderation"),
        AuthenticationFailed("key"),
        DownloadError("another host", may_retry=False),
    ],
)
def test_what_cannot_pass_or_may_have_been_paid_is_not_repeated(error: SeedreamError) -> None:
    assert outcome_of([error]) == (error, [], 1)


def test_one_attempt_means_one_call() -> None:
    error = LeonardoUnavailable("down")
    assert outcome_of([error], RetryPolicy(attempts=1)) == (error, [], 1)


@pytest.mark.parametrize(("asked", "waits"), [(0, 0), (2.5, 2.5), (3, 3), (3600, 3), (math.inf, 3)])
def test_retry_after_is_obeyed_up_to_the_longest_wait(asked: float, waits: float) -> None:
    assert POLICY.wait_seconds(1, RateLimited("slow down", retry_after_seconds=asked), 0.0) == waits


@given(
    attempt=st.integers(min_value=1, max_value=10**9),
    chance=st.floats(min_value=0, max_value=1, exclude_max=True),
    asked=st.none() | st.floats(),
)
def test_no_wait_is_longer_than_the_longest_or_below_zero(attempt: int, chance: float, asked: float | None) -> None:
    wait = POLICY.wait_seconds(attempt, RateLimited("slow down", retry_after_seconds=asked), chance)
    assert 0 <= wait <= POLICY.longest_wait_seconds


@given(attempt=st.integers(min_value=1, max_value=40), chances=st.tuples(*[st.floats(0, 0.999)] * 2))
def test_clients_that_failed_together_come_back_spread_over_half_a_step(
    attempt: int, chances: tuple[float, float]
) -> None:
    low, high = (POLICY.wait_seconds(attempt, LeonardoUnavailable("down"), chance) for chance in sorted(chances))
    assert low <= high <= 2 * low


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"first_wait_seconds": 0},
        {"first_wait_seconds": 9, "longest_wait_seconds": 8},
        {"longest_wait_seconds": math.inf},
        {"longest_wait_seconds": math.nan},
    ],
)
def test_a_policy_that_never_calls_or_never_ends_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least one attempt"):
        RetryPolicy(**wrong)  # type: ignore[arg-type]
