"""What `workspace.yaml` loads: everything that is declared in `defs/`."""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """All datasets of this deployment."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
