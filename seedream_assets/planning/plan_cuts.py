"""How the wanted samples are cut into requests: evenly where nothing is owned, and around what is.

Whole columns at once where all of a spec's requests are free, or all are owned just as an even cut would buy them; one
spec at a time where they are not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from seedream_assets.ledger.state import FRESH, LedgerEntry, RequestState
from seedream_assets.leonardo.identity import request_id_for
from seedream_assets.prompts.cells import TEXT, IntArray

# Where requests stand that anybody has begun, asked for many at a time; the others may be left out.
EntriesOf = Callable[[Collection[str]], Mapping[str, LedgerEntry]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """What is known of a request that exists, from its intent or from a manifest.

    Attributes:
        count: Images that it was sent for.
        bought_for: The dataset that bought it.
    """

    count: int
    bought_for: str


# None where nothing is known of it but that it must not be touched.
ExistingOf = Callable[[str, LedgerEntry], Existing | None]


@dataclass(frozen=True, slots=True)
class Cuts:
    """How the wanted samples are cut into requests: position of the spec, start and count of each, by spec and start."""

    spec: IntArray
    start: IntArray
    count: IntArray

    @classmethod
    def evenly(cls, quantity: IntArray, largest: IntArray) -> Cuts:
        """As `cut_samples` cuts where nothing is owned."""
        requests = -(-quantity // largest)
        spec = np.repeat(np.arange(len(quantity)), requests)
        start = (np.arange(len(spec)) - np.repeat(np.cumsum(requests) - requests, requests)) * largest[spec]
        return cls(spec, start, np.minimum(largest[spec], quantity[spec] - start))

    def replaced(self, recut: Mapping[int, list[tuple[int, int]]]) -> Cuts:
        """The same with other cuts for some specs."""
        kept = ~np.isin(self.spec, list(recut))
        others = [(spec, start, count) for spec, cut in recut.items() for start, count in cut]
        spec, start, count = (
            np.concatenate([old[kept], np.array(new, dtype=np.int64)])
            for old, new in zip((self.spec, self.start, self.count), zip(*others, strict=True), strict=True)
        )
        order = np.argsort(spec, kind="stable")
        return Cuts(spec[order], start[order], count[order])


def cut_samples(quantity: int, *, largest: int, owned: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """Start and count of the requests that together hold samples `[0, quantity)`, in order of start.

    Args:
        quantity: How many samples are wanted; 1 or more.
        largest: Images that one request may ask for.
        owned: Sizes of the requests that exist already, by start. Their borders are kept: a dataset that wants 10
            samples where 4 are owned buys `[4, 10)`, and stops before the next one that is owned.
    """
    start = 0
    while start < quantity:
        count = owned.get(start)
        if count is None:
            following = min((border for border in owned if border > start), default=quantity)
            count = min(largest, quantity - start, following - start)
        yield start, count
        start += count


class BegunRequests:
    """The requests that somebody has begun, as far as the ledger was asked."""

    def __init__(self, entries_of: EntriesOf, existing_of: ExistingOf) -> None:
        self._entries_of, self._existing_of = entries_of, existing_of
        self._entries: dict[str, LedgerEntry] = {}
        self._existing: dict[str, Existing] = {}

    def ask_for(self, request_ids: Collection[str]) -> None:
        """Learn from the ledger where these stand."""
        self._entries.update(self._entries_of(request_ids))

    def count(self, request_id: str) -> int | None:
        """How many images a request holds; None where it is free, or not known."""
        entry = self._entries.get(request_id, FRESH)
        if entry.state is RequestState.FREE:
            return None
        if request_id not in self._existing:
            existing = self._existing_of(request_id, entry)
            if existing is None:
                return None
            self._existing[request_id] = existing
        return self._existing[request_id].count

    def __bool__(self) -> bool:
        return bool(self._entries)

    def columns(self, request_ids: pd.Series[str]) -> dict[str, Any]:
        """`entry`, `attempt` and `bought_for` of every request."""
        rows = len(request_ids)
        if not self:
            attempts = np.full(rows, FRESH.attempt)
            return {
                "standing": pd.Series(FRESH.state.value, index=range(rows), dtype=TEXT),
                "attempt": attempts,
                "bought_for": pd.Series(None, index=range(rows), dtype=TEXT),
            }
        names = request_ids.tolist()
        entries = [self._entries.get(name, FRESH) for name in names]
        buyers = [self._existing[name].bought_for if name in self._existing else None for name in names]
        return {
            "standing": pd.Series([entry.state.value for entry in entries], dtype=TEXT),
            "attempt": np.array([entry.attempt for entry in entries], dtype=np.int64),
            "bought_for": pd.Series(buyers, dtype=TEXT),
        }


def cuts_around(
    begun: BegunRequests,
    spec_ids: pd.Series[str],
    quantity: IntArray,
    largest: IntArray,
    cuts: Cuts,
    ids: pd.Series[str],
) -> dict[int, list[tuple[int, int]]]:
    """Start and count of a spec's requests, by its position, where what is owned is not just what `cuts` would buy.

    Args:
        begun: Has been asked for every one of `ids`.
        spec_ids, quantity, largest: Of every wanted spec.
        cuts: Even ones.
        ids: The requests that `cuts` make.
    """
    if not begun:
        return {}
    counts = np.array([begun.count(request_id) or 0 for request_id in ids], dtype=np.int64)
    has_owned, has_other = np.zeros(len(quantity), dtype=np.bool_), np.zeros(len(quantity), dtype=np.bool_)
    has_owned[cuts.spec[counts > 0]] = True
    has_other[cuts.spec[counts != cuts.count]] = True
    doubtful = has_owned & has_other
    borders: dict[int, dict[int, int]] = {spec: {} for spec in np.flatnonzero(doubtful).tolist()}
    for row in np.flatnonzero(doubtful[cuts.spec] & (counts > 0)).tolist():
        borders[int(cuts.spec[row])][int(cuts.start[row])] = int(counts[row])

    def cut(spec: int) -> list[tuple[int, int]]:
        return list(cut_samples(int(quantity[spec]), largest=int(largest[spec]), owned=borders[spec]))

    # Where something is left to buy, a request may stand between the even cuts; each start is asked for.
    unsettled = [spec for spec in borders if any(start not in borders[spec] for start, _ in cut(spec))]
    names = {
        request_id_for(spec_ids.iloc[spec], start): (spec, start)
        for spec in unsettled
        for start in range(int(quantity[spec]))
    }
    begun.ask_for(names)
    for request_id, (spec, start) in names.items():
        count = begun.count(request_id)
        if count is not None:
            borders[spec][start] = count
    return {spec: cut(spec) for spec in borders}
