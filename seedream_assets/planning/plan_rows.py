"""A plan's rows as the requests they stand for, and whether the models' limits allow a million of them.

Every limit is a range or a choice of one parameter. So the extremes and the distinct words of a model's requests stand
for all of them; only where one of those is refused is each request looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from seedream_assets.config.models import ModelCatalog, ModelSpec
from seedream_assets.errors import LimitError
from seedream_assets.ledger.state import RequestState
from seedream_assets.leonardo.requests import GenerationRequest, GenerationSpec, Reference, refuse_outside_limits
from seedream_assets.prompts.cells import taken

_NUMBERS = ("width", "height", "count", "seed")
_WORDS = ("style", "prompt_enhance", "references")
_REQUEST = ["model", "prompt", "row_seed", "start", "public", *_NUMBERS, *_WORDS]


def outside_limits(plan: pd.DataFrame, models: ModelCatalog) -> dict[int, LimitError]:
    """What the models refuse, by position in the plan, in its order; empty where all is well.

    The size of a request that somebody has begun was allowed when it was bought: a limit tightened since then takes
    nothing away.
    """
    free = (plan["standing"] == RequestState.FREE.value).to_numpy(dtype=np.bool_)
    asked = plan.assign(count=np.where(free, plan["count"], 1))
    refused: dict[int, LimitError] = {}
    codes, names = pd.factorize(asked["model"])
    for code, name in enumerate(names):
        rows, model = np.flatnonzero(codes == code), models.find(name)
        of_model = taken(asked, rows)
        if _refused(of_model, _entry_for_all(of_model), model):
            refused |= {int(rows[at]): error for at, error in _refused(of_model, range(len(rows)), model).items()}
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


def _entry_for_all(plan: pd.DataFrame) -> list[int]:
    """Positions of the smallest and the largest of every number, and of every word's first appearance."""
    numbers = [plan["prompt"].str.len().to_numpy(), *(plan[name].to_numpy() for name in _NUMBERS)]
    extremes = {int(at) for column in numbers for at in (column.argmin(), column.argmax())}
    firsts = {int(at) for name in _WORDS for at in np.flatnonzero(~plan[name].duplicated().to_numpy())}
    return sorted(extremes | firsts)


def _refused(plan: pd.DataFrame, positions: Iterable[int], model: ModelSpec) -> dict[int, LimitError]:
    refused: dict[int, LimitError] = {}
    positions = list(positions)
    rows: list[Any] = plan[_REQUEST].iloc[positions].to_dict("records")
    for at, row in zip(positions, rows, strict=True):
        try:
            refuse_outside_limits(request_in(row), model)
        except LimitError as error:
            refused[at] = error
    return refused
