"""The built wheel in a new virtual environment, in an empty folder: everything that is needed is in it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import venv
from contextlib import suppress
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
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of a new environment that holds the wheel; what the wheel stands on comes from ours."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"]
    dist = folder / "dist"
    subprocess.run([*pip, "wheel", *quiet, "--no-build-isolation", "--wheel-dir", dist, ROOT], check=True)
    (wheel,) = dist.glob("*.whl")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv/bin/python"
    subprocess.run([*pip, "--python", python, "install", *quiet, wheel], check=True)
    (site,) = (folder / "venv/lib").glob("python3*/site-packages")
    # Behind the wheel on the path, and without its own .pth files, of which one names the checkout.
    (site / "dependencies.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n", encoding="utf-8")
    return folder / "venv/bin"


@pytest.fixture
def environment() -> dict[str, str]:
    """Ours, without what leads to the checkout or to a real account."""
    without = ("PYTHONPATH", "VIRTUAL_ENV", "DAGSTER_HOME", "SEEDREAM_STORE", "LEONARDO_API_KEY", "LEONARDO_BASE_URL")
    return {name: value for name, value in os.environ.items() if name not in without}


def run(command: list[str | Path], folder: Path, environment: dict[str, str]) -> str:
    """What a command prints that runs in a folder of its own."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_package_is_the_wheel_s_and_says_that_it_is_typed(
    commands: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    where = "import seedream_assets; print(seedream_assets.__file__)"
    package = Path(run([commands / "python", "-c", where], tmp_path, environment).strip()).parent
    assert package.is_relative_to(commands.parent)
    assert (package / "py.typed").exists()


@pytest.mark.slow
def test_the_wheel_buys_a_dataset_and_writes_its_gallery(
    commands: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "prompts.csv").write_text("prompt\na blue mug\na tea cup\n", encoding="utf-8")
    (tmp_path / "dataset.yaml").write_text(DATASET, encoding="utf-8")
    with running_emulator(EmulatorSettings(latency_seconds=0)) as emulator:
        environment |= {
            "LEONARDO_API_KEY": DEMO_KEY,
            "LEONARDO_BASE_URL": emulator.base_url,
            "SEEDREAM_STORE": (tmp_path / "store").as_uri(),
        }
        for command in ("plan", "run", "verify", "export"):
            run([commands / "seedream", command, "dataset.yaml"], tmp_path, environment)
        assert emulator.account.bill()["generations"] == 2
    gallery = tmp_path / "store/datasets/tableware/exports/gallery/index.html"
    assert "<script" in gallery.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_demo_and_dagster_s_ui_run_from_the_wheel_in_an_empty_folder(
    commands: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    assert "2072 credits for 34 generations" in run([commands / "seedream", "demo"], tmp_path, environment)
    port = free_port()
    log = tmp_path / "dev.log"
    with log.open("w") as output:
        command = [commands / "seedream", "dev", "--port", str(port)]
        dev = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output)
        try:
            assert "product_scenes" in asset_nodes(port, seconds=120), log.read_text(encoding="utf-8")
        finally:
            dev.send_signal(signal.SIGINT)
            dev.wait(60)
    assert [entry.name for entry in tmp_path.iterdir() if entry != log] == [".seedream"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def asset_nodes(port: int, *, seconds: float) -> str:
    """What Dagster's webserver answers to a question for its assets, once it has loaded them."""
    query = json.dumps({"query": "{ assetNodes { assetKey { path } } }"}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", data=query, headers=headers)
    end = time.monotonic() + seconds
    answer = ""
    while "path" not in answer and time.monotonic() < end:
        time.sleep(0.5)
        with suppress(OSError), urllib.request.urlopen(request, timeout=10) as body:
            answer = body.read().decode()
    return answer
