"""Let the world differ from what was expected, run until nothing more is left to do, and judge by the bill.

A case is made from its seed alone: the world, whether rows give seeds, how many processes and accounts work on one
store, and what becomes of the first run. What is not proven may stay uncertain; it may not be bought again, and what
was paid may not be given up. The paid API is the emulator, and its bill is the judge.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

from seedream_assets.emulator.server import RunningEmulator, running_emulator
from seedream_assets.emulator.settings import EmulatorSettings
from seedream_assets.ledger.events import Submitted, decode_event, id_in_key
from seedream_assets.ledger.state import RequestState
from seedream_assets.ledger.store import LedgerEntries
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets_tests.purchase.disbelief_process import UNEXPECTED, DoubtingOrder, run_doubting
from seedream_assets_tests.purchase.disbelief_worlds import HOUR, QUOTED_CREDITS, WORLDS, World
from seedream_assets_tests.purchase.judging import Judgement, stored_images
from seedream_assets_tests.purchase.killed_process import fork_server, open_child_store
from seedream_assets_tests.storage.s3_server import S3Server, running_s3_server

MOST_RUNS = 8
RUN_SECONDS = 60.0
LEASE_SECONDS = 1.0
SETTLE_SECONDS = 1.2
# Of a history that is as quick as a refusal's look assumes: a twelfth of the settling.
LAG_SECONDS = 0.03
OTHER_USER_ID = "99999999-2222-4333-8444-555555555555"
KEYS = ("d3300000-5eed-4ea0-8000-00000000c0de", "d3300000-5eed-4ea0-8000-00000000c0df")
# Where the first run may be killed: with requests on their way, or claimed and not sent, or answered and not put down.
_KILLS = ("in_post", "after_intent", "after_post")
_COMBINATIONS = tuple(product((False, True), (1, 2), (1, 2), ("folder", "s3")))


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case.

    Attributes:
        own_seeds: Rows give their seeds; else they are derived.
        processes: Which begin at one moment.
        accounts: On the same store, each with a key of its own; with two, the first run is killed.
        kill: Where and after how long the first process is killed.
    """

    seed: int
    world: World
    own_seeds: bool
    processes: int
    accounts: int
    store: str
    kill: tuple[str, int, float] | None

    def __str__(self) -> str:
        seeds = "own" if self.own_seeds else "derived"
        killed = f", killed {self.kill[0]}" if self.kill else ""
        how = f"{seeds} seeds, {self.processes} processes, {self.accounts} accounts, {self.store}{killed}"
        return f"case {self.seed}: {self.world.name} ({how})"


@dataclass(kw_only=True)
class Outcome:
    """What a case came to.

    Attributes:
        billed_twice: Generations beyond the first of one request, in all accounts together.
        paid_lost: Paid images of requests that have ended, or are to be bought again, without them.
        caps_crossed: Credits beyond what the cap and the world allow.
        wrong_account: Generations of the account that was second on this store.
        wrong_picture: Generations that a request took for its own and that are another's.
        broken: Runs that did not end, ended with a traceback, or reported an error that nobody foresaw.
        lost: Generations whose answer never reached the ledger.
        adopted: Of these, owned by their requests in the end.
        must_adopt: The world asks for all of them.
        wanted, stored: Requests, and those that have all their images.
        runs: Of processes, until nothing was left to do.
        messages: What each run reported, or how its process ended.
    """

    billed_twice: int = 0
    paid_lost: int = 0
    caps_crossed: int = 0
    wrong_account: int = 0
    wrong_picture: int = 0
    broken: int = 0
    lost: int = 0
    adopted: int = 0
    must_adopt: bool = False
    wanted: int = 0
    stored: int = 0
    runs: int = 0
    seconds: float = 0.0
    messages: list[str] = field(default_factory=list)

    @property
    def not_adopted(self) -> int:
        """What a world that differs in form only has left uncertain."""
        return self.lost - self.adopted if self.must_adopt else 0

    @property
    def is_clean(self) -> bool:
        return not any(getattr(self, name) for name in ZEROS)


ZEROS = (
    "billed_twice",
    "paid_lost",
    "caps_crossed",
    "wrong_account",
    "wrong_picture",
    "broken",
    "not_adopted",
)


def make_case(seed: int, worlds: tuple[World, ...] = WORLDS) -> Case:
    """The case of a seed: worlds in turn, each with all combinations in 16 rounds; the kill is drawn."""
    number, round_ = seed % len(worlds), seed // len(worlds)
    own_seeds, processes, accounts, store = _COMBINATIONS[(round_ + 5 * number) % len(_COMBINATIONS)]
    world = worlds[number]
    dice = random.Random(f"{world.name} {round_}")
    killed = accounts == 2 or world.copied or (not world.paused and not world.run_cap and dice.random() < 0.3)
    kill = (dice.choice(_KILLS), dice.randint(2, 6), dice.uniform(0.0, 0.2)) if killed else None
    if world.passes:
        store = "folder"
    return Case(
        seed=seed,
        world=world,
        own_seeds=own_seeds or world.shared_seed,
        processes=processes,
        accounts=accounts,
        store=store,
        kill=kill,
    )


class DisbeliefMatrix:
    """Runs cases over so many requests each.

    Args:
        requests: Of each case.
        lost: The share of creates that a world's faults strike.
        s3: None where no case is on S3.
    """

    def __init__(self, *, requests: int, lost: float, s3: S3Server | None) -> None:
        self._requests = requests
        self._lost = lost
        self._s3 = s3
        self._processes = fork_server()

    def run(self, cases: list[Case], *, at_once: int, report: Callable[[Case, Outcome], None]) -> list[Outcome]:
        """Run cases, a few at a time; `report` is called as each ends."""
        with ThreadPoolExecutor(max_workers=at_once) as threads:

            def run_one(case: Case) -> Outcome:
                outcome = self.run_case(case)
                report(case, outcome)
                return outcome

            return list(threads.map(run_one, cases))

    def run_case(self, case: Case) -> Outcome:
        """Run, perhaps killed; let happen what the world has happen between runs; run until nothing changes; judge."""
        began = time.monotonic()
        play = _Play(case, self._processes, requests=self._requests, lost=self._lost, s3=self._s3)
        with play:
            play.first_runs()
            play.between()
            play.run_until_nothing_changes()
            outcome = play.judge()
        outcome.seconds = time.monotonic() - began
        return outcome


class _Play:
    """One case under way."""

    def __init__(self, case: Case, processes: Any, *, requests: int, lost: float, s3: S3Server | None) -> None:
        self._case, self._world = case, case.world
        self._processes = processes
        self._lost = lost
        self._s3 = s3
        self._stack = ExitStack()
        self._outcome = Outcome(wanted=requests, must_adopt=case.world.must_adopt)
        self._spent = 0
        prompts = tuple(self._prompt(number) for number in range(requests))
        price = requests * case.world.images * QUOTED_CREDITS
        seeds = tuple(7 if case.world.shared_seed else 1000 + number for number in range(requests))
        self._plan = DoubtingOrder(
            store="",
            base_url="",
            api_key="",
            prompts=prompts,
            seeds=seeds if case.own_seeds else (),
            images=case.world.images,
            enhance=case.world.enhance,
            max_credits_total=case.world.cap
            if case.world.cap is not None
            else price * (10 if case.world.run_cap else 1),
            run_cap=case.world.run_cap,
            lease_seconds=LEASE_SECONDS,
            settle_seconds=SETTLE_SECONDS,
            paused_guest=case.world.paused,
        )

    def __enter__(self) -> _Play:
        case, world = self._case, self._world
        quick = {
            "latency_seconds": 0.08,
            "history_lag_seconds": LAG_SECONDS,
            "creates_per_minute": 0,
            "requests_per_minute": 0,
            "picture_bytes": 1024,
            "random_seed": case.seed,
            "keys": KEYS[:1],
        }
        self._first = self._open_account(**(quick | dict(world.account)))
        self._accounts = [self._first]
        if case.accounts == 2:
            self._accounts.append(self._open_account(**(quick | dict(world.account)), user_id=OTHER_USER_ID))
        for given in world.faults:
            fault = {"probability": self._lost * given["share"], **given}
            if "times" in fault:
                fault["probability"] = 1.0
            del fault["share"]
            self._first.account.add_fault(**fault)
        self._go_to(*self._stack.enter_context(self._address()))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def first_runs(self) -> None:
        """Every process begins at one moment; with two accounts and two processes, one for each account."""
        case = self._case
        where, turn, delay = case.kill or (None, 1, 0.0)
        doomed = replace(self._on(self._first), kill_at=where, kill_turn=turn, kill_after_seconds=delay)
        if case.world.paused:
            self._run_paused()
            return
        others = [self._on(self._accounts[-1])] * (case.processes - 1)
        self._run(doomed, *others)

    def between(self) -> None:
        """What happens before anybody runs again."""
        world, first = self._world, self._first.account
        if world.later:
            first.change(**world.later)
        if world.new_key:
            first.change(keys=KEYS[1:])
        if world.copied:
            first.age(HOUR)
            self._copy_store()
        if world.passes:
            first.age(world.passes)
            self._age_folder(world.passes)
        if self._case.accounts == 2:
            self._run(self._on(self._accounts[1]))

    def run_until_nothing_changes(self) -> None:
        """With the account that this store is of."""
        ours = max(self._accounts, key=lambda one: (one.account.bill(details=False)["generations"], one is self._first))
        order = self._on(ours)
        for _ in range(MOST_RUNS):
            before = self._entries()
            if all(entry.is_final for entry in before.values()):
                break
            self._run(order)
            if self._entries() == before:
                break

    def judge(self) -> Outcome:
        """Compare what is stored with what the accounts have billed."""
        outcome, world = self._outcome, self._world
        # What is shown late is there now.
        time.sleep(max(world.account.get("images_late_seconds", 0.0), world.account.get("failed_first_seconds", 0.0)))
        bills = [one.account.bill() for one in self._accounts]
        lines = [line for bill in bills for line in bill["details"]]
        bought = Counter(line["request"] for line in lines)
        outcome.billed_twice = sum(number - 1 for number in bought.values())
        outcome.wrong_account = min(bill["generations"] for bill in bills) if len(bills) == 2 else 0
        committed = sum(bill["credits"] for bill in bills)
        allowed = (self._plan.max_credits_total or 0) + world.surprise * self._case.processes
        outcome.caps_crossed += max(0, committed - allowed)
        self._judge_owned(lines)
        self._judge_stored(lines)
        return outcome

    def _judge_owned(self, lines: list[dict[str, Any]]) -> None:
        asked = {request.request_id: request for request in self._plan.requests()}
        billed = {line["generation_id"]: line for line in lines}
        owned = self._owned()
        for submitted in owned:
            line, request = billed.get(submitted.generation_id), asked[submitted.request_id]
            same = line and (line["prompt"], line["seed"]) == (request.spec.prompt, request.seed)
            self._outcome.wrong_picture += not same
        answered = {submitted.generation_id for submitted in owned if not submitted.adopted}
        adopted = {submitted.generation_id for submitted in owned} - answered
        self._outcome.lost = len(billed.keys() - answered)
        self._outcome.adopted = len(billed.keys() & adopted)

    def _judge_stored(self, lines: list[dict[str, Any]]) -> None:
        stored = stored_images(self._store, Judgement())
        entries = self._entries()
        by_order = {(request.spec.prompt, request.seed): request for request in self._plan.requests()}
        jobs = {job.generation_id: job for one in self._accounts for job in one.account.jobs()}
        complete: Counter[str] = Counter()
        missing: Counter[str] = Counter()
        for line in lines:
            job, request = jobs[line["generation_id"]], by_order[line["prompt"], line["seed"]]
            there = min(request.count, len(job.indexes(time.time())))
            found = stored[id_in_key(line["generation_id"])]
            complete[request.request_id] = max(complete[request.request_id], found)
            waits = entries[request.request_id].state in (RequestState.OPEN, RequestState.SUBMITTED)
            if found < there and not waits and not job.deleted:
                missing[request.request_id] += there - found
        self._outcome.paid_lost = missing.total()
        self._outcome.stored = sum(complete[request.request_id] == request.count for request in by_order.values())

    # Runs

    def _on(self, emulator: RunningEmulator) -> DoubtingOrder:
        key = emulator.account.settings.keys[0]
        return replace(self._plan, base_url=emulator.base_url, api_key=key)

    def _run(self, *orders: DoubtingOrder) -> None:
        """Processes that begin at one moment, to their ends."""
        for process, messages in [self._start(order) for order in orders]:
            self._end(process, messages)
        self._note_spent(len(orders))

    def _start(self, order: DoubtingOrder) -> tuple[Any, Any]:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = self._processes.Process(target=run_doubting, args=(order, theirs), daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def _end(self, process: Any, messages: Any) -> None:
        process.join(RUN_SECONDS)
        if process.is_alive():
            self._outcome.broken += 1
            process.kill()
            process.join()
        said = ""
        with contextlib.suppress(EOFError):
            said = messages.recv() if messages.poll() else ""
        messages.close()
        is_broken = process.exitcode not in (0, -signal.SIGKILL) or f"e.g. {UNEXPECTED}" in said
        killed = "killed" if process.exitcode == -signal.SIGKILL else ""
        ended = f"broken, exit code {process.exitcode}" if is_broken else killed
        self._outcome.broken += is_broken
        self._outcome.runs += 1
        self._outcome.messages.append("; ".join(filter(None, (ended, said))))

    def _run_paused(self) -> None:
        """A guest is paused with a request on its way out; another machine takes over, and it wakes when that is done."""
        dice = random.Random(self._case.seed)
        order = replace(
            self._on(self._first),
            kill_at=dice.choice(("after_intent", "in_post")),
            kill_turn=dice.randint(1, 4),
            stop_instead=True,
            machine="guest",
        )
        paused, messages = self._start(order)
        _wait_until_stopped(paused)
        others = [replace(self._on(self._first), machine=f"machine-{number}") for number in range(self._case.processes)]
        self._run(*others)
        with contextlib.suppress(ProcessLookupError):
            os.kill(paused.pid, signal.SIGCONT)
        self._end(paused, messages)

    def _note_spent(self, processes: int) -> None:
        spent = sum(one.account.bill(details=False)["credits"] for one in self._accounts)
        if self._world.run_cap is not None:
            before = self._outcome.runs - processes
            allowed = processes * (self._world.run_cap + (self._world.surprise if before == 0 else 0))
            self._outcome.caps_crossed += max(0, spent - self._spent - allowed)
        self._spent = spent

    # The store

    def _go_to(self, address: str, environment: Mapping[str, str]) -> None:
        self._plan = replace(self._plan, store=address, environment=dict(environment))
        self._store: ObjectStore = open_child_store(address, dict(environment))

    @contextmanager
    def _address(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        if self._case.store == "s3":
            assert self._s3 is not None
            yield self._s3.make_bucket(f"doubt-{self._case.seed}-{random.getrandbits(48):x}"), self._s3.environment
            return
        folder = tempfile.mkdtemp(prefix="disbelief-")
        try:
            yield folder, {}
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _copy_store(self) -> None:
        """Copy every object, an hour after the times in it; the copies are new."""
        bodies = {info.key: _as_written_before(self._store.read(info.key), HOUR) for info in self._store.list("")}
        self._go_to(*self._stack.enter_context(self._address()))
        for key, body in bodies.items():
            self._store.create(key, body, content_type="application/octet-stream")

    def _age_folder(self, seconds: float) -> None:
        for path in Path(self._plan.store).rglob("*"):
            if path.is_file():
                written = path.stat().st_mtime - seconds
                if path.suffix == ".json":
                    path.write_bytes(_as_written_before(path.read_bytes(), seconds))
                os.utime(path, (written, written))

    def _entries(self) -> Mapping[str, Any]:
        return LedgerEntries(self._store).of(request.request_id for request in self._plan.requests())

    def _owned(self) -> list[Submitted]:
        keys = [info.key for info in self._store.list("requests/") if "-submitted-" in info.key]
        events = [decode_event(self._store.read(key), key=key) for key in keys]
        return [event for event in events if isinstance(event, Submitted)]

    # The account and the plan

    def _open_account(self, **settings: Any) -> RunningEmulator:
        return self._stack.enter_context(running_emulator(EmulatorSettings(**settings)))

    def _prompt(self, number: int) -> str:
        words = f"A blue mug on a pale stone, soft window light from the left, picture {number:02d}"
        if not self._world.alike:
            words = f"{number:02d} Café «Zürich» & <Söhne>, a blue mug on a pale stone in soft window light"
        return f"{words}, {self._world.marker}" if self._world.marker and number % 3 == 0 else words


def _as_written_before(body: bytes, seconds: float) -> bytes:
    """An object that has its time in it, as though it had been written so much earlier."""
    try:
        facts = json.loads(body)
        moment = datetime.fromisoformat(facts["at"])
    except (ValueError, TypeError, KeyError):
        return body
    facts["at"] = (moment - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    return json.dumps(facts, indent=1).encode() + b"\n"


def _wait_until_stopped(process: Any) -> None:
    """Until it stands still, or has ended before it came to that."""
    deadline = time.monotonic() + RUN_SECONDS
    while process.is_alive() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T":
                return
        time.sleep(0.02)


@contextmanager
def running_disbelief_matrix(*, requests: int, lost: float, s3: bool) -> Iterator[DisbeliefMatrix]:
    """A matrix, with an S3 server where one is wanted."""
    if not s3:
        yield DisbeliefMatrix(requests=requests, lost=lost, s3=None)
        return
    # The process that children are forked from makes its client once, by its environment.
    with running_s3_server() as server, mock.patch.dict(os.environ, server.environment):
        yield DisbeliefMatrix(requests=requests, lost=lost, s3=server)
