"""A table of which nothing, or too little, is left: nothing is written, nothing is bought, and what stood stays."""

import pytest

from seedream_assets.errors import ConfigError, PromptTableError
from seedream_assets_tests.cli.conftest import DATASET, Desk

BROKEN = "prompt_id,prompt,quantity,style,colour\nmug,A blue mug,0,,blue\ncup,,1,,white\n"
DAYS = "prompt,day\nfirst a,2026-11-01\nfirst b,2026-11-01\nsecond,2026-11-02\n"
DAILY = "name: tableware\nprompts: {table: prompts.csv}\nrecipe: {width: 256, height: 192}\nbudget: unlimited\n"
BY_DAY = 'partitions: {by: daily, column: day, start: "2026-11-01"}\n'


def objects(desk: Desk) -> dict[str, bytes]:
    """All that stands under the dataset, but for the ledger."""
    folder = desk.store / "datasets"
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()} if folder.exists() else {}


@pytest.mark.parametrize("command", ["run", "plan"])
def test_where_every_row_is_rejected_nothing_is_written_and_what_stood_stays(desk: Desk, command: str) -> None:
    dataset = str(desk.folder / "dataset.yaml")
    desk.write("prompts.csv", BROKEN)
    first = desk.run(command, dataset)
    assert first.exit_code == 1
    assert isinstance(first.exception, PromptTableError)
    assert "all 2 rows are rejected" in str(first.exception)
    assert "row 1: quantity '0'; allowed is 1" in str(first.exception)
    assert objects(desk) == {}
    desk.write("prompts.csv", "prompt\nA jug\n")
    desk.run_json("run", dataset)
    stood = objects(desk)
    desk.write("prompts.csv", BROKEN)
    assert desk.run(command, dataset).exit_code == 1
    assert objects(desk) == stood


@pytest.mark.parametrize(("limit", "is_borne"), [("1", True), ("'34%'", True), ("0", False), ("0.33", False)])
def test_more_rejected_rows_than_allowed_stop_a_run_before_it_buys(desk: Desk, limit: str, is_borne: bool) -> None:
    written = DATASET.replace("prompts.csv}", f"prompts.csv, max_rejected: {limit}}}")
    dataset = str(desk.write("dataset.yaml", written))
    assert desk.run("check", str(desk.folder)).exit_code == 0
    result = desk.run("run", dataset)
    assert desk.emulator.account.bill()["generations"] == (2 if is_borne else 0)
    assert (result.exit_code == 0) is is_borne
    assert bool(objects(desk)) is is_borne
    if not is_borne:
        assert "1 of 3 rows are rejected, and prompts.max_rejected allows" in str(result.exception)


@pytest.mark.parametrize(("limit", "shown"), [("150%", "'150%'"), ("true", "True"), ("1.0", "1.0")])
def test_a_limit_that_is_none_is_told_with_its_line(desk: Desk, limit: str, shown: str) -> None:
    limited = DATASET.replace("{table: prompts.csv}", f"\n  table: prompts.csv\n  max_rejected: {limit}")
    desk.write("dataset.yaml", limited)
    printed = desk.run("check", str(desk.folder))
    assert f"dataset.yaml:4: prompts.max_rejected: got {shown}, allowed is a number of rows" in printed.output
    assert isinstance(desk.run("run", str(desk.folder / "dataset.yaml")).exception, ConfigError)


def test_a_run_names_the_first_rejected_rows(desk: Desk) -> None:
    rows = "".join(f"A jug,{256 if number else 1}\n" for number in range(1, 3)) + "A pot,1\n" * 12
    desk.write("prompts.csv", "prompt,width\n" + rows)
    result = desk.run("run", str(desk.folder / "dataset.yaml"))
    assert "rejected: row 3: width '1'; allowed is" in result.stderr
    assert result.stderr.count("rejected: row") == 10
    assert "rejected: … and more" in result.stderr


def test_a_partition_of_rejected_rows_fails_alone(desk: Desk) -> None:
    dataset = str(desk.write("dataset.yaml", DAILY + BY_DAY))
    desk.write("prompts.csv", DAYS)
    desk.run_json("run", dataset)
    stood = {name: body for name, body in objects(desk).items() if "2026-11-01" in name}
    # A day that was whole, and every row of it is broken now; a new row on the other day.
    desk.write("prompts.csv", DAYS.replace("first a", "").replace("first b", "") + "third,2026-11-02\n")
    result = desk.run("run", dataset)
    assert result.exit_code == 3
    assert "2026-11-01: all 2 rows are rejected" in result.stderr
    assert {name: body for name, body in objects(desk).items() if "2026-11-01" in name} == stood
    assert desk.emulator.account.bill()["generations"] == 4


def test_a_day_whose_rows_have_lost_their_date_is_not_an_empty_day(desk: Desk) -> None:
    dataset = str(desk.write("dataset.yaml", DAILY + BY_DAY))
    desk.write("prompts.csv", DAYS)
    desk.run_json("run", dataset)
    stood = objects(desk)
    desk.write("prompts.csv", DAYS.replace("second,2026-11-02", "second,02.11.2026"))
    result = desk.run("run", dataset, "--partition", "2026-11-02")
    assert "1 row of it can belong to none, which may be its own: row 3: day '02.11.2026'" in str(result.exception)
    assert objects(desk) == stood
    # Without such rows it is an empty day.
    desk.write("prompts.csv", DAYS.replace("second,2026-11-02\n", ""))
    assert desk.run_json("run", dataset, "--partition", "2026-11-02")["wanted"] == 0


def test_a_day_s_own_file_may_have_no_rows_and_a_dataset_s_table_may_not(desk: Desk) -> None:
    by_path = DAILY.replace("prompts.csv", "'{partition}.csv'") + BY_DAY.replace(" column: day,", "")
    dataset = str(desk.write("dataset.yaml", by_path))
    desk.write("2026-11-01.csv", "prompt,quantity\n")
    desk.write("2026-11-02.csv", "prompt,quantity\nA jug,1\n")
    desk.write("2026-11-03.csv", "")
    desk.write("2026-11-04.csv", "text\n")
    days = [f"--partition=2026-11-0{day}" for day in (1, 2, 3, 4)]
    result = desk.run("run", dataset, *days)
    assert "2026-11-03: 2026-11-03.csv: the file is empty" in result.stderr
    assert "2026-11-04: the table has no column 'prompt'" in result.stderr
    empty = desk.run_json("run", dataset, "--partition", "2026-11-01")
    assert (empty["wanted"], empty["stored"]) == (0, 0)
    assert desk.emulator.account.bill()["generations"] == 1
    desk.write("prompts.csv", "prompt,quantity\n")
    dataset = str(desk.write("other.yaml", DAILY))
    assert "a header and no rows" in str(desk.run("run", dataset).exception)
