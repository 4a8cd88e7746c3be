"""Claims about the trace record, whatever became of the request."""

from dataclasses import replace
from decimal import Decimal

import pytest

from seedream_assets.ledger.events import Blocked, Completed, Failed, LedgerImage, Released, Submitted
from seedream_assets.leonardo.identity import image_id_for
from seedream_assets.manifest.trace import Trace, compare, trace_as_text, trace_request
from seedream_assets.manifest.trace_prov import trace_as_prov
from seedream_assets_tests.support.builders import NOON, WRITER, make_intent, make_paid_request

REQUEST = make_paid_request()
INTENT = make_intent(REQUEST)
HEADER = {"request_id": REQUEST.request_id, "attempt": 0, "at": NOON, "writer": WRITER}
ENDING = HEADER | {
    "generation_id": "g-1",
    "count": 2,
    "credits_quoted": 56,
    "dataset": "scenes",
    "run_id": "run-1",
    "cost_amount": Decimal(50),
    "cost_unit": "CREDITS",
    "submitted_at": NOON,
}
SUBMITTED = Submitted(**HEADER, generation_id="g-1", cost_amount=Decimal(50), cost_unit="CREDITS")
STORED = LedgerImage(
    position=0,
    image_id=image_id_for(REQUEST.request_id, 0),
    object_key="images/aa/a.jpg",
    format="JPEG",
    width_px=8,
    height_px=4,
    size_bytes=9,
    sha256="ab" * 32,
    source_sha256="cd" * 32,
    marks="xmp",
)
WITHHELD = LedgerImage(position=1, image_id=image_id_for(REQUEST.request_id, 1), reason="1 of 2 delivered")
COMPLETED = Completed(**ENDING, images=(STORED, WITHHELD))


@pytest.mark.parametrize(
    ("events", "statuses", "reason", "cost"),
    [
        ([INTENT], ["open", "open"], None, None),
        ([INTENT, SUBMITTED], ["submitted", "submitted"], None, 25.0),
        ([INTENT, SUBMITTED, COMPLETED], ["stored", "withheld"], None, 25.0),
        ([COMPLETED, SUBMITTED, INTENT], ["stored", "withheld"], None, 25.0),
        ([INTENT, SUBMITTED, Failed(**ENDING, reason="it FAILED")], ["failed", "failed"], "it FAILED", 25.0),
        (
            [INTENT, Blocked(**ENDING | {"generation_id": None, "cost_amount": None}, reason="moderation")],
            ["blocked", "blocked"],
            "moderation",
            None,
        ),
    ],
)
def test_every_end_of_a_request_is_reported(events, statuses, reason, cost):
    images = trace_request(events)
    assert [image.status for image in images] == statuses
    assert images[0].reason == reason
    assert [image.cost_amount for image in images] == [cost, cost]
    assert [image.sample for image in images] == [0, 1]
    reported = Trace(asked="x", found_by="request id", comparison=None, store="file:///s", images=images)
    assert images[0].image_id in trace_as_text(reported)
    assert trace_as_prov(reported)["@graph"]


def test_a_request_that_nobody_holds_has_no_images():
    released = Released(**HEADER, why="refused", reason="no")
    assert trace_request([]) == ()
    assert trace_request([INTENT, released]) == ()


def test_the_attempt_that_counts_is_reported():
    released = Released(**HEADER, why="refused", reason="no")
    second = make_intent(REQUEST, attempt=1, run_id="run-2")
    submitted = replace(SUBMITTED, attempt=1, generation_id="g-2")
    (first, _) = trace_request([INTENT, released, second, submitted])
    assert (first.run_id, first.generation_id) == ("run-2", "g-2")


def test_bytes_are_compared_with_what_is_stored_and_what_was_served():
    (image, _) = trace_request([INTENT, SUBMITTED, COMPLETED])
    assert [compare(image, digest) for digest in ("ab" * 32, "cd" * 32, "ef" * 32)] == ["stored", "provider", "changed"]
