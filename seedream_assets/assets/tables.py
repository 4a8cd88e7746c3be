"""Tables as Dagster's metadata: schemas, lineage of columns, and a few rows to look at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
import pandas as pd

from seedream_assets.assets.columns import COLUMN_MEANINGS
from seedream_assets.manifest.column_lineage import Lineage

LONGEST_CELL = 120
# What has a meaning in Markdown, and stands in prompts.
_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*[]|#~"} | {"<": "&lt;", ">": "&gt;"})


def table_schema(dtypes: Mapping[str, str], others: pd.DataFrame | None = None) -> dg.TableSchema:
    """The columns of a table: ours with their dtypes, then those that ride along."""
    columns = [dg.TableColumn(name, dtype, COLUMN_MEANINGS.get(name)) for name, dtype in dtypes.items()]
    if others is not None:
        columns += [
            dg.TableColumn(str(name), _dtype(others[name]), description="Rides along from the prompt table.")
            for name in others.columns
        ]
    return dg.TableSchema(columns=columns)


def _dtype(column: pd.Series[Any]) -> str:
    """Pandas has two dtypes of text, `string` and `str`; one word for both."""
    return "string" if isinstance(column.dtype, pd.StringDtype) else str(column.dtype)


def row_count(frame: pd.DataFrame) -> dg.IntMetadataValue:
    """Number of rows, for `dagster/row_count`."""
    return dg.MetadataValue.int(len(frame))


def spread(frame: pd.DataFrame, rows: int) -> pd.DataFrame:
    """At most so many rows, evenly over all of them, in their order."""
    if len(frame) <= rows:
        return frame
    return frame.iloc[[place * len(frame) // rows for place in range(rows)]]


def preview(frame: pd.DataFrame, *, rows: int, evenly: bool = False) -> dg.MarkdownMetadataValue:
    """Some rows as a Markdown table; long cells are cut, and how many rows were left out is told.

    Args:
        frame: The table; columns without a value in the rows shown are left out.
        rows: How many are shown.
        evenly: Spread over the table, for one whose neighbours are alike; else the first.
    """
    if frame.empty:
        return dg.MetadataValue.md("none")
    told = f"{rows} of {len(frame)} rows, evenly spread" if evenly else f"… and {len(frame) - rows} more"
    left = f"\n\n{told}" if len(frame) > rows else ""
    shown = (spread(frame, rows) if evenly else frame.head(rows)).dropna(axis="columns", how="all")
    return dg.MetadataValue.md(markdown_table(shown.columns, shown.itertuples(index=False, name=None)) + left)


def markdown_table(head: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown, every cell as the plain text that it is."""
    names = [_cell(name) for name in head]
    lines = ["| " + " | ".join(names) + " |", "| " + " | ".join("---" for _ in names) + " |"]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def plain(text: str, longest: int) -> str:
    """A text on one line, cut, with nothing in it that Markdown would read."""
    line = " ".join(text.split())
    cut = line if len(line) <= longest else line[: longest - 1] + "…"
    # A _ between letters is one in Markdown too.
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", cut.translate(_SPECIAL))


def _cell(value: object) -> str:
    missing = value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and pd.isna(value))
    return "" if missing else plain(str(value), LONGEST_CELL)


def column_lineage(lineage: Lineage, key_of: Callable[[str], dg.AssetKey]) -> dg.TableColumnLineage:
    """Which columns each column comes from.

    Args:
        lineage: By stage.
        key_of: The asset of a stage.
    """
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(asset_key=key_of(stage), column_name=column) for stage, column in sources]
            for name, sources in lineage.items()
        }
    )
