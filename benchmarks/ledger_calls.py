"""What the ledger costs in store calls: a fresh run and a run where everything is owned, for small and large partitions.

    python benchmarks/ledger_calls.py --prompts 50 500

One image per request. A listing of more than a thousand keys is several requests on S3; one is counted here.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from seedream_assets.emulator.server import running_emulator
from seedream_assets.emulator.settings import EmulatorSettings
from seedream_assets.storage.folder import FolderStore
from seedream_assets_tests.purchase.counted_store import CountedStore, declare


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, nargs="+", default=[50, 500])
    for prompts in parser.parse_args().prompts:
        settings = EmulatorSettings(
            latency_seconds=0, creates_per_minute=0, requests_per_minute=0, balance_credits=10**7, picture_bytes=1024
        )
        with tempfile.TemporaryDirectory() as folder, running_emulator(settings) as emulator:
            store = CountedStore(FolderStore(Path(folder) / "store"))
            rows = [f"a cat {number}" for number in range(prompts)]
            declared = declare(Path(folder) / "declared", rows, store, emulator)
            for run in ("fresh", "nothing to do"):
                began = time.monotonic()
                declared.run()
                seconds = time.monotonic() - began
                calls = store.take()
                print(
                    f"{prompts} requests, {run}: {seconds:.1f} s, {sum(calls.values()) / prompts:.2f} calls per request"
                )
                for name, count in sorted(calls.items()):
                    print(f"    {name:32}{count:>7}{count / prompts:>9.2f} per request")
    return 0


if __name__ == "__main__":
    sys.exit(main())
