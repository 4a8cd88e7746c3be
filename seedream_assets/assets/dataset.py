"""The asset `dataset`: the manifest, what it looks like, and whether it is what was declared."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import dagster as dg
import pandas as pd

from seedream_assets.assets.bucket_check import verification_result
from seedream_assets.assets.contact_sheet import contact_sheet
from seedream_assets.assets.exports import export_checks, with_exports
from seedream_assets.assets.failures import as_dagster_failures
from seedream_assets.assets.frame import AssetFrame
from seedream_assets.assets.lineage import materialise_stage
from seedream_assets.assets.partition_walk import Materialised, partitions_of
from seedream_assets.assets.quality_checks import quality_check_specs, quality_metadata, quality_results
from seedream_assets.assets.tables import column_lineage, markdown_table, preview, row_count, table_schema
from seedream_assets.assets.versions import PLAN, versions_in_run
from seedream_assets.budget.costs import costs_of_images, describe_costs, in_one_unit
from seedream_assets.config.deployment import Deployment
from seedream_assets.manifest.build import MANIFEST_COLUMNS
from seedream_assets.manifest.column_lineage import manifest_lineage
from seedream_assets.manifest.verify import verify_images
from seedream_assets.quality.assemble import Outcome, assemble_dataset
from seedream_assets.resources import ImageStoreResource, LeonardoResource
from seedream_assets.storage.parquet import to_parquet

ALL_FINAL = "every_wanted_image_is_final"
ALL_WHOLE = "every_stored_image_is_whole"
# Images that the check reads and decodes, evenly spread; all are looked up. Each of them is fetched again for it.
IMAGES_READ = 2000
SHOWN = ["row_number", "sample", "status", "prompt", "width_px", "height_px", "format", "cost_amount", "image_id"]
SAMPLE_ROWS = 12


def build_dataset(frame: AssetFrame) -> dg.AssetsDefinition:
    """The fourth asset of a dataset."""

    @dg.asset(
        **frame.options(
            "dataset",
            kinds={"parquet", "s3"},
            description="The manifest: one row per wanted image, from the prompt row to the bytes. Rebuilt for nothing.",
            after=("images",),
        ),
        check_specs=[
            frame.check_spec(
                "dataset", ALL_FINAL, description="Every wanted image is stored, or final with its reason."
            ),
            frame.check_spec(
                "dataset",
                ALL_WHOLE,
                description="Every stored image exists, is whole, and has the hash of the manifest.",
            ),
            *quality_check_specs(frame),
            *export_checks(frame),
        ],
    )
    def dataset(
        context: dg.AssetExecutionContext, leonardo: LeonardoResource, image_store: ImageStoreResource
    ) -> Iterator[Any]:
        with as_dagster_failures():
            deployment = frame.deployment(leonardo, image_store)
            last = partitions_of(context)[-1]
            planned = versions_in_run(context, frame.key("generation_requests"), PLAN)
            versions = planned | versions_in_run(context, frame.key("images"), PLAN)

            def assemble(partition: str) -> Materialised:
                done = _assemble(frame, partition, deployment, versions.get(partition))
                # An export is of all partitions, so one is made when no manifest is still to come.
                return with_exports(frame, done, deployment.store, context.log) if partition == last else done

            yield from materialise_stage(context, frame, "dataset", deployment, assemble)

    return dataset


def _assemble(frame: AssetFrame, partition: str, deployment: Deployment, version: str | None) -> Materialised:
    outcome = assemble_dataset(frame.config, partition, deployment, version=version)
    manifest = outcome.manifest
    uri = deployment.store.uri(frame.config.key("manifest", partition))
    ours, others = manifest[list(MANIFEST_COLUMNS)], manifest.drop(columns=list(MANIFEST_COLUMNS))
    # Rows that want the same picture share it, and its cost.
    once = manifest.drop_duplicates("image_id")
    costs = costs_of_images(once)
    amount, unit = in_one_unit(costs)
    return Materialised(
        metadata={
            "contact_sheet": dg.MetadataValue.md(contact_sheet(deployment.store, manifest)),
            "images_wanted": len(manifest),
            **{f"images_{status}": count for status, count in outcome.counts.items()},
            **quality_metadata(outcome.quality),
            "cost_amount": round(float(amount), 4),
            "cost_unit": unit if costs else "none",
            "costs": describe_costs(costs),
            "images_marked": int(once["marks"].notna().sum()),
            "images_not_marked_as_asked": int(once["unmarked"].notna().sum()),
            "cost_by_model_and_style": dg.MetadataValue.md(_cost_table(once)),
            "sample": preview(ours[SHOWN], rows=SAMPLE_ROWS, evenly=True),
            "stored_at": uri,
            "dagster/size_bytes": int(once["size_bytes"].fillna(0).sum()),
            "dagster/row_count": row_count(manifest),
            "dagster/uri": uri,
            "dagster/column_schema": table_schema(MANIFEST_COLUMNS, others),
            "dagster/column_lineage": column_lineage(manifest_lineage(map(str, others.columns)), frame.key),
        },
        data_version=sha256(to_parquet(manifest.drop(columns=["code_version"]))).hexdigest(),
        checks=(
            _check_final(frame, outcome),
            _check_whole(frame, manifest, deployment),
            *quality_results(frame, outcome, deployment.store),
        ),
    )


def _cost_table(images: pd.DataFrame) -> str:
    """By model and style. The unit stands in the heading; where there are several, beside each amount."""
    units = costs_of_images(images)
    heading = f"cost, {next(iter(units)).lower()}" if len(units) == 1 else "cost"
    rows = []
    for key, some in images.groupby(["model", "style"]):
        costs = costs_of_images(some)
        cost = f"{float(sum(costs.values())):.10g}" if len(units) == 1 else describe_costs(costs)
        rows.append((*key, len(some), int((some["status"] == "stored").sum()), cost))
    return markdown_table(["model", "style", "images wanted", "stored", heading], rows)


def _check_final(frame: AssetFrame, outcome: Outcome) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=ALL_FINAL,
        asset_key=frame.key("dataset"),
        passed=outcome.is_final,
        description=", ".join(f"{count} {status}" for status, count in outcome.counts.items() if count) or "no images",
        metadata=dict(outcome.counts),
    )


def _check_whole(frame: AssetFrame, manifest: pd.DataFrame, deployment: Deployment) -> dg.AssetCheckResult:
    found = verify_images(deployment.store, [manifest], most_read=IMAGES_READ, with_extra=False)
    return verification_result(frame, ALL_WHOLE, found)
