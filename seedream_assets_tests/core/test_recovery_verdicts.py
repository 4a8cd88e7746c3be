"""Claims about an open intent and the account's history: adopted where it is certain, and never guessed."""

from dataclasses import replace
from datetime import timedelta

import pytest

from seedream_assets.core.generations import Generation
from seedream_assets.core.ledger_events import Intent, id_in_key
from seedream_assets.core.recovery import CLOCK_SLACK, Adopt, NotBought, Unclear, Verdict, judge
from seedream_assets_tests.core.builders import NOON, make_generation, make_intent, make_paid_request

OFF = make_intent()
ON = make_intent(make_paid_request(prompt_enhance="ON"))
AUTO = make_intent(make_paid_request(prompt_enhance="AUTO"))
LEFT_OPEN = timedelta(microseconds=1)


def make_twin(intent: Intent, **changes: object) -> Intent:
    """Another request with the same row's seed."""
    return replace(intent, request_id="b" * 64, style="Cinematic", **changes)


def judged(
    intent: Intent,
    *history: Generation,
    reaches_back: bool = True,
    owners: dict[str, str] | None = None,
    rivals: tuple[Intent, ...] = (),
) -> Verdict:
    return judge(
        intent, written_at=NOON, history=history, reaches_back=reaches_back, owners=owners or {}, rivals=rivals
    )


ROW_SEED = replace(OFF, seed=7)
MATCHES: list[tuple[Intent, dict[str, object], str]] = [
    (OFF, {}, "adopted"),
    (OFF, {"prompt": " a red chair\n"}, "adopted"),
    (OFF, {"width": None, "height": None}, "adopted"),
    (OFF, {"height": None}, "adopted"),
    (OFF, {"width": None}, "adopted"),
    (OFF, {"created_at": None}, "adopted"),
    (OFF, {"created_at": NOON + timedelta(days=9)}, "adopted"),
    (OFF, {"created_at": NOON - CLOCK_SLACK}, "adopted"),
    (OFF, {"created_at": NOON - CLOCK_SLACK - LEFT_OPEN}, "not bought"),
    (OFF, {"seed": None}, "unclear"),
    (OFF, {"seed": None, "prompt": "a blue chair"}, "not bought"),
    (OFF, {"seed": None, "created_at": NOON - timedelta(hours=1)}, "not bought"),
    (OFF, {"seed": OFF.seed + 1}, "not bought"),
    (OFF, {"width": 1024}, "not bought"),
    (OFF, {"height": 2048}, "not bought"),
    (OFF, {"width": 1024, "height": None}, "not bought"),
    # A derived seed belongs to one request alone: with another prompt beside it, a person has to look.
    (OFF, {"prompt": "a blue chair"}, "unclear"),
    (OFF, {"prompt": ""}, "unclear"),
    (ROW_SEED, {}, "adopted"),
    (ROW_SEED, {"prompt": "a blue chair"}, "not bought"),
    (ON, {"prompt": "a beautiful red chair, golden hour"}, "adopted"),
    (AUTO, {"prompt": "a beautiful red chair, golden hour"}, "adopted"),
    (ON, {"prompt": "a beautiful red chair, golden hour", "seed": None}, "not bought"),
    (ON, {"prompt": "a beautiful red chair, golden hour", "width": 1024}, "not bought"),
    (ON, {"seed": None}, "unclear"),
]


@pytest.mark.parametrize(("intent", "shown", "expected"), MATCHES, ids=lambda value: str(value)[:60])
def test_a_generation_is_recognised_by_seed_size_prompt_and_time(intent, shown, expected):
    generation = make_generation(intent, **shown)
    verdict = judged(intent, generation)
    if expected == "adopted":
        assert verdict == Adopt(generations=(generation,))
    elif expected == "unclear":
        assert isinstance(verdict, Unclear)
        assert "generation-1" in verdict.reason
        assert "no seed" in verdict.reason
    else:
        assert verdict == NotBought()


def test_nothing_in_the_whole_history_means_not_bought():
    assert judged(OFF) == NotBought()


def test_nothing_in_a_history_that_does_not_reach_back_proves_nothing():
    foreign = make_generation(OFF, seed=1)
    assert judged(OFF, foreign, reaches_back=False) == Unclear(
        reason="the account's history could not be read back to the time of the submit"
    )


def test_what_is_found_is_adopted_even_where_the_history_does_not_reach_back():
    found = make_generation(OFF)
    assert judged(OFF, found, reaches_back=False) == Adopt(generations=(found,))


@pytest.mark.parametrize("generation_id", ["generation-1", "odd id/1"])
def test_a_generation_that_another_request_owns_is_not_taken(generation_id):
    found = make_generation(OFF, id=generation_id)
    assert judged(OFF, found, owners={id_in_key(generation_id): "b" * 64}) == NotBought()


def test_a_generation_that_the_request_owns_already_is_its_own():
    found = make_generation(OFF)
    assert judged(OFF, found, owners={"generation-1": OFF.request_id}) == Adopt(generations=(found,))


def test_a_request_that_was_bought_twice_owns_both_oldest_first():
    late = make_generation(OFF, id="a", created_at=NOON + timedelta(seconds=9))
    early = make_generation(OFF, id="c", created_at=NOON + timedelta(seconds=3))
    as_early = make_generation(OFF, id="b", created_at=NOON + timedelta(seconds=3))
    undated = make_generation(OFF, id="d", created_at=None)
    assert judged(OFF, late, early, as_early, undated) == Adopt(generations=(undated, as_early, early, late))


def test_a_certain_match_counts_more_than_one_that_shows_no_seed():
    certain, vague = make_generation(OFF, id="certain"), make_generation(OFF, id="vague", seed=None)
    assert judged(OFF, vague, certain) == Adopt(generations=(certain,))


def test_twins_are_left_to_a_person():
    verdict = judged(OFF, make_generation(OFF), rivals=(OFF, make_twin(OFF)))
    assert isinstance(verdict, Unclear)
    assert "1 other open one(s)" in verdict.reason


def test_twins_of_which_nothing_shows_were_not_bought():
    assert judged(OFF, rivals=(OFF, make_twin(OFF))) == NotBought()


@pytest.mark.parametrize(
    "rival",
    [
        OFF,
        replace(OFF, attempt=1),
        make_twin(OFF, seed=1),
        make_twin(OFF, width=32),
        make_twin(OFF, height=32),
        make_twin(OFF, prompt="a blue chair"),
        make_twin(OFF, prompt="a blue chair", prompt_enhance="ON"),
    ],
    ids=lambda rival: f"{rival.request_id[:1]} {rival.attempt} {rival.seed} {rival.prompt} {rival.prompt_enhance}",
)
def test_an_open_request_that_the_generation_does_not_fit_is_no_twin(rival):
    found = make_generation(OFF)
    assert judged(OFF, found, rivals=(rival,)) == Adopt(generations=(found,))


def test_a_rewritten_prompt_may_belong_to_any_open_request_with_its_seed_and_size():
    rewritten = make_generation(ON, prompt="furniture in golden light")
    rival = make_twin(ON, prompt="a blue chair")
    for intent, other in ((ON, rival), (rival, ON)):
        assert isinstance(judged(intent, rewritten, rivals=(intent, other)), Unclear)


def test_a_prompt_that_stands_word_for_word_is_not_taken_by_a_request_that_let_its_own_be_rewritten():
    rival = make_twin(ON, prompt="a blue chair", prompt_enhance="OFF")
    of_the_rival = make_generation(rival)
    assert judged(rival, of_the_rival, rivals=(ON, rival)) == Adopt(generations=(of_the_rival,))
    assert isinstance(judged(ON, of_the_rival, rivals=(ON, rival)), Unclear)
