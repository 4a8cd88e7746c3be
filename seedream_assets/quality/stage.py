"""The measures of a partition's images, kept beside its manifest, and the verdicts on them.

    datasets/<dataset>/quality/<partition>.parquet    one row per stored image, columns `MEASURE_COLUMNS`

Derived from the images and nothing else: it can be deleted, and is measured again. What it holds already is not decoded
again, so a rebuild costs one read of this table. Measures of what a manifest no longer names are dropped.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageStat

from seedream_assets.config.dataset import DatasetConfig
from seedream_assets.config.quality import QualityRules
from seedream_assets.errors import DownloadError, ObjectNotFound, StoreError
from seedream_assets.images.inspect import decode_image
from seedream_assets.quality.judge import (
    MEASURE_COLUMNS,
    MEASURES_VERSION,
    Judgement,
    judge_images,
    stored_images,
)
from seedream_assets.quality.scorers import Scorer, load_scorer
from seedream_assets.storage.async_store import read_ahead
from seedream_assets.storage.object_store import ObjectStore
from seedream_assets.storage.parquet import PARQUET, from_parquet, to_parquet

# What the perceptual hash and the contrast are taken from.
SIDE_PX = 256
_PHASH_SIDE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelMeasures:
    """What the built-in checks need to know of an image.

    Attributes:
        phash: 64 bits in 16 hexadecimal digits.
        contrast: Standard deviation of the liveliest colour channel, in levels of 0 to 255.
    """

    phash: str
    contrast: float


def measure_pixels(image: Image.Image) -> PixelMeasures:
    """The built-in measures. What is transparent counts as its colour."""
    small = image.copy()
    small.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    return PixelMeasures(phash=perceptual_hash(small), contrast=max(ImageStat.Stat(small).stddev))


def perceptual_hash(image: Image.Image) -> str:
    """The pHash of an image, in 16 hexadecimal digits; alike images differ in few of its 64 bits.

    One bit for each of the 8 x 8 lowest frequencies (discrete cosine transform of type II) of the image in 32 x 32 levels
    of grey: whether it is above their median. The same bits as those of the library ImageHash.
    """
    grey = np.asarray(image.convert("L").resize((_PHASH_SIDE, _PHASH_SIDE), Image.Resampling.LANCZOS), dtype=np.float64)
    position, frequency = np.arange(_PHASH_SIDE), np.arange(8)
    waves = np.cos(np.pi * np.outer(frequency, 2 * position + 1) / (2 * _PHASH_SIDE))
    # Rounded, since what is zero by nature would else be above or below it by the last digits of a sum.
    strengths = np.round(waves @ grey @ waves.T, 6)
    bits = "".join("1" if strength > np.median(strengths) else "0" for strength in strengths.ravel())
    return f"{int(bits, 2):016x}"


# Reading waits for the network and decoding for the processor; both let other threads go on.
PROCESSORS = os.cpu_count() or 1
THREADS = 8 + PROCESSORS
# Measured images between two writes of the table: what a killed run has to measure again, at most.
ROWS_BETWEEN_WRITES = 2_000
_LOG = logging.getLogger(__name__)
UNMEASURED_COLUMNS = ["check", "image_id", "reason"]


def judge_partition(
    config: DatasetConfig, partition: str, store: ObjectStore, manifest: pd.DataFrame, *, measure: bool
) -> Judgement:
    """Judge the stored images of a manifest.

    Args:
        config, partition, store: Whose, and where.
        manifest: Of this partition.
        measure: Read the images of which nothing is known yet; without it, they are judged by the manifest alone.

    Raises:
        StoreError: The store failed. What was measured before that is kept.
    """
    rules = config.quality
    known = _no_measures()
    unmeasured: list[tuple[str, str, str]] = []
    if rules.reads_images:
        known = load_measures(store, config, partition)
        if measure:
            measuring = _Measuring(store, config.key("quality", partition), manifest, known, rules)
            known, unmeasured = measuring.run()
    failures = pd.DataFrame(unmeasured, columns=UNMEASURED_COLUMNS, dtype="string")
    return judge_images(manifest, known, rules, failures)


def load_measures(store: ObjectStore, config: DatasetConfig, partition: str) -> pd.DataFrame:
    """The measures as they were last written, of the present version; empty where there are none that can be read."""
    key = config.key("quality", partition)
    try:
        body = store.read(key)
    except ObjectNotFound:
        return _no_measures()
    try:
        measures = from_parquet(body, MEASURE_COLUMNS)
    except StoreError as error:
        _LOG.warning("%s cannot be read, and the images are measured again: %s", key, error)
        return _no_measures()
    return measures[measures["measures_version"] == MEASURES_VERSION]


def _no_measures() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in MEASURE_COLUMNS.items()})


class _Measuring:
    """Measures the images of a partition that are not measured yet."""

    def __init__(
        self, store: ObjectStore, key: str, manifest: pd.DataFrame, known: pd.DataFrame, rules: QualityRules
    ) -> None:
        self._store = store
        self._key = key
        self._images = stored_images(manifest)
        self._before = known
        wanted = dict(zip(self._images["image_id"], self._images["sha256"], strict=True))
        rows = known.to_dict("records")
        self._known = {str(row["image_id"]): row for row in rows if wanted.get(row["image_id"]) == row["sha256"]}
        self._unmeasured: list[tuple[str, str, str]] = []
        self._scorers = list(self._usable(rules))
        self._side = _decoded_side(self._scorers)

    def _usable(self, rules: QualityRules) -> Iterator[Scorer]:
        for rule in rules.scorers:
            if rule.severity == "ignore":
                continue
            scorer = load_scorer(rule)
            if isinstance(scorer, Scorer):
                yield scorer
            else:
                self._unmeasured += [(rule.name, image_id, scorer) for image_id in self._images["image_id"]]

    def run(self) -> tuple[pd.DataFrame, list[tuple[str, str, str]]]:
        """Measure what is missing, keep it, and give all measures and what could not be measured."""
        todo = [row for row in self._images.to_dict("records") if self._is_wanting(row)]
        try:
            for count, (row, found) in enumerate(self._measured(todo), start=1):
                self._take(row, found)
                if count % ROWS_BETWEEN_WRITES == 0:
                    self._write()
        finally:
            self._write()
        return self._table(), self._unmeasured

    def _is_wanting(self, row: Mapping[Any, Any]) -> bool:
        known = self._known.get(row["image_id"])
        return known is None or bool(self._missing_scorers(known))

    def _missing_scorers(self, known: Mapping[Any, Any]) -> list[Scorer]:
        scores = json.loads(known["scores"])
        return [one for one in self._scorers if scores.get(one.rule.function, {}).get("version") != one.version]

    def _measured(
        self, rows: Sequence[Mapping[Any, Any]]
    ) -> Iterator[tuple[Mapping[Any, Any], tuple[PixelMeasures, Image.Image | None] | str]]:
        """Rows with their measures, in order.

        A few pictures are decoded ahead: whole ones may have 50 MB each.
        """
        most = 2 * THREADS if self._side else PROCESSORS + 2
        return read_ahead(rows, self._measure, threads=THREADS, most=most)

    def _measure(self, row: Mapping[Any, Any]) -> tuple[PixelMeasures, Image.Image | None] | str:
        """One image's measures, with the picture where a scorer wants it; or why there are none."""
        try:
            image = decode_image(self._store.read(row["object_key"]), longest_side_px=self._side)
            return measure_pixels(image), image if self._scorers else None
        except ObjectNotFound:
            return "missing in the store"
        except StoreError as error:
            return f"cannot be read: {error}"
        except DownloadError as error:
            return f"cannot be decoded: {error}"

    def _take(self, row: Mapping[Any, Any], found: tuple[PixelMeasures, Image.Image | None] | str) -> None:
        image_id = str(row["image_id"])
        if isinstance(found, str):
            self._unmeasured.append(("", image_id, found))
            return
        measures, image = found
        scores = json.loads(self._known[image_id]["scores"]) if image_id in self._known else {}
        if image is not None:
            scores = self._scored(row, image, scores)
        self._known[image_id] = {
            "image_id": image_id,
            "sha256": row["sha256"],
            "measures_version": MEASURES_VERSION,
            "phash": measures.phash,
            "contrast": measures.contrast,
            "scores": json.dumps(scores, sort_keys=True, ensure_ascii=False),
        }

    def _scored(self, row: Mapping[Any, Any], image: Image.Image, scores: dict[str, Any]) -> dict[str, Any]:
        """The scores with what is missing added, one scorer after the other: a team's model need not bear threads."""
        shown = {str(name): None if _is_missing(value) else value for name, value in row.items()}
        for scorer in self._missing_scorers({"scores": json.dumps(scores)}):
            scores.pop(scorer.rule.function, None)
            try:
                scores[scorer.rule.function] = scorer.score(image, shown)
            except Exception as error:  # noqa: BLE001  # a team's function may raise anything; reported, and tried again next time
                reason = f"{scorer.rule.name} raised {type(error).__name__}: {error}"
                self._unmeasured.append((scorer.rule.name, str(row["image_id"]), reason))
        return scores

    def _table(self) -> pd.DataFrame:
        rows = [self._known[image_id] for image_id in self._images["image_id"] if image_id in self._known]
        return pd.DataFrame(rows, columns=list(MEASURE_COLUMNS)).astype(dict(MEASURE_COLUMNS))

    def _write(self) -> None:
        table = self._table()
        if not table.equals(self._before.reset_index(drop=True)):
            self._store.replace(self._key, to_parquet(table), content_type=PARQUET)
            self._before = table


def _decoded_side(scorers: Sequence[Scorer]) -> int:
    """How large the pictures are decoded: enough for all, 0 for as they are stored."""
    sides = [scorer.rule.longest_side_px for scorer in scorers]
    return 0 if 0 in sides else max([SIDE_PX, *sides])


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)
