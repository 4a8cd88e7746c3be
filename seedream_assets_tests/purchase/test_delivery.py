"""Claims about images on their way to the store: bounded in memory, stored once, and never replaced."""

import pytest

from seedream_assets.images.inspect import image_key
from seedream_assets.images.xmp import remove_metadata
from seedream_assets.ledger.state import RequestState
from seedream_assets.leonardo.identity import image_id_for
from seedream_assets_tests.purchase.desk import make_paid_request, make_paid_requests


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("cut", {}),
        ("truncated_image", {}),
        ("empty", {}),
        ("wrong_type", {"content": "html"}),
        ("wrong_type", {"content": "text"}),
        ("error_before", {"status": 503}),
        ("drop_before", {}),
        ("html", {}),
        ("not_found", {}),
    ],
)
def test_a_download_that_may_come_right_is_tried_again(desk, kind, options):
    requests = make_paid_requests(2)
    desk.fault("download", kind, times=3, **options)
    assert desk.run(requests).requests == {"completed": 2}
    assert desk.judge(requests).is_clean


def test_an_image_beyond_the_cap_is_reported_with_the_setting_and_fetched_once_that_is_raised(desk):
    request = make_paid_request("a cat")
    report = desk.run([request], leonardo={"largest_image_bytes": 100})
    assert report.requests == {"pending": 1}
    assert "raise largest_image_bytes" in report.notes[request.request_id]
    assert desk.run([request]).requests == {"completed": 1}
    assert desk.bill["generations"] == 1


def test_images_that_came_through_stay_stored_while_another_is_waited_for(desk):
    request = make_paid_request("a cat", count=4)
    desk.fault("download", "not_found", skip=3)
    assert desk.run([request]).requests == {"pending": 1}
    assert len(list(desk.store.list("images/"))) == 3
    desk.heal()
    assert desk.run([request]).requests == {"completed": 1}
    assert desk.judge([request]).is_clean


def test_other_bytes_under_an_image_s_key_stay_and_are_what_the_ledger_says(desk):
    """The image host serves other bytes today than when the image was stored by a run that died."""
    first, second = make_paid_request("a cat"), make_paid_request("a dog")
    desk.run([first])
    (stored,) = desk.store.list("images/")
    body = desk.store.read(stored.key)
    key = image_key(image_id_for(second.request_id, 0), "jpg")
    desk.store.create(key, body, content_type="image/jpeg")
    assert desk.run([second]).requests == {"completed": 1}
    assert desk.store.read(key) == body
    assert desk.state(second) is RequestState.COMPLETED
    assert desk.judge([first, second]).is_clean


def test_images_listed_in_another_order_get_the_position_in_their_names(start_desk):
    plain, shuffled = start_desk(), start_desk(shuffled_images=True)
    request = make_paid_request("a cat", count=6)
    plain.run([request])
    expected = [remove_metadata(plain.store.read(info.key)) for info in plain.store.list("images/")]
    for info in list(plain.store.list("")):
        plain.store.delete(info.key)
    shuffled.run([request])
    assert [remove_metadata(shuffled.store.read(info.key)) for info in shuffled.store.list("images/")] == expected
