"""Claims about the plan: it wants every image once, keeps what is owned, and quotes the rest before it is bought."""

from dataclasses import replace
from functools import cache

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seedream_assets.config.models import SEEDREAM_4_0, ModelCatalog, TighterLimits
from seedream_assets.errors import BudgetError, LimitError, PromptTableError
from seedream_assets.ledger.state import FRESH, LedgerEntry, RequestState
from seedream_assets.leonardo.requests import GenerationRequest, Reference
from seedream_assets.planning.plan import (
    PLAN_COLUMNS,
    Existing,
    gather_wanted,
    plan_requests,
    read_plan,
    read_references,
    specs_of,
)
from seedream_assets.prompts.settings import reference_sources
from seedream_assets.prompts.table import CheckedPrompts
from seedream_assets_tests.support.builders import (
    MODELS,
    OwnedRequests,
    make_paid_request,
    make_plan,
    make_prompts,
    make_spec,
)

DONE = LedgerEntry(state=RequestState.COMPLETED, attempt=0)
SOURCE = "s3://bucket/chair.png"
LEONARDO_ID = "0a1b2c3d-0000-4000-8000-123456789abc"
ROW = {"prompt": "a red chair", "width": 2048, "height": 1024}


def owning(*requests: tuple[int, int], entry: LedgerEntry = DONE, prompt: str = "a red chair") -> OwnedRequests:
    """A ledger with these requests of a spec, by start and count."""
    owned = OwnedRequests()
    for start, count in requests:
        owned.add(make_paid_request(start=start, count=count, prompt=prompt), entry)
    return owned


def plan_of(quantity: int, owned: OwnedRequests | None = None, **kwargs) -> pd.DataFrame:
    return make_plan(make_prompts([ROW | {"quantity": quantity}]), owned, **kwargs)


def wanted_by(checked: CheckedPrompts) -> pd.DataFrame:
    return gather_wanted(specs_of(checked.prompts, {}), checked.prompts)


def cut(plan: pd.DataFrame) -> list[tuple[int, int, str]]:
    """Start, images wanted of it, and standing of every request."""
    return list(zip(plan["start"], plan["wanted"], plan["standing"], strict=True))


def rows_of(plan: pd.DataFrame) -> list[dict[str, object]]:
    """Plain values, as they come out of a Parquet file."""
    return pa.Table.from_pandas(plan).to_pylist()


def read(plan: pd.DataFrame) -> list[tuple[GenerationRequest, LedgerEntry]]:
    return list(read_plan(rows_of(plan)))


@pytest.mark.parametrize("rows", [[], [ROW], [ROW | {"seed": 5}]])
def test_a_plan_has_just_its_columns_and_types_even_where_it_is_empty(rows):
    plan = make_plan(make_prompts(rows))
    assert plan.dtypes.astype(str).to_dict() == dict(PLAN_COLUMNS)
    assert len(plan) == len(rows)


@pytest.mark.parametrize(
    ("quantity", "owned", "expected"),
    [
        (2, [], [(0, 2, "free")]),
        (20, [], [(0, 8, "free"), (8, 8, "free"), (16, 4, "free")]),
        (4, [(0, 4)], [(0, 4, "completed")]),
        (10, [(0, 4)], [(0, 4, "completed"), (4, 6, "free")]),
        (10, [(0, 4), (4, 6)], [(0, 4, "completed"), (4, 6, "completed")]),
        (20, [(0, 4), (4, 6)], [(0, 4, "completed"), (4, 6, "completed"), (10, 8, "free"), (18, 2, "free")]),
        (2, [(0, 8)], [(0, 2, "completed")]),
        (5, [(0, 4), (4, 6)], [(0, 4, "completed"), (4, 1, "completed")]),
        (10, [(0, 8), (8, 2)], [(0, 8, "completed"), (8, 2, "completed")]),
        (10, [(0, 4), (8, 2)], [(0, 4, "completed"), (4, 4, "free"), (8, 2, "completed")]),
        (24, [(8, 3)], [(0, 8, "free"), (8, 3, "completed"), (11, 8, "free"), (19, 5, "free")]),
        (
            20,
            [(0, 4), (4, 4), (12, 8)],
            [(0, 4, "completed"), (4, 4, "completed"), (8, 4, "free"), (12, 8, "completed")],
        ),
    ],
)
def test_what_is_owned_keeps_its_borders_and_the_rest_is_planned_around_it(quantity, owned, expected):
    assert cut(plan_of(quantity, owning(*owned))) == expected


@pytest.mark.parametrize(
    "state", [state for state in RequestState if state is not RequestState.FREE], ids=lambda state: state.value
)
def test_a_request_that_somebody_began_is_planned_as_it_is_whatever_became_of_it(state):
    entry = LedgerEntry(state=state, attempt=1)
    assert cut(plan_of(10, owning((0, 4), entry=entry))) == [(0, 4, state.value), (4, 6, "free")]


def test_a_released_request_is_free_to_be_cut_anew():
    released = LedgerEntry(state=RequestState.FREE, attempt=1)
    plan = plan_of(10, owning((0, 4), entry=released))
    assert cut(plan) == [(0, 8, "free"), (8, 2, "free")]
    assert plan["attempt"].tolist() == [1, 0]


def test_a_tightened_limit_cuts_only_what_is_not_owned():
    models = ModelCatalog(TighterLimits(largest_quantity=3))
    plan = plan_of(14, owning((0, 8)), models=models)
    assert cut(plan) == [(0, 8, "completed"), (8, 3, "free"), (11, 3, "free")]


QUANTITIES_AND_WHAT_IS_BOUGHT = st.lists(
    st.tuples(st.integers(1, 30), st.integers(1, 8), st.frozensets(st.integers(0, 5))), min_size=1, max_size=6
)
MODELS_BY_LARGEST = {largest: ModelCatalog(TighterLimits(largest_quantity=largest)) for largest in range(1, 9)}


@cache
def one_row(quantity: int) -> pd.DataFrame:
    return wanted_by(make_prompts([ROW | {"quantity": quantity}]))


def buy_again_and_again(steps) -> None:
    """Buy some of what is planned at each step, and hold that no sample is bought twice and none is missing."""
    owned = owning((0, 1))
    bought = [0]
    for quantity, largest, buys in steps:
        plan = plan_requests(
            one_row(quantity),
            models=MODELS_BY_LARGEST[largest],
            entries_of=owned.entries_of,
            existing_of=owned.existing_of,
        )
        requests = read(plan)
        samples = [sample for request, _ in requests for sample in request.samples]
        assert samples == list(range(len(samples)))
        assert plan["wanted"].sum() == quantity <= len(samples)
        for number, (request, entry) in enumerate(requests):
            if number in buys and entry.state is RequestState.FREE:
                owned.add(request, DONE)
                bought += request.samples
    assert len(bought) == len(set(bought))


@given(QUANTITIES_AND_WHAT_IS_BOUGHT)
@example([(4, 8, {0}), (20, 8, {2}), (8, 8, {1}), (20, 8, {0, 1, 2, 3})])
@settings(max_examples=12, deadline=None)
def test_no_sample_is_bought_twice_and_none_is_missing_whatever_was_wanted_and_bought_before(steps):
    buy_again_and_again(steps)


@pytest.mark.slow
@given(QUANTITIES_AND_WHAT_IS_BOUGHT)
@settings(max_examples=300, deadline=None)
def test_the_same_over_many_more_histories(steps):
    buy_again_and_again(steps)


def test_rows_that_want_the_same_picture_share_its_requests():
    checked = make_prompts(
        [
            ROW | {"prompt_id": "a", "quantity": 2},
            ROW | {"prompt": "a blue chair", "prompt_id": "b", "quantity": 1},
            ROW | {"prompt_id": "c", "quantity": 5, "public": True},
            ROW | {"prompt_id": "d", "quantity": 3},
        ]
    )
    plan = make_plan(checked)
    assert cut(plan) == [(0, 5, "free"), (0, 1, "free")]
    assert plan["row_number"].tolist() == [1, 2]
    assert plan["public"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("rows", "quantity", "public"),
    [
        ([(2, False), (2, False)], 2, False),
        ([(2, False), (1, True)], 2, True),
        ([(1, True), (2, False)], 2, True),
        ([(2, True), (1, True)], 2, True),
    ],
)
def test_a_shared_picture_is_wanted_as_often_and_as_publicly_as_any_row_wants_it(rows, quantity, public):
    checked = make_prompts([ROW | {"quantity": quantity, "public": public} for quantity, public in rows])
    (wanted,) = wanted_by(checked).to_dict("records")
    assert wanted["spec_id"] == make_spec().spec_id
    assert (wanted["quantity"], wanted["public"], wanted["row_number"]) == (quantity, public, 1)


def test_references_are_planned_by_their_content_and_read_again():
    checked = make_prompts(
        [ROW | {"references": f"{SOURCE} | GENERATED:{LEONARDO_ID}", "reference_strength": "HIGH"}, ROW]
    )
    plan = make_plan(checked, hashes={SOURCE: "ab" * 32})
    request, _ = read(plan)[0]
    assert request.spec.references == (
        Reference(sha256="ab" * 32, strength="HIGH"),
        Reference(leonardo_id=LEONARDO_ID, type="GENERATED", strength="HIGH"),
    )
    assert plan["references"].tolist()[1] == "[]"


@pytest.mark.parametrize("cell", [None, "", "[]", pd.NA])
def test_a_row_without_references_has_none(cell):
    assert read_references(cell, {}) == ()


def test_every_reference_image_is_named_once_in_order():
    cells = [f"b.png | {SOURCE}", "", f"GENERATED:{LEONARDO_ID} | a.png", "b.png"]
    checked = make_prompts([ROW | {"references": cell} for cell in cells])
    assert reference_sources(checked.prompts) == ["b.png", SOURCE, "a.png"]
    assert reference_sources(pd.DataFrame({"references": ["", None]})) == []


def test_a_plan_reads_back_as_the_requests_it_was_made_of():
    rows = [ROW, ROW | {"seed": 7, "quantity": 9, "public": True}, ROW | {"style": "Cinematic", "prompt_enhance": "ON"}]
    owned = owning((0, 1), entry=LedgerEntry(state=RequestState.OPEN, attempt=2))
    assert read(make_plan(make_prompts(rows), owned)) == [
        (make_paid_request(count=1), LedgerEntry(state=RequestState.OPEN, attempt=2)),
        (make_paid_request(count=8, seed=7, public=True), FRESH),
        (make_paid_request(start=8, count=1, seed=7, public=True), FRESH),
        (make_paid_request(count=1, style="Cinematic", prompt_enhance="ON"), FRESH),
    ]


@pytest.mark.parametrize(
    "edit",
    [
        {"prompt": "a blue chair"},
        {"model": "seedream-4.5"},
        {"width": 1024},
        {"height": 2048},
        {"style": "Cinematic"},
        {"prompt_enhance": "ON"},
        {"row_seed": 1},
        {"references": '[{"sha256": "ab", "strength": "MID"}]'},
        {"start": 1},
        {"request_id": "a" * 64},
    ],
    ids=str,
)
def test_an_edited_plan_is_refused(edit):
    (row,) = rows_of(plan_of(1))
    with pytest.raises(PromptTableError, match="does not belong to it; plan the dataset again"):
        list(read_plan([row | edit]))


def test_a_plan_outside_the_limits_is_refused():
    checked = make_prompts([ROW])
    models = ModelCatalog(TighterLimits(largest_width=1024))
    with pytest.raises(LimitError, match="width: got 2048"):
        make_plan(checked, models=models)


def test_a_plan_at_an_unknown_price_is_refused():
    class Unpriced(ModelCatalog):
        def find(self, name):
            return replace(super().find(name), price=None)

    with pytest.raises(BudgetError, match=r"price of seedream-4\.0 is not known"):
        make_plan(make_prompts([ROW]), models=Unpriced())


def test_the_ledger_is_asked_for_many_requests_at_a_time():
    asked: list[int] = []

    def entries_of(request_ids):
        asked.append(len(list(request_ids)))
        return {}

    checked = make_prompts([ROW | {"prompt": f"chair {number}", "quantity": 16} for number in range(50)])
    plan = plan_requests(
        wanted_by(checked),
        models=MODELS,
        entries_of=entries_of,
        existing_of=lambda *_: Existing(count=SEEDREAM_4_0.default_quantity, bought_for="scenes"),
    )
    assert asked == [100] == [len(plan)]
