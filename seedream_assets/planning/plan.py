"""From checked prompts to the plan: which requests are wanted, which of them are owned, and what the rest costs.

Planning spends nothing and asks the paid API nothing. The ledger's entries say what is owned.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from seedream_assets.budget.rules import DearPrices, dearest, kind_in
from seedream_assets.config.models import ModelCatalog, ModelSpec, credits_for
from seedream_assets.errors import PromptTableError
from seedream_assets.ledger.state import LedgerEntry, RequestState
from seedream_assets.leonardo.identity import request_id_for, seed_for, spec_id_for
from seedream_assets.leonardo.requests import GenerationRequest, Reference
from seedream_assets.planning.plan_cuts import BegunRequests, Cuts, EntriesOf, ExistingOf, cuts_around
from seedream_assets.planning.plan_rows import outside_limits, request_in
from seedream_assets.prompts.cells import TEXT, IntArray, taken

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
# Columns that came later, with what a plan that was written before them is read as.
LATER_PLAN_COLUMNS: Mapping[str, Any] = {"bought_for": None, "sample_rank": None}
# How many samples of each row's spec give its quantity: of the specs and the quantities, row by row.
SamplesOf = Callable[[pd.DataFrame, IntArray], IntArray]


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


def gather_wanted(
    prompts: pd.DataFrame,
    reference_hashes: Mapping[str, str],
    samples_of: SamplesOf = lambda _specs, quantities: quantities,
) -> pd.DataFrame:
    """Every spec that a row wants, once, in order of the first such row. Rows that want the same picture share it.

    Columns: those of `specs_of`; `quantity` and `public`, the most that any row wants of it; `row_number` of the first.

    Args:
        prompts: As `check_prompt_table` gives them.
        reference_hashes: As `specs_of` takes them.
        samples_of: How many samples a row's quantity takes, where some are rejected.
    """
    specs = specs_of(prompts, reference_hashes)
    codes, _ = pd.factorize(specs["spec_id"])
    firsts = np.flatnonzero(~specs["spec_id"].duplicated())
    quantity, public = np.zeros(len(firsts), dtype=np.int64), np.zeros(len(firsts), dtype=np.bool_)
    np.maximum.at(quantity, codes, samples_of(specs, prompts["quantity"].to_numpy()))
    np.logical_or.at(public, codes, prompts["public"].to_numpy(dtype=np.bool_))
    row_number = prompts["row_number"].to_numpy()[firsts]
    return taken(specs, firsts).assign(quantity=quantity, public=public, row_number=row_number)


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
    quantity, models_of = wanted["quantity"].to_numpy(), _ModelColumn(wanted["model"], models)
    largest = models_of.numbers(lambda model: int(model.quantity.high))
    cuts = Cuts.evenly(quantity, largest)
    specs = taken(wanted, cuts.spec)
    ids = _request_ids(specs, cuts)
    begun = BegunRequests(entries_of, existing_of)
    begun.ask_for(ids)
    around_owned = cuts_around(begun, wanted["spec_id"], quantity, largest, cuts, ids)
    if around_owned:
        cuts = cuts.replaced(around_owned)
        specs = taken(wanted, cuts.spec)
        ids = _request_ids(specs, cuts)
    seeds = [
        seed_for(request_id, start, None if row_seed is pd.NA else row_seed, models.find(model))
        for request_id, start, row_seed, model in zip(
            ids, cuts.start.tolist(), specs["seed"].tolist(), specs["model"], strict=True
        )
    ]
    prices = models_of.numbers(lambda model: credits_for(model, 1))[cuts.spec]
    plan = pd.DataFrame(
        {
            "request_id": ids,
            "spec_id": specs["spec_id"],
            "start": cuts.start,
            "count": cuts.count,
            "seed": np.array(seeds, dtype=np.int64),
            "row_seed": specs["seed"],
            **{name: specs[name] for name in _SPEC_IN_PLAN},
            "public": specs["public"],
            "wanted": np.minimum(cuts.count, quantity[cuts.spec] - cuts.start),
            "credits": prices * cuts.count,
            **begun.columns(ids),
            "row_number": specs["row_number"],
            "sample_rank": pd.arrays.IntegerArray(np.zeros_like(cuts.start), np.ones(len(cuts.start), dtype=np.bool_)),
        }
    )
    for error in outside_limits(plan, models).values():
        raise error
    return plan.astype({name: dtype for name, dtype in PLAN_COLUMNS.items() if str(plan[name].dtype) != dtype})


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


_HASHED = ["model", "prompt", "width", "height", "style", "prompt_enhance", "seed"]
_SPEC_IN_PLAN = ("model", "prompt", "width", "height", "style", "prompt_enhance", "references")
_ROWS_AT_ONCE = 1 << 15


def _plain_rows(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The rows as Python's own values, None where there is none; few at a time, so that few are in memory twice."""
    for start in range(0, len(frame), _ROWS_AT_ONCE):
        part = frame.iloc[start : start + _ROWS_AT_ONCE]
        columns = [part[name].astype(object).where(part[name].notna(), None).tolist() for name in frame.columns]
        for values in zip(*columns, strict=True):
            yield dict(zip(frame.columns, values, strict=True))


def _request_ids(specs: pd.DataFrame, cuts: Cuts) -> pd.Series[str]:
    pairs = zip(specs["spec_id"], cuts.start.tolist(), strict=True)
    return pd.Series([request_id_for(spec_id, start) for spec_id, start in pairs], dtype=TEXT)


class _ModelColumn:
    """A column of models' names; each model is looked up once."""

    def __init__(self, names: pd.Series[str], models: ModelCatalog) -> None:
        self._codes, found = pd.factorize(names)
        self._models = [models.find(name) for name in found]

    def numbers(self, of: Callable[[ModelSpec], int]) -> IntArray:
        """One number of each row's model."""
        return np.array([of(model) for model in self._models], dtype=np.int64)[self._codes]


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
