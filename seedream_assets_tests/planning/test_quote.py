"""Claims about the quote: every wanted image is counted once with its reason, and what is not known is said to be so."""

from datetime import timedelta

import pandas as pd
import pytest

from seedream_assets.approval.rules import NO_GATE, Gate, approval_rows, plan_to_approve
from seedream_assets.budget.rules import DearPrice
from seedream_assets.config.dataset import Approval
from seedream_assets.config.models import ModelCatalog, TighterLimits
from seedream_assets.ledger.state import NONE_OPEN, LedgerEntry, OpenRequests, RequestState
from seedream_assets.planning.plan import reckon_with
from seedream_assets.planning.quote import (
    DOCUMENTED_PACE,
    Outlook,
    Pace,
    Quote,
    dollars_for,
    learn_pace,
    quote_plan,
    quote_rows,
)
from seedream_assets_tests.support.builders import NOON, OwnedRequests, make_paid_request, make_plan, make_prompts

ROW = {"prompt": "a red chair", "width": 2048, "height": 1024}
OUTLOOK = Outlook(pace=DOCUMENTED_PACE, slots=10, slots_basis="as configured", creates_per_minute=100)


def quote_of(rows, owned=None) -> Quote:
    checked = make_prompts([ROW | row for row in rows])
    wanted = int(checked.prompts["quantity"].sum())
    return quote_plan(make_plan(checked, owned), wanted=wanted, dataset="scenes")


def make_ledger(*entries: tuple[str, int, RequestState, str]) -> OwnedRequests:
    """By prompt, images of the request, its state, and the dataset that it was bought for."""
    owned = OwnedRequests()
    for prompt, count, state, dataset in entries:
        owned.add(
            make_paid_request(prompt=prompt, count=count), LedgerEntry(state=state, attempt=0), bought_for=dataset
        )
    return owned


def test_every_wanted_image_is_counted_once_with_its_reason():
    ledger = make_ledger(
        ("mine", 4, RequestState.COMPLETED, "scenes"),
        ("theirs", 2, RequestState.COMPLETED, "shoes"),
        ("on its way", 1, RequestState.SUBMITTED, "scenes"),
        ("perhaps", 1, RequestState.OPEN, "shoes"),
        ("blocked", 1, RequestState.BLOCKED, "scenes"),
        ("failed", 2, RequestState.FAILED, "shoes"),
    )
    rows = [("mine", 10), ("mine", 2), ("theirs", 1), ("on its way", 1), ("perhaps", 1), ("blocked", 1), ("failed", 2)]
    quote = quote_of(
        [{"prompt": prompt, "quantity": quantity, "prompt_id": str(n)} for n, (prompt, quantity) in enumerate(rows)],
        ledger,
    )
    assert quote == Quote(
        wanted=18,
        shared=2,
        requests=7,
        to_buy=1,
        images_to_buy=6,
        owned_images=5,
        in_flight=2,
        ended_without_images=3,
        credits_quoted=17 * 28,
        credits_to_buy=6 * 28,
        credits_saved=28,
        bought_for={"scenes": 4, "shoes": 1},
    )
    counted = quote.shared + quote.owned_images + quote.in_flight + quote.ended_without_images + quote.images_to_buy
    assert counted == quote.wanted


def test_what_is_blocked_is_not_owned():
    quote = quote_of([{"quantity": 2}], make_ledger(("a red chair", 2, RequestState.BLOCKED, "scenes")))
    assert (quote.owned_images, quote.ended_without_images, quote.credits_to_buy) == (0, 2, 0)


def test_nothing_wanted_costs_nothing():
    quote = quote_of([])
    others = ("bought_for", "dear_prices", "open")
    counts = {getattr(quote, name) for name in Quote.__dataclass_fields__ if name not in others}
    assert (counts, quote.bought_for, quote.dear_prices, quote.open) == ({0}, {}, {}, NONE_OPEN)


def test_what_was_dearer_of_late_is_quoted_and_named():
    wide, square = "seedream-4.0 2048x1024", "seedream-4.0 1024x1024"
    prices = {wide: (DearPrice(credits=280), DearPrice(credits=56, answers_since=3)), square: (DearPrice(credits=99),)}
    rows = [ROW | {"quantity": 3, "prompt_id": "1"}, ROW | {"width": 1024, "prompt": "owned", "prompt_id": "2"}]
    owned = OwnedRequests()
    owned.add(
        make_paid_request(prompt="owned", width=1024),
        LedgerEntry(state=RequestState.COMPLETED, attempt=0),
        bought_for="s",
    )
    plan = reckon_with(prices, make_plan(make_prompts(rows), owned))
    quote = quote_plan(plan, wanted=4, dataset="scenes", prices=prices)
    assert (quote.credits_to_buy, quote.dear_prices) == (3 * 280, {wide: 280})
    lines = {what: (much, why) for what, much, why in quote_rows(quote, OUTLOOK, dataset="scenes")}
    assert lines["price"] == (
        "840 credits",
        f"by the price list, and by the dearest of the last 100 answers: 280 an image of {wide}",
    )
    cheap = quote_plan(make_plan(make_prompts(rows), owned), wanted=4, dataset="scenes")
    assert {what: why for what, _much, why in quote_rows(cheap, OUTLOOK, dataset="scenes")}["price"] == (
        "by the price list"
    )


def test_requests_without_a_seed_are_quoted_with_what_that_costs():
    plan = make_plan(make_prompts([ROW, ROW | {"prompt": "a blue chair", "seed": 7}]))
    models = ModelCatalog(TighterLimits(send_seed="when_asked"))
    quote = quote_plan(plan, wanted=2, dataset="scenes", models=models)
    rows = {what: why for what, _much, why in quote_rows(quote, OUTLOOK, dataset="scenes")}
    assert rows["to buy"].startswith("in 2 requests, 1 of them without a seed: where an answer is lost")


def test_open_requests_are_quoted_with_what_they_may_still_cost():
    plan = make_plan(make_prompts([ROW]), make_ledger(("a red chair", 1, RequestState.OPEN, "scenes")))
    still_open = OpenRequests(requests=12, since=NOON, credits_held=336, credits_again=336)
    quote = quote_plan(plan, wanted=1, dataset="scenes", open_requests=still_open)
    rows = {what: (much, why) for what, much, why in quote_rows(quote, OUTLOOK, dataset="scenes")}
    assert rows["to buy"] == ("nothing", "")
    assert rows["open"][0] == "12 requests"
    assert rows["open"][1].startswith("the oldest since ")
    assert rows["open"][1].endswith("up to 336 credits more if 12 open requests turn out not to be bought")


def test_the_table_gives_every_reason_and_leaves_out_what_is_nothing():
    ledger = make_ledger(
        ("mine", 1, RequestState.COMPLETED, "scenes"),
        ("theirs", 1, RequestState.COMPLETED, "shoes"),
        ("sent", 1, RequestState.SUBMITTED, "scenes"),
        ("blocked", 1, RequestState.BLOCKED, "scenes"),
    )
    prompts = ["mine", "theirs", "sent", "blocked", "new"]
    rows = {what: (much, why) for what, much, why in rows_of(quote_of([{"prompt": one} for one in prompts], ledger))}
    assert list(rows) == [
        "wanted", "owned", "saved", "in flight", "blocked or failed", "to buy", "price", "in dollars", "of the balance",
        "time",
    ]  # fmt: skip
    assert rows["owned"] == ("1 image", "bought for shoes and taken over")
    assert rows["saved"][0] == "28 credits"
    assert rows["price"] == ("28 credits", "by the price list")
    assert rows["in dollars"][0] == "about 0.04"
    assert rows_of(quote_of([{"prompt": "mine"}], ledger))[-1] == ("to buy", "nothing", "")


def rows_of(quote: Quote, outlook: Outlook = OUTLOOK) -> list[tuple[str, str, str]]:
    return quote_rows(quote, outlook, dataset="scenes")


@pytest.mark.parametrize(
    ("balance", "unknown", "expected"),
    [
        (112, None, ("25.0%", "of 112 credits")),
        (0, None, ("more than all", "the account has no credits")),
        (None, "there is no key here", ("not known", "there is no key here")),
    ],
)
def test_the_share_of_the_balance_is_given_or_why_it_is_not_known(balance, unknown, expected):
    outlook = Outlook(
        pace=DOCUMENTED_PACE,
        slots=10,
        slots_basis="as configured",
        creates_per_minute=100,
        balance_credits=balance,
        balance_unknown=unknown,
    )
    rows = {what: (much, why) for what, much, why in rows_of(quote_of([{}]), outlook)}
    assert rows["of the balance"] == expected


@pytest.mark.parametrize(
    ("requests", "slots", "creates_per_minute", "seconds"),
    [
        (0, 10, 100, 0),
        (1, 10, 100, 12),
        (10, 10, 100_000, 12),
        (11, 10, 100_000, 24),
        (101, 1000, 100, 72),  # no slot is waited for: the rate of creates decides
    ],
)
def test_the_time_follows_the_slots_or_the_rate_of_creates(requests, slots, creates_per_minute, seconds):
    pace = Pace(seconds=12, basis="measured")
    took = pace.seconds_for(requests, slots=slots, creates_per_minute=creates_per_minute)
    assert took == pytest.approx(seconds, abs=0.01)


def make_history(seconds: list[float], **changes) -> pd.DataFrame:
    submitted = [NOON + timedelta(minutes=number) for number in range(len(seconds))]
    return pd.DataFrame(
        {
            "request_id": [f"request-{number}" for number in range(len(seconds))],
            "reused": False,
            "submitted_at": pd.Series(submitted, dtype="datetime64[us, UTC]"),
            "completed_at": pd.Series(
                [at + timedelta(seconds=took) for at, took in zip(submitted, seconds, strict=True)],
                dtype="datetime64[us, UTC]",
            ),
        }
    ).assign(**changes)


def test_the_pace_is_the_median_of_the_newest_requests_that_the_dataset_bought():
    pace = learn_pace(make_history([900.0] * 50 + [7.0, 8.0] * 100))
    assert pace is not None
    assert pace.seconds == 7.5
    assert "the median of this dataset's 200 newest" in pace.basis


@pytest.mark.parametrize("history", [make_history([8.0] * 4), make_history([8.0] * 9, reused=True)])
def test_nothing_is_learned_from_too_few_requests_or_from_other_datasets(history):
    assert learn_pace(history) is None


@pytest.mark.parametrize(
    ("above_credits", "approved_by", "expected"),
    [
        (55, "ann", ("approval", "given", "plan {hash}: ann")),
        (56, None, ("approval", "not needed", "up to 56 credits a run")),
        (
            55,
            None,
            (
                "approval",
                "needed",
                "plan {hash} comes to 56 credits; a preview of 2 images is bought first, to be looked at",
            ),
        ),
    ],
)
def test_the_table_says_whether_an_approval_is_needed(above_credits, approved_by, expected):
    plan = plan_to_approve("all", make_plan(make_prompts([ROW | {"quantity": 2}])), approved_by=approved_by)
    gate = Gate(approval=Approval(above_credits=above_credits), plans={"all": plan})
    assert approval_rows(gate) == [tuple(text.format(hash=plan.hash) for text in expected)]
    assert approval_rows(NO_GATE) == []


def test_the_outlook_turns_a_quote_into_time_dollars_and_a_share():
    quote = quote_of([{"quantity": 20}])
    outlook = Outlook(
        pace=Pace(seconds=10, basis="measured"),
        slots=2,
        slots_basis="as configured",
        creates_per_minute=100,
        balance_credits=1120,
    )
    assert (outlook.seconds_for(quote), outlook.share_of_balance(quote)) == (20, 0.5)
    assert dollars_for(quote.credits_to_buy) == 0.8372
