"""Who may know whom: the contracts in `.importlinter`, for everybody who runs the tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parents[1]


def test_every_import_follows_the_contracts(capsys: pytest.CaptureFixture[str]) -> None:
    status = lint_imports(config_filename=str(ROOT / ".importlinter"), no_cache=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


@pytest.mark.parametrize(
    "module", ["seedream_assets", "seedream_assets.core.plan", "seedream_assets.generation.images"]
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
