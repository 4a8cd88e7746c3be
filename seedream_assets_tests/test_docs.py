"""The commands and paths in the documents exist and work."""

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from seedream_assets.cli import seedream
from seedream_assets_tests.cli.conftest import Desk
from seedream_assets_tests.cli.conftest import desk as desk  # the fixture

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = "seedream_assets"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BARE_BLOCK = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(document: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(document.read_text(encoding="utf-8")) if kind == language]


SCRIPTS = [
    pytest.param(text, id=f"{document.name}-{number}")
    for document in DOCUMENTS
    for number, text in enumerate(blocks(document, "bash"), start=1)
]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The repository as after `make install`, in a folder where a script may leave what it likes."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for entry in ROOT.iterdir():
        if entry.name not in (".venv", ".seedream", ".git"):
            (folder / entry.name).symlink_to(entry)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.mark.slow  # they start emulators and buy whole datasets
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_in_the_documents_works(script: str, checkout: Path) -> None:
    lines = [line for line in script.splitlines() if line.strip()]
    if all(line.startswith("make ") for line in lines):
        # Their recipes are run by CI itself; here it counts that the targets are there.
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert {line.split()[1] for line in lines} <= set(targets)
        return
    names = ("LEONARDO", "SEEDREAM", "AWS", "DAGSTER")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    store = (checkout / ".seedream" / "store").as_uri()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=checkout,
        env=environment | {"SEEDREAM_STORE": store},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"


def test_every_seedream_command_named_in_the_documents_exists() -> None:
    named = {
        word
        for document in DOCUMENTS
        for word in re.findall(r"`(?:\.venv/bin/)?seedream ([a-z]+)", document.read_text(encoding="utf-8"))
    }
    assert named <= set(seedream.commands)


def test_the_first_dataset_of_the_readme_works(desk: Desk) -> None:
    readme = ROOT / "README.md"
    desk.write("prompts.csv", blocks(readme, "csv")[0])
    desk.write("dataset.yaml", blocks(readme, "yaml")[0])
    assert desk.run("plan", str(desk.folder / "dataset.yaml")).exit_code == 0
    summary = desk.run_json("run", str(desk.folder / "dataset.yaml"))
    assert summary["stored"] == summary["wanted"] == 3


def test_the_help_names_every_command() -> None:
    printed = CliRunner().invoke(seedream, ["--help"]).output
    assert all(command in printed for command in seedream.commands)


def test_the_limits_in_the_readme_are_the_models_limits() -> None:
    from seedream_assets.config.models import MODELS

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for model in MODELS.values():
        assert f"| prompt | {model.prompt_characters.low}–{model.prompt_characters.high} characters |" in readme
        assert f"| width, height | {model.width_px.low}–{model.width_px.high} px each" in readme
        assert f"| images per request | {model.quantity.low}–{model.quantity.high};" in readme
        assert f"| seed | {model.seed.low}–{model.seed.high};" in readme
        assert f"| reference images | at most {model.references.high}," in readme
        assert "| style | " + ", ".join(model.styles) + " (name or UUID) |" in readme
        assert model.price is not None
        assert f"{model.price.credits_per_image} credits an image" in readme
        assert f"{model.default_width_px}" in readme


FOR_NEWCOMERS = ("CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md")
# Made by the commands beside which they are named.
MADE_LATER = {".venv/", "dist/"}


@pytest.mark.parametrize("name", FOR_NEWCOMERS)
def test_a_path_that_a_newcomer_is_sent_to_is_there(name: str) -> None:
    spans = re.findall(r"`([\w./-]+)`", (ROOT / name).read_text(encoding="utf-8"))
    paths = {span for span in spans if "/" in span or span.endswith((".py", ".md", ".toml", ".yaml"))}
    missing = {path for path in paths - MADE_LATER if not any((top / path).exists() for top in (ROOT, ROOT / PRODUCT))}
    assert not missing


@pytest.mark.parametrize("name", [*FOR_NEWCOMERS, "README.md", ".github/workflows/ci.yml"])
def test_a_make_command_that_a_newcomer_reads_is_one_of_the_makefile(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = re.findall(r"(?:^|`|run: )make ([a-z -]+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    assert {target for command in commands for target in command.split()} <= targets


def test_the_rooms_stand_in_the_order_that_is_checked() -> None:
    checked = configparser.ConfigParser()
    checked.read(ROOT / ".importlinter")
    layers = checked["importlinter:contract:layers"]["layers"].replace("seedream_assets.", "").split("\n")
    (shown,) = [
        text
        for text in BARE_BLOCK.findall((ROOT / "docs/architecture.md").read_text(encoding="utf-8"))
        if text.startswith("cli |")
    ]
    assert shown.strip().split("\n") == [layer.strip() for layer in layers if layer.strip()]


def test_a_scorer_a_source_a_model_and_a_format_are_found_by_the_entry_points_that_are_named() -> None:
    groups = re.findall(
        r"`(seedream_assets\.\w+)` \|$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / PRODUCT).rglob("*.py"))
    assert len(groups) == 4
    assert all(f'"{group}"' in code for group in groups)
