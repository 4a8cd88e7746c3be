"""Claims about an open intent and the account's history: adopted where it is certain, believed where it is proven."""

from dataclasses import replace
from datetime import timedelta

import pytest

from seedream_assets.ledger.events import Intent, id_in_key
from seedream_assets.ledger.recovery_rules import (
    A_DAY,
    CLOCK_SLACK,
    MOVED_AFTER,
    Acknowledged,
    Adopt,
    Known,
    NotBought,
    Reading,
    Uncertain,
    Verdict,
    Window,
    is_alike,
    judge,
    quiet_seconds_needed,
)
from seedream_assets.leonardo.generations import GeneratedImage, Generation, GenerationStatus
from seedream_assets_tests.support.builders import NOON, make_generation, make_intent, make_paid_request

OFF = make_intent()
ON = make_intent(make_paid_request(prompt_enhance="ON"))
AUTO = make_intent(make_paid_request(prompt_enhance="AUTO"))
ROW_SEED = replace(OFF, seed=7)
MINUTE = timedelta(minutes=1)
CLOSED = NOON + MINUTE
LATER = NOON + 5 * MINUTE
MOMENT = timedelta(microseconds=1)
LONG = "a red chair on a stone floor in front of a white wall"


def make_twin(intent: Intent, **changes: object) -> Intent:
    """Another request with the same row's seed."""
    return replace(intent, request_id="b" * 64, style="Cinematic", **changes)


def make_witness(intent: Intent = OFF, *, name: str = "witness", sent=LATER, known=LATER + MINUTE, **shown: object):
    """A request of the same kind that was bought and acknowledged, and what the history shows of it."""
    request = make_paid_request(
        prompt=f"{intent.prompt}, seen from above", prompt_enhance=intent.prompt_enhance, seed=None
    )
    bought = make_intent(request, width=intent.width, height=intent.height, references=intent.references, at=sent)
    entry = make_generation(bought, **({"id": name, "created_at": sent} | shown))
    return entry, bought, Acknowledged(intended_at=sent, known_at=known)


def judged(
    intent: Intent,
    *history: Generation,
    witnesses=(),
    owners: dict[str, str] | None = None,
    rivals: tuple[Intent, ...] = (),
    reaches_end: bool = True,
    quiet_seconds: float = 600.0,
    is_second_loss: bool = False,
    window: Window | None = None,
    store_now=NOON + 10 * MINUTE,
    api_now=NOON + 10 * MINUTE,
    **known: object,
) -> Verdict:
    """The verdict over a history of witnesses, newest first, and of what is given."""
    shown = tuple(entry for entry, _bought, _known in witnesses) + history
    ledger = Known(
        owners={id_in_key(entry.id): bought.request_id for entry, bought, _known in witnesses} | (owners or {}),
        witnesses={id_in_key(entry.id): bought for entry, bought, _known in witnesses},
        acknowledged={id_in_key(entry.id): known for entry, _bought, known in witnesses},
        rivals=rivals,
    )
    return judge(
        intent,
        window=window or Window(opened=NOON, closed=CLOSED),
        reading=Reading(generations=shown, reaches_end=reaches_end, store_now=store_now, api_now=api_now),
        known=replace(ledger, **known),
        quiet_seconds=quiet_seconds,
        needed_seconds=120.0,
        is_second_loss=is_second_loss,
    )


def word_for(verdict: Verdict) -> str:
    return {Adopt: "adopted", NotBought: "not bought", Uncertain: "uncertain"}[type(verdict)]


def images(number: int) -> tuple[GeneratedImage, ...]:
    return tuple(GeneratedImage(id=f"i-{index}", url="https://x/y", nsfw=False) for index in range(number))


# What one entry of the history shows, and what is said of the request: without any witness, and with one that shows
# every field just as it was sent.
MATCHES: list[tuple[Intent, dict[str, object], str, str]] = [
    (OFF, {}, "adopted", "adopted"),
    (OFF, {"prompt": " A  red chair\n"}, "adopted", "adopted"),
    (OFF, {"prompt": "a blue chair"}, "adopted", "adopted"),
    (OFF, {"prompt": ""}, "adopted", "adopted"),
    (OFF, {"width": 2064, "height": 1024}, "adopted", "adopted"),
    (OFF, {"width": None, "height": None}, "adopted", "adopted"),
    (OFF, {"width": None, "height": None, "prompt": ""}, "uncertain", "uncertain"),
    (OFF, {"width": 1, "height": 1, "prompt": "a blue chair"}, "uncertain", "uncertain"),
    (OFF, {"created_at": None}, "adopted", "adopted"),
    (OFF, {"created_at": NOON + timedelta(days=9)}, "adopted", "adopted"),
    (OFF, {"created_at": NOON - CLOCK_SLACK - MINUTE}, "adopted", "adopted"),
    (OFF, {"created_at": NOON - CLOCK_SLACK - MINUTE - MOMENT}, "adopted", "not bought"),
    (OFF, {"images": images(2)}, "adopted", "adopted"),
    (OFF, {"images": images(3)}, "uncertain", "uncertain"),
    (OFF, {"model": "another"}, "adopted", "adopted"),
    (OFF, {"seed": None}, "uncertain", "uncertain"),
    (OFF, {"seed": None, "prompt": "a blue chair"}, "uncertain", "not bought"),
    (OFF, {"seed": None, "width": 1024}, "uncertain", "not bought"),
    (OFF, {"seed": None, "width": None, "height": None}, "uncertain", "uncertain"),
    (OFF, {"seed": OFF.seed + 1}, "uncertain", "not bought"),
    (OFF, {"seed": 0}, "uncertain", "not bought"),
    (ROW_SEED, {}, "adopted", "adopted"),
    (ROW_SEED, {"prompt": "A RED\tchair "}, "adopted", "adopted"),
    (ROW_SEED, {"prompt": "a blue chair"}, "uncertain", "not bought"),
    (ROW_SEED, {"prompt": ""}, "uncertain", "uncertain"),
    (ROW_SEED, {"width": 2064}, "adopted", "not bought"),
    (ROW_SEED, {"created_at": NOON - CLOCK_SLACK - MOMENT}, "uncertain", "adopted"),
    (ROW_SEED, {"seed": None}, "uncertain", "uncertain"),
    (ON, {"prompt": "furniture at golden hour"}, "adopted", "adopted"),
    (AUTO, {"prompt": "furniture at golden hour"}, "adopted", "adopted"),
    (ON, {"prompt": "furniture at golden hour", "seed": None}, "uncertain", "uncertain"),
    (ON, {"prompt": "furniture at golden hour", "seed": ON.seed + 1}, "uncertain", "not bought"),
    (replace(ON, seed=7), {"prompt": "furniture at golden hour"}, "uncertain", "uncertain"),
    (replace(ON, seed=7), {}, "adopted", "adopted"),
]


@pytest.mark.parametrize(("intent", "shown", "alone", "beside"), MATCHES, ids=lambda value: str(value)[:60])
def test_an_entry_is_recognised_by_its_seed_and_excluded_only_by_what_is_known_to_be_shown(
    intent, shown, alone, beside
):
    entry = make_generation(intent, **shown)
    assert word_for(judged(intent, entry)) == alone
    assert word_for(judged(intent, entry, witnesses=[make_witness(intent)])) == beside


@pytest.mark.parametrize(
    ("intent", "reported", "shown"),
    [
        (OFF, {"seed": 0}, {"seed": 0}),
        (OFF, {"seed": None}, {"seed": 1}),
        (ROW_SEED, {"prompt": "something else"}, {"prompt": "something else"}),
        (ROW_SEED, {"prompt": ""}, {"prompt": "an image"}),
        (replace(ROW_SEED, width=2050), {"width": 2064}, {"width": 2064, "prompt": "", "seed": None}),
    ],
    ids=["seeds shown as 0", "seeds not shown", "prompts rewritten", "prompts not shown", "sizes rounded"],
)
def test_a_field_that_our_own_are_not_shown_with_as_sent_excludes_nothing(intent, reported, shown):
    entry = make_generation(intent, **shown)
    assert word_for(judged(intent, entry, witnesses=[make_witness(intent, **reported)])) == "uncertain"


@pytest.mark.parametrize(
    ("other", "reported"),
    [
        pytest.param({"model": "seedream-4.5"}, {}, id="another model"),
        pytest.param({"prompt_enhance": "ON"}, {}, id="another enhancement"),
        pytest.param({"references": ({"sha256": "a", "strength": "MID"},)}, {}, id="references"),
    ],
)
def test_a_generation_of_another_kind_does_not_say_how_this_kind_is_shown(other, reported):
    entry, bought, known = make_witness(OFF)
    strange = make_generation(OFF, seed=OFF.seed + 1)
    assert word_for(judged(OFF, strange, witnesses=[(entry, replace(bought, **other), known)])) == "uncertain"


def test_a_size_distinguishes_only_by_one_that_was_bought_in_this_very_size():
    row_seed = replace(ROW_SEED, width=640, height=640)
    entry = make_generation(row_seed, width=656)
    of_another_size = make_witness(OFF)
    of_this_size = make_witness(row_seed, name="same")
    assert word_for(judged(row_seed, entry, witnesses=[of_another_size])) == "adopted"
    assert word_for(judged(row_seed, entry, witnesses=[of_this_size, of_another_size])) == "not bought"


def test_a_prompt_distinguishes_only_by_one_that_was_as_long():
    intent = replace(ROW_SEED, prompt=LONG)
    entry = make_generation(intent, prompt="something else", seed=None)
    shorter = make_witness(replace(OFF, prompt="a"))
    assert word_for(judged(intent, entry, witnesses=[shorter])) == "uncertain"
    assert word_for(judged(intent, entry, witnesses=[make_witness(intent)])) == "not bought"


def test_one_of_our_own_that_is_shown_otherwise_outweighs_those_shown_as_sent():
    entry = make_generation(OFF, seed=OFF.seed + 1)
    liar = make_witness(OFF, name="liar", seed=3)
    assert word_for(judged(OFF, entry, witnesses=[make_witness(OFF), liar])) == "uncertain"


def test_a_model_that_our_own_of_this_model_do_not_show_is_not_adopted():
    own = make_witness(OFF, model="uuid-4.0")
    assert word_for(judged(OFF, make_generation(OFF, model="uuid-4.0"), witnesses=[own])) == "adopted"
    assert word_for(judged(OFF, make_generation(OFF, model=None), witnesses=[own])) == "adopted"
    verdict = judged(OFF, make_generation(OFF, model="uuid-5"), witnesses=[own])
    assert isinstance(verdict, Uncertain)
    assert "names another model, uuid-5" in verdict.reason


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("a red chair", "A  Red\nchair ", True),
        ("Salz & Pfeffer", "Salz &amp; Pfeffer", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("\uff21 chair", "A chair", True),
        (LONG, LONG[:20], True),
        (LONG, LONG[:19], False),
        ("a red chair", "a red", False),
        ("a red chair", "", False),
        ("a red chair", "a red chain", False),
    ],
)
def test_prompts_are_alike_but_for_spelling_or_where_one_was_cut(one, other, alike):
    assert is_alike(one, other) is alike
    assert is_alike(other, one) is alike


def test_a_prompt_that_was_cut_is_the_row_s_own_only_for_a_seed_that_is():
    row_seed = replace(ROW_SEED, prompt=LONG)
    cut = make_generation(row_seed, prompt=LONG[:30])
    assert word_for(judged(row_seed, cut)) == "uncertain"
    derived = replace(OFF, prompt=LONG)
    assert word_for(judged(derived, make_generation(derived, prompt=LONG[:30]))) == "adopted"


# When a history that does not show the request is believed.


def test_nothing_is_not_bought_without_a_witness():
    verdict = judged(OFF)
    assert isinstance(verdict, Uncertain)
    assert "the next image that is bought will show more" in verdict.reason


def test_a_history_that_shows_what_was_bought_before_and_after_is_believed():
    assert judged(OFF, witnesses=[make_witness()]) == NotBought()


@pytest.mark.parametrize(
    ("sent", "expected"),
    [(CLOSED + MOMENT, "not bought"), (CLOSED, "uncertain"), (NOON - MINUTE, "uncertain")],
)
def test_the_witness_was_sent_after_the_window_had_closed(sent, expected):
    assert word_for(judged(OFF, witnesses=[make_witness(sent=sent, known=LATER)])) == expected


@pytest.mark.parametrize("names", [("deleted",), ("deleted", "behind")])
def test_everything_acknowledged_since_has_to_be_shown_unless_it_was_deleted(names):
    acknowledged = {name: Acknowledged(intended_at=NOON, known_at=NOON) for name in names}
    entry, bought, known = make_witness()
    verdict = judged(
        OFF,
        witnesses=[(entry, bought, known)],
        acknowledged={"witness": known} | acknowledged,
        deleted=frozenset({"deleted"}),
    )
    if "behind" in names:
        assert isinstance(verdict, Uncertain)
        assert verdict.unshown == ("behind",)
    else:
        assert verdict == NotBought()


@pytest.mark.parametrize(
    ("age", "expected"), [(60.1, "uncertain"), (60.0, "not bought"), (0.0, "not bought"), (-5.0, "not bought")]
)
def test_what_was_bought_a_moment_ago_may_still_be_missing(age, expected):
    """A tenth of the time that the lost one had to show, and what was bought while the history was read."""
    now = NOON + 10 * MINUTE
    entry, bought, known = make_witness()
    young = Acknowledged(intended_at=NOON, known_at=now - timedelta(seconds=age))
    verdict = judged(OFF, witnesses=[(entry, bought, known)], acknowledged={"witness": known, "young": young})
    assert word_for(verdict) == expected


def test_what_was_acknowledged_before_the_window_need_not_be_shown():
    before = {"old": Acknowledged(intended_at=NOON - MINUTE, known_at=NOON - MOMENT)}
    entry, bought, known = make_witness()
    assert judged(OFF, witnesses=[(entry, bought, known)], acknowledged={"witness": known} | before) == NotBought()


def test_nothing_is_believed_before_the_history_has_settled():
    assert word_for(judged(OFF, witnesses=[make_witness()], quiet_seconds=119.9)) == "uncertain"
    assert word_for(judged(OFF, witnesses=[make_witness()], quiet_seconds=120.0)) == "not bought"
    assert quiet_seconds_needed(settle_seconds=120, longest_lag_seconds=0) == 120
    assert quiet_seconds_needed(settle_seconds=120, longest_lag_seconds=12.1) == 121


OLD = make_generation(OFF, id="old", seed=1, created_at=NOON - CLOCK_SLACK - MINUTE - MOMENT)


@pytest.mark.parametrize(
    ("history", "reaches_end", "expected"),
    [
        ((OLD,), False, "not bought"),
        ((replace(OLD, created_at=NOON - CLOCK_SLACK - MINUTE),), False, "uncertain"),
        ((OLD, replace(OLD, id="younger", created_at=NOON)), False, "uncertain"),
        ((OLD, replace(OLD, id="undated", created_at=None)), False, "uncertain"),
        ((), False, "uncertain"),
        ((), True, "not bought"),
    ],
    ids=["older", "not older", "out of order", "undated", "cut off", "whole"],
)
def test_the_reading_reaches_back_to_an_older_entry_in_order_or_to_the_end(history, reaches_end, expected):
    verdict = judged(OFF, *history, witnesses=[make_witness()], reaches_end=reaches_end)
    assert word_for(verdict) == expected
    assert not isinstance(verdict, Uncertain) or verdict.more_pages_help


@pytest.mark.parametrize("shift", [timedelta(hours=-5), timedelta(hours=2), timedelta(minutes=-6)])
def test_a_clock_that_the_witnesses_show_to_be_shifted_moves_the_window(shift):
    """Local time without a zone; or the API's own clock."""
    witness = make_witness(created_at=LATER + shift)
    old = replace(OLD, created_at=NOON + shift - CLOCK_SLACK - 2 * MINUTE)
    assert judged(OFF, old, witnesses=[witness], reaches_end=False, api_now=NOON + timedelta(days=1)) == NotBought()
    may_be = replace(old, seed=OFF.seed, created_at=NOON + shift)
    assert word_for(judged(OFF, may_be, witnesses=[witness])) == "adopted"


@pytest.mark.parametrize("behind", [timedelta(0), timedelta(hours=-3)])
def test_the_api_s_own_date_widens_the_window(behind):
    """The witness is shown by one clock, and the answer is dated by another that is behind."""
    entry = replace(OLD, created_at=NOON - timedelta(hours=2))
    verdict = judged(OFF, entry, witnesses=[make_witness()], reaches_end=False, api_now=NOON + 10 * MINUTE + behind)
    assert word_for(verdict) == ("uncertain" if behind else "not bought")


@pytest.mark.parametrize(
    ("store_now", "api_now", "expected"),
    [
        (CLOSED + A_DAY, CLOSED + A_DAY, "not bought"),
        (CLOSED + A_DAY - MOMENT, CLOSED + A_DAY, "uncertain"),
        (CLOSED + A_DAY, CLOSED + A_DAY - MOMENT, "uncertain"),
        (CLOSED + A_DAY, None, "uncertain"),
    ],
)
def test_a_day_later_by_both_clocks_an_older_witness_is_enough(store_now, api_now, expected):
    before = make_witness(sent=NOON - MINUTE, known=NOON)
    assert word_for(judged(OFF, witnesses=[before], store_now=store_now, api_now=api_now)) == expected
    assert word_for(judged(OFF, store_now=store_now, api_now=api_now)) == "uncertain"  # it never proved itself


@pytest.mark.parametrize(
    ("sent", "days", "expected"),
    [(LATER, 1, "not bought"), (LATER, 0, "uncertain"), (NOON - MINUTE, 1, "uncertain")],
)
def test_a_second_loss_takes_a_witness_and_a_day(sent, days, expected):
    now = CLOSED + days * A_DAY
    witness = make_witness(sent=sent, known=LATER)
    verdict = judged(OFF, witnesses=[witness], store_now=now, api_now=now, is_second_loss=True)
    assert word_for(verdict) == expected


@pytest.mark.parametrize("after", [MOVED_AFTER, MOVED_AFTER + MOMENT])
def test_an_intent_of_a_copied_store_is_adopted_and_never_taken_for_not_bought(after):
    window = Window.of(OFF, written_at=NOON + after, closed=CLOSED + after)
    assert window.opened == NOON
    witness = make_witness(sent=CLOSED + after + MINUTE, known=CLOSED + after + 2 * MINUTE)
    expected = "uncertain" if after > MOVED_AFTER else "not bought"
    assert word_for(judged(OFF, witnesses=[witness], window=window)) == expected
    found = make_generation(OFF, created_at=NOON + MINUTE)
    assert word_for(judged(OFF, found, witnesses=[witness], window=window)) == "adopted"


def test_the_window_opens_at_the_earlier_of_two_clocks():
    behind = Window.of(OFF, written_at=NOON - MINUTE, closed=NOON)
    assert (behind.opened, behind.closed, behind.is_moved) == (NOON - MINUTE, NOON, False)
    assert Window.of(OFF, written_at=NOON, closed=NOON - MINUTE).closed == NOON


def test_a_history_that_cannot_be_read_proves_nothing():
    verdict = judge(
        OFF,
        window=Window(opened=NOON, closed=NOON),
        reading=Reading(generations=(make_generation(OFF),), reaches_end=True, store_now=NOON, failure="HTTP 503"),
        known=Known(),
        quiet_seconds=600.0,
        needed_seconds=120.0,
    )
    assert verdict == Uncertain(reason="the account's history cannot be read: HTTP 503")


# Whose a generation is.


@pytest.mark.parametrize("generation_id", ["generation-1", "odd id/1"])
def test_a_generation_that_another_request_owns_is_not_taken(generation_id):
    entry = make_generation(OFF, id=generation_id)
    owners = {id_in_key(generation_id): "b" * 64}
    assert judged(OFF, entry, owners=owners, witnesses=[make_witness()]) == NotBought()


def test_a_generation_that_the_request_owns_already_is_its_own_whenever_it_was_made():
    entry = make_generation(OFF, created_at=NOON - timedelta(days=3))
    owners = {"generation-1": OFF.request_id}
    assert judged(OFF, entry, owners=owners, witnesses=[make_witness()]) == Adopt(generations=(entry,))


def test_a_request_that_was_bought_twice_owns_both_oldest_first():
    late = make_generation(OFF, id="a", created_at=NOON + timedelta(seconds=9))
    early = make_generation(OFF, id="c", created_at=NOON + timedelta(seconds=3))
    as_early = make_generation(OFF, id="b", created_at=NOON + timedelta(seconds=3))
    undated = make_generation(OFF, id="d", created_at=None)
    assert judged(OFF, late, early, as_early, undated) == Adopt(generations=(undated, as_early, early, late))


def test_a_certain_match_counts_more_than_one_that_shows_no_seed():
    certain, vague = make_generation(OFF, id="certain"), make_generation(OFF, id="vague", seed=None)
    assert judged(OFF, vague, certain) == Adopt(generations=(certain,))


@pytest.mark.parametrize("status", list(GenerationStatus))
def test_how_it_ended_and_with_how_few_images_does_not_matter(status):
    entry = make_generation(OFF, status=status, images=())
    assert judged(OFF, entry) == Adopt(generations=(entry,))


def test_twins_are_left_to_a_person():
    verdict = judged(ROW_SEED, make_generation(ROW_SEED), rivals=(ROW_SEED, make_twin(ROW_SEED)))
    assert isinstance(verdict, Uncertain)
    assert "1 other open one(s)" in verdict.reason


def test_an_open_request_that_cannot_be_read_may_be_a_twin_of_a_seed_that_the_row_gave():
    verdict = judged(ROW_SEED, make_generation(ROW_SEED), unread_rivals=("b" * 64,))
    assert isinstance(verdict, Uncertain)
    assert "cannot be read" in verdict.reason
    derived = make_generation(OFF)
    assert judged(OFF, derived, unread_rivals=("b" * 64,)) == Adopt(generations=(derived,))


def test_twins_of_which_nothing_shows_were_not_bought():
    twin = make_twin(ROW_SEED)
    assert judged(ROW_SEED, rivals=(ROW_SEED, twin), witnesses=[make_witness(ROW_SEED)]) == NotBought()


@pytest.mark.parametrize(
    "rival",
    [
        ROW_SEED,
        replace(ROW_SEED, attempt=1),
        make_twin(ROW_SEED, seed=1),
        make_twin(ROW_SEED, prompt="a blue chair"),
        make_twin(ROW_SEED, prompt="a blue chair", prompt_enhance="ON"),
    ],
    ids=lambda rival: f"{rival.request_id[:1]} {rival.attempt} {rival.seed} {rival.prompt} {rival.prompt_enhance}",
)
def test_an_open_request_that_the_generation_does_not_fit_is_no_twin(rival):
    entry = make_generation(ROW_SEED)
    assert judged(ROW_SEED, entry, rivals=(rival,)) == Adopt(generations=(entry,))


# Sent without a seed.

UNSEEDED = replace(OFF, seed=None)


def make_unseeded_witness(**shown: object):
    entry, bought, known = make_witness(UNSEEDED, **({"seed": 99} | shown))
    return entry, replace(bought, seed=None), known


@pytest.mark.parametrize(
    "witnesses", [[], [make_unseeded_witness()], [make_witness()]], ids=["none", "own kind", "seeded"]
)
@pytest.mark.parametrize(
    "shown", [{"seed": None}, {"seed": 4711}, {"seed": OFF.seed}, {"prompt": "A red  chair"}], ids=str
)
def test_without_a_seed_one_like_it_is_neither_adopted_nor_taken_for_not_bought(witnesses, shown):
    verdict = judged(UNSEEDED, make_generation(UNSEEDED, **({"seed": 4711} | shown)), witnesses=witnesses)
    assert isinstance(verdict, Uncertain)
    assert verdict.shows_one_like_it


def test_without_a_seed_another_prompt_excludes_only_where_our_own_without_a_seed_are_shown_as_sent():
    other = make_generation(UNSEEDED, seed=4711, prompt="a blue chair")
    assert judged(UNSEEDED, other, witnesses=[make_unseeded_witness()]) == NotBought()
    for witness in (make_witness(), make_unseeded_witness(prompt="rewritten")):
        verdict = judged(UNSEEDED, other, witnesses=[witness])
        assert isinstance(verdict, Uncertain)
        assert not verdict.shows_one_like_it


def test_a_request_without_a_seed_may_be_the_twin_of_one_whose_row_gave_it():
    rival = make_twin(ROW_SEED, seed=None)
    verdict = judged(ROW_SEED, make_generation(ROW_SEED), rivals=(ROW_SEED, rival), witnesses=[make_witness(ROW_SEED)])
    assert isinstance(verdict, Uncertain)
