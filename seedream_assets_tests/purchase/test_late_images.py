"""Claims about jobs that end before their images are listed: nothing that is paid for is given up too early.

What is waited for is timed on a clock that jumps over every wait; the ends in the ledger are those of whole runs.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import Any

import httpx
import pytest

from seedream_assets.config.account import LeonardoSettings
from seedream_assets.emulator.account import Account
from seedream_assets.emulator.api import build_app
from seedream_assets.emulator.faults import Fault
from seedream_assets.emulator.jobs import Order
from seedream_assets.emulator.settings import DEMO_KEY, EmulatorSettings
from seedream_assets.ledger.events import Completed, Failed
from seedream_assets.ledger.state import RequestState
from seedream_assets.ledger.store import final_key, read_event
from seedream_assets.leonardo.client import LeonardoClient
from seedream_assets.leonardo.generations import Generation, GenerationStatus
from seedream_assets.purchase.polling import LeftForLater, Polled, Polling
from seedream_assets.purchase.run import run_generation
from seedream_assets_tests.jumping_loop import JumpingLoop
from seedream_assets_tests.purchase.desk import make_paid_request, make_paid_requests

COUNT = 4
ORDER = Order(
    model="seedream-4.0",
    prompt="a cat",
    width=64,
    height=48,
    quantity=COUNT,
    seed=7,
    style_ids=("556c1ee5-ec38-42e8-955a-1e82dad0ffa1",),
    prompt_enhance="OFF",
    references=(),
    public=False,
)


def waited(kind: str, *, settle: float = 120.0, poll_fault: dict[str, Any] | None = None, **fault: Any) -> Any:
    """What one job that ends at once comes to, the seconds until that is final, and how often it was asked for."""

    async def act() -> tuple[Polled, float, int]:
        loop = asyncio.get_running_loop()
        unlimited = {"requests_per_minute": 0, "creates_per_minute": 0, "latency_seconds": 0}
        account = Account(EmulatorSettings(**unlimited), clock=lambda: loop.time() + 1e9)
        request = make_paid_request("a cat", count=COUNT)
        leonardo = LeonardoSettings(api_key=DEMO_KEY, base_url="http://127.0.0.1", requests_per_minute=1_000_000)
        transport = httpx.ASGITransport(build_app(account))
        async with LeonardoClient(leonardo, transport=transport) as client:
            polling = Polling(
                client=client,
                user_id=account.settings.user_id,
                sweeps=False,
                give_up_after_seconds=600,
                clock=loop.time,
                settle_images_seconds=settle,
                sleep=asyncio.sleep,
                pause=asyncio.sleep,
                stopping=lambda: False,
            )
            job = account.create(ORDER, "key", Fault(operation="create", kind=kind, **fault))
            ended = await polling.wait_for_end(request, job.generation_id, fresh=False)
            assert isinstance(ended, Generation)
            assert polling.jobs == 0
            if poll_fault:
                account.add_fault("poll", **poll_fault)
            began, polls = loop.time(), job.polls
            found = await polling.wait_for_images(request, ended)
            return found, loop.time() - began, job.polls - polls

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(act())


@pytest.mark.parametrize("shown", ["empty", "partial", "no_url"])
@pytest.mark.parametrize("seconds", [0.5, 3, 60, 118])
def test_images_that_come_late_are_waited_for_with_few_questions(shown: str, seconds: float) -> None:
    found, took, polls = waited("late_images", seconds=seconds, shown=shown)
    assert len(found.images) == COUNT
    assert seconds <= took <= max(seconds * 1.5 + 1.5, seconds + 0.01) + 20 * (seconds > 60)
    assert polls <= 15


@pytest.mark.parametrize(("shown", "there"), [("empty", 0), ("partial", COUNT // 2), ("no_url", 0)])
def test_what_lacks_when_the_time_is_up_is_withheld(shown: str, there: int) -> None:
    found, took, _ = waited("late_images", seconds=500, shown=shown)
    assert (found.status, len(found.images)) == (GenerationStatus.COMPLETE, there)
    assert 120 <= took <= 121


def test_the_time_is_as_long_as_it_is_set() -> None:
    assert waited("late_images", seconds=10, settle=5, shown="empty")[0].images == ()
    assert len(waited("late_images", seconds=4, settle=5, shown="empty")[0].images) == COUNT
    found, took, polls = waited("late_images", seconds=4, settle=0, shown="empty")
    assert (found.images, polls) == ((), 0)
    assert took < 0.1


@pytest.mark.parametrize("seconds", [1, 3, 29])
def test_a_failure_without_a_reason_may_turn_out_well(seconds: float) -> None:
    found, _, _ = waited("failed_first", seconds=seconds)
    assert (found.status, len(found.images)) == (GenerationStatus.COMPLETE, COUNT)


def test_a_failure_without_a_reason_is_final_after_half_a_minute() -> None:
    found, took, polls = waited("failed_first", seconds=45)
    assert found.status is GenerationStatus.FAILED
    assert 30 <= took <= 31
    assert polls <= 10


def test_a_failure_for_a_reason_is_final_at_once() -> None:
    found, took, polls = waited("failed", moderation=["NSFW"])
    assert (found.status, found.moderation, polls) == (GenerationStatus.FAILED, ("NSFW",), 0)
    assert took < 0.1


def test_what_has_come_whole_is_asked_no_more() -> None:
    assert waited("more_images", more=2)[2] == 0


@pytest.mark.parametrize("kind", ["error_before", "rate_limit", "html"])
def test_an_api_that_does_not_answer_finalizes_nothing(kind: str) -> None:
    found, took, _ = waited("late_images", seconds=3, shown="empty", poll_fault={"kind": kind})
    assert isinstance(found, LeftForLater)
    assert "Leonardo does not answer" in found.reason
    assert took > 120
    # An answer that comes when the time is up is still one: what it shows, is there.
    found, _, _ = waited("late_images", seconds=3, shown="empty", poll_fault={"kind": kind, "times": 12})
    assert len(found.images) == COUNT


def test_a_job_that_is_deleted_meanwhile_is_left_with_what_to_do() -> None:
    found, _, _ = waited("late_images", seconds=500, shown="partial", poll_fault={"kind": "not_found"})
    assert "seedream ledger end" in found.reason
    # For a moment it is only a server that is behind the times.
    found, _, _ = waited("late_images", seconds=30, shown="partial", poll_fault={"kind": "not_found", "times": 2})
    assert len(found.images) == COUNT


def ending(desk, request):
    return read_event(desk.store, final_key(request.request_id, desk.entry(request)))


@pytest.mark.parametrize("shown", ["empty", "partial", "no_url"])
@pytest.mark.parametrize("bulk_polling", [True, False])
def test_paid_images_that_are_listed_late_are_stored(desk, shown, bulk_polling):
    requests = make_paid_requests(6, count=2)
    desk.fault("create", "late_images", seconds=0.5, shown=shown)
    report = desk.run(requests, engine={"settle_images_seconds": 10, "bulk_polling": bulk_polling})
    assert (report.requests, report.images_stored) == ({"completed": 6}, 12)
    assert desk.judge(requests).is_clean


def test_a_job_that_fails_before_it_is_complete_is_stored(desk):
    requests = make_paid_requests(3)
    desk.fault("create", "failed_first", seconds=0.5)
    assert desk.run(requests, engine={"settle_images_seconds": 10}).requests == {"completed": 3}


def test_late_images_hold_neither_a_slot_nor_room(start_desk):
    """A hundred jobs whose images lack for a second; one after the other they would take more than ten."""
    desk = start_desk(slots=2)
    desk.fault("create", "late_images", seconds=1.0, shown="empty")
    requests = make_paid_requests(60)
    report = desk.run(requests, engine={"settle_images_seconds": 30, "slots": 2, "queue_ahead": 0})
    assert report.requests == {"completed": 60}
    assert report.seconds < 15


def test_a_run_that_is_stopped_meanwhile_finalizes_nothing_and_the_next_goes_on(desk):
    request = make_paid_request("a cat", count=2)
    desk.fault("create", "late_images", seconds=2.0, shown="partial")
    order = desk.order(desk.tasks([request]), engine={"settle_images_seconds": 60, "drain_seconds": 20}, on=interrupt)
    report = run_generation(order)
    assert report.requests == {"pending": 1}
    assert report.seconds < 10
    assert desk.state(request) is RequestState.SUBMITTED
    assert desk.run([request], engine={"settle_images_seconds": 60}).images_stored == 2
    assert desk.bill["generations"] == 1


def interrupt(step: str, _request_id: str) -> None:
    if step == "after_submitted":
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()


def test_what_never_comes_is_withheld_or_failed_as_ever(desk):
    short, failed = make_paid_request("a cat", count=2), make_paid_request("a dog")
    desk.fault("create", "fewer_images", prompt_contains="cat")
    desk.fault("create", "failed", prompt_contains="dog")
    report = desk.run([short, failed], engine={"settle_images_seconds": 0.2})
    assert report.requests == {"completed": 1, "failed": 1}
    assert isinstance(ending(desk, failed), Failed)
    assert [image.object_key is not None for image in ending(desk, short).images] == [False, True]


def test_of_more_images_than_were_asked_for_the_first_are_kept_and_it_is_noted(start_desk):
    desk = start_desk(shuffled_images=True)
    request = make_paid_request("a cat", count=2)
    desk.fault("create", "more_images", more=3)
    report = desk.run([request])
    assert (report.requests, report.images_stored) == ({"completed": 1}, 2)
    assert "delivered 5 images where 2 were asked for" in report.notes[request.request_id]
    ended = ending(desk, request)
    assert isinstance(ended, Completed)
    assert [image.source_url.rpartition("-")[2] for image in ended.images] == ["0.jpg", "1.jpg"]
