"""Claims about the protocol as a whole, in every state that it can reach: nobody pays twice, nothing paid for is lost.

One model has processes that die anywhere (`ledger_protocol`), the other a world that differs from what was expected
(`disbelief_protocol`); what each assumes of the history, the leases and the store stands there. A model that cannot fail
proves nothing: each rule is broken in turn, and the search must find where that leads.
"""

import pytest

from seedream_assets.ledger.state import LedgerEntry, RequestState, fold
from seedream_assets_tests.ledger.disbelief_protocol import Rules as DisbeliefRules
from seedream_assets_tests.ledger.ledger_protocol import SETTLE, Keys, Rules
from seedream_assets_tests.ledger.ledger_search import Search, search, search_disbelief

EVERY_KIND_OF_MOVE = (
    "adopts ('g0',)",
    "does not send after its lease",
    "finds attempt 1 free",
    "finds attempt 2 open",
    "finds it submitted",
    "finds more",
    "goes on to look",
    "goes on to release",
    "is accepted",
    "is accepted, the answer is lost",
    "is asked to stop",
    "is not accepted, the answer is lost",
    "is refused",
    "loses the intent",
    "process 0 dies",
    "sees 0 generations in the history, settled",
    "sees 1 generations in the history, settled",
    "takes over",
    "the history shows g0",
    "writes completed",
    "writes intent 2",
    "writes released",
    "writes submitted",
)


def takes_open_for_free(ledger: Keys) -> LedgerEntry:
    entry = fold(ledger)
    if entry.state is RequestState.OPEN:
        return LedgerEntry(state=RequestState.FREE, attempt=entry.attempt + 1)
    return entry


@pytest.fixture(scope="module")
def as_designed() -> Search:
    return search(Rules())


def test_a_request_is_billed_at_most_once_and_what_is_billed_is_found(as_designed: Search):
    assert (as_designed.broken, as_designed.path) == ("", ())


def test_the_model_goes_everywhere_that_a_purchase_can_go(as_designed: Search):
    assert set(EVERY_KIND_OF_MOVE) <= as_designed.moves
    assert as_designed.states > 50_000


BROKEN_RULES = [
    pytest.param(
        Rules(settle_before_release=False), "goes on to release", id="released before the history has settled"
    ),
    pytest.param(Rules(wait_for_the_owner=False), "takes over", id="looked up while its owner lives"),
    pytest.param(Rules(send_within_the_lease=False), "takes over", id="sent after the lease had run out"),
    pytest.param(
        Rules(count_from_the_takeover=False),
        "is asked to stop",
        id="settled since the intent, though its owner stopped later",
    ),
    pytest.param(Rules(history_lag=SETTLE + 1), "goes on to release", id="the history shows it later than assumed"),
]


@pytest.mark.parametrize(("rules", "culprit"), BROKEN_RULES)
def test_a_broken_rule_loses_what_was_billed(rules: Rules, culprit: str):
    found = search(rules, invariants=("billed and lost",))
    assert found.broken == "billed and lost"
    assert any(culprit in move for move in found.path)


@pytest.mark.parametrize(("rules", "culprit"), BROKEN_RULES)
def test_a_broken_rule_pays_twice(rules: Rules, culprit: str):
    found = search(rules, invariants=("billed twice",))
    assert found.broken == "billed twice"
    assert any(culprit in move for move in found.path)
    assert sum("is accepted" in move for move in found.path) == 2


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(Rules(send_once=False), id="repeated without an answer"),
        pytest.param(Rules(entry_of=takes_open_for_free), id="an open request taken for free"),
    ],
)
def test_buying_without_knowing_pays_twice(rules: Rules):
    assert search(rules, invariants=("billed twice",)).broken == "billed twice"


@pytest.mark.parametrize("accounts", ["AA", "AB"])
def test_whatever_the_history_shows_a_request_is_billed_at_most_once(accounts: str):
    found = search_disbelief(DisbeliefRules(accounts=accounts))
    assert (found.broken, found.path) == ("", ())
    assert found.states > 50_000
    assert {"sees 1, adopts", "sees 1, releases", "sees 0, leaves it uncertain", "does not send"} <= found.moves


@pytest.mark.parametrize(
    ("rules", "culprit"),
    [
        pytest.param(DisbeliefRules(needs_a_witness=False), "sees 0, releases", id="no witness"),
        pytest.param(
            DisbeliefRules(one_reading=False), "sees 1, releases", id="stale knowledge", marks=pytest.mark.slow
        ),
        pytest.param(
            DisbeliefRules(knows_its_account=False, accounts="AB"),
            "sees 1, releases",
            id="no account",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            DisbeliefRules(claims_after_its_turn=False),
            "process 0 freezes",
            id="claim before the turn",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            DisbeliefRules(asks_the_store=False), "process 0 freezes", id="its own clock alone", marks=pytest.mark.slow
        ),
        pytest.param(DisbeliefRules(lets_it_settle=False), "sees 1, releases", id="not settled"),
    ],
)
def test_believing_without_proof_pays_twice(rules: DisbeliefRules, culprit: str):
    found = search_disbelief(rules)
    assert found.broken == "billed twice"
    assert any(culprit in move for move in found.path)
