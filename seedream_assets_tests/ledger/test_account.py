"""Claims about whose a store is: one account buys for it, and another is refused before anything is spent."""

import json

import pytest

from seedream_assets.emulator.settings import DEMO_USER_ID
from seedream_assets.errors import AnotherAccount, ObjectUnreadable
from seedream_assets.ledger.account import StoreAccount
from seedream_assets.ledger.events import Intent
from seedream_assets.ledger.store import read_event
from seedream_assets_tests.purchase.desk import Desk, make_paid_requests

OTHER_USER_ID = "0f0f0f0f-0000-4000-8000-0000000000aa"


@pytest.mark.parametrize("body", [b" ", b"{}"])
def test_what_cannot_be_read_holds_up_buying(desk, body):
    desk.store.create("account.json", body, content_type="application/json")
    with pytest.raises(ObjectUnreadable):
        desk.run(make_paid_requests(1))
    assert desk.bill["generations"] == 0


def test_the_first_run_makes_the_store_its_account_s_and_every_intent_names_it(desk):
    requests = make_paid_requests(2)
    desk.run(requests)
    assert json.loads(desk.store.read("account.json")) == {
        "version": 1,
        "account": DEMO_USER_ID,
        "origin": "http://127.0.0.1",
    }
    intents = [
        event for info in desk.store.list("requests/") if isinstance(event := read_event(desk.store, info.key), Intent)
    ]
    assert {intent.account for intent in intents} == {DEMO_USER_ID}
    desk.run(make_paid_requests(1, words="a dog"))


def test_another_account_is_refused_before_it_spends(desk, start_desk):
    requests = make_paid_requests(1)
    desk.fault("create", "drop_after")
    desk.fault("history", "error_before", status=503)
    assert desk.run(requests).requests == {"uncertain": 1}
    other = start_desk(user_id=OTHER_USER_ID)
    with pytest.raises(AnotherAccount) as refused:
        Desk(store=desk.store, emulator=other.emulator).run(requests)
    assert DEMO_USER_ID in str(refused.value)
    assert OTHER_USER_ID in str(refused.value)
    assert other.bill["generations"] == 0
    desk.heal()
    assert desk.run(requests).requests == {"completed": 1}
    assert desk.bill["generations"] == 1


def test_an_older_store_belongs_to_an_account_that_knows_what_was_bought_for_it(desk, start_desk):
    desk.run(make_paid_requests(3))
    desk.store.delete("account.json")
    other = Desk(store=desk.store, emulator=start_desk(user_id=OTHER_USER_ID).emulator)
    with pytest.raises(AnotherAccount, match="knows none of the latest 3 generations"):
        other.run(make_paid_requests(1, words="a dog"))
    assert other.bill["generations"] == 0
    assert desk.run(make_paid_requests(1, words="a dog")).requests == {"completed": 1}
    with pytest.raises(AnotherAccount, match="are bought from account"):
        other.run(make_paid_requests(1, words="a dog"), accepts_origin=True)


def test_a_new_address_of_the_account_is_asked_for_once(desk):
    known = StoreAccount(account=DEMO_USER_ID, origin="https://gateway.example")
    desk.store.create("account.json", known.encode(), content_type="application/json")
    with pytest.raises(AnotherAccount, match="--yes"):
        desk.run(make_paid_requests(1))
    assert desk.run(make_paid_requests(1), accepts_origin=True).requests == {"completed": 1}
    assert desk.run(make_paid_requests(1, words="a dog")).requests == {"completed": 1}


def test_a_new_key_of_the_account_goes_on(desk):
    desk.run(make_paid_requests(1))
    rotated = {"api_key": desk.emulator.key.replace(desk.emulator.key[0], "e", 1)}
    report = desk.run(make_paid_requests(1, words="a dog"), leonardo=rotated)
    assert report.requests == {"completed": 1}
