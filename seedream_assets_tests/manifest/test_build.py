"""Claims about the manifest: one row per wanted image, whatever became of it, with its cost and its whole origin."""

from decimal import Decimal
from hashlib import sha256

import pandas as pd
import pytest

from seedream_assets.ledger.events import Blocked, Failed
from seedream_assets.ledger.image_columns import ENDING_COLUMNS, MANIFEST_COLUMNS, UTC_TIME, extra_column_name
from seedream_assets.leonardo.identity import image_id_for
from seedream_assets.manifest.build import FINAL_STATUSES, STATUSES, endings_in, endings_of
from seedream_assets_tests.support.builders import NOON, make_paid_request, make_plan, make_prompts
from seedream_assets_tests.support.manifest_builders import (
    ROW,
    TABLES,
    make_completed,
    make_ended,
    make_manifest,
    make_owned,
    make_unfinished,
    requests_of,
)

REQUEST = make_paid_request(count=4)


def test_the_statuses_are_those_that_the_rest_of_the_project_knows():
    assert {
        "stored",
        "withheld",
        "blocked",
        "failed",
        "uncertain",
        "over_budget",
        "awaiting_approval",
        "pending",
    } == set(STATUSES)
    assert STATUSES[:4] == FINAL_STATUSES


@pytest.mark.parametrize("rows", [[], [ROW], [ROW | {"quantity": 9, "seed": 4, "note": "x"}]])
@pytest.mark.parametrize("ended", [False, True])
def test_a_manifest_has_one_row_per_wanted_image_and_just_its_columns_and_types(rows, ended):
    checked = make_prompts(rows)
    plan = make_plan(checked)
    events = [make_completed(request) for request in requests_of(plan)] if ended else []
    manifest = make_manifest(checked, plan, events)
    assert len(manifest) == checked.prompts["quantity"].sum()
    own = manifest[list(MANIFEST_COLUMNS)]
    assert own.dtypes.astype(str).to_dict() == {
        name: "datetime64[us, UTC]" if kind == UTC_TIME else kind for name, kind in MANIFEST_COLUMNS.items()
    }
    assert list(manifest.columns) == [*MANIFEST_COLUMNS, *checked.extra_columns.columns]
    assert manifest["image_id"].is_unique
    assert (manifest["status"] == ("stored" if ended else "pending")).all()


def test_a_row_tells_everything_from_the_prompt_to_the_bytes():
    checked = make_prompts([ROW | {"quantity": 4, "prompt_id": "chair"}])
    manifest = make_manifest(checked, make_plan(checked), [make_completed(REQUEST)])
    row = {name: None if manifest[name].isna()[2] else manifest[name][2] for name in manifest.columns}
    image_id = image_id_for(REQUEST.request_id, 2)
    assert row == {
        "image_id": image_id,
        "request_id": REQUEST.request_id,
        "spec_id": REQUEST.spec.spec_id,
        "sample": 2,
        "dataset": "scenes",
        "partition": "all",
        "row_number": 1,
        "prompt_id": "chair",
        "prompt": "a red chair",
        "prompt_sha256": sha256(b"a red chair").hexdigest(),
        "model": "seedream-4.0",
        "width": 2048,
        "height": 1024,
        "seed": REQUEST.seed,
        "style": "None",
        "prompt_enhance": "OFF",
        "references": "[]",
        "status": "stored",
        "reason": None,
        "rejected": False,
        "reject_reasons": None,
        "nsfw": False,
        "generation_id": "generation-1",
        "provider_image_id": "provider-2",
        "source_url": "https://cdn.example/2.jpg",
        "object_key": f"images/{image_id[:2]}/{image_id}.jpg",
        "format": "JPEG",
        "width_px": 2048,
        "height_px": 1024,
        "size_bytes": 1002,
        "sha256": "02" * 32,
        "source_sha256": "02" * 32,
        "marks": None,
        "unmarked": None,
        "credits_quoted": 28.0,
        "cost_amount": 28.0,
        "cost_unit": "CREDITS",
        "reused": False,
        "submitted_at": pd.Timestamp(NOON),
        "completed_at": pd.Timestamp(NOON),
        "dagster_run_id": None,
        "run_id": "run-1",
        "bought_for": "scenes",
        "request_start": 0,
        "request_count": 4,
        "code_version": "1.2.3",
        "table_uri": TABLES["table_uri"][0],
        "table_sha256": "cd" * 32,
    }


@pytest.mark.parametrize(
    ("kind", "status", "generation_id"),
    [(Failed, "failed", "generation-1"), (Blocked, "blocked", "generation-1"), (Blocked, "blocked", None)],
)
def test_a_request_that_ended_without_images_is_a_row_with_its_reason_and_cost_for_each(kind, status, generation_id):
    checked = make_prompts([ROW | {"quantity": 4}])
    event = make_ended(kind, REQUEST, generation_id=generation_id, cost_amount=Decimal("0.1676"), cost_unit="DOLLARS")
    manifest = make_manifest(checked, make_plan(checked), [event])
    assert manifest["status"].tolist() == [status] * 4
    assert set(manifest["reason"]) == {"no luck"}
    assert manifest["generation_id"].isna().all() == (generation_id is None)
    assert manifest["object_key"].isna().all()
    assert manifest["cost_amount"].sum() == pytest.approx(0.1676)


def test_an_image_that_was_withheld_says_why_and_is_paid_for_like_the_others():
    checked = make_prompts([ROW | {"quantity": 4}])
    manifest = make_manifest(checked, make_plan(checked), [make_completed(REQUEST, withheld={1})])
    assert manifest["status"].tolist() == ["stored", "withheld", "stored", "stored"]
    assert manifest["reason"].tolist() == [pd.NA, "Leonardo delivered fewer images", pd.NA, pd.NA]
    assert manifest["cost_amount"].tolist() == [28.0] * 4


@pytest.mark.parametrize("status", ["uncertain", "over_budget", "awaiting_approval", "pending"])
def test_an_image_whose_request_has_not_ended_says_where_it_stands_and_costs_nothing_yet(status):
    checked = make_prompts([ROW | {"quantity": 4}])
    manifest = make_manifest(
        checked, make_plan(checked), unfinished=make_unfinished({REQUEST.request_id: (status, "why")})
    )
    assert set(zip(manifest["status"], manifest["reason"], strict=True)) == {(status, "why")}
    assert manifest["cost_amount"].isna().all()
    assert not manifest["reused"].any()


def test_what_has_ended_counts_more_than_what_was_said_before_it_ended():
    checked = make_prompts([ROW | {"quantity": 4}])
    unfinished = make_unfinished({REQUEST.request_id: ("pending", "not finished after 600 s")})
    manifest = make_manifest(checked, make_plan(checked), [make_completed(REQUEST)], unfinished=unfinished)
    assert set(manifest["status"]) == {"stored"}
    assert manifest["reason"].isna().all()


def test_each_row_stands_in_table_order_and_by_sample_with_its_own_request():
    rows = [ROW | {"prompt": prompt, "quantity": quantity} for prompt, quantity in (("b", 9), ("a", 1), ("c", 2))]
    checked = make_prompts(rows)
    manifest = make_manifest(checked, make_plan(checked))
    assert manifest["row_number"].tolist() == [1] * 9 + [2] + [3] * 2
    assert manifest["sample"].tolist() == [*range(9), 0, 0, 1]
    assert manifest["request_start"].tolist() == [*[0] * 8, 8, 0, 0, 0]
    assert manifest["request_count"].tolist() == [*[8] * 8, 1, 1, 2, 2]


@pytest.mark.parametrize("amount", [Decimal("0.0419"), Decimal("0.1257"), Decimal(29), Decimal(100)])
@pytest.mark.parametrize("count", [1, 3, 7, 8])
def test_the_shares_of_a_request_s_images_sum_to_its_bill(amount, count):
    checked = make_prompts([ROW | {"quantity": count}])
    event = make_completed(make_paid_request(count=count), cost_amount=amount)
    manifest = make_manifest(checked, make_plan(checked), [event])
    assert manifest["cost_amount"].sum() == pytest.approx(float(amount))


def test_a_cost_that_was_not_reported_stays_unknown():
    checked = make_prompts([ROW | {"quantity": 4}])
    manifest = make_manifest(checked, make_plan(checked), [make_completed(REQUEST, cost_amount=None, cost_unit=None)])
    assert manifest["cost_amount"].isna().all()
    assert manifest["credits_quoted"].sum() == 112


def test_rows_that_want_the_same_picture_share_its_images_and_the_first_carries_the_cost():
    checked = make_prompts([ROW | {"quantity": 2, "prompt_id": "a"}, ROW | {"quantity": 4, "prompt_id": "b"}])
    manifest = make_manifest(checked, make_plan(checked), [make_completed(REQUEST)])
    assert manifest["prompt_id"].tolist() == ["a", "a", "b", "b", "b", "b"]
    assert manifest["image_id"].nunique() == 4
    assert manifest["reused"].tolist() == [False, False, True, True, False, False]
    assert manifest["cost_amount"].tolist() == [28.0, 28.0, 0.0, 0.0, 28.0, 28.0]


def test_what_another_dataset_bought_is_reused_for_nothing():
    checked = make_prompts([ROW | {"quantity": 4}])
    manifest = make_manifest(checked, make_plan(checked), [make_completed(REQUEST, dataset="portraits")])
    assert set(manifest["bought_for"]) == {"portraits"}
    assert manifest["reused"].all()
    assert manifest["cost_amount"].tolist() == [0.0] * 4


def test_of_an_owned_request_only_what_is_wanted_is_a_row():
    checked = make_prompts([ROW | {"quantity": 3}])
    request = make_paid_request(count=8)
    manifest = make_manifest(checked, make_plan(checked, make_owned([request])), [make_completed(request)])
    assert manifest["sample"].tolist() == [0, 1, 2]
    assert manifest["request_count"].tolist() == [8, 8, 8]
    assert manifest["cost_amount"].tolist() == [28.0] * 3


def test_the_table_s_other_columns_ride_along_as_they_were():
    rows = [ROW | {"note": note, "price": price, "quantity": 2} for note, price in (("x", 1.5), (None, 2.5))]
    checked = make_prompts(rows)
    manifest = make_manifest(checked, make_plan(checked))
    assert manifest["note"].tolist() == ["x", "x", None, None]
    assert manifest["price"].tolist() == [1.5, 1.5, 2.5, 2.5]


def test_a_column_named_like_the_manifest_s_own_gets_a_prefix_and_no_two_get_one_name():
    names = [
        "status",
        "column_status",
        "column_column_status",
        "row",
        "request",
        "position",
        "column_colour",
        "table_uri",
    ]
    checked = make_prompts([ROW | {name: f"the {name}" for name in names}])
    manifest = make_manifest(checked, make_plan(checked))
    assert manifest.columns.is_unique
    (row,) = manifest.to_dict("records")
    assert row["status"] == "pending"
    assert {name: row[extra_column_name(name)] for name in names} == {name: f"the {name}" for name in names}
    assert extra_column_name("status") == "column_status"
    assert [extra_column_name(name) for name in ("row", "column_colour")] == ["row", "column_colour"]


def test_rows_of_several_tables_name_their_own():
    checked = make_prompts([ROW, ROW | {"prompt": "a blue chair"}, ROW | {"prompt": "a green chair"}])
    checked.prompts["table"] = pd.Series(["a.csv", "b.csv", pd.NA], dtype="string")
    tables = pd.DataFrame({"table": ["b.csv", "a.csv"], "table_uri": ["s3://b", "s3://a"], "table_sha256": ["b", "a"]})
    manifest = make_manifest(checked, make_plan(checked), tables=tables)
    assert manifest["table_uri"].tolist() == ["s3://a", "s3://b", pd.NA]
    assert manifest["table_sha256"].tolist() == ["a", "b", pd.NA]


def test_the_endings_of_nothing_are_an_empty_table_of_the_same_shape():
    assert endings_of([]).dtypes.to_dict() == endings_of([make_completed(REQUEST)]).dtypes.to_dict()
    assert list(endings_of([]).columns) == list(ENDING_COLUMNS)
    checked = make_prompts([])
    assert endings_in(make_manifest(checked, make_plan(checked))).empty
