"""Claims about ledgers that a later version has written to: what is not known is not touched, and the rest goes on."""

import pytest

from seedream_assets.ledger.events import request_folder
from seedream_assets.ledger.state import RequestState
from seedream_assets_tests.purchase.desk import make_paid_requests
from seedream_assets_tests.purchase.living_dataset import LivingDataset


@pytest.fixture
def dataset(desk, tmp_path):
    return LivingDataset(desk=desk, folder=tmp_path)


ROWS = [{"prompt_id": name, "prompt": f"a {name}"} for name in ("cat", "dog", "cow")]


def mark(desk, request_id, name="00-refunded.json"):
    key = f"{request_folder(request_id)}{name}"
    assert desk.store.create(key, b'{"event": "refunded"}', content_type="application/json")


def rows_by_name(brought):
    return {row["prompt_id"]: row for row in brought.manifest.to_dict("records")}


def test_a_request_that_ended_and_has_an_unknown_event_since_is_left_alone_and_reported(desk, dataset):
    rows = rows_by_name(dataset.bring(ROWS[:2]))
    mark(desk, rows["cat"]["request_id"])
    again = dataset.bring(ROWS)
    assert again.images_bought == 1
    rows = rows_by_name(again)
    assert {name: row["status"] for name, row in rows.items()} == {"cat": "uncertain", "dog": "stored", "cow": "stored"}
    assert "00-refunded.json" in rows["cat"]["reason"]
    assert "update seedream-assets" in rows["cat"]["reason"]


@pytest.mark.parametrize("name", ["00-reserved.json", "07-intent-of-two.json"])
def test_a_request_of_which_only_unknown_events_stand_is_not_bought_and_stops_no_other(desk, dataset, name):
    request_id = rows_by_name(dataset.bring(ROWS[:2]))["dog"]["request_id"]
    for info in list(desk.store.list(request_folder(request_id))):
        desk.store.delete(info.key)
    mark(desk, request_id, name)
    again = dataset.bring(ROWS)
    assert again.images_bought == 1
    assert rows_by_name(again)["dog"]["status"] == "uncertain"
    assert rows_by_name(again)["cow"]["status"] == "stored"


def test_an_engine_leaves_a_request_with_an_unknown_event_and_buys_the_others(desk):
    requests = make_paid_requests(3)
    mark(desk, requests[1].request_id)
    report = desk.run(requests)
    assert report.requests == {"completed": 2, "uncertain": 1}
    assert "update seedream-assets" in report.notes[requests[1].request_id]
    assert desk.state(requests[1]) is RequestState.UNKNOWN
    assert desk.bill["generations"] == 2
