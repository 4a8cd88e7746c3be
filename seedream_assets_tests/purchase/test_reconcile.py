"""The account's history against the ledger: what each has that the other has not, and what may be given to whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from seedream_assets.budget.log import read_budget
from seedream_assets.config.partitions import UNPARTITIONED
from seedream_assets.emulator.jobs import Job, Order
from seedream_assets.errors import AnotherAccount, ConfigError
from seedream_assets.ledger.events import Intent, Submitted
from seedream_assets.ledger.state import RequestState
from seedream_assets.ledger.store import LedgerEntries, read_event
from seedream_assets.planning.stage import load_plan
from seedream_assets.prompts.stage import read_prompts, write_snapshot
from seedream_assets.purchase.reconcile import Reconciliation, adopt_planned, reconcile
from seedream_assets.quality.replanning import keep_plan, plan_partition
from seedream_assets_tests.purchase.desk import CREDITS, short_sleep
from seedream_assets_tests.purchase.living_dataset import LivingDataset

MUG = {"prompt_id": "mug", "prompt": "a blue mug", "quantity": 2}
CUP = {"prompt_id": "cup", "prompt": "a tea cup", "quantity": 1}
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def dataset(desk, tmp_path):
    return LivingDataset(desk=desk, folder=tmp_path)


def compare(dataset: LivingDataset, since: datetime = YESTERDAY) -> Reconciliation:
    bill = dataset.desk.bill["credits"]
    found = reconcile(dataset.deployment, since=since, sleep=short_sleep)
    assert dataset.desk.bill["credits"] == bill
    return found


def plan(dataset: LivingDataset, rows: list[dict[str, Any]]):
    """The first two stages alone."""
    dataset.write(rows)
    snapshot = read_prompts(dataset.config, UNPARTITIONED, dataset.deployment)
    write_snapshot(dataset.desk.store, dataset.config, UNPARTITIONED, snapshot)
    made = plan_partition(dataset.config, UNPARTITIONED, snapshot, dataset.deployment)
    keep_plan(dataset.desk.store, dataset.config, UNPARTITIONED, made)
    return load_plan(dataset.desk.store, dataset.config, UNPARTITIONED)


def in_web_app(dataset: LivingDataset, **changes: Any) -> Job:
    values: dict[str, Any] = {
        "model": "seedream-4.0",
        "prompt": "a mug of somebody else",
        "width": 64,
        "height": 48,
        "quantity": 2,
        "seed": 5,
        "style_ids": (),
        "prompt_enhance": "OFF",
        "references": (),
        "public": False,
    }
    return dataset.desk.emulator.account.add_web_app_generation(Order(**(values | changes)))


def as_planned(dataset: LivingDataset, row: Any, **changes: Any) -> Job:
    """What somebody made in the account of a planned request: by another store, or by one that is lost."""
    return in_web_app(
        dataset,
        **{"prompt": str(row["prompt"]), "seed": int(row["seed"]), "quantity": int(row["count"])} | changes,
    )


def test_books_that_agree_agree(dataset):
    dataset.bring([MUG, CUP])
    found = compare(dataset)
    assert found.agrees
    assert (found.agreeing, found.open_requests, found.not_in_ledger, found.not_in_account) == (2, 0, (), ())
    assert found.balance == dataset.desk.emulator.account.balance_credits()
    assert found.account == dataset.desk.emulator.account.settings.user_id


def test_what_was_made_in_the_web_app_is_reported_with_an_estimate(dataset):
    dataset.bring([MUG])
    job = in_web_app(dataset)
    found = compare(dataset)
    assert not found.agrees
    (one,) = found.not_in_ledger
    assert (one.generation.id, one.generation.prompt) == (job.generation_id, "a mug of somebody else")
    assert (one.credits, one.planned, found.credits_not_in_ledger) == (2 * CREDITS, None, 2 * CREDITS)


def test_what_is_older_than_the_date_is_left_out(dataset):
    dataset.bring([MUG])
    in_web_app(dataset)
    later = compare(dataset, since=datetime.now(UTC) + timedelta(hours=1))
    assert later.agrees
    assert (later.agreeing, later.whole) == (0, True)


def test_what_was_deleted_in_the_account_is_reported(dataset):
    dataset.bring([MUG, CUP])
    manifest = dataset.bring().manifest
    gone = manifest["generation_id"][0]
    dataset.desk.emulator.account.delete(gone)
    found = compare(dataset)
    assert [one.generation_id for one in found.not_in_account] == [gone]
    assert [one.request_id for one in found.not_in_account] == [manifest["request_id"][0]]
    assert (found.agrees, found.agreeing) == (False, 1)


def test_what_the_history_leaves_out_and_the_account_knows_by_its_id_is_no_difference(dataset):
    dataset.bring([MUG])
    dataset.desk.emulator.account.change(history_lag_seconds=3600.0)
    found = compare(dataset)
    assert found.agrees
    assert found.agreeing == 0


def lose_an_answer(dataset: LivingDataset) -> None:
    dataset.desk.fault("create", "drop_after", times=1)
    dataset.desk.fault("history", "error_before", status=500)
    assert "uncertain" in set(dataset.bring([MUG, CUP]).manifest["status"])
    dataset.desk.heal()


def test_a_lost_answer_is_reported_with_its_request_and_can_be_given_to_it(dataset):
    lose_an_answer(dataset)
    found = compare(dataset)
    assert found.open_requests == 1
    (one,) = found.not_in_ledger
    assert one.planned is not None
    assert one.planned.entry.state is RequestState.OPEN
    adopted, left = adopt_planned(dataset.deployment, found)
    assert (len(adopted), left) == (1, [])
    assert compare(dataset).agrees
    again = dataset.bring()
    assert again.images_bought == 0
    assert (again.manifest["status"] == "stored").all()
    dataset.desk.run([])
    assert read_budget(dataset.desk.store, "scenes", today=False).committed == dataset.desk.bill["credits"]


def test_a_generation_that_equals_a_request_that_nobody_began_is_given_to_it_and_counts_against_the_caps(dataset):
    row = plan(dataset, [MUG, CUP]).iloc[0]
    job = as_planned(dataset, row)
    found = compare(dataset)
    (one,) = found.not_in_ledger
    assert (one.planned.request.request_id, one.planned.partition) == (row["request_id"], UNPARTITIONED)
    assert adopt_planned(dataset.deployment, found)[1] == []
    assert compare(dataset).agrees
    intent = read_event(dataset.desk.store, f"requests/{row['request_id']}/00-intent.json")
    assert isinstance(intent, Intent)
    assert (intent.run_id, intent.writer.engine_id, intent.dataset) == ("reconcile", "by-hand", "scenes")
    assert intent.account == found.account
    submitted = read_event(dataset.desk.store, f"requests/{row['request_id']}/00-submitted-{job.generation_id}.json")
    assert isinstance(submitted, Submitted)
    assert submitted.adopted
    assert read_budget(dataset.desk.store, "scenes", today=False).committed == int(row["count"]) * CREDITS
    again = dataset.bring([MUG, CUP])
    assert again.images_bought == 1
    assert (again.manifest["status"] == "stored").all()
    dataset.desk.run([])
    assert read_budget(dataset.desk.store, "scenes", today=False).committed == 3 * CREDITS


@pytest.mark.parametrize(
    "other",
    [{"seed": 7}, {"prompt": "a blue mugg"}, {"width": 128}, {"quantity": 1}, {"quantity": 3}, {"seed": None}],
    ids=str,
)
def test_what_differs_in_anything_is_given_to_nobody(dataset, other):
    row = plan(dataset, [MUG]).iloc[0]
    as_planned(dataset, row, **other)
    found = compare(dataset)
    assert [one.planned for one in found.not_in_ledger] == [None]
    assert adopt_planned(dataset.deployment, found) == ([], [])
    assert not compare(dataset).agrees


def test_a_row_s_own_seed_proves_nothing(dataset):
    row = plan(dataset, [MUG | {"seed": 7}]).iloc[0]
    as_planned(dataset, row)
    assert [one.planned for one in compare(dataset).not_in_ledger] == [None]


def test_of_two_generations_that_equal_one_request_neither_is_given_to_it(dataset):
    row = plan(dataset, [MUG]).iloc[0]
    as_planned(dataset, row)
    as_planned(dataset, row)
    found = compare(dataset)
    assert [one.planned for one in found.not_in_ledger] == [None, None]


def test_what_a_run_has_begun_meanwhile_is_left_to_it(dataset):
    plan(dataset, [MUG])
    row = load_plan(dataset.desk.store, dataset.config, UNPARTITIONED).iloc[0]
    as_planned(dataset, row)
    found = compare(dataset)
    dataset.bring([MUG])
    adopted, left = adopt_planned(dataset.deployment, found)
    assert adopted == []
    assert "a run has begun it meanwhile" in left[0]
    (entry,) = LedgerEntries(dataset.desk.store).of([row["request_id"]]).values()
    assert entry.state is RequestState.COMPLETED
    dataset.desk.run([])
    assert read_budget(dataset.desk.store, "scenes", today=False).committed == dataset.desk.bill["credits"]


def test_a_generation_that_is_gone_before_it_is_adopted_leaves_its_request_free(dataset):
    row = plan(dataset, [MUG]).iloc[0]
    job = as_planned(dataset, row)
    found = compare(dataset)
    dataset.desk.emulator.account.delete(job.generation_id)
    _, left = adopt_planned(dataset.deployment, found)
    assert "Leonardo knows no generation" in left[0]
    (entry,) = LedgerEntries(dataset.desk.store).of([row["request_id"]]).values()
    assert (entry.state, entry.attempt) == (RequestState.FREE, 1)
    assert dataset.bring([MUG]).images_bought == 2


def test_a_history_that_cannot_be_read_back_so_far_is_no_proof(dataset):
    for _ in range(60):
        in_web_app(dataset)
    dataset.bring([MUG])
    deployment = dataset.deployment
    short = replace(deployment, engine=deployment.engine.changed(history_pages=1))
    found = reconcile(short, since=YESTERDAY, sleep=short_sleep)
    assert (found.whole, found.agrees) == (False, False)
    assert compare(dataset).whole


def test_without_a_key_it_is_refused(dataset):
    with pytest.raises(ConfigError, match="LEONARDO_API_KEY"):
        reconcile(replace(dataset.deployment, leonardo=None), since=YESTERDAY)


def test_a_store_is_not_held_against_another_account(dataset, start_desk):
    dataset.bring([MUG])
    other = start_desk(user_id="99999999-2222-4333-8444-555555555555")
    before = {info.key for info in dataset.desk.store.list("")}
    elsewhere = replace(
        dataset.deployment, leonardo=LivingDataset(desk=other, folder=dataset.folder).deployment.leonardo
    )
    with pytest.raises(AnotherAccount, match="use a key of that account"):
        reconcile(elsewhere, since=YESTERDAY, sleep=short_sleep)
    assert {info.key for info in dataset.desk.store.list("")} == before
