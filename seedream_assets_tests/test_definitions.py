"""The code location: what the tools load, that they load the same, and that it loads from nothing."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml

from seedream_assets.config.yaml import check_yaml_files, load_configs

ROOT = Path(__file__).parents[1]
DEFS_FILES = sorted((ROOT / "seedream_assets" / "defs").rglob("defs.yaml"))
BIN = Path(sys.executable).parent


def loaded() -> dg.Definitions:
    from seedream_assets.definitions import defs

    found = defs()
    assert isinstance(found, dg.Definitions)
    return found


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return loaded()


def test_workspace_and_pyproject_name_the_same_code_location() -> None:
    (entry,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    assert entry["python_module"]["location_name"] == project["code_location_name"]
    assert entry["python_module"]["module_name"] == project["code_location_target_module"]
    assert entry["python_module"]["module_name"].startswith(f"{project['root_module']}.")


def test_the_definitions_hold_together(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


def test_no_yaml_of_this_deployment_has_an_error() -> None:
    """`dg check yaml` reads one file per component type; this reads them all."""
    assert DEFS_FILES
    assert check_yaml_files(DEFS_FILES)[0] == []


def test_every_declared_dataset_has_its_four_assets(definitions: dg.Definitions) -> None:
    keys = {spec.key.to_user_string() for spec in definitions.resolve_all_asset_specs()}
    for file in DEFS_FILES:
        if "ImageDataset" not in file.read_text():
            continue
        for config in load_configs(file):
            stages = ("prompts", "generation_requests", "images", "dataset")
            assert {f"{config.name}/{stage}" for stage in stages} <= keys


def test_the_instance_never_repeats_a_failed_asset_and_frees_a_dead_steps_place() -> None:
    instance = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert instance["run_retries"]["retry_on_asset_or_op_failure"] is False
    assert instance["run_monitoring"]["max_resume_run_attempts"] == 0
    # An orphan step looks for its parent every second and then has half a minute to finish what is in flight.
    assert instance["run_monitoring"]["free_slots_after_run_end_seconds"] > 31


@pytest.mark.parametrize(
    "command",
    [
        pytest.param([sys.executable, "-c", "from seedream_assets.definitions import defs; defs()"], id="python"),
        pytest.param(
            [str(BIN / "dagster"), "definitions", "validate", "-w", "workspace.yaml"],
            id="dagster",
            marks=pytest.mark.slow,
        ),
        pytest.param([str(BIN / "dg"), "check", "defs"], id="dg-defs", marks=pytest.mark.slow),
        pytest.param([str(BIN / "dg"), "check", "yaml"], id="dg-yaml", marks=pytest.mark.slow),
    ],
)
def test_the_definitions_load_in_a_fresh_interpreter(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key, a store or any other variable: those are read when a run starts."""
    for name in ("SEEDREAM_STORE", "LEONARDO_API_KEY", "LEONARDO_BASE_URL", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert told.returncode == 0, told.stdout + told.stderr
