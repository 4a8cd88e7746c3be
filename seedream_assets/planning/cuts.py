"""How the wanted samples are cut into requests: evenly where nothing is owned, and around what is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from seedream_assets.ledger.state import FRESH, LedgerEntry, RequestState
from seedream_assets.leonardo.identity import request_id_for
from seedream_assets.prompts.cells import TEXT

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


class BegunRequests:
    """The requests that somebody has begun, as far as the ledger was asked."""

    def __init__(self, entries_of: EntriesOf, existing_of: ExistingOf) -> None:
        self._entries_of, self._existing_of = entries_of, existing_of
        self._entries: dict[str, LedgerEntry] = {}
        self._existing: dict[str, Existing] = {}

    def ask_for(self, request_ids: Collection[str]) -> None:
        """Learn from the ledger where these stand, and of those that were begun, what they hold."""
        begun = {name: entry for name, entry in self._entries_of(request_ids).items() if name not in self._entries}
        self._entries.update(begun)
        for name, entry in begun.items():
            existing = self._existing_of(name, entry) if entry.state is not RequestState.FREE else None
            if existing is not None:
                self._existing[name] = existing

    def counts(self, spec_id: str, starts: Iterable[int]) -> dict[int, int]:
        """How many images a spec's requests hold, by start; without those that are free, or not known."""
        names = {start: request_id_for(spec_id, start) for start in starts} if self._existing else {}
        return {start: self._existing[name].count for start, name in names.items() if name in self._existing}

    def columns(self, request_ids: Sequence[str]) -> dict[str, Any]:
        """`standing`, `attempt` and `bought_for` of every request."""
        entries = [self._entries.get(name, FRESH) for name in request_ids]
        buyers = [self._existing[name].bought_for if name in self._existing else None for name in request_ids]
        return {
            "standing": pd.Series([entry.state.value for entry in entries], dtype=TEXT),
            "attempt": [entry.attempt for entry in entries],
            "bought_for": pd.Series(buyers, dtype=TEXT),
        }


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


def cut_around_owned(
    spec_ids: Sequence[str], quantities: Sequence[int], largest: Sequence[int], begun: BegunRequests
) -> list[tuple[int, int, int]]:
    """The requests for all specs: position of the spec, start and count, in order.

    The ledger is asked twice at the most: for every spec as if nothing were owned, and then, where a part of a spec is
    owned, for every sample at which another of its requests may begin.
    """

    def cut(at: int) -> list[tuple[int, int]]:
        return list(cut_samples(quantities[at], largest=largest[at], owned=owned.get(at, {})))

    owned: dict[int, dict[int, int]] = {}
    cuts = [cut(at) for at in range(len(spec_ids))]
    begun.ask_for([request_id_for(spec_ids[at], start) for at, spec in enumerate(cuts) for start, _ in spec])
    for at, spec in enumerate(cuts):
        if counts := begun.counts(spec_ids[at], (start for start, _ in spec)):
            owned[at] = counts
            cuts[at] = cut(at)
    partly = [at for at in owned if any(start not in owned[at] for start, _ in cuts[at])]
    if partly:
        begun.ask_for([request_id_for(spec_ids[at], start) for at in partly for start in range(quantities[at])])
    for at in partly:
        owned[at] = begun.counts(spec_ids[at], range(quantities[at]))
        cuts[at] = cut(at)
    return [(at, start, count) for at, spec in enumerate(cuts) for start, count in spec]
