"""`dg scaffold defs seedream_assets.ImageDataset <name>`: a dataset that loads at once, with a small prompt table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel, Field

EXAMPLE_TABLE = """\
prompt_id,prompt,width,height,quantity,style,category
mug-blue,"Studio photo of a blue ceramic mug on pale stone, soft window light",1024,1024,2,Stock Photo,tableware
teapot-iron,"Cast-iron teapot steaming on a dark slate table",1280,720,1,Cinematic,tableware
"""


# What may be added, where a person looks first.
MORE = """
  # prompts: also s3:// or https:// addresses, a glob, a list; columns: {prompt: Text} where the table's names differ.
  # partitions: {by: daily, column: day, start: "2026-11-01"}     # or by: column, by: table
  # owners: ["team:data"]
  # description: What the dataset is for.
"""


class ImageDatasetParameters(BaseModel):
    """Flags of the scaffold command."""

    prompts: str = Field(
        default="prompts.csv", description="The prompt table; a small one is written if it is not there."
    )
    store: str = Field(default="{{ env.SEEDREAM_STORE }}", description="s3://bucket/prefix or file:///…")
    max_credits_per_run: int = Field(default=280, ge=0, description="One run buys no more than this.")


class ImageDatasetScaffolder(dg.Scaffolder[ImageDatasetParameters]):
    """Writes defs.yaml and, where the named table is not there, a table of two prompts."""

    @classmethod
    def get_scaffold_params(cls) -> type[ImageDatasetParameters]:
        """The command's flags."""
        return ImageDatasetParameters

    def scaffold(self, request: dg.ScaffoldRequest[ImageDatasetParameters]) -> None:
        """Write the files."""
        params = request.params
        target = Path(request.target_path)
        name = re.sub(r"[^A-Za-z0-9_]", "_", target.name)
        attributes: dict[str, Any] = {
            "name": name if name[:1].isalpha() else f"dataset_{name}",
            "prompts": {"table": params.prompts},
            "recipe": {"model": "seedream-4.0", "width": 1024, "height": 1024, "quantity": 1, "style": "None"},
            "budget": {"max_credits_per_run": params.max_credits_per_run},
            "store": params.store,
        }
        dg.scaffold_component(request, attributes)
        written = target / "defs.yaml"
        if written.exists():
            written.write_text(written.read_text(encoding="utf-8").rstrip() + "\n" + MORE, encoding="utf-8")
        table = target / params.prompts
        if "://" not in params.prompts and "*" not in params.prompts and not table.exists():
            table.parent.mkdir(parents=True, exist_ok=True)
            table.write_text(EXAMPLE_TABLE, encoding="utf-8")
