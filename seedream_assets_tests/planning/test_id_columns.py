"""Claims about ids made for whole columns: each is the one that its row gets alone, whatever the row holds."""

import json
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedream_assets.config.models import SEEDREAM_4_0
from seedream_assets.planning import id_columns
from seedream_assets.planning.id_columns import (
    distinct_ids,
    distinct_rows,
    image_ids,
    request_ids,
    spec_ids,
    text_hashes,
)
from seedream_assets.planning.identity import image_id_for, request_id_for
from seedream_assets_tests.support.builders import make_paid_request, make_spec

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
WORDS = st.sampled_from(["OFF", "ON", 'a "word"', "née"])
SPECS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["seedream-4.0", "seedream-4.5"]),
        "prompt": TEXT
        | st.sampled_from(['say "no"', "a\\b", "two\nlines\tand a tab", "\x00\x1f\x7f\u2028", "😀 café"]),
        "width": st.integers(32, 14142),
        "height": st.integers(32, 14142),
        "style": WORDS,
        "prompt_enhance": WORDS,
        "seed": st.none() | st.integers(0, 2_147_483_638),
    }
)


def column(texts: list[str]) -> pd.Series:
    return pd.Series(texts, dtype="string")


@given(st.lists(SPECS, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_column_of_specs_has_the_ids_that_its_rows_have_alone(specs):
    frame = pd.DataFrame(specs).astype({"seed": "Int64"}).assign(references="[]")
    assert spec_ids(frame).tolist() == [make_spec(**spec).spec_id for spec in specs]


@given(SPECS)
def test_a_spec_s_id_is_the_hash_of_its_canonical_json(spec):
    canonical = {**spec, "references": [], "version": 1}
    if spec["seed"] is None:
        del canonical["seed"]
    text = json.dumps(canonical, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert make_spec(**spec).spec_id == sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("rows", [0, 1, 3, 40_000], ids="{} rows".format)
def test_requests_and_images_have_the_ids_that_they_have_alone(rows):
    names = [sha256(b"%d" % row).hexdigest() for row in range(rows)]
    numbers = np.arange(rows) * 8 % 1000
    ids, seed_numbers = request_ids(column(names), numbers)
    assert ids.tolist() == [request_id_for(name, number) for name, number in zip(names, numbers, strict=True)]
    assert seed_numbers.tolist() == [int(name[:15], 16) for name in ids]
    expected = [image_id_for(name, number) for name, number in zip(names, numbers, strict=True)]
    assert image_ids(column(names), numbers).tolist() == expected
    assert text_hashes(column(names)).tolist() == [sha256(name.encode()).hexdigest() for name in names]


def test_a_seed_derived_from_a_column_s_number_is_the_request_s_own():
    request = make_paid_request(start=16)
    _, numbers = request_ids(column([request.spec.spec_id]), np.array([16]))
    assert int(numbers[0]) % (int(SEEDREAM_4_0.seed.high) + 1) == request.seed


def test_ids_stand_under_the_index_of_their_rows():
    names = column(["a", "b"]).set_axis([7, 3])
    assert text_hashes(names).index.tolist() == [7, 3]


def test_distinct_rows_are_numbered_in_order_of_their_first_appearance():
    frame = pd.DataFrame({"a": ["x", "y", "x", "x", None], "b": [1, 1, 1, 2, 1]})
    codes, firsts = distinct_rows(frame, ["a", "b"])
    assert codes.tolist() == [0, 1, 0, 2, 3]
    assert firsts.tolist() == [0, 1, 3, 4]


def test_distinct_rows_stay_apart_where_their_columns_have_more_pairs_than_a_number_holds(monkeypatch):
    frame = pd.DataFrame({name: [0, 1, 2, 0] for name in "abc"}).assign(d=[0, 0, 0, 1])
    expected = [found.tolist() for found in distinct_rows(frame, list("abcd"))]
    monkeypatch.setattr(id_columns, "_LARGEST_CODE", 5)
    assert [found.tolist() for found in distinct_rows(frame, list("abcd"))] == expected == [[0, 1, 2, 3], [0, 1, 2, 3]]


def test_distinct_ids_are_the_distinct_texts():
    names = column([sha256(b"%d" % row).hexdigest() for row in (0, 1, 0, 2)]).iloc[1:]
    codes, firsts = distinct_ids(names)
    assert codes.tolist() == [0, 1, 2]
    assert firsts.tolist() == [0, 1, 2]
    assert distinct_ids(column([sha256(b"a").hexdigest()] * 3))[0].tolist() == [0, 0, 0]
