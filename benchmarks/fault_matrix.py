"""Every fault alone, and all at once: what the user sees, what is billed, and whether anything was lost.

    python benchmarks/fault_matrix.py --requests 1000

One line per fault: the runs until everything was final (the first met the fault, the others did not), the bill, the
counts that must be 0, and what the first run reported. Before each later run one more request is bought, a witness, so
that the history has something new to show: witnesses are billed beside the requests of the case.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from seedream_assets_tests.purchase.fault_matrix import CASES, FaultMatrix, Result
from seedream_assets_tests.storage.s3_server import running_s3_server

ZEROS = ("billed_twice", "paid_not_stored", "torn", "stuck", "credits_off")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="cases whose name contains this")
    options = parser.parse_args()
    began, clean = time.monotonic(), True
    print(
        f"{'fault':34}{'runs':>5}{'billed':>8}{'witnesses':>11}"
        + "".join(f"{name:>16}" for name in ZEROS)
        + "  first run"
    )
    with running_s3_server() as server:
        os.environ.update(server.environment)
        matrix = FaultMatrix(requests=options.requests, s3=server, random_seed=options.seed)
        for case in CASES:
            if options.only is None or options.only in case.name:
                result = matrix.run(case)
                clean &= result.verdict.is_clean
                _print(result)
    print(f"{time.monotonic() - began:.0f} s, {options.requests} requests each")
    return 0 if clean else 1


def _print(result: Result) -> None:
    zeros = "".join(f"{getattr(result.verdict, name):>16}" for name in ZEROS)
    seen = result.seen if len(result.seen) < 200 else result.seen[:199] + "…"
    billed = f"{result.generations:>8}{result.witnesses:>11}"
    print(f"{result.name:34}{result.runs:>5}{billed}{zeros}  {result.first_seconds:.0f} s: {seen}", flush=True)
    for note in result.verdict.notes[:5]:
        print(f"    {note}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
