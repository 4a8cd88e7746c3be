"""Claims about processes that share a host name, a boot and a store, and not their process numbers: two containers.

A number that is nobody's in one namespace is a living process in the other.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

from seedream_assets_tests.purchase.judging import judge
from seedream_assets_tests.purchase.killed_process import ChildOrder, make_requests

pytestmark = pytest.mark.slow

MODULE = "seedream_assets_tests.purchase.namespace_process"
LEASE_SECONDS = 3.0
# Forking so often before it begins gives a process a number that is nobody's in a namespace that has just begun.
BURNT_NUMBERS = 60
_ISOLATED = [
    "unshare",
    *(() if os.geteuid() == 0 else ("--map-root-user",)),
    "--pid",
    "--fork",
    "--mount-proc",
    "--kill-child",
]


@pytest.fixture(scope="module")
def isolated():
    """The command that gives what comes after it a process namespace of its own."""
    try:
        tried = subprocess.run([*_ISOLATED, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare on this machine: process namespaces cannot be made")
    if tried.returncode:
        pytest.skip(f"process namespaces cannot be made here: {tried.stderr.strip()}")
    return _ISOLATED


def command_for(prefix, *arguments, burnt=0):
    """The command line of a process, which forks so often in its namespace before it begins."""
    if not burnt:
        return [*prefix, sys.executable, "-m", MODULE, *arguments]
    burn = f'for n in $(seq {burnt}); do /bin/true; done; "$@"; exit $?'
    return [*prefix, "sh", "-c", burn, "sh", sys.executable, "-m", MODULE, *arguments]


@pytest.fixture
def start():
    """Start processes by a prefix and their arguments; they end with the test."""
    with contextlib.ExitStack() as stack:

        def start_one(prefix, *arguments, burnt=0):
            process = subprocess.Popen(
                command_for(prefix, *arguments, burnt=burnt), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.callback(process.stdout.close)
            stack.callback(process.stdin.close)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        yield start_one


def hold(start, prefix, folder, **options):
    """A process that keeps a lease, and who it says it is."""
    process = start(prefix, "hold", str(folder), str(LEASE_SECONDS), **options)
    return process, json.loads(process.stdout.readline())


def end(process):
    process.kill()
    process.wait()


class Judge:
    """A process that says whether another is gone."""

    def __init__(self, process):
        self._process = process

    def finds_gone(self, writer):
        self._process.stdin.write(json.dumps(writer) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@pytest.mark.parametrize(
    ("where", "burnt"),
    [
        ("both in their own", 0),
        ("both in their own", BURNT_NUMBERS),
        ("the owner in its own", BURNT_NUMBERS),
        ("the judge in its own", 0),
    ],
)
def test_a_living_owner_in_another_process_namespace_is_never_judged_dead(isolated, start, tmp_path, where, burnt):
    owner, writer = hold(start, [] if where == "the judge in its own" else isolated, tmp_path, burnt=burnt)
    others = Judge(start([] if where == "the owner in its own" else isolated, "judge", str(tmp_path)))
    deadline = time.monotonic() + LEASE_SECONDS
    while time.monotonic() < deadline:
        assert not others.finds_gone(writer)
        time.sleep(0.2)
    end(owner)
    # Nobody outside can know; its lease has to run out.
    assert not others.finds_gone(writer)
    time.sleep(LEASE_SECONDS + 3)
    assert others.finds_gone(writer)


def test_two_namespaces_give_the_same_number_to_two_processes(isolated, start, tmp_path):
    (first, one), (_, other) = (hold(start, isolated, tmp_path, burnt=5) for _ in range(2))
    assert (one["pid"], one["host"]) == (other["pid"], other["host"])
    assert one["boot_id"] != other["boot_id"]
    beside = Judge(start(isolated, "judge", str(tmp_path)))
    end(first)
    assert not beside.finds_gone(other)


def test_in_one_namespace_a_dead_owner_is_gone_at_once_unless_its_number_is_another_s(start, tmp_path):
    owner, writer = hold(start, [], tmp_path)
    here = Judge(start([], "judge", str(tmp_path)))
    assert not here.finds_gone(writer)
    end(owner)
    assert here.finds_gone(writer)
    # Its number given to somebody else, as after a while it is: then its lease decides.
    assert not here.finds_gone({**writer, "pid": os.getpid()})


@pytest.mark.parametrize("changed", [{"host": "another"}, {"boot_id": ""}, {"boot_id": "another boot"}, {"pid": 0}])
def test_who_is_dead_is_known_only_on_the_same_machine_in_the_same_boot(start, tmp_path, changed):
    """A host name is no machine: two can have the same. A container without /proc shows no boot id."""
    owner, writer = hold(start, [], tmp_path)
    here = Judge(start([], "judge", str(tmp_path)))
    assert not here.finds_gone(writer)
    end(owner)
    assert not here.finds_gone({**writer, **changed})
    time.sleep(LEASE_SECONDS + 3)
    assert here.finds_gone({**writer, **changed})


def test_without_proc_nobody_is_judged_dead_before_the_lease_has_run_out(isolated, start, tmp_path):
    without_proc = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    tried = subprocess.run([*without_proc, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"/proc cannot be covered here: {tried.stderr.strip()}")
    blind_judge = Judge(start(without_proc, "judge", str(tmp_path)))
    seeing_judge = Judge(start([], "judge", str(tmp_path)))
    blind_owner, blind = hold(start, without_proc, tmp_path)
    owner, writer = hold(start, [], tmp_path)
    assert blind["boot_id"] == ""
    assert not blind_judge.finds_gone(writer)
    assert not seeing_judge.finds_gone(blind)
    end(blind_owner)
    end(owner)
    assert not blind_judge.finds_gone(writer)
    assert not seeing_judge.finds_gone(blind)


def test_runs_in_two_namespaces_over_one_store_buy_everything_once(isolated, start_desk):
    # Every answer takes longer than the history needs to settle: an intent in living hands that is taken for a dead
    # one's is released meanwhile, and bought again. The first process has a number that is nobody's for the second.
    desk = start_desk(latency_seconds=0.2, picture_bytes=1024, history_lag_seconds=8)
    desk.fault("create", "slow", seconds=3)
    order = ChildOrder(
        store=desk.store.url.removeprefix("file://"),
        base_url=desk.emulator.base_url,
        api_key=desk.emulator.key,
        prompts=tuple(f"a cat {number}" for number in range(30)),
        images=1,
        lease_seconds=LEASE_SECONDS,
        settle_seconds=0.5,
    )
    line = json.dumps(asdict(order))
    first = subprocess.Popen(command_for(isolated, "run", line, burnt=BURNT_NUMBERS))
    while not desk.bill["generations"]:
        assert first.poll() is None
        time.sleep(0.02)
    second = subprocess.Popen(command_for(isolated, "run", line))
    assert [process.wait(90) for process in (first, second)] == [0, 0]
    subprocess.run(command_for(isolated, "run", json.dumps(asdict(order) | {"prompts": []})), check=True)
    ids = [request.request_id for request in make_requests(order.prompts, order.images)]
    verdict = judge(desk.store, desk.emulator.account, ids)
    assert verdict.is_clean, verdict
    assert desk.bill["generations"] == 30
