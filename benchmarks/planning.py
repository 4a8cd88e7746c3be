"""Planning at scale: a large table beside pandas merely reading it, a run in which everything is owned, a large deployment.

    python benchmarks/planning.py table --rows 1000000 --runs 5
    python benchmarks/planning.py owned --requests 1000 10000 100000
    python benchmarks/planning.py owned --requests 1000 3000 --store s3
    python benchmarks/planning.py load --datasets 0 50 --runs 5

Each measurement is a process of its own: seconds by the wall and of processor time without imports, and the peak of
its resident memory with everything. Files are made anew below a temporary folder; `--folder` keeps them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the files are made and kept")
    parts = parser.add_subparsers(dest="part", required=True)
    table = parts.add_parser("table")
    table.add_argument("--rows", type=int, default=1_000_000)
    table.add_argument("--runs", type=int, default=5)
    owned = parts.add_parser("owned")
    owned.add_argument("--requests", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    owned.add_argument("--runs", type=int, default=5)
    owned.add_argument("--store", choices=("folder", "s3"), default="folder")
    load = parts.add_parser("load")
    load.add_argument("--datasets", type=int, nargs="+", default=[0, 50])
    load.add_argument("--runs", type=int, default=5)
    child = parts.add_parser("measure")
    child.add_argument("what", choices=sorted(MEASURED))
    child.add_argument("arguments", nargs="*")
    options = parser.parse_args()
    if options.part == "measure":
        print(json.dumps(measure_here(options.what, options.arguments)))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        {"table": compare_tables, "owned": compare_owned, "load": compare_loads}[options.part](options, folder)
    return 0


def measure(what: str, *arguments: object) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "measure", what, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_here(what: str, arguments: list[str]) -> dict[str, Any]:
    """That measurement. What it needs is imported now: a child's peak of memory begins with its parent's."""
    module, function = MEASURED[what]
    found: dict[str, Any] = getattr(importlib.import_module(module), function)(*arguments)
    return found | {"peak_mb": importlib.import_module("planning_laps").peak_mb()}


MEASURED = {
    "load": ("planning_load", "load_location"),
    "make table": ("planning_table", "make_table"),
    "pandas reads": ("planning_table", "pandas_reads"),
    "pandas reads on one core": ("planning_table", "pandas_reads_on_one_core"),
    "pandas reads text": ("planning_table", "pandas_reads_text"),
    "plan": ("planning_table", "plan_table"),
    "make owned": ("planning_owned", "make_owned"),
    "list the ledger": ("planning_owned", "list_ledger"),
    "run": ("planning_owned", "run_owned"),
    "run stages": ("planning_owned", "run_stages"),
    "run on s3": ("planning_owned", "run_owned_on_s3"),
}


# A large table


def compare_tables(options: argparse.Namespace, folder: Path) -> None:
    for suffix in ("csv", "parquet"):
        path = folder / f"prompts-{options.rows}.{suffix}"
        if not path.exists():
            measure("make table", options.rows, path)
        megabytes = path.stat().st_size / 2**20
        print(f"{options.rows} rows, {suffix}, {megabytes:.0f} MB; {options.runs} runs of each in turn")
        runs = [(measure("pandas reads", path), measure("plan", path)) for _ in range(options.runs)]
        theirs, ours = [run[0] for run in runs], [run[1] for run in runs]
        _print_spread("pandas reads", theirs)
        if suffix == "csv":
            for name in ("pandas reads on one core", "pandas reads text"):
                _print_spread(name, [measure(name, path) for _ in range(options.runs)])
        _print_spread("read, check, plan", ours)
        _print_laps(ours)
        ratios = [{key: mine[key] / read[key] for key in ("wall", "cpu", "peak_mb")} for read, mine in runs]
        print("  times what pandas takes: " + ", ".join(_spread(ratios, key, key, digits=2) for key in ratios[0]))


# A run in which everything is owned


def compare_owned(options: argparse.Namespace, folder: Path) -> None:
    for requests in options.requests:
        root = folder / f"owned-{options.store}-{requests}"
        if options.store == "s3":
            _print_calls(measure("run on s3", requests, root))
            continue
        if not (root / "whole").exists():
            measure("make owned", requests, root)
            measure("run", root)
            (root / "whole").touch()
        runs = [measure("run", root) for _ in range(options.runs)]
        print(f"{requests} requests, all complete, {3 * requests} keys in the ledger; {options.runs} runs")
        _print_spread("seedream run", runs)
        _print_calls(runs[0])
        _print_spread("list every key once", [measure("list the ledger", root) for _ in range(options.runs)])
        stages = measure("run stages", root)
        _print_spread("the four stages", [stages])
        _print_laps([stages])
        _print_calls(stages)


def _print_calls(found: dict[str, Any]) -> None:
    print(
        f"    {found['s3_requests']} S3 requests for {found['requests']} requests; {found['pages']} are pages of lists"
    )
    print("    " + ", ".join(f"{count} {name}" for name, count in sorted(found["calls"].items())))


# A code location with many datasets


def compare_loads(options: argparse.Namespace, _folder: Path) -> None:
    for datasets in options.datasets:
        runs = [measure("load", datasets) for _ in range(options.runs)]
        print(f"{datasets} datasets, {runs[0]['assets']} assets; {options.runs} runs")
        _print_spread("load", runs)
        _print_laps(runs)


# What is printed


def _print_spread(name: str, runs: list[dict[str, Any]]) -> None:
    told = (("wall", "s", 2), ("cpu", "s of processor", 2), ("peak_mb", "MB at most", 0))
    print(f"  {name:26}" + ", ".join(_spread(runs, key, unit, digits) for key, unit, digits in told), flush=True)


def _spread(runs: list[dict[str, Any]], key: str, unit: str, digits: int) -> str:
    values = sorted(run[key] for run in runs)
    return f"{statistics.median(values):.{digits}f} ({values[0]:.{digits}f}–{values[-1]:.{digits}f}) {unit}"


def _print_laps(runs: list[dict[str, Any]]) -> None:
    for lap in runs[0]["laps"]:
        wall, cpu, resident = (statistics.median(run["laps"][lap][at] for run in runs) for at in (0, 1, 2))
        print(f"    {lap:24}{wall:>8.2f} s{cpu:>8.2f} s of processor{resident:>8.0f} MB held after it")


if __name__ == "__main__":
    sys.exit(main())
