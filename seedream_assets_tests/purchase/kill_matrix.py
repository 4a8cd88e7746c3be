"""Kill a real run anywhere, run again until everything is done, and count what was lost.

A case is made from its seed alone: how often and where its processes are killed, whether they share a machine, whether
another run works on the same requests at the same time. The dataset's cap is exactly the price of the plan, so credits
that were counted twice show as a run that cannot finish. The paid API is the emulator, and its bill is the judge.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from seedream_assets.emulator.server import running_emulator
from seedream_assets.emulator.settings import EmulatorSettings
from seedream_assets.ledger.lease import CLOCK_GRAIN_SECONDS
from seedream_assets.ledger.store import LedgerEntries
from seedream_assets.purchase.task import Step
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets_tests.purchase.judging import Judgement, judge, release_what_was_not_billed
from seedream_assets_tests.purchase.killed_process import (
    ChildOrder,
    fork_server,
    make_requests,
    open_child_store,
    run_child,
)
from seedream_assets_tests.storage.ceph_gateway import running_ceph_gateway
from seedream_assets_tests.storage.s3_server import S3Server, running_s3_server

STEPS: tuple[str, ...] = (*get_args(Step), "in_post", "any_time")
# Steps that only a run after a killed one comes to.
_OF_RECOVERY = ("after_adoption", "before_release", "after_release")
REQUESTS = 5
IMAGES = 2
CREDITS = 28
MOST_RUNS = 4
RUN_SECONDS = 40.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case.

    Attributes:
        kills: The step and turn at which each process in a row is killed, and the delay for the steps that have one.
        apart: Every process believes that it runs on a machine of its own, so that only leases show who is gone.
        companion: Another run of the same plan goes on beside the first, unharmed.
    """

    seed: int
    store: str
    kills: tuple[tuple[str, int, float], ...]
    apart: bool
    companion: bool

    @property
    def group(self) -> str:
        """The row of the table that it counts in."""
        return f"{self.store:6} {_step_of(self.seed)}"


@dataclass(kw_only=True)
class Outcome:
    """What a case came to. `verdict` counts what must not be.

    `by_hand`: requests were left whose answer was lost twice, and a person released them.
    """

    verdict: Judgement = field(default_factory=Judgement)
    kills: int = 0
    runs: int = 0
    hung: int = 0
    by_hand: int = 0
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        return self.verdict.is_clean and not self.hung


def _step_of(seed: int) -> str:
    return STEPS[seed // 2 % len(STEPS)]  # two seeds to a step, one for either store


def make_case(seed: int, store: str) -> Case:
    """The case of a seed: the first kill goes through all steps in turn, the rest is drawn."""
    dice = random.Random(f"{seed}/{store}")
    first = _step_of(seed)
    wheres = [first, *dice.choices(STEPS, k=dice.choice([0, 0, 1, 2]))]
    if first in _OF_RECOVERY:
        # There must be something to recover: a submit that was accepted, or one that was not.
        wheres = ["after_post" if first == "after_adoption" else "after_intent", *wheres]
    kills = tuple(
        (
            where,
            1 if where in ("after_reserve", *_OF_RECOVERY) else dice.randint(1, 3),
            dice.uniform(0.0, 1.5 if where == "any_time" else 0.25),
        )
        for where in wheres
    )
    return Case(seed=seed, store=store, kills=kills, apart=dice.random() < 0.3, companion=dice.random() < 0.25)


class KillMatrix:
    """Runs cases. Use as a context manager: it holds the S3 server and the process that children are forked from."""

    def __init__(self, *, s3: S3Server | None) -> None:
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
        """Kill, run until done, judge."""
        began = time.monotonic()
        settings = EmulatorSettings(
            latency_seconds=0.15,
            history_lag_seconds=0.2,
            creates_per_minute=0,
            requests_per_minute=0,
            random_seed=case.seed,
            picture_bytes=1024,
        )
        outcome = Outcome()
        with running_emulator(settings) as emulator, self._address(case) as (address, environment):
            # An answer takes a while: a process can be killed between acceptance and answer.
            emulator.account.add_fault("create", "slow", seconds=0.1)
            order = ChildOrder(
                store=address,
                base_url=emulator.base_url,
                api_key=emulator.key,
                prompts=tuple(f"case {case.seed} prompt {number}" for number in range(REQUESTS)),
                images=IMAGES,
                environment=environment,
                max_credits_total=REQUESTS * IMAGES * CREDITS,
            )
            store = open_child_store(address, environment)
            self._kill(case, order, outcome)
            self._run_until_done(case, order, store, outcome)
            if release_what_was_not_billed(store, emulator.account, make_requests(order.prompts, order.images)):
                outcome.by_hand += 1
                self._run_until_done(case, order, store, outcome)
            outcome.verdict = judge(store, emulator.account, _ids(order))
        outcome.seconds = time.monotonic() - began
        return outcome

    def _kill(self, case: Case, order: ChildOrder, outcome: Outcome) -> None:
        companion = None
        if case.companion:
            companion = self._start(replace(order, machine=f"machine-c-{case.seed}" if case.apart else None))
        for number, (where, turn, delay) in enumerate(case.kills):
            doomed = replace(
                order,
                kill_at=where,
                kill_turn=turn,
                kill_after_seconds=delay,
                machine=f"machine-{number}-{case.seed}" if case.apart else None,
            )
            outcome.kills += self._wait(self._start(doomed), outcome) == -9
        if companion is not None:
            self._wait(companion, outcome)

    def _run_until_done(self, case: Case, order: ChildOrder, store: ObjectStore, outcome: Outcome) -> None:
        for number in range(MOST_RUNS):
            if all(entry.is_final for entry in LedgerEntries(store).of(_ids(order)).values()):
                break
            if number:
                # Credits that a dead process had reserved are free once its lease has run out; and what may have been sent
                # until then is believed not to be bought once the history shows something that was bought later.
                time.sleep(CLOCK_GRAIN_SECONDS + 0.2)
                witness = replace(order, prompts=(f"witness {number}",), dataset="witness", max_credits_total=None)
                self._wait(self._start(witness), outcome)
            machine = f"machine-again-{number}-{case.seed}" if case.apart else None
            self._wait(self._start(replace(order, machine=machine)), outcome)
            outcome.runs += 1
        # One more, with nothing to do: it settles in the dataset's log what the dead left.
        self._wait(self._start(replace(order, prompts=())), outcome)

    def _start(self, order: ChildOrder) -> Any:
        process = self._processes.Process(target=run_child, args=(order,), daemon=True)
        process.start()
        return process

    @staticmethod
    def _wait(process: Any, outcome: Outcome) -> int | None:
        process.join(RUN_SECONDS)
        if process.is_alive():
            outcome.hung += 1
            process.kill()
            process.join()
        return process.exitcode

    @contextmanager
    def _address(self, case: Case) -> Iterator[tuple[str, dict[str, str]]]:
        if case.store == "folder":
            folder = tempfile.mkdtemp(prefix="kill-matrix-")
            try:
                yield folder, {}
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        else:
            assert self._s3 is not None
            yield self._s3.make_bucket(f"case-{case.seed}-{random.getrandbits(48):x}"), dict(self._s3.environment)


def _ids(order: ChildOrder) -> list[str]:
    return [request.request_id for request in make_requests(order.prompts, order.images)]


@contextmanager
def running_kill_matrix(*, s3: bool, ceph: bool = False) -> Iterator[KillMatrix]:
    """A matrix, with an S3 server where one is wanted: moto, or a real Ceph gateway."""
    if not s3:
        yield KillMatrix(s3=None)
        return
    with running_ceph_gateway() if ceph else running_s3_server() as server:
        yield KillMatrix(s3=server)
