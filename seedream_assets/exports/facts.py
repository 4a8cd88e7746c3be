"""What a card and a Croissant file tell of a dataset, counted while its manifests are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from seedream_assets.budget.costs import QUOTED

_COUNTED = ("model", "style", "prompt_enhance", "code_version")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """Counts and ranges over the exported images; maps are sorted by what occurs most, then by name.

    Attributes:
        wanted: Rows of the manifests, exported or not.
        size_bytes: Of the exported images.
        prompts: Different prompts among them.
        partitions: How many have an exported image.
        by_model, by_style, by_prompt_enhance, by_code_version: Images.
        by_pixels: Images by `width × height` of the files.
        tables: Names of the prompt tables, without their folders, each with its SHA-256.
        with_references: Images made with a reference image.
        first, last: When generations were submitted first and completed last.
        costs: By unit, what was only quoted apart; an image that another dataset paid for costs nothing here.
    """

    wanted: int
    size_bytes: int
    prompts: int
    partitions: int
    by_model: Mapping[str, int]
    by_style: Mapping[str, int]
    by_prompt_enhance: Mapping[str, int]
    by_code_version: Mapping[str, int]
    by_pixels: Mapping[str, int]
    tables: tuple[tuple[str, str], ...]
    with_references: int
    first: datetime | None
    last: datetime | None
    costs: Mapping[str, float]


class FactsCollector:
    """Adds up the facts, partition by partition."""

    def __init__(self) -> None:
        self.formats: Counter[str] = Counter()
        self._wanted = 0
        self._size_bytes = 0
        self._prompts: set[bytes] = set()
        self._partitions: set[str] = set()
        self._counted: dict[str, Counter[str]] = {name: Counter() for name in _COUNTED}
        self._pixels: Counter[str] = Counter()
        self._tables: set[tuple[str, str]] = set()
        self._with_references = 0
        self._times: list[datetime] = []
        self._costs: Counter[str] = Counter()

    def add(self, manifest: pa.Table, kept: pa.Table) -> None:
        """A partition: all of its manifest, and the rows that are exported."""
        self._wanted += manifest.num_rows
        self._size_bytes += pc.sum(kept["size_bytes"]).as_py() or 0
        self._prompts.update(bytes.fromhex(digest) for digest in column_of(kept, "prompt_sha256"))
        self._partitions.update(column_of(kept, "partition"))
        for name, counter in self._counted.items():
            counter.update(column_of(kept, name))
        widths, heights = column_of(kept, "width_px"), column_of(kept, "height_px")
        self._pixels.update(f"{width} × {height}" for width, height in zip(widths, heights, strict=True))
        self.formats.update(key.rpartition(".")[2] for key in column_of(kept, "object_key"))
        for uri, digest in zip(column_of(kept, "table_uri"), column_of(kept, "table_sha256"), strict=True):
            self._tables.add((str(uri).rpartition("/")[2], str(digest)))
        self._with_references += sum(1 for given in column_of(kept, "references") if given not in (None, "", "[]"))
        for column in ("submitted_at", "completed_at"):
            times = [pc.min(kept[column]).as_py(), pc.max(kept[column]).as_py()]
            self._times += [time for time in times if time is not None]
        costs = (column_of(kept, name) for name in ("cost_amount", "cost_unit", "credits_quoted", "reused"))
        for amount, unit, quoted, reused in zip(*costs, strict=True):
            if unit is not None:
                self._costs[unit] += amount or 0
            elif not reused:
                self._costs[QUOTED] += quoted or 0  # no answer told a cost

    def facts(self) -> DatasetFacts:
        """What was added up."""
        return DatasetFacts(
            wanted=self._wanted,
            size_bytes=self._size_bytes,
            prompts=len(self._prompts),
            partitions=len(self._partitions),
            by_model=_most_first(self._counted["model"]),
            by_style=_most_first(self._counted["style"]),
            by_prompt_enhance=_most_first(self._counted["prompt_enhance"]),
            by_code_version=_most_first(self._counted["code_version"]),
            by_pixels=_most_first(self._pixels),
            tables=tuple(sorted(self._tables)),
            with_references=self._with_references,
            first=min(self._times, default=None),
            last=max(self._times, default=None),
            costs=dict(sorted((unit, round(float(amount), 4)) for unit, amount in self._costs.items())),
        )


def column_of(table: pa.Table, name: str) -> list[Any]:
    """A column's values."""
    return table[name].to_pylist()


def _most_first(counted: Counter[str]) -> dict[str, int]:
    known = [(str(name), count) for name, count in counted.items() if name is not None]
    return dict(sorted(known, key=lambda pair: (-pair[1], pair[0])))
