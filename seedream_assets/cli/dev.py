"""`seedream dev`: Dagster's UI on this project's definitions, with the emulator beside it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import click

from seedream_assets.cli.demo import local_environment, project_folder
from seedream_assets.emulator.server import running_emulator
from seedream_assets.emulator.settings import EmulatorSettings

STOP_SECONDS = 20.0


def serve_dagster(port: int, latency: float, folder: Path | None) -> None:
    """Start the emulator and `dagster dev`, and end both together."""
    folder = (folder or project_folder() / ".seedream").resolve()
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
    """A folder with the project's workspace.yaml and nothing else."""
    workspace = folder / "workspace"
    workspace.mkdir(parents=True, exist_ok=True)
    text = (project_folder() / "workspace.yaml").read_text(encoding="utf-8")
    (workspace / "workspace.yaml").write_text(text, encoding="utf-8")
    return workspace
