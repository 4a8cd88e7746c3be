"""Claims about ledger events: each reads back as it was written, and its key says what it is."""

import json
import string
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedream_assets.errors import StoreError
from seedream_assets.ledger.events import (
    Blocked,
    Completed,
    EventKey,
    Failed,
    Intent,
    LedgerImage,
    Recollected,
    Released,
    Retracted,
    Submitted,
    Writer,
    decode_event,
    encode_event,
    event_key,
    id_in_key,
    request_folder,
)
from seedream_assets_tests.support.builders import NOON, WRITER, make_intent

KEY = "requests/abc/00-intent.json"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MOMENT = st.datetimes(timezones=st.just(UTC)) | st.datetimes(
    min_value=datetime(1900, 1, 1), max_value=datetime(2900, 1, 1), timezones=st.just(timezone(timedelta(hours=2)))
)
AMOUNT = st.none() | st.decimals(0, 10_000, places=4)
COUNT = st.integers(0, 2**53)
HEADER = {
    "request_id": st.text(string.hexdigits[:16], min_size=64, max_size=64),
    "attempt": st.integers(0, 1200),
    "at": MOMENT,
    "writer": st.builds(Writer, engine_id=TEXT, nonce=TEXT, host=TEXT, boot_id=TEXT, pid=COUNT),
}
BILL = {"cost_amount": AMOUNT, "cost_unit": st.none() | TEXT}
ENDING = {
    **HEADER,
    **BILL,
    "generation_id": st.none() | TEXT,
    "count": COUNT,
    "credits_quoted": COUNT,
    "dataset": TEXT,
    "run_id": TEXT,
    "dagster_run_id": st.none() | TEXT,
    "submitted_at": st.none() | MOMENT,
}
OPTIONAL_TEXT, OPTIONAL_COUNT = st.none() | TEXT, st.none() | COUNT
IMAGE = st.builds(
    LedgerImage,
    position=COUNT,
    image_id=TEXT,
    nsfw=st.booleans(),
    **dict.fromkeys(["reason", "provider_image_id", "source_url", "object_key", "format", "sha256"], OPTIONAL_TEXT),
    **dict.fromkeys(["width_px", "height_px", "size_bytes"], OPTIONAL_COUNT),
)
EVENT = st.one_of(
    st.builds(
        Intent,
        **HEADER,
        **dict.fromkeys(
            ["spec_id", "model", "prompt", "style", "prompt_enhance", "dataset", "partition", "run_id"], TEXT
        ),
        **dict.fromkeys(["start", "count", "width", "height", "seed", "credits_reserved"], COUNT),
        public=st.booleans(),
        references=st.lists(st.dictionaries(TEXT, TEXT, max_size=3), max_size=3).map(tuple),
        dagster_run_id=OPTIONAL_TEXT,
    ),
    st.builds(Submitted, **HEADER, **BILL, generation_id=TEXT, adopted=st.booleans()),
    st.builds(Completed, **ENDING, images=st.lists(IMAGE, max_size=3).map(tuple)),
    st.builds(Failed, **ENDING, reason=TEXT),
    st.builds(Blocked, **ENDING, reason=TEXT),
    st.builds(
        Released, **HEADER, why=st.sampled_from(["refused", "never_sent", "not_in_history", "by_hand"]), reason=TEXT
    ),
    st.builds(Retracted, **HEADER, generation_id=TEXT, reason=TEXT),
    st.builds(
        Recollected,
        **HEADER,
        number=st.integers(1, 2**53),
        generation_id=TEXT,
        images=st.lists(IMAGE, max_size=3).map(tuple),
    ),
)


@given(EVENT)
def test_an_event_reads_back_as_it_was_written(event):
    assert decode_event(encode_event(event), key=KEY) == event


@given(EVENT)
def test_what_a_later_version_adds_is_passed_over(event):
    grown = json.loads(encode_event(event)) | {"colour": "blue", "more": [1, {"a": None}]}
    grown["writer"]["cloud"] = "aws"
    assert decode_event(json.dumps(grown).encode(), key=KEY) == event


@given(EVENT)
def test_the_key_of_an_event_tells_what_it_is(event):
    key = event_key(event)
    generation = id_in_key(event.generation_id) if isinstance(event, Submitted | Retracted) else None
    number = str(event.number) if isinstance(event, Recollected) else None
    assert EventKey.parse(key) == EventKey(event.request_id, event.attempt, event.event, generation, number)
    assert key.startswith(request_folder(event.request_id))


@given(EVENT, EVENT)
def test_only_events_that_cannot_stand_side_by_side_share_a_key(one, other):
    def meaning(event):
        own = event.generation_id if isinstance(event, Submitted | Retracted) else None
        own = event.number if isinstance(event, Recollected) else own
        return event.request_id, event.attempt, event.event, own

    assert (event_key(one) == event_key(other)) == (meaning(one) == meaning(other))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": 2, "event": "refunded"},
        {"version": 3, "writer": None},
    ],
)
def test_an_event_of_a_newer_version_is_refused_with_what_to_do(changes):
    body = json.dumps(json.loads(encode_event(make_intent())) | changes).encode()
    with pytest.raises(StoreError, match=rf"{KEY} is of ledger version {changes['version']}.*update seedream-assets"):
        decode_event(body, key=KEY)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff",
        b'{"event": "intent"}',
        b'{"event": "refunded", "version": 1}',
        b'{"event": "refunded", "version": "new"}',
        b'{"version": 2.5}',
        encode_event(make_intent())[:-20],
    ],
)
def test_what_is_no_event_is_refused_with_its_key_and_left_alone(body):
    with pytest.raises(StoreError, match=rf"{KEY} is not a ledger event: .*; it was left as it is"):
        decode_event(body, key=KEY)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "requests/",
        f"requests/{'a' * 64}/",
        f"requests/{'a' * 63}/00-intent.json",
        f"requests/{'A' * 64}/00-intent.json",
        f"requests/{'a' * 64}/0-intent.json",
        f"requests/{'a' * 64}/٠٠-intent.json",
        f"requests/{'a' * 64}/00-intent.json\n",
        f"requests/{'a' * 64}/00-intent.json.tmp",
        f"requests/{'a' * 64}/00-submitted-a/b.json",
        f"requests/{'a' * 64}/00-.json",
        f"requests/{'a' * 64}/note.json",
        f"requests/{'a' * 64}/00-refunded.txt",
        f"x/requests/{'a' * 64}/00-intent.json",
    ],
)
def test_a_key_that_no_event_has_means_nothing(key):
    assert EventKey.parse(key) is None


@pytest.mark.parametrize(
    "name",
    [
        "00-refunded.json",
        "00-released-copy.json",
        "00-submitted.json",
        "00-submitted-.json",
        "00-retracted.json",
        "00-recollected.json",
        "00-recollected-0.json",
        "00-recollected-01.json",
        "00-submitted-a.b.json",
        "01-INTENT.json",
        "000-intent.json",
    ],
)
def test_what_has_the_form_of_an_event_and_is_none_that_is_known_is_not_passed_over(name):
    found = EventKey.parse(f"requests/{'a' * 64}/{name}")
    assert found == EventKey("a" * 64, int(name.partition("-")[0]), "unknown", name=name)


@pytest.mark.parametrize(
    ("generation_id", "in_key"),
    [
        ("1f0c1b2a-9d3e-6f40-8a5b-1234567890ab", "1f0c1b2a-9d3e-6f40-8a5b-1234567890ab"),
        ("a" * 64, "a" * 64),
        ("a" * 65, "x635361c48bb9eab14198e76ea8ab7f1a41685d6a"),
        ("", "xe3b0c44298fc1c149afbf4c8996fb92427ae41e4"),
        ("a/b", "xc14cddc033f64b9dea80ea675cf280a015e67251"),
        ("../up", None),
        ("a b", None),
        ("a\n", None),
        ("ä", None),
        ("a.json", None),
    ],
)
def test_an_odd_id_stands_in_keys_as_a_hash(generation_id, in_key):
    found = id_in_key(generation_id)
    assert in_key in (None, found)
    assert set(found) <= set(string.ascii_letters + string.digits + "-")
    assert (found == generation_id) == (in_key == generation_id)


@given(st.text(max_size=5) | st.text(string.ascii_letters + "-\n", max_size=3), st.text(max_size=5))
def test_two_ids_never_stand_in_keys_as_one(one, other):
    one, other = (text.encode("utf-8", "ignore").decode() for text in (one, other))
    assert (id_in_key(one) == id_in_key(other)) == (one == other)


def test_a_cost_keeps_its_decimals():
    event = Submitted(
        request_id="a" * 64, attempt=0, at=NOON, writer=WRITER, generation_id="g", cost_amount=Decimal("0.0838")
    )
    assert b'"cost_amount": "0.0838"' in encode_event(event)
