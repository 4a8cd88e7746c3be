"""From measures to verdicts: what is found on the stored images, and which of them are rejected.

Pure: the manifest, a table of measures and the rules in; findings out. Of images that are alike, the one that was bought
first is kept, so a verdict does not change with the order of the table's rows, nor with what is bought later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from seedream_assets.config.quality import QualityRules, ScorerRule, Withheld
from seedream_assets.ledger.image_columns import MANIFEST_COLUMNS


def find_near_duplicates(hashes: Sequence[str], max_distance: int) -> list[tuple[int, int, int]]:
    """The pictures that look like one before them that is kept: (place, place of the kept one, distance in bits).

    Every picture is compared with all that were kept before it, so the first of each kind stays, the same ones whatever
    comes after. Exact, by one vectorised comparison per picture: the time grows with the square of their number.

    Args:
        hashes: 64 bits each, as hexadecimal digits; the ones to keep first.
        max_distance: Bits in which two hashes of pictures that look alike may differ.
    """
    bits = np.fromiter((int(one, 16) for one in hashes), dtype=np.uint64, count=len(hashes))
    kept = np.empty_like(bits)
    places: list[int] = []
    found: list[tuple[int, int, int]] = []
    for place, one in enumerate(bits):
        if places:
            distances = np.bitwise_count(kept[: len(places)] ^ one)
            nearest = int(distances.argmin())
            if distances[nearest] <= max_distance:
                found.append((place, places[nearest], int(distances[nearest])))
                continue
        kept[len(places)] = one
        places.append(place)
    return found


# Raised when what is measured, or how, has changed: older measures are taken anew.
MEASURES_VERSION = 2
MEASURE_COLUMNS: Mapping[str, str] = {
    "image_id": "string",
    "sha256": "string",
    "measures_version": "int64",
    "phash": "string",
    "contrast": "float64",
    "scores": "string",
}
FINDING_COLUMNS: Mapping[str, str] = {
    "check": "string",
    "image_id": "string",
    "reason": "string",
    "original": "string",
}
WITHHELD_STATUSES = ("withheld", "blocked", "failed")
ENDED_STATUSES = ("stored", *WITHHELD_STATUSES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What was found on the stored images of a partition.

    Attributes:
        images: How many were judged, each picture once.
        findings: Columns `FINDING_COLUMNS`: which check found what on which image; `original` is the image that a
            duplicate is one of.
        reject_reasons: Of every rejected image, by image id; reasons separated by semicolons.
        unmeasured: Why an image could not be measured or scored: check ("" for all of them), image id, reason.
    """

    images: int
    findings: pd.DataFrame
    reject_reasons: Mapping[str, str]
    unmeasured: pd.DataFrame

    def found_by(self, check: str) -> pd.DataFrame:
        """The findings of one check."""
        return self.findings[self.findings["check"] == check]

    def unmeasured_by(self, check: str) -> pd.DataFrame:
        """The images of which one check knows nothing."""
        return self.unmeasured[self.unmeasured["check"].isin(["", check])]


def stored_images(manifest: pd.DataFrame) -> pd.DataFrame:
    """The stored images, each once, in the order in which they were bought."""
    stored = manifest[manifest["status"] == "stored"].drop_duplicates("image_id")
    return stored.sort_values(["completed_at", "request_id", "sample"], kind="stable").reset_index(drop=True)


def judge_images(
    manifest: pd.DataFrame, measures: pd.DataFrame, rules: QualityRules, unmeasured: pd.DataFrame
) -> Judgement:
    """What the rules find.

    Args:
        manifest: Of one partition.
        measures: Columns `MEASURE_COLUMNS`; images that are not in it are judged by the manifest alone.
        rules: The dataset's.
        unmeasured: As `Judgement` keeps it.
    """
    # The table's own columns stay out: one of them may be called like a measure.
    own = manifest[list(MANIFEST_COLUMNS)]
    images = stored_images(own).merge(measures.drop(columns="sha256"), on="image_id", how="left")
    made = rules.rules()
    found: list[tuple[str, str, str, str | None]] = []
    if "wrong_size" in made:
        found += _wrong_size(images)
    if "nsfw" in made:
        found += [
            ("nsfw", one, "flagged nsfw by Leonardo", None) for one in images.loc[_is_true(images["nsfw"]), "image_id"]
        ]
    if "exact_duplicates" in made:
        found += _exact_duplicates(images)
    blank = images["contrast"] < rules.blank.min_contrast
    if "blank" in made:
        contrasts = images.loc[blank, ["image_id", "contrast"]].itertuples(index=False, name=None)
        found += [("blank", one, f"blank: contrast {contrast:.1f}", None) for one, contrast in contrasts]
    if "near_duplicates" in made:
        # All blank images look alike, and equal ones are reported as exact duplicates already.
        alike = {image_id for check, image_id, _, _ in found if check == "exact_duplicates"}
        others = images[~blank & images["phash"].notna() & ~images["image_id"].isin(alike)]
        found += _near_duplicates(others, rules.near_duplicates.max_distance)
    for scorer in rules.scorers:
        if scorer.name in made:
            found += _scored(images, scorer)
    findings = pd.DataFrame(found, columns=list(FINDING_COLUMNS)).astype(dict(FINDING_COLUMNS))
    rejecting = [name for name, rule in made.items() if rule.reject]
    rejected = findings[findings["check"].isin(rejecting)].groupby("image_id", sort=False)["reason"]
    return Judgement(
        images=len(images),
        findings=findings,
        reject_reasons={str(image_id): "; ".join(reasons) for image_id, reasons in rejected},
        unmeasured=unmeasured,
    )


def _is_true(column: pd.Series[Any]) -> pd.Series[Any]:
    return column.fillna(False).astype(bool)


def _wrong_size(images: pd.DataFrame) -> list[tuple[str, str, str, str | None]]:
    wrong = images[_is_true((images["width_px"] != images["width"]) | (images["height_px"] != images["height"]))]
    rows = wrong[["image_id", "width_px", "height_px", "width", "height"]].itertuples(index=False, name=None)
    return [
        ("wrong_size", image_id, f"is {width_px}x{height_px}, asked for was {width}x{height}", None)
        for image_id, width_px, height_px, width, height in rows
    ]


def _exact_duplicates(images: pd.DataFrame) -> list[tuple[str, str, str, str | None]]:
    # Embedded metadata names the image it is in: of the same picture, only the bytes as they were served are equal.
    content = images["source_sha256"].fillna(images["sha256"])
    first = images.groupby(content)["image_id"].transform("first")
    rows = zip(images["image_id"], first, strict=True)
    return [
        ("exact_duplicates", image_id, f"the same bytes as image {original}", original)
        for image_id, original in rows
        if image_id != original
    ]


def _near_duplicates(images: pd.DataFrame, max_distance: int) -> list[tuple[str, str, str, str | None]]:
    ids = list(images["image_id"])
    return [
        ("near_duplicates", ids[place], f"looks like image {ids[kept]}, {distance} of 64 bits apart", ids[kept])
        for place, kept, distance in find_near_duplicates(list(images["phash"]), max_distance)
    ]


def _scored(images: pd.DataFrame, scorer: ScorerRule) -> list[tuple[str, str, str, str | None]]:
    found: list[tuple[str, str, str, str | None]] = []
    for image_id, cell in images[["image_id", "scores"]].dropna().itertuples(index=False, name=None):
        score = json.loads(cell).get(scorer.function)
        reason = None if score is None else _score_reason(score, scorer)
        if reason:
            found.append((scorer.name, image_id, reason, None))
    return found


def _score_reason(score: Mapping[str, Any], scorer: ScorerRule) -> str | None:
    value = score.get("score")
    if score.get("passed") is False:
        return f"{scorer.name}: {score.get('reason') or 'not passed'}"
    if value is not None and scorer.min is not None and value < scorer.min:
        return f"{scorer.name} {value:.4g}, at least {scorer.min:g} is asked for"
    if value is not None and scorer.max is not None and value > scorer.max:
        return f"{scorer.name} {value:.4g}, at most {scorer.max:g} is asked for"
    return None


def withheld_shares(manifest: pd.DataFrame, rule: Withheld) -> pd.DataFrame:
    """How much of what was asked for was not delivered, by group; the first row, group NA, is the whole.

    Columns: group, images (that have come to their end), withheld, blocked, failed, share, judged (whether the group is
    large enough), and above (whether its share is above the rule's).
    """
    ended = manifest[manifest["status"].isin(ENDED_STATUSES)].drop_duplicates("image_id")
    rows = [_share_row(None, ended, rule, judged=len(ended) > 0)]
    if rule.column is not None and rule.column in ended.columns:
        for group, part in ended.groupby(ended[rule.column].astype("string"), dropna=False):
            rows.append(_share_row(group, part, rule, judged=len(part) >= rule.min_images))
    columns = ["group", "images", *WITHHELD_STATUSES, "share", "judged", "above"]
    return pd.DataFrame(rows, columns=columns).astype({"group": "string"})


def _share_row(group: Any, part: pd.DataFrame, rule: Withheld, *, judged: bool) -> tuple[Any, ...]:
    counted = part["status"].value_counts()
    withheld = [int(counted.get(status, 0)) for status in WITHHELD_STATUSES]
    share = sum(withheld) / len(part) if len(part) else 0.0
    return (group, len(part), *withheld, share, judged, judged and share > rule.max_share)
