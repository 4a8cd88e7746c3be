"""Claims about building a manifest again: from the events or from the earlier manifest, it is the same."""

import io
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedream_assets.ledger.events import Blocked, Failed, decode_event, encode_event
from seedream_assets.ledger.image_columns import ENDING_COLUMNS
from seedream_assets.manifest.build import endings_in, endings_of
from seedream_assets_tests.support.builders import make_plan, make_prompts
from seedream_assets_tests.support.manifest_builders import (
    ROW,
    make_completed,
    make_ended,
    make_manifest,
    make_owned,
    make_unfinished,
    requests_of,
)

WAYS_TO_END = {
    "completed": make_completed,
    "withheld": lambda request: make_completed(request, withheld={0}),
    "failed": lambda request: make_ended(Failed, request),
    "blocked before it was billed": lambda request: make_ended(
        Blocked, request, generation_id=None, cost_amount=None, cost_unit=None, submitted_at=None
    ),
    "bought for another": lambda request: make_completed(request, dataset="portraits", cost_amount=Decimal("0.0838")),
}


def stored_and_read(manifest: pd.DataFrame) -> pd.DataFrame:
    buffer = io.BytesIO()
    manifest.to_parquet(buffer)
    return pd.read_parquet(buffer)


def in_order(endings: pd.DataFrame) -> pd.DataFrame:
    return endings.sort_values(["request_id", "position"]).reset_index(drop=True)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 17)), min_size=1, max_size=4),
    st.lists(st.sampled_from([*WAYS_TO_END, "not yet"]), min_size=9, max_size=9),
)
@settings(max_examples=25, deadline=None)
def test_a_manifest_built_from_the_earlier_one_is_the_one_built_from_the_events(rows, ways):
    checked = make_prompts([ROW | {"prompt": prompt, "quantity": quantity} for prompt, quantity in rows])
    plan = make_plan(checked)
    requests = list(zip(requests_of(plan), ways, strict=False))
    events = [WAYS_TO_END[way](request) for request, way in requests if way != "not yet"]
    unfinished = make_unfinished(
        {request.request_id: ("pending", "not yet") for request, way in requests if way == "not yet"}
    )
    first = make_manifest(checked, plan, events, unfinished=unfinished)
    again = make_manifest(checked, plan, endings=endings_in(stored_and_read(first)), unfinished=unfinished)
    pd.testing.assert_frame_equal(again, first)
    assert set(endings_in(first)["request_id"]) == {event.request_id for event in events}


@pytest.mark.parametrize("way", [way for way in WAYS_TO_END if way != "bought for another"])
def test_a_manifest_gives_back_the_endings_it_was_built_from(way):
    checked = make_prompts([ROW | {"quantity": 9}])
    plan = make_plan(checked)
    endings = endings_of(WAYS_TO_END[way](request) for request in requests_of(plan))
    found = endings_in(stored_and_read(make_manifest(checked, plan, endings=endings)))
    pd.testing.assert_frame_equal(in_order(found), in_order(endings))
    assert list(found.columns) == list(ENDING_COLUMNS)


@pytest.mark.parametrize("way", WAYS_TO_END)
def test_events_read_from_the_store_make_the_same_manifest(way):
    checked = make_prompts([ROW | {"quantity": 2}])
    plan = make_plan(checked)
    events = [WAYS_TO_END[way](request) for request in requests_of(plan)]
    read = [decode_event(encode_event(event), key="key") for event in events]
    pd.testing.assert_frame_equal(make_manifest(checked, plan, read), make_manifest(checked, plan, events))


def test_a_request_that_was_wanted_in_part_is_read_from_its_event_again():
    (request,) = requests_of(make_plan(make_prompts([ROW | {"quantity": 8}])))
    owned, ended = make_owned([request]), make_completed(request)
    part, more = (make_prompts([ROW | {"quantity": quantity}]) for quantity in (3, 5))
    earlier = make_manifest(part, make_plan(part, owned), [ended])
    assert endings_in(earlier).empty
    manifest = make_manifest(more, make_plan(more, owned), [ended])
    assert manifest["status"].tolist() == ["stored"] * 5


def test_a_raised_quantity_leaves_the_rows_as_they_were_and_adds_to_them():
    before, after = (make_prompts([ROW | {"quantity": quantity}]) for quantity in (4, 10))
    first = make_plan(before)
    earlier = make_manifest(before, first, [make_completed(request) for request in requests_of(first)])
    manifest = make_manifest(after, make_plan(after, make_owned(requests_of(first))), endings=endings_in(earlier))
    assert manifest["status"].tolist() == ["stored"] * 4 + ["pending"] * 6
    pd.testing.assert_frame_equal(manifest.iloc[:4].drop(columns="prompt_id"), earlier.drop(columns="prompt_id"))


def test_a_row_that_goes_away_leaves_the_cost_with_the_next_that_shares_its_images():
    both = make_prompts([ROW | {"quantity": 2, "prompt_id": "a"}, ROW | {"quantity": 2, "prompt_id": "b"}])
    plan = make_plan(both)
    earlier = make_manifest(both, plan, [make_completed(request) for request in requests_of(plan)])
    left = make_prompts([ROW | {"quantity": 2, "prompt_id": "b"}])
    manifest = make_manifest(left, make_plan(left, make_owned(requests_of(plan))), endings=endings_in(earlier))
    assert manifest["cost_amount"].tolist() == [28.0, 28.0]
    assert not manifest["reused"].any()
