"""Claims about waiting for ends: few reads, soon noticed, and every end found whatever the history is worth.

The emulated account is asked without a network, on a clock that jumps over every wait, so each case is exact.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from seedream_assets.config.account import LeonardoSettings
from seedream_assets.emulator.account import Account
from seedream_assets.emulator.api import build_app
from seedream_assets.emulator.jobs import Order
from seedream_assets.emulator.settings import DEMO_KEY, EmulatorSettings
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.generations import GenerationStatus
from seedream_assets.purchase.polling import LeftForLater, Polling
from seedream_assets_tests.jumping_loop import JumpingLoop
from seedream_assets_tests.purchase.desk import make_paid_request

QUEUE_AHEAD = 4


def order(prompt: str) -> Order:
    return Order(
        model="seedream-4.0",
        prompt=prompt,
        width=64,
        height=48,
        quantity=1,
        seed=7,
        style_ids=("556c1ee5-ec38-42e8-955a-1e82dad0ffa1",),
        prompt_enhance="OFF",
        references=(),
        public=False,
    )


def bill_after(
    jobs: int,
    *,
    slots: int = 10,
    bulk: bool = True,
    prompt: str = "a cat",
    arrange: Callable[[Account], None] = lambda _account: None,
    besides: Callable[[Account], None] | None = None,
    through: Callable[[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport] = lambda transport: transport,
    **changes: Any,
) -> dict[str, Any]:
    """The books after so many jobs, sent as soon as there is a free slot or room in the queue, and waited for each by itself."""

    async def act() -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        settings = {"slots": slots, "requests_per_minute": 0, "creates_per_minute": 0, "balance_credits": 10**6}
        account = Account(EmulatorSettings(**(settings | changes)), clock=lambda: loop.time() + 1e9)
        arrange(account)
        leonardo = LeonardoSettings(api_key=DEMO_KEY, base_url="http://127.0.0.1", requests_per_minute=1_000_000)
        transport = through(httpx.ASGITransport(build_app(account)))
        request = make_paid_request(prompt)
        slots_and_queue = asyncio.Semaphore(slots + QUEUE_AHEAD)
        ends = []

        async def one(number: int) -> None:
            async with slots_and_queue:
                if besides is not None:
                    besides(account)
                job = account.create(order(f"{prompt} {number}"), "key")
                ends.append(await polling.wait_for_end(request, job.generation_id, fresh=True))

        async with LeonardoClient(leonardo, transport=transport) as client:
            polling = Polling(
                client=client,
                user_id=account.settings.user_id,
                sweeps=bulk,
                give_up_after_seconds=600,
                clock=loop.time,
                settle_images_seconds=120,
                sleep=asyncio.sleep,
                pause=asyncio.sleep,
                stopping=lambda: False,
            )
            await asyncio.gather(*(one(number) for number in range(jobs)))
        assert polling.jobs == 0
        assert [end for end in ends if isinstance(end, LeftForLater) or end.status is GenerationStatus.PENDING] == []
        return account.bill(details=False)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(act())


def test_many_jobs_at_once_need_few_reads_and_are_noticed_soon() -> None:
    bill = bill_after(200)
    assert bill["reads_per_generation"] <= 1.6
    assert bill["median_lateness"] <= 0.12
    assert bill["slot_use"] >= 0.95  # 200 jobs: the tail weighs twice what it does with 400


@pytest.mark.parametrize("median_seconds", [0.5, 8.0, 60.0])
def test_the_latency_is_learned(median_seconds: float) -> None:
    bill = bill_after(200, latency_seconds=median_seconds)
    assert bill["reads_per_generation"] <= 1.6
    assert bill["median_lateness"] <= (0.3 if median_seconds < 1 else 0.12)  # no two sweeps within 0.25 s


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_few_slots_need_few_reads_too(slots: int) -> None:
    assert bill_after(60, slots=slots)["reads_per_generation"] <= 3.0


def test_jobs_beyond_the_newest_page_are_polled_by_themselves() -> None:
    bill = bill_after(300, slots=80)
    assert bill["statuses"] == {"COMPLETE": 300}
    assert bill["reads_per_generation"] <= 2.0


def test_without_sweeps_every_job_is_polled_by_itself() -> None:
    bill = bill_after(100, bulk=False)
    assert bill["requests"]["history"] == 0
    assert 1.0 <= bill["polls_per_generation"] <= 3.5


def strike(operation: str, kind: str, **options: Any) -> Callable[[Account], None]:
    def arrange(account: Account) -> None:
        account.add_fault(operation, kind, **options)

    return arrange


def flood(account: Account) -> None:
    """Somebody else in the account's web app, so busy that a page shows little else."""
    for number in range(60):
        account.add_web_app_generation(order(f"somebody's dog {number}"))


class EverPending(httpx.AsyncBaseTransport):
    """A history that lists every job and never says that one has ended."""

    def __init__(self, api: httpx.AsyncBaseTransport) -> None:
        self._api = api

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._api.handle_async_request(request)
        if "/generations/user/" not in request.url.path:
            return answer
        jobs = json.loads(await answer.aread())["generations"]
        return httpx.Response(200, json={"generations": [{**job, "status": "PENDING"} for job in jobs]})


TROUBLES: dict[str, dict[str, Any]] = {
    "a second behind": {"history_lag_seconds": 1.0},
    "a minute behind": {"history_lag_seconds": 60.0},
    "down": {"arrange": strike("history", "error_before", status=503)},
    "down now and then": {"arrange": strike("history", "error_before", status=503, probability=0.3)},
    "over its rate": {"arrange": strike("history", "rate_limit")},
    "a proxy's page": {"arrange": strike("history", "html")},
    "no object": {"arrange": strike("history", "not_object")},
    "short pages": {"history_limit": 5},
    "full of others": {"besides": flood},
    "ever pending": {"through": EverPending},
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_an_unhelpful_history_costs_a_few_reads_and_hides_no_end(trouble: str) -> None:
    bill = bill_after(60, **TROUBLES[trouble])
    assert bill["statuses"] == {"COMPLETE": 60}
    # As many as polls alone need, and the sweeps that found nothing.
    assert bill["reads_per_generation"] <= 3.5


@pytest.mark.parametrize("trouble", ["error_before", "html", "not_object", "rate_limit"])
def test_ends_are_found_by_sweeps_where_polls_fail(trouble: str) -> None:
    bill = bill_after(60, arrange=strike("poll", trouble))
    assert bill["statuses"] == {"COMPLETE": 60}


@pytest.mark.parametrize(("prompt", "status"), [("emulate-failed", "FAILED"), ("emulate-withheld", "COMPLETE")])
def test_bad_news_is_asked_for_once_more(prompt: str, status: str) -> None:
    bill = bill_after(30, prompt=prompt)
    assert bill["statuses"] == {status: 30}
    assert bill["polls_per_generation"] >= 1.0
