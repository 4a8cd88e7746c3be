"""The built wheel, away from the checkout: everything that is needed is in it, and it buys a dataset."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from seedream_assets.emulator.server import running_emulator
from seedream_assets.emulator.settings import DEMO_KEY, EmulatorSettings

ROOT = Path(__file__).parents[1]
DATASET = """\
name: tableware
prompts: {table: prompts.csv}
recipe: {width: 256, height: 192}
budget: {max_credits_total: 280}
exports: [imagefolder, gallery]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the wheel holds; the packages that it stands on come from this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"]
    dist = folder / "dist"
    subprocess.run([*pip, "wheel", *quiet, "--no-build-isolation", "--wheel-dir", dist, ROOT], check=True)
    (wheel,) = dist.glob("*.whl")
    subprocess.run([*pip, "install", *quiet, "--target", folder / "site", wheel], check=True)
    return folder / "site"


def run(installed: Path, folder: Path, *command: str, **variables: str) -> str:
    """What a command prints that runs in a folder of its own, on the installed package."""
    environment = {**os.environ, "PYTHONPATH": str(installed), **variables}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_what_is_imported_is_the_wheel_s(installed: Path, tmp_path: Path) -> None:
    where = run(installed, tmp_path, "-c", "import seedream_assets; print(seedream_assets.__file__)")
    assert Path(where.strip()).is_relative_to(installed)


@pytest.mark.slow
def test_the_wheel_buys_a_dataset_and_writes_its_gallery(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.csv").write_text("prompt\na blue mug\na tea cup\n", encoding="utf-8")
    (tmp_path / "dataset.yaml").write_text(DATASET, encoding="utf-8")
    with running_emulator(EmulatorSettings(latency_seconds=0)) as emulator:
        variables = {
            "LEONARDO_API_KEY": DEMO_KEY,
            "LEONARDO_BASE_URL": emulator.base_url,
            "SEEDREAM_STORE": (tmp_path / "store").as_uri(),
        }
        for command in ("plan", "run", "verify", "export"):
            run(installed, tmp_path, "-m", "seedream_assets.cli", command, "dataset.yaml", **variables)
        assert emulator.account.bill()["generations"] == 2
    gallery = tmp_path / "store/datasets/tableware/exports/gallery/index.html"
    assert "<script" in gallery.read_text(encoding="utf-8")
