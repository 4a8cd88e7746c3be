"""`seedream run` and `seedream plan`, as a data team types them."""

import json

import pandas as pd
import pytest

from seedream_assets.errors import ConfigError, PromptTableError
from seedream_assets_tests.cli.conftest import DATASET, TABLE, Desk

SUMMARY_FIELDS = [
    "dataset", "partition", "wanted", "stored", "reused", "blocked", "failed", "withheld", "uncertain", "over_budget",
    "awaiting_approval", "pending", "rejected", "replacements", "rejected_rows", "credits_quoted", "credits_to_buy",
    "open_requests", "open_since", "credits_held_back", "credits_if_unbought", "plan_hash", "cost", "costs", "seconds",
]  # fmt: skip


def test_a_run_stores_what_is_wanted_and_says_so_in_one_json_object(desk: Desk) -> None:
    summary = desk.run_json("run", str(desk.folder / "dataset.yaml"))
    assert list(summary) == SUMMARY_FIELDS
    assert {
        name: summary[name] for name in ("dataset", "partition", "wanted", "stored", "reused", "rejected_rows")
    } == {
        "dataset": "tableware",
        "partition": "all",
        "wanted": 3,
        "stored": 3,
        "reused": 0,
        "rejected_rows": 1,
    }
    assert summary["credits_quoted"] == summary["credits_to_buy"] == 84
    assert summary["cost"] == {"amount": 84.0, "unit": "CREDITS"}
    assert desk.emulator.account.bill()["credits"] == 84


def test_a_second_run_buys_nothing_and_asks_the_paid_api_nothing(desk: Desk) -> None:
    dataset = str(desk.folder / "dataset.yaml")
    desk.run_json("run", dataset)
    asked = desk.emulator.account.bill()["requests"]
    again = desk.run_json("run", dataset)
    assert (again["stored"], again["reused"], again["credits_to_buy"]) == (3, 3, 0)
    assert again["cost"] == {"amount": 0.0, "unit": "CREDITS"}
    assert desk.emulator.account.bill()["requests"] == asked
    assert "nothing was bought" in desk.run("run", dataset).stdout


def test_an_edited_row_buys_that_row_alone(desk: Desk) -> None:
    dataset = str(desk.folder / "dataset.yaml")
    desk.run_json("run", dataset)
    table = (desk.folder / "prompts.csv").read_text(encoding="utf-8")
    desk.write("prompts.csv", table.replace("A tea cup in morning light", "A tea cup at night"))
    again = desk.run_json("run", dataset)
    assert (again["stored"], again["reused"], again["credits_to_buy"]) == (3, 2, 28)


def test_a_second_dataset_that_wants_the_same_picture_books_nothing(desk: Desk) -> None:
    desk.run_json("run", str(desk.folder / "dataset.yaml"))
    desk.write("other.yaml", (desk.folder / "dataset.yaml").read_text().replace("tableware", "other"))
    other = desk.run_json("run", str(desk.folder / "other.yaml"))
    assert (other["stored"], other["reused"], other["cost"]["amount"]) == (3, 3, 0.0)
    manifest = pd.read_parquet(desk.store / "datasets" / "other" / "manifest" / "all.parquet")
    assert manifest["reused"].all()
    assert (manifest["cost_amount"] == 0).all()


def test_a_cap_stops_the_run_with_exit_code_3_and_the_next_run_goes_on(desk: Desk) -> None:
    capped = desk.write(
        "capped.yaml",
        (desk.folder / "dataset.yaml").read_text().replace("budget: unlimited", "budget: {max_credits_per_run: 60}"),
    )
    result = desk.run("run", str(capped))
    assert result.exit_code == 3
    assert "max_credits_per_run is 60 credits" in result.stderr
    assert desk.emulator.account.bill()["credits"] == 56
    rest = desk.run_json("run", str(capped))
    assert (rest["stored"], rest["reused"], rest["cost"]["amount"]) == (3, 2, 28.0)


def test_a_plan_quotes_and_neither_writes_nor_spends(desk: Desk) -> None:
    quote = desk.run_json("plan", str(desk.folder / "dataset.yaml"))
    assert (quote["wanted"], quote["credits_to_buy"], quote["rejected_rows"]) == (3, 84, 1)
    assert desk.emulator.account.bill()["credits"] == 0
    assert not (desk.store / "datasets").exists()


def test_a_plan_tells_what_is_wrong_with_a_rejected_row(desk: Desk) -> None:
    result = desk.run("plan", str(desk.folder / "dataset.yaml"))
    assert "rejected: row 3: quantity '0'" in result.stderr
    assert "84 credits" in result.stdout


def test_planning_needs_no_key_and_buying_says_what_is_missing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEONARDO_API_KEY")
    assert desk.run("plan", str(desk.folder / "dataset.yaml")).exit_code == 0
    result = desk.run("run", str(desk.folder / "dataset.yaml"))
    assert isinstance(result.exception, ConfigError)
    assert "LEONARDO_API_KEY" in str(result.exception)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "empty"),
        ("prompt\n", "no rows"),
        ("words\na cup\n", "no column"),
    ],
)
def test_a_table_that_cannot_be_used_writes_nothing(desk: Desk, table: str, message: str) -> None:
    desk.write("prompts.csv", table)
    result = desk.run("run", str(desk.folder / "dataset.yaml"))
    assert isinstance(result.exception, PromptTableError)
    assert message in str(result.exception)
    assert not (desk.store / "datasets").exists()


def daily(desk: Desk, table: str, more: str = "") -> str:
    desk.write("prompts.csv", table)
    cut = 'partitions: {by: daily, column: day, start: "2026-01-01"}\n'
    text = (desk.folder / "dataset.yaml").read_text()
    if "budget:" in more:
        text = text.replace("budget: unlimited\n", "")
    return str(desk.write("daily.yaml", text + cut + more))


def test_a_partition_can_be_named(desk: Desk) -> None:
    dataset = daily(desk, "prompt,day\na cup,2026-01-01\na mug,2026-01-02\n")
    one = desk.run_json("run", dataset, "--partition", "2026-01-02")
    assert (one["partition"], one["wanted"], one["stored"]) == ("2026-01-02", 1, 1)
    assert (desk.store / "datasets" / "tableware" / "manifest" / "2026-01-02.parquet").exists()
    assert desk.run("run", dataset, "--partition", "January").exit_code == 2


def test_without_a_partition_all_that_the_table_has_are_planned_and_run(desk: Desk) -> None:
    dataset = daily(desk, "prompt,day\na cup,2026-01-02\na mug,2026-01-01\na pot,2099-01-01\na jug,someday\n")
    quote = desk.run_json("plan", dataset)
    assert (quote["partition"], quote["wanted"], quote["credits_to_buy"]) == ("all", 2, 56)
    assert [one["partition"] for one in quote["partitions"]] == ["2026-01-01", "2026-01-02"]
    assert "not complete yet: 2099-01-01" in desk.run("plan", dataset).stderr
    whole = desk.run_json("run", dataset)
    assert (whole["wanted"], whole["stored"], whole["cost"]["amount"]) == (2, 2, 56.0)
    assert [(one["partition"], one["stored"]) for one in whole["partitions"]] == [("2026-01-01", 1), ("2026-01-02", 1)]
    assert desk.emulator.account.bill()["requests"]["me"] == 2 + 2  # a quote asks once, a run to report and to buy


def test_a_partition_that_cannot_be_read_stops_no_other_and_ends_with_3(desk: Desk) -> None:
    for name, text in (("a", "prompt\na cup\n"), ("b", "words\na mug\n"), ("c...d", "prompt\na pot\n")):
        desk.write(f"{name}.csv", text)
    declared = (desk.folder / "dataset.yaml").read_text().replace("prompts.csv", '"[abc]*.csv"')
    dataset = str(desk.write("tables.yaml", declared + "partitions: {by: table}\n"))
    plan = desk.run("plan", dataset)
    assert plan.exit_code == 3
    assert "tableware, 1 of 2 partitions: 1 image wanted" in plan.stdout
    result = desk.run("run", dataset)
    assert result.exit_code == 3
    assert "c...d.csv cannot be a partition" in result.stderr
    assert "b: " in result.stderr
    assert "tableware, a: 1 of 1 image stored" in result.stdout


def test_a_day_s_cap_ends_with_3_and_says_when_it_goes_on(desk: Desk) -> None:
    table = "prompt,day\na cup,2026-01-01\na mug,2026-01-02\na pot,2026-01-03\n"
    dataset = daily(desk, table, "budget: {max_credits_per_day: 60}\n")
    assert "the budget of a day (UTC), 60 credits, stops before the end" in desk.run("plan", dataset).stdout
    first = desk.run("run", dataset)
    assert first.exit_code == 3
    assert "max_credits_per_day is 60 credits" in first.stderr
    again = desk.run("run", dataset)
    assert (again.exit_code, desk.emulator.account.bill()["credits"]) == (3, 56)
    raised = daily(desk, table, "budget: {max_credits_per_day: 90}\n")
    assert desk.run_json("run", raised)["stored"] == 3


def test_a_defs_yaml_runs_as_it_stands(desk: Desk) -> None:
    attributes = "".join(f"  {line}\n" for line in (desk.folder / "dataset.yaml").read_text().splitlines())
    desk.write("defs.yaml", f"# ours\ntype: seedream_assets.ImageDataset\nattributes:\n{attributes}")
    assert desk.run_json("run", str(desk.folder / "defs.yaml"))["stored"] == 3


def test_rejected_images_are_replaced_within_one_run_and_one_budget(desk: Desk) -> None:
    text = (desk.folder / "dataset.yaml").read_text() + "quality: {blank: {reject: true}}\n"
    text = text.replace("budget: unlimited", "budget: {max_credits_per_run: 140}")
    declared = desk.write("replacing.yaml", text + "regenerate: {max_rounds: 2}\n")
    desk.emulator.account.add_fault("create", "poor_images", times=2, prompt_contains="blue mug")
    result = desk.run("run", str(declared), "--json")
    assert result.exit_code == 3, result.output
    assert "5 images wanted, 2 of them in place of rejected ones, 3 owned, 2 to buy for 56 credits" in result.stderr
    assert "max_credits_per_run is" in result.stderr
    assert desk.emulator.account.bill()["credits"] == 140
    rest = desk.run_json("run", str(declared))
    assert (rest["wanted"], rest["stored"], rest["rejected"], rest["replacements"]) == (7, 7, 4, 4)
    assert rest["cost"]["amount"] == 56.0
    assert "4 stored images rejected; 4 more were wanted in their place" in desk.run("run", str(declared)).stdout


def test_without_regenerate_rejects_are_counted_and_nothing_more_is_bought(desk: Desk) -> None:
    text = (desk.folder / "dataset.yaml").read_text() + "quality: {blank: {reject: true}}\n"
    desk.emulator.account.add_fault("create", "poor_images", times=1, prompt_contains="blue mug")
    summary = desk.run_json("run", str(desk.write("rejecting.yaml", text)))
    assert (summary["wanted"], summary["stored"], summary["rejected"], summary["replacements"]) == (3, 3, 2, 0)
    assert summary["cost"]["amount"] == 84.0


@pytest.mark.parametrize(
    "command",
    [("spend", "images"), ("ledger", "list", "--store", "images"), ("trace", "0" * 32, "--store", "images")],
)
def test_a_relative_store_is_refused_by_every_command(
    desk: Desk, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    result = desk.run(*command)
    assert isinstance(result.exception, ConfigError)
    assert f"did you mean '{desk.folder}/images'?" in str(result.exception)
    assert not (desk.folder / "images").exists()


def test_a_variable_that_an_env_file_did_not_fill_in_buys_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDREAM_STORE", "${DATA}/images")
    for command in ("plan", "run", "verify"):
        result = desk.run(command, str(desk.folder / "dataset.yaml"))
        assert result.exit_code != 0
        assert "a variable that nobody has filled in" in f"{result.exception} {result.stderr}"
    assert desk.emulator.account.bill()["credits"] == 0


def reopen_one(desk: Desk) -> int:
    """Take away what was known of one request after its intent: its answer was lost. Returns its credits."""
    submitted = min((desk.store / "requests").glob("*/00-submitted-*.json"))
    for event in submitted.parent.glob("00-*.json"):
        if event.name != "00-intent.json":
            event.unlink()
    credits: int = json.loads((submitted.parent / "00-intent.json").read_text())["credits_reserved"]
    return credits


def test_open_requests_are_told_with_what_they_hold_back_and_may_cost(desk: Desk) -> None:
    dataset = str(desk.write("dataset.yaml", DATASET + "recovery: {history_settle_seconds: 0.5, lease_seconds: 2}\n"))
    desk.run_json("run", dataset)
    (desk.store / "datasets/tableware/manifest/all.parquet").unlink()
    credits = reopen_one(desk)
    message = f"up to {credits} credits more if the open request turns out not to be bought"
    quote = desk.run_json("plan", dataset)
    assert (quote["open_requests"], quote["credits_held_back"], quote["credits_if_unbought"]) == (1, credits, credits)
    assert quote["credits_to_buy"] == 0
    assert quote["open_since"]
    assert message in desk.run("plan", dataset).stdout
    desk.emulator.account.add_fault("history", "error_before", times=None, status=401, message="access denied")
    ran = desk.run("run", dataset)
    assert ran.exit_code == 3
    assert message in ran.stderr
    assert f"1 open request, the oldest since {quote['open_since'][:10]}" in ran.stdout
    assert message in ran.stdout
    desk.emulator.account.clear_faults()
    healed = desk.run_json("run", dataset)
    assert (healed["open_requests"], healed["open_since"], healed["credits_if_unbought"]) == (0, None, 0)
    assert desk.emulator.account.bill(details=False)["credits"] == 84


def test_a_plan_reckons_with_what_images_cost_of_late(desk: Desk) -> None:
    dataset = str(desk.folder / "dataset.yaml")
    desk.emulator.account.add_fault("create", "price", times=None, credits_per_image=56)
    ran = desk.run("run", dataset)
    assert "168 credits were booked where 84 were quoted" in ran.stderr
    desk.write("prompts.csv", TABLE.replace("A tea cup", "A green tea cup"))
    assert desk.run_json("plan", dataset)["credits_to_buy"] == 56
    shown = desk.run("plan", dataset).stdout
    assert "by the dearest of the last 100 answers: 56 an image of seedream-4.0 256x192" in shown
    desk.write("dataset.yaml", DATASET.replace("unlimited", "{max_credits_per_run: 55}"))
    assert desk.run_json("run", dataset, exit_code=3)["over_budget"] == 1
