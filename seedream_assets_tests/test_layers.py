"""Who may know whom: the contracts in `.importlinter`, for everybody who runs the tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_every_import_follows_the_contracts() -> None:
    # In a process of its own: in this one it was seen to close what pytest captures output in.
    told = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize(
    "module",
    [
        "seedream_assets",
        "seedream_assets.config.yaml",
        "seedream_assets.planning.plan",
        "seedream_assets.purchase.stage",
    ],
)
def test_what_lies_below_the_resources_loads_without_dagster(module: str) -> None:
    """Seen from outside: an import that only runs inside a function would escape the contracts' graph too late."""
    told = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print('dagster' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert told.stdout.strip() == "False"
