"""Claims about processes that are asked to end, orphaned, or frozen: they buy nothing more, and lose nothing."""

import os
import signal
import time
from pathlib import Path

import pytest

from seedream_assets.ledger.lease import CLOCK_GRAIN_SECONDS
from seedream_assets.ledger.state import RequestState
from seedream_assets.ledger.store import LedgerEntries
from seedream_assets_tests.purchase.desk import Desk
from seedream_assets_tests.purchase.judging import judge
from seedream_assets_tests.purchase.killed_process import (
    ChildOrder,
    fork_server,
    make_requests,
    run_child,
    run_orphan,
)

# The emulator's own thread lives in this process; the children come from a server process that has no threads.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def slow_desk(start_desk):
    """Every answer to a submit takes 0.4 s, and every job 0.3 s."""
    desk = start_desk(latency_seconds=0.3, picture_bytes=1024)
    desk.fault("create", "slow", seconds=0.4)
    return desk


def order_for(desk, **changes):
    values = {
        "store": desk.store.url.removeprefix("file://"),
        "base_url": desk.emulator.base_url,
        "api_key": desk.emulator.key,
        "prompts": tuple(f"a cat {number}" for number in range(30)),
        "images": 1,
        "lease_seconds": 1.0,
        "settle_seconds": 0.5,
    }
    return ChildOrder(**(values | changes))


def start(target, *arguments):
    process = fork_server().Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def wait_until(said, *, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not said():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.02)


def states(desk, order):
    ids = [request.request_id for request in make_requests(order.prompts, order.images)]
    return [entry.state for entry in LedgerEntries(desk.store).of(ids).values()]


def assert_everything_is_well(desk, order):
    finishing = start(run_child, order)
    finishing.join(40)
    settling = start(run_child, ChildOrder(**{**vars(order), "prompts": ()}))
    settling.join(20)
    ids = [request.request_id for request in make_requests(order.prompts, order.images)]
    verdict = judge(desk.store, desk.emulator.account, ids)
    assert verdict.is_clean, verdict


def is_stopped(pid):
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_run_that_is_asked_to_end_buys_no_more_and_keeps_what_is_on_its_way(slow_desk: Desk, number):
    order = order_for(slow_desk)
    process = start(run_child, order)
    wait_until(lambda: slow_desk.bill["generations"] > 0)
    os.kill(process.pid, number)
    asked = time.monotonic()
    process.join(20)
    assert time.monotonic() - asked < order.drain_seconds + 2
    bought = slow_desk.bill["generations"]
    assert bought < 30
    found = states(slow_desk, order)
    # Every submit that was on its way is in the ledger: nothing is open, and each purchase has its id.
    assert found.count(RequestState.OPEN) == 0
    assert sum(state is not RequestState.FREE for state in found) == bought
    slow_desk.heal()
    assert_everything_is_well(slow_desk, order)


@pytest.mark.slow
def test_a_run_whose_parent_is_killed_ends_by_itself(slow_desk: Desk, tmp_path):
    order = order_for(slow_desk, watch_parent=True)
    pid_file = tmp_path / "pid"
    parent = start(run_orphan, order, str(pid_file))
    wait_until(lambda: pid_file.exists() and slow_desk.bill["generations"] > 0)
    parent.kill()
    parent.join()
    pid = int(pid_file.read_text(encoding="ascii"))
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), seconds=order.drain_seconds + 5)
    assert slow_desk.bill["generations"] < 30
    slow_desk.heal()
    assert_everything_is_well(slow_desk, order)


@pytest.mark.slow
@pytest.mark.parametrize(
    "step", ["before_intent", "after_intent", "before_post", "in_post", "after_post", "after_submitted"]
)
def test_a_process_frozen_past_its_lease_and_woken_again_pays_for_nothing_twice(slow_desk: Desk, step):
    order = order_for(slow_desk, prompts=("a cat 0", "a cat 1", "a cat 2"), machine="frozen")
    frozen = start(
        run_child,
        ChildOrder(**{**vars(order), "kill_at": step, "stop_instead": True, "kill_after_seconds": 0.2}),
    )
    wait_until(lambda: is_stopped(frozen.pid))
    others = ChildOrder(**{**vars(order), "machine": "other"})
    start(run_child, others).join(40)
    # What the frozen one may have sent is believed not to be bought once something that was bought later shows.
    time.sleep(CLOCK_GRAIN_SECONDS + 0.2)
    witness = ChildOrder(**{**vars(others), "prompts": ("a witness",), "dataset": "witness", "max_credits_total": None})
    start(run_child, witness).join(40)
    start(run_child, others).join(40)
    assert all(state.is_final for state in states(slow_desk, order))
    os.kill(frozen.pid, signal.SIGCONT)
    frozen.join(40)
    assert not frozen.is_alive()
    assert slow_desk.bill["generations"] == 3 + 1
    assert_everything_is_well(slow_desk, order)
