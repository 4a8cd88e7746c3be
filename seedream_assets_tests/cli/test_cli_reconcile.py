"""`seedream reconcile`, as a data team and its CI type it."""

from __future__ import annotations

from seedream_assets.emulator.jobs import Job, Order
from seedream_assets_tests.cli.conftest import DATASET, Desk


def dataset_of(desk: Desk) -> str:
    return str(desk.folder / "dataset.yaml")


def in_web_app(desk: Desk) -> Job:
    order = Order(
        model="seedream-4.0",
        prompt="something else",
        width=64,
        height=64,
        quantity=2,
        seed=1,
        style_ids=(),
        prompt_enhance="OFF",
        references=(),
        public=False,
    )
    return desk.emulator.account.add_web_app_generation(order)


def test_books_that_agree(desk: Desk) -> None:
    desk.run_json("run", dataset_of(desk))
    printed = desk.run_json("reconcile", dataset_of(desk))
    assert (printed["agrees"], printed["agreeing"], printed["not_in_ledger"], printed["not_in_account"]) == (
        True,
        2,
        [],
        [],
    )
    assert printed["balance_unit"] == "CREDITS"
    assert printed["balance"] == desk.emulator.account.balance_credits()
    result = desk.run("reconcile", dataset_of(desk), "--since", "2020-01-01")
    assert (result.exit_code, "2 generations in both, 0 not in the ledger" in result.stdout) == (0, True)


def test_differences_are_listed_and_fail_a_ci_job(desk: Desk) -> None:
    desk.run_json("run", dataset_of(desk))
    job = in_web_app(desk)
    gone = desk.emulator.account.bill(details=True)["details"][0]["generation_id"]
    desk.emulator.account.delete(gone)
    printed = desk.run_json("reconcile", dataset_of(desk), exit_code=1)
    assert [one["generation_id"] for one in printed["not_in_ledger"]] == [job.generation_id]
    assert [one["generation_id"] for one in printed["not_in_account"]] == [gone]
    assert (printed["images"], printed["amount"], printed["unit"]) == (2, 56, "CREDITS")
    result = desk.run("reconcile", dataset_of(desk), "--adopt")
    assert result.exit_code == 1
    assert f"not in the ledger: {job.generation_id}" in result.stdout
    assert "2 images, about 56 credits: 'something else'" in result.stdout
    assert f"not in the account: {gone} of request" in result.stdout
    assert "balance now" in result.stdout


def test_what_equals_a_planned_request_is_given_to_it(desk: Desk) -> None:
    desk.write("dataset.yaml", DATASET + "recovery: {lease_seconds: 2, history_settle_seconds: 0.5}\n")
    desk.emulator.account.add_fault("create", "drop_after", times=1)
    # A refusal is reported at once; a fault would be waited out.
    desk.emulator.account.add_fault("history", "error_before", status=401, message="access denied")
    desk.run("run", dataset_of(desk))
    desk.emulator.account.clear_faults()
    before = desk.run("reconcile", dataset_of(desk))
    assert "equals planned request" in before.stdout
    printed = desk.run_json("reconcile", dataset_of(desk), "--adopt")
    assert (printed["agrees"], len(printed["adopted"]), printed["not_adopted"]) == (True, 1, [])
    assert desk.run_json("run", dataset_of(desk))["stored"] == 3
    assert desk.emulator.account.bill(details=False)["duplicates"] == 0


def test_what_cannot_be_compared_is_told_with_its_own_code(desk: Desk) -> None:
    desk.emulator.account.add_fault("history", "error_before", status=401, message="access denied")
    result = desk.run("reconcile", dataset_of(desk))
    assert result.exit_code == 2
    assert result.stderr.startswith("seedream: ")
    assert desk.run("reconcile", dataset_of(desk), "--since", "yesterday").exit_code == 2
