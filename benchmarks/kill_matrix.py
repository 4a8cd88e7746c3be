"""Kill a real run of the engine at every step and at random instants, run again until done, and judge by the bill.

    python benchmarks/kill_matrix.py --cases 300 --seed 0 --store both

One line per place of the first kill, a total, and the cases that were not clean. `--case 17 --store s3` repeats one.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections import defaultdict

from seedream_assets_tests.purchase.kill_matrix import Case, Outcome, make_case, running_kill_matrix

COUNTS = ("kills", "runs", "hung", "by_hand")
ZEROS = ("billed_twice", "paid_not_stored", "torn", "stuck", "credits_off")


def main() -> int:
    options = _options()
    stores = ("folder", "s3") if options.store == "both" else (options.store,)
    seeds = [options.case] if options.case is not None else range(options.seed, options.seed + options.cases)
    # Both stores see the same number of cases; the seeds go on where the other store's end.
    cases = [make_case(seed, stores[number % len(stores)]) for number, seed in enumerate(seeds)]
    began, lock = time.monotonic(), threading.Lock()
    table: dict[str, list[Outcome]] = defaultdict(list)

    def report(case: Case, outcome: Outcome) -> None:
        with lock:
            table[case.group].append(outcome)
            if not outcome.is_clean or options.verbose:
                print(f"{'clean' if outcome.is_clean else 'NOT CLEAN'} {case} {outcome}", flush=True)

    with running_kill_matrix(s3="s3" in stores, ceph=options.ceph) as matrix:
        outcomes = matrix.run(cases, at_once=options.at_once, report=report)
    print(f"{'store  first killed':32}{'cases':>7}" + "".join(f"{name:>17}" for name in (*COUNTS, *ZEROS)))
    for group, found in sorted(table.items()):
        _print_row(group, found)
    _print_row("total", outcomes)
    print(f"{time.monotonic() - began:.0f} s, seeds {seeds[0]}..{seeds[-1]}")
    return 0 if all(outcome.is_clean for outcome in outcomes) else 1


def _print_row(name: str, outcomes: list[Outcome]) -> None:
    sums = [sum(getattr(outcome, column) for outcome in outcomes) for column in COUNTS]
    sums += [sum(getattr(outcome.verdict, column) for outcome in outcomes) for column in ZEROS]
    print(f"{name:32}{len(outcomes):>7}" + "".join(f"{value:>17}" for value in sums), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="of the first case; the others count on from it")
    parser.add_argument("--case", type=int, help="only this one")
    parser.add_argument("--store", choices=("folder", "s3", "both"), default="both")
    parser.add_argument(
        "--ceph", action="store_true", help="S3 is a real Ceph gateway (Debian's radosgw, ceph-mon, ceph-osd)"
    )
    parser.add_argument("--at-once", type=int, default=min(4, 2 * (os.cpu_count() or 1)))
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
