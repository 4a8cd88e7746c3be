"""Claims about approvals: what a plan is called, when it needs one, and what may be bought before it is there."""

import pytest

from seedream_assets.approval.preview import draw_preview
from seedream_assets.approval.rules import NO_GATE, Gate, choose_spread, plan_hash, plan_to_approve
from seedream_assets.config.dataset import Approval
from seedream_assets.errors import ApprovalError, ConfigError
from seedream_assets.ledger.state import LedgerEntry, RequestState
from seedream_assets.planning.plan import read_plan
from seedream_assets_tests.support.builders import MODELS, OwnedRequests, make_plan, make_prompts
from seedream_assets_tests.support.manifest_builders import requests_of

ROWS = [{"prompt": f"chair {number}", "width": 64, "height": 48, "quantity": 8} for number in range(10)]
PREVIEW = 4


def plan_of(rows=ROWS, owned=None):
    return make_plan(make_prompts(rows), owned)


def bought(plan, *, only=None) -> OwnedRequests:
    """A ledger in which the plan's requests, or those of them, are completed."""
    owned = OwnedRequests()
    for request in requests_of(plan):
        if only is None or request.request_id in only:
            owned.add(request, LedgerEntry(state=RequestState.COMPLETED, attempt=0))
    return owned


def with_preview(plan, images=PREVIEW, **kwargs):
    return draw_preview(plan, images=images, models=MODELS, **kwargs)


def preview_ids(plan) -> set[str]:
    return set(plan.loc[plan["sample_rank"].notna(), "request_id"])


@pytest.mark.parametrize(("total", "most"), [(0, 3), (1, 3), (3, 3), (10, 3), (100, 12), (100, 1)])
def test_a_spread_is_even_and_has_no_place_twice(total, most):
    positions = choose_spread(total, most)
    assert len(positions) == len(set(positions)) == min(total, most)
    assert all(0 <= position < total for position in positions)
    gaps = [later - earlier for earlier, later in zip(sorted(positions), sorted(positions)[1:], strict=False)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_the_first_few_of_a_spread_are_spread_too():
    assert choose_spread(100, 8)[:4] == [0, 50, 25, 75]


def test_a_preview_is_single_images_of_different_prompts_spread_over_the_plan():
    plan = with_preview(plan_of())
    drawn = plan[plan["sample_rank"].notna()]
    assert list(drawn["count"]) == [1] * PREVIEW
    assert sorted(drawn["row_number"]) == [1, 3, 6, 8]
    assert plan["wanted"].sum() == 80
    assert plan["credits"].sum() == 80 * 28


def test_a_plan_that_is_cut_for_its_preview_is_a_plan():
    plan = with_preview(plan_of([row | {"seed": 5} for row in ROWS]))
    assert len(list(read_plan(plan.to_dict("records")))) == len(plan)  # every row belongs to its ids
    for _, requests in plan.groupby("spec_id", sort=False):
        assert list(requests["start"]) == sorted(requests["start"])
        samples = [
            s
            for start, count in zip(requests["start"], requests["count"], strict=True)
            for s in range(start, start + count)
        ]
        assert samples == list(range(8))
    assert list(plan["seed"] - plan["start"]) == [5] * len(plan)


def test_a_small_plan_gives_more_images_of_each_prompt():
    plan = with_preview(plan_of(ROWS[:2]), images=5)
    assert list(plan.loc[plan["sample_rank"].notna(), "count"]) == [3, 2]
    tiny = [ROWS[0] | {"quantity": 2}]
    assert preview_ids(with_preview(plan_of(tiny), images=5)) == set(plan_of(tiny)["request_id"])


def test_a_preview_is_drawn_of_what_is_to_buy():
    first = plan_of()
    owned = bought(first, only=set(first["request_id"][:8]))
    plan = with_preview(plan_of(owned=owned))
    assert set(plan.loc[plan["sample_rank"].notna(), "row_number"]) == {9, 10}


def test_a_preview_stays_when_it_is_bought_and_when_the_plan_is_made_again():
    plan = with_preview(plan_of())
    kept = dict(zip(*(plan.loc[plan["sample_rank"].notna(), name] for name in ("request_id", "count")), strict=True))
    unbought = with_preview(plan_of(), kept=kept, top_up=False)
    after = with_preview(plan_of(owned=bought(plan, only=set(kept))), kept=kept, top_up=False)
    assert preview_ids(unbought) == preview_ids(after) == set(kept)
    assert list(after["count"]) == list(unbought["count"]) == list(plan["count"])


def test_a_preview_of_a_changed_plan_keeps_what_is_still_wanted_and_is_filled_up():
    plan = with_preview(plan_of())
    kept = dict.fromkeys(preview_ids(plan), 1)
    changed = with_preview(plan_of([*ROWS[1:], {**ROWS[0], "prompt": "another"}]), kept=kept)
    assert len(preview_ids(changed) & set(kept)) == PREVIEW - 1
    assert len(preview_ids(changed)) == PREVIEW


def test_a_plan_keeps_its_name_through_preview_purchase_and_order():
    plan = plan_of()
    name = plan_hash(plan)
    half = bought(with_preview(plan), only=preview_ids(with_preview(plan)))
    same = [with_preview(plan), plan_of(owned=half), plan_of(owned=bought(plan)), plan_of(ROWS[::-1]), plan.iloc[::-1]]
    same.append(plan_of([row | {"prompt_id": f"id {number}", "colour": "red"} for number, row in enumerate(ROWS)]))
    assert {plan_hash(one) for one in same} == {name}
    assert len(name) == 16


@pytest.mark.parametrize(
    "rows",
    [
        [*ROWS, ROWS[0] | {"prompt": "another"}],
        ROWS[1:],
        [ROWS[0] | {"quantity": 9}, *ROWS[1:]],
        [ROWS[0] | {"quantity": 7}, *ROWS[1:]],
        [ROWS[0] | {"width": 65}, *ROWS[1:]],
    ],
    ids=["added", "removed", "raised", "lowered", "edited"],
)
def test_a_plan_that_wants_something_else_has_another_name(rows):
    assert plan_hash(plan_of(rows)) != plan_hash(plan_of())


def test_another_price_is_another_plan():
    plan = plan_of()
    assert plan_hash(plan.assign(credits=plan["credits"] * 2)) != plan_hash(plan)


def make_gate(*plans, above_credits=1000, preview=PREVIEW, approved=()) -> Gate:
    named = {f"p{number}": plan for number, plan in enumerate(plans)}
    asked = {
        name: plan_to_approve(name, plan, approved_by="ann" if name in approved else None)
        for name, plan in named.items()
    }
    return Gate(approval=Approval(above_credits=above_credits, preview=preview), plans=asked)


def test_a_plan_above_the_threshold_is_held_back_but_for_its_preview():
    plan = with_preview(plan_of())
    gate = make_gate(plan)
    assert (gate.is_shut, gate.credits, gate.hash) == (True, 80 * 28, plan_hash(plan))
    assert "2240 credits, above 1000" in str(gate.held_back("p0"))
    assert gate.preview_of("p0") == preview_ids(plan)


@pytest.mark.parametrize(
    "gate", [make_gate(plan_of(), above_credits=80 * 28), make_gate(plan_of(), approved=["p0"]), NO_GATE]
)
def test_what_is_approved_or_small_or_asks_for_nothing_is_let_through(gate):
    assert not gate.is_shut
    assert gate.held_back("p0") is None
    assert gate.preview_of("p0") == frozenset()


def test_what_the_preview_has_cost_counts_until_the_plan_is_approved():
    plan = with_preview(plan_of())
    owned = bought(plan, only=preview_ids(plan))
    kept = dict.fromkeys(preview_ids(plan), 1)
    gate = make_gate(with_preview(plan_of(owned=owned), kept=kept, top_up=False), above_credits=80 * 28 - 1)
    assert gate.is_shut
    assert (gate.plans["p0"].credits_to_buy, gate.credits) == (76 * 28, 80 * 28)
    assert gate.plans["p0"].preview_bought == preview_ids(plan)


def test_a_plan_of_which_nothing_is_to_buy_needs_no_approval():
    plan = plan_of()
    assert not make_gate(plan_of(owned=bought(plan)), above_credits=0).is_shut


def test_a_range_is_added_up_and_shares_one_preview_and_one_name():
    other = plan_of([row | {"prompt": row["prompt"] + ", again"} for row in ROWS])
    small = plan_of([ROWS[0] | {"prompt": "small", "quantity": 1}])
    plans = [with_preview(plan_of()), with_preview(other), small]
    gate = make_gate(*plans, above_credits=160 * 28, preview=4)
    assert (gate.is_shut, gate.credits) == (True, 161 * 28)
    sizes = [len(gate.preview_of(f"p{number}")) for number in range(3)]
    assert sizes == [2, 1, 1]
    assert gate.hash not in {plan.hash for plan in gate.plans.values()}
    assert gate.hash == Gate(approval=gate.approval, plans=dict(reversed(gate.plans.items()))).hash
    partly = make_gate(*plans, above_credits=160 * 28, approved=["p0"])
    assert not partly.is_shut
    assert partly.hash == gate.hash


def test_without_a_drawn_preview_whole_requests_serve_that_fit():
    gate = make_gate(plan_of([row | {"quantity": 3} for row in ROWS]), above_credits=0, preview=7)
    assert len(gate.preview_of("p0")) == 2
    assert make_gate(plan_of(), above_credits=0, preview=7).preview_of("p0") == frozenset()


def test_only_the_plan_that_is_there_can_be_approved():
    gate = make_gate(plan_of())
    gate.refuse_unless_named(gate.hash)
    with pytest.raises(ApprovalError, match=f"plan 0123 was approved, but the plan is {gate.hash} now"):
        gate.refuse_unless_named("0123")


@pytest.mark.parametrize(
    "values", [{"above_credits": -1}, {"above_credits": 0, "preview": 0}, {"above_credits": 0, "preview": 101}]
)
def test_a_declared_approval_is_within_bounds(values):
    with pytest.raises(ConfigError, match="allowed is"):
        Approval(**values)
