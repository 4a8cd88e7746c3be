"""A data team's machine: a folder with a dataset, a store, and a stand-in Leonardo."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from seedream_assets.cli import seedream
from seedream_assets.emulator.server import RunningEmulator, running_emulator
from seedream_assets.emulator.settings import DEMO_KEY, EmulatorSettings
from seedream_assets.errors import SeedreamError

TABLE = """\
prompt_id,prompt,quantity,style,colour
mug,A blue mug on pale stone,2,Vibrant,blue
cup,A tea cup in morning light,1,,white
bad,A row that asks for too much,0,,red
"""
DATASET = """\
name: tableware
prompts: {table: prompts.csv}
recipe: {width: 256, height: 192}
budget: unlimited
"""
# A generation shows in the history at once here; by default a refusal is looked up only after ten seconds.
QUICK = "recovery: {history_settle_seconds: 1, settle_images_seconds: 1}\n"


@dataclass(frozen=True)
class Desk:
    """Where somebody types commands."""

    folder: Path
    emulator: RunningEmulator

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, *arguments: str) -> Result:
        """The command's result; errors of ours as `main` shows them: one line on stderr and exit code 1."""
        result = CliRunner().invoke(seedream, list(arguments))
        expected = (SystemExit, SeedreamError)
        if result.exception is not None and not isinstance(result.exception, expected):
            raise result.exception
        return result

    def run_json(self, *arguments: str, exit_code: int = 0) -> dict[str, Any]:
        result = self.run(*arguments, "--json")
        assert result.exit_code == exit_code, result.output
        summary: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        return summary

    @property
    def store(self) -> Path:
        return self.folder / "store"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with running_emulator(EmulatorSettings(latency_seconds=0)) as emulator:
        monkeypatch.setenv("LEONARDO_API_KEY", DEMO_KEY)
        monkeypatch.setenv("LEONARDO_BASE_URL", emulator.base_url)
        monkeypatch.setenv("SEEDREAM_STORE", (tmp_path / "store").as_uri())
        desk = Desk(folder=tmp_path, emulator=emulator)
        desk.write("prompts.csv", TABLE)
        desk.write("dataset.yaml", DATASET + QUICK)
        yield desk
