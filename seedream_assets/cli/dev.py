"""`seedream dev`: Dagster's UI on the bundled definitions, with the emulator beside it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from seedream_assets.cli.demo import FOLDER, local_environment
from seedream_assets.emulator.server import running_emulator
from seedream_assets.emulator.settings import EmulatorSettings
from seedream_assets.errors import ConfigError

STOP_SECONDS = 20.0


def serve_dagster(port: int, latency: float, folder: Path | None) -> None:
    """Start the emulator and `dagster dev`, and end both together.

    Raises:
        ConfigError: Dagster's webserver, an extra, is not installed.
    """
    if find_spec("dagster_webserver") is None:
        raise ConfigError("Dagster's webserver is not installed: pip install 'seedream-assets[ui]'")
    folder = (folder or FOLDER).resolve()
    with running_emulator(EmulatorSettings(latency_seconds=latency)) as emulator:
        click.echo(f"stand-in Leonardo: {emulator.base_url}/emulator    Dagster: http://127.0.0.1:{port}", err=True)
        with local_environment(folder, emulator.base_url):
            # A shell's script starts its background jobs with SIGINT ignored, which Dagster would inherit and never end.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            # A session of its own: Ctrl-C reaches Dagster once, from here, and not a second time from the terminal.
            dagster = subprocess.Popen(
                [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)],
                # Dagster reads a .env file from the folder it starts in, and would take a real key from there.
                cwd=_workspace(folder),
                start_new_session=True,
            )
            # Whoever ends this process, by Ctrl-C or otherwise, ends Dagster with it.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                sys.exit(dagster.wait())
            except KeyboardInterrupt:
                dagster.send_signal(signal.SIGINT)
                dagster.wait(STOP_SECONDS)


def _workspace(folder: Path) -> Path:
    """A folder with the workspace.yaml beside this module and nothing else."""
    workspace = folder / "workspace"
    workspace.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(__file__).parent / "workspace.yaml", workspace / "workspace.yaml")
    return workspace
