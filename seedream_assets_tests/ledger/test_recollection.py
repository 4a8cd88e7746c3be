"""Claims about late images: each takes the place of one that lacked, and nothing that was there is changed."""

from dataclasses import replace

from seedream_assets.ledger.events import Blocked, Completed, Failed, LedgerImage, Recollected
from seedream_assets.ledger.state import missing_positions, with_recollected
from seedream_assets.manifest.build import endings_of
from seedream_assets_tests.support.builders import NOON, WRITER, make_paid_request
from seedream_assets_tests.support.manifest_builders import make_completed, make_ended

REQUEST = make_paid_request(count=3)


def late(number, *positions, words="late"):
    images = tuple(
        LedgerImage(position=place, image_id=f"{place}" * 32, object_key=f"images/{words}-{place}.jpg")
        for place in positions
    )
    return Recollected(
        request_id=REQUEST.request_id,
        attempt=0,
        at=NOON,
        writer=WRITER,
        number=number,
        generation_id="generation-1",
        images=images,
    )


def keys_of(event):
    return [image.object_key for image in event.images]


def test_what_lacks_is_what_is_not_stored():
    assert missing_positions(make_completed(REQUEST)) == []
    assert missing_positions(make_completed(REQUEST, withheld=[0, 2])) == [0, 2]
    assert missing_positions(replace(make_completed(REQUEST), images=())) == [0, 1, 2]
    assert missing_positions(make_ended(Failed, REQUEST)) == [0, 1, 2]
    assert missing_positions(make_ended(Blocked, REQUEST)) == [0, 1, 2]


def test_a_late_image_takes_the_place_of_one_that_lacked_and_of_no_other():
    ended = make_completed(REQUEST, withheld=[1])
    found = with_recollected(ended, [late(1, 0, 1)])
    assert isinstance(found, Completed)
    assert keys_of(found) == [ended.images[0].object_key, "images/late-1.jpg", ended.images[2].object_key]
    assert replace(found, images=()) == replace(ended, images=())


def test_nothing_late_leaves_an_end_as_it_is():
    for ended in (make_completed(REQUEST, withheld=[1]), make_ended(Failed, REQUEST)):
        assert with_recollected(ended, []) is ended
        assert with_recollected(ended, [late(1)]) is ended
    whole = make_completed(REQUEST)
    assert with_recollected(whole, [late(1, 0)]) is whole


def test_of_two_late_images_at_one_place_the_earlier_event_s_counts():
    found = with_recollected(make_completed(REQUEST, withheld=[0, 1]), [late(10, 0, 1, words="ten"), late(9, 0)])
    assert keys_of(found)[:2] == ["images/late-0.jpg", "images/ten-1.jpg"]


def test_an_image_that_was_fetched_again_under_its_key_stands_as_it_is_now():
    ended = make_completed(REQUEST, withheld=[1])
    one, two = (replace(ended.images[0], sha256=digit * 64) for digit in "12")
    events = [replace(late(2), images=(two,)), replace(late(1), images=(one,)), late(3, 1)]
    assert with_recollected(ended, events).images[0] == two
    assert keys_of(with_recollected(ended, events))[1] == "images/late-1.jpg"


def test_a_failed_request_whose_images_came_after_all_has_them_and_says_why_the_others_lack():
    ended = make_ended(Failed, REQUEST)
    rows = endings_of([with_recollected(ended, [late(1, 1)])])
    assert list(rows["status"]) == ["withheld", "stored", "withheld"]
    assert list(rows["reason"].fillna("")) == [ended.reason, "", ended.reason]
    assert rows["cost_amount"].sum() == endings_of([ended])["cost_amount"].sum()
