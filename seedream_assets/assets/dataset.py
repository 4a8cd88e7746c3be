"""The asset `dataset`: the manifest, what it looks like, whether it is what was declared, and its exports.

An export is of the whole dataset, all partitions that have a manifest. In a run over several partitions it is made once,
after the last of them; what earlier runs wrote and is whole is kept. How a manifest is assembled, an image judged or an
export written is decided in `manifest`, `quality` and `exports`, not here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

import dagster as dg
import pandas as pd

from seedream_assets.assets.asset_context import AssetContext, Materialised
from seedream_assets.assets.partition_report import (
    PLAN,
    as_dagster_failures,
    materialise,
    partitions_of,
    versions_in_run,
)
from seedream_assets.assets.quality_checks import quality_check_specs, quality_metadata, quality_results
from seedream_assets.assets.store_checks import verification_result
from seedream_assets.assets.ui_metadata import (
    contact_sheet,
    dtypes_of,
    markdown_table,
    rows_table,
    stored_metadata,
)
from seedream_assets.budget.costs import costs_of_images, describe_costs, in_one_unit
from seedream_assets.config.exports import ExportChoice
from seedream_assets.deployment import Deployment
from seedream_assets.errors import ExportError
from seedream_assets.exports.card import how_to_load
from seedream_assets.exports.formats import ExportReport, ExportSource, default_target, find_export
from seedream_assets.exports.opening import LIBRARIES, Opening, open_export
from seedream_assets.ledger.image_columns import MANIFEST_COLUMNS
from seedream_assets.manifest.verify import verify_images
from seedream_assets.quality.assemble import Outcome, assemble_dataset
from seedream_assets.resources import ImageStoreResource, LeonardoResource
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.parquet import to_parquet

ALL_FINAL = "every_wanted_image_is_final"
ALL_WHOLE = "every_stored_image_is_whole"
# Images that the check reads and decodes, evenly spread; all are looked up. Each of them is fetched again for it.
IMAGES_READ = 2000
SHOWN = ["row_number", "sample", "status", "prompt", "width_px", "height_px", "format", "cost_amount", "image_id"]
EXAMPLE_ROWS = 12


def build_dataset(assets: AssetContext) -> dg.AssetsDefinition:
    """The fourth asset of a dataset."""

    @dg.asset(
        **assets.options(
            "dataset",
            kinds={"parquet", "s3"},
            description="The manifest: one row per wanted image, from the prompt row to the bytes. Rebuilt for nothing.",
            after=("images",),
        ),
        check_specs=[
            assets.check_spec(
                "dataset", ALL_FINAL, description="Every wanted image is stored, or final with its reason."
            ),
            assets.check_spec(
                "dataset",
                ALL_WHOLE,
                description="Every stored image exists, is whole, and has the hash of the manifest.",
            ),
            *quality_check_specs(assets),
            *_export_checks(assets),
        ],
    )
    def dataset(
        context: dg.AssetExecutionContext, leonardo: LeonardoResource, image_store: ImageStoreResource
    ) -> Iterator[Any]:
        with as_dagster_failures():
            deployment = assets.deployment(leonardo, image_store)
            last = partitions_of(context)[-1]
            planned = versions_in_run(context, assets.key("generation_requests"), PLAN)
            versions = planned | versions_in_run(context, assets.key("images"), PLAN)

            def assemble(partition: str) -> Materialised:
                done = _assemble(assets, partition, deployment, versions.get(partition))
                # An export is of all partitions, so one is made when no manifest is still to come.
                return _with_exports(assets, done, deployment.store, context.log) if partition == last else done

            yield from materialise(context, assets, "dataset", store_url=deployment.store.url, work=assemble)

    return dataset


def _assemble(assets: AssetContext, partition: str, deployment: Deployment, version: str | None) -> Materialised:
    outcome = assemble_dataset(assets.config, partition, deployment, version=version)
    manifest = outcome.manifest
    stored_at = assets.config.key("manifest", partition)
    extra_columns = dtypes_of(manifest.drop(columns=list(MANIFEST_COLUMNS)))
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
            "images_with_metadata": int(once["marks"].notna().sum()),
            "images_lacking_metadata": int(once["unmarked"].notna().sum()),
            "cost_by_model_and_style": dg.MetadataValue.md(_cost_table(once)),
            "example_rows": rows_table(manifest[SHOWN], rows=EXAMPLE_ROWS, evenly=True),
            "dagster/size_bytes": int(once["size_bytes"].fillna(0).sum()),
            "dagster/row_count": len(manifest),
            **stored_metadata(deployment.store, stored_at, extra_columns),
        },
        extra_columns=extra_columns,
        data_version=sha256(to_parquet(manifest.drop(columns=["code_version"]))).hexdigest(),
        checks=(
            _check_final(outcome),
            _check_whole(manifest, deployment),
            *quality_results(assets.config.quality, outcome, deployment.store),
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


def _check_final(outcome: Outcome) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=ALL_FINAL,
        passed=outcome.is_final,
        description=", ".join(f"{count} {status}" for status, count in outcome.counts.items() if count) or "no images",
        metadata=dict(outcome.counts),
    )


def _check_whole(manifest: pd.DataFrame, deployment: Deployment) -> dg.AssetCheckResult:
    found = verify_images(deployment.store, [manifest], most_read=IMAGES_READ, with_extra=False)
    return verification_result(ALL_WHOLE, found)


def _export_check_name(name: str) -> str:
    """The check of one export."""
    return f"export_{name}_opens"


def _export_checks(assets: AssetContext) -> list[dg.AssetCheckSpec]:
    """A check for every declared export that a consumer's library opens; the gallery is a page for people.

    An export is of the whole dataset, and so is its check: it belongs to no partition.
    """
    return [
        dg.AssetCheckSpec(
            _export_check_name(choice.name),
            asset=assets.key("dataset"),
            description=f"The {choice.name} export opens with {' and '.join(LIBRARIES[choice.name])}: rows counted, some "
            "images decoded and compared with the manifest's hashes.",
        )
        for choice in assets.config.exports
        if choice.name in LIBRARIES
    ]


def _with_exports(
    assets: AssetContext, done: Materialised, store: ObjectStore, log: dg.DagsterLogManager
) -> Materialised:
    """What a partition came to, with the dataset's exports written to their places and opened: metadata and checks.

    Raises:
        StoreError: The store failed.
    """
    metadata: dict[str, Any] = dict(done.metadata)
    checks = [*done.checks]
    source = ExportSource(dataset=assets.config.name, store=store, card=assets.config.card)
    for choice in assets.config.exports:
        label = f"export_{choice.name}"
        target = default_target(source, choice.name)
        try:
            report = find_export(choice.name).write(source, target, choice)
        except ExportError as error:
            metadata[label] = f"not made: {error}"
            log.info("export %s: %s", choice.name, error)
            if choice.name in LIBRARIES:
                checks.append(_export_check(choice, passed=False, description=str(error)))
            continue
        metadata |= {label: target.prefix, f"{label}_rows": report.rows, f"{label}_bytes": report.size_bytes}
        if choice.name not in LIBRARIES:
            log.info("export %s: written", choice.name)
            continue
        opening = open_export(source, target, choice)
        log.info("export %s: %s", choice.name, opening.message)
        checks.append(
            _export_check(
                choice,
                passed=opening.passed,
                is_broken=bool(opening.problems),
                description=opening.message,
                metadata=_opening_metadata(report, opening),
            )
        )
    return replace(done, metadata=metadata, checks=tuple(checks))


def _export_check(
    choice: ExportChoice,
    *,
    passed: bool,
    is_broken: bool = True,
    description: str,
    metadata: Mapping[str, Any] | None = None,
) -> dg.AssetCheckResult:
    """An export that is not broken, and did not pass, lacks only what its owner or an installation can add."""
    return dg.AssetCheckResult(
        check_name=_export_check_name(choice.name),
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR if is_broken else dg.AssetCheckSeverity.WARN,
        description=description,
        metadata=metadata,
    )


def _opening_metadata(report: ExportReport, opening: Opening) -> dict[str, Any]:
    return {
        "stored_at": report.uri,
        "rows": report.rows,
        "rows_by_split": _counted(report.rows_by_split),
        "bytes": report.size_bytes,
        "files_written": report.written,
        "files_kept": report.kept,
        "files_removed": report.removed,
        "images_left_out": _counted(report.left_out),
        "rows_counted": opening.rows,
        "images_decoded": opening.sampled,
        "opened_at": opening.opened_at or "not opened",
        "opened_files": opening.basis.get("listing_sha256", "none"),
        "how_to_load": dg.MetadataValue.md(f"```python\n{how_to_load(report)}\n```"),
    }


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
