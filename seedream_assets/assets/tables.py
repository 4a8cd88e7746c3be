"""Tables as Dagster's metadata: schemas, lineage of columns, and a few rows to look at."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
import pandas as pd

LONGEST_CELL = 120


def table_schema(dtypes: Mapping[str, str], others: pd.DataFrame | None = None) -> dg.TableSchema:
    """The columns of a table: ours with their dtypes, then those that ride along."""
    columns = [dg.TableColumn(name, dtype) for name, dtype in dtypes.items()]
    if others is not None:
        columns += [dg.TableColumn(str(name), str(others[name].dtype)) for name in others.columns]
    return dg.TableSchema(columns=columns)


def row_count(frame: pd.DataFrame) -> dg.IntMetadataValue:
    """Number of rows, for `dagster/row_count`."""
    return dg.MetadataValue.int(len(frame))


def preview(frame: pd.DataFrame, *, rows: int) -> dg.MetadataValue:
    """The first rows as a Markdown table; long cells are cut, and how many rows were left out is told."""
    if frame.empty:
        return dg.MetadataValue.md("none")
    head = "| " + " | ".join(_cell(name) for name in frame.columns) + " |"
    rule = "| " + " | ".join("---" for _ in frame.columns) + " |"
    body = [
        "| " + " | ".join(_cell(value) for value in row) + " |"
        for row in frame.head(rows).itertuples(index=False, name=None)
    ]
    left = f"\n\n… and {len(frame) - rows} more" if len(frame) > rows else ""
    return dg.MetadataValue.md("\n".join([head, rule, *body]) + left)


def _cell(value: object) -> str:
    text = "" if value is None or value is pd.NA or value is pd.NaT or value != value else str(value)  # noqa: PLR0124
    text = text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
    return text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"


def column_lineage(sources: Mapping[str, tuple[dg.AssetKey, str]]) -> dg.TableColumnLineage:
    """Which column each column comes from."""
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(asset_key=asset_key, column_name=column)]
            for name, (asset_key, column) in sources.items()
        }
    )
