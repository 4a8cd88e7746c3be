"""Preview, approve, run: as a data team types it."""

import json

import pytest

from seedream_assets.errors import ApprovalError
from seedream_assets_tests.cli.conftest import Desk

# 20 prompts of two images: 40 images, 1,120 credits.
TABLE = "prompt_id,prompt,quantity\n" + "".join(f"p{number},a tea cup {number},2\n" for number in range(20))
PREVIEW, PRICE, WHOLE = 5, 28, 1120


@pytest.fixture
def dataset(desk: Desk) -> str:
    desk.write("prompts.csv", TABLE)
    return str(declare(desk, above_credits=1000))


def declare(desk: Desk, *, above_credits: int):
    text = "name: tableware\nprompts: {table: prompts.csv}\nrecipe: {width: 256, height: 192}\nbudget: unlimited\n"
    return desk.write("dataset.yaml", f"{text}approval: {{above_credits: {above_credits}, preview: {PREVIEW}}}\n")


def spent(desk: Desk) -> int:
    credits: int = desk.emulator.account.bill()["credits"]
    return credits


def test_first_the_preview_then_after_the_approval_the_rest(desk: Desk, dataset: str) -> None:
    first = desk.run_json("run", dataset, exit_code=4)
    assert (first["wanted"], first["stored"], first["awaiting_approval"], first["pending"]) == (40, PREVIEW, 35, 0)
    assert spent(desk) == first["cost"]["amount"] == PREVIEW * PRICE
    again = desk.run("run", dataset)
    assert (again.exit_code, spent(desk)) == (4, PREVIEW * PRICE)
    assert f"seedream approve {dataset} --plan {first['plan_hash']}" in again.stderr
    assert (
        "preview: 5 of 5 images stored (0% without an image), measured 28 credits an image; 35 images left"
        in again.stderr
    )
    assert "about 1120 credits in all" in again.stderr
    printed = desk.run("approve", dataset, "--plan", first["plan_hash"], "--by", "ann")
    assert printed.exit_code == 0, printed.output
    assert printed.stdout == f"approved: plan {first['plan_hash']}, {WHOLE} credits, by ann\n"
    assert "all: preview: 5 of 5 images stored (0% without an image), measured 28 credits an image" in printed.stderr
    rest = desk.run_json("run", dataset)
    assert (rest["stored"], rest["awaiting_approval"], rest["plan_hash"]) == (40, 0, first["plan_hash"])
    assert spent(desk) == WHOLE


def test_an_approval_says_who_when_what_and_how_much_and_is_written_once(desk: Desk, dataset: str) -> None:
    plan = desk.run_json("run", dataset, exit_code=4)["plan_hash"]
    desk.run("approve", dataset, "--by", "ann")
    path = desk.store / "datasets" / "tableware" / "approvals" / "all" / f"{plan}.json"
    record = json.loads(path.read_text())
    assert (record["plan"], record["credits"], record["by"], record["partition"]) == (plan, WHOLE, "ann", "all")
    assert record["at"].startswith("20")
    again = desk.run("approve", dataset, "--by", "bob")
    assert again.exit_code == 0
    assert "is approved already: ann at" in again.stderr
    assert json.loads(path.read_text()) == record


def test_an_approval_right_after_the_first_run_says_what_the_preview_showed(desk: Desk, dataset: str) -> None:
    desk.run("run", dataset)
    printed = desk.run("approve", dataset)
    assert "all: preview: 5 of 5 images stored (0% without an image), measured 28 credits an image" in printed.stderr


def test_a_script_approves_with_the_run_and_needs_no_preview(desk: Desk, dataset: str) -> None:
    plan = desk.run_json("plan", dataset)["plan_hash"]
    assert desk.run_json("run", dataset, "--approve", plan)["stored"] == 40
    assert spent(desk) == WHOLE


def test_the_hash_of_another_plan_approves_nothing(desk: Desk, dataset: str) -> None:
    plan = desk.run_json("run", dataset, exit_code=4)["plan_hash"]
    desk.write("prompts.csv", TABLE + "extra,a pan,1\n")
    result = desk.run("run", dataset, "--approve", plan)
    assert isinstance(result.exception, ApprovalError)
    assert f"plan {plan} was approved, but the plan is " in str(result.exception)
    assert spent(desk) == PREVIEW * PRICE
    wrong = desk.run("approve", dataset, "--plan", "0123456789abcdef")
    assert isinstance(wrong.exception, ApprovalError)


def test_added_rows_need_a_new_approval_and_hold_on_to_the_preview(desk: Desk, dataset: str) -> None:
    before = desk.run_json("run", dataset, exit_code=4)["plan_hash"]
    desk.run("approve", dataset)
    desk.write("prompts.csv", "prompt,quantity\n" + "".join(f"a tea pot {number},2\n" for number in range(20)))
    after = desk.run_json("run", dataset, exit_code=4)
    assert after["plan_hash"] != before
    assert (after["stored"], spent(desk)) == (PREVIEW, 2 * PREVIEW * PRICE)
    desk.write("prompts.csv", "prompt,quantity\n" + "".join(f"a tea pot {number},2\n" for number in range(1, 22)))
    edited = desk.run_json("run", dataset, exit_code=4)
    assert edited["plan_hash"] not in (before, after["plan_hash"])
    assert edited["stored"] == PREVIEW
    assert spent(desk) <= (2 * PREVIEW + 1) * PRICE


def test_what_does_not_change_what_is_bought_needs_no_new_approval(desk: Desk, dataset: str) -> None:
    plan = desk.run_json("run", dataset, exit_code=4)["plan_hash"]
    desk.run("approve", dataset)
    turned = TABLE.splitlines()[:1] + TABLE.splitlines()[:0:-1]
    desk.write(
        "prompts.csv", "\n".join(f"{line},{'note' if number == 0 else 'x'}" for number, line in enumerate(turned))
    )
    after = desk.run_json("run", dataset)
    assert (after["plan_hash"], after["stored"], spent(desk)) == (plan, 40, WHOLE)


def test_below_the_threshold_nothing_is_asked(desk: Desk, dataset: str) -> None:
    declare(desk, above_credits=WHOLE)
    summary = desk.run_json("run", dataset)
    assert (summary["stored"], spent(desk)) == (40, WHOLE)
    assert not (desk.store / "datasets" / "tableware" / "samples").exists()


def test_the_preview_is_not_a_way_around_the_threshold(desk: Desk, dataset: str) -> None:
    """What is left after the preview is below the threshold; what the preview cost counts all the same."""
    declare(desk, above_credits=WHOLE - 1)
    for _ in range(2):
        assert desk.run_json("run", dataset, exit_code=4)["stored"] == PREVIEW
    assert spent(desk) == PREVIEW * PRICE


def test_a_dataset_without_approvals_has_nothing_to_approve(desk: Desk) -> None:
    desk.write("plain.yaml", "name: plain\nprompts: {table: prompts.csv}\n")
    assert desk.run("approve", str(desk.folder / "plain.yaml")).exit_code == 2


def test_a_plan_says_whether_an_approval_is_needed(desk: Desk, dataset: str) -> None:
    printed = desk.run("plan", dataset).stdout
    plan = desk.run_json("plan", dataset)
    assert plan["approval"] == {
        "above_credits": 1000,
        "credits": WHOLE,
        "needed": True,
        "approved_by": None,
        "preview": 5,
    }
    assert f"plan {plan['plan_hash']} comes to 1120 credits; a preview of 5 images is bought first" in printed
    assert not (desk.store / "datasets").exists()


def test_partitions_are_approved_together_with_the_hash_that_their_run_told(desk: Desk) -> None:
    rows = "".join(f"p{number},a tea cup {number},2,2026-11-0{1 + number % 2}\n" for number in range(20))
    desk.write("prompts.csv", f"prompt_id,prompt,quantity,day\n{rows}")
    partitions = 'partitions: {by: daily, column: day, start: "2026-11-01"}\n'
    # Each of the two is below the threshold, and both together are above it.
    path = declare(desk, above_credits=1000)
    dataset = str(desk.write("dataset.yaml", path.read_text() + partitions))
    quote = desk.run("plan", dataset).stdout
    assert (quote.count("approval"), quote.count("comes to 1120 credits")) == (1, 1)
    assert desk.run_json("plan", dataset)["approval"]["needed"]
    first = desk.run("run", dataset)
    assert first.exit_code == 4
    # The first of them was planned before the sum was above the threshold: of it, whole requests serve that fit.
    assert spent(desk) == (2 + 2) * PRICE <= PREVIEW * PRICE
    plan = first.stderr.split("--plan ")[1].split()[0]
    printed = desk.run("approve", dataset, "--plan", plan)
    assert printed.exit_code == 0, printed.output
    assert printed.stdout.count("approved: plan ") == 2
    assert "approval  given  all 2 plans" in desk.run("plan", dataset).stdout
    assert desk.run("run", dataset).exit_code == 0
    assert spent(desk) == WHOLE


def test_an_approved_run_that_was_cut_short_goes_on_without_a_new_approval(desk: Desk, dataset: str) -> None:
    plan = desk.run_json("plan", dataset)["plan_hash"]
    desk.emulator.account.add_fault("create", "error_before", status=401, message="key revoked", skip=7)
    cut = desk.run("run", dataset, "--approve", plan)
    assert cut.exit_code == 1
    assert 0 < spent(desk) < WHOLE
    desk.emulator.account.clear_faults()
    rest = desk.run_json("run", dataset)
    assert (rest["stored"], rest["plan_hash"], spent(desk)) == (40, plan, WHOLE)
