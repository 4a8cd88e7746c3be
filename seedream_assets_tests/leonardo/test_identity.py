"""Claims about identity: what makes two requests the same, and which seed each is sent with."""

import json
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedream_assets.config.models import SEEDREAM_4_0
from seedream_assets.errors import LimitError
from seedream_assets.leonardo.identity import image_id_for, request_id_for
from seedream_assets.leonardo.requests import GenerationSpec, Reference, make_request
from seedream_assets_tests.support.builders import make_paid_request, make_spec

LEONARDO_ID = "0a1b2c3d-0000-4000-8000-123456789abc"
UPLOADED = Reference(sha256="ab" * 32)
GENERATED = Reference(leonardo_id=LEONARDO_ID, type="GENERATED")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
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


# A changed id means that everything owned is bought again: these literals change with SPEC_VERSION alone.
def test_the_ids_of_a_plain_spec_are_frozen():
    request = make_paid_request()
    assert request.spec.spec_id == "b91f74729ce2773f6b548fdee427d462606a6db4320456f5970ff777cfaec9d6"
    assert request.request_id == "a7d13b9b9341c665ba82c636310f763f365e167b12d703dba02c96ac59fc610c"
    assert request.seed == 1979678586
    assert image_id_for(request.request_id, 1) == "c6451945996b13960c9a3f173de9ea70"


def test_the_ids_of_a_spec_with_everything_in_it_are_frozen():
    spec = make_spec(
        prompt="ein roter Stuhl, 红色椅子",
        seed=7,
        style="Cinematic",
        prompt_enhance="ON",
        references=(Reference(sha256="ab" * 32, strength="HIGH"), GENERATED),
    )
    canonical = (
        '{"height":1024,"model":"seedream-4.0","prompt":"ein roter Stuhl, 红色椅子","prompt_enhance":"ON",'
        f'"references":[{{"sha256":"{"ab" * 32}","strength":"HIGH"}},'
        f'{{"id":"{LEONARDO_ID}","strength":"MID","type":"GENERATED"}}],'
        '"seed":7,"style":"Cinematic","version":1,"width":2048}'
    )
    assert spec.spec_id == sha256(canonical.encode()).hexdigest()
    assert spec.spec_id == "b177ea00dd9c2d4dbb21a671d3ece453d23366893f4bd7f375e5a28079185354"
    assert request_id_for(spec.spec_id, 8) == "bcccd83fd5368910034c6eaefdda084ad3b2dfbee6376437be5331239dece2c7"


@given(SPECS)
@settings(max_examples=30)
def test_a_spec_s_id_is_the_hash_of_its_canonical_json(spec):
    canonical = {**spec, "references": [], "version": 1}
    if spec["seed"] is None:
        del canonical["seed"]
    text = json.dumps(canonical, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert make_spec(**spec).spec_id == sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"model": "seedream-4.5"},
        {"prompt": "a red chair "},
        {"prompt": "A red chair"},
        {"width": 1024, "height": 2048},
        {"height": 2048},
        {"style": "Cinematic"},
        {"prompt_enhance": "ON"},
        {"seed": 0},
        {"seed": 1},
        {"references": (UPLOADED,)},
        {"references": (Reference(sha256="cd" * 32),)},
        {"references": (Reference(sha256="ab" * 32, strength="HIGH"),)},
        {"references": (GENERATED,)},
        {"references": (Reference(leonardo_id=LEONARDO_ID, type="UPLOADED"),)},
        {"references": (UPLOADED, GENERATED)},
        {"references": (GENERATED, UPLOADED)},
        {"references": (UPLOADED, UPLOADED)},
    ],
    ids=str,
)
def test_what_changes_the_picture_changes_the_spec(change):
    same = [make_spec(**other).spec_id for other in (change, change)]
    assert same[0] == same[1] != make_spec().spec_id


def test_no_two_of_these_specs_are_the_same():
    changes = [
        {},
        {"seed": 0},
        {"seed": 1},
        {"references": (UPLOADED, GENERATED)},
        {"references": (GENERATED, UPLOADED)},
    ]
    assert len({make_spec(**change).spec_id for change in changes}) == len(changes)


def test_a_spec_has_no_room_for_what_does_not_change_the_picture():
    assert set(GenerationSpec.__dataclass_fields__) == {
        *("model", "prompt", "width", "height", "style", "prompt_enhance", "references", "seed", "spec_id")
    }


def test_being_public_or_larger_makes_no_other_request():
    request = make_paid_request(count=2)
    assert make_paid_request(count=2, public=True).request_id == request.request_id
    assert make_paid_request(count=8).request_id == request.request_id
    assert make_paid_request(start=1).request_id != request.request_id


@pytest.mark.parametrize("identity", [{}, {"sha256": "ab" * 32, "leonardo_id": LEONARDO_ID}])
def test_a_reference_is_a_content_hash_or_a_leonardo_id(identity):
    with pytest.raises(ValueError, match="either a content hash or a Leonardo id"):
        Reference(**identity)


@settings(max_examples=30)
@given(TEXT, TEXT, st.integers(32, 14142), st.integers(32, 14142))
def test_two_specs_share_an_id_only_where_they_are_equal(prompt, other_prompt, width, other_width):
    one = make_spec(prompt=prompt, width=width)
    other = make_spec(prompt=other_prompt, width=other_width)
    assert (one.spec_id == other.spec_id) == (one == other)


@settings(max_examples=30)
@given(TEXT, st.integers(0, 1000))
def test_a_derived_seed_is_within_range_and_depends_on_the_request_alone(prompt, start):
    one, other = (make_paid_request(prompt=prompt, start=start, count=count) for count in (1, 8))
    assert 0 <= one.seed == other.seed <= 2_147_483_638
    assert one.seed == int(one.request_id[:15], 16) % 2_147_483_639


def test_derived_seeds_differ_between_the_requests_of_a_spec():
    seeds = [make_paid_request(start=start).seed for start in range(0, 8000, 8)]
    assert len(set(seeds)) == len(seeds) == 1000


def test_a_row_s_own_seed_is_moved_by_the_start():
    assert [make_paid_request(seed=100, start=start).seed for start in (0, 8, 16)] == [100, 108, 116]


def test_a_request_outside_the_limits_is_refused():
    with pytest.raises(LimitError, match="width: got 5"):
        make_request(make_spec(width=5), start=0, count=1, model=SEEDREAM_4_0)
    with pytest.raises(LimitError, match="seed: got 2147483646"):
        make_request(make_spec(seed=2_147_483_638), start=8, count=1, model=SEEDREAM_4_0)
