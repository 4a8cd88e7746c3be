"""Rejected images in the manifest, and tables that are none."""

import pandas as pd
import pytest

from seedream_assets.errors import StoreError
from seedream_assets.manifest.build import mark_rejected, read_manifest
from seedream_assets.storage.parquet import to_parquet
from seedream_assets_tests.support.builders import make_plan, make_prompts
from seedream_assets_tests.support.manifest_builders import ROW, make_completed, make_manifest, requests_of


def two_stored_and_one_withheld() -> pd.DataFrame:
    checked = make_prompts([{**ROW, "quantity": 3, "mood": "calm"}])
    plan = make_plan(checked)
    return make_manifest(checked, plan, [make_completed(request, withheld=[2]) for request in requests_of(plan)])


def test_what_is_rejected_is_marked_with_its_reasons_and_nothing_else_is():
    manifest = two_stored_and_one_withheld()
    assert not manifest["rejected"].any()
    first, _, withheld = manifest["image_id"]
    marked = mark_rejected(manifest, {first: "blank: contrast 0", withheld: "no bytes to judge"})
    assert marked["rejected"].tolist() == [True, False, False]
    assert marked["reject_reasons"].isna().tolist() == [False, True, True]
    assert marked["reject_reasons"][0] == "blank: contrast 0"
    assert marked.dtypes.equals(manifest.dtypes)
    assert mark_rejected(marked, {}).equals(manifest)


def test_a_table_that_is_no_manifest_is_not_filled_up_to_one():
    with pytest.raises(StoreError, match="no column image_id, request_id"):
        read_manifest(to_parquet(pd.DataFrame({"mood": ["calm"]})))
