"""The account reports otherwise than expected, in every way that was seen or feared: what is bought twice, what is lost.

    python benchmarks/disbelief_matrix.py --rounds 16

A round plays every world once; 16 rounds play each with derived and own seeds, one and two processes, one and two
accounts, on a folder and on S3. One line per world: the counts that must be 0, and how many of the generations whose
answer was lost were adopted. The cases that were not clean follow as they happen. `--case 17` repeats one.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections import defaultdict

from seedream_assets_tests.purchase.disbelief_matrix import (
    ZEROS,
    Case,
    Outcome,
    make_case,
    running_disbelief_matrix,
)
from seedream_assets_tests.purchase.disbelief_worlds import WORLDS


def main() -> int:
    options = _options()
    numbers = range(options.rounds * len(WORLDS)) if options.case is None else [options.case]
    cases = [make_case(options.seed * len(WORLDS) + number) for number in numbers]
    cases = [case for case in cases if options.only is None or options.only in case.world.name]
    if options.store:
        cases = [case for case in cases if case.store == options.store]
    if options.accounts:
        cases = [case for case in cases if case.accounts == options.accounts]
    began, lock = time.monotonic(), threading.Lock()
    table: dict[str, list[Outcome]] = defaultdict(list)

    def report(case: Case, outcome: Outcome) -> None:
        with lock:
            table[case.world.name].append(outcome)
            if not outcome.is_clean or options.verbose:
                print(_described(case, outcome), flush=True)

    with running_disbelief_matrix(requests=options.requests, lost=options.lost, s3=True) as matrix:
        outcomes = matrix.run(cases, at_once=options.at_once, report=report)
    columns = "".join(f"{name:>15}" for name in ZEROS)
    print(f"{'world':50}{'cases':>6}{columns}{'adopted of lost':>17}{'stored of':>14}")
    for world in WORLDS:
        if world.name in table:
            _print_row(world.name, table[world.name])
    _print_row("total", outcomes)
    clean = sum(outcome.is_clean for outcome in outcomes)
    print(f"{clean} of {len(outcomes)} cases clean, {time.monotonic() - began:.0f} s, {options.requests} requests each")
    return 0 if clean == len(outcomes) else 1


def _described(case: Case, outcome: Outcome) -> str:
    bad = ", ".join(f"{getattr(outcome, name)} {name}" for name in ZEROS if getattr(outcome, name)) or "clean"
    shares = f"{outcome.adopted} of {outcome.lost} adopted, {outcome.stored} of {outcome.wanted} stored"
    runs = "".join(f"\n    {message[:300]}" for message in outcome.messages)
    return f"{bad}: {case}: {shares}, {outcome.runs} runs, {outcome.seconds:.0f} s{runs}"


def _print_row(name: str, found: list[Outcome]) -> None:
    sums = "".join(f"{sum(getattr(outcome, column) for outcome in found):>15}" for column in ZEROS)
    adopted = f"{sum(one.adopted for one in found)} of {sum(one.lost for one in found)}"
    stored = f"{sum(one.stored for one in found)} of {sum(one.wanted for one in found)}"
    print(f"{name:50}{len(found):>6}{sums}{adopted:>17}{stored:>14}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the first round; the others count on from it")
    parser.add_argument("--case", type=int, help="only this one")
    parser.add_argument("--only", help="worlds whose name contains this")
    parser.add_argument("--store", choices=("folder", "s3"))
    parser.add_argument("--accounts", type=int, choices=(1, 2))
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--lost", type=float, default=0.15, help="the share of creates whose answer is lost or spoilt")
    parser.add_argument("--at-once", type=int, default=min(4, 2 * (os.cpu_count() or 1)))
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
