"""The kill, fault and disbelief matrices, reduced; `benchmarks/` runs them in full."""

import pytest

from seedream_assets_tests.purchase.disbelief_matrix import make_case as make_doubtful_case
from seedream_assets_tests.purchase.disbelief_matrix import running_disbelief_matrix
from seedream_assets_tests.purchase.disbelief_worlds import SHORT
from seedream_assets_tests.purchase.fault_matrix import CASES, FaultMatrix
from seedream_assets_tests.purchase.kill_matrix import make_case, running_kill_matrix

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("store", ["folder", "s3"])
def test_a_run_that_is_killed_anywhere_pays_once_and_loses_nothing(store):
    # Every place once: two seeds share one.
    cases = [make_case(seed, store) for seed in range(0, 28, 2)]
    with running_kill_matrix(s3=store == "s3") as matrix:
        outcomes = matrix.run(cases, at_once=2, report=lambda _case, _outcome: None)
    assert [(case, outcome) for case, outcome in zip(cases, outcomes, strict=True) if not outcome.is_clean] == []
    assert sum(outcome.kills for outcome in outcomes) >= len(cases)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whatever_goes_wrong_nothing_is_billed_twice_and_nothing_paid_is_lost(case, s3_server, monkeypatch):
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    result = FaultMatrix(requests=60, s3=s3_server).run(case)
    assert result.verdict.is_clean, result


@pytest.fixture(scope="module")
def disbelief():
    with running_disbelief_matrix(requests=10, lost=0.25, s3=True) as matrix:
        yield matrix


@pytest.mark.parametrize("case", [make_doubtful_case(seed, SHORT) for seed in range(len(SHORT))], ids=str)
def test_whatever_the_account_reports_nothing_is_bought_twice_or_given_up(case, disbelief):
    outcome = disbelief.run_case(case)
    assert outcome.is_clean, outcome
