"""What a script learns from the exit code, and where nothing is bought without somebody's word."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from seedream_assets.cli.shared import MEANINGS
from seedream_assets.emulator.server import running_emulator
from seedream_assets.emulator.settings import EmulatorSettings
from seedream_assets.errors import ApprovalError, NoCapError
from seedream_assets_tests.cli.conftest import DATASET, Desk

ONE_ROW = "prompt\nA blue mug {}\n"


def bill(desk: Desk) -> int:
    credits: int = desk.emulator.account.bill()["credits"]
    return credits


@pytest.fixture
def dataset(desk: Desk) -> str:
    return str(desk.folder / "dataset.yaml")


@pytest.fixture
def capless(desk: Desk, dataset: str) -> str:
    desk.write("dataset.yaml", Path(dataset).read_text().replace("budget: unlimited\n", ""))
    return dataset


def test_without_a_cap_a_script_is_refused_before_anything_is_bought(desk: Desk, capless: str) -> None:
    for arguments in ((), ("--json",)):
        result = desk.run("run", capless, *arguments)
        assert isinstance(result.exception, NoCapError)
        assert "84 credits to buy and no cap; write budget: {max_credits_per_run: 280}" in str(result.exception)
        assert "give --yes for this run" in str(result.exception)
    assert bill(desk) == 0
    assert not (desk.store / "requests").exists()


def test_yes_buys_without_a_cap_and_what_is_owned_needs_none(desk: Desk, capless: str) -> None:
    assert desk.run_json("run", capless, "--yes")["stored"] == 3
    assert desk.run_json("run", capless)["reused"] == 3


def test_yes_takes_away_no_cap_that_is_there(desk: Desk, dataset: str) -> None:
    desk.write("dataset.yaml", Path(dataset).read_text().replace("unlimited", "{max_credits_per_run: 60}"))
    assert desk.run("run", dataset, "--yes").exit_code == 3
    assert bill(desk) == 56


def test_check_and_plan_say_that_there_is_no_cap(desk: Desk, capless: str) -> None:
    checked = desk.run("check", capless)
    assert (checked.exit_code, "tableware has no cap; write budget:" in checked.stdout) == (0, True)
    planned = desk.run("plan", capless)
    assert (planned.exit_code, "no cap; write budget:" in planned.stdout) == (0, True)
    assert any("no cap" in remark for remark in desk.run_json("plan", capless)["remarks"])
    desk.write("dataset.yaml", Path(capless).read_text() + "budget: unlimited\n")
    assert "no cap" not in desk.run("check", capless).stdout + desk.run("plan", capless).stdout


@pytest.mark.parametrize(("answer", "stored", "code"), [(b"y\n", 84, 0), (b"\n", 0, 1)])
def test_a_terminal_asks_with_the_quote(desk: Desk, capless: str, answer: bytes, stored: int, code: int) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "seedream_assets.cli", "run", capless, "--json"]
    with subprocess.Popen(command, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, cwd=desk.folder) as running:
        os.close(theirs)
        message = b""
        while b"[y/N]" not in message:
            message += os.read(ours, 1000)
        os.write(ours, answer)
        # A terminal that nobody reads stops who writes to it.
        while True:
            try:
                message += os.read(ours, 1000)
            except OSError:
                break
        assert running.wait(60) == code, message
    os.close(ours)
    assert b"tableware has no cap. Buy 3 images for 84 credits, and no credit more? [y/N]" in message
    assert bill(desk) == stored


def test_plan_and_run_name_the_store_the_host_and_the_account(
    desk: Desk, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = desk.emulator.base_url.removeprefix("http://")
    account = desk.emulator.account.settings.user_id
    message = desk.run("plan", dataset).stdout
    for what, which in (("store", desk.store.as_uri()), ("API", re.escape(host)), ("account", account)):
        assert re.search(rf"{what} +{which}", message), message
    facts = desk.run_json("plan", dataset)
    assert (facts["store"], facts["api"], facts["account"]) == (desk.store.as_uri(), host, account)
    message = desk.run("run", dataset).stderr
    for line in (f"store: {desk.store.as_uri()}", f"API: {host}", f"account: {account}"):
        assert line in message.splitlines()
    assert "account: not known (not asked: there is nothing to buy)" in desk.run("run", dataset).stderr
    monkeypatch.delenv("LEONARDO_API_KEY")
    desk.write("prompts.csv", ONE_ROW.format("more"))
    assert "not known" in desk.run("plan", dataset).stdout
    assert "there is no key here" in desk.run_json("plan", dataset)["account_unknown"]


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("{max_credits_per_run: 83}", "the budget of one run, 83 credits"),
        ("{max_credits_total: 83}", "the budget of all runs, 83 credits"),
        ("{max_credits_per_day: 83}", "the budget of a day (UTC), 83 credits"),
    ],
)
def test_a_plan_beyond_a_cap_is_not_0_and_one_that_meets_it_is(
    desk: Desk, dataset: str, budget: str, message: str
) -> None:
    text = Path(dataset).read_text()
    desk.write("dataset.yaml", text.replace("unlimited", budget))
    result = desk.run("plan", dataset)
    assert (result.exit_code, message in result.stdout) == (3, True)
    assert any(message in remark for remark in desk.run_json("plan", dataset, exit_code=3)["remarks"])
    desk.write("dataset.yaml", text.replace("unlimited", budget.replace("83", "84")))
    assert desk.run("plan", dataset).exit_code == 0
    assert desk.run("run", dataset).exit_code == 0


@pytest.mark.parametrize("left", [83, 84])
def test_a_plan_beyond_the_balance_is_not_0(
    desk: Desk, dataset: str, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_emulator(EmulatorSettings(balance_credits=left)) as emulator:
        monkeypatch.setenv("LEONARDO_BASE_URL", emulator.base_url)
        result = desk.run("plan", dataset)
    beyond = left < 84
    assert (result.exit_code, "the account's balance, 83 credits, stops" in result.stdout) == (
        3 if beyond else 0,
        beyond,
    )


@pytest.mark.parametrize(
    ("prompt", "paid"),
    [("emulate-withheld", 28), ("emulate-failed", 28), ("emulate-blocked", 0)],
)
def test_nothing_stored_is_not_0_whether_or_not_it_was_paid_for(
    desk: Desk, dataset: str, prompt: str, paid: int
) -> None:
    desk.write("prompts.csv", ONE_ROW.format(prompt))
    desk.write("dataset.yaml", DATASET + "recovery: {settle_images_seconds: 0, history_settle_seconds: 0}\n")
    result = desk.run("run", dataset)
    assert (result.exit_code, bill(desk)) == (5, paid), result.output
    assert desk.run("run", dataset).exit_code == 5  # nothing to buy, and nothing there
    desk.write("prompts.csv", ONE_ROW.format("plain") + f"A cup {prompt}\n")
    assert desk.run("run", dataset).exit_code == 0  # something was stored
    desk.write("prompts.csv", ONE_ROW.format("plain") + f"A cup {prompt}\nA pot {prompt}\n")
    assert desk.run("run", dataset).exit_code == 5  # of what this run wanted to buy, nothing


def test_every_create_refused_is_not_0(desk: Desk, dataset: str) -> None:
    desk.emulator.account.add_fault("create", "error_before", status=400, message="Validation failed for this model")
    result = desk.run("run", dataset)
    assert result.exit_code != 0
    assert bill(desk) == 0


def test_an_empty_balance_is_over_budget(desk: Desk, dataset: str) -> None:
    desk.emulator.account.add_fault("create", "error_before", status=402, message="Insufficient balance")
    summary = desk.run_json("run", dataset, exit_code=3)
    assert (summary["over_budget"], summary["failed"]) == (3, 0)


def test_a_hash_that_fits_nothing_is_not_0(desk: Desk, dataset: str) -> None:
    assert desk.run("run", dataset, "--approve", "0" * 16).exit_code == 2  # asks for no approval
    desk.write("dataset.yaml", Path(dataset).read_text() + "approval: {above_credits: 1000}\n")
    result = desk.run("run", dataset, "--approve", "0" * 16)
    assert isinstance(result.exception, ApprovalError)
    assert bill(desk) == 0
    # The plan's own hash may be given where it needs no approval, and again when all of it is owned.
    plan_hash = desk.run_json("plan", dataset)["plan_hash"]
    assert desk.run("run", dataset, "--approve", plan_hash).exit_code == 0
    assert desk.run("run", dataset, "--approve", plan_hash).exit_code == 0
    assert isinstance(desk.run("run", dataset, "--approve", "0" * 16).exception, ApprovalError)


def test_the_help_and_the_documents_have_the_same_table(desk: Desk) -> None:
    message = " ".join(desk.run("run", "--help").stdout.split())
    document = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
    for code, meaning in MEANINGS.items():
        assert f"{code} {' '.join(meaning.split())}" in message
        assert f"| {code} | {meaning} |" in document


def test_a_plan_with_a_key_of_another_account_says_that_a_run_would_be_refused(desk: Desk, dataset: str) -> None:
    (desk.store / "account.json").parent.mkdir(exist_ok=True)
    (desk.store / "account.json").write_text('{"version": 1, "account": "theirs", "origin": "http://127.0.0.1"}')
    planned = desk.run("plan", dataset)
    assert planned.exit_code == 3
    assert "bought from account theirs" in planned.stdout
    assert desk.run("run", dataset).exit_code == 1
    assert bill(desk) == 0
