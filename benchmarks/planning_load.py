"""A code location with so many declared datasets, loaded as Dagster's tools load it."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from planning_laps import Laps

PYPROJECT = """[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "fleet"
code_location_target_module = "fleet.definitions"
"""
DEFINITIONS = """from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""
DATASET = """type: seedream_assets.ImageDataset

attributes:
  name: {name}
  prompts:
    table: prompts.csv
    columns: {{prompt: Prompt}}
  recipe:
    width: 1024
    height: 1024
    quantity: 2
  partitions: {partitions}
  budget: {{max_credits_per_run: 2800}}
  store: file:///tmp/fleet
"""
PARTITIONS = ("{by: none}", '{by: daily, column: day, start: "2026-11-01"}', "{by: column, column: category}")


def load_location(datasets: str) -> dict[str, Any]:
    """Import the framework, load the definitions through the component loader, and resolve them to a repository."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "pyproject.toml").write_text(PYPROJECT)
        (folder / "fleet" / "defs" / "resources").mkdir(parents=True)
        (folder / "fleet" / "defs" / "resources" / "defs.yaml").write_text("type: seedream_assets.SeedreamResources\n")
        (folder / "fleet" / "__init__.py").touch()
        (folder / "fleet" / "definitions.py").write_text(DEFINITIONS)
        for number in range(int(datasets)):
            name = f"scenes_{number:03d}"
            home = folder / "fleet" / "defs" / name
            home.mkdir()
            (home / "defs.yaml").write_text(DATASET.format(name=name, partitions=PARTITIONS[number % len(PARTITIONS)]))
            (home / "prompts.csv").write_text("Prompt,day,category\na red chair,2026-11-02,chairs\n")
        sys.path.insert(0, temporary)
        laps = Laps()
        import dagster  # noqa: F401

        laps.lap("import dagster")
        definitions = importlib.import_module("fleet.definitions").defs()
        laps.lap("load the definitions")
        repository = definitions.get_repository_def()
        laps.lap("resolve them")
        return laps.found(assets=len(repository.asset_graph.get_all_asset_keys()))
