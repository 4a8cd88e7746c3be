"""Are the stored images what the manifest says? Every one is looked up; as many as asked for are read and decoded."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pandas as pd

from seedream_assets.core.errors import DownloadError, ObjectNotFound
from seedream_assets.core.images import LARGEST_DECODED_PIXELS, inspect_image
from seedream_assets.storage.object_store import ObjectStore

# Beyond this, objects are looked up by listing the whole folder instead of one by one.
MOST_LOOKED_UP_SINGLY = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong with one stored image."""

    image_id: str
    object_key: str
    problem: str


def check_images(store: ObjectStore, manifest: pd.DataFrame, *, most_read: int) -> tuple[list[Finding], int]:
    """Compare stored images with the manifest.

    All are looked up by key and size. Up to `most_read`, evenly spread, are read: they must decode, have the hash of
    the manifest and the pixels that were asked for.

    Returns:
        What is wrong, in the manifest's order, and how many images were read.
    """
    stored = manifest[manifest["status"] == "stored"].drop_duplicates("object_key")
    sizes = _sizes(store, stored["object_key"])
    findings = [
        Finding(image_id=row["image_id"], object_key=row["object_key"], problem=problem)
        for row in stored[["image_id", "object_key", "size_bytes"]].to_dict("records")
        if (problem := _size_problem(sizes.get(row["object_key"]), int(row["size_bytes"])))
    ]
    missing = {finding.object_key for finding in findings}
    readable = stored[~stored["object_key"].isin(missing)]
    step = max(1.0, len(readable) / most_read) if most_read else 1.0
    sample = readable.iloc[[int(place * step) for place in range(min(len(readable), most_read))]]
    with ThreadPoolExecutor(max_workers=8) as threads:
        for finding in threads.map(lambda row: _read_and_compare(store, row), sample.to_dict("records")):
            if finding is not None:
                findings.append(finding)
    return findings, len(sample)


def _sizes(store: ObjectStore, keys: Iterable[str]) -> dict[str, int]:
    wanted = list(keys)
    prefixes = wanted if len(wanted) <= MOST_LOOKED_UP_SINGLY else ["images/"]

    def listed(prefix: str) -> Iterator[tuple[str, int]]:
        return ((info.key, info.size_bytes) for info in store.list(prefix))

    with ThreadPoolExecutor(max_workers=8) as threads:
        return dict(pair for pairs in threads.map(lambda prefix: list(listed(prefix)), prefixes) for pair in pairs)


def _size_problem(found: int | None, expected: int) -> str | None:
    if found is None:
        return "missing"
    return None if found == expected else f"has {found} bytes, should have {expected}"


def _read_and_compare(store: ObjectStore, row: Mapping[Hashable, Any]) -> Finding | None:
    problem = _read_problem(store, row)
    return Finding(image_id=row["image_id"], object_key=row["object_key"], problem=problem) if problem else None


def _read_problem(store: ObjectStore, row: Mapping[Hashable, Any]) -> str | None:
    try:
        facts = inspect_image(store.read(row["object_key"]), largest_pixels=LARGEST_DECODED_PIXELS)
    except (DownloadError, ObjectNotFound) as error:
        return str(error)
    if facts.sha256 != row["sha256"]:
        return "has another hash than the manifest says"
    if (facts.width_px, facts.height_px) != (row["width"], row["height"]):
        return f"is {facts.width_px}x{facts.height_px}, asked for was {row['width']}x{row['height']}"
    return None
