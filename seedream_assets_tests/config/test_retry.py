"""When a call is repeated, and after how long."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedream_assets.config import retry
from seedream_assets.config.retry import RetryPolicy, repeat, repeat_blocking
from seedream_assets.errors import (
    AuthenticationFailed,
    DownloadError,
    LeonardoUnavailable,
    PromptBlocked,
    RateLimited,
    SeedreamError,
    StoreRefused,
    StoreUnavailable,
    SubmitUncertain,
)

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
            return await repeat(call, policy=policy, sleep=sleep)
        except SeedreamError as error:
            return error

    return asyncio.run(act()), waits, calls


def test_no_wait_follows_where_nothing_may_be_repeated() -> None:
    assert POLICY.wait_after(1, SubmitUncertain("sent")) is None
    assert POLICY.wait_after(4, LeonardoUnavailable("down")) is None
    assert RetryPolicy(attempts=None).wait_after(10**6, LeonardoUnavailable("down")) is not None


def test_an_answer_is_not_asked_for_twice() -> None:
    assert outcome_of([]) == ("answer", [], 1)


def test_waits_double_up_to_the_longest() -> None:
    policy = RetryPolicy(attempts=9, first_wait_seconds=0.5, longest_wait_seconds=3)
    result, waits, _ = outcome_of([LeonardoUnavailable("down")] * 6, policy)
    assert result == "answer"
    longest = [0.5, 1, 2, 3, 3, 3]
    assert all(most / 2 <= wait <= most for wait, most in zip(waits, longest, strict=True))


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
    assert POLICY.wait_seconds(1, RateLimited("slow down", retry_after_seconds=asked)) == waits


@given(
    attempt=st.integers(min_value=1, max_value=10**9),
    chance=st.floats(min_value=0, max_value=1, exclude_max=True),
    asked=st.none() | st.floats(),
)
def test_no_wait_is_longer_than_the_longest_or_below_zero(attempt: int, chance: float, asked: float | None) -> None:
    wait = POLICY.wait_seconds(attempt, RateLimited("slow down", retry_after_seconds=asked), chance=chance)
    assert 0 <= wait <= POLICY.longest_wait_seconds


@given(attempt=st.integers(min_value=1, max_value=40), chances=st.tuples(*[st.floats(0, 0.999)] * 2))
def test_clients_that_failed_together_come_back_spread_over_half_a_step(
    attempt: int, chances: tuple[float, float]
) -> None:
    low, high = (POLICY.wait_seconds(attempt, LeonardoUnavailable("down"), chance=chance) for chance in sorted(chances))
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
        RetryPolicy(**({"attempts": 1} | wrong))  # type: ignore[arg-type]


def test_a_blocking_call_is_repeated_by_the_same_rules() -> None:
    waits: list[float] = []
    errors: list[SeedreamError] = [StoreUnavailable("busy"), StoreUnavailable("busy"), StoreRefused("no room")]

    def call() -> None:
        raise errors.pop(0)

    with pytest.raises(StoreRefused):
        repeat_blocking(call, policy=POLICY, sleep=waits.append)
    assert len(waits) == 2
    errors = [StoreUnavailable("busy")]
    with pytest.raises(StoreUnavailable):
        repeat_blocking(call, policy=POLICY, sleep=waits.append, repeated=DownloadError)
    assert len(waits) == 2


def test_the_table_in_the_documentation_is_the_one_that_is_used() -> None:
    """Name, attempts, longest wait and the outage that is certain to be ridden out, in seconds."""
    page = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()
    documented = dict(re.findall(r"^\| `([A-Z_]+)` \| [^|]+ \| ([^|]+ \| [^|]+ \| [^|]+) \|$", page, re.MULTILINE))
    used = {
        name: f"{policy.attempts or '–'} | {policy.longest_wait_seconds:g} | "
        + (f"{policy.rides_out_seconds:.0f}" if policy.attempts else "–")
        for name, policy in vars(retry).items()
        if isinstance(policy, RetryPolicy)
    }
    assert documented == used
