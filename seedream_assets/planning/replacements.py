"""Which further samples of a spec stand in for rejected ones.

A spec's samples are numbered, and a number is bought once. So nothing is taken back: where a row wants `quantity`
samples and r of them are rejected, it wants the samples `[0, quantity + r)`; where some of the new ones are rejected
too, that many more, round by round. The same rejects always give the same samples.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from seedream_assets.prompts.cells import IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacements:
    """The rejects that a plan answers.

    Attributes:
        max_rounds: How often a sample is replaced, its replacements included.
        rejected: Numbers of the rejected samples in rising order, by spec id.
    """

    max_rounds: int = 0
    rejected: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, samples: Iterable[tuple[str, int]], *, max_rounds: int) -> Replacements:
        """From (spec id, sample) of every rejected image."""
        numbers: dict[str, set[int]] = {}
        for spec_id, sample in samples:
            numbers.setdefault(spec_id, set()).add(int(sample))
        return cls(max_rounds=max_rounds, rejected={key: tuple(sorted(numbers[key])) for key in sorted(numbers)})

    def samples_wanted(self, spec_id: str, quantity: int, *, largest: int | None = None) -> int:
        """How many samples, from 0 on, give `quantity` good ones as far as it is known now.

        Args:
            spec_id: Whose samples.
            quantity: Images that a row wants.
            largest: The most samples that the spec can have: a row's seed counts up to the model's last one.
        """
        rejected = self.rejected.get(spec_id, ())
        wanted = quantity
        for _ in range(self.max_rounds if rejected else 0):
            more = quantity + bisect_left(rejected, wanted)
            if more == wanted:
                break
            wanted = more
        return wanted if largest is None else min(wanted, max(quantity, largest))

    def of_rows(self, spec_ids: pd.Series[str], quantities: IntArray, largest: IntArray) -> IntArray:
        """`samples_wanted` of every row, by position; rows of specs without rejects cost nothing."""
        samples = quantities.astype(np.int64)
        if self.max_rounds and self.rejected:
            for row in np.flatnonzero(spec_ids.isin(list(self.rejected)).to_numpy()):
                spec_id, quantity = spec_ids.iloc[int(row)], int(quantities[row])
                samples[row] = self.samples_wanted(spec_id, quantity, largest=int(largest[row]))
        return samples

    def to_facts(self) -> dict[str, Any]:
        """As JSON values, for the plan that answers them; empty where nothing is replaced."""
        if not self.max_rounds or not self.rejected:
            return {}
        return {"max_rounds": self.max_rounds, "rejected": {key: list(value) for key, value in self.rejected.items()}}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Replacements:
        """Back from what `to_facts` gave."""
        rejected = {key: tuple(value) for key, value in facts.get("rejected", {}).items()}
        return cls(max_rounds=int(facts.get("max_rounds", 0)), rejected=rejected)


NONE_REPLACED = Replacements()
