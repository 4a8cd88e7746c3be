"""Claims about the account's history against the ledger: what each has that the other does not know."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from seedream_assets.config.models import ModelCatalog
from seedream_assets.ledger.state import FRESH, LedgerEntry, RequestState
from seedream_assets.leonardo.generations import GeneratedImage, GenerationStatus
from seedream_assets.purchase.reconcile import (
    NotInAccount,
    NotInLedger,
    Planned,
    Reconciliation,
    find_not_in_account,
    find_not_in_ledger,
    is_equal,
)
from seedream_assets_tests.support.builders import NOON, make_generation, make_intent, make_paid_request

MODELS = ModelCatalog()
REQUEST = make_paid_request()
PLANNED = Planned(request=REQUEST, dataset="scenes", partition="all", entry=FRESH)
IMAGES = tuple(GeneratedImage(id=f"i-{number}", url="https://x/y", nsfw=False) for number in range(2))
SHOWN = make_generation(make_intent(REQUEST), images=IMAGES)


def unknown(*history, owners=None, planned=(PLANNED,), since=NOON):
    return list(find_not_in_ledger(history, since=since, owners=owners or {}, planned=planned, models=MODELS))


def test_a_generation_that_equals_a_planned_request_is_named_with_it_and_priced():
    assert unknown(SHOWN) == [NotInLedger(generation=SHOWN, credits=56, planned=PLANNED)]


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": SHOWN.seed + 1},
        {"seed": None},
        {"width": 64},
        {"height": 64},
        {"images": IMAGES[:1]},
        {"prompt": "a blue chair"},
        {"status": GenerationStatus.PENDING},
        {"status": GenerationStatus.FAILED},
    ],
    ids=str,
)
def test_what_differs_in_anything_equals_no_request(changes):
    (found,) = unknown(replace(SHOWN, **changes))
    assert found.planned is None
    assert found.credits == (
        0 if found.generation.status is GenerationStatus.FAILED else 28 * len(found.generation.images)
    )


def test_spelling_does_not_matter_and_a_row_s_own_seed_proves_nothing():
    assert is_equal(PLANNED, replace(SHOWN, prompt=" A RED\tchair"), MODELS)
    own = make_paid_request(seed=7)
    planned = replace(PLANNED, request=own)
    assert not is_equal(planned, make_generation(make_intent(own), images=IMAGES), MODELS)


@pytest.mark.parametrize(
    "state", [state for state in RequestState if state not in (RequestState.FREE, RequestState.OPEN)]
)
def test_a_request_that_is_known_to_be_bought_equals_nothing(state):
    entry = LedgerEntry(state=state, attempt=0)
    assert not is_equal(replace(PLANNED, entry=entry), SHOWN, MODELS)


def test_a_request_that_two_generations_equal_is_given_to_neither():
    found = unknown(SHOWN, replace(SHOWN, id="generation-2"))
    assert [one.planned for one in found] == [None, None]


def test_what_is_owned_or_older_is_left_out_and_the_oldest_comes_first():
    moment = timedelta(microseconds=1)
    owned = replace(SHOWN, id="owned")
    old, young = (
        replace(SHOWN, id="old", created_at=NOON - moment),
        replace(SHOWN, id="young", created_at=NOON + moment),
    )
    undated = replace(SHOWN, id="undated", created_at=None)
    found = unknown(young, owned, old, SHOWN, undated, owners={"owned": "b" * 64}, planned=())
    assert [one.generation.id for one in found] == ["generation-1", "undated", "young"]


def test_what_the_account_neither_shows_nor_knows_by_its_id_is_not_in_it():
    owned = {
        name: NotInAccount(request_id="a" * 64, generation_id=name, since=NOON) for name in ("shown", "found", "gone")
    }
    assert find_not_in_account(owned, shown={"shown"}, found={"found"}) == [owned["gone"]]


@pytest.mark.parametrize(
    ("changes", "agrees"),
    [
        ({}, True),
        ({"whole": False}, False),
        ({"not_in_ledger": (NotInLedger(generation=SHOWN, credits=56, planned=None),)}, False),
        ({"not_in_account": (NotInAccount(request_id="a", generation_id="g", since=NOON),)}, False),
        ({"open_requests": 3}, True),
    ],
    ids=str,
)
def test_books_agree_where_nothing_differs_and_all_was_compared(changes, agrees):
    same = Reconciliation(
        since=NOON,
        whole=True,
        account="a",
        balance=Decimal(3),
        balance_unit="CREDITS",
        agreeing=1,
        open_requests=0,
        not_in_ledger=(),
        not_in_account=(),
    )
    found = replace(same, **changes)
    assert found.agrees is agrees
    assert found.credits_not_in_ledger == (56 if found.not_in_ledger else 0)
