"""Claims about when Leonardo is said to be away."""

from __future__ import annotations

import httpx
import pytest

from seedream_assets.errors import LeonardoError
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets_tests.leonardo.making import KEY, make_settings, run


def outage_after(answers: list[int | None]) -> str | None:
    """What is reported after these answers to as many reads: a status, or None for no answer."""
    left = iter(answers)

    def respond(request: httpx.Request) -> httpx.Response:
        status = next(left)
        if status is None:
            raise httpx.ConnectError(f"no route, {KEY}", request=request)
        return httpx.Response(status, json={"user_details": [{"user": {"id": "u"}}]})

    async def act() -> str | None:
        async with LeonardoClient(make_settings(), transport=httpx.MockTransport(respond)) as client:
            for _ in answers:
                try:
                    await client.read_account()
                except LeonardoError:
                    continue
            return client.reachability.outage

    return run(act())


@pytest.mark.parametrize(
    ("answers", "is_away"),
    [
        ([], False),
        ([200], False),
        ([None, None], False),
        ([None, None, None], True),
        ([503, None, 502], True),
        ([None, None, None, 200], False),
        ([None, None, 401, None, None], False),
        ([None, None, None, 429], False),
    ],
)
def test_three_calls_without_an_answer_are_an_outage_and_any_answer_ends_it(
    answers: list[int | None], is_away: bool
) -> None:
    assert (outage_after(answers) is not None) is is_away


def test_an_outage_is_reported_with_its_time_and_reason_and_no_secret() -> None:
    outage = outage_after([None] * 4)
    assert outage is not None
    assert outage.startswith("Leonardo cannot be reached since ")
    assert "ConnectError: no route" in outage
    assert KEY not in outage
