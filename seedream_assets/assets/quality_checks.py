"""The quality checks of the asset `dataset`: what was found on the stored images, shown.

Which of them a dataset has, how severe they are and what they reject is its own: `quality` in the YAML. What is found is
decided in `seedream_assets.quality`, not here.
"""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pandas as pd

from seedream_assets.assets.asset_context import AssetContext
from seedream_assets.assets.ui_metadata import Captioned, markdown_table, picture_grid, rows_table
from seedream_assets.config.quality import QualityRules, Rule
from seedream_assets.quality.assemble import Outcome
from seedream_assets.quality.judge import WITHHELD_STATUSES, Judgement, withheld_shares
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.wording import count_of

WITHHELD = "few_images_withheld"
# The built-in rules' checks by the rule's name, each with its meaning; a scorer's check is named for its function.
CHECKS = {
    "wrong_size": ("pixels_as_asked_for", "Every stored image has the pixels that were asked for."),
    "nsfw": ("no_nsfw_images", "Leonardo flagged no stored image as nsfw."),
    "exact_duplicates": ("no_exact_duplicates", "No two stored images have the same bytes, as they were served."),
    "blank": ("no_blank_images", "No stored image is of one colour."),
    "near_duplicates": ("no_near_duplicates", "No two stored images look alike, by perceptual hash."),
}
# A check's pictures: metadata is kept twice in Dagster's database, and there are several checks.
PICTURES = 12
PICTURES_BYTES = 25_000
LISTED = 50


def quality_check_specs(assets: AssetContext) -> list[dg.AssetCheckSpec]:
    """What the asset is declared with."""
    rules = assets.config.quality
    specs = [
        assets.check_spec(
            "dataset",
            _check_of(name)[0],
            description=_check_of(name)[1] + _consequence(rule),
        )
        for name, rule in rules.rules().items()
    ]
    if rules.withheld.severity != "ignore":
        specs.append(
            assets.check_spec(
                "dataset",
                WITHHELD,
                description=f"At most {rules.withheld.max_share:.0%} of the images were withheld, blocked or failed.",
            )
        )
    return specs


def quality_results(rules: QualityRules, outcome: Outcome, store: ObjectStore) -> Iterator[dg.AssetCheckResult]:
    """The results of all of them for one partition."""
    for name, rule in rules.rules().items():
        yield _result(name, rule, outcome, store)
    if rules.withheld.severity != "ignore":
        yield _withheld(rules, outcome.manifest)


def _check_of(rule: str) -> tuple[str, str]:
    """Name and meaning of a rule's check."""
    return CHECKS.get(rule, (f"{rule}_passes", f"The team's own scorer {rule} passes every stored image."))


def _consequence(rule: Rule) -> str:
    allowed = f" Up to {rule.max_share:.1%} of the images are let pass." if rule.max_share else ""
    return allowed + (" What is found is rejected." if rule.reject else "")


def _result(name: str, rule: Rule, outcome: Outcome, store: ObjectStore) -> dg.AssetCheckResult:
    judged = outcome.quality
    found, unmeasured = judged.found_by(name), judged.unmeasured_by(name)
    if name in ("wrong_size", "nsfw", "exact_duplicates"):
        unmeasured = unmeasured.iloc[:0]  # these need no pixels
    share = len(found) / judged.images if judged.images else 0.0
    counted = f"{len(found)} of {count_of(judged.images, 'image')} ({share:.1%})"
    if unmeasured.empty:
        description = f"found on {counted}"
    else:
        description = f"found on {counted}; {len(unmeasured)} could not be judged: {unmeasured['reason'].iloc[0]}"
    shown = _with_rows(found, outcome.manifest)
    pictures = picture_grid(store, _pictures(shown, outcome.manifest), largest_bytes=PICTURES_BYTES)
    return dg.AssetCheckResult(
        check_name=_check_of(name)[0],
        passed=share <= rule.max_share and unmeasured.empty,
        severity=dg.AssetCheckSeverity[rule.severity.upper()],
        description=description,
        metadata={
            "images": judged.images,
            "found": len(found),
            "share": round(share, 6),
            "rejected": len(found) if rule.reject else 0,
            **({"pictures": dg.MetadataValue.md(pictures)} if pictures else {}),
            "list": rows_table(shown[["row_number", "sample", "reason", "prompt", "image_id"]], rows=LISTED),
            **({} if unmeasured.empty else {"not_judged": rows_table(unmeasured[["image_id", "reason"]], rows=LISTED)}),
        },
    )


def _with_rows(found: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    """The findings with the first manifest row of each image."""
    rows = manifest[["image_id", "object_key", "row_number", "sample", "prompt"]].drop_duplicates("image_id")
    return found.merge(rows, on="image_id", how="left")


def _pictures(shown: pd.DataFrame, manifest: pd.DataFrame) -> Iterator[Captioned]:
    """The pictures found; of duplicates, each beside the one that it is a duplicate of."""
    first = manifest.drop_duplicates("image_id").set_index("image_id")
    for row in shown.head(PICTURES).itertuples():
        finding = str(row.reason).split(" image ")[0]
        arrow = " →" if isinstance(row.original, str) else ""
        yield Captioned(str(row.image_id), str(row.object_key), f"row {row.row_number}, {row.sample}: {finding}{arrow}")
        if isinstance(row.original, str):
            original = first.loc[row.original]
            kept = f"row {original['row_number']}, {original['sample']}: is kept"
            yield Captioned(row.original, str(original["object_key"]), kept)


def _withheld(rules: QualityRules, manifest: pd.DataFrame) -> dg.AssetCheckResult:
    rule = rules.withheld
    shares = withheld_shares(manifest, rule)
    whole = shares.iloc[0]
    above = shares[shares["above"].astype(bool)]
    is_unknown = rule.column is not None and rule.column not in manifest.columns
    message = f"{whole['share']:.1%} of {count_of(whole['images'], 'image')} not delivered; at most {rule.max_share:.1%} is allowed"
    if is_unknown:
        message += f"; the manifest has no column {rule.column} to group by"
    groups = above["group"].dropna()
    if len(groups):
        message += f"; above it: {', '.join(groups.head(LISTED))}"
    return dg.AssetCheckResult(
        check_name=WITHHELD,
        passed=above.empty and not is_unknown,
        severity=dg.AssetCheckSeverity[rule.severity.upper()],
        description=message,
        metadata={
            "images": int(whole["images"]),
            "share": round(float(whole["share"]), 6),
            **{status: int(whole[status]) for status in WITHHELD_STATUSES},
            "by_group": dg.MetadataValue.md(_share_table(shares, rule.column or "group")),
            "by_reason": dg.MetadataValue.md(_reason_table(manifest)),
        },
    )


def _share_table(shares: pd.DataFrame, column: str) -> str:
    rows = [
        (
            "all" if pd.isna(row["group"]) and place == 0 else row["group"],
            row["images"],
            *(row[status] for status in WITHHELD_STATUSES),
            f"{row['share']:.1%}",
            "above" if row["above"] else "" if row["judged"] else "too few to judge",
        )
        for place, row in enumerate(shares.to_dict("records"))
    ]
    return markdown_table([column, "images", *WITHHELD_STATUSES, "share", ""], rows)


def _reason_table(manifest: pd.DataFrame) -> str:
    lost = manifest[manifest["status"].isin(WITHHELD_STATUSES)].drop_duplicates("image_id")
    counted = lost.groupby(["status", "reason"], dropna=False).size().sort_values(ascending=False)
    rows = counted.head(LISTED).reset_index(name="images")[["images", "status", "reason"]].values.tolist()
    return markdown_table(["images", "status", "reason"], rows) if rows else "none"


def quality_metadata(judged: Judgement) -> dict[str, int]:
    """For the asset: rejected images, and findings by rule."""
    counted = judged.findings["check"].value_counts()
    found = {f"found_{name}": int(count) for name, count in sorted(counted.items())}
    return {"images_rejected": len(judged.reject_reasons), **found}
