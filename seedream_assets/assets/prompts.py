"""The asset `prompts`: the table read, checked, and kept as a snapshot. Costs nothing.

What a row must be is decided in `seedream_assets.prompts`, not here.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import dagster as dg
import pandas as pd

from seedream_assets.assets.asset_context import AssetContext, Materialised
from seedream_assets.assets.partition_report import SNAPSHOT, as_dagster_failures, materialise
from seedream_assets.assets.ui_metadata import dtypes_of, rows_table, stored_metadata
from seedream_assets.deployment import Deployment
from seedream_assets.prompts.cells import merge_alike
from seedream_assets.prompts.columns import ColumnReport
from seedream_assets.prompts.stage import PromptReader, PromptSnapshot, write_snapshot
from seedream_assets.resources import ImageStoreResource, LeonardoResource
from seedream_assets.storage.parquet import to_parquet
from seedream_assets.wording import count_of

NO_REJECTED_ROWS = "no_rejected_rows"
NO_DOUBTFUL_SETTINGS = "no_doubtful_settings"
REJECTED_ROWS_SHOWN = 50
SHOWN = ["row_number", "prompt_id", "prompt", "model", "width", "height", "quantity", "style", "seed", "references"]


def build_prompts(assets: AssetContext) -> dg.AssetsDefinition:
    """The first asset of a dataset."""

    @dg.asset(
        **assets.options(
            "prompts",
            kinds={"csv", "parquet"},
            description="The prompt table, read and checked: accepted rows, and rejected ones with what to do about them.",
        ),
        check_specs=[
            assets.check_spec(
                "prompts",
                NO_REJECTED_ROWS,
                description="Every row of the table is within the limits.",
            ),
            assets.check_spec(
                "prompts",
                NO_DOUBTFUL_SETTINGS,
                description="No extra column, and nothing in a prompt, looks like a setting: it would change nothing.",
            ),
        ],
    )
    def prompts(
        context: dg.AssetExecutionContext, leonardo: LeonardoResource, image_store: ImageStoreResource
    ) -> Iterator[Any]:
        with as_dagster_failures():
            deployment = assets.deployment(leonardo, image_store)
            reader = PromptReader(assets.config, deployment)
            yield from materialise(
                context,
                assets,
                "prompts",
                store_url=deployment.store.url,
                work=lambda partition: _read(context, assets, partition, reader, deployment),
            )

    return prompts


def _read(
    context: dg.AssetExecutionContext, assets: AssetContext, key: str, reader: PromptReader, deployment: Deployment
) -> Materialised:
    snapshot = reader.read(key)
    snapshot = write_snapshot(deployment.store, assets.config, key, snapshot)
    checked = snapshot.checked
    stored_at, extra_columns = assets.config.key("prompts", key), dtypes_of(checked.extra_columns)
    context.log.info(
        "%s accepted, %s rejected, %s; %s wanted",
        count_of(len(checked.prompts), "prompt"),
        count_of(snapshot.rejected_rows, "row"),
        count_of(len(checked.warnings), "warning"),
        count_of(snapshot.wanted, "image"),
    )
    return Materialised(
        metadata={
            "prompts_accepted": len(checked.prompts),
            "rows_rejected": snapshot.rejected_rows,
            "warnings": len(checked.warnings),
            "images_wanted": snapshot.wanted,
            "rejected_rows": _remarks(checked.rejected),
            "warned_rows": _remarks(merge_alike(checked.warnings)),
            "example_rows": rows_table(checked.prompts[SHOWN], rows=10),
            SNAPSHOT: str(snapshot.version),
            "tables": rows_table(_tables(snapshot), rows=20),
            "dagster/row_count": len(checked.prompts),
            **stored_metadata(deployment.store, stored_at, extra_columns),
        },
        extra_columns=extra_columns,
        data_version=sha256(to_parquet(checked.prompts) + to_parquet(checked.extra_columns)).hexdigest(),
        checks=(_check(snapshot), _check_settings(snapshot.checked.columns)),
    )


def _tables(snapshot: PromptSnapshot) -> pd.DataFrame:
    """The files read; their whole addresses and hashes stand in the manifest, and are too long for this column."""
    tables = snapshot.tables
    return pd.DataFrame({"table": tables["table"], "sha256 begins": tables["table_sha256"].str.slice(0, 12)})


def _remarks(rows: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """Rejected or warned rows, narrow enough for the column that Dagster gives them."""
    shown = rows[["row_number", "column", "value"]].rename(columns={"row_number": "row"})
    shown = shown.assign(**{"what to do": rows["fix"] + " (allowed: " + rows["allowed"] + ")"})
    if rows["table"].nunique() > 1:
        shown = shown.assign(table=rows["table"])
    return rows_table(shown, rows=REJECTED_ROWS_SHOWN)


def _check(snapshot: PromptSnapshot) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=NO_REJECTED_ROWS,
        passed=snapshot.rejected_rows == 0,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{count_of(snapshot.rejected_rows, 'row')} quarantined; the others go on"
        if snapshot.rejected_rows
        else f"{count_of(len(snapshot.checked.prompts), 'row')} within the limits, none outside",
        metadata={
            "rows_rejected": snapshot.rejected_rows,
            "rejected_rows": _remarks(snapshot.checked.rejected),
        },
    )


def _check_settings(columns: ColumnReport) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=NO_DOUBTFUL_SETTINGS,
        passed=not columns.doubts,
        severity=dg.AssetCheckSeverity.WARN,
        description="\n".join(columns.doubts) or "no column and no prompt looks like a setting that changes nothing",
    )
