"""From checked prompts to the plan: which requests are wanted, which of them are owned, and what the rest costs.

Planning spends nothing and asks the paid API nothing. The ledger's entries say what is owned; the wanted samples are cut
into requests evenly where nothing is owned, and around what is.

A spec's samples are numbered, and a number is bought once. So nothing is taken back: where a row wants `quantity`
samples and r of them are rejected, it wants the samples `[0, quantity + r)`; where some of the new ones are rejected
too, that many more, round by round. The same rejects always give the same samples.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from seedream_assets.budget.rules import DearPrices, dearest, kind_in
from seedream_assets.config.models import ModelCatalog, ModelSpec, credits_for
from seedream_assets.errors import LimitError, PromptTableError
from seedream_assets.ledger.state import FRESH, LedgerEntry, RequestState
from seedream_assets.leonardo.identity import request_id_for, seed_for, spec_id_for
from seedream_assets.leonardo.requests import GenerationRequest, GenerationSpec, Reference, refuse_outside_limits
from seedream_assets.prompts.cells import TEXT, IntArray

PLAN_COLUMNS: Mapping[str, str] = {
    "request_id": "string",
    "spec_id": "string",
    "start": "int64",
    "count": "int64",
    "seed": "int64",
    "row_seed": "Int64",
    "model": "string",
    "prompt": "string",
    "width": "int64",
    "height": "int64",
    "style": "string",
    "prompt_enhance": "string",
    "references": "string",
    "public": "bool",
    "wanted": "int64",
    "credits": "int64",
    "standing": "string",
    "attempt": "int64",
    "bought_for": "string",
    "row_number": "int64",
    "sample_rank": "Int64",
}
# What a spec's id is the hash of, besides its references.
_HASHED = ["model", "prompt", "width", "height", "style", "prompt_enhance", "seed"]
_SPEC_IN_PLAN = ["model", "prompt", "width", "height", "style", "prompt_enhance", "references"]
_ROWS_AT_ONCE = 1 << 15
_NOTHING = (np.zeros(0, dtype=np.int64),) * 3
# What of a request has limits.
_NUMBERS = ("width", "height", "count", "seed")
_WORDS = ("style", "prompt_enhance", "references")
_REQUEST = ["model", "prompt", "row_seed", "start", "public", *_NUMBERS, *_WORDS]


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


def specs_of(prompts: pd.DataFrame, reference_hashes: Mapping[str, str]) -> pd.DataFrame:
    """The spec of every accepted row: `spec_id` and what it is the hash of, under the frame's index.

    `references` is the JSON list of their identities, as it stands in the plan.

    Args:
        prompts: As `check_prompt_table` gives them.
        reference_hashes: SHA-256 of each reference image that is named by path or address.
    """
    codes, cells = pd.factorize(prompts["references"], use_na_sentinel=False)
    lists = [[reference.identity for reference in read_references(cell, reference_hashes)] for cell in cells]
    ids = [
        spec_id_for(references=lists[code], **values)
        for code, values in zip(codes.tolist(), _plain_rows(prompts[_HASHED]), strict=True)
    ]
    texts = pd.Series([json.dumps(identities) for identities in lists], dtype=TEXT)
    return prompts[_HASHED].assign(
        references=texts.take(codes).set_axis(prompts.index), spec_id=pd.Series(ids, dtype=TEXT, index=prompts.index)
    )


def read_references(cell: Any, hashes: Mapping[str, str]) -> tuple[Reference, ...]:
    """The references in a checked row's cell."""
    if not isinstance(cell, str) or cell in ("", "[]"):
        return ()
    return tuple(
        Reference(leonardo_id=item["id"], type=item["type"], strength=item["strength"])
        if "id" in item
        else Reference(sha256=hashes[item["source"]], strength=item["strength"])
        for item in json.loads(cell)
    )


def gather_wanted(specs: pd.DataFrame, prompts: pd.DataFrame) -> pd.DataFrame:
    """Every spec that a row wants, once, in order of the first such row. Rows that want the same picture share it.

    Columns: those of `specs_of`; `quantity` and `public`, the most that any row wants of it; `row_number` of the first.

    Args:
        specs: As `specs_of` gives them.
        prompts: The same rows, with `quantity`, `public` and `row_number`.
    """
    wishes = prompts[["quantity", "public", "row_number"]].groupby(specs["spec_id"], sort=False)
    most = wishes.agg({"quantity": "max", "public": "max", "row_number": "first"})
    return specs.drop_duplicates("spec_id").reset_index(drop=True).assign(**most.reset_index(drop=True))


def plan_requests(
    wanted: pd.DataFrame, *, models: ModelCatalog, entries_of: EntriesOf, existing_of: ExistingOf
) -> pd.DataFrame:
    """The plan: one row per request, in order of first want, columns and dtypes as `PLAN_COLUMNS`.

    `wanted` counts the samples of the request that the dataset wants; `credits` is the price of the whole request.
    Borders of requests that exist already are kept.

    Args:
        wanted: As `gather_wanted` gives it.
        models: Limits and prices.
        entries_of: The ledger.
        existing_of: Size and buyer of an existing request.

    Raises:
        BudgetError: A model's price is not known.
        LimitError: Something lies outside the limits.
    """
    model_of = {name: models.find(name) for name in wanted["model"].unique()}
    prices = {name: credits_for(model, 1) for name, model in model_of.items()}
    largest = wanted["model"].map({name: int(model.quantity.high) for name, model in model_of.items()})
    begun = BegunRequests(entries_of, existing_of)
    cuts = cut_around_owned(_plain(wanted["spec_id"]), wanted["quantity"].tolist(), largest.tolist(), begun)
    spec, start, count = (np.array(column, dtype=np.int64) for column in zip(*cuts, strict=True)) if cuts else _NOTHING
    specs = wanted.take(spec).reset_index(drop=True)
    ids = [request_id_for(spec_id, at) for spec_id, at in zip(_plain(specs["spec_id"]), start.tolist(), strict=True)]
    seeds = [
        seed_for(request_id, at, row_seed, model_of[model])
        for request_id, at, row_seed, model in zip(
            ids, start.tolist(), _plain(specs["seed"]), _plain(specs["model"]), strict=True
        )
    ]
    plan = pd.DataFrame(
        {
            "request_id": pd.Series(ids, dtype=TEXT),
            "spec_id": specs["spec_id"],
            "start": start,
            "count": count,
            "seed": seeds,
            "row_seed": specs["seed"],
            **{name: specs[name] for name in _SPEC_IN_PLAN},
            "public": specs["public"],
            "wanted": np.minimum(count, specs["quantity"] - start),
            "credits": specs["model"].map(prices).astype("int64") * count,
            **begun.columns(ids),
            "row_number": specs["row_number"],
            "sample_rank": pd.Series(pd.NA, index=specs.index, dtype="Int64"),
        }
    ).astype(dict(PLAN_COLUMNS))
    for error in outside_limits(plan, models).values():
        raise error
    return plan


def reckon_with(prices: DearPrices, plan: pd.DataFrame) -> pd.DataFrame:
    """The plan with `credits` by what images cost of late, where that was more than the price list says."""
    credits = plan["credits"].to_numpy()
    for kind in prices:
        model, width, height = kind_in(kind)
        rows = ((plan["model"] == model) & (plan["width"] == width) & (plan["height"] == height)).to_numpy(
            dtype=np.bool_
        )
        credits = np.where(rows, np.maximum(credits, dearest(prices, kind) * plan["count"].to_numpy()), credits)
    return plan.assign(credits=credits) if prices else plan


def read_plan(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[GenerationRequest, LedgerEntry]]:
    """The requests of a plan and where they stood, from its rows as plain values, one at a time.

    Raises:
        PromptTableError: The plan's rows do not belong to their ids: it was edited, or written by another version.
    """
    for row in rows:
        request = request_in(row)
        if request.request_id != row["request_id"]:
            raise PromptTableError(
                f"the plan's row for request {row['request_id']} does not belong to it; plan the dataset again"
            )
        yield request, LedgerEntry(state=RequestState(row["standing"]), attempt=row["attempt"])


def outside_limits(plan: pd.DataFrame, models: ModelCatalog) -> dict[int, LimitError]:
    """What the models refuse, by position in the plan, in its order; empty where all is well.

    The size of a request that somebody has begun was allowed when it was bought: a limit tightened since then takes
    nothing away.
    """
    free = plan["standing"] == RequestState.FREE.value
    asked = plan[_REQUEST].assign(count=plan["count"].where(free, 1)).reset_index(drop=True)
    refused: dict[int, LimitError] = {}
    for name, rows in asked.groupby("model", sort=False):
        model = models.find(str(name))
        if _refused(_extremes(rows), model):
            refused |= _refused(rows, model)
    return dict(sorted(refused.items()))


def request_in(row: Mapping[str, Any]) -> GenerationRequest:
    """The request that a plan's row stands for; its ids are those of what the row holds, not those that it claims."""
    spec = GenerationSpec(
        model=row["model"],
        prompt=row["prompt"],
        width=row["width"],
        height=row["height"],
        style=row["style"],
        prompt_enhance=row["prompt_enhance"],
        seed=None if pd.isna(row["row_seed"]) else row["row_seed"],
        references=tuple(Reference.from_identity(item) for item in json.loads(row["references"])),
    )
    return GenerationRequest(spec=spec, start=row["start"], count=row["count"], seed=row["seed"], public=row["public"])


def _extremes(rows: pd.DataFrame) -> pd.DataFrame:
    """A few rows that stand for all: every limit is a range, or a choice of one column's words.

    They are those with the smallest and the largest of every number, and with every word's first appearance.
    """
    numbers = [rows["prompt"].str.len(), *(rows[name] for name in _NUMBERS)]
    extremes = [int(at) for column in numbers for at in (column.argmin(), column.argmax())]
    firsts = [np.flatnonzero(~rows[name].duplicated()) for name in _WORDS]
    return rows.iloc[np.unique(np.concatenate([extremes, *firsts]))]


def _refused(rows: pd.DataFrame, model: ModelSpec) -> dict[int, LimitError]:
    """What the model refuses of these rows, by their index."""
    refused: dict[int, LimitError] = {}
    for at, row in zip(rows.index, _plain_rows(rows), strict=True):
        try:
            refuse_outside_limits(request_in(row), model)
        except LimitError as error:
            refused[int(at)] = error
    return refused


def _plain(column: pd.Series[Any]) -> list[Any]:
    """The values as Python's own, None where there is none."""
    values: Any = column  # the published types know no na_value of None
    if isinstance(column.dtype, pd.StringDtype):
        values = pa.array(column, from_pandas=True)  # pandas itself takes ten times as long over its own texts
        return list(values.to_numpy(zero_copy_only=False))
    return list(values.to_numpy(dtype=object, na_value=None))


def _plain_rows(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The rows as Python's own values; few at a time, so that few are in memory twice."""
    for start in range(0, len(frame), _ROWS_AT_ONCE):
        part = frame.iloc[start : start + _ROWS_AT_ONCE]
        for values in zip(*(_plain(part[name]) for name in frame.columns), strict=True):
            yield dict(zip(frame.columns, values, strict=True))


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
